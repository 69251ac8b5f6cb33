"""Stages are cached by content: the same inputs, settings, code and machine are not worked twice.

    root/stages/<key>/           outputs, and stage.json, written last
    root/locks/<key>.lock        held while a stage is made; a killed process lets go of it

A stage is made in a folder of its own and renamed when it is whole, so a kill or an error leaves
finished stages alone and nothing half-written behind. What stands on a stage takes the digest of
its outputs as input, not its key: outputs that are made again to the same bytes change nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from secrets import token_hex
from typing import Any

from shipworthy.core.closure import Sources
from shipworthy.core.device import device_class
from shipworthy.core.digest import canonical_json, digest_json, remember_in, save_memo
from shipworthy.core.files import sync_folder, write_atomically
from shipworthy.core.stage_changes import changes
from shipworthy.core.stage_outputs import RECORD, damaged_output, describe_outputs, outputs_digest

LIBRARIES = (
    "numpy", "onnx", "onnxruntime", "onnxscript", "polars", "pyarrow", "safetensors", "scipy",
    "tokenizers", "torch", "transformers",
)  # fmt: skip

_KEY_DIGITS = 40


@dataclass(frozen=True)
class Stage:
    """A finished stage. seconds: what making it took, now or when it was cached.

    digest: over names and contents of its outputs, 64 hex digits. why: what made the work
    necessary, a text for people; "" where it was cached. created: when it was made, ISO 8601.
    """

    name: str
    key: str
    folder: Path
    digest: str
    cached: bool
    seconds: float
    why: str = ""
    created: str = ""


class StageCache:
    """The stages below one folder, usually `.shipworthy`.

    sources: where to find the code of stages; our own package where not given.
    """

    def __init__(self, root: Path | str, *, sources: Sources | None = None) -> None:
        self.root = Path(root)
        self.folder = self.root / "stages"
        self._sources = sources
        self._closures: dict[str, dict[str, str]] = {}
        self._asked: dict[str, dict[str, Any]] = {}
        remember_in(self.root / "digests.json")

    def run(
        self,
        name: str,
        make: Callable[[Path], None],
        *,
        inputs: Mapping[str, str],
        settings: Any = None,
        module: str,
        seed: int = 0,
    ) -> Stage:
        """Return the stage with this key, made by `make(folder)` where it is not there yet.

        inputs: name -> digest; settings: a pydantic model, dataclass or plain values; module: entry
        module, whose import closure is part of the key. Outputs are what make leaves in its folder,
        which must not hold a `stage.json`. What make raises comes through, and nothing is kept.
        """
        parts = self._ask(name, inputs=inputs, settings=settings, module=module, seed=seed)
        key = key_of(parts)
        found = self._finished(name, key)
        if found is None:
            with self._lock(key):
                # Another process may have made it while this one waited.
                found = self._finished(name, key)
                if found is None:
                    found = self._make(name, key, parts, make)
        save_memo()
        return found

    def forget(self, stage: Stage) -> None:
        """Remove a stage, so that it is made again when it is asked for."""
        with self._lock(stage.key):
            shutil.rmtree(self.folder / stage.key, ignore_errors=True)

    def find(self, name: str, **key: Any) -> Stage | None:
        """Return the stage with this key (`key` as in `run`); None where it has to be made."""
        return self._finished(name, key_of(self._ask(name, **key)))

    def key_parts(
        self, name: str, *, inputs: Mapping[str, str], settings: Any, module: str, seed: int = 0
    ) -> dict[str, Any]:
        """Return all that the key of a stage is made of, as plain values."""
        if module not in self._closures:
            if self._sources is None:
                self._sources = Sources(self.root / "code.json")
            self._closures[module] = self._sources.closure(module)
        return {
            "name": name,
            "inputs": dict(inputs),
            "settings": json.loads(canonical_json(plain(settings))),
            "code": self._closures[module],
            "versions": self._versions,
            "seed": seed,
            "device": device_class(),
        }

    def _ask(self, name: str, **key: Any) -> dict[str, Any]:
        parts = self.key_parts(name, **key)
        self._asked[name] = parts
        return parts

    def explain_miss(self, name: str) -> str:
        """Say what changed since the newest other record of a stage, as a text for people.

        Compares what `run` or `find` last asked for, or the newest record where neither did.
        """
        records = self._records(name)
        asked = self._asked.get(name)
        if asked is None and records:
            asked = records[0]["parts"]
        if asked is None:
            return changes(name, None, None)
        key = key_of(asked)
        record = self.record(key)
        damaged = None if record is None else damaged_output(self.folder / key, record)
        others = [r["parts"] for r in records if r["parts"] != asked]
        return changes(name, asked, others[0] if others else None, damaged)

    def record(self, key: str) -> dict[str, Any] | None:
        """Return the record of a stage by key; None where there is none that can be read."""
        try:
            read = json.loads((self.folder / key / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return read if isinstance(read, dict) and "outputs" in read else None

    @cached_property
    def _versions(self) -> dict[str, str]:
        found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
        for library in LIBRARIES:
            with suppress(PackageNotFoundError):
                found[library] = version(library)
        return found

    def _finished(self, name: str, key: str) -> Stage | None:
        record = self.record(key)
        if record is None or damaged_output(self.folder / key, record) is not None:
            return None
        return Stage(
            name, key, self.folder / key, outputs_digest(record), cached=True,
            seconds=record["seconds"], created=record["created"],
        )  # fmt: skip

    def _make(
        self, name: str, key: str, parts: dict[str, Any], make: Callable[[Path], None]
    ) -> Stage:
        final = self.folder / key
        why = self._why(name, key, parts)
        # Whoever left these held the lock that is ours now, so they are dead.
        for left in self.folder.glob(f".{key}.*"):
            shutil.rmtree(left)
        work = self.folder / f".{key}.{token_hex(4)}"
        work.mkdir(parents=True)
        started = time.monotonic()
        try:
            make(work)
            seconds = time.monotonic() - started
            record = {
                "name": name,
                "key": key,
                "parts": parts,
                "outputs": describe_outputs(work),
                "created": datetime.now(UTC).isoformat(),
                "seconds": seconds,
                "why": why,
            }
            write_atomically(work / RECORD, json.dumps(record, indent=1))
            if final.exists():
                shutil.rmtree(final)
            work.rename(final)
            sync_folder(self.folder)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        return Stage(
            name, key, final, outputs_digest(record), cached=False, seconds=seconds, why=why,
            created=str(record["created"]),
        )  # fmt: skip

    def _why(self, name: str, key: str, parts: dict[str, Any]) -> str:
        record = self.record(key)
        if record is not None:
            return changes(name, parts, parts, damaged_output(self.folder / key, record))
        records = self._records(name)
        return changes(name, parts, records[0]["parts"] if records else None)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all finished stages, newest first."""
        found = [self.record(file.parent.name) for file in self.folder.glob(f"[0-9a-f]*/{RECORD}")]
        kept = [record for record in found if record is not None]
        return sorted(kept, key=lambda record: str(record["created"]), reverse=True)

    def _records(self, name: str) -> list[dict[str, Any]]:
        return [record for record in self.records() if record["name"] == name]

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        path = self.root / "locks" / f"{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with open(path, "a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # Whoever held it may have removed the file meanwhile: then it locks nothing.
                locks = False
                with suppress(FileNotFoundError):
                    locks = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
                if locks:
                    yield
                    return


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the key of a stage from its parts, 40 hex digits."""
    return digest_json(dict(parts))[:_KEY_DIGITS]


def plain(settings: Any) -> Any:
    """Return settings as JSON values: pydantic models, dataclasses, paths, tuples, mappings."""
    if hasattr(settings, "model_dump"):
        return settings.model_dump(mode="json")
    if is_dataclass(settings) and not isinstance(settings, type):
        return {name: plain(value) for name, value in vars(settings).items()}
    if isinstance(settings, Mapping):
        return {str(name): plain(value) for name, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [plain(value) for value in settings]
    return str(settings) if isinstance(settings, Path) else settings
