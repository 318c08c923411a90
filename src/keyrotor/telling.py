"""The use case of telling people how a command ended: the one that has just ended, or a service that failed.

Rules:
1. Who cannot be told changes nothing of what a command came to; it is said in a note.
2. Nobody is told of what a person sees who has typed the command: a mistake in it, another run that holds the lock. But
   where nobody has typed it, which is in a service of systemd's, somebody hears of every end that is not as it was
   meant.
3. The playbook is read as far as it can be: that it is broken is to reach somebody, too.
4. What the unit of OnFailure= tells (`failed`) is what the command could not tell itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from keyrotor import addressees, console, shelf, source
from keyrotor.core import notice
from keyrotor.core.addressee import Addressee
from keyrotor.core.model import Outcome, Source
from keyrotor.core.notice import Notice, Scene
from keyrotor.core.report import Report
from keyrotor.errors import (
    BusyError,
    Exit,
    InterruptedRun,
    JournalError,
    KeyrotorError,
    PlaceError,
    PlaybookError,
    UsageError,
    internal,
)
from keyrotor.journal import Journal
from keyrotor.ports import World

FOLDER = "told"  # in the state folder: of which start of a service somebody has heard


class Post(Protocol):
    def send(self, addressee: Addressee, notice: Notice) -> None:
        """Tell this one, within its time. Raises PlaceError, and InterruptedRun where somebody asks us to stop."""


class Ground(World, Protocol):
    """What telling needs of the world besides."""

    def post(self, source: Source | None) -> Post:
        """What reaches people; `source` is where those addresses stand that are secrets."""

    def host(self) -> str:
        """What this machine is called."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The command that has ended."""

    verb: str  # as in "cannot rotate"
    name: str | None  # the playbook, as it was typed
    by_run: bool = False  # the run says which playbook it is
    is_alone: bool = False  # nobody has typed it


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one addressee's notice."""

    addressee: Addressee
    fault: str = ""  # why it has not arrived
    seconds: float = 0.0
    is_wanted: bool = True  # whether it is told of such things at all

    @property
    def state(self) -> str:
        return "missed" if self.fault else "told" if self.is_wanted else "left-out"

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.addressee.kind,
            "label": self.addressee.label,
            "on": [str(each) for each in self.addressee.on],
            "state": self.state,
            "fault": self.fault,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Known:
    """Whom a playbook names, as far as it can be read."""

    name: str
    addressees: tuple[Addressee, ...]
    source: Source | None

    def address_of(self, addressee: Addressee) -> str:
        """What two have in common that are one. With a key's name in it the encrypted file belongs to it."""
        names_key = addressee.options.get("key")
        return repr((addressee.label, addressee.options, self.source if names_key else None))


def tell(world: Ground, to: Iterable[Addressee], notice: Notice, source: Source | None) -> list[Told]:
    """Tell those of them who want to hear of it. Raises InterruptedRun, and nothing else; takes no longer than their
    `within` together."""
    post = world.post(source)
    return [_sent(post, each, notice) for each in to if each.wants(notice.occasions)]


def scene(world: Ground, playbook: str, key: str = "") -> Scene:
    """This machine, now."""
    return Scene(world.host(), world.now().isoformat(), playbook, key)


def after(world: Ground, asked: Asked, ended: Report | Exception) -> list[str]:
    """Tell of a command that has ended; a note for each one who could not be told."""
    if not _is_news(asked, ended):
        return []
    report = ended if isinstance(ended, Report) else console.failed(_ours(ended))
    path = _path_of(world, asked, report.run)
    known = read(path, world.env) if path else None
    if path is None or known is None or not known.addressees:
        return []
    lines = console.last_word(report) if isinstance(ended, Report) else _lines(report)
    told = _told(world, known, notice.of_report(_scene_of(world, known), asked.verb, report, lines))
    notes = [each.fault for each in told if each.fault]
    if asked.is_alone and report.exit is not Exit.DONE and len(notes) < max(1, len(told)):
        notes += _remembered(world, path)
    return notes


def failed(world: Ground, name: str | None, monitored: Mapping[str, str]) -> tuple[Known, list[Told]]:
    """Tell of a service that failed, unless it has told that itself. Raises UsageError where there is no such
    playbook."""
    path = shelf.find(name, world.folder, world.env)
    known, invocation = read(path, world.env), monitored.get("MONITOR_INVOCATION_ID", "")
    if invocation and world.is_still(_memory(world, path), invocation.encode()):
        return known, []
    owed, run, is_stuck = _owed(world, known.source)
    said = notice.of_fate(_scene_of(world, known), monitored, owed, run, is_stuck=is_stuck)
    return known, _told(world, known, said)


