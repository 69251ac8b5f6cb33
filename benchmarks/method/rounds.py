"""What all benchmarks do alike: rounds in turn, their spread, and one document with the machine."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from shipworthy.core.device import device_flags

Side = TypeVar("Side")


def options(about: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of what every script takes; about: its docstring, rounds: the default."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, help="repeats of what is timed")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def in_turn(sides: Sequence[Side], rounds: int) -> Iterator[Side]:
    """Yield all sides once a round, every other round from the last one on: A B C, C B A, A B C.

    What a machine does besides, and how warm it is, then falls on all of them alike.
    """
    for number in range(rounds):
        yield from sides if number % 2 == 0 else reversed(sides)


def spread(values: Sequence[float], *, unit: str = "") -> dict[str, float]:
    """Return median, least and most; the names end in the unit where there is one."""
    end = f"_{unit}" if unit else ""
    found = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {f"{name}{end}": value for name, value in found.items()}


def tell(
    benchmark: str, found: dict[str, Any], show: Callable[[dict[str, Any]], None], *, as_json: bool
) -> None:
    """Print what was found and on which machine: one JSON document, or lines by `show`."""
    flags = list(device_flags())
    document = {
        "benchmark": benchmark,
        "device_flags": flags,
        "python": sys.version.split()[0],
        **found,
    }
    if as_json:
        print(json.dumps(document, indent=2))
        return
    print("machine:", " ".join(flags))
    show(document)
