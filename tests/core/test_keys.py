import io
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core import keys
from shipworthy.core.errors import InputError
from shipworthy.core.keys import (
    PublicKey,
    SigningKey,
    check_name,
    default_folder,
    load_key,
    new_key,
    public_of,
    read_public,
)
from shipworthy.core.statements import check_payload_signature, sign_payload

KEYGEN = shutil.which("ssh-keygen")
needs_keygen = pytest.mark.skipif(KEYGEN is None, reason="ssh-keygen is not installed")


def keygen(*arguments: str | Path) -> str:
    assert KEYGEN is not None
    command = [KEYGEN, *(str(a) for a in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def refused(call, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def ann(tmp_path) -> SigningKey:
    return new_key(tmp_path / "keys" / "ann", "ann@example.org")


def test_a_new_key_signs_and_only_its_owner_reads_it(ann, tmp_path) -> None:
    private = tmp_path / "keys" / "ann"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    read = load_key(private)
    assert read.public == ann.public
    assert read.public.comment == "ann@example.org"
    message = b"what I stand by"
    signature = read.sign(message)
    assert len(signature) == 64
    assert ann.public.verify(signature, message)
    assert not ann.public.verify(signature, message + b"!")
    assert not ann.public.verify(signature[:-1], message)
    assert not PublicKey(b"\1" * 32).verify(signature, message)
    assert "PRIVATE" not in repr(read) and "_private" not in repr(read)


def test_public_forms_agree(ann, tmp_path) -> None:
    line = (tmp_path / "keys" / "ann.pub").read_text()
    assert line == ann.public.text + "\n"
    assert line.startswith("ssh-ed25519 AAAA") and line.endswith(" ann@example.org\n")
    for read in (read_public(line), public_of(tmp_path / "keys" / "ann.pub"),
                 public_of(tmp_path / "keys" / "ann")):  # fmt: skip
        assert (read, read.comment) == (ann.public, "ann@example.org")
    assert read_public(line.rsplit(" ", 1)[0]).comment == ""
    (tmp_path / "keys" / "ann.pub").unlink()
    assert public_of(tmp_path / "keys" / "ann") == ann.public


@given(st.binary(min_size=32, max_size=32), st.text(max_size=20))
def test_text_of_a_key_round_trips(raw: bytes, comment: str) -> None:
    key = PublicKey(raw, " ".join(comment.split()) if comment.isprintable() else "")
    assert read_public(key.text) == key
    assert read_public(key.text).text == key.text


@needs_keygen
def test_fingerprint_and_files_are_those_of_ssh(ann, tmp_path) -> None:
    private = tmp_path / "keys" / "ann"
    assert keygen("-lf", private).split()[1] == ann.public.fingerprint
    assert keygen("-lf", f"{private}.pub").split()[1] == ann.public.fingerprint
    assert keygen("-yf", private).split()[:2] == ann.public.text.split()[:2]


@needs_keygen
def test_an_ssh_key_that_exists_works(tmp_path) -> None:
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "bob at work", "-f", tmp_path / "id")
    key = load_key(tmp_path / "id")
    assert key.public.text == (tmp_path / "id.pub").read_text().strip()
    assert key.public.verify(key.sign(b"x"), b"x")


@needs_keygen
def test_a_key_with_a_passphrase(tmp_path, monkeypatch) -> None:
    pytest.importorskip("bcrypt")
    keygen(
        "-q", "-t", "ed25519", "-a", "1", "-N", "open sesame", "-C", "bob", "-f", tmp_path / "id"
    )
    line = (tmp_path / "id.pub").read_text().strip()
    monkeypatch.delenv("SHIPWORTHY_PASSPHRASE", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert "set SHIPWORTHY_PASSPHRASE" in refused(load_key, tmp_path / "id")
    assert "passphrase does not open" in refused(load_key, tmp_path / "id", "wrong")
    assert load_key(tmp_path / "id", "open sesame").public.text == line
    monkeypatch.setenv("SHIPWORTHY_PASSPHRASE", "open sesame")
    key = load_key(tmp_path / "id")
    assert key.public.verify(key.sign(b"x"), b"x")
    assert public_of(tmp_path / "id").text == line, "the public half needs no passphrase"


@needs_keygen
def test_a_passphrase_is_asked_for_on_a_terminal(tmp_path, monkeypatch) -> None:
    pytest.importorskip("bcrypt")
    keygen("-q", "-t", "ed25519", "-a", "1", "-N", "open sesame", "-f", tmp_path / "id")
    monkeypatch.delenv("SHIPWORTHY_PASSPHRASE", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked = []
    monkeypatch.setattr(keys, "getpass", lambda prompt: asked.append(prompt) or "open sesame")
    assert load_key(tmp_path / "id").public == public_of(tmp_path / "id")
    assert asked == [f"Passphrase of {tmp_path / 'id'}: "]


def test_without_its_library_a_passphrase_is_one_line(tmp_path, monkeypatch) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm

    def missing(*_):
        raise UnsupportedAlgorithm("Need bcrypt module")

    path = tmp_path / "id"
    path.write_bytes(_encrypted_header())
    path.chmod(0o600)
    monkeypatch.setattr(
        "cryptography.hazmat.primitives.serialization.load_ssh_private_key", missing
    )
    assert "a key with a passphrase needs the library bcrypt" in refused(load_key, path, "x")


def _encrypted_header() -> bytes:
    """An OpenSSH key whose open part is sound: magic, cipher, kdf, options, count, public half."""
    from base64 import b64encode

    def packed(value: bytes) -> bytes:
        return len(value).to_bytes(4, "big") + value

    public = packed(packed(b"ssh-ed25519") + packed(b"\7" * 32))
    body = b"openssh-key-v1\0" + packed(b"aes256-ctr") + packed(b"bcrypt") + packed(b"")
    body += (1).to_bytes(4, "big") + public + packed(b"\0" * 64)
    name = b"OPENSSH " + b"PRIVATE KEY-----\n"
    return b"-----BEGIN " + name + b64encode(body) + b"\n-----END " + name


@needs_keygen
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_types_are_refused(kind: str, tmp_path) -> None:
    size = ["-b", "1024"] if kind == "rsa" else []
    keygen("-q", "-t", kind, *size, "-N", "", "-f", tmp_path / "id")
    name = {"rsa": "ssh-rsa", "ecdsa": "ecdsa-sha2-nistp256"}[kind]
    assert f"a key of type {name} cannot be used" in refused(load_key, tmp_path / "id")
    assert f"a key of type {name} cannot be used" in refused(public_of, tmp_path / "id.pub")


def test_what_is_no_private_key_of_ours(ann, tmp_path) -> None:
    private, folder = tmp_path / "keys" / "ann", tmp_path / "keys"
    assert "is a public key and cannot sign" in refused(load_key, folder / "ann.pub")
    assert "no such key" in refused(load_key, folder / "none")
    assert "cannot be read: Is a directory" in refused(load_key, folder)
    (folder / "note").write_text("hello\n")
    assert "is not an OpenSSH key" in refused(load_key, folder / "note")
    assert "is not an OpenSSH key" in refused(public_of, folder / "note")
    (folder / "large").write_bytes(b"x" * 100_000)
    assert "is not an OpenSSH key" in refused(load_key, folder / "large")
    for mode in (0o640, 0o604, 0o644):
        private.chmod(mode)
        assert "others may read this private key" in refused(load_key, private)
    private.chmod(0o600)
    content = private.read_bytes()
    for damaged in (content[:90], content.replace(b"b3Bl", b"b3BX"), content[:-60] + content[-36:]):
        private.write_bytes(damaged)
        assert "damaged" in refused(load_key, private)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "ssh-ed25519 ?" + "A" * 67,
        "ann: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMA38lWheqBrG+Td706f3WIAnodGdEyzUfeVBQPwap9m",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMA38lWheqBrG+Td706f3WIAnodGdEyzUfeVBQPwap9mAAAA",
    ],
)
def test_what_is_no_public_key(line: str) -> None:
    assert "is not a public key" in refused(read_public, line)


def test_a_private_key_in_place_of_a_public_one_is_not_repeated(ann, tmp_path) -> None:
    content = (tmp_path / "keys" / "ann").read_text()
    said = refused(read_public, content)
    assert "a private key stands where a public one belongs" in said
    assert content.splitlines()[1][:20] not in said


def test_a_key_is_never_overwritten(ann, tmp_path) -> None:
    before = (tmp_path / "keys" / "ann").read_bytes()
    assert "never overwritten" in refused(new_key, tmp_path / "keys" / "ann", "x")
    (tmp_path / "keys" / "eve.pub").write_text("x")
    assert "never overwritten" in refused(new_key, tmp_path / "keys" / "eve", "x")
    assert not (tmp_path / "keys" / "eve").exists()
    assert (tmp_path / "keys" / "ann").read_bytes() == before


@pytest.mark.parametrize("mark", [".git", ".shipworthy", "shipworthy.yaml"])
def test_no_key_lies_in_a_checkout_or_a_project(mark: str, tmp_path) -> None:
    (tmp_path / "shared" / mark).mkdir(parents=True)
    said = refused(new_key, tmp_path / "shared" / "deep" / "keys" / "ann", "ann")
    assert f"lies in {tmp_path / 'shared'}, which others get a copy of" in said
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    assert "others get a copy of" in refused(new_key, tmp_path / "link" / "ann", "ann")
    assert not (tmp_path / "shared" / "deep").exists()


def test_where_keys_lie(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SHIPWORTHY_KEYS", raising=False)
    assert default_folder() == tmp_path / ".config" / "shipworthy" / "keys"
    # A demo that was tried at home is no reason to refuse; a checkout is.
    (tmp_path / ".shipworthy").mkdir()
    assert new_key(default_folder() / "ann", "ann").public.comment == "ann"
    (tmp_path / ".git").mkdir()
    assert "others get a copy of" in refused(new_key, default_folder() / "bob", "bob")
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"


def test_names_of_keys() -> None:
    for name in ("ann", "a.b-c_2"):
        check_name(name)
    for name in ("", "../ann", "a/b", ".hidden", "ann.pub", "ann b", "-f", "x" * 65):
        assert "a key's name has letters" in refused(check_name, name)


# -- signed payloads -------------------------------------------------------------------------------

PAYLOAD = {"run": "a91f4c2e", "person": "Ann 安", "head_number": 3, "head_hash": "0" * 64}


def test_a_signed_payload_says_who_signed(ann) -> None:
    signed = sign_payload("signoff", {**PAYLOAD, "key": "x", "signature": "x"}, ann)
    assert signed["key"] == ann.public.text
    assert check_payload_signature("signoff", signed) == ann.public
    assert sign_payload("signoff", PAYLOAD, ann) == signed, "the same statement, the same bytes"


@given(st.sampled_from(sorted(PAYLOAD)), st.one_of(st.text(), st.integers(), st.none()))
def test_any_other_value_is_noticed(key: str, value: object) -> None:
    signer = _signer()
    signed = sign_payload("signoff", PAYLOAD, signer)
    if signed[key] == value:
        return
    assert "does not fit what it says" in refused(
        check_payload_signature, "signoff", {**signed, key: value}
    )


def _signer() -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(b"\5" * 32)
    return SigningKey(PublicKey(private.public_key().public_bytes_raw()), private)


def test_signatures_do_not_pass_for_others(ann) -> None:
    signed = sign_payload("signoff", PAYLOAD, ann)
    other = sign_payload("signoff", PAYLOAD, _signer())
    for bad in (
        {**signed, "key": other["key"]},
        {**signed, "signature": other["signature"]},
        {**signed, "signature": "?"},
        {**signed, "signature": None},
        {k: v for k, v in signed.items() if k != "signature"},
        {**signed, "more": 1},
    ):
        assert "does not fit" in refused(check_payload_signature, "signoff", bad)
    assert "does not fit" in refused(check_payload_signature, "waiver", signed)
    for bad in ({**signed, "key": None}, {**signed, "key": "ssh-ed25519 AAAA"}, {}):
        assert "is not a public key" in refused(check_payload_signature, "signoff", bad)
