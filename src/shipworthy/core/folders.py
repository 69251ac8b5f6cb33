"""Folders that are whole or absent, and made once, whichever process asks for them first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from shipworthy.core.lock import hold


def make_once(target: Path, make: Callable[[Path], None], *, proof: str) -> Path:
    """Return a folder that whoever asks first makes, while others wait; later calls find it.

    make: writes the folder at the path that it is given, a neighbour of the target that takes its
    name when it is whole; what `make` leaves when it fails is removed, and the next call tries
    again. proof: a file in the folder by which a whole one is known.
    Raises InputError where the place can't be written, and whatever `make` raises.
    """
    if (target / proof).is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with hold(target.with_name(f"{target.name}.lock"), wait=True):
        if not (target / proof).is_file():
            with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
                whole = Path(temporary) / "whole"
                make(whole)
                os.replace(whole, target)
    return target
