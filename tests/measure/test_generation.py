"""Measures of language models: against plain sums, an independent error, and planted harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from shipworthy.core.records import Limit, Outcome
from shipworthy.measure.catalogue import MEASURES, NUMBER
from shipworthy.measure.decide import Evidence, assess, decide_candidate
from shipworthy.measure.estimates import Mean, PairedChange, Rate, Unmeasured
from shipworthy.measure.generation import SHARES
from shipworthy.measure.quality import quality
from shipworthy.measure.slices import partition
from shipworthy.model.predictions import Predictions

LANGUAGE = [name for name, kind in MEASURES.items() if kind.values and kind.values != NUMBER]
LIKELIHOOD = ("perplexity", "bits_per_byte")


def spoken(
    values: dict[str, np.ndarray], frame: pl.DataFrame, digest: str = "", **more: object
) -> Predictions:
    n = frame.height
    told = Predictions(
        name=digest, file=digest, classes=("text",), positive=None, labels=np.zeros(n, np.int64),
        predicted=np.zeros(n, np.int64), scores=None, scored=(), frame=frame, ids=None,
        label="text", id=None, groups=("group",), unit=None, digest=digest, values=values,
        form="likelihood",
    )  # fmt: skip
    return replace(told, **more)  # type: ignore[arg-type]


def drawn(seed: int, n: int = 400, harm: float = 0.0) -> tuple[Predictions, Predictions]:
    """A parent and a candidate whose texts are as hard for both; harm: nats a token more."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({
        "group": rng.choice(["x", "y", "z"], n), "unit": rng.integers(0, n // 8, n),
    })  # fmt: skip
    tokens = rng.integers(5, 80, n).astype(float)
    hard = rng.normal(2.5, 0.4, n)
    luck = rng.random(n)

    def model(move: float, digest: str) -> Predictions:
        shares = {
            name: (luck + rng.normal(0, 0.05, n) < 0.7 - move).astype(float) for name in SHARES
        }
        means = {
            name: np.clip(luck + rng.normal(0, 0.05, n) - move, 0, 1)
            for name in ("token_f1", "chrf", "rouge_l")
        }
        loss = tokens * (hard + move + rng.normal(0, 0.05, n))
        return spoken({"loss": loss, "tokens": tokens, "bytes": tokens * 4.1, **shares, **means},
                      frame, digest)  # fmt: skip

    return model(0.0, "parent"), model(harm, "candidate")


@pytest.mark.parametrize("unit", [None, "unit"])
@pytest.mark.parametrize("measure", LANGUAGE)
def test_each_slice_has_what_its_rows_say(measure: str, unit: str | None) -> None:
    parent, candidate = drawn(1)
    rows = partition(parent.frame, ["group"], unit=unit)
    level = assess(quality(measure, rows, candidate), confidence=0.95)
    change = assess(quality(measure, rows, candidate, parent), confidence=0.95)
    for k, one in enumerate(rows.slices):
        inside = (parent.frame["group"] == one.json.split('"')[3]).to_numpy()
        v, before = (
            {name: x[inside] for name, x in who.values.items()} for who in (candidate, parent)
        )

        def value(of: dict[str, np.ndarray]) -> float:
            if measure == "perplexity":
                return float(np.exp(of["loss"].sum() / of["tokens"].sum()))
            if measure == "bits_per_byte":
                return float(of["loss"].sum() / of["bytes"].sum() / np.log(2))
            return float(of[measure].mean())

        assert level.value[k] == pytest.approx(value(v))
        assert change.value[k] == pytest.approx(value(v) - value(before))
        assert level.low[k] < level.value[k] < level.high[k]
        assert change.low[k] < change.value[k] < change.high[k]


