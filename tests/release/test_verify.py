"""What an outsider finds: every kind of harm done to evidence, and by whom it can be undone."""

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_run import BEST, Project, project, shipped, write_run

from shipworthy.core.errors import InputError
from shipworthy.core.keys import new_key
from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import line_hash, parse_line
from shipworthy.core.statements import sign_payload
from shipworthy.release.attestation import attest
from shipworthy.release.hashing import digests_of
from shipworthy.release.ledger_checks import Head, read_head
from shipworthy.release.recorded import record_run
from shipworthy.release.trusted import load_trusted
from shipworthy.release.verified import Verified
from shipworthy.release.verify import verify


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Project:
    """Evidence that no test changes."""
    made = project(tmp_path_factory.mktemp("sound") / "p")
    attest(made.folder, made.judgement, made.ann)
    return made


@pytest.fixture
def made(sound: Project, tmp_path) -> Project:
    """A copy to be harmed."""
    root = shutil.copytree(sound.root, tmp_path / "p")
    return Project(
        root,
        root / "runs" / sound.folder.name,
        Ledger(root / ".shipworthy" / "ledger.jsonl"),
        sound.judgement,
        sound.ann,
        sound.bob,
        sound.keys,
    )


def wrongs(found: Verified) -> list[tuple[str, str]]:
    """Where (last part) and what, of all that voids the evidence."""
    assert found.sound == (not found.of("wrong"))
    return [
        (Path(f.where).name, f.to_dict()["finding"]) for f in found.findings if f.level == "wrong"
    ]


def check(made: Project, path: Path | None = None, **more) -> list[tuple[str, str]]:
    return wrongs(verify(path or made.root, trusted=load_trusted(made.keys), **more))


