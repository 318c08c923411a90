"""Where playbooks are found: in the project's `playbooks` folder, and in the user's own; and where the record is."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from keyrotor.errors import NoPlaybookError, UsageError


def find(name: str | None, folder: Path, env: Mapping[str, str]) -> Path:
    """The playbook of that name or path; without a name the only one there is. Raises UsageError."""
    if name and (os.sep in name or name.endswith(".toml")):
        path = Path(os.path.abspath(folder / Path(name).expanduser()))
        if not path.is_file():
            raise UsageError(f"cannot read playbook {name}: no such file")
        return path
    shelves = _shelves(folder, env)
    every = _every(shelves)
    known = [path for path in every if not is_incident(path)]
    found = _called(name, every) if name else known
    if name and found:
        return found[0]
    if len(found) == 1:
        return found[0]
    if not known:
        looked = " or ".join(str(shelf) for shelf in shelves)
        where = f"in {looked}" if looked else "here: no folder `playbooks` here or above"
        error = UsageError if name else NoPlaybookError
        raise error(f"cannot find a playbook {where}", hint="keyrotor … path/to/playbook.toml")
    names = ", ".join(path.stem for path in known)
    why = f"there is no {name}" if name else "there are several"
    hint = f"keyrotor … {known[0].stem}  (name the one you mean)"
    raise UsageError(f"cannot choose a playbook: {why}; known: {names}", hint=hint)


def has_others(path: Path, folder: Path, env: Mapping[str, str]) -> bool:
    """Whether this playbook must be named, for it is, or will be, not the only one."""
    return any(each != path and not is_incident(each) for each in _every(_shelves(folder, env)))


def _every(shelves: Sequence[Path]) -> list[Path]:
    return [path for shelf in shelves for path in sorted(shelf.glob("*.toml"))]


def find_all(names: Sequence[str], folder: Path, env: Mapping[str, str]) -> list[Path]:
    """These playbooks, each once; without names all of the project's, or the only one there is. Raises UsageError."""
    project = None if names else project_of(folder)
    found = sorted((project / "playbooks").glob("*.toml")) if project else []
    found = [path for path in found if not is_incident(path)]
    return found or list(dict.fromkeys(find(name, folder, env) for name in (names or (None,))))


def find_incident(name: str | None, folder: Path, env: Mapping[str, str]) -> Path | None:
    """The incident playbook of that name or path; without a name the only one there is, or none. Raises UsageError."""
    if name and (os.sep in name or name.endswith(".toml")):
        return find(name, folder, env)
    every = [path for path in _every(_shelves(folder, env)) if is_incident(path)]
    found = _called(name, every) if name else every
    if name and not found:
        known = f"; known: {', '.join(path.stem for path in every)}" if every else ""
        raise UsageError(f"cannot find incident playbook {name}{known}")
    if len(found) > 1 and not name:
        names = ", ".join(path.stem for path in found)
        hint = f"keyrotor incident open {found[0].stem} …  (name the one you mean)"
        raise UsageError(f"cannot choose an incident playbook: there are several; known: {names}", hint=hint)
    return found[0] if found else None


def is_incident(path: Path) -> bool:
    """Whether it says what is to be done when a key has leaked, and rotates nothing itself."""
    try:
        text = path.read_text()
        return "incident" in text and "incident" in tomllib.loads(text)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False


def _shelves(folder: Path, env: Mapping[str, str]) -> list[Path]:
    project = project_of(folder)
    home = env.get("XDG_CONFIG_HOME") or os.path.join(env.get("HOME", "~"), ".config")
    shelves = [project / "playbooks"] if project else []
    return [shelf for shelf in (*shelves, Path(home) / "keyrotor" / "playbooks") if shelf.is_dir()]


def project_of(folder: Path) -> Path | None:
    """The nearest folder, from here up, with a `playbooks` folder or a `.sops.yaml`."""
    for parent in (folder, *folder.parents):
        if (parent / "playbooks").is_dir() or (parent / ".sops.yaml").is_file():
            return parent
    return None


def _called(name: str, known: Sequence[Path]) -> list[Path]:
    """Those whose file has this name, else those that call themselves so: what keyrotor prints is their own name."""
    return [path for path in known if path.stem == name] or [path for path in known if _own_name(path) == name]


def _own_name(path: Path) -> object:
    try:
        return tomllib.loads(path.read_text()).get("name")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None


def root(text: str, folder: Path) -> Path:
    """The folder, or the file, that somebody has typed to be looked through. Raises UsageError for none."""
    path = Path(os.path.abspath(folder / os.path.expanduser(text)))
    try:
        os.stat(path)
    except FileNotFoundError:
        raise UsageError(f"cannot look through {text}: no such file or folder") from None
    except OSError as error:
        raise UsageError(f"cannot look through {text}: {(error.strerror or '').lower()}") from None
    return path


def state_folder(env: Mapping[str, str]) -> Path:
    """Where the record lives. Raises UsageError where nothing tells."""
    if stated := env.get("KEYROTOR_STATE_DIR"):
        return Path(os.path.abspath(stated))
    stated = env.get("XDG_STATE_HOME", "")
    if os.path.isabs(stated):  # a relative one is to be ignored, says its specification
        return Path(stated) / "keyrotor"
    home = Path(env.get("HOME") or os.path.expanduser("~"))
    if not home.is_absolute():
        raise UsageError("cannot tell where the record is: there is no HOME", hint="export HOME=…")
    return home / ".local" / "state" / "keyrotor"
