import subprocess
import sys

import shipworthy.core as core


def test_every_name_loads_and_the_list_is_complete_and_sorted() -> None:
    assert core.__all__ == sorted(core._FILES)
    for name in core.__all__:
        assert callable(getattr(core, name)) or name == "ALL_ROWS"


def test_core_loads_nothing_heavy() -> None:
    code = (
        "import sys, shipworthy.core, shipworthy.core.progress, shipworthy.core.stages\n"
        "import shipworthy.core.yaml, shipworthy.core.openings, shipworthy.core.locale\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'polars', 'scipy', 'numpy', 'pydantic',\n"
        "         'rich', 'ruamel'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
