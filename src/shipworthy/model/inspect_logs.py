"""Logs of Inspect: the letter that a scorer took for the answer, beside the target.

Where a sample has no choices, the scorer's mark is read: right (C, 1) or wrong (I, N, 0). `answer`
follows the first scorer, `answer:SCORER` each further one that marks every sample so.

A log is one JSON document, or an `.eval` archive with one JSON file a sample. Those archives are
compressed with Zstandard, which `zipfile` does not know here, so its bytes go through pyarrow.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal
from shipworthy.model.evaluation_logs import (
    BY,
    ID,
    LABEL,
    PREDICTION,
    TASK,
    checked_mark,
    columns_for_groups,
    mark,
    parsed,
    unmarked,
)
from shipworthy.model.spoken import RIGHT, SAID, WRONG

if TYPE_CHECKING:
    import polars as pl

EPOCH = "epoch"
SAMPLE = "sample"
"""The unit of rows that repeat one sample in several epochs."""

_ZSTANDARD = 93
_LOCAL_HEADER = 30

NO_ANSWER = "(none)"
"""The answer of a sample in which the scorer found none: a wrong one, but an answer."""


def read_inspect_log(file: Path) -> pl.DataFrame:
    """Return the answers of a log, one row a sample and epoch.

    Columns: id, task, target, answer, epoch, and fields of the samples' metadata, see
    `columns_for_groups`; `said` where answers are right or wrong. With several epochs the id holds
    the epoch, and `sample` is the unit. Raises DataError where the run did not finish, a sample
    failed, or an answer is neither a choice nor marked right or wrong.
    """
    import polars as pl

    header, samples = _document(file) if file.suffix == ".json" else _archive(file)
    if header.get("status") != "success":
        raise DataError(
            text("error.logs.unfinished", status=header.get("status")),
            file=file,
            fix=text("error.logs.unfinished.fix"),
        )
    task = str(header.get("eval", {}).get("task", file.stem))
    taken = [_taken(file, number, task, sample) for number, sample in enumerate(samples, start=1)]
    if not taken:
        raise DataError(text("error.logs.empty"), file=file)
    read = _choice if all(one["is_choice"] for one in taken) else _marked
    rows = [read(file, number, task, one) for number, one in enumerate(taken, start=1)]
    rows.sort(key=lambda row: (row[ID], row[EPOCH]))
    names = [ID, TASK, LABEL, PREDICTION, EPOCH]
    if len({row[EPOCH] for row in rows}) > 1:
        names.append(SAMPLE)
        for row in rows:
            row[SAMPLE] = row[ID]
            row[ID] = f"{row[ID]}/{row[EPOCH]}"
    names += [n for n in rows[0] if n == SAID]
    names += [n for n in rows[0] if n.startswith(BY) and all(row.get(n) for row in rows)]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in names}
    records = (row["metadata"] for row in rows)
    return pl.DataFrame(columns | columns_for_groups(records, of="metadata", taken=columns))


def _document(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        log = parsed(file.read_bytes(), str(file))
    except OSError as error:
        raise DataError(text("error.logs.broken", reason=refusal(error)), file=file) from None
    return log, log.get("samples") or []


def _archive(file: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(text("error.logs.broken", reason=str(error)), file=file) from None
    return _member(file, archive, "header.json"), _archived(file, archive)


def _archived(file: Path, archive: zipfile.ZipFile) -> Iterator[dict[str, Any]]:
    """Yield the samples one by one: each may hold a long conversation."""
    with archive:
        for name in archive.namelist():
            if name.startswith("samples/") and name.endswith(".json"):
                yield _member(file, archive, name)


def _member(file: Path, archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Return the JSON object of one file in an archive."""
    try:
        found: dict[str, Any] = parsed(_content(archive, archive.getinfo(name)), f"{file}/{name}")
    except (OSError, KeyError, NotImplementedError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).strip("'\"")
        raise DataError(text("error.logs.broken", reason=reason), file=file) from None
    return found


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.compress_type != _ZSTANDARD:
        return archive.read(member)
    import pyarrow as pa

    opened = archive.fp
    assert opened is not None
    opened.seek(member.header_offset)
    header = opened.read(_LOCAL_HEADER)
    # The local header repeats name and extra field, with lengths of its own (APPNOTE 4.3.7).
    names, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    opened.seek(names + extra, 1)
    packed = opened.read(member.compress_size)
    content: bytes = pa.decompress(
        packed, decompressed_size=member.file_size, codec="zstd", asbytes=True
    )
    if zlib.crc32(content) != member.CRC:
        raise zipfile.BadZipFile(f"{member.filename}: the checksum does not fit")
    return content


def _taken(file: Path, number: int, task: str, sample: dict[str, Any]) -> dict[str, Any]:
    """Return of a sample what its row is made of: a conversation may be long."""
    if sample.get("error"):
        raise DataError(
            text("error.logs.failed_sample", sample=sample.get("id")),
            file=file,
            row=number,
            fix=text("error.logs.unfinished.fix"),
        )
    scores = sample.get("scores") or {}
    if not scores:
        raise unmarked(task, file=file, row=number)
    target = sample.get("target")
    return {
        ID: str(sample["id"]),
        TASK: task,
        LABEL: target,
        EPOCH: int(sample.get("epoch", 1)),
        "scores": {name: (one.get("value"), one.get("answer")) for name, one in scores.items()},
        "metadata": sample.get("metadata") or {},
        "is_choice": bool(sample.get("choices")) and isinstance(target, str),
    }


def _choice(file: Path, number: int, task: str, taken: dict[str, Any]) -> dict[str, Any]:
    said, found = next(iter(taken["scores"].values()))
    answer = str(found or NO_ANSWER)
    if said in ("C", "I") and (said == "C") != (answer == taken[LABEL]):
        raise DataError(
            text("error.logs.disagrees", metric="score", value=said),
            file=file,
            row=number,
            fix=text("error.logs.disagrees.fix"),
        )
    return {**taken, PREDICTION: answer}


def _marked(file: Path, number: int, task: str, taken: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that a scorer calls right or wrong; target is right in each row."""
    (first, (value, found)), *others = taken["scores"].items()
    right = checked_mark(value, first, task=task, file=file, row=number)
    row = {**taken, LABEL: RIGHT, PREDICTION: RIGHT if right else WRONG}
    row[SAID] = str(found or NO_ANSWER)
    for name, (value, _) in others:
        also = mark(value)
        row[f"{BY}{name}"] = None if also is None else RIGHT if also else WRONG
    return row
