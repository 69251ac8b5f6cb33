"""The stages that make mitigated candidates, and what a reader has to know about them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.digest import digest_file, digest_folder
from shipworthy.core.locale import number
from shipworthy.release.artefacts import TOKENS
from shipworthy.release.judgement import Phrase
from shipworthy.release.made import MODEL, Made, classes, made, part
from shipworthy.release.project import start_folder
from shipworthy.train.mitigation_recipes import ANEW, ASKS_GROUP, Mitigation, mitigations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipworthy.core.stages import Stage
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.failures import Failures

FACTS = "mitigation.json"
"""In the stage of a mitigated candidate: what its algorithm reached where it was fitted."""


def make_mitigations(
    shop: Workshop, data: Stage, parent: Made, failures: Failures
) -> tuple[Made, ...]:
    """Make the candidates of `mitigate:`; what fails is kept among the failures."""
    found = [
        failures.attempt(f"candidate {recipe.name}", partial(_make, shop, data, parent, recipe))
        for recipe in mitigations(shop.project.mitigate)
    ]
    return tuple(one for one in found if one is not None)


def _make(shop: Workshop, data: Stage, parent: Made, recipe: Mitigation) -> Made:
    return made(
        _stage(shop, data, parent, recipe),
        recipe.name,
        "mitigate",
        parents=(parent.candidate.id,),
        settings={recipe.kind: _told(recipe)},
        seed=shop.project.seed,
    )


def _stage(shop: Workshop, data: Stage, parent: Made, recipe: Mitigation) -> Stage:
    columns, start = shop.project.data, start_folder(shop.project)
    inputs = {"rows": data.digest, "parent": parent.candidate.artefact_digest}
    if recipe.kind in ANEW:
        inputs["start"] = digest_folder(start)
    for place, name in enumerate(recipe.options.get("pairs", ())):
        if Path(name).is_file():
            inputs[f"pairs {place + 1}"] = digest_file(Path(name))
    key: dict[str, Any] = dict(
        inputs=inputs,
        settings={
            "name": recipe.name,
            "recipe": {recipe.kind: _told(recipe)},
            "columns": [columns.text, columns.label, columns.unit],
            "groups": list(columns.groups),
            "training": shop.recipe(data).recipe(),
        },
        module="shipworthy.train.mitigation",
        seed=shop.project.seed,
    )
    name = f"candidate {recipe.name}"

    def make(folder: Path) -> None:
        from shipworthy.train.mitigation import mitigate
        from shipworthy.train.mitigation_ground import Ground

        work = shop.work(name, **key)
        ground = Ground(
            start=start, parent=parent.folder, train=part(data, "train"),
            calibration=part(data, "calibration"), text=columns.text, label=columns.label,
            classes=classes(data), training=shop.recipe(data), seed=shop.project.seed, work=work,
            groups=columns.groups, unit=columns.unit, cache=shop.root / TOKENS,
        )  # fmt: skip
        mitigate(recipe, ground, folder / MODEL)
        # What it would have gone on from after a kill.
        shutil.rmtree(work, ignore_errors=True)

    return shop.run(name, make, **key)


def _told(recipe: Mitigation) -> dict[str, Any]:
    """Return the options of a recipe; of files only their names, since a path says nothing."""
    told = dict(recipe.options)
    if "pairs" in told:
        told["pairs"] = [Path(name).name for name in told["pairs"]]
    return told


def mitigation_notes(everyone: Sequence[Made]) -> list[Phrase]:
    """Return what a reader must know about mitigated candidates that no number says."""
    notes, asking = [], list[str]()
    columns: dict[str, None] = {}
    for one in everyone:
        if one.candidate.lever != "mitigate":
            continue
        told = json.loads((one.stage.folder / FACTS).read_text(encoding="utf-8"))
        words: dict[str, Any] = {"name": one.candidate.name}
        if told["recipe"] in ASKS_GROUP:
            asking.append(one.candidate.name)
            columns[told["group"]] = None
        if told.get("reached") is False:
            words |= {
                "constraint": Phrase(f"mitigation.constraint.{told['constraint']}"),
                "gap": number(100 * told["gap"], 1), "allowed": number(100 * told["allowed"], 1),
            }  # fmt: skip
            notes.append(Phrase("run.note.unreached", words))
        if "swapped" in told:
            swapped = sum(told["swapped"].values())
            words |= {"swapped": number(swapped), "rows": number(told["rows"])}
            notes.append(Phrase("run.note.swapped", words))
    if asking:
        words = {"names": ", ".join(asking), "columns": ", ".join(columns)}
        notes.append(Phrase("run.note.asks_group", words))
    return notes
