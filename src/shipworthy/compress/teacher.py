"""What a teacher says of the rows that its student learns from, computed once and kept.

The answers lie in files of some thousands of rows under a name that is the digest of all that they
depend on. A file is whole or absent, so that after a kill only those that are missing are made.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.digest import digest_json
from shipworthy.core.files import write_atomically
from shipworthy.core.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from shipworthy.train.microbatches import LabelledRows
    from shipworthy.train.packing import Caller

ROWS = 4096
"""Rows of a file."""
TOKENS = 8192
"""Tokens that are computed at once."""


def teacher_logits(
    teacher: nn.Module, identity: str, caller: Caller, data: LabelledRows, work: Path
) -> NDArray[np.float32]:
    """Return the logits of the rows, shape (n, k), from the work folder where they lie there.

    identity: digest of the teacher's folder. work: folder that the answers of each teacher and set
    of rows get a folder in.
    """
    import torch

    device = next(teacher.parameters()).device
    told = {
        "teacher": identity, "rows": data.digest, "call": caller.name, "device": device.type,
        "torch": torch.__version__,
    }  # fmt: skip
    folder = work / digest_json(told)[:16]
    starts = range(0, len(data), ROWS)
    with progress("teacher", total=len(data), unit="rows") as report:
        parts = []
        for number, start in enumerate(starts):
            file = folder / f"part-{number}.npy"
            rows = np.arange(start, min(start + ROWS, len(data)))
            if not file.is_file():
                _write(file, _answers(teacher, caller, data, rows))
            parts.append(np.load(file, allow_pickle=False))
            report(len(rows))
    return np.concatenate(parts)


def _write(file: Path, table: NDArray[np.float32]) -> None:
    content = io.BytesIO()
    np.save(content, table, allow_pickle=False)
    write_atomically(file, content.getvalue())


def _answers(
    teacher: nn.Module, caller: Caller, data: LabelledRows, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    import torch

    from shipworthy.train.attention import trained_attention
    from shipworthy.train.packing import on_device

    device = next(teacher.parameters()).device
    places, found = [], []
    with torch.inference_mode(), trained_attention(teacher):
        for part in caller.cut(data, rows, tokens=TOKENS, per_device=None):
            micro = on_device(caller.micro_batch(data, part, seed=0, visit=0), device)
            places.append(part)
            found.append(caller.logits(teacher, micro).float().cpu().numpy())
    order = np.argsort(np.concatenate(places), kind="stable")
    table: NDArray[np.float32] = np.concatenate(found)[order]
    return table
