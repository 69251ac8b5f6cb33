"""A small trained encoder on texts that are hard near the threshold, to damage and to compress.

A text's class is the sign of the sum of its words' scores, so that small changes of the weights
turn the rows near zero. Rows of the group `south` lie nearer to it than those of `north`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tests.model.conftest import tiny_encoder

from shipworthy.compress import Recipe
from shipworthy.core.openings import OpeningState
from shipworthy.core.stage_outputs import link_into
from shipworthy.measure.decide import Evidence
from shipworthy.model.checkpoint import artefact_digest
from shipworthy.model.predictions import Predictions
from shipworthy.release.artefacts import PARENT, Workshop
from shipworthy.release.candidate_stages import compress
from shipworthy.release.made import Made, made
from shipworthy.release.next_ground import Background
from shipworthy.release.project import load_project
from shipworthy.release.record import write_record
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.verdicts import Question, reach_verdict

SCORES = {
    "good": 2.0, "very": 1.0, "this": 0.7, "film": 0.4, "a": -0.4, "is": -0.7, "so": -1.0,
    "bad": -2.0,
}  # fmt: skip

PROJECT = """\
name: toy
model: encoder
data:
  source: rows.csv
  groups: [shop]
  near_duplicates: off
  shares: {test: 0.4, validation: 0.2, calibration: 0.05}
train:
  {epochs: 3, learning_rate: 3e-3, max_length: 16, precision: fp32, regularization: {dropout: 0}}
compress: {recipes: RECIPES}
speed: {form: short, requests: 72, batches: 1, threads: 1, processes: 5}
prices: {label_row: 0.05, machine_hour: 0.6, currency: EUR}
policy:
  - {measure: accuracy, slice: {each: shop}, relative_to: parent, at_least: -0.02, owner: fairness}
"""


def write_project(
    place: Path, recipes: str = "[int8]", *, rows: int = 4000, policy: str = ""
) -> Path:
    """Write encoder, rows and project file into a folder."""
    tiny_encoder(place / "encoder")
    generator = np.random.default_rng(11)
    words, weights = list(SCORES), np.array(list(SCORES.values()))
    shop = generator.choice(["north", "south"], rows, p=[0.6, 0.4])
    picked = generator.integers(0, len(words), (rows, 9))
    total = weights[picked].sum(axis=1)
    # Half of the far rows of the south are replaced by nearer ones.
    far = (shop == "south") & (np.abs(total) > 2.5)
    again = generator.integers(0, len(words), (rows, 9))
    picked = np.where(far[:, None], again, picked)
    total = weights[picked].sum(axis=1)
    noisy = total + 0.3 * generator.standard_normal(rows)
    pl.DataFrame(
        {
            "text": [" ".join(words[k] for k in row) for row in picked],
            "label": np.where(noisy > 0, "yes", "no"),
            "shop": shop,
        }
    ).write_csv(place / "rows.csv")
    text = PROJECT.replace("RECIPES", recipes) + policy
    (place / "shipworthy.yaml").write_text(text)
    return place / "shipworthy.yaml"


class Planted:
    """A trained parent, damaged where int8 will feel it, and what is made of it."""

    def __init__(self, place: Path, *, damaged: dict[int, float], rows: int = 4000) -> None:
        self.damaged = damaged
        project = load_project(write_project(place, rows=rows))
        self.shop = Workshop(project, place / ".shipworthy", lambda stage: None)
        self.data = self.shop.rows()
        trained = made(self.shop.train(self.data), PARENT, "train")
        folder = place / "planted" / "-".join(f"{k}x{v:g}" for k, v in damaged.items())
        plant(trained.folder, folder, damaged)
        digest = artefact_digest(folder)
        self.parent = Made(
            replace(trained.candidate, artefact_digest=digest), folder, trained.stage
        )

    def make(self, recipe: Recipe) -> Made:
        digest = self.parent.candidate.artefact_digest
        stage = compress(self.shop, self.parent.folder, digest, recipe)
        return made(
            stage, recipe.name, recipe.lever, parents=(self.parent.candidate.id,),
            settings=dict(recipe.settings),
        )  # fmt: skip

    def answers(self, one: Made, split: str) -> Predictions:
        answered = self.shop.answers(self.data, one, split)
        return self.shop.predictions(self.data, one, split, answered)

    def evidence(self, one: Made, split: str) -> list[Evidence]:
        ruler = Ruler(
            Subject(self.parent.candidate, self.answers(self.parent, split)),
            groups=("shop",), unit=None, split=split,
        )  # fmt: skip
        subject = Subject(one.candidate, self.answers(one, split))
        return ruler.evidence(subject, self.shop.project.policy.policy().limits)


def plant(source: Path, out: Path, damaged: dict[int, float]) -> None:
    """Give blocks one input that is always zero and has huge weights.

    In float they change nothing; in int8 they take the scale of every output, so that the other
    weights of the matrix are left with few steps. damaged: block -> size against the largest.
    """
    import torch

    from shipworthy.model.checkpoint import read_info
    from shipworthy.model.pretrained import load_module, save_variant

    module: Any = load_module(source)
    with torch.no_grad():
        for block, size in damaged.items():
            layer = module.base_model.encoder.layer[block]
            norm, matrix = layer.attention.output.LayerNorm, layer.intermediate.dense.weight
            norm.weight[0] = norm.bias[0] = 0.0
            matrix[:, 0] = size * matrix.abs().max()
    save_variant(out, module, read_info(source), parent=source)


def write_run(
    place: Path, recipe: Recipe, *, rows: int = 900, epochs: int = 2, name: str = "planted"
) -> Path:
    """Train, make one candidate, decide, and write a run folder as a project's run leaves it.

    Speed is left out: no limit asks for it, and its processes take most of the time.
    """
    text = write_project(place, rows=rows).read_text().replace("epochs: 3", f"epochs: {epochs}")
    (place / "shipworthy.yaml").write_text(text)
    project = load_project(place / "shipworthy.yaml")
    shop = Workshop(project, place / ".shipworthy", lambda stage: None)
    data = shop.rows()
    parent = made(shop.train(data), PARENT, "train")
    digest = parent.candidate.artefact_digest
    stage = compress(shop, parent.folder, digest, recipe, data=data)
    one = made(
        stage, recipe.name, recipe.lever, parents=(parent.candidate.id,),
        settings=dict(recipe.settings),
    )  # fmt: skip
    policy = project.policy.policy()
    rulers, subjects = {}, {}
    for split in ("validation", "test"):
        read = [
            Subject(m.candidate, shop.predictions(data, m, split, shop.answers(data, m, split)))
            for m in (parent, one)
        ]
        rulers[split] = Ruler(read[0], groups=("shop",), unit=None, split=split)
        subjects[split] = read[1]
    question = Question(
        run=name, name="toy", kind="run", policy=policy, nominated=(one.candidate.id,),
        objective="quality", opening=OpeningState(family=1),
    )  # fmt: skip
    ground = Background(
        prices=project.prices,
        recipes={one.candidate.id: recipe},
        validation={
            one.candidate.id: rulers["validation"].evidence(subjects["validation"], policy.limits)
        },
        minutes={one.candidate.id: 0.1},
        parts=3,
    )
    found = reach_verdict(question, rulers["test"], [subjects["test"]], background=ground)
    folder = place / "runs" / name
    write_record(found, folder)
    for m in (parent, one):
        link_into(m.folder, folder / m.candidate.folder)
    (folder / "project.yaml").write_text(text)
    return folder
