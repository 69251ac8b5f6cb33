"""What a language model says to prompts of their own, beside its test rows.

    refusals.parquet      answer to each prompt
    identities.parquet    number for each prompt with a name in it
    stereotypes.parquet   log-likelihood of both texts of each pair

The model that training started from is asked as well: it is the baseline of a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.digest import digest_file, digest_json
from shipworthy.core.progress import progress
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.identity_swaps import (
    effect_change,
    log_odds,
    score_effects,
    swap_plan,
)
from shipworthy.measure.rates import paired_change
from shipworthy.measure.refusals import (
    Refusals,
    is_refusal,
    read_prompts,
    refusal_change,
    refusals,
)
from shipworthy.measure.slices import partition
from shipworthy.measure.stereotypes import stereotype_preference
from shipworthy.release.judgement import Phrase
from shipworthy.release.probe_rows import read_pairs, read_templates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.core.records import RelativeTo
    from shipworthy.measure.estimates import Estimate
    from shipworthy.measure.identity_swaps import SwapPlan
    from shipworthy.measure.probe_settings import IdentitySettings, ProbeSettings
    from shipworthy.measure.refusals import Kind
    from shipworthy.model.language_model import CausalLanguageModel
    from shipworthy.release.policy import Policy

    FloatArray: TypeAlias = NDArray[np.float64]

SOURCES = {
    "refusal_rate": "refusals",
    "over_refusal_rate": "refusals",
    "identity_effect": "identities",
    "stereotype_preference": "stereotypes",
    "preferred_share": "preferences",
}
"""Measure -> key of `probes:` that it is measured by."""

BUILTIN = "builtin:"
REFUSALS, IDENTITIES, STEREOTYPES = (
    "refusals.parquet", "identities.parquet", "stereotypes.parquet",
)  # fmt: skip
KINDS: dict[str, Kind] = {"refusal_rate": "harmful", "over_refusal_rate": "harmless"}


def asked_probes(policy: Policy) -> tuple[str, ...]:
    """Return the keys of `probes:` whose measures a limit asks for."""
    kinds = (li.measure for li in policy.limits if MEASURES[li.measure].kind == "probe")
    return tuple(sorted({SOURCES[measure] for measure in kinds}))


def probe_inputs(settings: ProbeSettings) -> dict[str, str]:
    """Return what the answers to probes depend on, by content."""
    identities = settings.identities
    told: dict[str, Path | str | None] = {
        "refusals": settings.refusals,
        "identities": None if identities is None else identities.prompts,
        "stereotypes": settings.stereotypes,
    }
    found = {
        name: str(source) if str(source).startswith(BUILTIN) else digest_file(Path(source))
        for name, source in told.items()
        if source is not None
    }
    if identities is not None:
        found["names"] = digest_json([identities.first, identities.second])
    return found


def write_probes(model: CausalLanguageModel, settings: ProbeSettings, out: Path) -> None:
    """Ask a model all that the settings name, and write what it says.

    Raises DataError naming file, row and column where a file of prompts cannot be used.
    """
    import polars as pl

    if settings.refusals is not None:
        prompts = read_prompts(settings.refusals)
        said = _answers(model, prompts["prompt"].to_list(), settings)
        prompts.with_columns(pl.Series("answer", said)).write_parquet(out / REFUSALS)
    if settings.identities is not None:
        scores = _identity_scores(model, settings, settings.identities)
        pl.DataFrame({"score": scores}).write_parquet(out / IDENTITIES)
    if settings.stereotypes is not None:
        pairs = read_pairs(settings.stereotypes)
        found = {name: model.log_likelihoods(pairs[name].to_list()) for name in pairs.columns}
        pl.DataFrame(found).write_parquet(out / STEREOTYPES)


def probe_numbers(
    settings: ProbeSettings,
    own: Path,
    others: Mapping[RelativeTo, Path],
    *,
    identical: bool = False,
) -> dict[tuple[str, RelativeTo], Estimate]:
    """Return what the probes of a model say, by itself and against others.

    own, others: folders that `write_probes` filled; others by what they are to the model.
    identical: whether the model is its parent.
    """
    import polars as pl

    found: dict[tuple[str, RelativeTo], Estimate] = {}
    if settings.refusals is not None:
        mine = read_refusals(own)
        for measure, kind in KINDS.items():
            found[measure, "none"] = mine.refusal_rate(kind)
        for relative, folder in others.items():
            same = identical and relative == "parent"
            change = refusal_change(read_refusals(folder), mine, identical=same)
            found["refusal_rate", relative] = change.harmful
            found["over_refusal_rate", relative] = change.harmless
    if settings.identities is not None:
        plan, _ = _plan(settings.identities)
        scores = pl.read_parquet(own / IDENTITIES)["score"].to_numpy()
        found["identity_effect", "none"] = score_effects(plan, scores).effect
        for relative, folder in others.items():
            before = pl.read_parquet(folder / IDENTITIES)["score"].to_numpy()
            same = identical and relative == "parent"
            found["identity_effect", relative] = effect_change(plan, before, scores, identical=same)
    if settings.stereotypes is not None:
        pairs = pl.read_parquet(own / STEREOTYPES)
        likelier = stereotype_preference(pairs["stereotype"].to_numpy(), pairs["other"].to_numpy())
        found["stereotype_preference", "none"] = likelier.share
        mine_over = (pairs["stereotype"] > pairs["other"]).to_numpy()
        for relative, folder in others.items():
            was = pl.read_parquet(folder / STEREOTYPES)
            before_over = (was["stereotype"] > was["other"]).to_numpy()
            same = identical and relative == "parent"
            found["stereotype_preference", relative] = paired_change(
                partition(pairs), np.ones(pairs.height, dtype=bool), before_over, mine_over, same
            )
    return found


def read_refusals(folder: Path) -> Refusals:
    """Return what a model said to the prompts that should or should not be refused."""
    import polars as pl

    kept = pl.read_parquet(folder / REFUSALS)
    return refusals(kept.drop("answer"), kept["answer"].to_list())


def flip_notes(before: Path, after: Mapping[str, Path]) -> list[Phrase]:
    """Say how many refusals each candidate lost and gained; nothing where none was asked for.

    before: of the model that training started from; after: by candidate.
    """
    if not (before / REFUSALS).is_file():
        return []
    first = read_refusals(before)
    notes = []
    for name, folder in after.items():
        flips = refusal_change(first, read_refusals(folder)).flips
        lost = sum(f.kind == "harmful" and f.lost for f in flips)
        gained = sum(f.kind == "harmless" and not f.lost for f in flips)
        told = {
            "name": name, "lost": lost, "harmful": int((first.harmful & first.refused).sum()),
            "gained": gained, "harmless": int((~first.harmful & ~first.refused).sum()),
        }  # fmt: skip
        notes.append(Phrase("run.note.flips", told))
    return notes


def _answers(model: CausalLanguageModel, asked: list[str], settings: ProbeSettings) -> list[str]:
    with progress("probe", total=len(asked), unit="texts") as step:
        read = model.read(asked)
        return model.go_on(read, max_new_tokens=settings.max_new_tokens, step=step)


def _plan(settings: IdentitySettings) -> tuple[SwapPlan, list[list[str]] | None]:
    """Return the prompts with their names, and the choices of each prompt if any."""
    templates, choices = read_templates(settings.prompts)
    plan = swap_plan(templates, settings.first, settings.second)
    if choices is None:
        return plan, None
    return plan, [choices[k] for k in plan.prompts["template"]]


def _identity_scores(
    model: CausalLanguageModel, settings: ProbeSettings, identities: IdentitySettings
) -> FloatArray:
    """Return the log-odds of the first choice of each prompt, or whether its answer refuses."""
    plan, choices = _plan(identities)
    asked = plan.prompts["prompt"].to_list()
    if choices is None:
        return is_refusal(_answers(model, asked, settings)).astype(np.float64)
    with progress("probe", total=sum(map(len, choices)), unit="texts") as step:
        found = model.choices_after(model.read(asked), choices, normalize="tokens", step=step)
    ends = zip(found.offsets, found.offsets[1:], strict=False)
    return np.array([float(log_odds(found.values[begin:end])) for begin, end in ends])
