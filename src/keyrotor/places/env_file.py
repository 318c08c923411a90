"""The materialised env file: one value of one key, spliced like any other client's.

It is rendered whole only where it is absent. Keys that are not ours are never removed; one of `keys` that
differs from the encrypted file is refused, never overwritten in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, writable
from keyrotor.boundary.plaintext import is_same, unseal
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.errors import PlaceError
from keyrotor.formats import dotenv, splice
from keyrotor.secret import Pair, Secret


@dataclass(frozen=True, slots=True)
class EnvFile:
    path: Path
    key: str
    keys: Sequence[str]  # what is rendered where the file is absent, and compared where it is not; all if empty

    def check(self, pair: Pair) -> list[str]:
        if not files.exists(self.path):
            return self._refused_to_render(pair)
        try:
            leaves = self._leaves(files.look(self.path).data)
        except PlaceError as error:
            return [str(error)]
        wanted = {key: pair.siblings[key] for key in self.keys if key != self.key and key in pair.siblings}
        differing = sorted(
            {leaf.key for leaf in leaves if leaf.key in wanted and not is_same(wanted[leaf.key], leaf.text)}
        )
        reasons = [f"cannot write {self.path}: its {key} differs from the encrypted file" for key in differing]
        missing = [key for key in self.keys if key != self.key and key not in pair.siblings]
        reasons += [f"cannot write {self.path}: the encrypted file has no key {key}" for key in missing]
        if not splice.SAFE.fullmatch(unseal(pair.old)):
            why = "the present value has characters that must be quoted to be put back"
            reasons.append(f"cannot write {self.path}: {why}")
        return reasons + writable.refusals(self.path)

    def holds(self, pair: Pair) -> Holds:
        if not files.exists(self.path):
            return Holds.NEITHER
        try:
            texts = [leaf.text for leaf in self._leaves(files.look(self.path).data) if leaf.key == self.key]
        except PlaceError:
            return Holds.UNKNOWN
        old = [any(is_same(secret, text) for secret in pair.named(Value.NEW)) for text in texts]
        new = [is_same(pair.new, text) for text in texts]
        if not all(a or b for a, b in zip(old, new, strict=True)):
            return Holds.NEITHER
        return Holds.seen(old=any(old), new=any(new))

    def put(self, goal: Value, pair: Pair) -> str:
        if files.exists(self.path):
            wrote = files.update(self.path, lambda data: self._spliced(data, pair.named(goal), pair[goal]))
        else:
            wrote = self._render(goal, pair)
        if self.holds(pair) is not Holds(goal):
            raise PlaceError(f"cannot write {self.path}: it does not hold {self.key} with the {goal} value after it")
        return "written" if wrote else ALREADY

    def shows(self) -> list[Secret]:
        try:
            return [Secret(leaf.text) for leaf in self._leaves(files.look(self.path).data) if leaf.key == self.key]
        except PlaceError:
            return []

    def changes(self, pair: Pair) -> list[Change]:
        if not files.exists(self.path):
            return [Change(text=f"made anew, mode 0600, with {', '.join(self._rendered(pair.new, pair))}")]
        data = files.look(self.path).data
        self._spliced(data, pair.named(Value.NEW), pair.new)  # a splice that would be refused is found here
        mine = [leaf for leaf in self._leaves(data) if leaf.key == self.key]
        if not mine:
            return [Change(text=f"one more line, {self.key}=…")]
        tokens = [token for one in pair.named(Value.NEW) for token in _whole(mine, one)]
        return [
            Change(self.key, *splice.position(data, token.start), token.start, token.end, len(unseal(pair.new)))
            for token in sorted(tokens, key=lambda token: token.start)
        ]

    def inputs(self) -> list[Path]:
        return [self.path]

    def _leaves(self, data: bytes) -> tuple[splice.Leaf, ...]:
        try:
            return dotenv.read(data)
        except PlaceError as error:
            raise PlaceError(f"cannot read {self.path}: {error}") from None

    def _spliced(self, data: bytes, stale: Sequence[Secret], secret: Secret) -> bytes:
        mine = [leaf for leaf in self._leaves(data) if leaf.key == self.key]
        if not mine:
            return dotenv.with_line(data, self.key, unseal(secret))
        tokens = [token for one in stale for token in _whole(mine, one)]
        return splice.replace(dotenv.read, data, tokens, unseal(secret))

    def _render(self, goal: Value, pair: Pair) -> bool:
        files.make_folder(self.path.parent)
        files.clear_leftover(self.path)
        try:
            text = dotenv.render(self._rendered(pair[goal], pair))
        except (KeyError, ValueError) as error:
            raise PlaceError(f"cannot make {self.path}: {error}") from None
        files.create(self.path, text)
        return True

    def _rendered(self, secret: Secret, pair: Pair) -> dict[str, bytes]:
        values = {**pair.siblings, self.key: secret}
        return {key: unseal(values[key]) for key in (self.keys or values)}

    def _refused_to_render(self, pair: Pair) -> list[str]:
        """Why the absent file could not be made; its folder may be absent too."""
        try:
            dotenv.render(self._rendered(pair.old, pair))
        except KeyError as error:
            return [f"cannot make {self.path}: the encrypted file has no key {error.args[0]}"]
        except ValueError as error:
            return [f"cannot make {self.path}: {error}"]
        return writable.absent_refusals(self.path)


def _whole(leaves: Sequence[splice.Leaf], secret: Secret) -> tuple[splice.Token, ...]:
    """The leaves that are this value and nothing else, be it none or one that must be quoted."""
    mine = (leaf for leaf in leaves if is_same(secret, leaf.text))
    return tuple(splice.Token(leaf, leaf.offsets[0], leaf.offsets[-1]) for leaf in mine)
