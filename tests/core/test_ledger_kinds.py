from datetime import UTC, datetime, timedelta

import pytest

from shipworthy.core.errors import InputError
from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_kinds import KINDS, misfits
from shipworthy.core.ledger_lines import (
    START,
    Chain,
    Line,
    clock_flaws,
    ledger_now,
    payload_flaws,
)
from shipworthy.core.ledger_texts import secret_in

DIGEST = "0123456789abcdef" * 4
SIGNED = {
    "role": "ml-lead",
    "person": "Ann",
    "key": f"ssh-ed25519 AAAA{'C3Nz' * 16} ann",
    "signature": f"{'aB3' * 28}aB==",
    "head_number": 3,
    "head_hash": DIGEST,
}
QUESTION = {
    "test_digest": "t",
    "policy_digest": "p",
    "candidates": {"c1": "d"},
    "nominated": ["c1"],
}
SAMPLES = {
    "artefact": {
        "run": "r", "candidate": "c", "name": "int8", "lever": "quantize", "parents": ["p"],
        "artefact_digest": DIGEST, "by": "", "files": {"candidates/c/model.bin": DIGEST},
    },
    "measurements": {"run": "r", "file": "m.parquet", "sha256": DIGEST, "rows": 3},
    "decisions": {"run": "r", "file": "d.parquet", "sha256": DIGEST, "rows": 3},
    "verdict": {
        "run": "r", "file": "verdict.json", "sha256": DIGEST, "answer": "hold", "best": None,
        "kind": "run", "created": "2026-01-01T00:00:00+00:00", "files": {}, "by": "",
    },
    "nomination": QUESTION,
    "opening": {
        **QUESTION, "number": 1, "after_sight": [], "worn_out": False, "rows_sketch": ["0" * 16],
    },
    "epsilon": {
        "spender": "train", "epsilon": 8, "delta": 1e-5, "level": "unit", "accountant": "pld",
    },
    "signoff": {
        "run": "r", "verdict_sha256": DIGEST, **SIGNED,
    },
    "waiver": {
        "limit": "accuracy ≥ 0.8", "candidate": "c", "artefact_digest": DIGEST,
        "reason": "a known fault of the test set", "expires": "2026-02-01T00:00:00+00:00",
        **SIGNED,
    },
    "selftest": {"policy_digest": DIGEST, "code": DIGEST, "passed": True},
    "recovered": {"bytes": 3, "sha256": DIGEST},
    "sensitive": {
        "columns": ["sex"], "reason": "the law asks for it", "delete_by": "2027-01-31",
        "rows": DIGEST, "by": "ada",
    },
}  # fmt: skip


def test_there_is_a_sample_of_every_kind() -> None:
    assert SAMPLES.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_payload_has_the_keys_of_its_kind(kind: str, tmp_path) -> None:
    sample = SAMPLES[kind]
    ledger = Ledger(tmp_path / "l")
    ledger.append(kind, sample)
    assert ledger.verify() is not None
    for key in KINDS[kind].needs:
        without = {name: value for name, value in sample.items() if name != key}
        with pytest.raises(ValueError, match=f"missing.*{key}"):
            ledger.append(kind, without)
    with pytest.raises(ValueError, match="unknown_key.*remark"):
        ledger.append(kind, {**sample, "remark": "x"})
    for key in sample:
        # No key of any kind holds a nested list.
        assert [m.key for m in misfits(kind, {**sample, key: [[1]]})] == [key]
    assert len(ledger.lines()) == 1


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("measurements", "sha256", DIGEST.upper()),
        ("measurements", "sha256", DIGEST + "\n"),
        ("measurements", "rows", True),
        ("measurements", "rows", -1),
        ("epsilon", "level", "group"),
        ("epsilon", "epsilon", -0.1),
        ("waiver", "expires", "2026-02-01"),
        ("signoff", "key", "ssh-rsa AAAA"),
        ("signoff", "signature", "aB=="),
        ("artefact", "files", {"model.bin": "abc"}),
    ],
)
def test_values_that_do_not_fit(kind: str, key: str, value: object) -> None:
    assert [(m.problem, m.key) for m in misfits(kind, {**SAMPLES[kind], key: value})] == [
        ("value", key)
    ]


def test_verify_names_kinds_and_keys_that_no_append_wrote(tmp_path) -> None:
    chain = Chain(
        lines=(
            Line(1, "diary", "", {}, START, ""),
            Line(2, "recovered", "", {"bytes": "3", "note": "x"}, START, ""),
        ),
        places=(1, 2),
    )
    assert [(f.place, str(f)) for f in payload_flaws(chain)] == [
        (1, "is of a kind that this version does not know: 'diary'"),
        (2, "is a recovered line without 'sha256'"),
        (2, "is a recovered line with 'note', which such a line does not have"),
        (2, "is a recovered line whose 'bytes' has a value that does not fit"),
    ]


# -- texts and secrets -----------------------------------------------------------------------------


