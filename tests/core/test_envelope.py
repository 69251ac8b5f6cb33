import json
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.envelope import Envelope, pae, read_envelope
from shipworthy.core.errors import InputError
from shipworthy.core.keys import PublicKey, SigningKey

# Keys of RFC 8032 §7.1, tests 1 and 2; envelopes of the DSSE project's published vectors.
SEEDS = {
    "A": "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "B": "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
}
KIND = "application/vnd.in-toto+json"
BODY = b'{"_type":"https://in-toto.io/Statement/v1"}'
SIGNED_BY_A = (
    "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="
)
SIGNED_BY_B = (
    "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw=="
)
URL_SAFE = (
    "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw=="
)
NOT_ASCII = (
    "xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw=="
)
EMPTY = "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg=="


def key(name: str) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEEDS[name]))
    return SigningKey(PublicKey(private.public_key().public_bytes_raw(), name), private)


A, B = key("A"), key("B")


def envelope(payload: str, kind: str, *signatures: str) -> Envelope:
    document = {
        "payload": payload,
        "payloadType": kind,
        "signatures": [{"sig": s} for s in signatures],
    }
    return read_envelope(json.dumps(document).encode(), where="x")


def signers(given: Envelope) -> list[str | None]:
    found = [given.signer(s, (A.public, B.public)) for s in given.signatures]
    return [key.comment if key is not None else None for key in found]


def test_pae_of_the_published_vectors() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae(KIND, BODY) == b"DSSEv1 28 " + KIND.encode() + b" 43 " + BODY
    assert pae(KIND, b"") == b"DSSEv1 28 " + KIND.encode() + b" 0 "
    assert pae("application/vnd.exämple+json", b"").startswith(b"DSSEv1 29 ")


def test_published_envelopes() -> None:
    payload = b64encode(BODY).decode()
    assert signers(envelope(payload, KIND, SIGNED_BY_A, SIGNED_BY_B)) == ["A", "B"]
    assert signers(envelope("-_-_Pj8=", KIND, URL_SAFE)) == ["A"]
    assert signers(envelope(payload, "application/vnd.exämple+json", NOT_ASCII)) == ["A"]
    assert signers(envelope("", KIND, EMPTY)) == ["A"]
    assert signers(envelope(payload, "application/vnd.example.other+json", SIGNED_BY_A)) == [None]


def test_signing_gives_the_published_bytes() -> None:
    made = Envelope(KIND, BODY).signed(A).signed(B)
    document = json.loads(made.text)
    assert [s["sig"] for s in document["signatures"]] == [SIGNED_BY_A, SIGNED_BY_B]
    assert [s["keyid"] for s in document["signatures"]] == [
        A.public.fingerprint,
        B.public.fingerprint,
    ]
    assert made.signed(A).signed(B) == made, "a second signature of a key replaces its first"
    assert read_envelope(made.text.encode(), where="x") == made


@given(st.text(), st.binary(), st.text(), st.binary())
def test_pae_is_injective(kind: str, body: bytes, other: str, another: bytes) -> None:
    same = kind.encode("utf-8", "replace") == other.encode("utf-8", "replace") and body == another
    if not same:
        assert pae(kind, body) != pae(other, another)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_changed_body_or_signature_is_noticed(body: bytes, data: st.DataObject) -> None:
    made = Envelope(KIND, body).signed(A)
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert signers(made) == ["A"]
    assert signers(Envelope(KIND, bytes(changed), made.signatures)) == [None]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"payload": 1}',
        b'{"payload": "?"}',
        b'{"payload": "", "signatures": [{}]}',
        b'{"payload": "", "signatures": 3}',
        b'{"payload": "", "signatures": [{"sig": "abc", "keyid": "x"}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_envelope_is_one_line(content: bytes) -> None:
    with pytest.raises(InputError, match="^run/a.json: is not a DSSE envelope"):
        read_envelope(content, where="run/a.json")
