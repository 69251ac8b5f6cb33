"""The room shows what it says it shows."""

import subprocess
import sys

import pytest

from shipworthy import measure


def test_every_name_loads_and_the_list_is_sorted():
    assert list(measure.__all__) == sorted(measure.__all__)
    for name in measure.__all__:
        assert getattr(measure, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = measure.nothing_like_this


def test_the_room_imports_nothing_heavy():
    code = (
        "import sys, shipworthy.measure; "
        "print(sorted({'numpy', 'scipy', 'polars', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
