"""The rooms of the house and who may enter them (docs/explanation/architecture.md), read from the code itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import keyrotor
from keyrotor.core.plan import ACTS

SRC = Path(keyrotor.__file__).parent

# From top to bottom: a module imports only what stands below it. A new module is given its line here.
ORDER = (
    ("cli",),
    ("world",),
    (
        *("audit", "doctor", "healthcheck", "repair", "outlook", "bootstrap", "materialise", "handover"),
        *("service", "discover", "incident", "timer", "inquest"),
    ),
    ("casework", "incident_notice"),
    ("casefile",),
    ("app", "telling", "sweep"),
    ("runs", "forgetting", "preview", "proceedings", "opening"),
    ("session", "preflight", "chronicle", "drift", "recall"),
    ("console", "checklist", "verdicts", "metrics"),
    ("looks", "founding", "deeds", "sweeping", "notifiers"),
    ("paper",),
    ("incident_playbook",),
    ("engine", "screen", "playbook", "lock", "casebook", "journal", "latest"),
    ("chain",),
    ("ports", "addressees"),
    ("tables",),
    ("places", "units"),
    ("texts",),
    ("formats", "boundary"),
    ("secret",),
    ("source",),
    ("core", "shipped", "shelf"),
    ("errors",),
)
# Rooms whose modules may know each other; a place knows no place, a look no look.
INSIDE = (
    "ports",
    "sweeping",
    "paper",
    "units",
    "cli",
    "world",
    "core",
    "formats",
    "texts",
    "boundary",
    "founding",
    "demo",
)
ONLY = {  # rooms that may import these and no others
    "core": {"core", "errors"},
    "formats": {"formats", "errors"},
    "boundary": {"boundary", "secret", "core", "errors"},
    "places": {"formats", "boundary", "secret", "core", "errors"},
    "looks": {"journal", "ports", "formats", "boundary", "secret", "core", "errors"},
    "founding": {
        "founding",
        "playbook",
        "shelf",
        "shipped",
        "texts",
        "formats",
        "boundary",
        "secret",
        "core",
        "errors",
    },
    "deeds": {
        "ports",
        "units",
        "formats",
        "boundary",
        "secret",
        "core",
        "errors",
    },  # one file for each step of an incident
    "sweeping": {"sweeping", "ports", "boundary", "secret", "core", "errors"},
    "notifiers": {"ports", "boundary", "secret", "core", "errors"},  # one file for each way to tell people
    "paper": {"paper", "core"},  # an incident's report, as a page
    "texts": {"texts"},
    "units": {"units", "formats", "boundary", "secret", "core", "errors"},
    "secret": {"core"},
    "source": {"shelf", "core", "errors"},
    # A use case and its own small world: `exec` may cost little more than sops, and `world` costs 200 ms. What asks the
    # record in full (`drift`, a `World`) is asked only where a moment's look does not tell.
    "handover": {"source", "shelf", "latest", "drift", "ports", "core", "boundary", "secret", "errors"},
    "latest": {"core"},
    "ports": {"ports", "core", "secret"},
    "engine": {"core", "ports", "secret", "errors"},
    "demo": {"demo", "errors"},
    "shipped": set(),
    "shelf": {"errors"},
    "errors": set(),
}
ENTERED_BY = {  # rooms that only these may import
    "places": {"world"},
    "boundary": {
        *(
            "boundary",
            "places",
            "looks",
            "founding",
            "units",
            "world",
            "cli",
            "journal",
            "lock",
            "playbook",
            "handover",
        ),
        *("deeds", "sweeping", "notifiers", "chain"),
    },
    "formats": {"formats", "places", "looks", "founding", "units", "deeds"},
    "looks": {"world"},
    "deeds": {"world"},
    "sweeping": {"sweeping", "world"},
    "notifiers": {"world"},
    "paper": {"paper", "inquest"},
    "units": {"world", "units", "deeds"},
    "founding": {"founding", "world"},
    "texts": {"texts", "founding"},
    "world": {"cli", "world"},
    "cli": {"cli", "__main__"},
    "demo": {"demo", "cli"},
}
HOMES = {  # a dangerous module -> its only homes
    "sh": {"boundary/process.py"},
    "subprocess": {"boundary/quick.py"},  # for `exec`, which cannot pay the 75 ms of sh
    "multiprocessing": set(),
    "httpx": {"boundary/http.py"},
    "requests": set(),
    "urllib.request": set(),
    "tenacity": {"boundary/http.py"},
    "keyring": {"boundary/keychain.py", "boundary/keyring_entry.py"},
    "secretstorage": {"boundary/keyring_entry.py"},
    "redis": {"boundary/redis_server.py"},
    "asyncio": {"boundary/network.py"},
    "sqlite3": {"chain.py", "latest.py"},  # the latter for `print-key`, which cannot pay the 30 ms of msgspec
    "secrets": {"boundary/generate.py"},
    "random": set(),
    "uuid": set(),
    "cryptography": {"boundary/generate.py", "boundary/signing.py"},
    "pyrage": {"boundary/age.py"},
    "ahocorasick_rs": {"boundary/forms.py", "sweeping/finder.py"},
    "fcntl": {"lock.py", "boundary/process.py"},  # the latter widens a pipe
    "tempfile": set(),
    "signal": {"boundary/signals.py", "boundary/process.py", "boundary/quick.py", "boundary/outlet.py"},
    "ruamel": {"formats/creation_rules.py", "formats/gateway_config.py", "formats/yaml.py"},
    "prometheus_client": {"metrics.py"},
    "pickle": set(),
    "logging": set(),
    "apprise": {"boundary/apprise.py"},
}
WRITES = {"write_text", "write_bytes", "touch", "rename", "symlink_to", "hardlink_to"}  # Path's own
OS_WRITES = {"replace", "rename", "renames", "link", "symlink", "truncate", "ftruncate", "mkdir", "makedirs", "remove"}
SHUTIL_WRITES = {"copy", "copy2", "copyfile", "copyfileobj", "copytree", "move", "rmtree", "chown"}
OS_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"}
OS_RUNS = {"system", "popen", "fork", "forkpty", "posix_spawn", "execv", "execve", "execvp", "execvpe", "spawnv"}
PURE = {  # all that the core needs of Python: no clock, no randomness, no I/O
    *("__future__", "collections.abc", "dataclasses", "datetime", "enum", "hashlib", "json", "re", "typing"),
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its path in it."""
    paths = sorted(SRC.rglob("*.py"))
    return {path.relative_to(SRC).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


def room(path: str) -> str:
    """The room a module is in: its folder, or itself."""
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def house(*rooms: str) -> list[str]:
    """The modules of these rooms; of the whole house, but for the demo, if none is named."""
    return [path for path in modules() if (room(path) in rooms if rooms else room(path) != "demo")]


def imports(path: str) -> Iterator[str]:
    """The full name of everything that a module imports, wherever in it."""
    for node in ast.walk(modules()[path]):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports by a relative name"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def rooms_imported(path: str) -> set[str]:
    """The rooms of keyrotor that a module imports."""
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("keyrotor.")}
    return ours - {"__version__"}


