"""Settings of models of tables: one of three kinds, and how it is fitted."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shipworthy.core.locale import text

TableKind: TypeAlias = Literal["linear", "network", "boosting"]


class LinearSettings(BaseModel):
    """Logistic regression, or ridge regression of a number (scikit-learn)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    l2: float = Field(1.0, gt=0)
    """Strength of the penalty on squared weights, above 0: for classes 1 / C of scikit-learn."""

    most_steps: int = Field(1000, ge=1, le=100_000)
    """Steps after which the solver stops in any case; in [1, 100000]."""


class NetworkSettings(BaseModel):
    """A small network of dense layers (PyTorch)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (64, 32)
    """Widths of the layers between input and answer, each in [1, 4096]; none is a linear model."""

    epochs: int = Field(20, ge=1, le=1000)
    """Passes over the rows to train on, at most; in [1, 1000]."""

    batch_size: int = Field(512, ge=1, le=100_000)
    """Rows of a step; in [1, 100000]."""

    learning_rate: float = Field(2e-3, gt=0, le=1)
    """Largest step of AdamW, in (0, 1]; it falls to 0 along a cosine."""

    weight_decay: float = Field(0.01, ge=0, le=1)
    """Share of each weight that a step at the full rate takes off; in [0, 1]."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the hidden units that are left out of a step; in [0, 1)."""

    patience: int = Field(3, ge=1, le=1000)
    """Passes without a lower loss on the calibration rows after which training ends."""


class BoostingSettings(BaseModel):
    """Gradient-boosted trees (LightGBM; extra `tabular`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trees: int = Field(300, ge=1, le=10_000)
    """Rounds, at most; in [1, 10000]. Of more than two classes each has a tree in every round."""

    learning_rate: float = Field(0.1, gt=0, le=1)
    """Share of each tree's answer that counts; in (0, 1]."""

    leaves: int = Field(31, ge=2, le=10_000)
    """Leaves of a tree, at most; in [2, 10000]."""

    least_rows: int = Field(20, ge=1)
    """Rows to train on that a leaf holds at least."""

    l2: float = Field(1.0, ge=0)
    """Strength of the penalty on squared answers of leaves."""

    patience: int = Field(20, ge=1, le=1000)
    """Rounds without a lower loss on the calibration rows after which training ends."""


class TableModelSettings(BaseModel):
    """The model of a table: exactly one kind. `{linear: {}}` takes its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    linear: LinearSettings | None = None
    """Logistic regression, or ridge regression of a number."""

    network: NetworkSettings | None = None
    """A small network of dense layers."""

    boosting: BoostingSettings | None = None
    """Gradient-boosted trees; needs the extra `tabular`."""

    name: str = Field("", max_length=40, pattern=r"^[A-Za-z0-9 ._-]*$")
    """What it is called in reports; without one, by its kind."""

    @model_validator(mode="after")
    def _one_kind(self) -> TableModelSettings:
        given = [k for k in ("linear", "network", "boosting") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(text("error.table_settings.one_kind"))
        return self

    @property
    def kind(self) -> TableKind:
        """Which kind it is."""
        if self.linear is not None:
            return "linear"
        return "network" if self.network is not None else "boosting"

    @property
    def title(self) -> str:
        """Its name, or else its kind."""
        return self.name or self.kind

    def reported(self) -> dict[str, object]:
        """Return the kind and its settings as JSON values: what makes the artefact what it is."""
        own = getattr(self, self.kind)
        return {"model": self.kind, **own.model_dump(mode="json")}
