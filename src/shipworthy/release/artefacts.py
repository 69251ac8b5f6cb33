"""The stages that make and ask models: rows, training, candidates, answers, timing.

Each is a call of the stage cache with all that its output depends on; the rooms do the work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.digest import digest_file, digest_folder, digest_json
from shipworthy.core.errors import StageError
from shipworthy.core.stages import Stage, StageCache, key_of
from shipworthy.release.language import answer_kind
from shipworthy.release.made import CLASSES, MODEL, ROWS, SPLIT_COLUMN, Made, classes, part
from shipworthy.release.project import start_folder
from shipworthy.release.recipe_fit import require_fit

if TYPE_CHECKING:
    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.model.predictions import Predictions
    from shipworthy.release.project import Project
    from shipworthy.train.settings import TrainSettings

TEST = "test.json"
RACE = "race.json"
TOKENS = "tokens"
"""Folder of tokenised texts in the cache; they are made again where they are gone."""
SPEED = "speed.parquet"
PARENT = "fp32 parent"
START = "start"
"""Name of the model that training starts from, among those that are probed."""

# How a model reads the rows is no part of them.
_READING = ("template", "long_prompts")
_SOURCES = ("source", "train", "calibration", "validation", "test")

Tell = Callable[[Stage], None]
Warn = Callable[[str], None]


class NotMadeError(StageError):
    """A stage is not in the cache, and it was only to be looked for."""


@dataclass(eq=False)
class Workshop:
    """Makes the artefacts of one project, each once for each content.

    root: folder of the cache. tell: called with each finished stage; warn: with a line for people
    about the rows; ask: called with name and key
    of each stage before it is looked for or made. look: make nothing; a stage that is not there
    goes into `missing`, with what changed, and is a NotMadeError.
    """

    project: Project
    root: Path
    tell: Tell = lambda stage: None
    ask: Callable[[str, str], None] = lambda name, key: None
    look: bool = False
    warn: Warn = lambda message: None
    stages: list[Stage] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the stage cache."""
        self.cache = StageCache(self.root)

    def run(self, name: str, make: Callable[[Path], None], **key: Any) -> Stage:
        """Return a stage, made where it is not in the cache; `key` as in `StageCache.run`."""
        self.ask(name, key_of(self.cache.key_parts(name, **key)))
        stage = self.cache.find(name, **key) if self.look else self.cache.run(name, make, **key)
        if stage is None:
            self.missing[name] = self.cache.explain_miss(name)
            raise NotMadeError(self.missing[name])
        self.stages.append(stage)
        self.tell(stage)
        return stage

    def work(self, name: str, **key: Any) -> Path:
        """Return the folder in which a stage of this key keeps what it needs to go on."""
        return self.root / "work" / f"{name}-{key_of(self.cache.key_parts(name, **key))[:16]}"

    # -- rows ------------------------------------------------------------------------------------

    def rows(self) -> Stage:
        """Read, check and split the rows."""
        from shipworthy.data.sources import source_files

        settings, seed = self.project.data, self.project.seed
        given = {name: getattr(settings, name) for name in _SOURCES}
        files = {
            f"{name}: {file.name}" if k == 0 else f"{name}: {file.name} ({k + 1})": file
            for name, source in given.items()
            if source is not None
            for k, file in enumerate(source_files(source))
        }
        # A path says nothing about rows, except that a folder may name classes.
        kinds = {name: given[name] and Path(given[name]).is_dir() for name in _SOURCES}

        def make(folder: Path) -> None:
            from shipworthy.data.rows import load_rows
            from shipworthy.release.tabular import write_features

            found = load_rows(settings, seed=seed, answers=answer_kind(self.project))
            found.frame.with_columns(found.splits.split.alias(SPLIT_COLUMN)).write_parquet(
                folder / ROWS
            )
            (folder / CLASSES).write_text(json.dumps(list(found.classes)), encoding="utf-8")
            if found.features is not None:
                write_features(folder, found.features)

        return self.run(
            "data",
            make,
            inputs={name: digest_file(file) for name, file in files.items()},
            settings={
                **settings.model_dump(mode="json", exclude={"contamination", *_READING}),
                **kinds,
                "answers": answer_kind(self.project),
            },
            module="shipworthy.data.rows",
            seed=seed,
        )

    @cached_property
    def language(self) -> RuntimeInfo | None:
        """How the language model of the project runs; None for a classifier."""
        from shipworthy.release.language import language_info

        return language_info(self.project)

    def test_rows(self, data: Stage) -> tuple[str, tuple[str, ...]]:
        """Return digest and sketch of the test rows: what a look at them is counted by."""
        settings = self.project.data

        def make(folder: Path) -> None:
            import polars as pl

            from shipworthy.core.openings import row_hashes, rows_sketch
            from shipworthy.model.predictions import rows_digest

            rows = part(data, "test")
            ids = rows[settings.id].cast(pl.String) if settings.id else None
            labels = rows[settings.label].cast(pl.String)
            sketch = rows_sketch(row_hashes(rows[settings.text].to_list()))
            told = {"digest": rows_digest(labels, ids), "sketch": sketch}
            (folder / TEST).write_text(json.dumps(told), encoding="utf-8")

        stage = self.run(
            "test rows",
            make,
            inputs={"rows": data.digest},
            settings={"id": settings.id, "label": settings.label, "text": settings.text},
            module="shipworthy.model.predictions",
        )
        told = json.loads((stage.folder / TEST).read_text(encoding="utf-8"))
        return told["digest"], tuple(told["sketch"])

    def contamination(self, data: Stage) -> Stage:
        """Find the validation and test rows that stand in the training text."""
        from shipworthy.data.sources import source_files
        from shipworthy.release.contamination import embedding, write_overlaps

        settings = self.project.data
        corpora = {
            f"{source}: {file.name} ({k + 1})": digest_file(file)
            for source in settings.contamination.corpora
            for k, file in enumerate(source_files(source))
        }

        def make(folder: Path) -> None:
            splits = {name: part(data, name) for name in ("train", "validation", "test")}
            write_overlaps(settings, splits, folder)

        return self.run(
            "contamination",
            make,
            inputs={"rows": data.digest, "corpora": digest_json(corpora)},
            settings={
                "ngram": settings.contamination.ngram,
                "text": settings.text,
                "embedding": embedding(settings),
            },
            module="shipworthy.release.contamination",
        )

    # -- models ----------------------------------------------------------------------------------

    def recipe(self, data: Stage) -> TrainSettings:
        """Return the settings that the parent is trained with: the winner's of the race, if any."""
        if self.project.train.race is None:
            return self.project.train
        from shipworthy.train.race import recipes_of

        recipes = recipes_of(self.project.train)
        told = json.loads((self.race(data).folder / RACE).read_text(encoding="utf-8"))
        return recipes[told["winner"]]

    def race(self, data: Stage) -> Stage:
        """Train the recipes of a race over several seeds, and say which one is better."""
        from shipworthy.release.racing import run_race

        project = self.project
        columns = project.data
        model = start_folder(project)
        key: dict[str, Any] = dict(
            inputs={"rows": data.digest, "model": digest_folder(model)},
            settings={
                "train": project.train.model_dump(mode="json", exclude={"parallel", "checkpoints"}),
                "columns": [columns.text, columns.label, columns.unit],
            },
            module="shipworthy.release.racing",
            seed=project.seed,
        )

        def make(folder: Path) -> None:
            split = {name: part(data, name) for name in ("train", "calibration", "validation")}
            told = run_race(
                project,
                model,
                split,
                classes=classes(data),
                work=self.work("race", **key),
                cache=self.root / TOKENS,
            )
            (folder / RACE).write_text(json.dumps(told, indent=2), encoding="utf-8")

        return self.run("race", make, **key)

    def train(self, data: Stage) -> Stage:
        """Fine-tune the parent; raises SettingsError first, where a recipe cannot be of it."""
        project = self.project
        model = start_folder(project)
        if not self.look:
            require_fit(project, model, calibration=part(data, "calibration").height)
        recipe = self.recipe(data)
        settings = {
            "train": recipe.reported(),
            "text": project.data.text,
            "label": project.data.label,
            "unit": project.data.unit,
            "language": None if self.language is None else asdict(self.language),
        }
        key: dict[str, Any] = dict(
            inputs={"rows": data.digest, "model": digest_folder(model)},
            settings=settings,
            module="shipworthy.train.loop",
            seed=project.seed,
        )

        def make(folder: Path) -> None:
            from shipworthy.compress.recipes import check_recipes
            from shipworthy.train.fitted import write_fitted
            from shipworthy.train.loop import fit

            check_recipes(project.compress, model, self.language)
            fitted = fit(
                model,
                part(data, "train"),
                part(data, "calibration"),
                text=project.data.text,
                label=project.data.label,
                classes=classes(data),
                settings=recipe,
                seed=project.seed,
                out=folder / MODEL,
                work=self.work("train", **key),
                unit=project.data.unit,
                cache=self.root / TOKENS,
                language=self.language,
            )
            write_fitted(folder, fitted)

        return self.run("train", make, **key)

    # -- what they answer ------------------------------------------------------------------------

    def answers(self, data: Stage, made: Made, split: str) -> Stage:
        """Ask one model about the rows of a split."""
        name = f"{split} {made.candidate.name}"
        key: dict[str, Any] = dict(
            inputs={"rows": data.digest, "model": made.candidate.artefact_digest},
            settings={"split": split},
            module="shipworthy.release.answers",
            seed=self.project.seed,
        )
        if self.language is not None:
            from shipworthy.release.language import answer_settings

            key["settings"] |= {"generate": answer_settings(self.project.generate)}
            key["module"] = "shipworthy.release.language"

        def make(folder: Path) -> None:
            from shipworthy.release.asking import ask

            rows, work = part(data, split), self.work(name, **key)
            ask(self.project, made.folder, rows, classes(data), folder, work=work)

        return self.run(name, make, **key)

    def predictions(self, data: Stage, made: Made, split: str, answered: Stage) -> Predictions:
        """Read back what a model answered on the rows of a split."""
        from shipworthy.release.asking import heard

        return heard(
            self.project,
            answered.folder,
            part(data, split),
            classes(data),
            name=made.candidate.name,
            artefact_digest=made.candidate.artefact_digest,
        )

    def probes(self, asked: Made | None) -> Stage:
        """Ask a model, or the one that training starts from, the prompts of the probes."""
        from shipworthy.release.probing import probe_inputs

        digest = (
            digest_folder(start_folder(self.project))
            if asked is None
            else asked.candidate.artefact_digest
        )

        def make(folder: Path) -> None:
            from shipworthy.release.probing import write_probes
            from shipworthy.release.start import model_to_probe

            model = model_to_probe(self.project, None if asked is None else asked.folder)
            write_probes(model, self.project.probes, folder)

        return self.run(
            f"probes {START if asked is None else asked.candidate.name}",
            make,
            inputs={"model": digest, **probe_inputs(self.project.probes)},
            settings={
                "tokens": self.project.probes.max_new_tokens,
                "language": None if self.language is None else asdict(self.language),
            },
            module="shipworthy.release.probing",
            seed=self.project.seed,
        )

    def speed(self, data: Stage, all_made: Sequence[Made]) -> Stage:
        """Time all models beside each other; validation texts, so that no test row is touched."""
        project = self.project
        digests = {m.candidate.name: m.candidate.artefact_digest for m in all_made}
        key: dict[str, Any] = dict(
            inputs={"rows": data.digest, "models": digest_json(digests)},
            settings=project.speed,
            module=(
                "shipworthy.measure.speed"
                if self.language is None
                else "shipworthy.measure.language_speed"
            ),
            seed=project.seed,
        )

        def make(folder: Path) -> None:
            from shipworthy.release.asking import timed

            work = self.work("speed", **key)
            work.parent.mkdir(parents=True, exist_ok=True)
            records = timed(
                project,
                {m.candidate.name: m.folder for m in all_made},
                part(data, "validation")[project.data.text].to_list(),
                parent=all_made[0].candidate.name,
                work=work,
            )
            records.save(folder / SPEED)

        return self.run("speed", make, **key)
