"""Keys that people sign with: ed25519, in the files and the text form of OpenSSH.

    ~/.config/shipworthy/keys/ann        private, mode 0600; or an ed25519 key of SSH that exists
    ~/.config/shipworthy/keys/ann.pub    "ssh-ed25519 AAAA... ann": goes into team.yaml

A private key never lies in a checkout or a project: what is shared would carry it along.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from getpass import getpass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from shipworthy.core.errors import InputError
from shipworthy.core.files import sync_folder, write_atomically
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER_VARIABLE = "SHIPWORTHY_KEYS"
PASSPHRASE_VARIABLE = "SHIPWORTHY_PASSPHRASE"
KEY_TYPE = "ssh-ed25519"

_HEADER = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_FOOTER = b"-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"
_MOST_BYTES = 1 << 16
# What marks a folder whose content is shared with others.
_CHECKOUT, _PROJECT = (".git",), (".shipworthy", "shipworthy.yaml")


@dataclass(frozen=True)
class PublicKey:
    """The half of a key that others check signatures with. raw: 32 bytes."""

    raw: bytes
    comment: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """One line as in a `.pub` file: type, base64, comment."""
        return f"{KEY_TYPE} {b64encode(self._blob).decode()} {self.comment}".rstrip()

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: SHA256: and 43 characters of base64."""
        return "SHA256:" + b64encode(sha256(self._blob).digest()).decode().rstrip("=")

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Say whether the private half made this signature over exactly this message."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    @property
    def _blob(self) -> bytes:
        return _packed(KEY_TYPE.encode()) + _packed(self.raw)


@dataclass(frozen=True)
class SigningKey:
    """A key that can sign; it never shows its private half."""

    public: PublicKey
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes; the same message gives the same one."""
        return self._private.sign(message)


def default_folder() -> Path:
    """Return where own keys lie: `SHIPWORTHY_KEYS`, else ~/.config/shipworthy/keys."""
    asked = os.environ.get(FOLDER_VARIABLE)
    return Path(asked).expanduser() if asked else Path.home() / ".config" / "shipworthy" / "keys"


def check_name(name: str) -> None:
    """Raise InputError where a name is no plain file name."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", name) or name.endswith(".pub"):
        raise InputError(text("error.keys.name", name=_one_line(name)[:40]))


def new_key(path: Path | str, comment: str) -> SigningKey:
    """Make a private key without passphrase and its `.pub` beside it.

    `ssh-keygen -p -f FILE` gives it a passphrase. Raises InputError where a file is in the way, or
    where the place is in a checkout or a project.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    place = Path(os.path.abspath(Path(path).expanduser()))
    beside = place.with_name(f"{place.name}.pub")
    for file in (place, beside):
        if file.exists():
            raise InputError(text("error.keys.exists", path=file))
    for folder in {*place.parents, *place.resolve().parents}:
        # Who tried a demo at home still keeps keys there.
        marks = _CHECKOUT if folder == Path.home() else _CHECKOUT + _PROJECT
        if any((folder / name).exists() for name in marks):
            raise InputError(
                text("error.keys.shared", path=place, folder=folder, variable=FOLDER_VARIABLE)
            )
    private = Ed25519PrivateKey.generate()
    content = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    key = SigningKey(PublicKey(_raw(private), _one_line(comment)), private)
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Born with its mode: written first and narrowed later, others could open it in between.
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        sync_folder(place.parent)
        write_atomically(beside, key.public.text + "\n")
    except OSError as error:
        raise InputError(text("error.keys.unwritable", path=place, why=refusal(error))) from error
    return key


def load_key(path: Path | str, passphrase: str | None = None) -> SigningKey:
    """Read a private key: one of ours, or an ed25519 key of SSH.

    passphrase: else `SHIPWORTHY_PASSPHRASE`, else it is asked for on a terminal. Raises InputError
    for another type of key, one that others may read, a public one, a wrong passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    place = Path(path).expanduser()
    content = _content(place)
    if _HEADER not in content:
        what = "public" if _is_public(content) else "no_key"
        raise InputError(text(f"error.keys.{what}", path=place))
    if stat.S_IMODE(place.stat().st_mode) & 0o077:
        raise InputError(text("error.keys.open", path=place))
    public, encrypted = _opened(content, place)
    secret = (passphrase or _passphrase(place)).encode() if encrypted else None
    try:
        private = load_ssh_private_key(content, secret)
    except UnsupportedAlgorithm as error:
        if "bcrypt" in str(error):
            raise InputError(text("error.keys.bcrypt", path=place)) from error
        raise InputError(text("error.keys.damaged", path=place)) from error
    except (ValueError, TypeError) as error:
        what = "passphrase" if encrypted else "damaged"
        raise InputError(text(f"error.keys.{what}", path=place)) from error
    if not isinstance(private, Ed25519PrivateKey) or _raw(private) != public.raw:
        raise InputError(text("error.keys.damaged", path=place))
    return SigningKey(public, private)


