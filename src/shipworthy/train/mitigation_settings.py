"""Settings of the project key `mitigate:`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shipworthy.core.locale import text

_MODEL = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
_Parity: TypeAlias = Literal["demographic_parity", "equal_opportunity", "equalized_odds"]
_Unknown: TypeAlias = Literal["pooled", "refuse"]


class ReweighingSettings(BaseModel):
    """A training in which label and group have nothing to do with each other."""

    model_config = _MODEL

    group: str | None = None
    """Column of the group, one of `data.groups`; without it their first."""


class GroupDroSettings(BaseModel):
    """A training for the group whose loss is highest."""

    model_config = _MODEL

    group: str | None = None
    """As of `reweighing`."""

    by_label: bool = False
    """Whether each class of a group is a group of its own."""

    step: float = Field(0.01, gt=0, le=10)
    """How fast the weights of groups follow their losses; in (0, 10]."""

    adjustment: float = Field(0.0, ge=0, le=100)
    """Added to the loss of a group, over the root of its rows; in [0, 100]. Above 0 small groups
    count more."""


class AdversarialSettings(BaseModel):
    """A training against an adversary that guesses the group from the answers."""

    model_config = _MODEL

    group: str | None = None
    """As of `reweighing`."""

    constraint: Literal["demographic_parity", "equalized_odds"] = "demographic_parity"
    """What answers are not to tell the group by: at all, or beyond what the label tells."""

    alpha: float = Field(1.0, ge=0, le=1000)
    """Weight of the adversary's loss; in [0, 1000]."""


class AugmentationSettings(BaseModel):
    """A training that sees texts with identities swapped as well, their labels as they were."""

    model_config = _MODEL

    pairs: tuple[str, ...] = Field(("gender",), min_length=1)
    """Lists of pairs, each for itself: `gender`, `names`, `nationality`, `religion`, `age`, or
    files of your own."""

    language: Literal["en", "zh"] = "en"
    """Language of the lists in the package."""


class GroupThresholdSettings(BaseModel):
    """A threshold for each group, chosen on calibration rows; the group is asked for at answers."""

    model_config = _MODEL

    group: str | None = None
    """As of `reweighing`."""

    constraint: _Parity = "equal_opportunity"
    """In what groups are to be alike: `demographic_parity`, the share that is given the positive
    class; `equal_opportunity`, the true positive rate; `equalized_odds`, true and false ones."""

    draws: bool = False
    """Whether some answers are drawn, by a keyed hash of the row, so that rates can be made equal;
    without it each group has one threshold, and rates come near."""

    within: float = Field(0.01, ge=0, lt=1)
    """How far rates may lie apart on calibration rows without `draws`; in [0, 1)."""

    unknown: _Unknown = "pooled"
    """What becomes of a group without a threshold: `pooled` answers as before, `refuse` is an
    error."""

    positive: str | None = None
    """The positive class; without it the one that is called 1, true, yes, pos or positive."""


class GroupCalibrationSettings(BaseModel):
    """Probabilities made to hold in each group; the group is asked for at answers."""

    model_config = _MODEL

    group: str | None = None
    """As of `reweighing`."""

    method: Literal["temperature", "platt"] = "temperature"
    """`temperature`, one scale a group, which turns no answer, or `platt`, an offset as well."""

    unknown: _Unknown = "pooled"
    """What becomes of a group without a scale: `pooled` takes that of all rows, `refuse` is an
    error."""


class ExponentiatedGradientSettings(BaseModel):
    """The head of the model is fitted again under a constraint, its features as they are."""

    model_config = _MODEL

    group: str | None = None
    """As of `reweighing`."""

    constraint: _Parity = "demographic_parity"
    """As of `threshold_per_group`."""

    eps: float = Field(0.01, gt=0, lt=1)
    """How far the rate of a group may lie from that of all training rows; in (0, 1)."""

    most_fits: int = Field(50, ge=2, le=1000)
    """Heads that are fitted, at most; in [2, 1000]."""

    positive: str | None = None
    """As of `threshold_per_group`."""


class ReweighingRecipe(BaseModel):
    """Row weights: `reweighing`, `{reweighing: {group: domain}}`."""

    model_config = _MODEL

    reweighing: ReweighingSettings
    """Of which group."""


class GroupDroRecipe(BaseModel):
    """The worst group first: `group_dro`, `{group_dro: {step: 0.05}}`."""

    model_config = _MODEL

    group_dro: GroupDroSettings
    """Of which group, and how fast."""


class AdversarialRecipe(BaseModel):
    """Against an adversary: `adversarial`, `{adversarial: {constraint: equalized_odds}}`."""

    model_config = _MODEL

    adversarial: AdversarialSettings
    """Of which group, and how hard."""


class AugmentationRecipe(BaseModel):
    """Identities swapped: `{counterfactual_augmentation: {pairs: [gender, names]}}`."""

    model_config = _MODEL

    counterfactual_augmentation: AugmentationSettings
    """By which lists."""


class GroupThresholdRecipe(BaseModel):
    """Thresholds: `{threshold_per_group: {constraint: equalized_odds, draws: true}}`."""

    model_config = _MODEL

    threshold_per_group: GroupThresholdSettings
    """Of which group, and for what."""


class GroupCalibrationRecipe(BaseModel):
    """Probabilities: `calibration_per_group`, `{calibration_per_group: {method: platt}}`."""

    model_config = _MODEL

    calibration_per_group: GroupCalibrationSettings
    """Of which group, and how."""


class ExponentiatedGradientRecipe(BaseModel):
    """The reductions approach: `{exponentiated_gradient: {constraint: equalized_odds}}`."""

    model_config = _MODEL

    exponentiated_gradient: ExponentiatedGradientSettings
    """Of which group, and for what."""


MitigationRecipe: TypeAlias = (
    ReweighingRecipe
    | GroupDroRecipe
    | AdversarialRecipe
    | AugmentationRecipe
    | GroupThresholdRecipe
    | GroupCalibrationRecipe
    | ExponentiatedGradientRecipe
)
RecipeName: TypeAlias = Literal[
    "reweighing",
    "group_dro",
    "adversarial",
    "counterfactual_augmentation",
    "threshold_per_group",
    "calibration_per_group",
    "exponentiated_gradient",
]
"""Each recipe by its name alone, its options at their defaults."""


class MitigationSettings(BaseModel):
    """Which candidates are made of the trained model so that groups fare more alike."""

    model_config = _MODEL

    recipes: tuple[RecipeName | MitigationRecipe, ...] = ()
    """A list of `reweighing`, `group_dro`, `adversarial`, `counterfactual_augmentation`,
    `threshold_per_group`, `calibration_per_group` and `exponentiated_gradient`, each by its name
    or with options, as `{reweighing: {group: domain}}`; an empty list makes none."""

    @field_validator("recipes")
    @classmethod
    def _each_once(
        cls, recipes: tuple[RecipeName | MitigationRecipe, ...]
    ) -> tuple[RecipeName | MitigationRecipe, ...]:
        told = [plain(recipe) for recipe in recipes]
        for recipe in told:
            if told.count(recipe) > 1:
                (name,) = recipe
                raise ValueError(text("error.mitigation.recipe_twice", recipe=name))
        return recipes


Plain: TypeAlias = Annotated[dict[str, Any], "one key, the recipe's name"]


def plain(recipe: RecipeName | MitigationRecipe) -> Plain:
    """Return a recipe as plain values, what is left at its default left out.

    >>> plain("reweighing")
    {'reweighing': {}}
    """
    if isinstance(recipe, str):
        return {recipe: {}}
    return recipe.model_dump(mode="json", exclude_defaults=True)