def rows(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def rebuilt(path: Path, edit) -> list[bytes]:
    """What somebody writes who edits lines and makes the whole chain fit again."""
    previous, made = "0" * 64, []
    lines = [parse_line(row.rstrip(b"\n")) for row in rows(path)]
    for number, line in enumerate([e for one in lines if (e := edit(one)) is not None], start=1):
        values = {**line.__dict__, "number": number, "previous": previous, "hash": ""}
        previous = values["hash"] = line_hash(type(line)(**values))
        made.append(json.dumps(values, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return made


# -- sound -----------------------------------------------------------------------------------------


def test_sound_evidence_is_sound_in_all_its_forms(sound: Project) -> None:
    trusted = load_trusted(sound.keys)
    for path, kind, files in (
        (sound.root, "project", 13),
        (sound.folder, "run", 13),
        (sound.ledger.path, "ledger", 0),
    ):
        found = verify(path, trusted=trusted)
        assert (found.kind, found.sound, found.files) == (kind, True, files)
        assert found.entries == 8
        last = sound.ledger.lines()[-1]
        assert found.head == f"8:{last.hash}"
        assert [(s.line, s.person, s.owner) for s in found.signatures] == [
            (7, "ann", ""),
            (8, "bob", ""),
        ]
        assert not found.of("warning")


def test_a_run_folder_copied_to_elsewhere_verifies(sound: Project, tmp_path) -> None:
    for name in (sound.folder.name, "another name"):
        place = shutil.copytree(sound.folder, tmp_path / name)
        found = verify(place, trusted=load_trusted(sound.keys))
        assert found.sound and found.files == 13 and found.runs == ("a91f4c2e",)


def test_without_trusted_keys_nobody_vouches(sound: Project) -> None:
    found = verify(sound.root)
    assert found.sound
    assert {f.phrase.key for f in found.of("warning")} == {
        "verify.unvouched",
        "verify.attestation_unchecked",
    }
    assert [s.owner for s in found.signatures] == [None, None]


def test_a_team_file_says_who_owns_a_key(sound: Project, tmp_path) -> None:
    team = tmp_path / "team.yaml"

    def written(ann: str, bob: str) -> Path:
        team.write_text(
            f"people:\n- {{id: {ann}, roles: [ml-lead], key: {sound.ann.public.text}}}\n"
            f"- {{id: {bob}, roles: [fairness], key: {sound.bob.public.text}}}\n"
        )
        return team

    assert wrongs(verify(sound.ledger.path, trusted=load_trusted(written("ann", "bob")))) == []
    assert wrongs(verify(sound.ledger.path, trusted=load_trusted(written("ann", "carl")))) == [
        ("ledger.jsonl:8", "other_person")
    ]


# -- the ledger ------------------------------------------------------------------------------------


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_one_flipped_bit_of_a_ledger_names_its_line(
    sound: Project, tmp_path, data: st.DataObject
) -> None:
    content = bytearray(sound.ledger.path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    line = content[:place].count(b"\n") + 1
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    copy = tmp_path / "ledger.jsonl"
    copy.write_bytes(content)
    assert wrongs(verify(copy))[0][0] == f"ledger.jsonl:{line}"


def test_lines_removed_swapped_doubled_or_cut_in_half(made: Project) -> None:
    a, b, c, d, e, *rest = rows(made.ledger.path)
    for harmed, where in (
        ([a, c, d, e, *rest], "ledger.jsonl:2"),
        ([a, c, b, d, e, *rest], "ledger.jsonl:2"),
        ([a, b, b, c, d, e, *rest], "ledger.jsonl:3"),
        ([a, b[:50] + b"\n", c, d, e, *rest], "ledger.jsonl:2"),
        ([a, b, c, d, e, *rest[:-1], rest[-1][:50]], "ledger.jsonl:8"),
    ):
        for path in (made.ledger.path, made.folder / "ledger.jsonl"):
            whole = path.read_bytes()
            path.write_bytes(b"".join(harmed))
            found = check(made, path)
            assert found[0][0] == where
            assert where in [place for place, _ in check(made)], "the project says so too"
            path.write_bytes(whole)
    assert check(made) == []


def test_a_cut_after_a_whole_line_is_seen_by_others_only(made: Project) -> None:
    head = verify(made.ledger.path).head
    made.ledger.path.write_bytes(b"".join(rows(made.ledger.path)[:7]))
    assert check(made, made.ledger.path) == [], "in itself it is sound"
    assert check(made, made.ledger.path, head=read_head(head)) == [("ledger.jsonl", "head")]
    assert check(made) == [("ledger.jsonl", "cut")], "the copy in the run knows more"
    made.ledger.path.unlink()
    assert ("ledger.jsonl", "cut") in check(made)


def test_a_cut_before_the_verdict_is_seen_by_the_attestation(made: Project) -> None:
    for path in (made.ledger.path, made.folder / "ledger.jsonl"):
        path.write_bytes(b"".join(rows(path)[:5]))
    found = check(made)
    assert ("ledger.jsonl", "attested_head") in found or ("a91f4c2e", "unrecorded") in found
    assert ("ledger.jsonl", "nobody_signed") in found


def test_a_chain_rebuilt_under_old_signatures(made: Project) -> None:
    """The signatures still fit, but not where they now stand."""

    def edit(line):
        if line.kind == "artefact":
            line.payload["name"] = "another name"
        return line

    for path in (made.ledger.path, made.folder / "ledger.jsonl"):
        path.write_bytes(b"".join(rebuilt(path, edit)))
    assert not Ledger(made.ledger.path).chain().flaws, "the chain itself is sound"
    found = check(made)
    assert ("ledger.jsonl:7", "moved") in found and ("ledger.jsonl:8", "moved") in found


def test_a_chain_rebuilt_and_signed_with_another_key(made: Project, tmp_path) -> None:
    head = verify(made.ledger.path).head
    eve = new_key(tmp_path / "eve" / "eve", "ann")
    forged = Ledger(tmp_path / "forged.jsonl")
    for line in made.ledger.lines():
        payload = dict(line.payload)
        if line.kind == "signoff":
            last = forged.lines()[-1]
            payload |= {"head_number": last.number, "head_hash": last.hash}
            payload = sign_payload("signoff", payload, eve)
        elif line.kind == "artefact":
            payload["name"] = "another name"
        forged.append(line.kind, payload)
    for path in (made.ledger.path, made.folder / "ledger.jsonl"):
        shutil.copy(forged.path, path)
    (made.folder / "attestation.dsse.json").unlink()
    assert wrongs(verify(made.root)) == [], "without trusted keys nothing is wrong"
    assert "unvouched" in [f.to_dict()["finding"] for f in verify(made.root).findings]
    assert check(made) == [
        ("ledger.jsonl:7", "foreign_key"),
        ("ledger.jsonl:8", "foreign_key"),
        ("ledger.jsonl", "nobody_signed"),
    ]
    assert wrongs(verify(made.root, head=read_head(head))) == [("ledger.jsonl", "head")]


def test_signatures_that_are_taken_out_or_edited(made: Project) -> None:
    path = made.ledger.path
    unsigned = rebuilt(path, lambda line: None if line.kind == "signoff" else line)
    path.write_bytes(b"".join(unsigned))
    assert check(made, path) == [("ledger.jsonl", "nobody_signed")]
    shutil.copy(made.folder / "ledger.jsonl", path)

    def other_role(line):
        if line.number == 8:
            line.payload["role"] = "platform"
        return line

    path.write_bytes(b"".join(rebuilt(path, other_role)))
    assert check(made, path) == [("ledger.jsonl:8", "signature")]


def test_what_is_signed_must_have_been_recorded(made: Project) -> None:
    last = made.ledger.lines()[-1]
    payload = {
        **last.payload, "verdict_sha256": "f" * 64,
        "head_number": last.number, "head_hash": last.hash,
    }  # fmt: skip
    made.ledger.append("signoff", sign_payload("signoff", payload, made.bob))
    assert check(made, made.ledger.path) == [("ledger.jsonl:9", "signoff_unknown")]


def test_lines_of_unknown_kinds_and_clocks_that_went_back(made: Project) -> None:
    def edit(line):
        if line.number == 4:
            line = type(line)(**{**line.__dict__, "kind": "diary"})
        if line.number == 5:
            line = type(line)(**{**line.__dict__, "created": "2020-01-01T00:00:00+00:00"})
        if line.number == 6:
            line.payload["note"] = "a text that nobody declared"
        return None if line.kind == "signoff" else line

    path = made.ledger.path
    path.write_bytes(b"".join(rebuilt(path, edit)))
    found = verify(path)
    assert wrongs(found) == [
        ("ledger.jsonl:4", "unknown_kind"),
        ("ledger.jsonl:6", "unknown_key"),
    ]
    assert [(Path(f.where).name, f.to_dict()["finding"]) for f in found.of("warning")] == [
        ("ledger.jsonl:5", "clock")
    ]


def test_what_is_not_signed_for_yet_is_noted(made: Project) -> None:
    made.ledger.append("recovered", {"bytes": 1, "sha256": "0" * 64})
    found = verify(made.ledger.path, trusted=load_trusted(made.keys))
    assert found.sound
    assert [str(f) for f in found.of("note")] == [
        f"{made.ledger.path}: 1 entry after line 8 is not signed for yet"
    ]


def test_epsilon_is_added_up_by_level(made: Project) -> None:
    for level, epsilon in (("example", 1.5), ("unit", 4), ("example", 2.5)):
        made.ledger.append(
            "epsilon",
            {
                "spender": "train",
                "epsilon": epsilon,
                "delta": 1e-6,
                "level": level,
                "accountant": "pld",
            },
        )
    spent = verify(made.ledger.path).epsilon
    assert spent["example"] == (4.0, pytest.approx(2e-6))
    assert spent["unit"] == (4.0, 1e-6)


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        f"candidates/{BEST}/model.safetensors",
        f"candidates/{BEST}/onnx/model.onnx",
        "measurements.parquet",
        "decisions.parquet",
        "verdict.json",
        "project.yaml",
    ],
)
def test_one_flipped_bit_of_a_file_is_named(name: str, made: Project) -> None:
    path = made.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for place in (made.root, made.folder):
        found = verify(place, trusted=load_trusted(made.keys))
        told = {f.where: f for f in found.of("wrong")}
        assert str(path) in told
        assert told[str(path)].to_dict()["finding"] == "changed"
        line = told[str(path)].phrase.arguments["line"]
        payload = made.ledger.lines()[line - 1].payload
        assert name in (payload.get("file"), *payload.get("files", {}))


def test_files_that_are_gone_and_files_that_came(made: Project) -> None:
    (made.folder / "candidates" / BEST / "config.json").unlink()
    (made.folder / "candidates" / BEST / "modeling.py").write_text("import os")
    (made.folder / "measurements.parquet").unlink()
    (made.folder / "report.html").write_text("a page is no evidence")
    assert sorted(check(made)) == [
        ("config.json", "missing"),
        ("measurements.parquet", "missing"),
        ("modeling.py", "extra"),
    ]
    shutil.rmtree(made.folder / "candidates")
    assert len([what for _, what in check(made) if what == "missing"]) == 10


def test_a_verdict_that_is_gone_or_of_another_run(made: Project) -> None:
    verdict = made.folder / "verdict.json"
    said = verdict.read_text()
    verdict.unlink()
    assert ("verdict.json", "missing") in check(made, made.folder)
    assert ("verdict.json", "missing") in check(made)
    moved = made.folder.rename(made.folder.with_name("elsewhere"))
    (moved / "verdict.json").write_text(said.replace("a91f4c2e", "ffffffff"))
    assert ("elsewhere", "unrecorded") in check(made, moved)
    (moved / "ledger.jsonl").unlink()
    found = check(made, moved)
    assert ("ledger.jsonl", "no_ledger") in found and ("elsewhere", "unrecorded") in found


def test_a_ledger_that_names_files_outside_reads_none_of_them(made: Project) -> None:
    (made.root / "secret").write_text("x")

    def edit(line):
        if line.number == 2:
            line.payload["files"] = {"../../secret": "0" * 64, "/etc/passwd": "0" * 64}
        return line

    path = made.folder / "ledger.jsonl"
    path.write_bytes(b"".join(rebuilt(path, edit)))
    found = verify(made.folder)
    outside = [f for f in found.of("wrong") if f.phrase.key == "verify.outside"]
    assert len(outside) == 2
    assert not any("secret" in f.where or "passwd" in f.where for f in found.findings)


def test_all_runs_of_a_project_are_checked(made: Project) -> None:
    other = shipped(run="b2c3d4e5")
    folder = made.root / "runs" / other.run
    write_run(folder, other)
    record_run(made.ledger, folder, other)
    made.ledger.copy_to(folder / "ledger.jsonl")
    (made.root / "runs" / "unfinished").mkdir()
    rehearsal = made.root / "runs" / "c0ffee00"
    rehearsal.mkdir()
    (rehearsal / "verdict.json").write_text('{"run": "c0ffee00", "kind": "rehearsal"}')
    found = verify(made.root, trusted=load_trusted(made.keys))
    assert found.sound and found.runs == ("a91f4c2e", "b2c3d4e5") and found.files == 26
    assert {f.phrase.key for f in found.of("note")} >= {
        "verify.unfinished",
        "verify.rehearsal",
        "verify.uncovered",
    }
    for run in ("a91f4c2e", "b2c3d4e5"):
        (made.root / "runs" / run / "project.yaml").write_text("name: x")
    assert check(made) == [("project.yaml", "changed")] * 2
    # A run whose folder `clean` took away is no damage.
    shutil.rmtree(folder)
    assert check(made) == [("project.yaml", "changed")]


def test_any_number_of_jobs_reads_the_same(sound: Project) -> None:
    one, many = (verify(sound.root, jobs=jobs) for jobs in (1, 8))
    assert (one.findings, one.files, one.bytes) == (many.findings, many.files, many.bytes)


# -- bad input -------------------------------------------------------------------------------------


def test_where_there_is_nothing_to_verify(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        verify(tmp_path / "none")
    with pytest.raises(InputError, match="holds nothing to verify"):
        verify(tmp_path)


def test_keys_and_heads_that_are_none(sound: Project, tmp_path) -> None:
    with pytest.raises(InputError, match="holds no public key"):
        load_trusted(tmp_path)
    shutil.copy(sound.root.parent / "p-secret" / "ann", tmp_path / "ann.pub")
    assert sound.ann.public in load_trusted(tmp_path), "of a private key the public half counts"
    assert sound.ann.public in load_trusted(sound.keys / "ann.pub")
    assert sound.bob.public not in load_trusted(sound.keys / "ann.pub")
    for bad in (
        "",
        "8",
        "8:",
        "8:xyz",
        "x:0123456789ab",
        "8:0123456789",
        f"8:{'0' * 65}",
        "8:ABCDEF012345",
    ):
        with pytest.raises(InputError, match="is not NUMBER:HASH"):
            read_head(bad)
    assert read_head(" 8:0123456789ab\n") == Head(8, "0123456789ab")


def test_long_reading_shows_its_progress_on_stderr(sound: Project, capsys, monkeypatch) -> None:
    monkeypatch.delenv("SHIPWORTHY_PROGRESS", raising=False)
    verify(sound.folder)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("shipworthy.release.hashing._SHOWN_FROM_BYTES", 1)
    verify(sound.folder)
    said = capsys.readouterr()
    assert said.out == "" and "verifying" in said.err


def test_a_pipe_among_the_files_is_not_waited_for(made: Project) -> None:
    model = made.folder / "candidates" / BEST / "config.json"
    model.unlink()
    os.mkfifo(model)
    assert ("config.json", "missing") in check(made)


def test_names_of_one_file_are_read_once(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").write_bytes(b"")
    found = digests_of({name: tmp_path / name for name in "abc"}, jobs=2)
    x, nothing = (sha256(content).hexdigest() for content in (b"x" * 1000, b""))
    assert found == {"a": x, "b": x, "c": nothing}
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "none"):
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            digests_of({name: tmp_path / name})


# -- what lies about what it is --------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_run_with_a_ledger_beside_it_is_still_checked_as_a_run(made: Project, tmp_path) -> None:
    """A folder that looks like a project as well must not hide what is wrong with the run."""
    run = shutil.copytree(made.folder, tmp_path / made.folder.name)
    (run / ".shipworthy").mkdir()
    shutil.copy(run / "ledger.jsonl", run / ".shipworthy" / "ledger.jsonl")
    assert check(made, run) == []
    flip(run / "measurements.parquet")
    assert ("measurements.parquet", "changed") in check(made, run)


def test_a_bundle_with_an_empty_runs_folder_is_still_checked_as_a_bundle(
    made: Project, tmp_path
) -> None:
    bundle = shutil.copytree(made.folder / "candidates" / BEST, tmp_path / "bundle")
    shutil.copy(made.folder / "attestation.dsse.json", bundle)
    flip(bundle / "model.safetensors")
    for decoy in ("runs", ".shipworthy"):
        (bundle / decoy).mkdir()
        assert ("model.safetensors", "attested_changed") in check(made, bundle)
        assert not verify(bundle).sound
    shutil.copy(made.ledger.path, bundle / ".shipworthy" / "ledger.jsonl")
    assert ("model.safetensors", "attested_changed") in check(made, bundle)


def test_a_project_without_ledger_and_runs_is_nothing_to_verify(tmp_path) -> None:
    (tmp_path / "empty" / "runs").mkdir(parents=True)
    with pytest.raises(InputError):
        verify(tmp_path / "empty")


def test_a_ledger_that_names_a_folder_outside_looks_into_none_of_it(
    made: Project, tmp_path
) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret.txt").write_text("x", encoding="utf-8")

    def edit(line):
        values = dict(line.payload)
        if line.kind == "artefact" and values["candidate"] == BEST:
            values["candidate"] = "../../../../private"
        return type(line)(**{**line.__dict__, "payload": values})

    made.ledger.path.write_bytes(b"".join(rebuilt(made.ledger.path, edit)))
    shutil.copy(made.ledger.path, made.folder / "ledger.jsonl")
    found = verify(made.folder)
    assert "outside" in {kind for _, kind in wrongs(found)}
    assert "secret.txt" not in "".join(str(finding) for finding in found.findings)


def test_a_model_that_nobody_recorded_is_extra(made: Project) -> None:
    shutil.copytree(made.folder / "candidates" / BEST, made.folder / "candidates" / "0123456789ab")
    assert {kind for _, kind in check(made)} == {"extra"}


def test_links_that_lead_back_end(made: Project) -> None:
    place = made.folder / "candidates" / BEST
    for name in ("here", "there"):
        (place / name).symlink_to(place, target_is_directory=True)
    assert check(made) == []


def test_names_from_a_ledger_move_no_cursor(made: Project, capsys) -> None:
    from shipworthy.release.verified import lines

    made.sign(made.ann, "ann\x1b[2J\nsound")
    told = lines(verify(made.folder))
    assert all(c.isprintable() for line in told for c in line)


def test_a_verdict_that_came_after_the_signature_is_told(made: Project) -> None:
    """Whoever holds the files can record another verdict; nobody signed that one."""
    verdict = made.folder / "verdict.json"
    verdict.write_text(verdict.read_text("utf-8").replace("0.95", "0.94"), encoding="utf-8")
    record_run(made.ledger, made.folder, made.judgement)
    made.ledger.copy_to(made.folder / "ledger.jsonl")
    (made.folder / "attestation.dsse.json").unlink()
    for path in (made.root, made.folder):
        found = verify(path, trusted=load_trusted(made.keys))
        assert {f.phrase.key for f in found.of("warning")} == {"verify.signed_before"}
    made.sign(made.ann, "ann")
    assert not verify(made.root, trusted=load_trusted(made.keys)).of("warning")
