"""Signed statements for other tools: DSSE v1 envelopes with ed25519.

What is signed is PAE(type, body) = "DSSEv1" SP len(type) SP type SP len(body) SP body, so that no
two pairs of type and body have the same bytes (https://github.com/secure-systems-lab/dsse).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass, replace

from shipworthy.core.errors import InputError
from shipworthy.core.keys import PublicKey, SigningKey
from shipworthy.core.locale import text


@dataclass(frozen=True)
class Signature:
    """One signature. keyid: fingerprint of a key, a hint only: what counts is what verifies."""

    keyid: str
    raw: bytes


@dataclass(frozen=True)
class Envelope:
    """A body of a stated type and the signatures over both."""

    payload_type: str
    body: bytes
    signatures: tuple[Signature, ...] = ()

    def signed(self, key: SigningKey) -> Envelope:
        """Return the envelope with the signature of one more key, or of the same anew."""
        made = Signature(key.public.fingerprint, key.sign(pae(self.payload_type, self.body)))
        others = tuple(s for s in self.signatures if s.keyid != made.keyid)
        return replace(self, signatures=(*others, made))

    def signer(self, signature: Signature, keys: Iterable[PublicKey]) -> PublicKey | None:
        """Return which of these keys made a signature of this envelope; None for none of them."""
        message = pae(self.payload_type, self.body)
        return next((key for key in keys if key.verify(signature.raw, message)), None)

    @property
    def text(self) -> str:
        """The envelope as JSON."""
        document = {
            "payload": b64encode(self.body).decode(),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": s.keyid, "sig": b64encode(s.raw).decode()} for s in self.signatures
            ],
        }
        return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def pae(payload_type: str, body: bytes) -> bytes:
    """Return what is signed for a type and a body.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b" ".join((b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(body), body))


def read_envelope(content: bytes, *, where: str) -> Envelope:
    """Read an envelope from its JSON; both alphabets of base64 are accepted.

    where: file, for the message. Raises InputError where it is none.
    """
    try:
        document = json.loads(content)
        signatures = document.get("signatures", [])
        return Envelope(
            payload_type=_text(document.get("payloadType", "")),
            body=_decoded(document.get("payload", "")),
            signatures=tuple(
                Signature(_text(one.get("keyid", "")), _decoded(one["sig"])) for one in signatures
            ),
        )
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InputError(text("error.envelope", path=where)) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _decoded(value: object) -> bytes:
    plain = _text(value)
    try:
        return b64decode(plain, validate=True)
    except Base64Error:
        return b64decode(plain, altchars=b"-_", validate=True)
