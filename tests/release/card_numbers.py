"""Reads the numbers of a document back, and knows which ones the tables of its run hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

from shipworthy.core.locale import number
from shipworthy.release.display import shown
from shipworthy.release.record import read_record

_NOT_NUMBERS = (
    r"`[^`]*`",  # digests, names of verbs
    r"[0-9a-f]{12,64}",
    r"^## \d+\. ",
    r"\(?EU\)?（?）? ?2024/1689",
    r"sha256|Annex IV|F1|p50|p95|bf16|fp32|int8|UTF-8",
    r"\d{4}-\d\d-\d\d",
)
_NUMBER = re.compile(r"(?<![\w.,])[+−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def body(card: str) -> str:
    """Return a document without the metadata at its head."""
    return card.split("\n---\n", 1)[1] if card.startswith("---\n") else card


def numbers_in(card: str, run: str) -> list[str]:
    """Return every number in the text of a document, in order."""
    content = body(card).replace(run, "")
    for pattern in _NOT_NUMBERS:
        content = re.sub(pattern, " ", content, flags=re.MULTILINE)
    return [plain(found) for found in _NUMBER.findall(content)]


def plain(figure: str) -> str:
    return figure.replace("−", "-").replace(",", "").lstrip("+")


def numbers_of(folder: Path) -> set[str]:
    """Return every number that the tables and files of a run hold, as it may be shown."""
    judgement = read_record(folder)
    found: set[str] = set()
    rows = [*judgement.measurements.iter_rows(named=True), *judgement.table.iter_rows(named=True)]
    for row in rows:
        form = shown(
            row["measure"], relative=row["relative_to"] != "none", value_unit=row["value_unit"]
        )
        found |= {plain(form.figure(row[key])) for key in ("value", "low", "high")}
        found.add(plain(number(row["n"])))
        if "bound" in row:
            bound = form.value(row["bound"])
            found |= {plain(number(bound, decimals)) for decimals in range(3)}
    found |= {f"{100 * judgement.confidence:g}", f"{judgement.alpha:g}"}
    found.add(plain(number(judgement.seconds, 1)))
    for name in ("verdict.json", "origins.json", "project.yaml"):
        if (folder / name).is_file():
            found |= set(_of_file(folder / name))
    return found


def _of_file(file: Path) -> list[str]:
    """Return the numbers of a file, those of verdicts and next steps left out."""
    content = file.read_text("utf-8")
    if file.suffix == ".json":
        values = json.loads(content)
        for key in ("verdicts", "next_steps"):
            values.pop(key, None)
        content = json.dumps(values, ensure_ascii=False)
    return [plain(found) for found in _NUMBER.findall(content)]
