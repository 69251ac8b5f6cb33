import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recorded_run import Project, project
from tests.cli.verb import say

from shipworthy.core.keys import load_key
from shipworthy.core.ledger import Ledger
from shipworthy.core.locale import set_language
from shipworthy.release.attestation import attest


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    made = project(tmp_path_factory.mktemp("verify") / "p")
    attest(made.folder, made.judgement, made.ann)
    return made


@pytest.fixture(autouse=True)
def _own_language():
    yield
    set_language(None)


def test_sound_evidence(made: Project, capsys) -> None:
    said = say(capsys, "verify", made.root, "--trusted-keys", made.keys)
    assert said.code == 0
    first, second, *_ = said.out.splitlines()
    assert first == f"{made.root}: sound"
    last = made.ledger.lines()[-1]
    assert second == f"8 entries in the ledger, the last is 8:{last.hash}"
    assert f"line 7: sign-off by ann as ml-lead ({made.ann.public.fingerprint})" in said.out
    assert "wrong" not in said.out and "warning" not in said.out
    head = second.rpartition(" ")[2]
    assert say(capsys, "verify", made.root, "--head", head).code == 0
    assert say(capsys, "verify", made.root, "--head", f"7:{last.hash}").code == 3


def test_one_document(made: Project, capsys) -> None:
    told = say(capsys, "verify", made.folder, "--trusted-keys", made.keys, "--json").json
    assert (told["sound"], told["kind"], told["entries"], told["files"]) == (True, "run", 8, 13)
    assert told["head"] == f"8:{made.ledger.lines()[-1].hash}"
    assert told["signatures"][0] == {
        "line": 7, "kind": "signoff", "person": "ann", "role": "ml-lead",
        "key": made.ann.public.fingerprint, "owner": "",
    }  # fmt: skip
    assert [f["finding"] for f in told["findings"]] == ["attested"]


@pytest.fixture
def harmed(made: Project, tmp_path) -> Path:
    root = shutil.copytree(made.root, tmp_path / "p")
    ledger = root / ".shipworthy" / "ledger.jsonl"
    rows = ledger.read_bytes().splitlines(keepends=True)
    rows[2] = rows[2].replace(b'"by":"ann"', b'"by":"bob"')
    ledger.write_bytes(b"".join(rows))
    (root / "runs" / "a91f4c2e" / "project.yaml").write_text("name: x\n")
    return root


def test_harmed_evidence_names_all_that_is_wrong(harmed: Path, capsys) -> None:
    said = say(capsys, "verify", harmed)
    assert said.code == 3
    ledger, run = harmed / ".shipworthy" / "ledger.jsonl", harmed / "runs" / "a91f4c2e"
    assert said.out.splitlines()[0] == f"{harmed}: not sound, 3 things are wrong"
    assert f"wrong    {ledger}:3: the line was edited: its hash does not fit" in said.out
    assert f"{ledger}:3: tells otherwise than its copy {run / 'ledger.jsonl'}" in said.out
    assert f"wrong    {run / 'project.yaml'}: is not the file that was recorded ({ledger}:6)" in (
        said.out
    )
    told = say(capsys, "verify", harmed, "--json")
    assert told.code == 3
    assert [f["finding"] for f in told.json["findings"] if f["level"] == "wrong"] == [
        "hash", "copy_differs", "changed",
    ]  # fmt: skip


def test_chinese(harmed: Path, capsys) -> None:
    said = say(capsys, "verify", harmed, "--lang", "zh")
    assert said.code == 3
    assert "不可信，发现 3 处错误" in said.out
    assert "此行被改动：哈希不符" in said.out
    assert "wrong" not in said.out


def test_a_ledger_that_nobody_signed_says_so(tmp_path, capsys) -> None:
    path = tmp_path / "looks.jsonl"
    Ledger(path).append("recovered", {"bytes": 1, "sha256": "0" * 64})
    said = say(capsys, "verify", path)
    assert (said.code, "note     " in said.out) == (0, True)
    assert "nobody has signed for anything here yet" in said.out
    chinese = say(capsys, "verify", path, "--lang", "zh")
    assert "尚无人签名" in chinese.out


def test_bad_input_is_one_line(made: Project, tmp_path, capsys) -> None:
    for arguments, told in (
        (["verify", tmp_path / "none"], "no such file or folder"),
        (["verify", tmp_path], "holds nothing to verify"),
        (["verify", made.root, "--trusted-keys", tmp_path], "holds no public key"),
        (["verify", made.root, "--trusted-keys", tmp_path / "x"], "x: is not there; give a folder"),
        (["verify", made.root, "--head", "8"], "is not NUMBER:HASH"),
        (["verify", made.root, "--jobs", "0"], "--jobs 0: at least 1"),
        (["keys", "new", "../x", "--folder", tmp_path / "k"], "a key's name has letters"),
        (["keys", "show", tmp_path / "none"], "no such key"),
    ):
        said = say(capsys, *arguments)
        assert (said.code, said.out) == (2, "")
        assert told in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "k").exists()


def test_a_key_of_ones_own_is_shown_by_its_name(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(tmp_path / "k"))
    monkeypatch.chdir(tmp_path)
    line = say(capsys, "keys", "new", "ann", "--json").json["key"]
    assert line in say(capsys, "keys", "show", "ann").out
    assert say(capsys, "keys", "show", "bob").code == 2
    # A file of that name comes first.
    other = say(capsys, "keys", "new", "eve", "--json").json
    (tmp_path / "ann").write_text(f"{other['key']}\n", "utf-8")
    assert other["fingerprint"] in say(capsys, "keys", "show", "ann").out


def test_keys_are_made_and_shown(tmp_path, capsys) -> None:
    said = say(capsys, "keys", "new", "ann", "--folder", tmp_path / "k")
    assert said.code == 0
    line = (tmp_path / "k" / "ann.pub").read_text().strip()
    assert line in said.out.splitlines()
    assert load_key(tmp_path / "k" / "ann").public.text == line
    for name in ("ann", "ann.pub"):
        shown = say(capsys, "keys", "show", tmp_path / "k" / name, "--json").json
        assert shown["key"] == line
        assert shown["fingerprint"] in said.out
    told = say(capsys, "keys", "new", "bob", "--folder", tmp_path / "k", "--json").json
    assert Path(told["private"]).exists() and Path(told["public"]).exists()
    again = say(capsys, "keys", "new", "ann", "--folder", tmp_path / "k")
    assert again.code == 2 and "never overwritten" in again.err


def test_own_keys_lie_where_the_variable_says(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(tmp_path / "own"))
    assert say(capsys, "keys", "new", "ann").code == 0
    assert (tmp_path / "own" / "ann").exists()


def test_verifying_loads_no_model_library(made: Project) -> None:
    code = (
        "import sys\nfrom shipworthy.cli.main import run\n"
        f"assert run(['verify', {str(made.root)!r}]) == 0\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