def owns(name: str, owner: str) -> bool:
    return name == owner or name.startswith(owner + ".")


def attributes(path: str) -> Iterator[tuple[str, str]]:
    """Every `owner.name` in a module; the owner is "" where it is more than a name."""
    for node in ast.walk(modules()[path]):
        if isinstance(node, ast.Attribute):
            yield (node.value.id if isinstance(node.value, ast.Name) else "", node.attr)


def names(path: str) -> set[str]:
    """Every name that a module uses or imports."""
    found = {node.id for node in ast.walk(modules()[path]) if isinstance(node, ast.Name)}
    return (
        found | {name.rsplit(".", 1)[-1] for name in imports(path)} | {attribute for _, attribute in attributes(path)}
    )


def calls(path: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(modules()[path]) if isinstance(node, ast.Call))


# -- who may import whom ---------------------------------------------------------------------------------------------


def test_every_module_has_its_place_in_the_order() -> None:
    """A module that no line of this page knows is put into one before it is used."""
    known = {name for line in ORDER for name in line} | {"demo", "__init__", "__main__"}
    assert {room(path) for path in modules()} - known == set()


@pytest.mark.parametrize("path", house())
def test_imports_point_down_only(path: str) -> None:
    """A module imports what stands below it in the order, or a neighbour in its own room; never what stands above."""
    rank = {name: at for at, line in enumerate(ORDER) for name in line} | {"__main__": -1, "demo": len(ORDER)}
    own = room(path)
    if own == "__init__":
        assert rooms_imported(path) == set()
        return
    wrong = {name for name in rooms_imported(path) if rank[name] <= rank[own] and not (name == own and own in INSIDE)}
    assert wrong == set()


