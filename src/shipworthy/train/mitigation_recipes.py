"""Mitigations by name: what a project's `mitigate:` asks for, and how each is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError, SettingsError, nearest
from shipworthy.core.locale import text
from shipworthy.train.mitigation_settings import MitigationSettings, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

ANEW = ("reweighing", "group_dro", "adversarial", "counterfactual_augmentation")
"""Recipes that train the model again from its start; the others change the trained one."""
ASKS_GROUP = ("threshold_per_group", "calibration_per_group")
"""Recipes whose candidate has to be told the group of each row that it answers."""
OF_TWO = ("threshold_per_group", "exponentiated_gradient")
"""Recipes that know one positive class and one other."""


@dataclass(frozen=True)
class Mitigation:
    """One candidate to make. name: of the candidate; kind: of the recipe; options: plain values."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> BaseModel:
        """The options with their defaults."""
        asked = MitigationSettings.model_validate({"recipes": [{self.kind: dict(self.options)}]})
        found: BaseModel = getattr(asked.recipes[0], self.kind)
        return found

    def group_of(self, groups: Sequence[str]) -> str | None:
        """Return the column that the recipe is about; None where it is about none.

        Raises SettingsError where it is not among the groups, or there are none.
        """
        if self.kind == "counterfactual_augmentation":
            return None
        told = {"recipe": self.kind}
        if not groups:
            raise SettingsError(
                text("error.mitigation.no_groups", **told),
                fix=text("error.mitigation.no_groups.fix"),
            )
        column = self.options.get("group") or groups[0]
        if column not in groups:
            raise SettingsError(
                text("error.mitigation.column", **told, column=column),
                fix=nearest(column, groups),
            )
        return str(column)


def mitigations(settings: MitigationSettings) -> tuple[Mitigation, ...]:
    """Return the recipes that settings name, in their order.

    >>> asked = {"recipes": ["reweighing", {"threshold_per_group": {"draws": True}}]}
    >>> [one.name for one in mitigations(MitigationSettings.model_validate(asked))]
    ['reweighing', 'threshold-per-group-draws']
    """
    found = []
    for recipe in settings.recipes:
        ((kind, options),) = plain(recipe).items()
        found.append(Mitigation(_name(kind, options), kind, options))
    return tuple(found)


def written(kind: str, options: Mapping[str, Any]) -> str:
    """Return a recipe as one line of YAML, as a project lists it under `mitigate.recipes`.

    >>> written("threshold_per_group", {"constraint": "equalized_odds", "draws": True})
    '{threshold_per_group: {constraint: equalized_odds, draws: true}}'
    """
    if not options:
        return kind
    told = ", ".join(f"{key}: {_flow(value)}" for key, value in options.items())
    return f"{{{kind}: {{{told}}}}}"


def positive_class(recipe: Mitigation, classes: tuple[str, ...], known: str | None) -> int:
    """Return the number of the positive class. known: the one that names itself.

    Raises DataError where there are not two classes, or none is known to be positive.
    """
    told = {"recipe": recipe.kind, "classes": ", ".join(classes)}
    if len(classes) != 2:
        raise DataError(
            text("error.mitigation.classes", **told, count=len(classes)),
            fix=text("error.mitigation.classes.fix"),
        )
    asked = recipe.options.get("positive")
    if asked is not None and asked not in classes:
        raise DataError(
            text("error.mitigation.positive_unknown", **told, positive=asked),
            fix=nearest(asked, classes),
        )
    if asked is None and known is None:
        raise DataError(
            text("error.mitigation.positive", **told), fix=text("error.mitigation.positive.fix")
        )
    return classes.index(asked or known or "")


def _name(kind: str, options: Mapping[str, Any]) -> str:
    parts = [kind]
    for key, value in options.items():
        if isinstance(value, bool):
            parts.append(key)
        elif isinstance(value, list | tuple):
            parts += [str(one).rsplit("/", 1)[-1].split(".")[0] for one in value]
        elif isinstance(value, float | int):
            parts.append(f"{key}-{value:.10g}")
        else:
            parts.append(str(value))
    return "-".join(parts).replace("_", "-")


def _flow(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
