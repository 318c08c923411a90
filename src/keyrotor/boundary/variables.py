"""What a variable holds for a gateway, from wherever it may be known; and what is the gateway's own alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from keyrotor.boundary import proc
from keyrotor.boundary.plaintext import are_same, is_blank, is_telling, unseal
from keyrotor.secret import Secret

REFERENCE = "os.environ/"
# The gateway's alone, whatever a playbook calls them.
OWN = ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY")

Variable = Callable[[str], Secret | None]  # None where it is not set


def first(*sources: Variable) -> Variable:
    """What the first source that knows the variable says; an empty one is as good as none."""

    def variable(name: str) -> Secret | None:
        found = (source(name) for source in sources)
        return next((secret for secret in found if secret is not None and not is_blank(secret)), None)

    return variable


def of_secrets(table: Mapping[str, Secret]) -> Variable:
    return table.get


def of_table(table: Mapping[str, str]) -> Variable:
    return lambda name: Secret(table[name].encode("utf-8", "surrogateescape")) if name in table else None


def of_process(pid: int) -> Variable:
    """The environment that the process was started with; nothing for 0."""

    def variable(name: str) -> Secret | None:
        try:
            return proc.variable(pid, name) if pid else None
        except OSError:
            return None

    return variable


@dataclass(frozen=True, slots=True)
class Guard:
    """What is the gateway's own, and must be handed to nobody."""

    names: frozenset[str]
    values: tuple[Secret, ...]

    def is_in(self, secret: Secret) -> bool:
        """Whether it is one of the values, or one stands in it."""
        text = unseal(secret)
        return any(are_same(secret, own) or (is_telling(own) and unseal(own) in text) for own in self.values)


def guard(names: Iterable[str], stated: Sequence[str], sources: Sequence[Variable]) -> Guard:
    """By all names, and all values that any source has: each may know what the others do not, or no longer.

    `stated`: what the configs call their master key, a value or a reference to one.
    """
    named = {text.removeprefix(REFERENCE) for text in stated if text.startswith(REFERENCE)}
    own = frozenset({*names, *OWN, *named} - {""})
    known = [secret for variable in sources for name in own if (secret := variable(name)) is not None]
    known += [Secret(text.encode()) for text in stated if not text.startswith(REFERENCE)]
    return Guard(own, tuple(secret for secret in known if not is_blank(secret)))
