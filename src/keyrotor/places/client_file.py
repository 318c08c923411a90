"""A client's own config file: every literal of the value is spliced, found by value; nothing is re-dumped.

Rules:
1. A reference such as `${LITELLM_MASTER_KEY}` is never written over: its client follows the variable. One that the
   client does not resolve is told (`broken`), and is a reference all the same.
2. Paths say which leaves are the client's key: what refers to it, what is broken. Where the playbook itself says them
   (`is_own`), the key belongs there: what stands there is judged by that, and a repair replaces whatever it is. But
   where `beside` names no gateway of ours, or is not there, the key is somebody else's and is never written over.
3. What is prepared stays in memory, by the digest of what it was made from; a file that has changed since is spliced
   like any other. What was proven of a content is not asked again.
4. A file in which nothing of the key stood before is closed to others before the key comes into it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keyrotor.boundary import files, private, writable
from keyrotor.boundary.plaintext import are_same, is_same, is_telling, is_told, unseal
from keyrotor.boundary.reload import Reload
from keyrotor.core.client import Form
from keyrotor.core.model import ALREADY, NEVER, Holds, Value
from keyrotor.core.preview import Change, shown_path
from keyrotor.errors import PlaceError, PlaybookError, StrangerError
from keyrotor.formats import paths, readers, references, splice
from keyrotor.formats.splice import Leaf, Token
from keyrotor.secret import Pair, Secret

_SCHEME = b"bearer "  # a header's leaf is more than its key


def format_of(path: Path, said: str) -> str:
    """The format said, or told by the file's name. Raises PlaybookError where neither tells."""
    found = said or readers.of_path(path)
    if not found:
        raise PlaybookError(f"cannot tell the format of {path}: say format = one of {', '.join(readers.FORMATS)}")
    return found


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the file: by the playbook, or by the catalogue of clients."""

    at: Sequence[str] = ()  # the leaves that are its key
    beside: str = ""  # the leaf beside the key that names the gateway
    gateways: Sequence[str] = ()  # ours; none: whatever gateway it names may be ours
    names: Sequence[str] = ()  # the leaves that hold the variable's bare name
    resolves: Sequence[str] | None = None  # the forms that the client resolves there; None: not known
    heal: str = ""  # the form that works in the stead of another one
    todo: str = ""  # what a person must do once another key stands there
    is_own: bool = False  # the playbook says `at`: the key belongs there
    is_implied: bool = False  # its client may have such a file, no more
    heals: bool = False  # a repair was asked to put what works in the stead of what is broken


@dataclass(frozen=True, slots=True)
class _Ready:
    """A write that was worked out, and proven in memory."""

    data: bytes = field(repr=False)
    holds: Holds = Holds.UNKNOWN
    said: str = ""
    opens: bool = False  # it brings the key into a file that had nothing of it


@dataclass(frozen=True, slots=True)
class ClientFile:
    path: Path
    key: str  # the variable that a reference would name
    format: str
    known: Known = Known()
    raw: bool = False  # comments are rewritten too
    in_place: bool = False
    reload: Reload | None = None
    _ready: dict[tuple[Value, str], _Ready] = field(default_factory=dict, repr=False)
    _proven: dict[str, tuple[Pair, Holds]] = field(default_factory=dict, repr=False)  # by the digest of a content

    def check(self, pair: Pair) -> list[str]:
        try:
            leaves = self._leaves(files.whole(self.path))
        except PlaceError as error:
            return [str(error)]
        if not self._stale(leaves, Value.NEW, pair) and not self._ailing(leaves):
            return []
        if not (pair.is_leaked or splice.SAFE.fullmatch(unseal(pair.old))):
            return [f"cannot write {self.path}: the present value has characters that must be quoted to be put back"]
        if not is_telling(pair.old) and not self.known.is_own:
            return [f"cannot write {self.path}: the present value is too short to be told from other words"]
        return writable.refusals(self.path) + (self.reload.refusals(pair) if self.reload else [])

    def holds(self, pair: Pair) -> Holds:
        try:
            data = files.whole(self.path)
        except PlaceError:
            # What we may not read, its client may not either.
            return Holds.UNKNOWN if files.exists(self.path) and not self.known.is_implied else Holds.NEITHER
        asked, holds = self._proven.get(files.digest(data), (None, Holds.UNKNOWN))
        if asked is pair:
            return holds
        try:
            return self._holds(self._leaves(data), pair)
        except PlaceError:
            values = (pair.old, pair.new, *pair.stale)
            may_hold = self.key.encode() in data or any(unseal(value) in data for value in values)
            return Holds.UNKNOWN if may_hold or not self.known.is_implied else Holds.NEITHER

    def put(self, goal: Value, pair: Pair) -> str:
        if not files.exists(self.path):
            raise StrangerError(f"cannot write {self.path}: no such file")
        done = _Ready(b"")

        def edit(data: bytes) -> bytes:
            nonlocal done
            done = self._ready.get((goal, files.digest(data))) or self._worked_out(data, goal, pair)
            if done.opens:
                private.make_private(self.path)
            return done.data

        wrote = files.update(self.path, edit, in_place=self.in_place)
        data = files.look(self.path).data
        holds = done.holds if data == done.data else self._holds(self._leaves(data), pair)
        if not self._serves(holds, goal):
            fault = StrangerError if holds is Holds.NEITHER else PlaceError
            raise fault(f"cannot write {self.path}: it does not hold the {goal} value after it")
        self._proven[files.digest(data)] = pair, holds
        return done.said if wrote else ALREADY

    def prepare(self, goal: Value, pair: Pair) -> None:
        data = files.whole(self.path)
        ready = self._worked_out(data, goal, pair)
        if not self._serves(ready.holds, goal):
            raise PlaceError(f"cannot write {self.path}: it would not hold the {goal} value after it")
        self._ready.clear()
        self._ready[goal, files.digest(data)] = ready

    def after(self, goal: Value, pair: Pair) -> str:
        if self.reload and (why := self.reload.fault(goal)):
            raise PlaceError(f"cannot reload {self.path}: {why}; run it by hand: {shlex.join(self.reload.argv)}")
        return self.known.todo

    def shows(self) -> list[Secret]:
        """What stands where the key belongs; else every word in it that is long and odd enough to be a key."""
        try:
            leaves = self._leaves(files.whole(self.path))
        except PlaceError:
            return []
        if self.known.is_own:
            return [Secret(_value(leaf)) for leaf in self._own(leaves) if not self._refers(leaf)]
        words = {word for leaf in leaves if leaf.key not in NEVER for word in splice.words(leaf)}
        return [secret for secret in map(Secret, sorted(words)) if is_telling(secret)]

    def broken(self, pair: Pair) -> list[tuple[str, str]]:
        """Every reference to the key that its client sends as it is: the leaf's path, as it may be shown, and the form
        that the reference has. Writes nothing; a file that cannot be read has none."""
        try:
            leaves = self._leaves(files.whole(self.path))
        except PlaceError:
            return []
        return [(self._shown(leaf, pair), form) for leaf, form in self._broken(leaves)]

    def follows(self) -> bool:
        """Whether its client asks us for the key again and again, and so takes up another one by itself."""
        try:
            leaves = self._leaves(files.look(self.path).data)
        except PlaceError:
            return False
        is_asked_once = Form.COMMAND in (self.known.resolves or ())
        return references.asks_us(leaves) and not is_asked_once and not self._has_variable(leaves)

    def changes(self, pair: Pair) -> list[Change]:
        data = files.whole(self.path)
        leaves = self._leaves(data)
        self._spliced(data, leaves, Value.NEW, pair)  # a splice that would be refused is found here
        changes = [self._change(token, data, pair) for token in self._stale(leaves, Value.NEW, pair)]
        if left := splice.raw_hits(data, leaves, unseal(pair.old)):
            text = f"{left} more in comments" + ("" if self.raw else " or names, left as they are")
            changes.append(Change(text=text, by_hand=not self.raw))
        if self.reload:
            changes.append(Change(text=f"runs {self.reload.argv[0]}, which makes its client read it again"))
        later = self.known.todo
        if self.format == "dotenv" and not self.reload:
            later = later or "a program that has read it keeps the old key until it is started again"
        return changes + ([Change(text=later, by_hand=True)] if later else [])

    def inputs(self) -> list[Path]:
        return [self.path]

    def _change(self, token: Token, data: bytes, pair: Pair) -> Change:
        at = splice.position(data, token.start)
        return Change(self._shown(token.leaf, pair), *at, token.start, token.end, len(unseal(pair.new)))

    def _shown(self, leaf: Leaf, pair: Pair) -> str:
        return shown_path(leaf.path, lambda word: is_told(word.encode(), pair))

    def _leaves(self, data: bytes) -> tuple[Leaf, ...]:
        try:
            return readers.of(self.format)(data)
        except PlaceError as error:
            raise PlaceError(f"cannot read {self.path}: {error}") from None

    def _own(self, leaves: Sequence[Leaf]) -> tuple[Leaf, ...]:
        """The leaves that are the key for one of our gateways, and may be written over."""
        return self._chosen(leaves, self.known.at, is_sure=True)

    def _chosen(self, leaves: Sequence[Leaf], at: Sequence[str], *, is_sure: bool = False) -> tuple[Leaf, ...]:
        beside = self.known.beside if self.known.gateways or is_sure else ""
        found = paths.chosen(leaves, at, beside, self.known.gateways, is_sure=is_sure) if at else ()
        return tuple(leaf for leaf in found if leaf.key not in NEVER)

    def _broken(self, leaves: Sequence[Leaf]) -> list[tuple[Leaf, str]]:
        known = self.known.resolves
        seen = [(leaf, form) for leaf in self._own(leaves) for form in references.found(leaf.text, self.key)]
        return [] if known is None else [(leaf, form) for leaf, form in seen if form not in known]

    def _ailing(self, leaves: Sequence[Leaf]) -> list[Token]:
        """What is broken, where a repair was asked to heal that."""
        broken = self._broken(leaves) if self.known.heals else []
        spans = [(leaf, span) for leaf, form in broken for span in references.spans(leaf.text, self.key, form)]
        return [splice.part(leaf, *span) for leaf, span in spans]

    def _refers(self, leaf: Leaf) -> bool:
        return bool(references.found(leaf.text, self.key)) or references.prints_key(leaf.text)

    def _is_referring(self, leaves: Sequence[Leaf]) -> bool:
        """Whether its client has the key from the variable, or asks us for it."""
        return self._has_variable(leaves) or references.asks_us(leaves)

    def _has_variable(self, leaves: Sequence[Leaf]) -> bool:
        mine = self._chosen(leaves, self.known.at) if self.known.at else leaves
        named = self._chosen(leaves, self.known.names)
        is_named = any(leaf.text == self.key.encode() for leaf in named)
        return is_named or any(references.found(leaf.text, self.key) for leaf in mine)

    def _serves(self, holds: Holds, goal: Value) -> bool:
        """Whether that is the goal; what was healed may refer to it."""
        return holds is Holds(goal) or (self.known.heals and holds is Holds.REFERS)

    def _holds(self, leaves: Sequence[Leaf], pair: Pair) -> Holds:
        old = bool(self._stale(leaves, Value.NEW, pair) or self._ailing(leaves))
        seen = Holds.seen(old=old, new=bool(self._tokens(leaves, pair.new, pair)))
        if self.known.is_own and not self._is_known(leaves, pair):
            return Holds.NEITHER
        return Holds.REFERS if seen is Holds.NEITHER and self._is_referring(leaves) else seen

    def _is_known(self, leaves: Sequence[Leaf], pair: Pair) -> bool:
        """Whether there is a place for the key, and each holds a value that is known, or refers to it."""
        own = self._own(leaves)
        values = (pair.new, *pair.named(Value.NEW))
        return bool(own) and all(
            self._refers(leaf) or any(is_same(value, _value(leaf)) for value in values) for leaf in own
        )

    def _tokens(self, leaves: Sequence[Leaf], secret: Secret, pair: Pair) -> tuple[Token, ...]:
        """Where the value stands, but for keys that merely hold the same: a salt, another of the file's secrets. One
        too short to be told from other words stands only where the key belongs."""
        if self.known.is_own and not is_telling(secret):
            return self._whole(leaves, secret)
        others = NEVER.keys() | {key for key, sibling in pair.siblings.items() if are_same(sibling, secret)}
        tokens = splice.tokens(leaves, unseal(secret))
        return tuple(token for token in tokens if others.isdisjoint((token.key, token.leaf.key)))

    def _whole(self, leaves: Sequence[Leaf], secret: Secret) -> tuple[Token, ...]:
        """The leaves where the key belongs that are this value, be it none."""
        own = [leaf for leaf in self._own(leaves) if is_same(secret, _value(leaf))]
        return tuple(splice.tokens([leaf], value)[0] if (value := _value(leaf)) else splice.whole(leaf) for leaf in own)

    def _stale(self, leaves: Sequence[Leaf], goal: Value, pair: Pair) -> list[Token]:
        """What a put of the goal replaces, in the order of the file."""
        tokens = [token for one in pair.others(goal) for token in self._tokens(leaves, one, pair)]
        if self.known.is_own:
            tokens += [token for one in pair.named(goal) for token in self._whole(leaves, one)]
        return sorted({token.start: token for token in tokens}.values(), key=lambda token: token.start)

    def _worked_out(self, data: bytes, goal: Value, pair: Pair) -> _Ready:
        """What a put makes of these bytes: read once before it, and once after it."""
        done, leaves = self._spliced(data, self._leaves(data), goal, pair)
        left = splice.raw_hits(done, leaves, unseal(pair[goal.other]))
        said = f"written; {left} more in comments or names, left" if left else "written"
        opens = unseal(pair[goal]) in done and not any(unseal(one) in data for one in (pair[goal], *pair.others(goal)))
        return _Ready(done, self._holds(leaves, pair), said, opens)

    def _spliced(self, data: bytes, leaves: Sequence[Leaf], goal: Value, pair: Pair) -> tuple[bytes, Sequence[Leaf]]:
        read = readers.of(self.format)
        others = pair.others(goal) if self.raw else ()
        spans = [span for one in others for span in splice.raw_tokens(data, leaves, unseal(one))]
        stale = self._stale(leaves, goal, pair)
        done = splice.replaced(read, data, leaves, stale, unseal(pair[goal]), spans)
        ailing = self._ailing(done[1]) if self.known.heals else []
        works = self.known.heal.replace("NAME", self.key).encode() or unseal(pair[goal])
        return splice.replaced(read, *done, ailing, works) if ailing else done


def _value(leaf: Leaf) -> bytes:
    """What a leaf says that is a key: all of it, but for blanks and the scheme of a header."""
    text = leaf.text.strip()
    return text[len(_SCHEME) :].lstrip() if text[: len(_SCHEME)].lower() == _SCHEME else text
