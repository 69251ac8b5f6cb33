"""Counting and bootstrapping from the cube: absolute times, and per replicate against fairlearn.

Run it with `python benchmarks/counting.py [--json]`. The peer runs in an environment of its own
(`make peers`, or --peer) in the same run and on the same rows, which go over as .npy files. What is
compared is one bootstrap replicate of the equalised-odds difference: ours is a draw of cells, the
peer's a resample of rows through `MetricFrame`, whichever of its two ways is the faster one. Values
are compared on the same resamples; a difference above 1e-12 ends the run with an error.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from method.rounds import options, spread, tell
from method.sides import PEERS, peer_python
from shipworthy.measure.counts import (
    count,
    encode_strings,
    equalized_odds_difference,
    multinomial_replicates,
)

TOLERANCE = 1e-12
GOALS = {"coded_s": 0.15, "string_s": 0.6, "ratio": 1000.0}


def rows(n: int, groups: int, seed: int) -> dict[str, np.ndarray]:
    """Codes of n rows: group, label and a prediction that depends a little on both."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, n, dtype=np.uint8)
    label = (rng.random(n) < 0.4).astype(np.uint8)
    prediction = (rng.random(n) < 0.2 + 0.5 * label + 0.004 * group).astype(np.uint8)
    return {"group": group, "label": label, "prediction": prediction}


def timed(work: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Median, least and most seconds of several rounds after one that is not counted."""
    work()
    seconds = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return spread(seconds, unit="s")


def large(n: int, groups: int, replicates: int, rounds: int) -> dict[str, Any]:
    """Count many rows and bootstrap them, from codes and from strings."""
    codes = rows(n, groups, seed=0)
    levels = {"group": groups, "label": 2, "prediction": 2}
    names = [f"group {i} of the audit" for i in range(groups)]
    strings = pl.Series("group", names).gather(codes["group"])

    def bootstrap(columns: dict[str, np.ndarray]) -> np.ndarray:
        cube = count(columns, levels)
        return equalized_odds_difference(multinomial_replicates(cube.counts, replicates, 1))

    def from_strings() -> np.ndarray:
        group, found = encode_strings(strings)
        assert found == tuple(names)
        return bootstrap({**codes, "group": group})

    return {
        "rows": n,
        "groups": groups,
        "replicates": replicates,
        "rounds": rounds,
        "coded": timed(lambda: bootstrap(codes), rounds),
        "string": timed(from_strings, rounds),
    }


def peer(
    n: int, groups: int, replicates: int, rounds: int, python: Path, resamples: int
) -> dict[str, Any]:
    """Our time per replicate before and after the peer's, and the values on equal resamples."""
    codes = rows(n, groups, seed=2)
    levels = {"group": groups, "label": 2, "prediction": 2}
    counts = count(codes, levels).counts

    def ours() -> np.ndarray:
        return equalized_odds_difference(multinomial_replicates(counts, replicates, 3))

    picks = np.random.default_rng(4).integers(0, n, (resamples, n))
    values = np.array(
        [float(equalized_odds_difference(counts))]
        + [
            float(
                equalized_odds_difference(count({k: v[p] for k, v in codes.items()}, levels).counts)
            )
            for p in picks
        ]
    )
    before = timed(ours, rounds)
    with tempfile.TemporaryDirectory() as folder:
        for name, column in {**codes, "picks": picks}.items():
            np.save(Path(folder) / f"{name}.npy", column)
        command = [str(python), str(PEERS / "fairlearn_replicates.py"), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the peer failed: {done.stderr.strip().splitlines()[-1]}")
    theirs = json.loads(done.stdout)
    after = timed(ours, rounds)
    counting = timed(lambda: count(codes, levels), rounds)
    difference = float(np.abs(values - np.array(theirs["values"])).max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"values differ by {difference:g}, more than {TOLERANCE:g}")
    mine = statistics.mean([before["median_s"], after["median_s"]]) / replicates
    fastest = min(theirs["resample_s"], theirs["native_s"])
    return {
        "rows": n,
        "groups": groups,
        "replicates": replicates,
        "rounds": rounds,
        "peer": theirs["version"],
        "peer_replicates": theirs["replicates"],
        "peer_resample_s": theirs["resample_s"],
        "peer_native_s": theirs["native_s"],
        "ours_s": mine,
        "ours_before": before,
        "ours_after": after,
        "counting": counting,
        "ratio": fastest / mine,
        "ratio_with_counting": fastest / (mine + counting["median_s"] / replicates),
        "values_compared": len(values),
        "largest_difference": difference,
    }


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    big, other = result["large"], result.get("fairlearn")
    what = f"{big['rows']:,} rows x {big['groups']} groups, {big['replicates']:,} replicates"
    for kind in ("coded", "string"):
        t = big[kind]
        print(
            f"{kind:6} {what}: {t['median_s']:.3f} s [{t['least_s']:.3f}-{t['most_s']:.3f}, "
            f"{big['rounds']} rounds], goal {GOALS[kind + '_s']} s"
        )
    if other is None:
        print("fairlearn: not run (no environment; `make peers` makes it)")
        return
    print(
        f"one replicate, {other['rows']:,} rows x {other['groups']} groups: "
        f"ours {other['ours_s'] * 1e6:.2f} us; fairlearn {other['peer']} "
        f"{other['peer_resample_s'] * 1e3:.1f} ms (resample and MetricFrame), "
        f"{other['peer_native_s'] * 1e3:.1f} ms (its n_boot)"
    )
    print(
        f"ratio to the faster one: {other['ratio']:,.0f} "
        f"({other['ratio_with_counting']:,.0f} with our counting), goal {GOALS['ratio']:,.0f}"
    )
    print(
        f"values: {other['values_compared']} compared, largest difference "
        f"{other['largest_difference']:.1e}"
    )


def main() -> None:
    """Run both parts and print them."""
    parser = options(__doc__, rounds=5)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--peer-rows", type=int, default=100_000)
    parser.add_argument("--peer-groups", type=int, default=25)
    parser.add_argument("--peer-resamples", type=int, default=10)
    parser.add_argument(
        "--peer", type=Path, default=peer_python("fairlearn"), help="python with fairlearn"
    )
    given = parser.parse_args()
    result: dict[str, Any] = {
        "numpy": np.__version__,
        "polars": pl.__version__,
        "goals": GOALS,
        "large": large(given.rows, given.groups, given.replicates, given.rounds),
    }
    if given.peer.exists():
        result["fairlearn"] = peer(
            given.peer_rows,
            given.peer_groups,
            given.replicates,
            given.rounds,
            given.peer,
            given.peer_resamples,
        )
    tell("counting", result, show, as_json=given.json)


if __name__ == "__main__":
    main()
