"""What a model makes of whom a prompt is about: identities swapped, beside swaps without effect.

Any other name moves a model a little. So each template is asked with four names: two of a group A
and two of a group B, as like in size as the lists allow.

    identity swaps   A1 -> B1, A2 -> B2
    control swaps    A1 -> A2, B1 -> B2

The effect of identity is how much further the first move an answer than the second. If a model does
not look at the group, all four names are alike, exchanging A2 and B1 turns the ones into the
others, and the effect lies evenly around 0, however restless the model is. It is above 0 also where
one group's names move a model more than the other's: `favours` says whether one of them gains.

Names are drawn once, templates that share them are one sampling unit. No model is asked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError, InputError
from shipworthy.core.locale import text
from shipworthy.measure.rates import mean, paired_change
from shipworthy.measure.slices import Partition, partition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl
    from numpy.typing import ArrayLike, NDArray

    from shipworthy.measure.estimates import Mean, PairedChange

    FloatArray: TypeAlias = NDArray[np.float64]
    Four: TypeAlias = tuple[str, str, str, str]

SLOTS = ("{name}", "{group}")
"""What stands in a template where a name, or a word for a group, is put."""

ARMS = ("first_1", "first_2", "second_1", "second_2")
"""The four prompts of a template, in their order: names A1, A2 of the first group, B1, B2."""

MOST_FOURS = 8
"""Fours of names that a template is asked with at most."""


@dataclass(frozen=True, eq=False)
class SwapPlan:
    """Prompts to be asked.

    prompts: columns template, four, arm, name, prompt, sorted by them, so that one value a prompt
    takes `shape`. rows: the templates, in slices by topic, their units the names that they share.
    gaps: mean difference in size that identity swaps and control swaps make; about alike is right.
    """

    prompts: pl.DataFrame
    shape: tuple[int, int, int]
    rows: Partition
    gaps: tuple[float, float]

    def shaped(self, values: ArrayLike) -> FloatArray:
        """Return one value a prompt in the shape (templates, fours, 4).

        Raises InputError where there are more or fewer, or one is not finite.
        """
        found = np.asarray(values, dtype=np.float64)
        if found.size != np.prod(self.shape):
            raise InputError(
                text("error.identity_swaps.shape", found=found.shape, expected=self.shape)
            )
        found = found.reshape(self.shape)
        strange = np.flatnonzero(~np.isfinite(found).all(axis=(1, 2)))
        if len(strange):
            raise InputError(text("error.identity_swaps.not_finite", template=int(strange[0]) + 1))
        return found


@dataclass(frozen=True, eq=False)
class SwapEffects:
    """What swaps do, over templates.

    effect: mean move under identity swaps beyond that under control swaps; identity, control: both
    moves by themselves; favours: mean value with names of the first group less that with names of
    the second; by_template: effect and favours of each template, shape (templates, 2). flips: share
    of swaps that change the choice, under identity against control; None where nothing is chosen.
    """

    effect: Mean
    identity: Mean
    control: Mean
    favours: Mean
    by_template: FloatArray
    flips: PairedChange | None = None


def swap_plan(
    templates: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    *,
    topics: Sequence[str] | None = None,
    size: Callable[[str], int] = len,
    most: int = MOST_FOURS,
    seed: int = 0,
) -> SwapPlan:
    """Return what to ask so as to compare two groups.

    templates: texts with `{name}` or `{group}`. first, second: names of both groups; one that
    stands in both lists is left out. topics: what each template is about; effects are given by
    topic. size: of a name, its characters unless a count of tokens is given.
    Each template gets `most` fours of names, or as many as there are for all; where names do not
    suffice for one four a template, templates share them.
    Raises DataError naming the template without a slot; InputError for less than two names.
    """
    import polars as pl

    if not templates:
        raise InputError(text("error.identity_swaps.no_template"))
    if topics is not None and len(topics) != len(templates):
        told = {"topics": len(topics), "templates": len(templates)}
        raise InputError(text("error.identity_swaps.topics", **told))
    for number, template in enumerate(templates):
        if not any(slot in template for slot in SLOTS):
            raise DataError(
                text("error.identity_swaps.no_slot"), row=number + 1,
                fix=text("error.identity_swaps.no_slot.fix"),
            )  # fmt: skip
    fours = match_names(first, second, size=size, seed=seed)
    each = min(most, max(1, len(fours) // len(templates)))
    blocks = min(len(fours) // each, len(templates))
    units = np.arange(len(templates), dtype=np.int64) % blocks
    asked = [
        (template, four, arm, name, _filled(templates[template], name))
        for template, block in enumerate(units.tolist())
        for four in range(each)
        for arm, name in zip(ARMS, fours[block * each + four], strict=True)
    ]
    kinds = {"template": pl.Int64, "four": pl.Int64, "arm": pl.String, "name": pl.String}
    prompts = pl.DataFrame(asked, schema={**kinds, "prompt": pl.String}, orient="row")
    told_by = pl.DataFrame({"topic": list(topics or [""] * len(templates)), "unit": units})
    by = () if topics is None else ("topic",)
    unit = "unit" if blocks < len(templates) else None
    sizes = np.array([[size(name) for name in four] for four in fours[: blocks * each]], float)
    identity, control = _moves(sizes)
    return SwapPlan(
        prompts=prompts,
        shape=(len(templates), each, len(ARMS)),
        rows=partition(told_by, by, unit=unit),
        gaps=(float(identity.mean()), float(control.mean())),
    )


def match_names(
    first: Sequence[str], second: Sequence[str], *, size: Callable[[str], int] = len, seed: int = 0
) -> list[Four]:
    """Return fours of names (two of each group) of like size, the most alike first.

    Each name stands in one four at most. seed: which of equally long names come together.
    Raises InputError where a list has less than two names of its own.
    """
    from scipy.optimize import linear_sum_assignment

    ones = {name.strip() for name in first} - {""}
    others = {name.strip() for name in second} - {""}
    pairs = []
    for which, own in (("first", ones - others), ("second", others - ones)):
        if len(own) < 2:
            problem = text("error.identity_swaps.few_names", which=which, found=len(own), least=2)
            raise InputError(problem)
        names = sorted(own)
        # Neighbours in the alphabet look alike, and would make control swaps too mild.
        mixed = np.random.default_rng(seed).permutation(len(names))
        ordered = sorted((names[k] for k in mixed), key=size)
        pairs.append([(ordered[k], ordered[k + 1]) for k in range(0, len(ordered) - 1, 2)])
    sizes = [np.array([[size(n) for n in pair] for pair in own], float) for own in pairs]
    costs = np.abs(sizes[0][:, None] - sizes[1][None]).sum(axis=-1)
    # By roots: many that fit well and a few that do not, which come last and are seldom asked.
    left, right = linear_sum_assignment(np.sqrt(costs))
    inner = [np.abs(np.diff(own, axis=1))[:, 0] for own in sizes]
    spread = costs[left, right] + inner[0][left] + inner[1][right]
    return [(*pairs[0][left[k]], *pairs[1][right[k]]) for k in np.argsort(spread, kind="stable")]


def log_odds(log_likelihoods: ArrayLike, choice: ArrayLike = 0) -> FloatArray:
    """Return the log-odds of a choice against all others.

    log_likelihoods: shape (..., k), k of at least 2; choice: its place, one for all or one each.
    """
    values = np.asarray(log_likelihoods, dtype=np.float64)
    own = np.broadcast_to(np.asarray(choice, dtype=np.int64), values.shape[:-1])[..., None]
    chosen = np.take_along_axis(values, own, axis=-1)[..., 0]
    rest = np.where(np.arange(values.shape[-1]) == own, -np.inf, values)
    return np.asarray(chosen - np.logaddexp.reduce(rest, axis=-1))


def score_effects(plan: SwapPlan, scores: ArrayLike, *, reach: float | None = None) -> SwapEffects:
    """Return what swaps do to a number per answer: whether it refuses, its length, its sentiment.

    scores: one a prompt, in the order of the plan. reach: how far two templates can lie apart at
    most; None takes the furthest that was met.
    Raises InputError for a wrong number of scores or one that is not finite.
    """
    per = _by_template(plan.shaped(scores))
    effect = per["identity"] - per["control"]
    return SwapEffects(
        effect=_mean(plan, effect, reach),
        identity=_mean(plan, per["identity"], reach),
        control=_mean(plan, per["control"], reach),
        favours=_mean(plan, per["favours"], reach),
        by_template=np.stack([effect, per["favours"]], axis=1),
    )


def choice_effects(
    plan: SwapPlan, log_likelihoods: ArrayLike, choices: int, *, favourable: ArrayLike = 0
) -> SwapEffects:
    """Return what swaps do to the log-odds of a choice, and how often they change the choice.

    log_likelihoods: of each choice of each prompt, in the order of the plan (the values of
    `choice_log_likelihoods`); choices: how many a prompt has. favourable: place of the choice whose
    log-odds are taken, one for all or one a template; `favours` above 0 gives it to the first group
    more often.
    Raises InputError for a wrong number of values or one that is not finite.
    """
    values = np.asarray(log_likelihoods, dtype=np.float64)
    if values.size != np.prod(plan.shape) * choices:
        expected = (*plan.shape, choices)
        raise InputError(text("error.identity_swaps.shape", found=values.shape, expected=expected))
    values = values.reshape(*plan.shape, choices)
    taken = np.asarray(favourable, dtype=np.int64)
    found = score_effects(plan, log_odds(values, taken[:, None, None] if taken.ndim else taken))
    picked = values.argmax(axis=-1)
    return SwapEffects(
        effect=found.effect, identity=found.identity, control=found.control,
        favours=found.favours, by_template=found.by_template, flips=_flips(plan, picked),
    )  # fmt: skip


def effect_change(
    plan: SwapPlan, before: ArrayLike, after: ArrayLike, *, identical: bool = False
) -> Mean:
    """Return how much the effect of identity changed between two models that were asked the same.

    before, after: a number per prompt, as in `score_effects` (for choices: `log_odds`). identical:
    whether both are the same artefact.
    """
    was, now = (_by_template(plan.shaped(values)) for values in (before, after))
    change = (now["identity"] - now["control"]) - (was["identity"] - was["control"])
    return _mean(plan, change, None, method="paired mean over templates, t", identical=identical)


def _filled(template: str, name: str) -> str:
    for slot in SLOTS:
        template = template.replace(slot, name)
    return template


def _moves(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean move under identity swaps and under control swaps; values end in the four arms."""
    a1, a2, b1, b2 = (values[..., k] for k in range(4))
    return (np.abs(a1 - b1) + np.abs(a2 - b2)) / 2, (np.abs(a1 - a2) + np.abs(b1 - b2)) / 2


