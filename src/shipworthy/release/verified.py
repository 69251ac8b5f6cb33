"""The answer of `verify`, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shipworthy.core.locale import number, text
from shipworthy.release.cells import clean
from shipworthy.release.findings import Finding, Level
from shipworthy.release.ledger_checks import SignedLine


@dataclass(frozen=True)
class Verified:
    """What was checked and found.

    kind: ledger, run, project or bundle. entries: of the ledger; head: NUMBER:HASH of its last one,
    "" without entries. epsilon: level -> (epsilon, delta), added up. bytes: of the files read.
    """

    path: Path
    kind: str
    findings: tuple[Finding, ...]
    entries: int
    head: str
    signatures: tuple[SignedLine, ...]
    epsilon: Mapping[str, tuple[float, float]]
    runs: tuple[str, ...]
    files: int
    bytes: int
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether nothing voids the evidence; warnings do not."""
        return not self.of("wrong")

    def of(self, level: Level) -> tuple[Finding, ...]:
        """Return the findings of one level."""
        return tuple(finding for finding in self.findings if finding.level == level)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "sound": self.sound,
            "findings": [finding.to_dict() for finding in self.findings],
            "entries": self.entries,
            "head": self.head,
            "signatures": [asdict(one) for one in self.signatures],
            "epsilon": {
                level: {"epsilon": epsilon, "delta": delta}
                for level, (epsilon, delta) in self.epsilon.items()
            },
            "runs": list(self.runs),
            "files": self.files,
            "bytes": self.bytes,
            "seconds": self.seconds,
        }


def lines(found: Verified) -> list[str]:
    """Return the answer for people, a line each: the verdict, the counts, all findings."""
    count = len(found.of("wrong"))
    told = [text(f"verify.{'sound' if found.sound else 'unsound'}", path=found.path, count=count)]
    if found.kind != "bundle":
        told.append(text("verify.entries", count=found.entries, head=found.head or "—"))
    if found.files:
        told.append(
            text(
                "verify.files",
                count=number(found.files),
                megabytes=number(found.bytes / 1e6, 1),
                seconds=number(found.seconds, 1),
            )
        )
    for one in found.signatures:
        key = "verify.signed" if one.owner is not None else "verify.signed_by_unknown"
        told.append(text(key, **asdict(one), what=text(f"verify.what.{one.kind}")))
    for level, (epsilon, delta) in found.epsilon.items():
        said = {"level": text(f"verify.level.{level}"), "delta": f"{delta:g}"}
        told.append(text("verify.epsilon", epsilon=number(epsilon, 2), **said))
    order: tuple[Level, ...] = ("wrong", "warning", "note")
    marks = {level: text(f"verify.level_of.{level}") for level in order}
    told += [f"{marks[level]}  {finding}" for level in order for finding in found.of(level)]
    # Names and paths are those of whoever made the evidence.
    return [clean(line) for line in told]
