"""The project file: one folder of data and one model, told in settings that the rooms own.

This file only puts the rooms' settings together, refuses keys of rooms that are not there yet, and
makes paths absolute (they are written relative to the project file).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from shipworthy.compress.settings import CompressSettings
from shipworthy.core.errors import DataError, SettingsError, nearest
from shipworthy.core.locale import text
from shipworthy.core.yaml import Document, Key, load_settings, read_yaml
from shipworthy.data.builtin import PREFIX, TABLES
from shipworthy.data.settings import DataSettings
from shipworthy.data.sources import source_files
from shipworthy.measure.generation_settings import GenerationSettings
from shipworthy.measure.probe_settings import ProbeSettings
from shipworthy.measure.settings import SpeedSettings
from shipworthy.model.runtimes import model_folder
from shipworthy.release.documentation import Documentation
from shipworthy.release.next_prices import PriceSettings
from shipworthy.release.policy import AnyPolicy, check_measures, known_measures
from shipworthy.release.project_tables import for_table, refuse_table_keys
from shipworthy.release.recipe_fit import check_file
from shipworthy.team.roster import check_owners, load_roster
from shipworthy.train.mitigation_recipes import mitigations
from shipworthy.train.mitigation_settings import AugmentationRecipe, MitigationSettings
from shipworthy.train.settings import TrainSettings
from shipworthy.train.table_settings import TableModelSettings

Task: TypeAlias = Literal[
    "text-classification",
    "text-regression",
    "tabular-classification",
    "tabular-regression",
    "causal-lm",
    "instruction",
]
Objective: TypeAlias = Literal["size", "latency", "throughput", "cost", "quality"]

AVAILABLE_TASKS = (
    "text-classification", "tabular-classification", "tabular-regression", "causal-lm",
    "instruction",
)  # fmt: skip
TABLE_TASKS = ("tabular-classification", "tabular-regression")
LATER_KEYS = ("explain", "privacy")
BUILTIN_MODELS = ("builtin:minilm", "builtin:smollm2", "builtin:llama-kjv")
BUILTIN_TABLES = tuple(f"{PREFIX}{name}" for name in TABLES)

LANGUAGE_TASKS = ("causal-lm", "instruction")
LANGUAGE_LENGTH = 512
"""Tokens that a language model reads where the project does not say."""

_DATA_PATHS = ("source", "train", "calibration", "validation", "test")


class ReportSettings(BaseModel):
    """What the report may show."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: Literal["none", "deidentified", "raw"] = "none"
    """Texts whose answer changed: `none`, with identifiers replaced, or as they are."""


class Project(BaseModel):
    """A project; paths are absolute once `load_project` has read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    """Name for people, in reports."""
    task: Task = "text-classification"
    """What the model does."""
    model: TableModelSettings | str
    """The model to start from: a Hugging Face folder, `builtin:minilm`, or for language models a
    GGUF file, `builtin:smollm2` or, without any training yet, `builtin:llama-kjv`. For tables: the
    parent, one of `{linear: {}}`, `{network: {}}` and `{boosting: {}}`."""
    challengers: tuple[TableModelSettings, ...] = ()
    """For tables: further models on the same rows, each a candidate beside the parent."""
    adapter: Path | None = None
    """Folder of a LoRA adapter that is added to a language model before anything else."""
    data: DataSettings
    """Rows, their columns and how they are split."""
    train: TrainSettings = TrainSettings()
    """How the parent is fine-tuned."""
    compress: CompressSettings = CompressSettings()
    """Which candidates are made from the parent."""
    mitigate: MitigationSettings = MitigationSettings()
    """Which further ones are made so that groups fare more alike."""
    generate: GenerationSettings = GenerationSettings()
    """How a language model is asked for answers, and how these are scored."""
    probes: ProbeSettings = ProbeSettings()
    """Prompts of their own that a language model is asked beside its test rows."""
    speed: SpeedSettings = SpeedSettings()
    """How latency and throughput are measured."""
    objective: Objective = "size"
    """Which of the candidates that pass is named best."""
    policy: AnyPolicy
    """The limits that a candidate must keep."""
    team: Path | None = None
    """File with the people and their roles."""
    report: ReportSettings = ReportSettings()
    """What the report may show."""
    documentation: Documentation = Documentation()
    """What people declare about model and data, for cards."""
    prices: PriceSettings = PriceSettings()
    """What labels and machines cost, so that next steps are told in money."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of splits, training and measurements."""

    @property
    def table(self) -> TableModelSettings | None:
        """The parent, where rows are those of a table."""
        return None if isinstance(self.model, str) else self.model

    @property
    def base(self) -> str:
        """Name of the model to start from; "" for tables, whose models start from nothing."""
        return self.model if isinstance(self.model, str) else ""


