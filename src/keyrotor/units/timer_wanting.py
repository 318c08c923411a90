"""What a playbook's timer is to be: when it wakes, who runs it, and what its service needs of an environment."""

from __future__ import annotations

import os
import pwd
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from keyrotor.boundary.systemd import timer_names
from keyrotor.boundary.unit_folder import UnitFolder
from keyrotor.core import clients, timing, window
from keyrotor.core.model import Act, Playbook, Row
from keyrotor.core.timing import Wish
from keyrotor.errors import PlaceError
from keyrotor.formats import timer_units
from keyrotor.formats.timer_units import MAKER, Wanted
from keyrotor.formats.unit_lines import Origin, origin

Trouble = tuple[str, str]  # a reason, and the command that helps

_PROXIES = ("HTTPS_PROXY", "https_proxy")  # of what is not on this machine; such an address may hold a password
# They hold paths, names and languages. What a login makes for itself (a bus, an agent, XDG_RUNTIME_DIR) is the
# manager's to say: by tonight it is another one.
_WRITTEN = (
    *("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "TZ"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "KEYROTOR_STATE_DIR", "KEYROTOR_SOPS"),
    *("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "GNUPGHOME", "PYTHON_KEYRING_BACKEND"),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "GH_CONFIG_DIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy", *_PROXIES),
)
_OWN = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "GNUPGHOME")  # of whoever installs
# They hold a key, or may.
_HIDDEN = (
    *("SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_CMD", "GH_TOKEN", "GITHUB_TOKEN"),
    *("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"),
)
_KEY = "AGE-SECRET-KEY-"
_PATHS = ("file", "identity", "path", "config")  # what a playbook's reader expands variables in
_NAMED = re.compile(r"\$\{(\w+)\}")


def wanted(
    book: Playbook, rows: Sequence[Row], wish: Wish, folder: UnitFolder, env: Mapping[str, str], cwd: Path
) -> tuple[Wanted, str, list[Trouble], list[str]]:
    """What is to be installed, when it wakes, why that would not work, and what is to be said besides."""
    stem = timer_names(book.name)[0].removesuffix(".timer")
    windows = window.parsed(book.window) or ()
    at = timing.at_or(wish.at, _installed_at(folder, f"{stem}.timer"), book.every, windows)
    woken = timing.wake(book.every, windows, at)
    user = _user(rows, book.source.project) if wish.is_system else ""
    made = Wanted(
        stem=stem,
        scope="system" if wish.is_system else "user",
        user=user,
        key=book.source.key,
        playbook=os.path.abspath(cwd / book.path),
        project=book.source.project,
        program=(sys.executable, "-P", "-m", "keyrotor"),
        variables=variables(env, book, user),
        calendar=woken.calendar if woken else "",
        delay=woken.delay if woken else 0,
        way_back=timing.longest_way_back(rows) + sum(each.within for each in book.notify),
        longest=timing.longest(rows),
        runs_commands=timing.runs_commands(rows) or bool(book.notify),
    )
    troubles = list(_troubles(env, book, made))
    if woken is None:
        opens = f"{windows[0].opens // 60:02}:{windows[0].opens % 60:02}"
        why = f"at {at} the playbook's window ({book.window}) is never open"
        troubles.append((f"cannot install {made.timer}: {why}", wish.command("install", f"--at {opens}")))
    return made, woken.told if woken else "never", troubles, list(_notes(env))


def variables(env: Mapping[str, str], book: Playbook, user: str) -> dict[str, str]:
    """The variables that are written into the units, of what this process has: those by which keyrotor, and what it
    runs, find their programs and files, and those that the playbook's paths name."""
    named = {*_of_paths(book), *_of_clients(book)} - {*_WRITTEN, *_HIDDEN, "SOPS_AGE_KEY", *_secrets(book)}
    wanted = [*_WRITTEN, *sorted(named)]
    found = {name: env[name] for name in wanted if env.get(name) and not _may_hold_password(env, name)}
    if user and user != _name(os.geteuid()):
        found = {name: text for name, text in found.items() if name not in _OWN} | {"HOME": pwd.getpwnam(user).pw_dir}
    if "PATH" in found:  # what is found by a relative one depends on where it is run
        found["PATH"] = ":".join(folder for folder in found["PATH"].split(":") if os.path.isabs(folder))
    return found


def _may_hold_password(env: Mapping[str, str], name: str) -> bool:
    return name in _PROXIES and "@" in env.get(name, "")


def _of_paths(book: Playbook) -> Iterator[str]:
    """The variables that stand in paths of the playbook, and nowhere else in it."""
    document = tomllib.loads(Path(book.path).read_text("utf-8"))
    for table in (document["secret"], *document["place"]):
        yield from (name for key in _PATHS for name in _NAMED.findall(str(table.get(key, ""))))


def _secrets(book: Playbook) -> Iterator[str]:
    """The names under which a shell may have values: direnv puts them there."""
    yield book.source.key
    for place in book.places:
        yield from place.options.get("keys", ())
        yield from (str(place.options[key]) for key in ("variable", "token") if place.options.get(key))


def _of_clients(book: Playbook) -> Iterator[str]:
    """The variables by which known clients say where their files are."""
    for place in book.places:
        for file in clients.files_of(place.kind):
            yield from _NAMED.findall(file.path)


def _troubles(env: Mapping[str, str], book: Playbook, wanted: Wanted) -> Iterator[Trouble]:
    start = f"cannot install {wanted.timer}"
    has_other = book.source.identity or env.get("SOPS_AGE_KEY_FILE")
    if env.get("SOPS_AGE_KEY") and not has_other:
        why = "SOPS_AGE_KEY holds the identity itself, and a unit is for everybody to read"
        yield f"{start}: {why}", "write it to a file (0600), and export SOPS_AGE_KEY_FILE=…  (or: unset SOPS_AGE_KEY)"
    for name, text in wanted.variables.items():
        if _KEY in text:
            yield f"{start}: {name} holds an age identity, and a unit is for everybody to read", f"unset {name}"
        elif not text.isprintable():
            yield f"{start}: {name} has a character that cannot stand in a unit", f"export {name}=…"


def _notes(env: Mapping[str, str]) -> Iterator[str]:
    hidden = [name for name in (*_HIDDEN, "SOPS_AGE_KEY") if env.get(name)]
    hidden += [name for name in _PROXIES if _may_hold_password(env, name)]
    if hidden:
        said = "a drop-in can read what a rotation needs of it from a private file: EnvironmentFile=…"
        yield f"not written, for it may hold a key: {', '.join(hidden)}  ({said})"


def _installed_at(folder: UnitFolder, name: str) -> str:
    """The time at which a timer of ours wakes that is there already."""
    try:
        seen = folder.seen(name)
    except PlaceError:
        return ""
    text = seen.data.decode("utf-8", "surrogateescape") if seen else ""
    return timer_units.at(text) if origin(text, MAKER) is Origin.OURS else ""


def _user(rows: Sequence[Row], project: str) -> str:
    """Whom it runs as in the system's scope: the project's owner; "" for root, who alone may restart what the system
    runs."""
    if any(row.act is Act.RESTART and row.options["scope"] == "system" for row in rows):
        return ""
    owner = os.stat(project).st_uid
    return _name(owner) if owner else ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
