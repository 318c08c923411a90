"""The one place where a value is unsealed, the seal itself, and new values."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.boundary import plaintext
from keyrotor.boundary.generate import KINDS, Recipe, bogus_key, new_key, new_run_id, new_value
from keyrotor.boundary.plaintext import SAFE, SHORTEST, fingerprint, is_telling, redacted, unseal
from keyrotor.errors import RefusedError
from keyrotor.formats import splice
from keyrotor.secret import Pair, Secret

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def fresh() -> Secret:
    return Secret(b"sk-" + secrets.token_urlsafe(32).encode())


# --- the seal --------------------------------------------------------------------------------------------------


def test_nothing_shows_a_value() -> None:
    """No way of making text of a Secret, nor of what holds one, gives a byte of it."""
    secret = fresh()
    told = unseal(secret).decode()
    pair = Pair(secret, fresh(), {"A": secret})
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>50}",
        f"{secret:>50}",
        "{}".format(secret),  # noqa: UP032
        repr(pair),
    ]
    shown += [str([secret]), str({"a": secret}), str(ValueError(secret)), repr(ValueError(secret))]
    shown += [logging.makeLogRecord({"msg": "%s", "args": (secret,)}).getMessage()]
    assert not any(told in text for text in shown)
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize(
    "act",
    [
        pickle.dumps,
        json.dumps,
        copy.copy,
        copy.deepcopy,
        hash,
        bool,
        len,
        list,
        bytes,
        lambda secret: secret == secret,
        lambda secret: secret != b"x",
        lambda secret: secret < secret,
        lambda secret: secret in [b"x"],
        lambda secret: {secret},
    ],
)
def test_a_secret_cannot_be_compared_copied_or_serialised(act: object) -> None:
    """Each of these would let a value out, or tell something of it, by mistake."""
    with pytest.raises(TypeError):
        act(fresh())


# --- the plaintext ---------------------------------------------------------------------------------------------


def test_no_value_survives_redaction() -> None:
    """Either value, the siblings, and anything that looks like a key."""
    pair = Pair(fresh(), fresh(), {"SALT": fresh(), "PLAIN": Secret(b"no-prefix-at-all")})
    values = [unseal(secret) for secret in (pair.old, pair.new, *pair.siblings.values())]
    text = b"start " + b" and ".join(values) + b" twice " + values[0] + b" other sk-Ab12_xyz-9 end"
    told = redacted(text, pair)
    assert not any(value in told for value in values)
    assert b"sk-Ab12" not in told
    assert told.startswith(b"start ")
    assert told.endswith(b" end")


def test_a_short_or_empty_sibling_does_not_eat_the_text() -> None:
    """`PORT=4` must not redact every 4."""
    assert (
        redacted(b"port 4 is taken", Pair(fresh(), fresh(), {"PORT": Secret(b"4"), "E": Secret(b"")}))
        == b"port 4 is taken"
    )


@given(st.binary(min_size=0, max_size=40), st.binary(max_size=40))
def test_redaction_leaves_no_value_anywhere(before: bytes, after: bytes) -> None:
    """Whatever stands beside it."""
    pair = Pair(Secret(b"sk-OLDOLDOLDOLD"), Secret(b"NEWNEWNEWNEW"))
    told = redacted(before + b"sk-OLDOLDOLDOLD" + after + b"NEWNEWNEWNEW", pair)
    assert b"OLDOLD" not in told.replace(b"[redacted]", b"")
    assert b"NEWNEWNEWNEW" not in told


@pytest.mark.parametrize("value", [b"a", b"A-Z_09", b"Zm9v==", b"Zm8=", b"-x"])
def test_the_safe_alphabet(value: bytes) -> None:
    """Letters, digits, dash, underscore, and up to two `=` at the end."""
    assert SAFE.fullmatch(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"a b", b"a\n", b"a=b", b"a===", b"=", b"a$b", b"a#b", b'"a"', b"a\\b", b"a/b", b"a+b", b"\xc3\xa9", b"a\0"],
)
def test_what_some_format_has_to_quote_is_not_safe(value: bytes) -> None:
    """Also a newline at the end, which regular expressions like to overlook."""
    assert not SAFE.fullmatch(value)


@pytest.mark.parametrize("value", [b"a", b"A-Z_09", b"Zm9v=="])
def test_what_may_be_given_may_be_spliced(value: bytes) -> None:
    """The alphabet of new values is within that of values that can be put back."""
    assert SAFE.fullmatch(value)
    assert splice.SAFE.fullmatch(value)


@pytest.mark.parametrize(
    ("value", "is_odd"),
    [(b"dark", False), (b"a" * 15, False), (b"a" * 16, True), (b"sk-1234", False), (b"sk-12345", True)],
)
def test_a_short_value_is_no_sign_of_the_key(value: bytes, is_odd: bool) -> None:
    """A word such as `dark` stands in files for reasons of its own."""
    assert is_telling(Secret(value)) is is_odd


def test_a_piece_of_a_value_is_hidden_too() -> None:
    """A log that was cut in mid-value shows its tail; nothing of eight bytes or more may stay."""
    secret = fresh()
    tail = unseal(secret)[9:]
    shown = redacted(b"before " + tail + b" after", Pair(secret, fresh()))
    assert shown == b"before [redacted] after"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_given_value_loses_the_newline_of_the_shell(end: bytes) -> None:
    """One newline is the shell's; it is not part of the value."""
    value = unseal(fresh())
    assert unseal(plaintext.given(value + end)) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"short",
        b"x" * (SHORTEST - 1),
        b"with a space in it",
        b"x" * 20 + b"\n\n",
        b'"' + b"x" * 20 + b'"',
        b"\xff" * 20,
    ],
)
def test_a_given_value_that_a_format_would_quote_is_refused_and_not_shown(data: bytes) -> None:
    """Too short or not safe: refused in words that hold none of it."""
    with pytest.raises(RefusedError) as raised:
        plaintext.given(data)
    assert not data.strip() or data.strip().decode(errors="replace") not in str(raised.value)


