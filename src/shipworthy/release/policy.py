"""The written policy: which limits a candidate must keep before it may ship.

`policy:` is a list of limits, or keys with values and the list under `limits`. The same file serves
a project and `judge --policy`; a project file may be given as a policy file too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    RootModel,
    model_validator,
)

from shipworthy.core.digest import digest_json
from shipworthy.core.errors import nearest
from shipworthy.core.locale import text
from shipworthy.core.records import Limit, OnUnknown, RelativeTo, Tier
from shipworthy.core.yaml import Document, Key, load_settings, read_yaml
from shipworthy.measure.licences import MEASURE as LICENCES

SmallSlices: TypeAlias = Literal["default", "report", "undecided"]
PlantedModel: TypeAlias = Literal["broken", "biased", "slow", "oversized"]
SliceValue: TypeAlias = str | int | FiniteFloat | bool | None
Slices: TypeAlias = str | dict[str, SliceValue | list[str]]

NAMED_SLICES = ("all", "each group", "worst group")


class OtherMeasure(BaseModel):
    """A bound that is itself measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure: str
    """Name of another measure of the same candidate."""


class LimitSettings(BaseModel):
    """One line of a policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure: str = ""
    """Name of the measure, as `accuracy` or `latency_p95_ms`."""
    licence_allows: Literal["commercial"] | None = None
    """In place of a measure and a bound: the use that the licences of the model that training
    started from and of its rows must allow."""
    slice: Slices = "all"
    """`all`, `each group`, `worst group`, `{each: column}`, `{each: [column, column]}` for
    intersections, or `{column: value}`."""
    at_least: FiniteFloat | OtherMeasure | None = None
    """Lowest value that passes, in the measure's own unit (a share in 0..1, a change of shares in
    -1..1), or `{measure: name}`."""
    at_most: FiniteFloat | OtherMeasure | None = None
    """Highest value that passes; give exactly one of at_least and at_most."""
    relative_to: RelativeTo = "none"
    """`none`: the value itself; `parent` or `baseline`: its change against that model."""
    tier: Tier = "supporting"
    """`critical`: counts and cannot be waived; `supporting`: counts, can be waived; `advisory`:
    shown, outside the verdict."""
    unknown: OnUnknown = "block"
    """What a "cannot tell" does: `block` leaves the candidate undecided, `disclose` prints it
    beside the verdict."""
    owner: str = ""
    """Role that answers for this limit."""
    expires_days: Annotated[int, Field(ge=1)] | None = None
    """Days after which evidence for this limit is too old; none: it does not age."""

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.licence_allows is not None:
            if self.measure or self.at_least is not None or self.at_most is not None:
                raise ValueError(text("error.policy.licence_alone"))
            return self
        if not self.measure:
            raise ValueError(text("error.policy.no_measure"))
        sides = [side for side in (self.at_least, self.at_most) if side is not None]
        if len(sides) != 1:
            raise ValueError(text("error.policy.one_side"))
        if isinstance(sides[0], OtherMeasure) and self.relative_to != "none":
            raise ValueError(text("error.policy.change_bound"))
        return self

    @model_validator(mode="after")
    def _known_slice(self) -> Self:
        if isinstance(self.slice, str):
            if self.slice not in NAMED_SLICES:
                hint = nearest(self.slice, NAMED_SLICES)
                raise ValueError(text("error.policy.slice", slice=self.slice, hint=hint))
            return self
        if not self.slice:
            raise ValueError(text("error.policy.empty_slice"))
        each = self.slice.get("each")
        if "each" in self.slice and (len(self.slice) > 1 or not _columns(each)):
            raise ValueError(text("error.policy.each"))
        if "each" not in self.slice and any(isinstance(v, list) for v in self.slice.values()):
            raise ValueError(text("error.policy.several_values"))
        return self

    @property
    def measured(self) -> str:
        """Name of the measure, also where the limit is on licences."""
        return self.measure or LICENCES

    def limit(self) -> Limit:
        """Return the record that the ruler works with."""
        bound = self.at_least if self.at_least is not None else self.at_most
        if self.licence_allows is not None:
            bound = 0.0  # none of the licences forbids it
        assert bound is not None
        slices: str | dict[str, Any] = self.slice
        if isinstance(slices, dict):
            slices = {k: tuple(v) if isinstance(v, list) else v for k, v in slices.items()}
            if isinstance(slices.get("each"), tuple) and len(slices["each"]) == 1:
                slices = {"each": slices["each"][0]}
        return Limit(
            measure=self.measured,
            side="at_least" if self.at_least is not None else "at_most",
            bound=bound.measure if isinstance(bound, OtherMeasure) else float(bound),
            slices=slices,
            relative_to=self.relative_to,
            tier=self.tier,
            unknown=self.unknown,
            owner=self.owner,
            expires_days=self.expires_days,
        )


class SelftestSettings(BaseModel):
    """What the self-test of this policy need not show, and for how long it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skip: tuple[PlantedModel, ...] = ()
    """Planted bad models that this policy need not hold: `broken`, `biased`, `slow`, `oversized`;
    the verdict names them."""
    expires_days: Annotated[int, Field(ge=1)] | None = None
    """Days after which a ship verdict needs a new self-test; none: the least `expires_days` of the
    limits, and where no limit has one it does not age."""