def tested(world: Ground, known: Known) -> list[Told]:
    """Send everybody a notice that only shows that it arrives."""
    return _told(world, known, notice.of_test(_scene_of(world, known)))


def named(world: Ground, name: str | None) -> Known:
    """Whom the playbook names, be it an incident's. Raises PlaybookError, UsageError."""
    from keyrotor import incident_playbook, playbook

    path = shelf.find(name, world.folder, world.env)
    if shelf.is_incident(path):
        response = incident_playbook.load(path, world.env)
        return Known(response.name, response.notify, response.books[0].source if response.books else None)
    book = playbook.load(path, world.env)
    return Known(book.name, book.notify, book.source)


def read(path: Path, env: Mapping[str, str]) -> Known:
    """Whom a playbook names, that may have an error in it: those of its [[notify]] that have none."""
    try:
        table = source.parsed(path)  # of an incident, too
    except PlaybookError:
        return Known(path.stem, (), None)
    try:
        found = source.load(path, env)
    except PlaybookError:
        found = None
    name = table.get("name")
    to = addressees.readable(table.get("notify"), found.key if found else "")
    return Known(name if isinstance(name, str) else path.stem, to, found)


def _is_news(asked: Asked, ended: Report | Exception) -> bool:
    if isinstance(ended, Report):
        return ended.outcome not in (Outcome.NOT_DUE, Outcome.NOTHING_CHANGED)
    return asked.is_alone or not isinstance(ended, UsageError | BusyError | InterruptedRun)


def _ours(error: Exception) -> KeyrotorError:
    if isinstance(error, InterruptedRun):
        return KeyrotorError(f"interrupted by {error} before the first effect; nothing was changed")
    return error if isinstance(error, KeyrotorError) else internal(error)


def _lines(report: Report) -> list[str]:
    """What an error leaves on the screen."""
    unchanged = ["now: nothing was changed"] if report.outcome is Outcome.REFUSED else []
    return [report.reason, *unchanged, *([f"hint: {report.hint}"] if report.hint else [])]


def _path_of(world: Ground, asked: Asked, run: str) -> Path | None:
    """The command's playbook; None where it is not to be found."""
    try:
        if not asked.by_run:
            return shelf.find(asked.name, world.folder, world.env)
        if not run:
            return None
        with Journal.peek(world.state) as journal:
            plan = journal.account(run).run.plan
        return shelf.find(plan.playbook, Path(plan.source.project), world.env)
    except (UsageError, JournalError):
        return None


def _told(world: Ground, known: Known, said: Notice) -> list[Told]:
    """Everybody's, those who are not told of such things included. The first signal is only answered meanwhile."""
    world.stop.stand_firm("telling how it ended")
    post, told = world.post(known.source), []
    for each in known.addressees:
        try:
            told.append(_sent(post, each, said) if each.wants(said.occasions) else Told(each, is_wanted=False))
        except InterruptedRun as asked:
            told.append(Told(each, f"cannot tell {each.label}: interrupted by {asked}"))
            break
    return told


def _sent(post: Post, addressee: Addressee, said: Notice) -> Told:
    began, fault = time.monotonic(), ""
    try:
        post.send(addressee, said)
    except PlaceError as error:
        fault = f"{error}{f' (hint: {error.hint})' if error.hint else ''}"
    return Told(addressee, fault, time.monotonic() - began)


def _scene_of(world: Ground, known: Known) -> Scene:
    return scene(world, known.name, known.source.key if known.source else "")


def _owed(world: Ground, source: Source | None) -> tuple[Sequence[str], str, bool]:
    """What the record says of the runs of this secret that are not finished, the first one's id, and whether it is
    stuck."""
    from keyrotor import chronicle
    from keyrotor.core import decide

    try:
        with Journal.peek(world.state) as journal:
            owed = journal.owed(Path(source.file)) if source else []
    except JournalError as error:
        return [str(error)], "", False
    lines = chronicle.status(owed, world.now()).lines() if owed else ()
    return lines, owed[0].id if owed else "", bool(owed) and decide.is_stuck(owed[0].run)


def _memory(world: Ground, path: Path) -> Path:
    return world.state / FOLDER / path.name


def _remembered(world: Ground, path: Path) -> list[str]:
    """Let `failed` know that somebody has heard of it."""
    try:
        world.make_folder(world.state / FOLDER)
        world.save(_memory(world, path), world.env.get("INVOCATION_ID", "").encode(), lambda _: True)
    except (PlaceError, UsageError) as error:
        return [f"{error}; the timer's OnFailure= may tell it once more"]
    return []
