"""The same settings give the same training, whatever the layout: order, rates, losses, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layout_job import STEPS, Case, run_cases

LOSS, WEIGHT, NORM = 1e-5, 1e-5, 1e-5

# Softmax does not change when all keys of a query gain the same amount, so the true gradient of a
# key's bias is zero; Adam divides rounding by its own size and walks at random.
ZERO_GRADIENT = ("key.bias", "k_lin.bias", "k_proj.bias")


def compare(folder: Path, name: str, with_name: str = "one") -> dict[str, Any]:
    """Check that two trainings are one, and return the second."""
    one, other = np.load(folder / f"{with_name}.npz"), np.load(folder / f"{name}.npz")
    assert np.array_equal(one["orders"], other["orders"])
    assert np.array_equal(one["rates"], other["rates"])
    assert len(one["losses"]) == len(other["losses"]) == STEPS
    np.testing.assert_allclose(other["losses"], one["losses"], rtol=0, atol=LOSS)
    np.testing.assert_allclose(other["norms"], one["norms"], rtol=NORM)
    np.testing.assert_allclose(other["calibration"], one["calibration"], rtol=0, atol=LOSS)
    weights = [n for n in one.files if n.startswith("weight/")]
    assert weights and set(one.files) == set(other.files)
    for weight in weights:
        if not weight.endswith(ZERO_GRADIENT):
            np.testing.assert_allclose(
                other[weight], one[weight], rtol=0, atol=WEIGHT, err_msg=weight
            )
    return dict(other)


def parts(family: str, dropout: float) -> list[Case]:
    """The same training in one process, cut differently."""
    return [
        Case("one", family, dropout),
        Case("row by row", family, dropout, batch={"per_device": 1}),
        Case("eight rows", family, dropout, batch={"per_device": 8}),
        Case("at once", family, dropout, batch={"tokens": 100_000}),
        Case("side by side", family, dropout, packing="buckets"),
    ]


def layouts(family: str, dropout: float) -> dict[int, list[Case]]:
    """The same training over two and four processes."""

    def case(name: str, **layout: Any) -> Case:
        return Case(name, family, dropout, layout=layout)

    return {
        2: [
            case("data", data=2),
            case("shard", shard=2),
            case("tensor", tensor=2),
            case("pipeline", pipeline=2),
            case("gpipe", pipeline=2, schedule="gpipe"),
        ],
        4: [
            case("data x tensor", data=2, tensor=2),
            case("data x pipeline", data=2, pipeline=2),
            case("shard x tensor", shard=2, tensor=2),
            case("data x shard", data=2, shard=2),
            case("shard in four", shard=4),
        ],
    }


def test_two_layouts(tmp_path: Path) -> None:
    found = layouts("bert", 0.1)[2]
    run_cases(parts("bert", 0.1)[:1], tmp_path, 1)
    run_cases([found[0], found[2]], tmp_path, 2)
    for case in (found[0], found[2]):
        compare(tmp_path, case.name)


def test_parts_of_a_step(tmp_path: Path) -> None:
    cases = parts("llama", 0.1)
    run_cases(cases, tmp_path, 1)
    for case in cases[1:]:
        compare(tmp_path, case.name)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("family", ["bert", "llama", "qwen3"])
def test_every_layout(family: str, dropout: float, tmp_path: Path) -> None:
    single = parts(family, dropout)
    run_cases(single, tmp_path, 1)
    names = [case.name for case in single[1:]]
    for processes, cases in layouts(family, dropout).items():
        run_cases(cases, tmp_path, processes)
        names += [case.name for case in cases]
    whole = float(np.load(tmp_path / "one.npz")["held"])
    for name in names:
        other = compare(tmp_path, name)
        if name == "shard":
            share = float(other["held"]) / whole
            print(f"{family}: weights and optimizer state a process, of replicated: {share:.3f}")
            assert share <= 0.55


@pytest.mark.slow
@pytest.mark.parametrize(
    "regularization",
    [
        {"attention_dropout": 0.2},
        {"r_drop": 1.0},
        {"layer_decay": 0.8, "l2": 0.01, "l1": 0.001},
        {"averaging": 0.9},
    ],
    ids=lambda r: next(iter(r)),
)
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_regularization_under_every_layout(
    family: str, regularization: dict[str, float], tmp_path: Path
) -> None:
    def with_it(case: Case) -> Case:
        return Case(
            case.name, family, 0.1, layout=case.layout, batch=case.batch, packing=case.packing,
            regularization=regularization,
        )  # fmt: skip

    run_cases([with_it(c) for c in parts(family, 0.1)], tmp_path, 1)
    pairs = layouts(family, 0.1)[2]
    run_cases([with_it(c) for c in pairs[:4]], tmp_path, 2)
    for case in [*parts(family, 0.1)[1:], *pairs[:4]]:
        compare(tmp_path, case.name)


def resumed(first: dict[str, int], second: dict[str, int], tmp_path: Path) -> None:
    """Cut a run off under one layout and go on under another."""
    shared = f"{first}{second}".translate(str.maketrans("{}': ,", "______"))
    for layout, name, stop in ((first, "cut off", 23), (second, shared, None)):
        case = Case(name, layout=layout, stop_after=stop, checkpoint=shared)
        processes = int(np.prod(list(layout.values()) or [1]))
        run_cases([case], tmp_path, processes)
    one, other = np.load(tmp_path / "one.npz"), np.load(tmp_path / f"{shared}.npz")
    done = len(other["losses"])
    assert 1 <= STEPS - done <= 23
    np.testing.assert_allclose(other["losses"], one["losses"][-done:], rtol=0, atol=LOSS)
    for weight in (n for n in one.files if n.startswith("weight/")):
        if not weight.endswith(ZERO_GRADIENT):
            np.testing.assert_allclose(
                other[weight], one[weight], rtol=0, atol=WEIGHT, err_msg=weight
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"shard": 2}),
        ({"shard": 2}, {"tensor": 2}),
        ({"tensor": 2}, {"pipeline": 2}),
        ({"pipeline": 2}, {"data": 2}),
        ({"data": 2}, {}),
        ({"shard": 2, "tensor": 2}, {"shard": 2}),
        ({"shard": 2}, {"shard": 4}),
        ({"shard": 4}, {"shard": 2, "tensor": 2}),
    ],
    ids=str,
)
def test_resumed_under_another_layout(
    first: dict[str, int], second: dict[str, int], tmp_path: Path
) -> None:
    run_cases([Case("one")], tmp_path, 1)
    resumed(first, second, tmp_path)
