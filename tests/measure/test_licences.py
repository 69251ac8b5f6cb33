"""Licences that are known, that forbid, and that nobody can tell anything of."""

from __future__ import annotations

import numpy as np
import pytest

from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Fact, Unmeasured
from shipworthy.measure.licences import (
    MEASURE,
    Licensed,
    allows_commercial_use,
    forbidding,
    identifier,
)


@pytest.mark.parametrize(
    ("licence", "allows"),
    [
        ("apache-2.0", True),
        ("Apache License 2.0", True),
        (" MIT License ", True),
        ("GPL-3.0-only", True),
        ("CC BY-SA 4.0", True),
        ("llama3.1", True),
        ("cc-by-nc-4.0", False),
        ("CC_BY_NC_SA_3.0", False),
        ("cc-by-nc", False),
        ("apple-amlr", False),
        ("cc-by-nd-4.0", None),
        ("other", None),
        ("", None),
        ("my own, non-commercial", None),
        (None, None),
    ],
)
def test_what_a_licence_allows(licence: str | None, allows: bool | None) -> None:
    assert allows_commercial_use(licence) is allows


def test_an_identifier_is_its_own() -> None:
    for name in ("apache-2.0", "cc-by-nc-sa-4.0", "openrail++", "mit"):
        assert identifier(name) == name == identifier(name.upper())


def parts(*licences: str | None) -> list[Licensed]:
    return [Licensed("model", f"part {k}", name) for k, name in enumerate(licences)]


def test_one_that_forbids_is_enough_and_unknown_is_no_leave() -> None:
    assert MEASURES[MEASURE].kind == "fact" and MEASURES[MEASURE].better == "low"
    assert forbidding(parts("mit", "cc0-1.0")) == Fact(np.array([0.0]))
    assert forbidding(parts("mit", None)) == Unmeasured("licence_unknown")
    found = forbidding(parts("cc-by-nc-4.0", None))
    assert isinstance(found, Fact) and found.value.tolist() == [1.0]
    assert forbidding(parts("cc-by-nc-4.0", "apple-amlr")).value.tolist() == [2.0]  # type: ignore[union-attr]
