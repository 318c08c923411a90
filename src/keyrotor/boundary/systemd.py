"""systemctl, journalctl and loginctl: a unit as it is now, its restart, its last words, its user's linger.

Facts (lab.md, litellm.md 8, peers.md M14–M19): `restart` alone reads EnvironmentFile again and returns
seconds before the service answers; a unit that restarts in a loop says `active`, so its MainPID and
NRestarts are what tells; without XDG_RUNTIME_DIR there is no bus to the user's manager.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from keyrotor.boundary.plaintext import redacted
from keyrotor.boundary.process import Processes, environment
from keyrotor.boundary.unit_text import (
    MANAGED_SHOWN,
    SHOWN,
    TIMER_SHOWN,
    Managed,
    Timer,
    Unit,
    parsed,
    parsed_managed,
    parsed_timer,
)
from keyrotor.errors import PlaceError
from keyrotor.secret import Pair

FRESH = 0.25  # seconds
LOGIN_WITHIN = 5.0  # seconds; loginctl answers after some ms, and one that hangs must not keep an audit


class Systemd:
    """One manager, the user's or the system's."""

    def __init__(self, processes: Processes, env: Mapping[str, str], scope: str) -> None:
        self._processes = processes
        named = {**environment(env), "TZ": "UTC"}  # the zone that unit_text reads moments in
        self._env = with_runtime_dir(named) if scope == "user" else named
        self._scope = scope
        self._unit_path = env.get("SYSTEMD_UNIT_PATH", "")
        self._seen: dict[str, tuple[float, Unit]] = {}
        self._expected: tuple[str, ...] = ()
        self._timers: dict[str, Timer] = {}
        self._restarted: dict[str, tuple[int, float]] = {}  # the size of the log file then, and the time

    def command(self, verb: str, unit: str, *options: str) -> list[str]:
        """The argv for one verb on one unit."""
        return self._command(verb, [unit], options)

    def _command(self, verb: str, units: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        return ["systemctl", f"--{self._scope}", "--no-ask-password", *options, verb, "--", *units]

    @property
    def needs_root(self) -> bool:
        """Whether this manager's units are out of our reach: their restart, and their processes' environment."""
        return self._scope == "system" and os.geteuid() != 0

    def show(self, unit: str) -> Unit:
        """The unit as it is now. Raises PlaceError without a bus; an unknown unit is `not-found`, no error."""
        names, shown = (unit, *self._expected), list(SHOWN)
        if self._expected:
            shown = list(dict.fromkeys((*SHOWN, *TIMER_SHOWN)))
        blocks = self._shown(names, shown)
        self._timers |= {name: parsed_timer(name, block) for name, block in zip(names[1:], blocks[1:], strict=False)}
        self._expected = ()
        found = parsed(unit, blocks[0])
        self._seen[unit] = (time.monotonic(), found)
        return found

    def expect(self, names: Sequence[str]) -> None:
        """`timers` will be asked for these: the next look at a unit brings them along, which saves a call (20 ms)."""
        self._expected = tuple(names)

    def seen(self, unit: str) -> Unit:
        """The last look at the unit if it is fresh: preflight asks three times within a moment (20 ms each)."""
        at, found = self._seen.get(unit, (0.0, None))
        return found if found and time.monotonic() - at < FRESH else self.show(unit)

    def timers(self, names: Sequence[str]) -> list[Timer]:
        """These timers, or the services they wake, as they are now; one call for all of them. Raises PlaceError."""
        if all(name in self._timers for name in names):
            return [self._timers[name] for name in names]
        return [parsed_timer(name, block) for name, block in zip(names, self._shown(names, TIMER_SHOWN), strict=False)]

    def _shown(self, names: Sequence[str], properties: Sequence[str]) -> list[str]:
        """What `systemctl show` says of each, in their order."""
        out = self._run(self._command("show", names, [f"--property={','.join(properties)}"]))
        return out.decode(errors="replace").split("\n\n")

    def told(self, unit: str, properties: Sequence[str] = ()) -> str:
        """What `systemctl show` says of it, word for word, which may hold values; of these alone, if any are named.
        Raises PlaceError."""
        options = [f"--property={','.join(properties)}"] if properties else []
        return self._run(self._command("show", [unit], options)).decode(errors="surrogateescape")

    def journal(self, unit: str, since: datetime, lines: int) -> bytes:
        """The last lines that the unit has logged to the journal since then, unredacted; empty where there are none.
        Raises PlaceError where there is no journal that we may read."""
        argv = ["journalctl", f"--{self._scope}", "--no-pager", "--quiet", "--output=short-iso-precise", "--utc"]
        argv += [f"--lines={lines}", f"--since=@{since.timestamp():.0f}", f"--unit={unit}"]
        done = self._processes.run(argv, env=self._env, within=120.0)
        if done.code:
            raise PlaceError(f"cannot read the journal of {unit}: journalctl ended with exit code {done.code}")
        return done.out

    def lingers(self) -> bool | None:
        """Whether the manager outlives its user's last logout; None where that is not for logind to say, or unknown.

        logind keeps the user's manager in /run/user/UID and no other.
        """
        if self._scope != "user" or self._env.get("XDG_RUNTIME_DIR", "").rstrip("/") != own_runtime_dir():
            return None
        argv = ["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"]
        with contextlib.suppress(PlaceError):
            done = self._processes.run(argv, env=self._env, within=LOGIN_WITHIN)
            return {b"yes": True, b"no": False}.get(done.out.strip()) if done.code == 0 else None
        return None

    def restart(self, unit: str, within: float) -> None:
        """Stop and start; returns when systemd calls it started, which is before the service answers."""
        self._restarted[unit] = (_size(_log_file(self.seen(unit))), time.monotonic())
        self._seen.pop(unit, None)
        self._run(self.command("restart", unit), within)

    def reset_failed(self, unit: str) -> None:
        """Clear the start limit, so that the next start is not refused for the former ones.

        A unit that is down and that nobody refers to is not loaded, and has none: that is no error.
        """
        with contextlib.suppress(PlaceError):
            self._run(self.command("reset-failed", unit))

    def managed(self, names: Sequence[str]) -> list[Managed]:
        """These units as who installs or removes them sees them; one call. Raises PlaceError."""
        blocks = self._shown(names, MANAGED_SHOWN)
        return [parsed_managed(name, block) for name, block in zip(names, blocks, strict=False)]

    def do(self, verb: str, *units: str, options: Sequence[str] = (), within: float = 30.0) -> None:
        """One verb of systemctl's that changes something: `enable`, `daemon-reload`. Raises PlaceError."""
        self._seen.clear()
        self._run(self._command(verb, units, options), within)

    def unit_folder(self) -> Path:
        """Where units of this manager are installed: the user's own folder is for the manager to tell. Raises
        PlaceError."""
        if self._scope == "system":
            stated = self._unit_path.split(":")[0]
            return Path(stated or "/etc/systemd/system")
        argv = ["systemctl", "--user", "--no-ask-password", "show", "--property=UnitPath", "--value", "--"]
        # `user.control`, `transient` and `generator` come before it, and are not for people.
        folders = shlex.split(self._run(argv).decode(errors="surrogateescape"))
        found = next((folder for folder in folders if folder.endswith("/systemd/user")), "")
        if not found:
            raise PlaceError("cannot tell where units of the user are installed: systemd --user names no such folder")
        return Path(found)

    def verify(self, paths: Sequence[Path]) -> str:
        """What systemd-analyze has to say against these unit files; "" if nothing. Raises PlaceError."""
        argv = ["systemd-analyze", f"--{self._scope}", "--recursive-errors=no", "verify", *map(str, paths)]
        done = self._processes.run(argv, env=self._env, within=30.0)
        if done.code and b"recursive-errors" in done.err:  # systemd before 250 does not know it
            done = self._processes.run([*argv[:2], *argv[3:]], env=self._env, within=30.0)
        names = [path.name for path in paths]
        lines = done.err.decode(errors="replace").splitlines()
        ours = [line for line in lines if any(name in line for name in names)]
        return "; ".join(ours or (lines[:1] if done.code else []))

    def calendar_fault(self, calendar: str) -> str:
        """What systemd-analyze has to say against an OnCalendar=; "" if nothing. Raises PlaceError."""
        done = self._processes.run(["systemd-analyze", "calendar", "--", calendar], env=self._env, within=30.0)
        return done.err.decode(errors="replace").strip() if done.code else ""

    def last_words(self, unit: Unit, pair: Pair) -> str:
        """The unit's last lines without any value, as the end of a sentence; "" where nothing is kept."""
        lines = redacted(self.last_lines(unit), pair).decode(errors="replace").strip()
        return f"; it last said:\n{lines}" if lines else ""

    def last_lines(self, unit: Unit, count: int = 15) -> bytes:
        """The end of what the unit logged since we restarted it, unredacted; empty where nothing is kept."""
        size, since = self._restarted.get(unit.name, (0, 0.0))
        ago = f"--since=-{time.monotonic() - since:.1f}s" if since else "--since=-1min"
        argv = ["journalctl", f"--{self._scope}", "--no-pager", "--quiet", "--output=cat", f"--lines={count}"]
        try:
            journal = self._processes.run([*argv, ago, f"--unit={unit.name}"], env=self._env, within=10.0)
        except PlaceError:
            journal = None
        if journal and journal.code == 0 and journal.out.strip():
            return journal.out
        return _tail(_log_file(unit), count, size)

    def _run(self, argv: list[str], within: float = 30.0) -> bytes:
        done = self._processes.run(argv, env=self._env, within=within)
        if done.code == 0:
            return done.out
        said = done.err.decode(errors="replace").strip().splitlines()
        why = said[0] if said else f"systemctl exit {done.code}"
        if "connect to bus" in why:
            raise PlaceError(
                f"cannot reach systemd --{self._scope}: there is no bus in this environment",
                hint=f"export XDG_RUNTIME_DIR=/run/user/{os.getuid()}  (and `loginctl enable-linger` for timers)"
                if self._scope == "user"
                else "systemctl --system status  (is systemd running here, and may we reach its bus?)",
            )
        verb = argv.index("--") - 1
        raise PlaceError(f"cannot {' '.join([argv[verb], *argv[verb + 2 :]])}: {why}")