def test_a_fingerprint_is_keyed_and_steady() -> None:
    """The same value under the same key has the same name; another value or key has another; the value is not in it."""
    secret, key = fresh(), new_key()
    name = fingerprint(key, secret)
    assert name == fingerprint(key, Secret(unseal(secret)))
    assert name != fingerprint(new_key(), secret)
    assert name != fingerprint(key, fresh())
    assert name.startswith("sk-…")
    assert len(name) == len("sk-…") + 12
    assert fingerprint(key, Secret(b"another-kind-of-key")).startswith("…")
    assert name[4:] not in unseal(secret).decode()


def test_values_are_compared_whole() -> None:
    """A beginning of a value is not the value."""
    secret = fresh()
    assert plaintext.is_same(secret, unseal(secret))
    assert not plaintext.is_same(secret, unseal(secret)[:-1])
    assert not plaintext.are_same(secret, Secret(unseal(secret) + b"x"))


@pytest.mark.parametrize("value", [b"", b" ", b"\t\n"])
def test_blank_is_no_value(value: bytes) -> None:
    """Nothing but spaces counts as nothing."""
    assert plaintext.is_blank(Secret(value))
    assert not plaintext.is_blank(Secret(value + b"x"))


# --- new values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_two_new_values_never_are_the_same_and_always_safe(kind: str) -> None:
    """Every kind makes one line that no format has to quote, anew each time."""
    one, other = (new_value(Recipe(kind=kind, bits=2048), NOW) for _ in range(2))
    assert unseal(one.secret) != unseal(other.secret)
    assert SAFE.fullmatch(unseal(one.secret))
    assert len(unseal(one.secret)) >= SHORTEST


def test_a_token_is_the_prefix_and_as_many_random_bytes() -> None:
    """32 bytes are 43 characters; the proxy wants `sk-`."""
    for size, length in ((16, 22), (32, 43), (64, 86)):
        token = unseal(new_value(Recipe(bytes=size), NOW).secret)
        assert token.startswith(b"sk-")
        assert len(token) == 3 + length
    assert unseal(new_value(Recipe(prefix="lab_"), NOW).secret).startswith(b"lab_")


def test_a_fernet_key_encrypts() -> None:
    """It is what `cryptography.fernet` takes."""
    from cryptography.fernet import Fernet

    fernet = Fernet(unseal(new_value(Recipe(kind="fernet"), NOW).secret))
    assert fernet.decrypt(fernet.encrypt(b"x")) == b"x"


def _der(secret: Secret) -> bytes:
    text = unseal(secret)
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


@pytest.mark.parametrize(("kind", "name"), [("ed25519", "Ed25519"), ("x25519", "X25519"), ("rsa", "RSA")])
def test_a_key_pair_reads_back_and_its_public_half_belongs_to_it(kind: str, name: str) -> None:
    """PKCS#8 in base64url for the secret, PEM for the public half."""
    from cryptography.hazmat.primitives import serialization as s

    made = new_value(Recipe(kind=kind, bits=2048), NOW)
    private = s.load_der_private_key(_der(made.secret), None)
    public = private.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    assert name in type(private).__name__
    assert public.decode() == made.public
    assert unseal(made.secret).decode() not in made.public
    if kind == "rsa":
        assert private.key_size == 2048


def test_a_self_signed_certificate_reads_back() -> None:
    """Key and certificate belong together; the name and the days are the recipe's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as s

    made = new_value(Recipe(kind="tls-self-signed", name="lab.example", days=30), NOW)
    pem = _der(made.secret)
    key = s.load_pem_private_key(pem, None)
    certificate = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERT") :])
    assert certificate.public_key() == key.public_key()
    assert certificate == x509.load_pem_x509_certificate(made.public.encode())
    assert certificate.not_valid_after_utc - NOW == timedelta(days=30)
    assert certificate.not_valid_before_utc < NOW
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["lab.example"]
    assert "PRIVATE" not in made.public
    certificate.verify_directly_issued_by(certificate)


def test_every_other_random_byte_is_fresh() -> None:
    """Run ids, fingerprint keys and keys that nobody has."""
    for make in (new_key, new_run_id, bogus_key):
        assert make() != make()
    assert len(new_key()) == 32
    assert SAFE.fullmatch(bogus_key())