def load_project(path: Path | str, *, root: Path | None = None) -> Project:
    """Read and check a project file.

    root: folder that its paths start from; its own where not given.
    Raises SettingsError with file, line, key and nearest valid name for what does not fit, for
    files that are missing and for what this version cannot do.
    """
    document = read_yaml(path)
    _refuse_later_keys(document)
    project = load_settings(Project, document)
    if project.task not in AVAILABLE_TASKS:
        known = ", ".join(AVAILABLE_TASKS)
        raise document.error(
            text("error.project.task", task=project.task),
            ("task",),
            fix=text("error.known", names=known),
        )
    check_measures(project.policy, document, ("policy",), known_measures())
    _check_mitigations(project, document)
    resolved = _resolved(project, document, root or Path(path).resolve().parent)
    if resolved.base:
        check_file(resolved, document)
    return resolved


def start_folder(project: Project) -> Path:
    """Return the folder of the model that training starts from; fetched or made where need be."""
    return model_folder(project.base, project.adapter)


def base_folder(project: Project) -> Path | None:
    """Return the folder of `start_folder`; None for tables, whose models start from nothing."""
    return start_folder(project) if project.base else None


def _check_mitigations(project: Project, document: Document) -> None:
    """Raise SettingsError for a mitigation that the project's task or groups cannot have."""
    asked = mitigations(project.mitigate)
    if asked and project.task != "text-classification":
        raise document.error(
            text("error.mitigation.task", task=project.task), ("mitigate",),
            fix=text("error.mitigation.task.fix"),
        )  # fmt: skip
    for place, recipe in enumerate(asked):
        try:
            recipe.group_of(project.data.groups)
        except SettingsError as error:
            raise document.error(str(error), ("mitigate", "recipes", place)) from error


def _refuse_later_keys(document: Document) -> None:
    if isinstance(document.data, dict):
        for key in document.data:
            if key in LATER_KEYS:
                raise document.error(
                    text("error.project.later"), (key,), fix=text("error.project.later.fix")
                )


def _resolved(project: Project, document: Document, folder: Path) -> Project:
    changes: dict[str, Any] = {"data": _data(project.data, document, folder)}
    if project.task in TABLE_TASKS:
        changes |= for_table(project, changes["data"], document)
    else:
        refuse_table_keys(project, document)
        changes["model"] = _model(project.base, document, folder)
    if project.adapter is not None:
        changes["adapter"] = _existing(project.adapter, document, ("adapter",), folder)
    if project.task in LANGUAGE_TASKS:
        changes |= _for_language(project, changes["data"], document, folder)
    changes["probes"] = _probes(project, document, folder)
    changes["mitigate"] = _mitigations(project.mitigate, document, folder)
    if project.team is not None:
        team = _existing(project.team, document, ("team",), folder)
        check_owners(project.policy.policy().limits, load_roster(team), team)
        changes["team"] = team
    return project.model_copy(update=changes)


def _model(name: str, document: Document, folder: Path) -> str:
    if name.startswith("builtin:"):
        return _builtin(name, BUILTIN_MODELS, document, ("model",))
    place = folder / Path(name).expanduser()
    if not place.is_dir() and not (place.suffix == ".gguf" and place.is_file()):
        raise document.error(
            text("error.project.folder", place=place),
            ("model",),
            fix=text("error.project.folder.fix"),
        )
    return str(place)


def _data(data: DataSettings, document: Document, folder: Path) -> DataSettings:
    changes: dict[str, Any] = {}
    for field in _DATA_PATHS:
        written = getattr(data, field)
        if written is None:
            continue
        key = ("data", field)
        if str(written).startswith("builtin:"):
            changes[field] = _builtin(str(written), BUILTIN_TABLES, document, key)
            continue
        try:
            source_files(written, root=folder)
        except DataError as error:
            raise document.error(str(error), key) from error
        changes[field] = str(folder / Path(written).expanduser())
    corpora = []
    for place, written in enumerate(data.contamination.corpora):
        try:
            source_files(written, root=folder)
        except DataError as error:
            at = ("data", "contamination", "corpora", place)
            raise document.error(str(error), at) from error
        corpora.append(str(folder / Path(written).expanduser()))
    changes["contamination"] = data.contamination.model_copy(update={"corpora": tuple(corpora)})
    return data.model_copy(update=changes)