class PolicySettings(BaseModel):
    """The whole policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(0.95, ge=0.5, lt=1)
    """Confidence of the two-sided intervals; each end is used alone at (1 - confidence) / 2."""
    nominate: int = Field(3, ge=1)
    """Most candidates that validation may send to the test rows."""
    small_slices: SmallSlices = "default"
    """A slice with too few rows: `undecided` blocks, `report` prints it as not covered, `default`
    blocks for one column and reports for intersections."""
    separation_of_duties: bool = True
    """Whoever trained may not be the only one to sign a verdict off."""
    limits: tuple[LimitSettings, ...] = Field(min_length=1)
    """The limits; all must pass."""
    selftest: SelftestSettings = SelftestSettings()
    """What the policy's self-test need not show, and for how long it stands."""

    def policy(self) -> Policy:
        """Return the record that the ruler works with."""
        limits = tuple(settings.limit() for settings in self.limits)
        return Policy(
            self.confidence,
            self.nominate,
            self.small_slices,
            limits,
            self.separation_of_duties,
            SelftestRule(tuple(sorted(set(self.selftest.skip))), self.selftest.expires_days),
        )


def long_form(value: PolicySettings | tuple[LimitSettings, ...]) -> PolicySettings:
    """Return the settings of a bare list of limits, with the defaults of all else."""
    return value if isinstance(value, PolicySettings) else PolicySettings(limits=value)


if TYPE_CHECKING:
    AnyPolicy: TypeAlias = PolicySettings
else:
    # A union, not a "before" validator: that one would end strict JSON checking below it.
    AnyPolicy = Annotated[
        PolicySettings | Annotated[tuple[LimitSettings, ...], Field(min_length=1)],
        AfterValidator(long_form),
    ]


class PolicyFile(RootModel[AnyPolicy]):
    """A policy in either form: a list of limits, or keys with the list under `limits`."""


@dataclass(frozen=True)
class SelftestRule:
    """Planted models that a policy need not hold, sorted, and the days for which a test stands."""

    skip: tuple[str, ...] = ()
    expires_days: int | None = None


@dataclass(frozen=True)
class Policy:
    """A checked policy. confidence in [0.5, 1); nominate at least 1."""

    confidence: float = 0.95
    nominate: int = 3
    small_slices: SmallSlices = "default"
    limits: tuple[Limit, ...] = ()
    separation_of_duties: bool = True
    selftest: SelftestRule = SelftestRule()

    @property
    def alpha(self) -> float:
        """One-sided level at each end of an interval, before openings and corrections."""
        return round((1 - self.confidence) / 2, 12)


def load_policy(
    source: Path | str | Sequence[Any] | Mapping[str, Any],
    document: Document | None = None,
    *,
    at: Sequence[Key] = (),
    measures: Collection[str] | None = None,
) -> Policy:
    """Read and check a policy.

    source: a file, or the parsed value (then document and at say where it stands, for errors).
    measures: names that can be measured; the registry of the room `measure` where not given.
    Raises SettingsError with file, line, key and the nearest valid name.
    """
    at = tuple(at)
    if isinstance(source, Path | str):
        document = read_yaml(source)
        if isinstance(document.data, dict) and "policy" in document.data:
            at = ("policy",)
        source = document.at(at)
    elif document is None:
        document = Document(source, "policy")
    settings = load_settings(PolicyFile, document, at).root
    check_measures(settings, document, at, known_measures() if measures is None else measures)
    return settings.policy()


def check_measures(
    settings: PolicySettings, document: Document, at: Sequence[Key], measures: Collection[str]
) -> None:
    """Raise SettingsError for a measure that is not among the known names.

    at: key path of the policy in the document, in its short or long form.
    """
    listed = isinstance(document.at(at), list | tuple)
    for index, limit in enumerate(settings.limits):
        place = (*at, index) if listed else (*at, "limits", index)
        for side in ("at_least", "at_most"):
            bound = getattr(limit, side)
            if isinstance(bound, OtherMeasure) and bound.measure not in measures:
                key = (*place, side, "measure")
                raise document.error(
                    text("error.policy.measure", measure=bound.measure),
                    key,
                    fix=nearest(bound.measure, measures),
                )
        if limit.measured not in measures:
            raise document.error(
                text("error.policy.measure", measure=limit.measure),
                (*place, "measure"),
                fix=nearest(limit.measure, measures),
            )


def known_measures() -> frozenset[str]:
    """Return the names that this version can measure."""
    from shipworthy.measure.catalogue import MEASURES

    return frozenset(MEASURES)


def policy_digest(policy: Policy) -> str:
    """Return a digest over what decides; owners, duties, expiry and order do not."""
    limits = [
        {
            "measure": limit.measure,
            "slices": limit.slices if isinstance(limit.slices, str) else dict(limit.slices),
            "side": limit.side,
            "bound": limit.bound,
            "relative_to": limit.relative_to,
            "tier": limit.tier,
            "unknown": limit.unknown,
        }
        for limit in policy.limits
    ]
    return digest_json(
        {
            "confidence": policy.confidence,
            "nominate": policy.nominate,
            "small_slices": policy.small_slices,
            "limits": sorted(limits, key=digest_json),
        }
    )


def may_be_waived(limit: Limit) -> bool:
    """Say whether an able person may let a candidate pass although this limit does not."""
    return limit.tier != "critical"


def _columns(each: Any) -> bool:
    if isinstance(each, list):
        return len(each) > 0 and len(set(each)) == len(each)
    return isinstance(each, str)
