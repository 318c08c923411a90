"""An entry of the OS keyring: the key itself, or one member of the JSON object that a program keeps there.

What is put stands where the playbook says, so whatever is known to have stood there before is replaced; a text that is
neither value is somebody else's, and left. Of an object one token changes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.keyring_entry import Entry
from keyrotor.boundary.plaintext import is_same, unseal
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.formats import readers, splice
from keyrotor.formats.paths import step
from keyrotor.secret import Pair, Secret


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    label: str
    entry: Entry
    member: str  # of the object that the entry is; "": the entry is the key
    hint: str  # the command that makes such an entry
    todo: str  # what a person must do once it holds another key

    def check(self, pair: Pair) -> list[str]:
        try:
            found = self._leaves(self.entry.texts())
        except PlaceError as error:
            return [f"{error} ({error.hint})" if error.hint else str(error)]
        if not found:
            return [f"cannot write {self.label}: {self._absent()}; make it: {self.hint}"]
        if not (pair.is_leaked or splice.SAFE.fullmatch(unseal(pair.old))):
            return [f"cannot write {self.label}: the present value has characters that must be quoted to be put back"]
        return []

    def holds(self, pair: Pair) -> Holds:
        try:
            return self._seen(self.entry.texts(), pair)
        except PlaceError:
            return Holds.UNKNOWN

    def put(self, goal: Value, pair: Pair) -> str:
        texts = self.entry.texts()
        replacing = {text: spliced for text in texts if (spliced := self._spliced(text, goal, pair)) != text}
        if replacing:
            texts = self.entry.replace(replacing)
        leaves = self._leaves(texts)
        if not leaves:  # no entry at all may be another keyring than the one that had it: another session's
            raise (StrangerError if texts else PlaceError)(
                f"cannot write {self.label}: {self._absent()}", hint=self.hint
            )
        if not any(is_same(secret, leaf.text) for secret in (pair.old, pair.new, *pair.named(goal)) for leaf in leaves):
            raise StrangerError(f"cannot write {self.label}: somebody has changed it: it holds neither value")
        if self._seen(texts, pair) is not Holds(goal):
            raise PlaceError(f"cannot write {self.label}: it does not hold the {goal} value after it")
        return "written" if replacing else ALREADY

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return self.todo

    def shows(self) -> list[Secret]:
        try:
            return [Secret(leaf.text) for leaf in self._leaves(self.entry.texts())]
        except PlaceError:
            return []

    def changes(self, pair: Pair) -> list[Change]:
        if self.holds(pair) is not Holds.OLD:
            raise PlaceError(f"cannot write {self.label}: it does not hold the present value")
        of = f"its member {self.member}" if self.member else "it"
        return [Change(text=f"gives {of} the new value")]

    def inputs(self) -> list[Path]:
        return []

    def _seen(self, texts: Sequence[bytes], pair: Pair) -> Holds:
        """What entries with these texts hold; neither, where one is neither. Raises PlaceError."""
        leaves = self._leaves(texts)
        old = [any(is_same(secret, leaf.text) for secret in pair.named(Value.NEW)) for leaf in leaves]
        new = [is_same(pair.new, leaf.text) for leaf in leaves]
        if not all(one or other for one, other in zip(old, new, strict=True)):
            return Holds.NEITHER
        return Holds.seen(old=any(old), new=any(new))

    def _absent(self) -> str:
        return f"no such entry has a member {self.member}" if self.member else "there is no such entry"

    def _leaves(self, texts: Sequence[bytes]) -> list[splice.Leaf]:
        """The key in each of the entries. Raises PlaceError where one is no object."""
        return [leaf for text in texts for leaf in self._leaves_in(text)]

    def _leaves_in(self, text: bytes) -> list[splice.Leaf]:
        if not self.member:
            return [splice.Leaf("$", "", text, range(len(text) + 1))]
        try:
            leaves = readers.of("json")(text)
        except PlaceError:
            raise PlaceError(f"cannot read {self.label}: the entry is no JSON object") from None
        return [leaf for leaf in leaves if leaf.path == step(self.member).removeprefix(".")]

    def _spliced(self, text: bytes, goal: Value, pair: Pair) -> bytes:
        leaves = self._leaves_in(text)
        found = [leaf for leaf in leaves if any(is_same(secret, leaf.text) for secret in pair.named(goal))]
        if not found:
            return text
        if not self.member:
            return unseal(pair[goal])
        tokens = [token for leaf in found for token in splice.tokens([leaf], leaf.text)]
        return splice.replace(readers.of("json"), text, tokens, unseal(pair[goal]))
