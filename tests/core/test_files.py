import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shipworthy.core.errors import InputError
from shipworthy.core.files import is_full_disk, part_of, room_on_disk, sweep, write_atomically


def test_writes_text_and_bytes_and_makes_folders(tmp_path) -> None:
    write_atomically(tmp_path / "a" / "b.txt", "grün\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "grün\n".encode()
    write_atomically(tmp_path / "a" / "b.txt", b"\x00\xff")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"\x00\xff"
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_new_file_obeys_the_umask(tmp_path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_failure_keeps_the_old_content_and_leaves_nothing(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "a", b"a file cannot replace a folder")
    write_atomically(tmp_path / "b", b"old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "b", "\ud800")
    assert (tmp_path / "b").read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


def test_a_link_keeps_pointing_to_its_target(tmp_path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_what_dead_writers_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    old, young = part_of(tmp_path / "below" / "a.json"), part_of(tmp_path / "b")
    kept = [tmp_path / name for name in ("c.part", ".d.part", ".e.0123.part", ".f.xyzxyzxyz.part")]
    for path in (old, young, *kept):
        path.write_text("half")
        os.utime(path, (1000, 1000))
    os.utime(young, (3000, 3000))
    sweep(tmp_path, before=2000)
    assert sorted(p.name for p in tmp_path.rglob("*.part")) == sorted(
        p.name for p in (young, *kept)
    )


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "no space"),
        OSError(errno.EDQUOT, "quota"),
        OSError(errno.EFBIG, "too big"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError('IoError(Os { code: 28, kind: StorageFull, message: "..." })'),
        InputError("weights are damaged (os error 27)"),
    ],
)
def test_a_full_disk_is_known_whoever_tells_it(error: Exception, tmp_path: Path) -> None:
    assert is_full_disk(error)
    with pytest.raises(InputError, match="the disk is full") as told, room_on_disk(tmp_path):
        try:
            raise error
        except Exception as first:
            raise ValueError("on top") from first
    assert str(told.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "denied"), ValueError("os error 2"), KeyError("code: 280")]
)
def test_other_errors_come_through(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as told, room_on_disk(tmp_path):
        raise error
    assert told.value is error


def test_a_disk_that_is_full_leaves_no_part(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from shipworthy.core.files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_atomically(sys.argv[1], bytes(2000))\n"
    )
    place = tmp_path / "file"
    place.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], capture_output=True, check=False
    )
    assert b"File too large" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert place.read_bytes() == b"old"
