"""Models of tables in a run: what they see, the stages that fit them, and what people must know.

model        the parent; challengers   further models on the same rows, each a candidate
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import SettingsError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import number, text
from shipworthy.data.tables import Features
from shipworthy.release.judgement import Phrase
from shipworthy.release.made import MODEL, Made, classes, made, part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shipworthy.core.ledger import Ledger
    from shipworthy.core.stages import Stage
    from shipworthy.data.settings import DataSettings
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.failures import Failures
    from shipworthy.train.table_settings import TableModelSettings

FEATURES = "features.json"
TELLING = 0.3
"""Cramér's V from which a feature is named as one that tells of a group."""


def write_features(folder: Path, features: Features) -> None:
    """Write which columns models see beside the rows."""
    told = json.dumps(features.to_dict(), ensure_ascii=False, indent=1)
    write_atomically(folder / FEATURES, told + "\n")


def read_features(data: Stage) -> Features:
    """Return which columns models see, from the stage that made the rows."""
    return Features.of(json.loads((data.folder / FEATURES).read_text(encoding="utf-8")))


def fitted(
    shop: Workshop, data: Stage, model: TableModelSettings, *, parent: Made | None = None
) -> Made:
    """Fit the parent, or a candidate beside it."""
    project = shop.project
    features, label = read_features(data), project.data.label
    settings = model.reported()

    def make(folder: Path) -> None:
        from shipworthy.train.tabular import fit_table, write_fitted_table

        found = fit_table(
            part(data, "train"), part(data, "calibration"), model, numbers=features.numbers,
            categories=features.categories, label=label, classes=classes(data),
            seed=project.seed, out=folder / MODEL,
        )  # fmt: skip
        write_fitted_table(folder, found)

    stage = shop.run(
        "train" if parent is None else f"candidate {model.title}",
        make,
        inputs={"rows": data.digest},
        settings={**settings, "label": label},
        module="shipworthy.train.tabular",
        seed=project.seed,
    )
    return made(
        stage,
        model.title,
        "train",
        parents=() if parent is None else (parent.candidate.id,),
        settings=settings,
        seed=project.seed,
    )


def challengers(shop: Workshop, data: Stage, parent: Made, failures: Failures) -> tuple[Made, ...]:
    """Fit the other models of a project on the same rows."""
    found = []
    for model in shop.project.challengers:

        def fit(model: TableModelSettings = model) -> Made:
            return fitted(shop, data, model, parent=parent)

        one = failures.attempt(f"candidate {model.title}", fit)
        if one is not None:
            found.append(one)
    return tuple(found)


# -- sensitive columns -----------------------------------------------------------------------------


def check_sensitive(data: DataSettings, *, today: date) -> None:
    """Raise SettingsError where sensitive columns were to be deleted by now."""
    asked = data.sensitive
    if asked is not None and today > asked.delete_by:
        names = ", ".join(asked.use)
        raise SettingsError(
            text("error.tabular.expired", names=names, date=asked.delete_by.isoformat()),
            key="data.sensitive.delete_by",
            fix=text("error.tabular.expired.fix", names=names),
        )


def record_sensitive(ledger: Ledger, data: DataSettings, rows: str, *, by: str) -> None:
    """Write into the ledger which sensitive columns models see, why and until when; once.

    rows: digest of the rows.
    """
    asked = data.sensitive
    if asked is None:
        return
    payload: dict[str, Any] = {
        "columns": list(asked.use), "reason": asked.reason,
        "delete_by": asked.delete_by.isoformat(), "rows": rows, "by": by,
    }  # fmt: skip
    kept = [line.payload for line in ledger.lines() if line.kind == "sensitive"]
    if not any({**one, "by": by} == payload for one in kept):
        ledger.append("sensitive", payload)


# -- what people must know -------------------------------------------------------------------------


def notes(data: Stage, settings: DataSettings, training: dict[str, Any]) -> list[Phrase]:
    """Return what models of a table see, and what that does not hide.

    training: what became of the parent.
    """
    features = read_features(data)
    found = [
        Phrase("run.note.features", {
            "numbers": _listed(features.numbers), "categories": _listed(features.categories),
        }),
        *_left_out(features),
    ]  # fmt: skip
    if features.named_rows:
        found.append(Phrase("run.note.named_rows", {"names": _listed(features.named_rows)}))
    if training.get("missing"):
        found.append(Phrase("run.note.missing", {"count": number(training["missing"])}))
    hidden = [name for name in settings.groups if name not in features.sensitive]
    if hidden:
        found.append(Phrase("run.note.hidden", {"names": _listed(hidden)}))
    told = [
        f"{group}: " + ", ".join(f"{name} {value:.2f}" for name, value in columns)
        for group, all_columns in features.proxies.items()
        if group in hidden and (columns := [c for c in all_columns if c[1] >= TELLING])
    ]
    if told:
        found.append(Phrase("run.note.proxies", {"names": "; ".join(told)}))
    if settings.sensitive is not None:
        found.append(Phrase("run.note.sensitive", {
            "names": _listed(settings.sensitive.use), "reason": settings.sensitive.reason,
            "date": settings.sensitive.delete_by.isoformat(),
        }))  # fmt: skip
    return found


def introduce(data: Stage, settings: DataSettings, warn: Callable[[str], None]) -> None:
    """Say before anything is fitted what models will see."""
    from shipworthy.release.wording import phrase

    for note in notes(data, settings, {}):
        warn(phrase(note))


def _left_out(features: Features) -> Iterator[Phrase]:
    for reason in ("names_rows", "empty", "kind"):
        names = [name for name, why in features.left_out.items() if why == reason]
        if names:
            yield Phrase(f"run.note.left_out.{reason}", {"names": _listed(names)})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "-"
