"""Which choice may be worth a trial: tree-structured Parzen estimators over what is known so far.

What is being tried elsewhere is known to it as well: it counts as poor until it has ended (a
"constant liar"; Ginsbourger, Le Riche, Carraro 2010), so that machines do not crowd in one place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

    from shipworthy.compress.search_space import Choice, Space
    from shipworthy.compress.trials import Found

STARTUP_TRIALS = 12
"""Choices before it looks at what came of them."""


class Sampler:
    """Draws choices and learns from trials.

    space: what there is to choose. objectives: how many numbers are made small.
    """

    def __init__(self, space: Space, *, objectives: int, seed: int) -> None:
        import optuna

        self._dimensions = space.dimensions
        self._begun: dict[str, optuna.Trial] = {}
        with _quiet():
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, constant_liar=True, constraints_func=_constraints,
                n_startup_trials=STARTUP_TRIALS,
            )  # fmt: skip
            self._study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)

    def draw(self, name_of: Callable[[Choice], str | None]) -> Choice | None:
        """Draw a choice and begin it under the name that `name_of` gives it.

        Where that is None the choice is let go, and None is returned.
        """
        with _quiet():
            trial = self._study.ask()
            choice = self._suggested(trial)
        name = name_of(choice)
        if name is None:
            self._let_go(trial)
            return None
        self._begun[name] = trial
        return choice

    def begin(self, name: str, choice: Choice) -> None:
        """Say that a choice is being tried which was not drawn here."""
        with _quiet():
            self._study.enqueue_trial(dict(choice))
            trial = self._study.ask()
            self._suggested(trial)
        self._begun[name] = trial

    def learn(self, name: str, found: Found | None) -> None:
        """Say what came of a choice that was begun; one that was not timed teaches nothing."""
        trial = self._begun.pop(name, None)
        if trial is None:
            return
        if found is None or found.stopped:
            self._let_go(trial)
            return
        with _quiet():
            # Where the policy has no limit that counts, nothing is missed.
            trial.set_user_attr("excess", list(found.excess) or [0.0])
            self._study.tell(trial, list(found.values))

    def _suggested(self, trial: optuna.Trial) -> Choice:
        return {
            name: trial.suggest_categorical(name, values)
            for name, values in self._dimensions.items()
        }

    def _let_go(self, trial: optuna.Trial) -> None:
        from optuna.trial import TrialState

        with _quiet():
            self._study.tell(trial, state=TrialState.FAIL)


def _constraints(trial: Any) -> Sequence[float]:
    excess: Sequence[float] = trial.user_attrs["excess"]
    return excess


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's remarks, about each trial and about what is experimental, to itself."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
