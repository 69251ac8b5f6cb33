"""One bootstrap replicate of the equalised-odds difference by fairlearn; run by counting.py.

Reads group, label, prediction and picks (resampled row numbers) from the folder given; prints JSON.
Two ways are timed: resampling rows and one `MetricFrame` each, and MetricFrame's own `n_boot`
(time with replicates minus time without, so that only replicates count).
"""

import json
import statistics
import sys
from pathlib import Path
from time import perf_counter

import fairlearn
import numpy as np
from fairlearn.metrics import (
    MetricFrame,
    equalized_odds_difference,
    false_positive_rate,
    true_positive_rate,
)

NATIVE_REPLICATES = 10


def main() -> None:
    """Time both ways and print the values of all resamples."""
    folder = Path(sys.argv[1])
    group, label, prediction, picks = (
        np.load(folder / f"{name}.npy") for name in ("group", "label", "prediction", "picks")
    )

    def value(rows: np.ndarray | slice) -> float:
        return float(
            equalized_odds_difference(label[rows], prediction[rows], sensitive_features=group[rows])
        )

    def frame(**bootstrap: object) -> float:
        start = perf_counter()
        MetricFrame(
            metrics={"tpr": true_positive_rate, "fpr": false_positive_rate},
            y_true=label,
            y_pred=prediction,
            sensitive_features=group,
            **bootstrap,
        )
        return perf_counter() - start

    values = [value(slice(None))]
    seconds = []
    for rows in picks:
        start = perf_counter()
        values.append(value(rows))
        seconds.append(perf_counter() - start)
    frame()
    without = statistics.median(frame() for _ in range(3))
    native = frame(n_boot=NATIVE_REPLICATES, ci_quantiles=[0.025, 0.975], random_state=0)
    print(
        json.dumps(
            {
                "version": fairlearn.__version__,
                "values": values,
                "replicates": len(seconds),
                "resample_s": statistics.median(seconds),
                "native_s": (native - without) / NATIVE_REPLICATES,
            }
        )
    )


if __name__ == "__main__":
    main()