def _for_language(
    project: Project, data: DataSettings, document: Document, folder: Path
) -> dict[str, Any]:
    """Return what a language model changes: its columns, and defaults that are for classifiers."""
    responds = project.task == "instruction"
    columns = (data.prompt, data.response) if responds else (data.text, data.text)
    train, regularization = project.train, project.train.regularization
    if regularization.r_drop > 0:
        key = ("train", "regularization", "r_drop")
        raise document.error(text("error.project.r_drop"), key)
    if train.race is not None:
        raise document.error(text("error.project.race"), ("train", "race"))
    if "label_smoothing" not in regularization.model_fields_set:
        regularization = regularization.model_copy(update={"label_smoothing": 0.0})
    more: dict[str, Any] = {"regularization": regularization}
    if "max_length" not in train.model_fields_set:
        more["max_length"] = LANGUAGE_LENGTH
    generate = project.generate
    if generate.json_schema is not None:
        at = ("generate", "json_schema")
        schema = _existing(generate.json_schema, document, at, folder)
        generate = generate.model_copy(update={"json_schema": schema})
    return {
        "data": data.model_copy(update={"text": columns[0], "label": columns[1]}),
        "train": train.model_copy(update=more),
        "generate": generate,
    }


def _probes(project: Project, document: Document, folder: Path) -> ProbeSettings:
    """Return the probes with their files found, which every limit on one of them has."""
    from shipworthy.release.probe_rows import BUILTIN_PAIRS
    from shipworthy.release.probing import SOURCES

    for limit in project.policy.policy().limits:
        key = SOURCES.get(limit.measure)
        if key is not None and getattr(project.probes, key) is None:
            raise document.error(
                text("error.project.probe", measure=limit.measure, key=key),
                ("policy",),
                fix=text("error.project.probe.fix", key=key),
            )
    probes, changes = project.probes, dict[str, Any]()
    for key in ("refusals", "preferences"):
        written = getattr(probes, key)
        if written is not None:
            changes[key] = _existing(written, document, ("probes", key), folder)
    if probes.identities is not None:
        at = ("probes", "identities", "prompts")
        prompts = _existing(probes.identities.prompts, document, at, folder)
        changes["identities"] = probes.identities.model_copy(update={"prompts": prompts})
    if probes.stereotypes is not None:
        pairs, where = probes.stereotypes, ("probes", "stereotypes")
        changes["stereotypes"] = (
            _builtin(pairs, BUILTIN_PAIRS, document, where)
            if pairs.startswith(PREFIX)
            else str(_existing(Path(pairs), document, where, folder))
        )
    return project.probes.model_copy(update=changes)


def _mitigations(
    settings: MitigationSettings, document: Document, folder: Path
) -> MitigationSettings:
    """Return the mitigations with their lists of pairs found and read once."""
    from shipworthy.data.identity_pairs import BUILTIN_PAIRS, read_pairs

    recipes = list(settings.recipes)
    for place, recipe in enumerate(recipes):
        if not isinstance(recipe, AugmentationRecipe):
            continue
        options, found = recipe.counterfactual_augmentation, []
        for name in options.pairs:
            written = name if name in BUILTIN_PAIRS else str(folder / Path(name).expanduser())
            try:
                read_pairs(written if Path(written).is_file() else name, options.language)
            except DataError as error:
                raise document.error(str(error), ("mitigate", "recipes", place)) from error
            found.append(written)
        changed = options.model_copy(update={"pairs": tuple(found)})
        recipes[place] = AugmentationRecipe(counterfactual_augmentation=changed)
    return settings.model_copy(update={"recipes": tuple(recipes)})


def _existing(path: Path, document: Document, key: tuple[Key, ...], folder: Path) -> Path:
    place = folder / path.expanduser()
    if not place.exists():
        raise document.error(text("error.project.file", place=place), key)
    return place


def _builtin(name: str, known: tuple[str, ...], document: Document, key: tuple[Key, ...]) -> str:
    if name not in known:
        raise document.error(
            text("error.project.builtin", name=name), key, fix=nearest(name, known)
        )
    return name
