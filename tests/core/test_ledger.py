import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.errors import InputError
from shipworthy.core.ledger import START, Ledger
from shipworthy.core.ledger_lines import read_chain


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    made = Ledger(tmp_path / "runs" / "ledger.jsonl")
    for k in range(4):
        made.append("measurements", table(k))
    return made


def table(k: int, who: str = "审计") -> dict[str, Any]:
    return {"run": who, "file": "measurements.parquet", "sha256": "5" * 64, "rows": k}


def _rows(ledger: Ledger) -> list[bytes]:
    return ledger.path.read_bytes().splitlines(keepends=True)


def _broken(ledger: Ledger, rows: list[bytes]) -> str:
    ledger.path.write_bytes(b"".join(rows))
    with pytest.raises(InputError) as caught:
        ledger.verify()
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(str(ledger.path))


def test_lines_are_chained(ledger: Ledger) -> None:
    lines = ledger.lines()
    assert [line.number for line in lines] == [1, 2, 3, 4]
    assert [line.payload["rows"] for line in lines] == [0, 1, 2, 3]
    assert lines[0].previous == START
    assert [line.previous for line in lines[1:]] == [line.hash for line in lines[:-1]]
    assert ledger.verify() == lines[-1]
    assert lines[0].created.endswith("+00:00")
    assert Ledger(ledger.path.with_name("none")).lines() == ()
    assert Ledger(ledger.path.with_name("none")).verify() is None


def test_a_line_is_plain_canonical_json(ledger: Ledger) -> None:
    raw = _rows(ledger)[2].decode("ascii")
    values = json.loads(raw)
    assert list(values) == ["created", "hash", "kind", "number", "payload", "previous"]
    assert raw == json.dumps(values, sort_keys=True, separators=(",", ":")) + "\n"


def test_a_removed_line_is_found(ledger: Ledger) -> None:
    rows = _rows(ledger)
    found = _broken(ledger, rows[:1] + rows[2:])
    assert found == ":2: the line says number 3: a line was removed, added or swapped"


def test_swapped_lines_are_found(ledger: Ledger) -> None:
    a, b, c, d = _rows(ledger)
    assert _broken(ledger, [a, c, b, d]).startswith(":2: the line says number 3")


def test_an_edited_value_is_found(ledger: Ledger) -> None:
    rows = _rows(ledger)
    rows[1] = rows[1].replace(b'"rows":1', b'"rows":2')
    assert _broken(ledger, rows) == ":2: the line was edited: its hash does not fit"


def test_a_line_with_a_new_hash_breaks_at_the_next(ledger: Ledger) -> None:
    other = Ledger(ledger.path.with_name("other.jsonl"))
    other.append("measurements", table(0))
    other.append("measurements", table(7))
    rows = _rows(ledger)
    assert ":2: " in _broken(ledger, [rows[0], _rows(other)[1], *rows[2:]])


def test_spaces_blank_lines_and_foreign_text_are_found(ledger: Ledger) -> None:
    a, b, c, d = _rows(ledger)
    assert _broken(ledger, [a, b.replace(b":", b": ", 1), c, d]).startswith(":2: the line is not")
    assert _broken(ledger, [a, b, b"\n", c, d]).startswith(":3: the line is not")
    assert _broken(ledger, [a, b, c, d, b"\xff\xfe\n"]).startswith(":5: the line is not")
    assert _broken(ledger, [row.replace(b"\n", b"\r\n") for row in (a, b)]).startswith(":1: ")


def test_a_line_cut_in_half_in_the_middle_is_found(ledger: Ledger) -> None:
    rows = _rows(ledger)
    rows[1] = rows[1][:50] + b"\n"
    assert _broken(ledger, rows).startswith(":2: the line is not an entry")


def test_a_torn_last_line_is_said_then_cut_off_and_recorded(ledger: Ledger) -> None:
    rows = _rows(ledger)
    torn = rows[3][:-9]
    found = _broken(ledger, [*rows[:3], torn])
    assert found == ":4: the line is cut off; the next entry cuts it back and records that"
    line = ledger.append("measurements", table(9))
    assert [entry.kind for entry in ledger.lines()] == ["measurements"] * 3 + [
        "recovered",
        "measurements",
    ]
    assert ledger.lines()[3].payload["bytes"] == len(torn)
    assert line.number == 5
    assert ledger.recover() is None


def test_only_torn_bytes(tmp_path) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.path.write_bytes(b'{"created":')
    ledger.append("measurements", table(0))
    assert [line.kind for line in ledger.lines()] == ["recovered", "measurements"]


def test_a_stripped_last_newline_loses_nothing(ledger: Ledger) -> None:
    ledger.path.write_bytes(ledger.path.read_bytes().rstrip(b"\n"))
    assert len(ledger.lines()) == 4
    ledger.append("measurements", table(9))
    assert [line.kind for line in ledger.lines()] == ["measurements"] * 5


