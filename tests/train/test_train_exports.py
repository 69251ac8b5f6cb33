"""The room's names resolve, are sorted, and its settings load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import shipworthy.train as train


def test_every_name_resolves() -> None:
    assert train.__all__ == sorted(train._FILES)
    for name in train.__all__:
        assert getattr(train, name).__name__ == name


def test_settings_and_schedules_are_light() -> None:
    code = (
        "import sys, shipworthy.train.settings, shipworthy.train.schedules\n"
        "print(sorted({'torch', 'transformers', 'polars', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
