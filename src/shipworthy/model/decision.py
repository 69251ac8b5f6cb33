"""`decision.json`: what is added to each class's log-probability before the likeliest is taken.

It ships with the weights and belongs to the artefact's digest. Whoever loads the folder with plain
transformers or ONNX Runtime gets the model without it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core import locale
from shipworthy.core.errors import ModelError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale.libraries import translated
from shipworthy.model.checkpoint import DECISION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def read_offsets(folder: Path | str, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the offset of each class, shape (k,), in nats; zeros where the folder has none.

    Raises ModelError where the file is damaged or is about other classes.
    """
    file = Path(folder) / DECISION
    if not file.is_file():
        return np.zeros(len(classes))
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        offsets = {str(name): float(value) for name, value in told["offsets"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            locale.text("error.checkpoint.no_json", file=DECISION, error=translated(str(error))),
            folder=folder,
        ) from error
    if set(offsets) != set(classes) or not all(map(math.isfinite, offsets.values())):
        raise ModelError(
            locale.text("error.decision.classes", file=DECISION),
            folder=folder,
            fix=locale.text("error.decision.classes.fix", classes=", ".join(classes)),
        )
    return np.array([offsets[name] for name in classes])


def write_offsets(folder: Path | str, offsets: Mapping[str, float]) -> None:
    """Write `decision.json`. offsets: of each class, in nats."""
    content = json.dumps({"offsets": dict(offsets)}, indent=2, ensure_ascii=False)
    write_atomically(Path(folder) / DECISION, content + "\n")
