"""The room's names resolve, are sorted, and load nothing heavy before they are used."""

from __future__ import annotations

import subprocess
import sys

import shipworthy.data as data


def test_every_name_resolves() -> None:
    assert data.__all__ == sorted(data._MODULES)
    for name in data.__all__:
        assert getattr(data, name).__name__ == name


def test_importing_is_light() -> None:
    heavy = "{'torch', 'transformers', 'polars', 'pyarrow', 'scipy'}"
    modules = (
        "batches", "builtin", "columns", "duplicates", "packages", "rows", "settings", "sources",
        "splits",
    )  # fmt: skip
    code = "import sys, shipworthy.data, " + ", ".join(f"shipworthy.data.{m}" for m in modules)
    code += f"; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