@pytest.mark.parametrize("path", modules())
def test_a_room_imports_only_what_it_may(path: str) -> None:
    """The core knows errors only, a place no place, a boundary no engine, the engine no boundary."""
    allowed = ONLY.get(room(path))
    if allowed is not None:
        assert rooms_imported(path) - allowed == set()


@pytest.mark.parametrize("path", modules())
def test_a_room_is_entered_only_by_those_who_may(path: str) -> None:
    """Places are put together by the world alone, the demo is reached from the command line alone."""
    strangers = {name for name in rooms_imported(path) if room(path) not in ENTERED_BY.get(name, {room(path)})}
    assert strangers == set()


@pytest.mark.parametrize("path", house("core"))
def test_the_core_is_pure(path: str) -> None:
    """No clock, no randomness, no I/O, nobody else's code: only a few modules of Python itself."""
    foreign = {name for name in imports(path) if not name.startswith("keyrotor.")}
    assert {name for name in foreign if not any(owns(name, pure) for pure in PURE)} == set()
    used = {_called(call) for call in calls(path)}
    assert used & {"open", "print", "input", "now", "today", "utcnow"} == set()


def test_the_core_knows_no_secret() -> None:
    """Values are two words there."""
    assert [path for path in house("core") if {"Secret", "Pair", "unseal"} & names(path)] == []


def test_the_machine_does_not_know_the_loop() -> None:
    """`next_move` stays free of the engine: another driver may ask it one day."""
    assert rooms_imported("core/decide.py") <= {"core", "errors"}


@pytest.mark.parametrize("path", ["engine.py", "core/decide.py", "core/machine.py"])
def test_the_loop_knows_no_place_by_name(path: str) -> None:
    """Neither the loop nor the machine says the name of a kind of place."""
    assert _words(path) & set(ACTS) == set()
    assert not any(
        name in names(path) for name in ("kind", "SopsFile", "EnvFile", "SystemdUnit", "Litellm", "ClientFile")
    )


# -- dangerous things and their only homes ---------------------------------------------------------------------------


@pytest.mark.parametrize("dangerous", HOMES)
def test_a_dangerous_module_has_one_home(dangerous: str) -> None:
    """What can leak a value, lose a file or hang a run is used in one place, where it is watched."""
    users = {path for path in house() if any(owns(name, dangerous) for name in imports(path))}
    assert users - HOMES[dangerous] == set()


def test_the_demo_alone_runs_programs_by_itself() -> None:
    """The throw-away lab stands outside of the program that it is there to try; quick.py is `exec`'s own runner."""
    users = {path for path in modules() if any(owns(name, "subprocess") for name in imports(path))}
    assert {room(path) for path in users - {"boundary/quick.py"}} <= {"demo"}


