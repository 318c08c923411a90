"""The texts of a playbook's timer, of the service that it wakes, and of the one that tells of a failure. Pure.

Rules: those of unit_lines.py, and
1. No value ever stands in a unit, which is for everybody to read.
2. All that a rotation needs of an environment is written down: what a shell had today is not there at night.

The reasons that a reader of a unit needs stand in its own comments; docs/reference/timer.md has the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from keyrotor.errors import RefusedError
from keyrotor.formats.unit_lines import marked, specified, whole, word, words

MAKER = "timer"
FAILED = "-failed"  # what tells of a failure, after the name of the timer
# What keyrotor, sops and git bear, and what a user's manager can do without any privilege (docs/reference/timer.md).
# No mount namespaces: places lie anywhere in the home, and not every container lets a user make one.
_HARDENING = """\
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
_NOT_HARDENED = """\
# Not hardened any further: the playbook runs programs of your own, and what they need is theirs to say.
"""
# systemd takes any exit code from 1 to 254 of a condition for "skip this, quietly", so also that of a python, or of a
# keyrotor, that is not there any more. Only the words count.
_CONDITION = 'said=$("$@"); echo "$said"; case $said in "not due"*) exit 1; esac'


@dataclass(frozen=True, slots=True)
class Names:
    """What the three units are called, and whose they are."""

    stem: str  # `keyrotor-litellm-master-key`
    scope: str

    @property
    def timer(self) -> str:
        return f"{self.stem}.timer"

    @property
    def service(self) -> str:
        return f"{self.stem}.service"

    @property
    def failed(self) -> str:
        return f"{self.stem}{FAILED}.service"

    @property
    def names(self) -> tuple[str, str, str]:
        """What wakes comes last: nothing is woken that is not there yet."""
        return (self.failed, self.service, self.timer)

    def other(self, name: str, text: str) -> str:
        """The timer that has made this file of ours, where it is another one: what tells of X is called as the service
        of X-failed. "" where it is this one."""
        verb = _order(text)[0]
        if (name, verb) == (self.service, "notify"):
            return f"{self.stem.removesuffix(FAILED)}.timer"
        return f"{self.stem}{FAILED}.timer" if (name, verb) == (self.failed, "rotate") else ""


@dataclass(frozen=True, slots=True)
class Wanted(Names):
    """All that the three texts are made of; paths are absolute."""

    user: str  # whom it runs as, in the system's scope; "" leaves it
    key: str  # the name of the key, for people
    playbook: str
    project: str
    program: Sequence[str]  # keyrotor, without what it is to do
    variables: Mapping[str, str]
    calendar: str  # when it wakes
    delay: int  # minutes that it may be late
    way_back: float  # seconds
    longest: float  # seconds
    runs_commands: bool


def texts(wanted: Wanted) -> dict[str, str]:
    """The text of each file, by its name. Raises RefusedError for what cannot stand in one."""
    return {wanted.failed: _failed(wanted), wanted.service: _service(wanted), wanted.timer: _timer(wanted)}


def at(text: str) -> str:
    """The time of the day at which a timer of ours wakes; "" where it wakes more often."""
    found = re.search(r"^OnCalendar=\*-\*-\* (\d\d:\d\d):00$", text, re.MULTILINE)
    return found[1] if found else ""


def playbook(text: str) -> str:
    """The playbook that a service of ours rotates by, or tells of; "" if it names none."""
    return _order(text)[1]


def without_environment(text: str) -> str:
    """A text without what a shell of another day would write otherwise, and without its last line."""
    kept = (line for line in text.splitlines() if not line.startswith(("Environment=", f"# keyrotor {MAKER}: ")))
    return "\n".join(kept)


def _order(text: str) -> tuple[str, str]:
    """What a service of ours does, and by which playbook."""
    found = re.search(r"^ExecStart=:(.*)$", text, re.MULTILINE)
    said = words(found[1]) if found else []
    return next(((verb, path) for verb, path in pairwise(said) if verb in ("rotate", "notify")), ("", ""))


def _timer(wanted: Wanted) -> str:
    return marked(
        f"""\
{_made_by(wanted, wanted.timer)}[Unit]
Description=When it is looked whether {wanted.key} is due

[Timer]
OnCalendar={wanted.calendar}
# A wake that was slept through is made good for.
Persistent=true
# The same delay each time, so that a day stays a day.
RandomizedDelaySec={wanted.delay}min
FixedRandomDelay=true

[Install]
WantedBy=timers.target
""",
        MAKER,
    )


def _service(wanted: Wanted) -> str:
    # No After= the gateway's unit: while this one is stopped, systemd would make the gateway's restart, with which a
    # rotation turns back, wait for our own end (measured).
    condition = ["/bin/sh", "-c", _CONDITION, "sh", *wanted.program, "due", wanted.playbook, "--or-unknown"]
    rotate = [*wanted.program, "rotate", wanted.playbook, "--if-due", "--resume", "--yes", "--reason", "timer"]
    return marked(
        f"""\
{_made_by(wanted, wanted.service)}[Unit]
Description=Rotation of {wanted.key}, if it is due
OnFailure={specified(wanted.failed)}

[Service]
Type=oneshot
{_stage(wanted)}# Skipped where it is not due, and nowhere else: a keyrotor that is gone must fail, and be told.
ExecCondition=:{_command(condition)}
ExecStart=:{_command(rotate)}
# TERM turns a rotation back, which takes this long at the most; its children are left to it.
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec={wanted.way_back:.0f}
# What takes longer hangs, and is turned back.
TimeoutStartSec={wanted.longest:.0f}
LimitCORE=0
{_NOT_HARDENED if wanted.runs_commands else _HARDENING}""",
        MAKER,
    )


def _failed(wanted: Wanted) -> str:
    return marked(
        f"""\
{_made_by(wanted, wanted.failed)}[Unit]
Description=Tells that {specified(wanted.service)} has failed

[Service]
Type=oneshot
{_stage(wanted)}ExecStart=:{_command([*wanted.program, "notify", wanted.playbook, "--failed"])}
TimeoutStartSec=300
LimitCORE=0
""",
        MAKER,
    )


def _made_by(wanted: Wanted, name: str) -> str:
    return f"# Made by `keyrotor timer install`. Change it by a drop-in: systemctl --{wanted.scope} edit {name}\n"


def _stage(wanted: Wanted) -> str:
    """Who runs it, where, and with what around."""
    user = f"User={specified(wanted.user)}\n" if wanted.user else ""
    variables = "".join(f"Environment={word(f'{name}={text}')}\n" for name, text in wanted.variables.items())
    # A `-`, for systemd takes a folder that is not there (200) for a quiet skip, too: without it keyrotor is asked, and
    # what it says of a playbook that is gone is no skip.
    return f"{user}WorkingDirectory=-{whole(wanted.project)}\n{variables}"


def _command(argv: Sequence[str]) -> str:
    """A command line in which no `$` means anything, behind a `:`. Raises RefusedError."""
    if any(sign in argv[0] for sign in "\"'\\"):
        why = f"systemd starts no program with a quote in its path: {argv[0]}"
        raise RefusedError(f"cannot write a unit: {why}", hint="install keyrotor in a folder with another name")
    return " ".join(map(word, argv))
