"""What is known of the present keys: every place in which one stands, and the one value that they agree on.

Rules:
1. A key is adopted from the encrypted file, an env file, or the config of a gateway that names it. Where it stands
   elsewhere only, nobody would find it there later: a person puts it into the env file first.
2. Two values are no key: which one is right only a person, or an audit, can tell.
3. A fresh one is made only where nothing says that there may be one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyrotor.boundary.plaintext import are_same, is_blank, seal_all
from keyrotor.core.founding import MASTER, SALT
from keyrotor.errors import RefusedError
from keyrotor.formats.gateway_config import DATABASE_VARIABLES
from keyrotor.secret import Secret

KEYS = (MASTER, SALT)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A key that stands somewhere."""

    key: str
    where: str
    value: Secret | None  # None: there is one, which cannot be told
    is_adopted: bool = False  # a key may come from here


@dataclass(frozen=True, slots=True)
class Known:
    """All that was seen of keys and databases."""

    seen: tuple[Sighting, ...] = ()
    variables: frozenset[str] = frozenset()  # names of variables that are set anywhere
    doubts: tuple[str, ...] = ()  # why there may be more than was seen

    def __add__(self, other: Known) -> Known:
        return Known(self.seen + other.seen, self.variables | other.variables, self.doubts + other.doubts)

    @property
    def may_have_database(self) -> bool:
        """Whether one is configured anywhere, or that cannot be told."""
        return bool(self.doubts) or not self.variables.isdisjoint(DATABASE_VARIABLES)


def sealed(where: str, values: Mapping[str, Secret], *, is_adopted: bool = False) -> Known:
    """What these values tell; a blank one tells nothing."""
    values = {key: secret for key, secret in values.items() if not is_blank(secret)}
    seen = [Sighting(key, where, values[key], is_adopted) for key in KEYS if key in values]
    return Known(tuple(seen), frozenset(values))


def literals(where: str, values: Mapping[str, str | None]) -> Known:
    """The same for values that stand in a file in clear; None: one that cannot be told."""
    known = sealed(where, seal_all({key: value for key, value in values.items() if value is not None}))
    untold = [Sighting(key, where, None) for key in KEYS if key in values and values[key] is None]
    return known + Known(tuple(untold), frozenset(values))


def present(key: str, known: Known, audit: str, again: str) -> Sighting | None:
    """Where the key is adopted from; None where there is none anywhere. Raises RefusedError where that cannot be
    told."""
    mine = [each for each in known.seen if each.key == key]
    told = [each for each in mine if each.value is not None]
    for each in told[1:]:
        assert each.value is not None
        assert told[0].value is not None
        if not are_same(each.value, told[0].value):
            why = f"{told[0].where} and {each.where} hold two different values"
            raise RefusedError(f"cannot tell which {key} is the present one: {why}", hint=audit)
    adopted = [each for each in told if each.is_adopted]
    if mine and not adopted:
        why = f"it stands in {' and in '.join(dict.fromkeys(each.where for each in mine))}"
        hint = f"put {key}=… with that value into the env file (mode 0600), then: {again}"
        raise RefusedError(f"cannot adopt {key}: {why}, from where nothing would read it later", hint=hint)
    return adopted[0] if adopted else None


def want_no_doubt(key: str, known: Known, again: str) -> None:
    """Raises RefusedError where a fresh key might be a second one."""
    if known.doubts:
        hint = f"if there is a key, put {key}=… into the env file (mode 0600); then: {again}"
        raise RefusedError(f"cannot make {key}: there may be one already: {known.doubts[0]}", hint=hint)
