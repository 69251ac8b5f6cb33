"""What a language model says to prompts of their own, beside its test rows.

    refusals.parquet      answer to each prompt, and whether it refuses
    identities.parquet    effect of the names in each prompt
    stereotypes.parquet   log-likelihood of both texts of each pair

The model that training started from is asked as well: it is the baseline of a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.digest import digest_file
from shipworthy.core.progress import progress
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.safety import EXPECTED, is_refusal, refusals
from shipworthy.measure.swaps import effect, identity_effect, log_odds, stereotype_preference
from shipworthy.release.judgement import Phrase
from shipworthy.release.probe_rows import NAME, read_identities, read_pairs, read_prompts

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.core.records import RelativeTo
    from shipworthy.measure.estimates import Estimate
    from shipworthy.measure.probe_settings import ProbeSettings
    from shipworthy.model.language_model import TorchLanguageModel
    from shipworthy.release.policy import Policy

SOURCES = {
    "refusal_rate": "refusals",
    "over_refusal_rate": "refusals",
    "identity_effect": "identities",
    "stereotype_preference": "stereotypes",
    "preferred_share": "preferences",
}
"""Measure -> key of `probes:` that it is measured by."""

BUILTIN = "builtin:"
BUILTIN_PAIRS = ("builtin:crows-pairs", "builtin:stereoset")


def asked_probes(policy: Policy) -> tuple[str, ...]:
    """Return the keys of `probes:` whose measures a limit asks for."""
    kinds = (li.measure for li in policy.limits if MEASURES[li.measure].kind == "probe")
    return tuple(sorted({SOURCES[measure] for measure in kinds}))


def probe_inputs(settings: ProbeSettings) -> dict[str, str]:
    """Return what the answers to probes depend on, by content."""
    told = {name: getattr(settings, name) for name in ("refusals", "identities", "stereotypes")}
    return {
        name: str(source) if str(source).startswith(BUILTIN) else digest_file(Path(source))
        for name, source in told.items()
        if source is not None
    }


def write_probes(model: TorchLanguageModel, settings: ProbeSettings, out: Path) -> None:
    """Ask a model all that the settings name, and write what it says.

    Raises DataError naming file, row and column where a file of prompts cannot be used.
    """
    import polars as pl

    if settings.refusals is not None:
        prompts = read_prompts(settings.refusals)
        asked = prompts["prompt"].to_list()
        with progress("probe", total=len(asked), unit="texts") as step:
            answers = model.go_on(
                model.read(asked), max_new_tokens=settings.max_new_tokens, step=step
            )
        prompts.with_columns(
            pl.Series("answer", answers), pl.Series("refused", is_refusal(answers))
        ).write_parquet(out / "refusals.parquet")
    if settings.identities is not None:
        rows = read_identities(settings.identities)
        effects = [_effect(model, row) for row in rows.iter_rows(named=True)]
        pl.DataFrame({"effect": effects}).write_parquet(out / "identities.parquet")
    if settings.stereotypes is not None:
        pairs = read_pairs(settings.stereotypes)
        found = {name: model.log_likelihoods(pairs[name].to_list()) for name in pairs.columns[:2]}
        pl.DataFrame(found).write_parquet(out / "stereotypes.parquet")


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
    against: dict[RelativeTo, Path | None] = {"none": None, **others}
    for relative, folder in against.items():
        if settings.refusals is not None:
            mine, before = _both("refusals", own, folder)
            for measure in EXPECTED:
                found[measure, relative] = refusals(
                    mine, measure, mine["refused"].to_numpy(),
                    None if before is None else before["refused"].to_numpy(),
                    identical=identical and relative == "parent",
                )  # fmt: skip
        if settings.identities is not None:
            mine, before = _both("identities", own, folder)
            found["identity_effect", relative] = identity_effect(
                mine["effect"].to_numpy(), None if before is None else before["effect"].to_numpy()
            )
    if settings.stereotypes is not None:
        mine = pl.read_parquet(own / "stereotypes.parquet")
        found["stereotype_preference", "none"] = stereotype_preference(
            mine, mine["stereotype"].to_numpy(), mine["other"].to_numpy()
        )
    return found


def flip_notes(before: Path, after: Mapping[str, Path]) -> list[Phrase]:
    """Say how many refusals each candidate lost and gained; nothing where none was asked for.

    before: of the model that training started from; after: by candidate.
    """
    import polars as pl

    if not (before / "refusals.parquet").is_file():
        return []
    first = pl.read_parquet(before / "refusals.parquet")
    told = []
    for name, folder in after.items():
        second = pl.read_parquet(folder / "refusals.parquet")
        harmful = (first["expected"] == "refuse").to_numpy()
        was, now = first["refused"].to_numpy(), second["refused"].to_numpy()
        told.append(
            Phrase(
                "run.note.flips",
                {
                    "name": name,
                    "lost": int((harmful & was & ~now).sum()),
                    "harmful": int((harmful & was).sum()),
                    "gained": int((~harmful & ~was & now).sum()),
                    "harmless": int((~harmful & ~was).sum()),
                },
            )
        )
    return told


def _both(name: str, own: Path, other: Path | None) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    import polars as pl

    file = f"{name}.parquet"
    return (
        pl.read_parquet(own / file),
        None if other is None else pl.read_parquet(other / file),
    )


def _effect(model: TorchLanguageModel, row: Mapping[str, Any]) -> float:
    """Return how far the names of one prompt move the odds of its first choice."""
    names = [*row["first"], *row["second"]]
    asked = model.read([row["prompt"].replace(NAME, name) for name in names])
    found = model.choices_after(asked, [row["choices"]] * len(names), normalize="tokens")
    odds = np.array(
        [
            log_odds(found.values[b:e])
            for b, e in zip(found.offsets, found.offsets[1:], strict=False)
        ]
    )
    first = len(row["first"])
    return effect(odds[:first], odds[first:])
