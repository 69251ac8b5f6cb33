"""The room's names resolve, are sorted, and load nothing heavy before they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import shipworthy.compress as compress


def test_every_name_resolves() -> None:
    assert compress.__all__ == sorted(compress._FILES)
    for name in compress.__all__:
        assert getattr(compress, name).__name__ == name


def test_importing_is_light() -> None:
    heavy = "{'torch', 'transformers', 'polars', 'pyarrow', 'onnx', 'onnxruntime', 'tokenizers'}"
    # A file of torch's own modules is opened by those levers that have them.
    files = sorted(
        p.stem for p in Path(compress.__file__).parent.glob("[a-z]*.py") if p.stem != "factors"
    )
    code = "import sys, shipworthy.compress, "
    code += ", ".join(f"shipworthy.compress.{m}" for m in files)
    code += f"; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
