"""A notice on the desktop of whoever runs the command, by `notify-send`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from keyrotor.boundary.process import Processes
from keyrotor.core.addressee import Occasion
from keyrotor.core.notice import Notice
from keyrotor.errors import PlaceError

LINES, LONG = 8, 240  # lines, and characters of each: a window shows few; the rest is on the screen and in the record
_URGENT: Mapping[Occasion, str] = {
    Occasion.SUCCESS: "low",
    Occasion.TEST: "normal",
    Occasion.TASKS: "normal",
}
_WHY = (  # of what libnotify says, where it is in English
    ("was not provided by any .service files", "nobody shows notices on this session's bus"),
    ("ServiceUnknown", "nobody shows notices on this session's bus"),
    ("Could not connect", "the session's bus does not answer"),
    ("onnection refused", "the session's bus does not answer"),
)


@dataclass(frozen=True, slots=True)
class Desktop:
    within: float
    processes: Processes
    env: Mapping[str, str] = field(repr=False)  # with the session's bus in it, where there is one

    def send(self, notice: Notice) -> None:
        """Show it. Raises PlaceError, which says why it cannot be shown."""
        if not self.env.get("DBUS_SESSION_BUS_ADDRESS"):
            raise PlaceError("there is no session bus in this environment")
        urgency = f"--urgency={_URGENT.get(notice.event, 'critical')}"
        argv = ["notify-send", "--app-name=keyrotor", urgency, "--", _plain(notice.title), _shown(notice)]
        done = self.processes.run(argv, env={**self.env, "LC_ALL": "C.UTF-8"}, within=self.within)
        if done.code:
            said = done.err.decode(errors="replace")
            why = next((why for words, why in _WHY if words in said), f"notify-send ended with exit code {done.code}")
            raise PlaceError(why)


def _shown(notice: Notice) -> str:
    """The body as notify-send takes it: markup, in which a backslash begins an escape."""
    lines = [line for text in notice.lines for line in text.splitlines()]
    more = ["…"] if len(lines) > LINES else []
    text = "\n".join(_plain(line) for line in [*lines[:LINES], *more, notice.scene.host])
    return escape(text, quote=False).replace("\\", "\\\\")


def _plain(line: str) -> str:
    shown = line if len(line) <= LONG else f"{line[: LONG - 1]}…"
    return "".join(char if char.isprintable() else " " for char in shown)
