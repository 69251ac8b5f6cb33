"""Settings of the project key `data:`."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shipworthy.core import locale

Share = Annotated[float, Field(ge=0, lt=1)]


class Shares(BaseModel):
    """Share of the rows that each split gets; train gets the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    test: Share = 0.4
    """Rows that the verdict rests on; in [0, 1). They are scarcer than rows to train on."""

    validation: Share = 0.15
    """Rows that nominate candidates; in [0, 1)."""

    calibration: Share = 0.1
    """Rows for ranges of quantisers, thresholds and early stopping; in [0, 1)."""

    @model_validator(mode="after")
    def _leave_something(self) -> Shares:
        if self.test + self.validation + self.calibration >= 1 - 1e-9:
            raise ValueError(locale.text("error.data_settings.shares"))
        return self


class ContaminationSettings(BaseModel):
    """When a row counts as one that stands in the training text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ngram: int = Field(8, ge=1, le=100)
    """Words of a window that is looked for; in [1, 100]. A text of fewer is looked for whole."""

    share: float = Field(0.7, gt=0, le=1)
    """Share of a row's words, in (0, 1], from which it counts."""

    corpora: tuple[str, ...] = ()
    """More text that the model was trained on (files, globs or folders with the column of the
    text), such as that of its first training."""

    meaning: Annotated[float, Field(gt=0, le=1)] | Literal["off"] = "off"
    """Cosine, in (0, 1], from which a row counts as well: that of its meaning and that of a text it
    was trained on, by `builtin:minilm`, which knows English. It finds paraphrases; `off` looks for
    none."""


class SensitiveUse(BaseModel):
    """Leave to use group columns as features of a table, for a time and a reason."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    use: tuple[str, ...] = Field(min_length=1)
    """Columns among `groups` that models may see."""

    reason: str = Field(min_length=10, max_length=500)
    """Why they have to, in words of 10 to 500 characters; ledger and model card repeat it."""

    delete_by: date
    """Last day on which models may be made or measured with them, such as 2027-01-31."""


class DataSettings(BaseModel):
    """Where rows come from, which columns mean what, and how rows are split."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: str | None = None
    """File, glob, Hugging Face folder, `builtin:sentiment`, `builtin:kjv`, `builtin:bbq` or
    `builtin:adult`; it is split by `shares`."""

    train: str | None = None
    """Rows to train on, where the splits are given as files of their own (with `test`)."""

    calibration: str | None = None
    """Calibration rows of their own; without it they are taken from `train` by their share."""

    validation: str | None = None
    """Validation rows of their own; without it they are taken from `train` by their share."""

    test: str | None = None
    """Test rows of their own (with `train`)."""

    text: str = "text"
    """Column with the text."""

    label: str = "label"
    """Column with the class; values are compared as text."""

    prompt: str = "prompt"
    """Column with the prompt, for `task: instruction`."""

    response: str = "response"
    """Column with the response that is wanted, for `task: instruction`."""

    system: str | None = None
    """Column with the system message, for `task: instruction`."""

    choices: str | None = None
    """Column with the possible responses (a list, or its JSON text), for `task: instruction`: the
    answer is then the likeliest of them, and nothing is generated."""

    template: str = "auto"
    """How a prompt is put before the model: `chat` (the tokenizer's own template), a text with
    `{prompt}` in it, or `auto`: the tokenizer's template where it has one, else `{prompt}` and a
    new line."""

    long_prompts: Literal["refuse", "cut"] = "refuse"
    """What becomes of a prompt that leaves no room for its response: an error that names the row,
    or it is cut at its start."""

    positive: str | None = None
    """Class that selection rates and their like count, where none of two classes is called 1, true,
    yes, pos or positive."""

    features: tuple[str, ...] = ()
    """Columns that the model of a table sees; without any, all that have no other purpose."""

    ignore: tuple[str, ...] = ()
    """Columns of a table that no model sees, such as weights of a survey."""

    kinds: dict[str, Literal["number", "category"]] = {}
    """Kind of a feature, where that of its values (numbers or text) is not what is meant."""

    sensitive: SensitiveUse | None = None
    """Group columns that the model of a table sees; without it, none does."""

    id: str | None = None
    """Column with a unique name of each row; without it rows go by position."""

    unit: str | None = None
    """Column whose values never cross splits and count as one draw each (author, source, person);
    without it rows are taken as independent."""

    groups: tuple[str, ...] = ()
    """Columns whose values are measured apart, each as it stands; missing is a group too."""

    intersections: int = Field(1, ge=1, le=3)
    """Up to how many group columns are crossed with each other; 1 crosses none."""

    shares: Shares = Shares()
    """How `source` is split."""

    near_duplicates: Annotated[float, Field(gt=0, le=1)] | Literal["off"] = 0.8
    """Similarity, in (0, 1], from which two texts stay in one split: the Jaccard similarity of
    their five-byte shingles. 1 joins texts that are equal but for case and punctuation; `off` joins
    none."""

    contamination: ContaminationSettings = ContaminationSettings()
    """When a row counts as one that stands in the training text, for limits on
    `contaminated_share`."""

    @model_validator(mode="after")
    def _one_way_to_split(self) -> DataSettings:
        apart = [n for n in ("train", "calibration", "validation", "test") if getattr(self, n)]
        if self.source is None and not {"train", "test"} <= set(apart):
            raise ValueError(locale.text("error.data_settings.no_source"))
        if self.source is not None and apart:
            raise ValueError(locale.text("error.data_settings.two_sources", split=apart[0]))
        columns = [self.text, self.label, *(n for n in (self.id,) if n is not None)]
        for name in columns:
            if columns.count(name) > 1:
                raise ValueError(locale.text("error.data_settings.two_purposes", name=name))
        for name in self.groups:
            if self.groups.count(name) > 1:
                raise ValueError(locale.text("error.data_settings.group_twice", name=name))
            if name == self.text:
                raise ValueError(locale.text("error.data_settings.text_group", name=name))
        return self

    @model_validator(mode="after")
    def _keep_groups_out(self) -> DataSettings:
        allowed = () if self.sensitive is None else self.sensitive.use
        for name in allowed:
            if name not in self.groups:
                raise ValueError(locale.text("error.data_settings.sensitive", name=name))
            if self.features and name not in self.features:
                raise ValueError(locale.text("error.data_settings.sensitive_unused", name=name))
        for name in self.features:
            if self.features.count(name) > 1:
                raise ValueError(locale.text("error.data_settings.feature_twice", name=name))
            if name in self.groups and name not in allowed:
                raise ValueError(locale.text("error.data_settings.group_feature", name=name))
            if name in (self.label, self.id, self.unit, *self.ignore):
                raise ValueError(locale.text("error.data_settings.two_purposes", name=name))
        return self
