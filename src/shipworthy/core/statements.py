"""Signed lines of the ledger: what exactly is signed, and how it is checked.

The signature stands in the payload: base64 of ed25519 over the prefix of its kind and the canonical
JSON of the payload without it. A signature of one kind so never passes for one of another.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any

from shipworthy.core.digest import canonical_json
from shipworthy.core.errors import InputError
from shipworthy.core.keys import PublicKey, SigningKey, read_public
from shipworthy.core.locale import text

SIGNED = {"signoff": b"shipworthy-signoff-v1\n", "waiver": b"shipworthy-waiver-v1\n"}
"""Kinds of ledger lines that somebody signs, with the prefix of what is signed."""


def sign_payload(kind: str, payload: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """Return the payload with `key`, the public half in text form, and `signature`.

    kind: `signoff` or `waiver`. What the payload says of these two is replaced.
    """
    signed = {**payload, "key": key.public.text}
    signature = key.sign(_message(kind, signed))
    return {**signed, "signature": b64encode(signature).decode()}


def check_payload_signature(kind: str, payload: Mapping[str, Any]) -> PublicKey:
    """Return the key that signed a payload; whether to trust it is for the caller to say.

    Raises InputError where the signature does not fit the payload or the key is none.
    """
    stated = payload.get("key")
    key = read_public(stated if isinstance(stated, str) else "")
    try:
        signature = b64decode(payload["signature"], validate=True)
        message = _message(kind, payload)
    except (KeyError, TypeError, ValueError, Base64Error) as error:
        raise InputError(text("error.statement.signature", kind=kind)) from error
    if not key.verify(signature, message):
        raise InputError(text("error.statement.signature", kind=kind))
    return key


def _message(kind: str, payload: Mapping[str, Any]) -> bytes:
    content = {name: value for name, value in payload.items() if name != "signature"}
    return SIGNED[kind] + canonical_json(content).encode()