@pytest.mark.parametrize("measure", LIKELIHOOD)
def test_the_error_of_a_likelihood_is_that_of_a_bootstrap(measure: str) -> None:
    parent, candidate = drawn(2, n=600, harm=0.1)
    whole = partition(parent.frame)
    found = quality(measure, whole, candidate, parent)
    assert isinstance(found, Mean)
    rng = np.random.default_rng(3)
    draws = []
    for _ in range(600):
        rows = rng.integers(0, 600, 600)
        values = []
        for one in (candidate, parent):
            loss, tokens, size = (one.values[k][rows].sum() for k in ("loss", "tokens", "bytes"))
            nats = loss / tokens
            values.append(np.exp(nats) if measure == "perplexity" else loss / size / np.log(2))
        draws.append(values[0] - values[1])
    assert found.standard_error[0] == pytest.approx(np.std(draws), rel=0.15)


@pytest.mark.parametrize("measure", LANGUAGE)
def test_the_same_artefact_has_no_change(measure: str) -> None:
    parent, candidate = drawn(4)
    rows = partition(parent.frame)
    same = assess(quality(measure, rows, parent, parent), confidence=0.95)
    assert (same.value[0], same.low[0], same.high[0]) == (0.0, 0.0, 0.0)
    copy = replace(parent, digest="copy")
    data = assess(quality(measure, rows, copy, parent), confidence=0.95)
    assert data.value[0] == 0.0 and data.low[0] < 0 < data.high[0]


@pytest.mark.parametrize("measure", LANGUAGE)
def test_harm_is_seen_and_no_harm_is_not(measure: str) -> None:
    low = MEASURES[measure].better == "low"
    size = {"perplexity": 1.0, "bits_per_byte": 0.05}.get(measure, 0.05)
    limit = Limit(
        measure=measure, side="at_most" if low else "at_least", bound=size if low else -size,
        relative_to="parent",
    )  # fmt: skip
    answers = []
    for harm in (0.0, 0.3):
        parent, candidate = drawn(5, n=1500, harm=harm)
        estimate = quality(measure, partition(parent.frame), candidate, parent)
        evidence = Evidence(
            limit=limit, index=0, slices=partition(parent.frame).slices, estimate=estimate,
            bound=float(limit.bound), value_unit="", intersection=False,
        )  # fmt: skip
        (decision,) = decide_candidate("c", [evidence], confidence=0.95).decisions
        answers.append(decision.decision)
    assert answers == [Outcome.PASS, Outcome.FAIL]


@pytest.mark.parametrize("measure", LIKELIHOOD)
def test_equal_models_pass_falsely_no_more_often_than_said(measure: str) -> None:
    """One-sided errors of a level at its true value: 0.025 each, 4 standard errors of 600 runs."""
    rng = np.random.default_rng(6)
    frame = pl.DataFrame({"group": ["x"] * 150})
    rows = partition(frame)
    above = below = 0
    for _ in range(600):
        tokens = rng.integers(5, 80, 150).astype(float)
        loss = tokens * rng.gamma(4.0, 0.6, 150)
        one = spoken({"loss": loss, "tokens": tokens, "bytes": tokens * 4}, frame)
        truth = np.exp(2.4) if measure == "perplexity" else 2.4 / 4 / np.log(2)
        found = assess(quality(measure, rows, one), confidence=0.95)
        above += found.low[0] > truth
        below += found.high[0] < truth
    assert max(above, below) <= 600 * 0.025 + 4 * np.sqrt(600 * 0.025 * 0.975)


def test_kinds_of_estimates() -> None:
    parent, candidate = drawn(7)
    rows = partition(parent.frame)
    for measure in LANGUAGE:
        kinds = (Rate, PairedChange) if measure in SHARES else (Mean, Mean)
        assert isinstance(quality(measure, rows, candidate), kinds[0])
        assert isinstance(quality(measure, rows, candidate, parent), kinds[1])


def test_what_is_not_there_is_not_measured() -> None:
    parent, _ = drawn(8)
    rows = partition(parent.frame)
    bare = replace(parent, values={})
    assert all(isinstance(quality(m, rows, bare), Unmeasured) for m in LANGUAGE)
    assert isinstance(quality("perplexity", rows, parent, bare), Unmeasured)
    others = ("accuracy", "f1", "recall", "balanced_accuracy", "turned_wrong")
    assert all(isinstance(quality(m, rows, parent, parent), Unmeasured) for m in others)