def test_a_long_text_is_one_line_and_nothing_is_written(tmp_path) -> None:
    ledger = Ledger(tmp_path / "l")
    waiver = {**SAMPLES["waiver"], "reason": "x" * 10_000_000}
    with pytest.raises(InputError) as caught:
        ledger.append("waiver", waiver)
    assert "text of 10000000 characters under 'reason'" in str(caught.value)
    assert len(str(caught.value)) < 400
    with pytest.raises(InputError, match="under 'files' does not belong"):
        ledger.append("artefact", {**SAMPLES["artefact"], "files": {"x" * 513: DIGEST}})
    with pytest.raises(InputError, match="an entry of .* bytes does not belong"):
        many = {f"{k:0500}": DIGEST for k in range(2000)}
        ledger.append("artefact", {**SAMPLES["artefact"], "files": many})
    assert ledger.lines() == ()


# Put together here, so that no scanner of secrets takes them for real ones.
SECRETS = [
    "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "-----BEGIN RSA " + "PRIVATE KEY-----",
    "b3BlbnNz" + "aC1rZXktdjEAAAAABG5vbmU",
    "AKIA" + "Q7X2M4PLKJ3H5G6F",
    "token gh" + "p_" + "a1B2c3D4" * 5,
    "https://x:gl" + "pat-AbC123dEf456gHi789jk@host/repo",
    "hf" + "_AbCdEfGhIjKlMnOpQrStUvWxYz",
    "xo" + "xb-1234567890-abcdef",
    "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP",
    "password: " + "q8Zt3Kx9Lm2Np7Rv4Ws6Yb1Cd5Ef0GhJ",
]
HARMLESS = [
    "candidates/0123456789ab/model-00001-of-00002.safetensors",
    DIGEST,
    DIGEST[:40].upper(),
    "SHA256:" + "aVLbKN354E0avfFKe5AFUaCZkzruObBxi82Sy312+Ns",
    "DistilBertForSequenceClassificationFinetunedOnSentimentTweets",
    "Qwen2.5-Coder-32B-Instruct-GPTQ-Int4",
    "models--sentence-transformers--all-MiniLM-L6-v2",
    "accuracy against parent on each domain × region ≥ -0.025",
    "ResNet50V2BigTransferImageNet21kFinetuned2024",
    "a waiver for risk-based tasks: desk-check done",
    "这是一个已知问题，下周修复",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_refused(secret: str, tmp_path) -> None:
    ledger = Ledger(tmp_path / "l")
    for kind, key in (("waiver", "reason"), ("artefact", "name")):
        with pytest.raises(InputError) as caught:
            ledger.append(kind, {**SAMPLES[kind], key: secret})
        assert f"{key!r} looks like a private key or a token" in str(caught.value)
        assert secret not in str(caught.value)
    assert not ledger.path.exists()


@pytest.mark.parametrize("text", HARMLESS)
def test_names_digests_and_sentences_are_no_secrets(text: str) -> None:
    assert secret_in(text) is None


# -- time ------------------------------------------------------------------------------------------


def _chain(*seconds: float) -> Chain:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    created = [(start + timedelta(seconds=s)).isoformat() for s in seconds]
    lines = tuple(Line(k, "recovered", c, {}, START, "") for k, c in enumerate(created, start=1))
    return Chain(lines, tuple(line.number for line in lines))


def test_a_clock_that_went_back_is_named() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert clock_flaws(_chain(0, 100, 41, 100, 200), clock=now) == ()
    found = clock_flaws(_chain(0, 100, 39, 38, 200), clock=now)
    assert [(f.place, f.key) for f in found] == [
        (3, "ledger.flaw.clock"),
        (4, "ledger.flaw.clock"),
    ]
    assert "before a line above it (2026-01-01T00:01:40+00:00)" in str(found[0])


def test_a_date_in_the_future_and_none_are_named() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert [f.key for f in clock_flaws(_chain(0, 59), clock=now)] == []
    assert [f.key for f in clock_flaws(_chain(0, 61), clock=now)] == ["ledger.flaw.future"]
    bad = Chain((Line(1, "recovered", "2026-01-01T00:00:00", {}, START, ""),), (1,))
    assert [f.key for f in clock_flaws(bad, clock=now)] == ["ledger.flaw.time"]


def test_a_clock_set_back_revives_nothing() -> None:
    lines = _chain(0, 1000, 10).lines
    late = datetime(2026, 1, 1, 0, 16, 40, tzinfo=UTC)
    assert ledger_now(lines, clock=datetime(2025, 6, 1, tzinfo=UTC)) == late
    later = datetime(2026, 6, 1, tzinfo=UTC)
    assert ledger_now(lines, clock=later) == later
    assert ledger_now((), clock=later) == later
    assert abs((ledger_now(()) - datetime.now(UTC)).total_seconds()) < 60


def test_append_writes_with_a_clock_that_is_behind(tmp_path, monkeypatch) -> None:
    ledger = Ledger(tmp_path / "l")
    first = ledger.append("recovered", SAMPLES["recovered"])

    class Behind(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromisoformat(first.created) - timedelta(hours=2)

    monkeypatch.setattr("shipworthy.core.ledger.datetime", Behind)
    ledger.append("recovered", SAMPLES["recovered"])
    assert [f.place for f in clock_flaws(ledger.chain())] == [2]
