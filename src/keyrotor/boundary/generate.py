"""New values, and every other random byte of the program.

`token` is what a gateway wants. The other kinds make one line of a private key that every format can hold:
PKCS#8 DER (for tls: PEM of key and certificate) in unpadded base64url; the public half is returned beside it.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from keyrotor.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519

    PrivateKey = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | x25519.X25519PrivateKey


@dataclass(frozen=True, slots=True)
class Recipe:
    """The playbook's `generate`, with its defaults."""

    kind: str = "token"
    prefix: str = "sk-"
    bytes: int = 32
    bits: int = 3072  # rsa
    name: str = "localhost"  # tls
    days: int = 397  # tls: what browsers accept at the most


@dataclass(frozen=True, slots=True)
class Generated:
    """A new value, and what may be known of it."""

    secret: Secret
    public: str = ""


def new_value(recipe: Recipe, now: datetime) -> Generated:
    """A fresh value of the recipe's kind."""
    return KINDS[recipe.kind](recipe, now)


def new_key() -> bytes:
    """32 random bytes: a fingerprint key."""
    return secrets.token_bytes(32)


def new_run_id() -> str:
    return secrets.token_hex(3)


def bogus_key() -> bytes:
    """A key that nobody has: what an open gateway accepts all the same."""
    return b"sk-bogus-" + secrets.token_urlsafe(24).encode()


def _token(recipe: Recipe, _: datetime) -> Generated:
    return Generated(Secret((recipe.prefix + secrets.token_urlsafe(recipe.bytes)).encode()))


def _fernet(_: Recipe, __: datetime) -> Generated:
    from cryptography.fernet import Fernet

    return Generated(Secret(Fernet.generate_key()))


def _ed25519(_: Recipe, __: datetime) -> Generated:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return _pair(ed25519.Ed25519PrivateKey.generate())


def _x25519(_: Recipe, __: datetime) -> Generated:
    from cryptography.hazmat.primitives.asymmetric import x25519

    return _pair(x25519.X25519PrivateKey.generate())


def _rsa(recipe: Recipe, _: datetime) -> Generated:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return _pair(rsa.generate_private_key(public_exponent=65537, key_size=recipe.bits))


def _tls(recipe: Recipe, now: datetime) -> Generated:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, recipe.name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks of clients differ
        .not_valid_after(now + timedelta(days=recipe.days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(recipe.name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = certificate.public_bytes(pem)
    return Generated(Secret(_one_line(private + public)), public.decode())


def _pair(key: PrivateKey) -> Generated:
    from cryptography.hazmat.primitives import serialization as s

    private = key.private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption())
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    return Generated(Secret(_one_line(private)), public.decode())


def _one_line(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


KINDS: Mapping[str, Callable[[Recipe, datetime], Generated]] = {
    "token": _token,
    "fernet": _fernet,
    "ed25519": _ed25519,
    "x25519": _x25519,
    "rsa": _rsa,
    "tls-self-signed": _tls,
}
