"""Short ways to say what was counted, for the tests of the gate's rules."""

import numpy as np

from shipworthy.core.records import ALL_ROWS, Limit, Slice
from shipworthy.measure.decide import Evidence
from shipworthy.measure.estimates import Mean, PairedChange, Rate, Replicates

ALPHA = 0.025


def rate(successes, trials, *, units=None, deff=1.0) -> Rate:
    x, n = np.broadcast_arrays(np.atleast_1d(np.asarray(successes, float)), trials)
    n = n.astype(float)
    units = n if units is None else np.broadcast_to(np.asarray(units, float), n.shape)
    return Rate(x, n, units, np.broadcast_to(np.asarray(deff, float), n.shape))


def change(lost, gained, n, *, units=None, deff=1.0, identical=False) -> PairedChange:
    b, c, n = np.broadcast_arrays(
        np.atleast_1d(np.asarray(lost, float)), np.asarray(gained, float), np.asarray(n, float)
    )
    units = n if units is None else np.broadcast_to(np.asarray(units, float), n.shape)
    deff = np.broadcast_to(np.asarray(deff, float), n.shape)
    return PairedChange(b, c, n, units, deff, np.broadcast_to(identical, n.shape))


def mean(
    value, error, *, df=np.inf, n=400.0, units=None, scale="identity", least=np.nan,
    identical=False, reason="",
) -> Mean:  # fmt: skip
    value = np.atleast_1d(np.asarray(value, float))
    n = np.broadcast_to(np.asarray(n, float), value.shape)

    def wide(x):
        return np.broadcast_to(np.asarray(x, float), value.shape)

    return Mean(
        value=value, standard_error=wide(error), df=wide(df), n=n,
        units=n if units is None else wide(units), deff=wide(1.0), scale=scale, method="t",
        least_count=wide(least), identical=np.broadcast_to(identical, value.shape), reason=reason,
    )  # fmt: skip


def replicates(value, drawn, *, n=400.0, units=400.0, reasons=None, identical=False) -> Replicates:
    value = np.atleast_1d(np.asarray(value, float))

    def wide(x):
        return np.broadcast_to(np.asarray(x, float), value.shape)

    return Replicates(
        value, np.asarray(drawn, float), wide(n), wide(units), "bootstrap",
        reasons or ("",) * len(value), np.broadcast_to(identical, value.shape),
    )  # fmt: skip


def groups(count: int, column: str = "group") -> tuple[Slice, ...]:
    return tuple(Slice.of({column: f"g{k}"}) for k in range(count))


def evidence(
    estimate, bound, *, side="at_least", slices=(ALL_ROWS,), tier="supporting", unknown="block",
    index=0, intersection=False, measure="accuracy", relative_to="parent",
) -> Evidence:  # fmt: skip
    limit = Limit(measure, side, bound, relative_to=relative_to, tier=tier, unknown=unknown)
    return Evidence(limit, index, tuple(slices), estimate, bound, intersection=intersection)
