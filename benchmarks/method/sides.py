"""Sides of a comparison that run in processes of their own, ours and the peers'."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
PEERS = BENCHMARKS / "peers"
"""Folder of what runs in the peers' environments, and of what these are made from."""


def peer_python(name: str) -> Path:
    """Return the interpreter of a peer's environment, which `make peers` makes."""
    return BENCHMARKS.parent / ".peers" / name / "bin" / "python"


def how_to_make(name: str) -> str:
    """Return how a peer's environment is made, for people."""
    return f"`make peers` makes it, from benchmarks/peers/{name}.txt"


class Side:
    """A process that answers each line on its stdin with one line of JSON, and says one first.

    about: the first line. given: what the process gets as its last argument; `name` is for people.
    """

    def __init__(
        self, command: list[str], given: dict[str, Any], log: Path, **environment: str
    ) -> None:
        """Start it and wait for its first line. log: file for what it writes to stderr."""
        self.name, self.log = str(given["name"]), log
        common = {"TOKENIZERS_PARALLELISM": "false", "SHIPWORTHY_PROGRESS": "off"}
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [*command, json.dumps(given)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **common, **environment},
            )
        self.about = self._read()

    def ask(self, what: str) -> dict[str, Any]:
        """Send a line and return the answer; raises SystemExit where the process has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Let the process end, if it has not."""
        self.process.communicate("end\n")

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.communicate()
            said = self.log.read_text().strip().splitlines()
            raise SystemExit(f"{self.name} failed: {said[-1] if said else 'it said nothing'}")
        return dict(json.loads(line))
