"""A project whose run ships, is recorded and signed, with small files in place of models."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sample import made, pictured

from shipworthy.core.digest import digest_file
from shipworthy.core.keys import SigningKey, new_key
from shipworthy.core.ledger import Ledger
from shipworthy.core.statements import sign_payload
from shipworthy.release.judgement import Judgement
from shipworthy.release.record import VERDICT, write_record
from shipworthy.release.recorded import record_run

NAMES = ("bf16 weights", "pruned 50 %")
BEST = made("bf16 weights").id


@dataclass(frozen=True)
class Project:
    """root holds `.shipworthy/ledger.jsonl` and `runs/<id>/`; ann and bob can sign."""

    root: Path
    folder: Path
    ledger: Ledger
    judgement: Judgement
    ann: SigningKey
    bob: SigningKey
    keys: Path
    """Folder with the public keys of both."""

    def sign(self, key: SigningKey, person: str, role: str = "ml-lead") -> None:
        """Sign the verdict of the run and copy the ledger into the run folder."""
        with self.ledger.locked():
            head = self.ledger.lines()[-1]
            payload = {
                "run": self.judgement.run,
                "verdict_sha256": digest_file(self.folder / VERDICT, memo=False),
                "role": role,
                "person": person,
                "head_number": head.number,
                "head_hash": head.hash,
            }
            self.ledger.append("signoff", sign_payload("signoff", payload, key))
        self.ledger.copy_to(self.folder / "ledger.jsonl")


def shipped(**more: Any) -> Judgement:
    """Return a judgement that ships one of two candidates, both with folders in the run."""
    given = pictured(NAMES, **more)
    inside = [replace(c, folder=f"candidates/{c.id}") for c in given.candidates]
    parent = replace(given.parent, folder=f"candidates/{given.parent.id}")
    return replace(given, candidates=tuple(inside), parent=parent, best=BEST)


def write_run(folder: Path, judgement: Judgement) -> None:
    """Write a run folder with small files in place of models."""
    for one in (judgement.parent, *judgement.candidates):
        place = folder / "candidates" / one.id
        (place / "onnx").mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(f'{{"name": "{one.name}"}}\n', encoding="utf-8")
        (place / "model.safetensors").write_bytes(one.id.encode() * 500)
        (place / "onnx" / "model.onnx").write_bytes(one.id.encode() * 100)
    (folder / "project.yaml").write_text("name: review-sentiment\n", encoding="utf-8")
    write_record(judgement, folder)


def project(root: Path, judgement: Judgement | None = None, *, sign: bool = True) -> Project:
    """Make a project with one recorded run, signed by ann and bob."""
    judgement = shipped() if judgement is None else judgement
    keys = root.parent / f"{root.name}-keys"
    secret = root.parent / f"{root.name}-secret"
    ann, bob = new_key(secret / "ann", "ann"), new_key(secret / "bob", "bob")
    keys.mkdir()
    for name in ("ann", "bob"):
        shutil.copy(secret / f"{name}.pub", keys)
    folder = root / "runs" / judgement.run
    write_run(folder, judgement)
    ledger = Ledger(root / ".shipworthy" / "ledger.jsonl")
    record_run(ledger, folder, judgement, by="ann")
    ledger.copy_to(folder / "ledger.jsonl")
    made = Project(root, folder, ledger, judgement, ann, bob, keys)
    if sign:
        made.sign(ann, "ann")
        made.sign(bob, "bob", "fairness")
    return made