def test_nothing_is_appended_to_an_edited_end(ledger: Ledger) -> None:
    content = ledger.path.read_bytes().replace(b'"rows":3', b'"rows":5')
    ledger.path.write_bytes(content)
    with pytest.raises(InputError, match="last line was edited, so nothing was appended"):
        ledger.append("measurements", table(0))
    assert ledger.path.read_bytes() == content


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    ledger = Ledger(tmp_path_factory.mktemp("l") / "ledger.jsonl")
    for k in range(5):
        ledger.append("measurements", table(k))
    return ledger.path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_flipped_bit_names_its_line(sound: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(sound) - 1))
    content = bytearray(sound)
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    chain = read_chain(bytes(content))
    assert chain.flaws, "nothing was noticed"
    line = sound[:place].count(b"\n") + 1
    assert chain.flaws[0].place == line
    if content.count(b"\n") == sound.count(b"\n"):
        assert [flaw.place for flaw in chain.flaws] == [line], "a sound line was named too"


def test_every_bad_line_is_named(sound: bytes) -> None:
    rows = sound.splitlines(keepends=True)
    rows[0] = rows[0].replace(b'"rows":0', b'"rows":7')
    rows[2] = b"?\n"
    rows[4] = rows[4].replace(b'"rows":4', b'"rows":8')
    found = read_chain(b"".join(rows)).flaws
    assert [(flaw.place, flaw.key) for flaw in found] == [
        (1, "ledger.flaw.hash"),
        (3, "ledger.flaw.entry"),
        (5, "ledger.flaw.hash"),
    ]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_removed_swapped_and_doubled_lines_are_named(sound: bytes, data: st.DataObject) -> None:
    rows = sound.splitlines(keepends=True)
    first = data.draw(st.integers(0, len(rows) - 2))
    other = data.draw(st.integers(first + 1, len(rows) - 1))
    swapped = list(rows)
    swapped[first], swapped[other] = rows[other], rows[first]
    removed = rows[:first] + rows[first + 1 :]
    doubled = [*rows[:other], rows[first], *rows[other:]]
    for made, place in ((swapped, first), (removed, first), (doubled, other)):
        assert read_chain(b"".join(made)).flaws[0].place == place + 1


def test_a_cut_after_a_whole_line_is_sound_in_itself(sound: bytes) -> None:
    rows = sound.splitlines(keepends=True)
    chain = read_chain(b"".join(rows[:3]))
    assert not chain.flaws
    assert chain.lines[-1].hash != read_chain(sound).lines[-1].hash


def test_a_damaged_last_newline_loses_no_entry(sound: bytes, tmp_path) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.path.write_bytes(sound[:-1] + b"\x0b")
    assert ledger.chain().flaws[0].place == 5
    ledger.append("measurements", table(9))
    assert [line.payload["rows"] for line in ledger.lines()] == [0, 1, 2, 3, 4, 9]


def test_what_json_cannot_hold_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError):
        ledger.append("measurements", {"rows": float("nan")})
    with pytest.raises(TypeError):
        ledger.append("measurements", {"rows": {1, 2}})
    assert len(ledger.lines()) == 4


def test_a_folder_in_the_way_is_one_line(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be written: Is a directory"):
        Ledger(tmp_path).append("measurements", table(0))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Ledger(tmp_path).lines()


WRITER = (
    "import sys\nfrom shipworthy.core.ledger import Ledger\n"
    "ledger = Ledger(sys.argv[1])\n"
    "line = {'file': 'm.parquet', 'sha256': '5' * 64, 'run': sys.argv[2]}\n"
    "for k in range(60): ledger.append('measurements', {**line, 'rows': k})\n"
)


def test_many_processes_append_at_once(tmp_path) -> None:
    path = tmp_path / "ledger.jsonl"
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), who]) for who in ("a", "b", "c")
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    lines = Ledger(path).lines()
    assert len(lines) == 180
    for who in "abc":
        assert [x.payload["rows"] for x in lines if x.payload["run"] == who] == list(range(60))


def test_a_full_disk_leaves_the_ledger_as_it_was(ledger: Ledger) -> None:
    """The largest size of a file stands for the disk: the kernel then writes a part and no more."""
    before = ledger.path.read_bytes()
    code = (
        "import resource, sys\nfrom shipworthy.core.errors import InputError\n"
        "from shipworthy.core.ledger import Ledger\n"
        "size = int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "line = {'file': 'm.parquet', 'sha256': '5' * 64, 'run': 'a', 'rows': 1}\n"
        "try: Ledger(sys.argv[1]).append('measurements', line)\n"
        "except InputError as error: print(error)\n"
    )
    for room in (0, 1, 100):
        command = [sys.executable, "-c", code, str(ledger.path), str(len(before) + room)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"{ledger.path}: cannot be written: ")
        assert ledger.path.read_bytes() == before
    assert ledger.append("measurements", table(5)).number == 5


def test_a_killed_writer_lets_go_of_the_lock(tmp_path) -> None:
    code = (
        "import sys, time\nfrom shipworthy.core.ledger import Ledger\n"
        "with Ledger(sys.argv[1]).locked():\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    path = tmp_path / "ledger.jsonl"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert Ledger(path).append("measurements", table(0)).number == 1
