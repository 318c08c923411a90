"""A value that nobody sees.

Owns: `Secret`, and the pair of them that a run moves between. Rules:
1. Nothing shows a value: no str, repr, format, pickle, JSON, compare or hash.
2. Only `boundary/plaintext.py` may unseal one (tests/test_architecture.py holds that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from keyrotor.core.model import Value  # 5 ms, which `exec` does not pay


class Secret:
    """Bytes behind a seal. Made from bytes; opened by `boundary.plaintext.unseal` only."""

    __slots__ = ("_sealed",)

    def __init__(self, plaintext: bytes) -> None:
        self._sealed = plaintext

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def _never(self, *_: object) -> NoReturn:
        raise TypeError("a Secret cannot be compared, hashed, copied or serialised")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _never
    __hash__ = __bool__ = __len__ = __iter__ = __bytes__ = _never
    __reduce__ = __reduce_ex__ = __copy__ = __deepcopy__ = __getstate__ = _never


@dataclass(frozen=True, slots=True)
class Pair:
    """The two values of a run, and the other keys of the encrypted file (for the env file's check)."""

    old: Secret
    new: Secret
    siblings: Mapping[str, Secret] = field(default_factory=dict)
    # In a repair only, for a rotation has one old value:
    stale: tuple[Secret, ...] = ()  # further old values, replaced wherever they are found
    by_name: tuple[Secret, ...] = ()  # what is replaced only where the key's own name stands before it
    is_leaked: bool = False  # the old value is: the new one is written even where nothing could be put back

    def others(self, goal: Value) -> tuple[Secret, ...]:
        """What a put of the goal replaces, by its value."""
        return (self[goal.other], *self.stale)

    def named(self, goal: Value) -> tuple[Secret, ...]:
        """What a put of the goal replaces where the key's name stands before it."""
        return (*self.others(goal), *self.by_name)

    @classmethod
    def read(cls, values: Mapping[str, Secret], key: str, new: Secret) -> Pair:
        """What stands under the key in the encrypted file as the old value, and the file's other keys beside it."""
        return cls(values[key], new, {name: secret for name, secret in values.items() if name != key})

    def __getitem__(self, value: Value) -> Secret:
        return self.old if value == "old" else self.new
