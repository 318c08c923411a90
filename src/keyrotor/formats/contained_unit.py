"""The drop-ins that keep strangers from a gateway for as long as an incident lasts, and the command they change. Pure.

Rules:
1. A drop-in of ours is known by its first line; the second one keeps how things were, as JSON.
2. One that is `inert` says nothing to systemd any more: it only remembers what is to come back.
3. The command is changed in one place, the address; all else of it stays as somebody has written it, to the byte.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# Behind `override.conf`, which `systemctl edit` makes: of the ExecStart= of all drop-ins the last one counts.
NAME = "zz-keyrotor-incident.conf"
_MARK = "# keyrotor incident: strangers are kept out; `keyrotor incident resume` takes this away again\n"
_STATE = "# before: "
_SERVERS = ("litellm", "uvicorn", "granian")  # what listens at `--host`
_ELSEWHERE = frozenset(
    "docker podman nerdctl docker-compose podman-compose systemd-nspawn machinectl lxc kubectl ssh".split()  # noqa: SIM905
)
_SHELL = re.compile(r"(?:ba|da|z|k|fi)?sh|.*\.sh")
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')+""")
_BOUND = re.compile(r"(?:\[[^\]]*\]|[^:\[\]$%]*):(\d+)")


@dataclass(frozen=True, slots=True)
class Before:
    """How it was before."""

    listened: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()  # socket units that were active
    was_active: bool = True
    needed_by: tuple[str, ...] = ()  # units that were active, and went down with it
    is_halted: bool = False  # whether it is to stay down until somebody starts it


def service(before: Before, command: str) -> str:
    """The drop-in of the service: its sockets come up with it, and its command listens on loopback; "" leaves it."""
    wanted = " ".join(before.sockets).replace("%", "%%")
    sockets = f"[Unit]\nWants={wanted}\nAfter={wanted}\n" if before.sockets else ""
    return _headed(before) + sockets + (f"[Service]\nExecStart=\nExecStart={command}\n" if command else "")


def socket(before: Before, listens: Sequence[tuple[str, str]]) -> str:
    """The drop-in of a socket unit: kind and address of all that it is to hold. An empty setting clears all kinds."""
    lines = "".join(f"Listen{kind}={address.replace('%', '%%')}\n" for kind, address in listens)
    return f"{_headed(before)}[Socket]\nListenStream=\n{lines}"


def inert(text: str) -> str:
    """A drop-in of ours that changes nothing any more."""
    return "".join(text.splitlines(keepends=True)[:2])


def is_moved(text: str) -> bool:
    """Whether by this drop-in of ours it listens elsewhere."""
    return re.search(r"^(?:ExecStart|ListenStream)=", text, re.MULTILINE) is not None


def is_ours(text: str) -> bool:
    return text.startswith(_MARK)


def before(text: str) -> Before:
    """How it was, by a drop-in of ours; nothing by one that somebody has changed."""
    try:
        said = json.loads(text.splitlines()[1].removeprefix(_STATE))
        needed_by, is_halted = tuple(said.get("needed_by", ())), bool(said.get("is_halted"))
        return Before(tuple(said["listened"]), tuple(said["sockets"]), bool(said["was_active"]), needed_by, is_halted)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return Before()


def remembering(text: str, before: Before) -> str:
    """A drop-in of ours, that keeps this."""
    return _headed(before) + "".join(text.splitlines(keepends=True)[2:])


def _headed(before: Before) -> str:
    return f"{_MARK}{_STATE}{json.dumps(asdict(before))}\n"


def commands(texts: Sequence[str]) -> list[str]:
    """The ExecStart= in force, as they are written; `texts` are the unit's and its drop-ins', in their order."""
    found: list[str] = []
    for text in texts:
        for line in re.findall(r"^[ \t]*ExecStart[ \t]*=[ \t]*([^\r\n]*)", _unbroken(text), re.MULTILINE):
            found = [*found, line.strip()] if line.strip() else []
    return found


def logs(texts: Sequence[str]) -> list[str]:
    """The paths that StandardOutput= and StandardError= write to, as they are written; `texts` as above."""
    found: dict[str, str] = {}
    for text in texts:
        for name, said in re.findall(r"^[ \t]*Standard(Output|Error)[ \t]*=[ \t]*([^\r\n]*)", text, re.MULTILINE):
            found[name] = said.strip()
    paths = (re.fullmatch(r"(?:append|file|truncate):(/.*)", said) for said in found.values())
    return list(dict.fromkeys(path[1] for path in paths if path))


def _unbroken(text: str) -> str:
    """The text with its broken lines joined; comments between the pieces are none of them."""
    return re.sub(r"\\\r?\n(?:[ \t]*[#;][^\n]*\n)*", " ", text)


def on_loopback(command: str, host: str) -> str | None:
    """The command, listening at this address of loopback alone; None where it cannot be told how."""
    words = [(found.start(), found.end(), _plain(found[0])) for found in _WORD.finditer(command)]
    if not words or any(word == ";" for *_, word in words):
        return None
    names = [word.lstrip("@-:+!|").rpartition("/")[2] for *_, word in words]
    if names[0] in _ELSEWHERE:
        return None
    changed = list(_changed(words, host))
    if any(new is None for *_, new in changed):
        return None
    if not changed and (_SHELL.fullmatch(names[0]) or not any(name in _SERVERS for name in names)):
        return None
    for start, end, new in reversed(changed):
        command = f"{command[:start]}{new}{command[end:]}"
    return command if changed else f"{command} --host {host}"


def _changed(words: Sequence[tuple[int, int, str]], host: str) -> list[tuple[int, int, str | None]]:
    """Each stretch that names an address, and what is to stand there; None where that cannot be told."""
    found: list[tuple[int, int, str | None]] = []
    for at, (start, end, word) in enumerate(words):
        name, equals, value = word.partition("=")
        if name not in ("--host", "--bind", "-b"):
            continue
        if not equals and at + 1 == len(words):
            continue
        begin, stop, said = (start, end, value) if equals else words[at + 1]
        new = said if _is_loopback(said) else host if name == "--host" else _bound(said, host)
        found.append((begin, stop, f"{name}={new}" if equals and new else new))
    return found


def _bound(said: str, host: str) -> str | None:
    """A `HOST:PORT` at another host; a socket of the file system stays."""
    if said.startswith("unix:"):
        return said
    found = _BOUND.fullmatch(said)
    return None if found is None else f"[{host}]:{found[1]}" if ":" in host else f"{host}:{found[1]}"


def _is_loopback(said: str) -> bool:
    return re.fullmatch(r"(?:localhost|127(?:\.\d+){3}|\[?::1\]?)(?::\d+)?", said) is not None


def _plain(word: str) -> str:
    try:
        return "".join(shlex.split(word))
    except ValueError:
        return word
