"""How a measured number is shown: factor, decimals, unit, and which way is better.

The tables hold shares in [0, 1] and times in their unit; people read per cent, points and
milliseconds. Every page, table and sentence takes its figures from here, so that one number looks
the same everywhere.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from shipworthy.core import locale
from shipworthy.core.locale import NO_NUMBER, has_text, number

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Shown:
    """The form of one measure: shown value = stored value x factor, with `decimals` digits.

    unit is a locale key below `measure.unit.` ("" for a bare number); signed forms are changes.
    """

    factor: float
    decimals: int
    unit: str
    better: Better = "higher"
    signed: bool = False

    def value(self, stored: float) -> float:
        """Return the stored value on the scale that is shown."""
        return stored * self.factor

    def figure(self, stored: float | None) -> str:
        """Return the number without its unit; a dash for None and NaN."""
        if stored is None or math.isnan(stored):
            return NO_NUMBER
        return number(self.value(stored), self._places(stored), sign=self.signed)

    def size(self, stored: float) -> str:
        """Return the number without sign and unit, for "lost 1.7 points"."""
        return number(abs(self.value(stored)), self._places(stored))

    def _places(self, stored: float) -> int:
        """Return the decimals of a number: of a size or a time below 0.1 two digits that count.

        A model of 40 kB is not of 0.0 MB.
        """
        value = abs(self.value(stored))
        if self.unit not in ("mb", "ms") or not 0 < value < 0.1:
            return self.decimals
        return max(self.decimals, min(6, 1 - math.floor(math.log10(value))))

    def interval(self, low: float, high: float) -> str:
        """Return `[low, high]`; a dash where there is none."""
        if math.isnan(low) or math.isnan(high):
            return NO_NUMBER
        return f"[{self.figure(low)}, {self.figure(high)}]"

    def with_unit(self, figure: str) -> str:
        """Put the unit behind a figure made by `figure` or `size`."""
        if figure == NO_NUMBER or not self.unit:
            return figure
        count = 1 if figure.lstrip("+−") == "1.0" else 2
        return text(f"measure.unit.{self.unit}.with", value=figure, count=count)

    @property
    def unit_text(self) -> str:
        """The unit alone, as it stands in a column head."""
        return text(f"measure.unit.{self.unit}") if self.unit else ""


_OPEN, _CLOSE = "\ue000", "\ue001"
_HAN = "[\u3400-\u9fff]"
_BESIDE_HAN = re.compile(
    f"(?<={_HAN}){_CLOSE}?{_OPEN}(?=[!-~−])|(?<=[!-~]){_CLOSE}(?={_OPEN}?{_HAN})"
)


def text(key: str, /, **arguments: Any) -> str:
    """Return a text of the catalogues, with a space where Latin arguments meet Han letters.

    Only the seams are touched: a name keeps its own spelling.
    """
    if locale.language() != "zh":
        return locale.text(key, **arguments)
    marked = {k: f"{_OPEN}{v}{_CLOSE}" if isinstance(v, str) else v for k, v in arguments.items()}
    found = _BESIDE_HAN.sub(" ", locale.text(key, **marked))
    return found.replace(_OPEN, "").replace(_CLOSE, "")


_SHARE = Shown(100.0, 2, "percent")
_GAP = Shown(100.0, 1, "points", "lower")
_SHOWN: dict[str, Shown] = {
    "accuracy": _SHARE,
    "balanced_accuracy": _SHARE,
    "f1": _SHARE,
    "precision": _SHARE,
    "recall": _SHARE,
    "selection_rate": _SHARE,
    "true_positive_rate": _SHARE,
    "false_positive_rate": replace(_SHARE, better="lower"),
    "true_negative_rate": _SHARE,
    "false_negative_rate": replace(_SHARE, better="lower"),
    "positive_predictive_value": _SHARE,
    "negative_predictive_value": _SHARE,
    "base_rate": _SHARE,
    "error_rate": replace(_SHARE, better="lower"),
    "auc": Shown(1.0, 4, ""),
    "log_loss": Shown(1.0, 4, "", "lower"),
    "brier_score": Shown(1.0, 4, "", "lower"),
    "expected_calibration_error": Shown(100.0, 1, "percent", "lower"),
    "statistical_parity_difference": _GAP,
    "equal_opportunity_difference": _GAP,
    "equalized_odds_difference": _GAP,
    "accuracy_difference": _GAP,
    "average_odds_difference": _GAP,
    "base_rate_difference": _GAP,
    "calibration_difference": replace(_GAP, signed=True),
    "conditional_demographic_disparity": replace(_GAP, signed=True),
    "conditional_demographic_disparity_of_labels": replace(_GAP, signed=True),
    "false_negative_rate_difference": _GAP,
    "false_positive_rate_difference": _GAP,
    "negative_predictive_value_difference": _GAP,
    "predictive_parity_difference": _GAP,
    "disparate_impact_ratio": Shown(1.0, 2, ""),
    "turned_wrong": Shown(1.0, 0, "rows", "lower"),
    "turned_right": Shown(1.0, 0, "rows"),
    "perplexity": Shown(1.0, 2, "", "lower"),
    "bits_per_byte": Shown(1.0, 3, "bits", "lower"),
    "mean_absolute_error": Shown(1.0, 3, "", "lower"),
    "root_mean_squared_error": Shown(1.0, 3, "", "lower"),
    "mean_error": Shown(1.0, 3, "", "lower", signed=True),
    "r2": Shown(1.0, 4, ""),
    "exact_match": _SHARE,
    "token_f1": _SHARE,
    "chrf": _SHARE,
    "rouge_l": _SHARE,
    "pattern_match": _SHARE,
    "valid_json": _SHARE,
    "tests_passed": _SHARE,
    "refusal_rate": _SHARE,
    "over_refusal_rate": replace(_SHARE, better="lower"),
    "identity_effect": Shown(1.0, 3, "", "lower"),
    "stereotype_preference": replace(_SHARE, better="lower"),
    "preferred_share": _SHARE,
    "latency_p50_ms": Shown(1.0, 1, "ms", "lower"),
    "latency_p95_ms": Shown(1.0, 1, "ms", "lower"),
    "throughput_rows_per_s": Shown(1.0, 0, "rows_per_s"),
    "tokens_per_s": Shown(1.0, 0, "tokens_per_s"),
    "cost_per_million_tokens": Shown(1.0, 2, "money", "lower"),
    "size_mb": Shown(1.0, 1, "mb", "lower"),
    "batch_dependence": Shown(1.0, 4, "", "lower"),
    "contaminated_share": replace(_SHARE, better="lower"),
    "duplicate_share": replace(_SHARE, better="lower"),
    "smallest_group_rows": Shown(1.0, 0, "rows"),
    "licences_forbidding_commercial_use": Shown(1.0, 0, "", "lower"),
    "peak_memory_mb": Shown(1.0, 1, "mb", "lower"),
}
_BARE = Shown(1.0, 3, "")
_OF_TOP = re.compile(r"(share_of_top|skew_at|selection_rate_in_top)_(\d+)(_difference)?")
"""Measures of the first k of a ranking."""
# Other measures say their unit in their name.
_BY_ENDING = {
    "_ms": Shown(1.0, 1, "ms", "lower"),
    "_mb": Shown(1.0, 1, "mb", "lower"),
    "_rows_per_s": Shown(1.0, 0, "rows_per_s"),
}


def shown(measure: str, *, relative: bool = False, value_unit: str = "") -> Shown:
    """Return the form of a measure, or of its change where `relative`.

    Changes of shares are points with one decimal. A relative change of a time or a size
    (`value_unit` "ratio") is a bare ratio. A measure that nobody declared is shown bare.
    """
    by_ending = (form for ending, form in _BY_ENDING.items() if measure.endswith(ending))
    form = _SHOWN.get(measure) or next(by_ending, _BARE)
    of_top = _OF_TOP.fullmatch(measure)
    if of_top and of_top[1] != "skew_at":
        form = _GAP if of_top[3] else _SHARE
    if not relative:
        return form
    if value_unit == "ratio":
        return replace(form, factor=1.0, decimals=2, unit="times")
    if form.unit in ("percent", "points"):
        return replace(form, factor=100.0, decimals=1, unit="points", signed=True)
    return replace(form, signed=True)


def measure_name(measure: str, *, short: bool = False) -> str:
    """Return the name of a measure for people; its own name where the catalogues have none."""
    of_top = _OF_TOP.fullmatch(measure)
    if of_top:
        return text(f"measure.{of_top[1]}{of_top[3] or ''}", k=of_top[2])
    if short and has_text(f"measure.{measure}.short"):
        return text(f"measure.{measure}.short")
    key = f"measure.{measure}"
    return text(key) if has_text(key) else measure


def capital(sentence: str) -> str:
    """Return an English text with its first letter in upper case.

    Names that mix cases on purpose ("bf16", "p95") are left alone, and so is Chinese.
    """
    if locale.language() != "en":
        return sentence
    first = sentence.split(" ", 1)[0]
    return sentence[:1].upper() + sentence[1:] if first.isalpha() and first.islower() else sentence


def listed(names: list[str]) -> str:
    """Join names with commas and an "and" before the last."""
    if len(names) < 2:
        return "".join(names)
    return text(
        "report.list_last", first=text("report.list_comma").join(names[:-1]), last=names[-1]
    )
