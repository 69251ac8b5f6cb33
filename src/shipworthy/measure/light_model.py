"""A light classifier for questions about data: hashed words or binned columns, logistic regression.

It is no candidate. It says how far one column can be told from others, by probabilities for rows
that it was not fitted on. Texts become TF-IDF weights of words and pairs of words, hashed
(Weinberger et al. 2009); categories and binned numbers become 0/1 columns, so that a number may
matter in any way that is not joint with another column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.data.word_stream import read_words, windows

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

TEXT_BITS = 15
"""Words share 2**15 columns; a pair of words that meet in one is rare enough for a light model."""
MOST_WORDS = 400
"""Words of a text that are read."""
BINS = 16
MOST_VALUES = 50
"""Values of a column of categories that have a column of their own; the rest share one."""
FOLDS = 5
PENALTY = 1.0
"""L2 penalty on weights, per fit: 1 / (2 C) of C = 0.5 in other libraries' words."""


@dataclass(frozen=True, eq=False)
class Features:
    """What a row is told by. matrix: sparse, (n, d); blocks: the columns that each name owns."""

    matrix: Any
    blocks: Mapping[str, slice]


def features(frame: pl.DataFrame, columns: Sequence[str], text: str | None = None) -> Features:
    """Return the features of some columns, and of a text column where one is named."""
    from scipy import sparse

    parts, blocks, start = [], {}, 0
    named = [(c, _column(frame[c])) for c in columns]
    if text is not None:
        named.append((text, hashed_words(frame[text])))
    for name, part in named:
        parts.append(part)
        blocks[name] = slice(start, start + part.shape[1])
        start += part.shape[1]
    if not parts:
        return Features(sparse.csr_matrix((frame.height, 0)), blocks)
    return Features(sparse.csr_matrix(sparse.hstack(parts, format="csr")), blocks)


def hashed_words(texts: pl.Series) -> Any:
    """Return TF-IDF weights of words and pairs of words, rows of length 1; sparse (n, 2**15)."""
    from scipy import sparse

    rows, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    shift = np.uint64(64 - TEXT_BITS)
    for block in read_words([texts]):
        owners = np.repeat(block.text, np.diff(block.first))
        inside = np.arange(len(block)) - np.repeat(block.first[:-1], np.diff(block.first))
        kept = inside < MOST_WORDS
        rows.append(owners[kept])
        places.append((block.hashes[kept] >> shift).astype(np.int64))
        pairs = windows(block.hashes, 2)
        same = (owners[:-1] == owners[1:])[: len(pairs)] & kept[1:][: len(pairs)]
        rows.append(owners[:-1][: len(pairs)][same])
        places.append((pairs[same] >> shift).astype(np.int64))
    row, place = np.concatenate(rows), np.concatenate(places)
    shape = (len(texts), 1 << TEXT_BITS)
    counts = sparse.csr_matrix((np.ones(len(row)), (row, place)), shape=shape)
    counts.sum_duplicates()
    seen = np.bincount(counts.indices, minlength=shape[1])
    weights = np.log((1 + shape[0]) / (1 + seen)) + 1
    counts.data = (1 + np.log(counts.data)) * weights[counts.indices]
    lengths = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return sparse.csr_matrix(sparse.diags(scale) @ counts)


def _column(values: pl.Series) -> Any:
    """Return 0/1 columns of a column: bins of a number, the commonest values of anything else."""
    import polars as pl
    from scipy import sparse

    if values.dtype.is_numeric() and values.n_unique() > BINS:
        numbers = values.cast(pl.Float64).fill_nan(None)
        known = numbers.drop_nulls().to_numpy()
        ends = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
        codes = np.searchsorted(ends, numbers.fill_null(0.0).to_numpy(), side="right")
        codes = np.where(numbers.is_null().to_numpy(), len(ends) + 1, codes)
    else:
        names = values.cast(pl.String).fill_null("\0")
        common = _common(names)
        place = {name: k for k, name in enumerate(common)}
        codes = np.array([place.get(v, len(common)) for v in names.to_list()], dtype=np.int64)
    width = int(codes.max(initial=0)) + 1
    cells = (np.ones(len(codes)), (np.arange(len(codes)), codes))
    return sparse.csr_matrix(cells, shape=(len(codes), width))


def _common(names: pl.Series) -> list[str]:
    counted: dict[str, int] = {}
    for name in names.to_list():
        counted[name] = counted.get(name, 0) + 1
    return sorted(counted, key=lambda n: (-counted[n], n))[:MOST_VALUES]


def folds_of(units: IntArray, *, seed: int, folds: int = FOLDS) -> IntArray:
    """Return the fold of each row, shape (n,); rows of one unit share it.

    units: codes from 0. Whole units go, largest first, to the fold with the fewest rows.
    """
    sizes = np.bincount(units)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    held, fold = np.zeros(folds), np.zeros(len(sizes), dtype=np.int64)
    for unit in order.tolist():
        least = int(held.argmin())
        fold[unit] = least
        held[least] += sizes[unit]
    return fold[units]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Weights (d, k) and intercepts (k,) of a fold's model."""

    weights: FloatArray
    intercepts: FloatArray

    def log_probabilities(self, matrix: Any) -> FloatArray:
        """Return log P(class), (n, k)."""
        from scipy.special import log_softmax

        found: FloatArray = log_softmax(matrix @ self.weights + self.intercepts, axis=1)
        return found


def fit(matrix: Any, labels: IntArray, classes: int) -> Fitted:
    """Fit multinomial logistic regression with an L2 penalty, by L-BFGS from 0."""
    from scipy import optimize
    from scipy.special import log_softmax

    n, d = matrix.shape
    target = np.zeros((n, classes))
    target[np.arange(n), labels] = 1.0
    transposed = matrix.T.tocsr()

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        weights, bias = flat[: d * classes].reshape(d, classes), flat[d * classes :]
        log_p = log_softmax(matrix @ weights + bias, axis=1)
        error = np.exp(log_p) - target
        value = -float((log_p * target).sum()) + PENALTY * float((weights**2).sum()) / 2
        slope = transposed @ error + PENALTY * weights
        return value / n, np.concatenate([slope.ravel(), error.sum(axis=0)]) / n

    start = np.zeros(d * classes + classes)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
    return Fitted(found[: d * classes].reshape(d, classes), found[d * classes :])


def cross_fitted(
    told: Features, labels: IntArray, fold: IntArray, classes: int
) -> tuple[FloatArray, list[Fitted]]:
    """Return log P(class) of each row by the model that was fitted without its fold, and these.

    Shape (n, classes); a class that a fold's model never saw has what the model gives it: little.
    """
    log_p = np.full((len(labels), classes), np.nan)
    models = []
    for k in range(int(fold.max(initial=-1)) + 1):
        held = fold == k
        models.append(fit(told.matrix[~held], labels[~held], classes))
        log_p[held] = models[-1].log_probabilities(told.matrix[held])
    return log_p, models
