"""Show what the simulations of the gate found: build/gate.json as a table in docs/method.md.

    .venv/bin/python scripts/gate_table.py            # after `make test` or, in full, `make slow`

The table stands between the markers `<!-- gate:begin -->` and `<!-- gate:end -->`; everything else
in the page is left as it is. Of a check that ran with several counts the largest is shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- gate:begin -->", "<!-- gate:end -->"
SUBJECTS = {
    1: "Identity",
    2: "Equal truth",
    3: "False ship",
    4: "False hold",
    5: "Planted harm",
    6: "One-sided errors",
    7: "Units",
    8: "Spread over groups",
    9: "Looks and search",
}
"""Headings of the items, in the order in which they are shown."""

Record = dict[str, Any]


def largest(records: list[Record]) -> list[Record]:
    """One record a check, that with the most replicates (0 is all), the later of equals."""
    kept: dict[tuple[int, str, str], Record] = {}
    for record in sorted(records, key=lambda r: (r["replicates"], r["created"])):
        kept[record["item"], record["check"], record["mutant"]] = record
    return sorted(kept.values(), key=lambda r: (r["item"], bool(r["mutant"]), r["created"]))


def table(records: list[Record]) -> str:
    """Two Markdown tables: what a sound gate did, and how broken ones were noticed."""
    shown = largest(records)
    lines = [
        "| subject | check | observed | allowed | accepted up to | replicates |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {subject} | {r['check']} | {share(r['observed'])} | {share(r['allowed'])} "
        f"| {share(r['accepted'])} | {count(r['replicates'])} |"
        for subject, r in _named(r for r in shown if not r["mutant"])
    ]
    lines += [
        "",
        "| subject | broken rule | check that must notice it | observed | accepted up to "
        "| replicates |",
        "|---|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {subject} | {r['mutant']} | {r['check']} | {share(r['observed'])} "
        f"| {share(r['accepted'])} | {count(r['replicates'])} |"
        for subject, r in _named(r for r in shown if r["mutant"])
    ]
    return "\n".join(lines)


def share(value: float) -> str:
    """A rate with four digits; 0 is nothing at all."""
    return "0" if value == 0 else f"{value:.4f}"


def count(replicates: int) -> str:
    """A number of replicates; 0 stands for enumeration of all outcomes."""
    return f"{replicates:,}" if replicates else "all outcomes"


def insert(page: str, shown: str) -> str:
    """Return the page with the table between its markers. Raises ValueError where they miss."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} … {END} in the page")
    return f"{head}{BEGIN}\n{shown}\n{END}{tail}"


def main(arguments: list[str] | None = None) -> int:
    """Write the table; return 0, or 2 where the records or the markers miss."""
    parser = argparse.ArgumentParser(description="Show build/gate.json in docs/method.md.")
    parser.add_argument("--records", type=Path, default=ROOT / "build" / "gate.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "method.md")
    chosen = parser.parse_args(arguments)
    try:
        records = json.loads(chosen.records.read_text(encoding="utf-8"))
        page = insert(chosen.page.read_text(encoding="utf-8"), table(records))
    except FileNotFoundError as missing:
        print(f"{missing.filename} is missing; run `make slow` first", file=sys.stderr)
        return 2
    except ValueError as wrong:
        print(f"{chosen.page}: {wrong}", file=sys.stderr)
        return 2
    chosen.page.write_text(page, encoding="utf-8")
    return 0


def _named(records: Any) -> list[tuple[str, Record]]:
    """Each record with its subject, which is written once."""
    named, last = [], None
    for record in records:
        named.append((SUBJECTS[record["item"]] if record["item"] != last else "", record))
        last = record["item"]
    return named


if __name__ == "__main__":
    sys.exit(main())
