"""Where the key, or a reference to it, may stand on this machine, put together for `clients discover`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from keyrotor import source
from keyrotor.boundary import generate
from keyrotor.boundary.plaintext import is_telling, redacted
from keyrotor.boundary.process import environment, found
from keyrotor.core.discovered import Holder, Hunted, may_be_written
from keyrotor.core.model import Playbook, Row, printable
from keyrotor.errors import PlaceError
from keyrotor.looks import opaque
from keyrotor.looks.hunting_ground import HuntingGround
from keyrotor.looks.mentions import Said, Sought
from keyrotor.looks.whose import Owner, Whose
from keyrotor.secret import Pair, Secret
from keyrotor.world.parts import Parts

# What nobody reads as settings: histories, logs, and what editors and programs leave.
_STRAY = re.compile(r".*(_history|\.log(\.\d+)?|~|\.(bak|orig|old|save|swp|swo)|\.tmp-[^/]*)|\.nfs.*")
_NIX = "/nix/store/"
_SHORT = "the present value is too short to be told from other words: only references to it were looked for"


def hunt(
    parts: Parts,
    book: Playbook,
    rows: Sequence[Row],
    values: Mapping[str, Secret] | None,
    former: Callable[[Secret], str] | None,
    roots: Sequence[Path],
) -> Hunted:
    """Every file that holds the key or refers to it."""
    known = source.Reader(Path(book.path), parts.env).known
    gateways = [place.options["url"] for place in book.places if place.kind == "litellm"]
    siblings = dict(values or {})
    present = siblings.pop(book.source.key, None)
    whose, hunter = Whose(rows, known), _Hunter(parts, book, present, siblings)
    sought = Sought(book.source.key, present, siblings, former, gateways)
    ground = HuntingGround(list(hunter.ours()), parts.stop.raise_if_asked)
    files = chain(ground.known(whose.paths), *(ground.below(root) for root in roots))
    holders = []
    for path, data in files:
        parts.stop.raise_if_asked()
        if holder := hunter.holder(path, data, whose.owner(path), sought):
            holders.append(holder)
    named = {place.kind for place in book.places}
    return Hunted(
        tuple(hunter.noted(holders)),
        tuple(kind for kind in opaque.naming(gateways, known) if kind not in named),
        tuple(kind for kind in opaque.in_use(known) if kind not in named),
        dict(ground.skipped),
        tuple(map(hunter.shown, ground.unreadable)),
        _SHORT if present is not None and not is_telling(present) else "",
    )


class _Hunter:
    """Judges one file after the other."""

    def __init__(self, parts: Parts, book: Playbook, present: Secret | None, siblings: Mapping[str, Secret]) -> None:
        self._parts, self._book = parts, book
        self._home = parts.env.get("HOME", os.path.expanduser("~")).rstrip("/")
        decoy = Secret(generate.bogus_key())
        self._pair = Pair(decoy if present is None else present, decoy, siblings)
        self._real: dict[str, str] = {}  # the real paths of what holds a value, by how they are shown

    def ours(self) -> Iterator[Path]:
        """What is the playbook's own, or keyrotor's, and no client."""
        yield from (Path(place.options["path"]) for place in self._book.places if place.kind == "env-file")
        config = self._parts.env.get("XDG_CONFIG_HOME") or os.path.join(self._home, ".config")
        yield from (Path(self._book.source.file), Path(self._book.path), self._parts.state, Path(config) / "keyrotor")

    def holder(self, path: str, data: bytes, owner: Owner, sought: Sought) -> Holder | None:
        """What this file says of the key; None for nothing."""
        said = sought.said_by(data, owner.format, owner.file or {})
        if said.fault and owner.file is None:  # its name said what it is not
            owner = replace(owner, format="text")
            said = sought.said_by(data, owner.format, {})
        if said.is_nothing:
            return None
        written = self._written(path)
        if said.present or said.former:
            self._real[self.shown(path)] = os.path.realpath(path)
        hindrance = "" if owner.row else _hindrance(path, written, said)
        return Holder(
            self.shown(path),
            written,
            owner.kind,
            owner.format,
            owner.is_known,
            said.present,
            said.former,
            said.loose,
            said.refers,
            said.broken,
            owner.row,
            hindrance,
            tuple(_notes(owner, said, hindrance, self._book.name)),
        )

    def noted(self, holders: Sequence[Holder]) -> Iterator[Holder]:
        """The same, told who else has a hand in the files that hold a value."""
        tracked = self._parts.repository(Path(self._book.path)).tracked(map(Path, self._real.values()))
        has_chezmoi = bool(self._real) and found("chezmoi", self._parts.env) is not None
        for holder in holders:
            self._parts.stop.raise_if_asked()
            real = self._real.get(holder.path, "")
            origin = self._origin(real) if real and has_chezmoi else ""
            more = []
            if real and Path(real) in tracked:
                more.append("git tracks it: let it refer to the variable, so that no commit takes the key along")
            if origin:
                more.append(f"chezmoi makes it from {self.shown(origin)}, and would bring the former key back")
            yield replace(holder, notes=(*holder.notes, *more))

    def shown(self, path: str) -> str:
        """A path without what would garble a terminal, or show a key."""
        return printable(redacted(os.fsencode(path), self._pair).decode(errors="replace"))

    def _written(self, path: str) -> str:
        """The path as a playbook says it; "" where it cannot, or would hold a key."""
        if not may_be_written(path) or redacted(os.fsencode(path), self._pair) != os.fsencode(path):
            return ""
        if path.startswith(f"{self._book.source.project}/"):
            inner = os.path.relpath(path, self._book.source.project)
            return path if inner.startswith("~") else inner
        return f"~{path[len(self._home) :]}" if self._home and path.startswith(f"{self._home}/") else path

    def _origin(self, path: str) -> str:
        """The file from which chezmoi makes this one; "" where it does not."""
        env = environment(self._parts.env, prefixes=("CHEZMOI_",))
        try:
            done = self._parts.processes.run(["chezmoi", "source-path", path], env=env, within=10.0)
        except PlaceError:
            return ""
        return "" if done.code else os.fsdecode(done.out.strip())


def _hindrance(path: str, written: str, said: Said) -> str:
    if os.path.realpath(path).startswith(_NIX):
        return "nix makes it, and nobody can write it: change what it is made from"
    if _STRAY.fullmatch(os.path.basename(path)):
        return "no program reads its settings there: take the key out of it"
    if not written:
        return "its path cannot be written in a playbook"
    return f"{said.fault}: mend it first" if said.fault else ""


def _notes(owner: Owner, said: Said, hindrance: str, name: str) -> Iterator[str]:
    repair = f"keyrotor repair {name}" if owner.row else f"add it first, then: keyrotor repair {name}"
    if said.fault and owner.row:
        yield f"cannot be read as {owner.format}: {said.fault}"
    if said.loose:
        yield "what stands in comments or names is left there, unless its place says raw = true"
    if owner.kind == "direnv" and (said.present or said.former):
        yield "keyrotor never edits it: let it say `dotenv FILE`, and the key stand in that file"
    elif said.former > said.loose and not hindrance:
        yield f"{repair}  (puts the present key in the former one's stead, in every place)"
    if said.broken and not hindrance:
        yield f"{repair} --heal  (puts what its program understands)"
