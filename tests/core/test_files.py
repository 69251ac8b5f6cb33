import os
import stat

import pytest

from shipworthy.core.files import write_atomically


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