def timer_names(playbook: str) -> tuple[str, ...]:
    """What the timer of a playbook may be called, its own name first, and then the services of these names."""
    # A name that systemd does not take would make it refuse the others as well.
    stems = (f"keyrotor-{re.sub(r'[^A-Za-z0-9:_.-]', '-', playbook)}", "keyrotor")
    return tuple(f"{stem}.{kind}" for kind in ("timer", "service") for stem in stems)


def with_runtime_dir(env: dict[str, str]) -> dict[str, str]:
    """XDG_RUNTIME_DIR wins; cron, su and some ssh logins lack it, where the uid's own folder is meant."""
    own = own_runtime_dir()
    if "XDG_RUNTIME_DIR" in env or not os.path.isdir(own):
        return env
    return {**env, "XDG_RUNTIME_DIR": own}


def own_runtime_dir() -> str:
    return f"/run/user/{os.getuid()}"


def _log_file(unit: Unit) -> Path | None:
    """`show` names the kind of output but not its file, so that is read from the unit's own text."""
    try:
        text = Path(unit.fragment).read_text()
    except OSError:
        return None
    found = re.findall(r"^Standard(?:Output|Error)\s*=\s*(?:append|file|truncate):(\S+)", text, re.MULTILINE)
    return Path(found[-1]) if found else None


def _size(path: Path | None) -> int:
    try:
        return os.stat(path).st_size if path else 0
    except OSError:
        return 0


def _tail(path: Path | None, count: int, start: int, reach: int = 16384) -> bytes:
    """The last lines of the file that stand behind `start`; all count if it was cut since."""
    size = _size(path)
    if path is None or size == 0:
        return b""
    begin = max(start if start <= size else 0, size - reach)
    try:
        with open(path, "rb") as file:
            file.seek(max(0, begin - 1))
            if begin:
                file.readline()  # the rest of a line whose beginning is not seen may be the rest of a value
            return b"\n".join(file.read().splitlines()[-count:])
    except OSError:
        return b""
