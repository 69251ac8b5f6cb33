"""Evidence: verifying 1 GB of artefacts beside sha256sum, appending to a ledger beside fsync.

Run it with `python benchmarks/evidence.py [--json]`. Rounds are interleaved. The artefacts are six
files of unlike size in a run folder that was recorded as a run records it; both tools read from the
page cache, which is stated, and the digests of the peer are compared with the recorded ones first.
An append is one line with its fsync; beside it a plain write of as many bytes with fsync, which is
what the disk alone takes.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from method.rounds import options, spread, tell
from shipworthy.core.digest import canonical_json
from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import START, Line, line_hash
from shipworthy.release.verify import verify

GOALS = {"verify_mb_per_s": 500.0, "append_ms": 2.0}
SHARES = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)
RUN = "a91f4c2e"
CHUNK = 1 << 20


def interleaved(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every work in turn, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            start = perf_counter()
            work()
            if turn:
                seconds[name].append(perf_counter() - start)
    return seconds


def run_folder(folder: Path, size: int) -> list[Path]:
    """Write artefacts of `size` bytes in all and a ledger that records them."""
    files = []
    inside = folder / "candidates" / "0123456789ab"
    inside.mkdir(parents=True)
    for number, share in enumerate(SHARES):
        file = inside / f"model-{number:05}.safetensors"
        with file.open("wb") as out:
            for _ in range(max(1, int(size * share) // CHUNK)):
                out.write(os.urandom(CHUNK))
        files.append(file)
    (folder / "verdict.json").write_text(json.dumps({"run": RUN}), encoding="utf-8")
    digests = sums([*files, folder / "verdict.json"])
    ledger = Ledger(folder / "ledger.jsonl")
    common = {"run": RUN, "by": ""}
    ledger.append("artefact", {
        **common, "candidate": "0123456789ab", "name": "int8", "lever": "quantize", "parents": [],
        "artefact_digest": "0" * 64,
        "files": {str(f.relative_to(folder)): digests[f] for f in files},
    })  # fmt: skip
    ledger.append("verdict", {
        **common, "file": "verdict.json", "sha256": digests[folder / "verdict.json"],
        "answer": "ship", "best": "0123456789ab", "kind": "run",
        "created": "2026-01-01T00:00:00+00:00", "files": {},
    })  # fmt: skip
    return files


def sums(files: list[Path], *, jobs: int = 1) -> dict[Path, str]:
    """Digests by the peer: sha256sum, one process after another or `jobs` at a time."""
    command = ["xargs", "-0", "-n", "1", "-P", str(jobs), "sha256sum"]
    given = "\0".join(str(file) for file in files).encode()
    done = subprocess.run(command, input=given, capture_output=True, check=True)
    rows = (row.split("  ", 1) for row in done.stdout.decode().splitlines())
    return {Path(name): digest for digest, name in rows}


def verifying(folder: Path, size: int, rounds: int) -> dict[str, Any]:
    """Verify a run folder beside sha256sum on the same files."""
    files = run_folder(folder, size)
    read = sum(file.stat().st_size for file in files)
    jobs = os.cpu_count() or 1
    found = verify(folder)
    if not found.sound or found.files != len(files) + 1:
        sys.exit(f"the recorded digests are not those of sha256sum: {found.findings}")
    works: dict[str, Callable[[], Any]] = {
        "verify": lambda: verify(folder),
        "verify with one job": lambda: verify(folder, jobs=1),
        "sha256sum": lambda: sums(files),
    }
    if jobs > 1:
        works[f"sha256sum, {jobs} at a time"] = lambda: sums(files, jobs=jobs)
    seconds = interleaved(works, rounds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "megabytes": read / 1e6,
        "files": len(files),
        "jobs": jobs,
        "seconds": {name: spread(times) for name, times in seconds.items()},
        "mb_per_s": {name: read / 1e6 / took for name, took in medians.items()},
        "ratio": medians["sha256sum"] / medians["verify"],
        "ratio_one_job": medians["sha256sum"] / medians["verify with one job"],
    }


def long_ledger(path: Path, entries: int) -> Ledger:
    """Write a sound ledger of many entries at once, without an fsync for each."""
    previous, rows = START, []
    for number in range(1, entries + 1):
        line = Line(number, "measurements", "2026-01-01T00:00:00.000000+00:00",
                    payload(number), previous, "")  # fmt: skip
        previous = line_hash(line)
        rows.append(canonical_json({**line.__dict__, "hash": previous}) + "\n")
    path.write_text("".join(rows), encoding="ascii")
    return Ledger(path)


def payload(rows: int) -> dict[str, Any]:
    """Return a payload as a run writes it."""
    return {"run": RUN, "file": "measurements.parquet", "sha256": "5" * 64, "rows": rows}


def appending(folder: Path, entries: int, repeats: int) -> dict[str, Any]:
    """Append to a new ledger and to a long one beside a plain write and fsync."""
    folder.mkdir()
    new, long = Ledger(folder / "new.jsonl"), long_ledger(folder / "long.jsonl", entries)
    new.append("measurements", payload(0))
    length = new.path.stat().st_size
    plain = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def written() -> None:
        os.write(plain, b"x" * length)
        os.fsync(plain)

    works: dict[str, Callable[[], Any]] = {
        "append": lambda: new.append("measurements", payload(1)),
        f"append to {entries} entries": lambda: long.append("measurements", payload(1)),
        "plain write and fsync": written,
    }
    seconds = interleaved(works, repeats)
    os.close(plain)
    start = perf_counter()
    count = len(long.lines())
    return {
        "bytes": length,
        "repeats": repeats,
        "milliseconds": {
            name: spread([1e3 * one for one in times]) for name, times in seconds.items()
        },
        "read_entries": count,
        "read_s": perf_counter() - start,
    }


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    told, added = result["verify"], result["append"]
    print(f"\n{told['megabytes']:,.0f} MB in {told['files']} files, in the page cache"
          f" (goal: {GOALS['verify_mb_per_s']:.0f} MB/s)")  # fmt: skip
    for name, took in told["seconds"].items():
        print(f"  {name:<26} {took['median']:6.2f} s [{took['least']:.2f}, {took['most']:.2f}]"
              f"  {told['mb_per_s'][name]:7,.0f} MB/s")  # fmt: skip
    print(f"  {told['ratio']:.2f} times as fast as sha256sum"
          f" ({told['ratio_one_job']:.2f} with one job)")  # fmt: skip
    print(f"\none entry of {added['bytes']} bytes, {added['repeats']} times"
          f" (goal: {GOALS['append_ms']:.0f} ms)")  # fmt: skip
    for name, took in added["milliseconds"].items():
        print(f"  {name:<26} {took['median']:6.2f} ms [{took['least']:.2f}, {took['most']:.2f}]")
    print(f"  reading and checking {added['read_entries']:,} entries: {added['read_s']:.2f} s")


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, rounds=5)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of all artefacts")
    parser.add_argument("--entries", type=int, default=10_000, help="of the long ledger")
    parser.add_argument("--repeats", type=int, default=200, help="appends of each kind")
    parser.add_argument("--folder", type=Path, help="where to write; else the temporary folder")
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="evidence-", dir=given.folder))
    try:
        result = {
            "goals": GOALS,
            "verify": verifying(place / "run", given.megabytes * 1_000_000, given.rounds),
            "append": appending(place / "ledgers", given.entries, given.repeats),
        }
    finally:
        shutil.rmtree(place)
    tell("evidence", result, show, as_json=given.json)


if __name__ == "__main__":
    main()
