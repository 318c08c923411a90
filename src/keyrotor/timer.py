"""The use cases of `timer` and `due`: a playbook's timer, installed, looked at, removed; what it asks when it wakes.

How often a key is due stands in the playbook and nowhere else: an install can change it there, by one token.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Protocol

from keyrotor import app, playbook, shelf
from keyrotor.core import due as reckoning
from keyrotor.core import plan, timing
from keyrotor.core.checkup import Line
from keyrotor.core.due import Asked, Due
from keyrotor.core.model import Act, Playbook, Row
from keyrotor.core.serving import Intent
from keyrotor.core.timing import Told, Unread, Wish
from keyrotor.errors import Exit, JournalError, KeyrotorError, PlaceError, PlaybookError, RefusedError, UsageError
from keyrotor.ports import World
from keyrotor.session import locked

HOUR = 3600.0  # seconds


class Timing(Protocol):
    """A playbook's timer. What is done was told by a look before."""

    def to_install(self) -> Intent: ...
    def install(self) -> None:
        """Put it in place and start it. Safe after nothing, after half, and twice. Raises PlaceError."""

    def next_wake(self) -> datetime | None:
        """When it wakes; None where nothing tells."""

    def with_every(self, data: bytes, every: str) -> bytes:
        """The playbook's text with another `every`, unchecked. Raises PlaceError."""

    def to_remove(self) -> Intent: ...
    def remove(self) -> None:
        """Take ours away. Safe after half. Raises PlaceError."""

    def status(self, due: Due | str) -> Sequence[Line]: ...


class Installed(Protocol):
    """A timer that an install has made, whatever became of its playbook since."""

    @property
    def unit(self) -> str: ...
    @property
    def name(self) -> str:
        """The playbook's, as far as its timer tells."""

    @property
    def playbook(self) -> str:
        """The path that it was made for; "" where nothing tells."""

    @property
    def is_gone(self) -> bool:
        """Whether nothing is there any more."""

    def to_remove(self) -> Intent: ...
    def remove(self) -> None:
        """As `Timing` has it."""


class Ground(World, Protocol):
    """A world that has timers."""

    def timing(self, book: Playbook, rows: Sequence[Row], wish: Wish) -> Timing:
        """The units of a playbook's timer, as wished for. Raises PlaceError."""

    def timers(self, wish: Wish) -> Sequence[Installed]:
        """Every timer that is there, of any playbook. Raises PlaceError."""

    def edit(self, file: Path, edited: Callable[[bytes], bytes]) -> None:
        """Make the file what `edited` makes of its bytes. Raises RefusedError, PlaceError, and what `edited` raises."""


def due(world: World, name: str | None) -> Asked:
    """Whether `rotate --if-due --resume` would do something now. Asks the record and the clock. Raises UsageError,
    JournalError."""
    book = _book(world, name)
    owed = app.owed(world, book)
    return Asked(book, owed, None if owed.waiting or owed.interrupted else app.judged(world, book))


@dataclass(frozen=True, slots=True)
class _Subject:
    """A playbook, what it will be, and its timer."""

    now: Playbook
    book: Playbook
    timing: Timing
    wish: Wish

    def intends(self, intent: Intent) -> Intent:
        """The same, with what becomes of the playbook. Raises RefusedError where it must not be."""
        intent.want_possible()
        if self.book == self.now:
            return intent
        change = f'{self.now.path}: every = "{self.now.every}" becomes every = "{self.book.every}"'
        return replace(intent, lines=(change, *intent.lines), is_none=False)

    @property
    def hints(self) -> tuple[str, str]:
        scope, name = self.wish.scope, self.wish.book
        service = self.timing.to_remove().unit.removesuffix(".timer")
        return (
            f"keyrotor doctor {name} --as-timer  (can it rotate there?)",
            f"systemctl --{scope} start {service}.service  (as if it woke now: rotates if it is due)",
        )


