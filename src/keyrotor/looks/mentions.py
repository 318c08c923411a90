"""What one file says of a key: its value, a former one, a reference to its variable. Never what stands there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keyrotor.boundary.plaintext import are_same, is_telling, unseal
from keyrotor.core.client import Form
from keyrotor.core.model import NEVER
from keyrotor.errors import FormatError
from keyrotor.formats import paths, readers, references, splice
from keyrotor.secret import Secret

ASKS = "keyrotor print-key"  # shown in the place of a form: the file has a command that asks us
NAMES = "its name"  # likewise: the program is told the variable's bare name
_SHORTEST = 8  # characters of a former value: what is shorter is no key


@dataclass(frozen=True, slots=True)
class Said:
    """What was found in one file."""

    present: int = 0
    former: int = 0
    loose: int = 0  # how many of these stand outside of every value of the file
    refers: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    fault: str = ""  # why it could not be read as its format

    @property
    def is_nothing(self) -> bool:
        return not (self.present or self.former or self.refers)


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for."""

    key: str  # the variable
    present: Secret | None  # None: it is not known
    siblings: Mapping[str, Secret]  # the file's other keys: one of them may hold the same
    former: Callable[[Secret], str] | None  # the fingerprint of a former value, "" for any other; None: none is known
    gateways: Sequence[str]
    _known: set[bytes] = field(default_factory=set, repr=False)  # the former values that were found

    def said_by(self, data: bytes, format: str, file: Mapping[str, object]) -> Said:
        """What these bytes say; `file` has what is known of a client's file, if it is one."""
        values = self._values(data)
        if not self._is_worth_reading(data, values):
            return Said()
        try:
            leaves, fault = readers.of(format)(data), ""
        except FormatError as error:
            leaves, fault = (), str(error)
        values |= {word for leaf in leaves if b"\\" in data for word in splice.words(leaf) if self._is_former(word)}
        present = [unseal(self.present)] if self.present is not None and is_telling(self.present) else []
        counted = [self._count(data, leaves, value) for value in (*present, *sorted(values))]
        of_present, of_former = counted[: len(present)], counted[len(present) :]
        refers = self._forms(leaves, data if fault else b"", file)
        return Said(
            sum(inside + outside for inside, outside in of_present),
            sum(inside + outside for inside, outside in of_former),
            sum(outside for _, outside in counted),
            refers,
            self._sent_as_they_are(leaves, refers, file),
            fault,
        )

    def _is_worth_reading(self, data: bytes, formers: Iterable[bytes]) -> bool:
        """Whether there can be anything; of many thousand files hardly one is."""
        has_present = self.present is not None and unseal(self.present) in data
        return any((has_present, formers, self.key.encode() in data, b"print-key" in data, b"\\u" in data))

    def _values(self, data: bytes) -> set[bytes]:
        """The former values in it."""
        if self.former is None:
            return set()
        return {word for word in splice.words_in(data) if len(word) >= _SHORTEST and self._is_former(word)}

    def _is_former(self, word: bytes) -> bool:
        if self.former is None:
            return False
        secret = Secret(word)
        if word not in self._known and is_telling(secret) and self.former(secret):
            self._known.add(word)
        return word in self._known

    def _count(self, data: bytes, leaves: Sequence[splice.Leaf], value: bytes) -> tuple[int, int]:
        """How often the value stands in the leaves, but for those that are another key's, and outside of them."""
        others = NEVER.keys() | {key for key, secret in self.siblings.items() if are_same(secret, Secret(value))}
        tokens = splice.tokens(leaves, value)
        own = sum(others.isdisjoint((token.key, token.leaf.key)) for token in tokens)
        return own, splice.raw_hits(data, leaves, value)

    def _forms(self, leaves: Sequence[splice.Leaf], raw: bytes, file: Mapping[str, object]) -> tuple[str, ...]:
        """How it refers to the variable; in a file that cannot be read as its format, by its bytes alone."""
        texts = [leaf.text for leaf in leaves] or [raw]
        found = [form for text in texts for form in references.found(text, self.key)]
        if references.asks_us(leaves) or references.prints_key(raw):
            found.append(ASKS)
        named = paths.chosen(leaves, _texts(file, "names"), "", ())
        if any(leaf.text == self.key.encode() for leaf in named):
            found.append(NAMES)
        return tuple(dict.fromkeys(found))

    def _sent_as_they_are(
        self, leaves: Sequence[splice.Leaf], refers: Sequence[str], file: Mapping[str, object]
    ) -> tuple[str, ...]:
        """The forms in the leaves that are the client's key for a gateway of ours, and that it does not resolve."""
        resolves = file.get("resolves")
        if not isinstance(resolves, list) or not refers:
            return ()
        beside = str(file["beside"]) if self.gateways else ""
        keys = paths.chosen(leaves, _texts(file, "at"), beside, self.gateways, is_sure=True)
        forms = {form for leaf in keys for form in references.found(leaf.text, self.key)}
        if any(references.prints_key(leaf.text) for leaf in keys) and Form.COMMAND not in resolves:
            forms.add(ASKS)
        return tuple(form for form in refers if form in forms and form not in resolves)


def _texts(file: Mapping[str, object], name: str) -> list[str]:
    found = file.get(name, [])
    return [str(text) for text in found] if isinstance(found, list) else []
