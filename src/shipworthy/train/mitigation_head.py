"""The mitigation that fits the head of a model again, under a constraint, on frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shipworthy.model.class_names import default_positive
from shipworthy.train.mitigation_ground import (
    calibration_groups,
    group_numbers,
    labels_of,
    shown_names,
)
from shipworthy.train.mitigation_recipes import positive_class

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.train.exponentiated_gradient import Mixture
    from shipworthy.train.frozen_features import Head
    from shipworthy.train.logistic import Logistic
    from shipworthy.train.mitigation_ground import Ground
    from shipworthy.train.mitigation_recipes import Mitigation
    from shipworthy.train.mitigation_settings import ExponentiatedGradientSettings


def with_another_head(recipe: Mitigation, ground: Ground, out: Path) -> dict[str, Any]:
    """Write the model with another head; return what it reached."""
    from shipworthy.train.exponentiated_gradient import exponentiated_gradient
    from shipworthy.train.frozen_features import open_head
    from shipworthy.train.logistic import fit_logistic
    from shipworthy.train.selection import select

    settings = cast("ExponentiatedGradientSettings", recipe.settings)
    positive = positive_class(recipe, ground.classes, default_positive(ground.classes))
    rows = select(ground.train, ground.training.rows, unit=ground.unit, seed=ground.seed)
    groups, names = group_numbers(rows[str(recipe.group_of(ground.groups))])
    head = open_head(ground.parent, recipe.kind)
    mixture = exponentiated_gradient(
        fit_logistic, head.features(rows[ground.text].to_list()),
        labels_of(rows, ground) == positive, groups, settings.constraint, eps=settings.eps,
        most_fits=settings.most_fits, names=shown_names(names),
    )  # fmt: skip
    chosen, broken = _one_of(mixture, head, ground, recipe, settings, positive)
    weights = np.zeros((2, len(chosen.weights)))
    weights[positive] = chosen.weights
    bias = np.zeros(2)
    bias[positive] = chosen.bias
    head.write(weights, bias, out)
    return {
        "group": recipe.group_of(ground.groups),
        "constraint": settings.constraint,
        "rows": rows.height,
        "gap": broken,
        "allowed": settings.eps,
        "reached": mixture.reached and broken <= settings.eps,
        "fits": mixture.fits,
        "accuracy": 1 - mixture.error,
    }


def _one_of(
    mixture: Mixture,
    head: Head,
    ground: Ground,
    recipe: Mitigation,
    settings: ExponentiatedGradientSettings,
    positive: int,
) -> tuple[Logistic, float]:
    """Return the head that ships, and how far it breaks the constraint on calibration rows.

    A mixture of heads is one head only where its answers are drawn. Of the heads that it consists
    of and of their mean, the one that errs least on calibration rows within the constraint ships;
    where none keeps it there, the one that breaks it least.
    """
    from shipworthy.train.exponentiated_gradient import constraint_rows
    from shipworthy.train.logistic import Logistic

    heads = [
        one if isinstance(one, Logistic) else _constant(float(one.predict([0])[0]), mixture)
        for one in mixture.models
    ]
    mean = Logistic(
        np.asarray(mixture.shares @ np.stack([one.weights for one in heads])),
        float(mixture.shares @ np.array([one.bias for one in heads])),
    )
    groups, names = calibration_groups(recipe, ground)
    labels = labels_of(ground.calibration, ground) == positive
    features = head.features(ground.calibration[ground.text].to_list())
    moments = constraint_rows(labels, groups, settings.constraint, shown_names(names))
    told = [one.predict(features) for one in (mean, *heads)]
    broken = np.array([float((moments @ one).max()) for one in told])
    wrong = np.array([float(np.mean(one != labels)) for one in told])
    kept = broken <= max(settings.eps, float(broken.min()))
    place = int(np.where(kept, wrong, np.inf).argmin())
    return (mean, *heads)[place], float(broken[place])


def _constant(answer: float, mixture: Mixture) -> Logistic:
    from shipworthy.train.logistic import Logistic

    width = next((len(m.weights) for m in mixture.models if isinstance(m, Logistic)), 0)
    return Logistic(np.zeros(width), 1.0 if answer else -1.0)
