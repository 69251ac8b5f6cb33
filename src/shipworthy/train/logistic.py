"""Weighted logistic regression: the learner under reductions, for features that stand still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted model. weights: of the features as they are given, shape (d,); bias: nats."""

    weights: FloatArray
    bias: float

    def log_odds(self, features: FloatArray) -> FloatArray:
        """Return the log-odds of the positive class, shape (n,). features: shape (n, d)."""
        found: FloatArray = features @ self.weights + self.bias
        return found

    def predict(self, features: FloatArray) -> FloatArray:
        """Return 1 where the positive class is the likelier one, else 0; shape (n,)."""
        return (self.log_odds(features) > 0).astype(np.float64)


def fit_logistic(
    features: FloatArray,
    labels: FloatArray,
    weights: FloatArray | None = None,
    *,
    l2: float = 1e-3,
) -> Logistic:
    """Return the weighted logistic regression with an L2 penalty on standardised features.

    features: shape (n, d); labels: 0 or 1, shape (n,); weights: how much each row counts, at least
    0, shape (n,), only their ratios matter. l2: of the mean loss, at least 0; the bias bears none.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    shares = np.full(len(labels), 1.0) if weights is None else weights
    shares = shares / shares.sum()
    centre = features.mean(axis=0)
    spread = features.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    table = (features - centre) / spread
    signs = 2.0 * labels - 1.0

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        slopes, bias = values[:-1], values[-1]
        margins = signs * (table @ slopes + bias)
        wrong = -signs * shares * expit(-margins)
        value = float(shares @ np.logaddexp(0.0, -margins)) + l2 / 2 * float(slopes @ slopes)
        return value, np.concatenate([table.T @ wrong + l2 * slopes, [wrong.sum()]])

    start = np.zeros(features.shape[1] + 1)
    options = {"maxiter": 500, "ftol": 1e-10, "gtol": 1e-7}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    slopes = found[:-1] / spread
    return Logistic(slopes, float(found[-1] - centre @ slopes))
