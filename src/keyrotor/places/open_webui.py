"""Open WebUI's connections to the gateway, by its admin API.

It keeps a key beside each address: in a list of connections, and once each for embeddings, speech and images. A key is
changed where it is the other value, whole, and its address is the gateway's; nothing else of a document changes, which
is read again right before it is written, for it can be written whole only. The other value at an address that is not
the gateway's is refused: what stands there is sent there. What the server says is shown to nobody as it is: of an
address scheme, host and port, of a name what cannot be a value, and nothing that would steer a terminal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from keyrotor.boundary.api import Api
from keyrotor.boundary.plaintext import is_same, redacted, unseal
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.formats.paths import is_at
from keyrotor.secret import Pair, Secret

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Document:
    """What one pair of GET and POST reads and writes."""

    read: str
    write: str
    keys: Sequence[tuple[Steps, Steps]]  # where a key stands, and its address; two lists go side by side
    wanted: tuple[str, str] | None = (
        None  # a member, and what it must say, else the server neither uses nor takes a key
    )


_SPEECH = [((part, "OPENAI_API_KEY"), (part, "OPENAI_API_BASE_URL")) for part in ("stt", "tts", "realtime")]
_IMAGES = [((f"{part}_API_KEY",), (f"{part}_API_BASE_URL",)) for part in ("IMAGES_OPENAI", "IMAGES_EDIT_OPENAI")]
_DOCUMENTS = (
    _Document("/openai/config", "/openai/config/update", [(("OPENAI_API_KEYS",), ("OPENAI_API_BASE_URLS",))]),
    _Document(
        "/api/v1/retrieval/embedding",
        "/api/v1/retrieval/embedding/update",
        [(("openai_config", "key"), ("openai_config", "url"))],
        ("RAG_EMBEDDING_ENGINE", "openai"),
    ),
    _Document("/api/v1/audio/config", "/api/v1/audio/config/update", _SPEECH),
    _Document("/api/v1/images/config", "/api/v1/images/config/update", _IMAGES),
)


@dataclass(frozen=True, slots=True)
class _Key:
    """One key in a document."""

    steps: Steps
    value: bytes
    address: str


@dataclass(frozen=True, slots=True)
class OpenWebui:
    label: str
    api: Api
    gateways: Sequence[str]  # every address by which it may know the gateway

    def check(self, pair: Pair) -> list[str]:
        try:
            told = [(document, self._read(document, pair)) for document in _DOCUMENTS]
        except PlaceError as error:
            return [str(error)]
        return [reason for document, data in told for reason in self._strays(document, data, pair)]

    def holds(self, pair: Pair) -> Holds:
        try:
            keys = [key for document in _DOCUMENTS for key in self._ours(document, self._read(document, pair))]
        except PlaceError:
            return Holds.UNKNOWN
        old = any(_is_any(pair.others(Value.NEW), key.value) for key in keys)
        return Holds.seen(old=old, new=any(is_same(pair.new, key.value) for key in keys))

    def put(self, goal: Value, pair: Pair) -> str:
        written = sum(self._put(document, goal, pair) for document in _DOCUMENTS)
        if (holds := self.holds(pair)) is Holds.NEITHER:
            raise StrangerError(f"cannot write {self.label}: somebody has changed it: it holds neither value")
        if holds is not Holds(goal):
            raise PlaceError(f"cannot write {self.label}: what is read back does not hold the {goal} value")
        return f"written, {written} {'key' if written == 1 else 'keys'}" if written else ALREADY

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return ""

    def shows(self) -> list[Secret]:
        return []

    def changes(self, pair: Pair) -> list[Change]:
        told = [(document, self._read(document, pair)) for document in _DOCUMENTS]
        keys = [(document, key) for document, data in told for key in self._stale(document, data, Value.NEW, pair)]
        return [
            Change(text=f"{document.read}: {_spelt(key.steps, pair)}, the key for {_shown(key.address, pair)}")
            for document, key in keys
        ]

    def inputs(self) -> list[Path]:
        return []

    def _read(self, document: _Document, pair: Pair) -> Any:
        """What the server says; None where this version has no such document. Raises PlaceError."""
        reply = self.api.ask("GET", document.read, pair)
        is_first = document is _DOCUMENTS[0]
        if not is_first and (reply.is_absent or not isinstance(reply.said, dict)):
            return None  # an unknown path is answered with a page
        if not isinstance(reply.said, dict) or (is_first and "OPENAI_API_KEYS" not in reply.said):
            raise PlaceError(f"cannot ask {self.api.base}{document.read}: what it answers is not Open WebUI's")
        return reply.said

    def _put(self, document: _Document, goal: Value, pair: Pair) -> int:
        """How many keys were changed."""
        data = self._read(document, pair)
        keys = self._stale(document, data, goal, pair)
        if not keys:
            return 0
        changed = copy.deepcopy(data)
        for key in keys:
            _at(changed, key.steps[:-1])[key.steps[-1]] = unseal(pair[goal]).decode()
        if self.api.ask("POST", document.write, pair, changed).is_absent:
            raise PlaceError(f"cannot write {self.label}: {document.write} is not there")
        return len(keys)

    def _stale(self, document: _Document, data: Any, goal: Value, pair: Pair) -> list[_Key]:
        return [key for key in self._ours(document, data) if _is_any(pair.others(goal), key.value)]

    def _ours(self, document: _Document, data: Any) -> list[_Key]:
        """The keys for the gateway that the server uses; another it would not let us change."""
        is_used = document.wanted is None or (data and data.get(document.wanted[0]) == document.wanted[1])
        return [key for key in _keys(document, data) if is_used and is_at(key.address, self.gateways)]

    def _strays(self, document: _Document, data: Any, pair: Pair) -> Iterator[str]:
        """Where the present value stands besides; but for a key that the server keeps and does not use."""
        ours = {key.steps for key in self._ours(document, data)}
        beside = {key.steps: key.address for key in _keys(document, data)}
        for steps, text in _texts(data, ()):
            if steps in ours or unseal(pair.old) not in _bytes(text):
                continue
            where = f"cannot write {self.label}: {_spelt(steps, pair)} of {document.read} holds the key, too"
            if steps not in beside:
                yield f"{where}, where none is looked for: take it out"
            elif not is_at(beside[steps], self.gateways):
                address = _shown(beside[steps], pair)
                yield f"{where}, for {address}: if that is the gateway, add it to `gateways`; else take it out"


def _keys(document: _Document, data: Any) -> Iterator[_Key]:
    """Every key with its address, as far as the document has both."""
    for at, beside in document.keys:
        keys, addresses = _at(data, at), _at(data, beside)
        if isinstance(keys, list) and isinstance(addresses, list):
            for index, (key, address) in enumerate(zip(keys, addresses, strict=False)):
                yield _Key((*at, index), _bytes(str(key)), str(address))
        elif isinstance(keys, str) and isinstance(addresses, str):
            yield _Key(at, _bytes(keys), addresses)


def _at(data: Any, steps: Steps) -> Any:
    """What stands there; None where nothing does."""
    for step in steps:
        data = data.get(step) if isinstance(data, dict) else data[step] if isinstance(step, int) else None
    return data


def _texts(data: Any, steps: Steps) -> Iterator[tuple[Steps, str]]:
    """Every text in a document, and where it stands."""
    if isinstance(data, str):
        yield steps, data
    members: Mapping[Any, Any] = (
        data if isinstance(data, dict) else dict(enumerate(data)) if isinstance(data, list) else {}
    )
    for step, member in members.items():
        yield from _texts(member, (*steps, step))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # JSON can say half a character


def _spelt(steps: Steps, pair: Pair) -> str:
    return _plain(".".join(str(step) for step in steps), pair)


def _shown(address: str, pair: Pair) -> str:
    """Scheme, host and port of an address; there may be a password or a key in the rest of it."""
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    return _plain(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", pair) if is_one else "what is no address"


def _plain(text: str, pair: Pair) -> str:
    """Without a value, and with the code of each sign that would steer a terminal."""
    told = redacted(_bytes(text), pair).decode(errors="replace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in told)


def _is_any(secrets: Sequence[Secret], value: bytes) -> bool:
    return any(is_same(secret, value) for secret in secrets)
