"""A client's own config file: every literal of the value is spliced, found by value; nothing is re-dumped.

A reference such as `${LITELLM_MASTER_KEY}` is never written over: its client follows the variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, writable
from keyrotor.boundary.plaintext import are_same, is_telling, is_told, unseal
from keyrotor.core.model import ALREADY, NEVER, Holds, Value
from keyrotor.core.preview import Change, shown_path
from keyrotor.errors import PlaceError, PlaybookError
from keyrotor.formats import dotenv, json, splice
from keyrotor.secret import Pair, Secret

READERS: Mapping[str, splice.Reader] = {"json": json.read, "dotenv": dotenv.read}
SUFFIXES: Mapping[str, str] = {".json": "json", ".jsonc": "json", ".env": "dotenv"}


def format_of(path: Path, said: str) -> str:
    """The format said, or told by the file's name. Raises PlaybookError where neither tells."""
    found = said or SUFFIXES.get(path.suffix) or SUFFIXES.get(path.name)
    if found is None:
        raise PlaybookError(f"cannot tell the format of {path}: say format = one of {', '.join(READERS)}")
    return found


@dataclass(frozen=True, slots=True)
class ClientFile:
    path: Path
    key: str  # the variable that a reference would name
    format: str

    def check(self, pair: Pair) -> list[str]:
        try:
            leaves = self._leaves(files.look(self.path).data)
        except PlaceError as error:
            return [str(error)]
        if not any(self._tokens(leaves, secret, pair) for secret in pair.others(Value.NEW)):
            return []
        if not splice.SAFE.fullmatch(unseal(pair.old)):
            return [f"cannot write {self.path}: the present value has characters that must be quoted to be put back"]
        if not is_telling(pair.old):
            return [f"cannot write {self.path}: the present value is too short to be told from other words"]
        return writable.refusals(self.path)

    def holds(self, pair: Pair) -> Holds:
        try:
            leaves = self._leaves(files.look(self.path).data)
        except PlaceError:
            return Holds.UNKNOWN if files.exists(self.path) else Holds.NEITHER
        old = any(self._tokens(leaves, secret, pair) for secret in pair.others(Value.NEW))
        found = Holds.seen(old=old, new=bool(self._tokens(leaves, pair.new, pair)))
        return Holds.REFERS if found is Holds.NEITHER and splice.references(leaves, self.key) else found

    def put(self, goal: Value, pair: Pair) -> str:
        wrote = files.update(self.path, lambda data: self._spliced(data, goal, pair))
        if self.holds(pair) is not Holds(goal):
            raise PlaceError(f"cannot write {self.path}: it does not hold the {goal} value after it")
        if not wrote:
            return ALREADY
        left = self._left(pair[goal.other])
        return f"written; {left} more in comments or names, left" if left else "written"

    def shows(self) -> list[Secret]:
        """Every word in it that is long and odd enough to be a key."""
        try:
            leaves = self._leaves(files.look(self.path).data)
        except PlaceError:
            return []
        words = {word for leaf in leaves if leaf.key not in NEVER for word in splice.words(leaf)}
        return [secret for secret in map(Secret, sorted(words)) if is_telling(secret)]

    def changes(self, pair: Pair) -> list[Change]:
        data = files.look(self.path).data
        self._spliced(data, Value.NEW, pair)  # a splice that would be refused is found here
        leaves = self._leaves(data)
        tokens = [token for one in pair.others(Value.NEW) for token in self._tokens(leaves, one, pair)]
        changes = [self._change(token, data, pair) for token in sorted(tokens, key=lambda token: token.start)]
        if left := splice.raw_hits(data, leaves, unseal(pair.old)):
            changes.append(Change(text=f"{left} more in comments or names, left as they are", by_hand=True))
        if self.format == "dotenv":
            later = "a program that has read it keeps the old key until it is started again"
            changes.append(Change(text=later, by_hand=True))
        return changes

    def inputs(self) -> list[Path]:
        return [self.path]

    def _change(self, token: splice.Token, data: bytes, pair: Pair) -> Change:
        path = shown_path(token.leaf.path, lambda word: is_told(word.encode(), pair))
        at = splice.position(data, token.start)
        return Change(path, *at, token.start, token.end, len(unseal(pair.new)))

    def _leaves(self, data: bytes) -> tuple[splice.Leaf, ...]:
        try:
            return READERS[self.format](data)
        except PlaceError as error:
            raise PlaceError(f"cannot read {self.path}: {error}") from None

    def _tokens(self, leaves: Sequence[splice.Leaf], secret: Secret, pair: Pair) -> tuple[splice.Token, ...]:
        """Where the value stands, but for keys that merely hold the same: a salt, another of the file's secrets."""
        others = NEVER.keys() | {key for key, sibling in pair.siblings.items() if are_same(sibling, secret)}
        return splice.tokens([leaf for leaf in leaves if leaf.key not in others], unseal(secret))

    def _spliced(self, data: bytes, goal: Value, pair: Pair) -> bytes:
        leaves = self._leaves(data)
        tokens = [token for one in pair.others(goal) for token in self._tokens(leaves, one, pair)]
        return splice.replace(READERS[self.format], data, tokens, unseal(pair[goal]))

    def _left(self, stale: Secret) -> int:
        data = files.look(self.path).data
        return splice.raw_hits(data, self._leaves(data), unseal(stale))