@pytest.mark.parametrize("path", [path for path in house() if path != "boundary/files.py"])
def test_files_are_written_in_one_module(path: str) -> None:
    """Nobody but boundary/files.py opens a file for writing, renames one or makes one."""
    found = [f"{owner}.{name}" for owner, name in attributes(path) if name in WRITES and owner != "os"]
    found += [f"os.{name}" for owner, name in attributes(path) if owner == "os" and name in OS_WRITES]
    found += [f"shutil.{name}" for owner, name in attributes(path) if owner == "shutil" and name in SHUTIL_WRITES]
    found += [ast.unparse(call) for call in calls(path) if _opens_for_writing(call)]
    found += [f"open(…, {mode!r})" for call in calls(path) for mode in _modes(call)]
    assert found == []


def _opens_for_writing(call: ast.Call) -> bool:
    """An `os.open` with a flag that writes; what goes to /dev/null is written nowhere."""
    text = ast.unparse(call)
    is_real = text.startswith("os.open(") and not text.startswith("os.open(os.devnull")
    return is_real and any(flag in text for flag in OS_FLAGS)


def _modes(call: ast.Call) -> Iterator[str]:
    """The mode of an `open` that writes; an `os.open` is judged by its flags."""
    by_name = isinstance(call.func, ast.Name) and call.func.id == "open"
    by_path = isinstance(call.func, ast.Attribute) and call.func.attr == "open" and ast.unparse(call.func.value) != "os"
    if not by_name and not by_path:
        return
    given = [*call.args[1 if by_name else 0 :][:1], *(word.value for word in call.keywords if word.arg == "mode")]
    for mode in given:
        if isinstance(mode, ast.Constant) and isinstance(mode.value, str) and set(mode.value) & set("wax+"):
            yield mode.value


@pytest.mark.parametrize("path", [path for path in house() if path != "boundary/outlet.py"])
def test_no_program_is_run_past_the_one_that_runs_them(path: str) -> None:
    """`os` can run programs as well; nobody lets it, but for `exec`, whose program takes our place."""
    assert [name for owner, name in attributes(path) if owner == "os" and name in OS_RUNS] == []


def test_the_clock_is_read_in_one_place() -> None:
    """What time it is comes from the world; everything else is told. (How long a wait lasts is another clock.)"""
    readers = {
        path
        for path in house()
        for owner, name in attributes(path)
        if (owner in ("datetime", "date") and name in ("now", "utcnow", "today")) or (owner, name) == ("time", "time")
    }
    assert readers == {"world/__init__.py"}


def test_nobody_sleeps_but_where_signals_are_heard() -> None:
    """A wait that no signal can end is found nowhere; `sleep` is a default in process.py."""
    sleepers = {path for path in house() if ("time", "sleep") in attributes(path) or "time.sleep" in imports(path)}
    assert sleepers <= {"boundary/signals.py", "boundary/process.py"}


def test_the_seal_is_known_to_its_two_halves_only() -> None:
    """`_sealed` is written in secret.py and read in boundary/plaintext.py."""
    assert {path for path in modules() if "_sealed" in names(path) | _words(path)} == {
        "secret.py",
        "boundary/plaintext.py",
    }