def read_public(line: str) -> PublicKey:
    """Read a public key from its text form, as in a `.pub` file or team.yaml.

    Raises InputError where it is none, or of another type than ed25519.
    """
    parts = line.split(None, 2)
    if "PRIVATE KEY" in line:
        # Never repeated in the message.
        raise InputError(text("error.keys.private_given"))
    if not parts or not parts[0].startswith(("ssh-", "ecdsa-", "sk-")):
        raise InputError(text("error.keys.no_public", line=_one_line(line)[:40]))
    if parts[0] != KEY_TYPE:
        raise InputError(text("error.keys.type", type=parts[0]))
    try:
        blob = b64decode(parts[1], validate=True)
        kind, rest = _unpacked(blob)
        raw, rest = _unpacked(rest)
    except (IndexError, Base64Error, ValueError) as error:
        raise InputError(text("error.keys.no_public", line=_one_line(line)[:40])) from error
    key = PublicKey(raw, _one_line(parts[2]) if len(parts) > 2 else "")
    # The one text form of a key: a second spelling would pass for a second key.
    if kind != KEY_TYPE.encode() or len(raw) != 32 or rest or key.text.split()[1] != parts[1]:
        raise InputError(text("error.keys.no_public", line=_one_line(line)[:40]))
    return key


def own_or_file(path: Path) -> Path:
    """Return a file as it is, or the own key of this name where there is no such file."""
    own = default_folder() / path
    return own if path.name == str(path) and not path.exists() and own.is_file() else path


def public_of(path: Path | str) -> PublicKey:
    """Read the public half from a `.pub` file or a private key; needs no passphrase."""
    place = Path(path).expanduser()
    content = _content(place)
    if _HEADER in content:
        return _opened(content, place)[0]
    if not _is_public(content):
        raise InputError(text("error.keys.no_key", path=place))
    lines = [row for row in content.decode("utf-8", "replace").splitlines() if row.strip()]
    return read_public(lines[0])


def _content(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(text("error.keys.absent", path=place)) from error
    except OSError as error:
        raise InputError(text("error.keys.unreadable", path=place, why=refusal(error))) from error
    if len(content) > _MOST_BYTES:
        raise InputError(text("error.keys.no_key", path=place))
    return content


def _opened(content: bytes, place: Path) -> tuple[PublicKey, bool]:
    """Return what an OpenSSH private key says openly: its public half, whether it is encrypted."""
    try:
        body = content.split(_HEADER, 1)[1].split(_FOOTER, 1)[0]
        blob = b64decode(b"".join(body.split()), validate=True)
        if not blob.startswith(_MAGIC):
            raise ValueError("another format")
        cipher, rest = _unpacked(blob[len(_MAGIC) :])
        _, rest = _unpacked(rest)
        _, rest = _unpacked(rest)
        public, _ = _unpacked(rest[4:])
        kind, rest = _unpacked(public)
        if kind != KEY_TYPE.encode():
            told = kind.decode("ascii", "replace")
            raise InputError(text("error.keys.type_of", path=place, type=told))
        raw, _ = _unpacked(rest)
        if len(raw) != 32:
            raise ValueError("a key of another length")
    except (IndexError, Base64Error, ValueError) as error:
        raise InputError(text("error.keys.damaged", path=place)) from error
    return PublicKey(raw, _comment_beside(place, raw)), cipher != b"none"


def _comment_beside(place: Path, raw: bytes) -> str:
    """Return the comment of the `.pub` file of this very key, "" without one."""
    try:
        beside = public_of(place.with_name(f"{place.name}.pub"))
    except InputError:
        return ""
    return beside.comment if beside.raw == raw else ""


def _passphrase(place: Path) -> str:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given
    if not sys.stdin.isatty():
        raise InputError(
            text("error.keys.needs_passphrase", path=place, variable=PASSPHRASE_VARIABLE)
        )
    return getpass(text("keys.ask", path=place))


def _is_public(content: bytes) -> bool:
    return content.lstrip().startswith((b"ssh-", b"ecdsa-", b"sk-"))


def _raw(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def _packed(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _unpacked(content: bytes) -> tuple[bytes, bytes]:
    """Return the first string of an SSH message and what follows it."""
    end = 4 + int.from_bytes(content[:4], "big")
    if len(content) < max(end, 4):
        raise ValueError("a string is cut off")
    return content[4:end], content[end:]


def _one_line(value: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())