def to_install(world: Ground, name: str | None, wish: Wish) -> tuple[Intent, Told]:
    """What an install would do. Changes nothing. Raises what refuses it."""
    subject = _subject(world, name, wish)
    intent = subject.intends(subject.timing.to_install())
    return intent, Told(subject.book, "install", "nothing-to-do" if intent.is_none else "dry-run", intent)


def install(world: Ground, name: str | None, wish: Wish) -> Told:
    """Install the timer and start it, once it is agreed to. Raises what refuses it, before the first effect; then
    KeyrotorError."""
    agreed: Intent | None = None
    while True:  # it is asked without the lock, for an incident may need it; and again, where it has become another one
        subject = _subject(world, name, wish)
        with locked(world, Path(subject.book.source.file)):  # one at a time, as the gateway's unit
            intent = subject.intends(subject.timing.to_install())
            if intent.is_none:
                return Told(subject.book, "install", "nothing-to-do", intent, next_wake=subject.timing.next_wake())
            if intent == agreed:
                return _installed(world, subject, intent)
        if not world.screen.agrees(intent.lines, "Install now?"):
            return Told(subject.now, "install", "not-agreed", intent, exit=Exit.FAILED)
        agreed = intent


def _installed(world: Ground, subject: _Subject, intent: Intent) -> Told:
    """Do what was agreed to. Raises KeyrotorError."""
    world.stop.stand_firm("finishing the install")  # half installed helps nobody, and it takes a moment
    wish = subject.wish
    if subject.book != subject.now:
        world.edit(Path(subject.now.path), lambda data: _edited(world, subject, data, wish.every)[0])
    try:
        subject.timing.install()
    except PlaceError as error:
        again = "now: it may be half installed; the same command again finishes it"
        raise KeyrotorError(f"{error}\n{again}", hint=error.hint or wish.command("remove")) from None
    return Told(subject.book, "install", "installed", intent, subject.hints, next_wake=subject.timing.next_wake())


def to_remove(world: Ground, name: str | None, wish: Wish) -> tuple[Intent, Told]:
    """What a removal would do. Changes nothing. Raises what refuses it."""
    book, _, intent = _leaving(world, name, wish)
    return intent, Told(book, "remove", "nothing-to-do" if intent.is_none else "dry-run", intent)


def remove(world: Ground, name: str | None, wish: Wish) -> Told:
    """Take away what an install has made. Raises what refuses it, PlaceError."""
    book, units, intent = _leaving(world, name, wish)
    if intent.is_none:
        return Told(book, "remove", "nothing-to-do", intent)
    if not world.screen.agrees(intent.lines, "Remove now?"):
        return Told(book, "remove", "not-agreed", intent, exit=Exit.FAILED)
    world.stop.stand_firm("finishing the removal")
    units.remove()
    return Told(book, "remove", "removed", intent)


def _leaving(world: Ground, name: str | None, wish: Wish) -> tuple[Playbook | Unread, Timing | Installed, Intent]:
    """Whose timer is to go, the timer, and what that would do. Raises UsageError, RefusedError, PlaceError."""
    book: Playbook | Unread
    units: Timing | Installed
    if one := _stray(world, name, wish):
        book, units = Unread(one.name), one
    else:
        subject = _subject(world, name, wish)
        book, units = subject.book, subject.timing
    intent = units.to_remove()
    intent.want_possible()
    return book, units, intent


def status(world: Ground, name: str | None, wish: Wish) -> tuple[Playbook, str, Sequence[Line]]:
    """A line for each thing that makes the timer rotate, and its name. Changes nothing. Raises PlaceError."""
    if one := _stray(world, name, wish):
        said = f"cannot tell how {one.unit} stands without its playbook"
        if one.is_gone or not one.playbook:
            gone = f": {one.playbook} is gone" if one.playbook else ""
            raise UsageError(f"{said}{gone}", hint=replace(wish, book=one.unit).command("remove"))
        raise UsageError(said, hint=replace(wish, book=quote(one.playbook)).command("status"))
    subject = _subject(world, name, wish)
    try:
        asked = due(world, name)
        found: Due | str = asked.due or asked.line
    except JournalError as error:
        found = str(error)
    return subject.book, subject.timing.to_remove().unit, subject.timing.status(found)