def _words(path: str) -> set[str]:
    """Every text that stands in a module."""
    constants = (node.value for node in ast.walk(modules()[path]) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def test_a_value_is_unsealed_at_the_boundary_and_in_places_only() -> None:
    """`unseal` is defined in boundary/plaintext.py and used where the world is touched."""
    functions = ((path, node) for path in modules() for node in ast.walk(modules()[path]))
    defined = {path for path, node in functions if isinstance(node, ast.FunctionDef) and node.name == "unseal"}
    assert defined == {"boundary/plaintext.py"}
    assert {room(path) for path in modules() if "unseal" in names(path)} <= {
        "boundary",
        "places",
        "looks",
        "deeds",
        "sweeping",
    }


def test_nothing_is_printed_but_by_those_who_talk() -> None:
    """A `print` or `echo` elsewhere could show what nobody has looked at."""
    talkers = {path for path in house() if {"print", "echo"} & {_called(call) for call in calls(path)}}
    assert {room(path) for path in talkers} <= {"cli", "console", "screen"}


def _called(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


@pytest.mark.parametrize("path", modules())
def test_no_group_of_a_pattern_is_repeated_possessively(path: str) -> None:
    """CPython before 3.11.5, which Debian 12 has, matches `(…)*+` wrongly where the group backtracks (gh-106052)."""
    assert re.findall(r"\)[*+?]\+", (SRC / path).read_text("utf-8")) == []


# -- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_becomes_an_exit_in_one_place() -> None:
    """Only cli/shell.py ends the process over a KeyrotorError.

    engine.py catches one around a put and a look, incident.py around a step: there it becomes an event. Elsewhere
    whoever catches it raises another of ours in its stead.
    """
    swallowed = {
        f"{path}:{handler.lineno}"
        for path in house()
        if path not in ("cli/shell.py", "engine.py", "incident.py")
        for handler in _handlers(path)
        if _catches(handler) & {"KeyrotorError"} and not _raises(handler.body)
    }
    assert swallowed == set()


def test_the_process_is_ended_by_the_command_line_only() -> None:
    """No exit from deep inside."""
    enders = {
        path
        for path in house()
        if "SystemExit" in names(path) or {("sys", "exit"), ("os", "_exit"), ("os", "abort")} & set(attributes(path))
    }
    assert {room(path) for path in enders} <= {"cli"}


def _handlers(path: str) -> Iterator[ast.ExceptHandler]:
    return (node for node in ast.walk(modules()[path]) if isinstance(node, ast.ExceptHandler))


def _catches(handler: ast.ExceptHandler) -> set[str]:
    if handler.type is None:
        return {"everything"}
    return {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}


def _raises(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], ast.Raise)


@pytest.mark.parametrize("path", house())
def test_what_nobody_foresaw_is_caught_by_the_loop_alone(path: str) -> None:
    """A bare `except` or `except Exception` hides bugs; whoever must clean up raises again."""
    broad = [
        handler.lineno
        for handler in _handlers(path)
        if _catches(handler) & {"everything", "Exception", "BaseException"} and not _raises(handler.body)
    ]
    assert path in ("engine.py", "incident.py", "cli/shell.py") or broad == []


# -- the shape of the house ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", modules())
def test_no_module_is_longer_than_a_sitting(path: str) -> None:
    """At most 300 lines."""
    assert len((SRC / path).read_text("utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", modules())
def test_no_module_is_named_for_nothing(path: str) -> None:
    """A name says the thing; `utils` and its kin say nothing."""
    words = set(path.removesuffix(".py").replace("/", "_").split("_"))
    nothing = {"util", "utils", "helper", "helpers", "manager", "managers", "base", "common", "misc"}
    assert words & nothing == set()


@pytest.mark.parametrize("path", [path for path in modules() if not path.endswith("/__init__.py")])
def test_a_module_opens_with_what_it_owns(path: str) -> None:
    """Each module says in its first lines what it is for."""
    assert ast.get_docstring(modules()[path])


def test_the_command_line_starts_without_what_is_heavy() -> None:
    """`keyrotor --version` waits for no HTTP client, no keyring, no terminal painter."""
    heavy = ("httpx", "tenacity", "sh", "keyring", "rich", "msgspec", "cryptography", "ruamel", "sqlite3")
    heavy += ("redis", "asyncio")
    code = f"import sys, keyrotor.cli; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_whole_house_can_be_imported() -> None:
    """Every module stands by itself: none needs another to have been imported before it."""
    every = [f"keyrotor.{path.removesuffix('.py').replace('/', '.')}" for path in house() if "__" not in path]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code, *every], check=True, capture_output=True)
