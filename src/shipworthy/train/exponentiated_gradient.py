"""The reductions approach: fair classification as a row of weighted ones (Agarwal et al. 2018).

Two players: one gives each constraint a price λ, the other fits the model that is best at these
prices, which is a fit with row weights and turned labels. Prices follow exponentiated gradients,

    λ_j = B exp(θ_j) / (1 + Σ exp θ),   θ_j ← θ_j + η / B (γ_j(h) − ε)

(algorithm 1), γ_j(h) by how much the model breaks constraint j. After each such fit a linear
programme mixes the models that are there: fewest errors, each part of a constraint that stays
broken at the price B. Its own prices get an answer as well, which is what brings the mixture to its
end in few fits. Where no mixture keeps the constraints, it breaks the worst one least and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.train.reweighing import require_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from shipworthy.train.group_thresholds import Parity

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]
    BoolArray: TypeAlias = NDArray[np.bool_]


class Predicts(Protocol):
    """A model that answers 0 or 1."""

    def predict(self, features: Any) -> FloatArray:
        """Return 0 or 1 for each row, shape (n,)."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A model that gives every row the same answer, 0 or 1."""

    value: float

    def predict(self, features: Any) -> FloatArray:
        """Return the answer for each row."""
        return np.full(len(features), self.value)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Models and how often each answers.

    shares: sum to 1, shape (m,). error: share of wrong answers, and violation: how far the worst
    constraint is broken beyond nothing, both of the mixture on the rows it was fitted on. reached:
    whether that is within what was allowed. fits: how many models were fitted.
    """

    models: tuple[Predicts, ...]
    shares: FloatArray
    error: float
    violation: float
    reached: bool
    fits: int

    def probability(self, features: Any) -> FloatArray:
        """Return how likely each row is given the positive class, shape (n,)."""
        found: FloatArray = self.shares @ np.stack([m.predict(features) for m in self.models])
        return found


def constraint_rows(
    labels: BoolArray, groups: IntArray, constraint: Parity, names: Sequence[object] | None = None
) -> FloatArray:
    """Return what each row adds to each constraint if it is given the positive class.

    Shape (2 c, n): for each group (and for equalised odds each label) its rate less that of all,
    then the same turned round. Raises DataError for one group only, or one without such rows.
    """
    count = int(groups.max(initial=-1)) + 1
    require_groups(count)
    of: list[BoolArray] = [np.ones(len(labels), dtype=bool)]
    if constraint != "demographic_parity":
        of = [labels] if constraint == "equal_opportunity" else [labels, ~labels]
    found = []
    for event in of:
        for group in range(count):
            own = event & (groups == group)
            if not own.any():
                what = "positives" if event is labels else "negatives"
                name = group if names is None else names[group]
                raise DataError(
                    text(f"error.mitigation.{what}", group=name, rows=0, least=1),
                    fix=text("error.mitigation.rows.fix"),
                )
            found.append(own / own.sum() - event / event.sum())
    rows = np.stack(found)
    return np.concatenate([rows, -rows])


def exponentiated_gradient(
    fit_weighted: Callable[[Any, FloatArray, FloatArray], Predicts],
    features: Any,
    labels: BoolArray,
    groups: IntArray,
    constraint: Parity,
    *,
    eps: float = 0.01,
    bound: float = 100.0,
    rate: float = 2.0,
    most_fits: int = 50,
    gap: float = 1e-3,
    names: Sequence[object] | None = None,
) -> Mixture:
    """Return the mixture of models that errs least within constraints.

    fit_weighted: features, labels (0 or 1) and weights into a model. features: anything that it and
    the model take, one entry a row. eps: how far a group's rate may lie from that of all, above 0.
    bound: B, the highest sum of prices. rate: η. most_fits: models that are fitted at most. gap:
    how near to the best at any prices the mixture has to be before it stops, as a share of rows.
    Raises DataError as `constraint_rows`.
    """
    from scipy.special import logsumexp

    moments = constraint_rows(labels, groups, constraint, names)
    game = _Game(fit_weighted, features, labels.astype(np.float64), moments, eps, bound)
    theta, lowest = np.zeros(len(moments)), -np.inf
    while True:
        place, _ = game.respond(bound * np.exp(theta - logsumexp(np.append(theta, 0.0))))
        theta = theta + rate / bound * (game.broken[place] - eps)
        _, cost, prices = game.programme()
        # No mixture gets below what the best model costs at any prices.
        _, value = game.respond(prices)
        lowest = max(lowest, value)
        if cost - lowest <= gap or len(game.models) >= most_fits:
            return game.mixture()


class _Game:
    """The models that were fitted: errors and broken constraints of each on the training rows."""

    def __init__(
        self,
        fit_weighted: Callable[[Any, FloatArray, FloatArray], Predicts],
        features: Any,
        truth: FloatArray,
        moments: FloatArray,
        eps: float,
        bound: float,
    ) -> None:
        self._fit, self._features = fit_weighted, features
        self._truth, self._moments = truth, moments
        self._eps, self._bound = eps, bound
        self.models: list[Predicts] = []
        self.errors: list[float] = []
        self.broken: list[FloatArray] = []

    def respond(self, prices: FloatArray) -> tuple[int, float]:
        """Fit the model that is best at these prices; return its place and what it costs there."""
        rows = len(self._truth)
        # What giving a row the positive class costs: an error more or less, and the constraints.
        costs = (1 - 2 * self._truth) / rows + prices @ self._moments
        wanted, weights = (costs < 0).astype(np.float64), np.abs(costs)
        if wanted.min() == wanted.max():
            model: Predicts = Constant(float(wanted[0]))
        else:
            model = self._fit(self._features, wanted, weights * rows)
        said = model.predict(self._features)
        self.models.append(model)
        self.errors.append(float(np.mean(said != self._truth)))
        self.broken.append(self._moments @ said)
        cost = self.errors[-1] + float(prices @ (self.broken[-1] - self._eps))
        return len(self.models) - 1, cost

    def programme(self) -> tuple[FloatArray, float, FloatArray]:
        """Return the best shares of the models that are there, their cost, and its own prices."""
        from scipy.optimize import linprog

        errors, broken = np.array(self.errors), np.stack(self.broken, axis=1)
        count = len(errors)
        found = linprog(
            np.append(errors, self._bound),
            A_ub=np.hstack([broken, -np.ones((len(broken), 1))]),
            b_ub=np.full(len(broken), self._eps),
            A_eq=np.append(np.ones(count), 0.0)[None], b_eq=[1.0], bounds=(0, None),
            method="highs",
        )  # fmt: skip
        return found.x[:count], float(found.fun), -np.asarray(found.ineqlin.marginals)

    def mixture(self) -> Mixture:
        """Return the best mixture of the models that are there."""
        shares, _, _ = self.programme()
        kept = np.flatnonzero(shares > 1e-9)
        shares = shares[kept] / shares[kept].sum()
        broken = float((np.stack(self.broken, axis=1)[:, kept] @ shares).max())
        return Mixture(
            tuple(self.models[k] for k in kept), shares,
            float(np.array(self.errors)[kept] @ shares), broken, broken <= self._eps + 1e-9,
            len(self.models),
        )  # fmt: skip
