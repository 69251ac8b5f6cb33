"""The room's names resolve, are sorted, and load nothing heavy before they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import shipworthy.model as model


def test_every_name_resolves() -> None:
    assert model.__all__ == sorted(model._FILES)
    for name in model.__all__:
        assert getattr(model, name).__name__ == name


def test_importing_is_light() -> None:
    heavy = "{'torch', 'transformers', 'polars', 'pyarrow', 'onnx', 'onnxruntime', 'tokenizers'}"
    # A file of torch's own modules is opened by the one runtime that has them.
    files = sorted(
        p.stem for p in Path(model.__file__).parent.glob("[a-z]*.py") if p.stem != "packed"
    )
    code = "import sys, shipworthy.model, " + ", ".join(f"shipworthy.model.{m}" for m in files)
    code += f"; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
