"""Runs one verb as the command line does, and keeps what it said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shipworthy.cli.main import run

POLICY = """
- {measure: accuracy, at_least: 0.80, tier: critical, owner: ml-lead}
- {measure: accuracy, relative_to: parent, at_least: -0.02, owner: ml-lead}
- {measure: accuracy, slice: {each: domain}, relative_to: parent, at_least: -0.03, owner: fairness}
"""
PLAIN = "- {measure: accuracy, relative_to: parent, at_least: -0.02, owner: ml-lead}\n"
"""A policy without groups."""

COLUMNS = ("--label", "y", "--prediction", "p", "--id", "i")


@dataclass(frozen=True)
class Said:
    """exit code, stdout and stderr of one verb."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


def say(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Said:
    capsys.readouterr()
    code = run([str(a) for a in arguments])
    told = capsys.readouterr()
    return Said(code, told.out, told.err)


def written(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, every folder with none."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b""
        for p in sorted(folder.rglob("*"))
    }


def save(frame: pl.DataFrame, path: Path) -> Path:
    kind = path.suffix
    if kind == ".csv":
        frame.write_csv(path)
    elif kind == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)
    return path