def _by_template(values: FloatArray) -> dict[str, FloatArray]:
    identity, control = _moves(values)
    favours = (values[..., :2].sum(axis=-1) - values[..., 2:].sum(axis=-1)) / 2
    found = {"identity": identity, "control": control, "favours": favours}
    return {name: value.mean(axis=1) for name, value in found.items()}


def _mean(
    plan: SwapPlan,
    values: FloatArray,
    reach: float | None,
    *,
    method: str = "mean over templates, t",
    identical: bool = False,
) -> Mean:
    met = float(np.abs(values).max(initial=0.0)) or 1.0
    return mean(
        plan.rows, values, reach=met if reach is None else reach, method=method, identical=identical
    )


def _flips(plan: SwapPlan, picked: NDArray[np.int64]) -> PairedChange:
    """Each swap from A1 or from B2: whether the other group flips it, and whether its own does."""
    a1, a2, b1, b2 = (picked[..., k] for k in range(4))
    identity = np.stack([a1 != b1, b2 != a2], axis=-1).reshape(-1)
    control = np.stack([a1 != a2, b2 != b1], axis=-1).reshape(-1)
    templates, fours, _ = plan.shape
    own = plan.rows.unit_codes
    units = np.arange(templates, dtype=np.int64) if own is None else own
    each = 2 * fours
    rows = Partition(
        plan.rows.columns, plan.rows.slices, np.repeat(plan.rows.codes, each),
        np.repeat(units, each),
    )  # fmt: skip
    return paired_change(rows, np.ones(len(identity), dtype=bool), control, identity, False)