def _stray(world: Ground, name: str | None, wish: Wish) -> Installed | None:
    """Where no such playbook is found, the timer of that name, or the one whose playbook was called so and is gone;
    None where there is such a playbook. Raises UsageError, which names the timers whose playbooks are gone."""
    try:
        shelf.find(name, world.folder, world.env)
    except UsageError as error:
        try:
            every = world.timers(wish)
            gone = [one for one in every if one.is_gone]
        except PlaceError:
            raise error from None
        path = os.path.abspath(world.folder / name) if name else ""
        named = [one for one in every if name == one.unit] or [one for one in gone if name == one.name]
        named = named or [one for one in gone if path == one.playbook]
        if named:
            return named[0]
        away = [
            f"{replace(wish, book=one.unit).command('remove')}  (made for {one.playbook}, which is gone)"
            for one in gone
        ]
        raise type(error)(str(error), hint="   or   ".join([error.hint, *away] if error.hint else away)) from None
    return None


def _subject(world: Ground, name: str | None, wish: Wish) -> _Subject:
    """Raises UsageError, RefusedError."""
    now = _book(world, name)
    rows = plan.rows(now)
    _want_scope(rows, wish)
    if wish.at and not timing.is_at(wish.at):
        raise UsageError(f"cannot read --at {wish.at}: write the time of the day as 04:00")
    if wish.every and not reckoning.is_every(wish.every):
        raise UsageError(f"cannot read --every {wish.every}; allowed: {reckoning.ALLOWED}")
    if 0 < (reckoning.seconds(wish.every) or 0) < HOUR:  # who types 1m may mean a month, as elsewhere
        why = "that is less than an hour, and each rotation restarts the gateway"
        raise UsageError(
            f"cannot take --every {wish.every}: {why}", hint="--every month  (or write it into the playbook)"
        )
    wish = replace(wish, book=quote(name or now.name))
    try:
        subject = _Subject(now, now, world.timing(now, rows, wish), wish)
        if wish.every in ("", now.every):
            return subject
        book = _edited(world, subject, Path(now.path).read_bytes(), wish.every)[1]
        return _Subject(now, book, world.timing(book, rows, wish), wish)
    except PlaceError as error:
        raise RefusedError(str(error), hint=error.hint) from None


def _book(world: World, name: str | None) -> Playbook:
    return playbook.load(shelf.find(name, world.folder, world.env), world.env)


def _want_scope(rows: Sequence[Row], wish: Wish) -> None:
    """The timer is the manager's that runs the gateway: only there are both up at the same time. Raises UsageError."""
    units = [row for row in rows if row.act is Act.RESTART]
    scopes = {str(row.options["scope"]) for row in units[:1]}
    meant = wish.scope
    if scopes - {meant}:
        hint = "leave --system out" if wish.is_system else "add --system  (as root)"
        raise UsageError(
            f"cannot use the {meant}'s systemd: {units[0].label} is a unit of the {scopes.pop()}'s", hint=hint
        )


def _edited(world: Ground, subject: _Subject, data: bytes, every: str) -> tuple[bytes, Playbook]:
    """The playbook with another `every`, as text and as what it says. Raises RefusedError where it would not be the
    same but for that."""
    path = Path(subject.now.path)
    by_hand = f'write every = "{every}" into {quote(str(path))}, and again without --every'
    try:
        made = subject.timing.with_every(data, every)
        new = playbook.load(path, world.env, made.decode())
    except (PlaceError, PlaybookError, UnicodeDecodeError) as error:
        raise RefusedError(f"cannot change `every` in {path}: {error}", hint=by_hand) from None
    if new != replace(subject.now, every=every):
        raise RefusedError(f"cannot change `every` in {path}: something else would change too", hint=by_hand)
    return made, new
