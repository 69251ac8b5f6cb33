"""The King James Bible: a public-domain corpus of 4.2 MB, for language models made from nothing.

It comes as two Debian packages, fetched by `apt-get download` and unpacked, never installed. The
text lies compressed in one file, which the package's own small program prints. A file of another
digest is refused, so that figures stay comparable.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from shipworthy.core.digest import digest_bytes, digest_file
from shipworthy.core.errors import InputError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.data.packages import cache_folder

if TYPE_CHECKING:
    import polars as pl

VERSION = "4.38"
SHA256 = "0e78f513566362c24193d7cd45b58071e39971796230147e0505fc819fe27a97"
"""Of the printed text."""

PASSAGE_VERSES = 8
"""Verses of a row, at most: of one chapter, one after the other."""

_PACKAGES = ("bible-kjv", "bible-kjv-text")
_ALL = "gen1:1-rev22:21\n"
_VERSE = re.compile(r"^(\w+?)(\d+):(\d+) (.*)$")
_NEW = "Mat"
"""The first book of the New Testament, as the program shortens it."""


def kjv(cache: Path | None = None) -> pl.DataFrame:
    """Return the text in passages.

    Columns: id, text (verses, one a line), book, testament (old or new), chapter (its book and
    number), verses. Raises InputError where it cannot be fetched.
    """
    import polars as pl

    rows: list[tuple[str, str, str, str, str, int]] = []
    testament = "old"
    chapters: dict[str, list[str]] = {}
    books: dict[str, str] = {}
    for line in kjv_text(cache).splitlines():
        found = _VERSE.match(line)
        if found is None:
            continue
        book, number, _, verse = found.groups()
        chapters.setdefault(f"{book} {number}", []).append(verse)
        books[f"{book} {number}"] = book
    for chapter, verses in chapters.items():
        book = books[chapter]
        testament = "new" if book == _NEW else testament
        for start in range(0, len(verses), PASSAGE_VERSES):
            part = verses[start : start + PASSAGE_VERSES]
            name = f"{chapter}:{start + 1}"
            rows.append((name, "\n".join(part), book, testament, chapter, len(part)))
    names = ["id", "text", "book", "testament", "chapter"]
    kinds = {**dict.fromkeys(names, pl.String), "verses": pl.Int64}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def kjv_text(cache: Path | None = None) -> str:
    """Return all verses, one a line behind its place; fetched on the first call."""
    file = kjv_file(cache)
    return file.read_text(encoding="utf-8")


def kjv_file(cache: Path | None = None) -> Path:
    """Return the file of the printed text; fetched on the first call."""
    file = (cache or cache_folder()) / "unpacked" / f"bible-kjv-{VERSION}.txt"
    if file.is_file() and digest_file(file) == SHA256:
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    name = f"{text('step.fetch')} bible-kjv {VERSION}"
    with (
        TemporaryDirectory(dir=file.parent, prefix=".kjv-") as temporary,
        progress(name, total=1, unit="file") as step,
    ):
        printed = _printed(Path(temporary))
        step(1)
    if digest_bytes(printed) != SHA256:
        raise InputError(text("error.kjv.other", version=VERSION))
    write_atomically(file, printed)
    return file


def _printed(folder: Path) -> bytes:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise InputError(text("error.kjv.program", program=program))
    # As somebody who may write here: apt's own user may not.
    sandbox = ["-o", "APT::Sandbox::User=root"]
    _run(["apt-get", *sandbox, "download", "--quiet", *_PACKAGES], folder)
    for archive in sorted(folder.glob("*.deb")):
        _run(["dpkg-deb", "-x", archive.name, "whole"], folder)
    lib = folder / "whole" / "usr" / "lib"
    return _run(["../bin/bible", "-f"], lib, given=_ALL.encode())


def _run(command: list[str], folder: Path, *, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)
    except OSError as error:
        raise InputError(text("error.kjv.failed", command=command[0], reason=error)) from error
    if done.returncode or (given and not done.stdout):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["?"]
        raise InputError(text("error.kjv.failed", command=command[0], reason=said[-1]))
    return done.stdout
