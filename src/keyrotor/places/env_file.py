"""The materialised env file: one value of one key, spliced like any other client's.

It is rendered whole only where it is absent. Keys that are not ours are never removed; one of `keys` that
differs from the encrypted file is refused, never overwritten in silence. That is a rotation's rule; `materialise`,
which a person asks for, replaces what differs, but for a key that must never change. A rotation leaves the line as it
is (what a unit took from it is seen in the unit itself); `materialise` wants one that all readers take alike.
Where the old value is leaked the new one is put where nothing stands as well: somebody may have emptied the file first.
Another value is never overwritten: that may be the one that has leaked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from keyrotor.boundary import files, private, writable
from keyrotor.boundary.plaintext import is_blank, is_same, unseal
from keyrotor.core.materialised import Compared, Sheet
from keyrotor.core.model import ALREADY, NEVER, Holds, Value
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
            leaves = self._leaves(files.whole(self.path))
        except PlaceError as error:
            return [str(error)]
        wanted = {key: pair.siblings[key] for key in self.keys if key != self.key and key in pair.siblings}
        differing = sorted(
            {leaf.key for leaf in leaves if leaf.key in wanted and not is_same(wanted[leaf.key], leaf.text)}
        )
        reasons = [f"cannot write {self.path}: its {key} differs from the encrypted file" for key in differing]
        missing = [key for key in self.keys if key != self.key and key not in pair.siblings]
        reasons += [f"cannot write {self.path}: the encrypted file has no key {key}" for key in missing]
        reasons += self._untold(leaves, pair)
        return reasons + self._unsafe(pair) + self._unspliced(pair) + writable.refusals(self.path)

    def holds(self, pair: Pair) -> Holds:
        if not files.exists(self.path):
            return Holds.NEITHER
        try:
            texts = [leaf.text for leaf in self._leaves(files.whole(self.path)) if leaf.key == self.key]
        except PlaceError:
            return Holds.UNKNOWN
        old = [any(is_same(secret, text) for secret in pair.named(Value.NEW)) for text in texts]
        new = [is_same(pair.new, text) for text in texts]
        if not all(a or b for a, b in zip(old, new, strict=True)):
            return Holds.NEITHER
        return Holds.seen(old=any(old), new=any(new))

    def put(self, goal: Value, pair: Pair) -> str:
        if files.exists(self.path):
            if self.holds(pair) is Holds.NEITHER:
                private.make_private(self.path)  # before the key is in it
            wrote = files.update(self.path, lambda data: self._spliced(data, goal, pair))
        else:
            wrote = self._render(goal, pair)
        if self.holds(pair) is not Holds(goal):
            raise PlaceError(f"cannot write {self.path}: it does not hold {self.key} with the {goal} value after it")
        return "written" if wrote else ALREADY

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return ""

    def shows(self) -> list[Secret]:
        try:
            return [Secret(leaf.text) for leaf in self._leaves(files.whole(self.path)) if leaf.key == self.key]
        except PlaceError:
            return []

    def changes(self, pair: Pair) -> list[Change]:
        if not files.exists(self.path):
            return [Change(text=f"made anew, mode 0600, with {', '.join(self._rendered(pair.new, pair))}")]
        data = files.whole(self.path)
        self._spliced(data, Value.NEW, pair)  # a splice that would be refused is found here
        mine = [leaf for leaf in self._leaves(data) if leaf.key == self.key]
        if not mine:
            return [Change(text=f"one more line, {self.key}=…")]
        tokens = [_token(leaf) for leaf in _of(mine, pair.named(Value.NEW))]
        return [
            Change(self.key, *splice.position(data, token.start), token.start, token.end, len(unseal(pair.new)))
            for token in tokens
        ]

    def inputs(self) -> list[Path]:
        return [self.path]

    @property
    def has_leftover(self) -> bool:
        """Whether a killed writer left something of it, which may hold values."""
        return bool(files.leftovers(self.path))

    def tidy(self) -> None:
        """Finish or clear away what a killed writer left. Raises PlaceError."""
        files.tidy(self.path)

    def compared(self, values: Mapping[str, Secret], only: Sequence[str] = ()) -> Compared:
        """How the file stands beside these values, key by key. Writes nothing. Raises PlaceError."""
        is_absent = not files.exists(self.path)
        names = self._names(values, () if is_absent else only)
        unknown = [name for name in names if name not in values]
        reasons = [f"cannot write {self.path}: the encrypted file has no key {name}" for name in unknown]
        if is_absent:
            unwritable = {} if reasons else self._unwritable(values, names)
            reasons += unwritable.values() or self._absent_refusals()
            return Compared(str(self.path), Sheet.ABSENT, reasons=reasons, unwritable=list(unwritable))
        seen = files.look(self.path)
        leaves = self._leaves(seen.data)
        ours = [leaf for leaf in leaves if leaf.key in names and leaf.key in values]
        ill = [leaf for leaf in ours if not _is_well(seen.data, leaf, values[leaf.key])]
        missing = [name for name in names if name not in {leaf.key for leaf in leaves}]
        differing = [name for name in names if name in {leaf.key for leaf in ill}]
        found = Compared(str(self.path), Sheet.SAME, missing=missing, differing=differing, mode=seen.mode)
        if not (missing or differing or found.is_open or reasons):
            return found
        unwritable = self._unwritable(values, [name for name in (*missing, *differing) if name in values])
        troubles = [dotenv.trouble(seen.data, leaf) for leaf in ill] + [dotenv.trouble(seen.data)] * bool(missing)
        reasons += filter(None, (self._never(leaf, seen.data, values) for leaf in ill))
        reasons += [*unwritable.values(), *(f"cannot write {self.path}: {why}" for why in troubles if why)]
        reasons = list(dict.fromkeys(reasons)) or writable.refusals(self.path)
        return replace(found, state=Sheet.DIFFERS, reasons=reasons, unwritable=list(unwritable))

    def materialise(self, values: Mapping[str, Secret], only: Sequence[str] = ()) -> None:
        """Make it hold these values, and keep all else that is in it. An absent file is made whole, whatever `only`."""
        if files.exists(self.path):
            private.make_private(self.path)  # before anything is in it: an update keeps the mode
            files.update(self.path, lambda data: self._brought(data, values, self._names(values, only)))
        else:
            self._make({name: unseal(values[name]) for name in self._names(values, ())})
        if self.compared(values, only).state is not Sheet.SAME:
            raise PlaceError(f"cannot write {self.path}: it does not hold what was written")

    def values(self) -> dict[str, Secret]:
        """Every value in it, as all readers take it. Raises PlaceError."""
        if not files.exists(self.path):
            raise PlaceError(f"cannot read {self.path}: no such file")
        seen = files.look(self.path)
        if files.is_torn(seen.path, seen.data):
            raise PlaceError(f"cannot read {self.path}: a write of it was not finished")
        try:
            found = dotenv.values(seen.data)
        except (ValueError, PlaceError) as error:
            raise PlaceError(f"cannot read {self.path}: {error}") from None
        return {name: Secret(value) for name, value in found.items()}

    def _names(self, values: Mapping[str, Secret], only: Sequence[str]) -> list[str]:
        return [name for name in (self.keys or values) if not only or name in only]

    def _brought(self, data: bytes, values: Mapping[str, Secret], names: Sequence[str]) -> bytes:
        for name in names:
            mine = [leaf for leaf in self._leaves(data) if leaf.key == name]
            if not mine:
                data = dotenv.with_line(data, name, unseal(values[name]))
            elif not all(_is_well(data, leaf, values[name]) for leaf in mine):
                data = dotenv.with_value(data, name, unseal(values[name]))
        return data

    def _never(self, leaf: splice.Leaf, data: bytes, values: Mapping[str, Secret]) -> str:
        """Why this leaf must not be replaced; "" if it may."""
        if leaf.key not in NEVER:
            return ""
        is_certain = dotenv.is_plain(data, leaf) or b"\\" not in leaf.text
        if is_certain and is_same(values[leaf.key], leaf.text):
            return ""
        return f"cannot write {self.path}: its {leaf.key} differs from the encrypted file, and {NEVER[leaf.key]}"

    def _unwritable(self, values: Mapping[str, Secret], names: Sequence[str]) -> dict[str, str]:
        """Why these values cannot be written, by their names."""
        reasons = {}
        for name in names:
            try:
                dotenv.render({name: unseal(values[name])})
            except ValueError as error:
                reasons[name] = f"cannot write {self.path}: {_cause(error)}"
        return reasons

    def _unsafe(self, pair: Pair) -> list[str]:
        if pair.is_leaked or splice.SAFE.fullmatch(unseal(pair.old)):
            return []
        return [f"cannot write {self.path}: the present value has characters that must be quoted to be put back"]

    def _untold(self, leaves: Sequence[splice.Leaf], pair: Pair) -> list[str]:
        """Why nobody knows which value has leaked, where one has: another one stands here."""
        mine = [leaf for leaf in leaves if leaf.key == self.key and not is_blank(Secret(leaf.text))]
        if not pair.is_leaked or len(_of(mine, (pair.new, *pair.named(Value.NEW)))) == len(mine):
            return []
        return [
            f"cannot tell what has leaked: {self.path} holds another value than the encrypted file (the leaked one "
            f"must stand in the encrypted file: sops edit; if it does, empty the line {self.key}= in the env file)"
        ]

    def _unspliced(self, pair: Pair) -> list[str]:
        """Why the new value could not be put where nothing stands, where it would be."""
        try:
            if pair.is_leaked:
                self._spliced(files.whole(self.path), Value.NEW, pair)
        except PlaceError as error:
            return [str(error) if str(self.path) in str(error) else f"cannot write {self.path}: {error}"]
        return []

    def _leaves(self, data: bytes) -> tuple[splice.Leaf, ...]:
        try:
            return dotenv.read(data)
        except PlaceError as error:
            raise PlaceError(f"cannot read {self.path}: {error}") from None

    def _spliced(self, data: bytes, goal: Value, pair: Pair) -> bytes:
        leaves, value = self._leaves(data), unseal(pair[goal])
        is_emptied = pair.is_leaked and not leaves  # then what reads it lacks the other keys, too
        mine = [leaf for leaf in leaves if leaf.key == self.key]
        if not mine:
            return self._lengthened(data, self._rendered(pair[goal], pair) if is_emptied else {self.key: value})
        stale = _of(mine, pair.named(goal))
        if pair.is_leaked and goal is Value.NEW:
            stale = [leaf for leaf in mine if leaf in stale or is_blank(Secret(leaf.text))]
        return splice.replace(dotenv.read, data, [_token(leaf) for leaf in stale], value)

    def _lengthened(self, data: bytes, values: Mapping[str, bytes]) -> bytes:
        try:
            for name, value in values.items():
                data = dotenv.with_line(data, name, value)
        except ValueError as error:
            raise PlaceError(f"cannot write {self.path}: {_cause(error)}") from None
        return data

    def _render(self, goal: Value, pair: Pair) -> bool:
        self._make(self._rendered(pair[goal], pair))
        return True

    def _make(self, values: Mapping[str, bytes]) -> None:
        try:
            text = dotenv.render(values)
        except ValueError as error:
            raise PlaceError(f"cannot make {self.path}: {_cause(error)}") from None
        real = Path(os.path.realpath(self.path))  # a link may lead to where nothing is yet: a tmpfs after a boot
        files.make_folder(real.parent)
        files.clear_leftover(real)
        files.create(real, text)

    def _rendered(self, secret: Secret, pair: Pair) -> dict[str, bytes]:
        values = {**pair.siblings, self.key: secret}
        missing = [key for key in self.keys if key not in values]
        if missing:
            raise PlaceError(f"cannot make {self.path}: the encrypted file has no key {missing[0]}")
        return {key: unseal(values[key]) for key in (self.keys or values)}

    def _refused_to_render(self, pair: Pair) -> list[str]:
        """Why the absent file could not be made; its folder may be absent too."""
        try:
            dotenv.render(self._rendered(pair.new if pair.is_leaked else pair.old, pair))
        except PlaceError as error:
            return [str(error)]
        except ValueError as error:
            return [f"cannot make {self.path}: {_cause(error)}"]
        return self._unsafe(pair) + self._absent_refusals()

    def _absent_refusals(self) -> list[str]:
        real = Path(os.path.realpath(self.path))
        if os.path.lexists(real):
            return [f"cannot make {self.path}: it is a link that leads back to itself"]
        link = f" (it is a link to {real}, which is not there)" if os.path.islink(self.path) else ""
        return [f"{why}{link}" for why in writable.absent_refusals(real)]


def _of(leaves: Sequence[splice.Leaf], secrets: Sequence[Secret]) -> list[splice.Leaf]:
    """The leaves that are one of these values and nothing else."""
    return [leaf for leaf in leaves if any(is_same(secret, leaf.text) for secret in secrets)]


def _token(leaf: splice.Leaf) -> splice.Token:
    """All that the leaf says, be it nothing or what must be quoted."""
    return splice.Token(leaf, leaf.offsets[0], leaf.offsets[-1])


def _is_well(data: bytes, leaf: splice.Leaf, secret: Secret) -> bool:
    """Whether the leaf is this value to every reader."""
    return is_same(secret, leaf.text) and dotenv.is_plain(data, leaf)


def _cause(error: ValueError) -> str:
    """Why a value cannot be written, for a sentence that says itself what cannot be done."""
    return str(error).removeprefix("cannot render ")
