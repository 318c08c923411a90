"""No value where it does not belong: argv, environments, output, record, files, proxies, tracebacks."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    differing,
    is_all,
    keyrotor_argv,
    keyrotor_env,
    new_value,
    spellings,
    stray,
    tree,
)

from keyrotor.demo.lab import Lab


class Watch:
    """Polls every process's argv and environment for the values; a gateway's own environment has them by right."""

    def __init__(self, values: list[str], by_right: str) -> None:
        self._wanted = [spelling for value in values for spelling in spellings(value)]
        self._by_right = by_right.encode()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self.looks = 0
        self.processes: set[str] = set()
        self.found: list[str] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        ours = str(os.getpid())
        while not self._stop.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                if pid != ours:
                    self._look(pid)
            self.looks += 1
            time.sleep(0.002)

    def _look(self, pid: str) -> None:
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes()
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            became = Path(f"/proc/{pid}/cmdline").read_bytes()  # empty in the moment of an exec
        except OSError:
            return
        self.processes.add(pid)
        if any(value in argv for value in self._wanted):
            self.found.append(f"argv of {argv[:80]!r}")
        if became and self._by_right not in argv + became and any(value in environ for value in self._wanted):
            self.found.append(f"environment of {argv[:80]!r}")


def is_starting(lab: Lab, found: str) -> bool:
    """systemd's own child just before it becomes the gateway has the unit's environment by right, too."""
    return found.startswith(("environment of b'(", "environment of b'/usr/lib/systemd"))


def rotate_under(lab: Lab, umask: int, new: str, *options: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        keyrotor_argv("rotate", "--yes", "--value-stdin", *options),
        check=False,
        cwd=lab.project,
        env=keyrotor_env(lab, **env),
        input=new.encode(),
        capture_output=True,
        umask=umask,
        timeout=120,
    )


@pytest.mark.parametrize(("umask", "fails"), [(0o022, False), (0o000, True), (0o000, False)])
def test_a_rotation_shows_its_values_to_nobody(make_lab: MakeLab, keyrotor: Keyrotor, umask: int, fails: bool) -> None:
    """Polled all along and searched afterwards, also when rolled back: not in argv, environment, output, files."""
    lab = make_lab()
    old, new = lab.current_key(), new_value()
    if fails:
        add_command(lab, "test $KEYROTOR_VALUE = old", before="client-file")
    before = tree(lab)
    with Watch([old, new], f"--port\0{lab.port}") as watch:
        done = rotate_under(lab, umask, new)
        said = done.stdout + done.stderr
        run = stat_of_newest(lab)
        for command in (("status",), ("log",), ("log", run), ("plan",), ("log", run, "--json"), ("status", "--json")):
            told = keyrotor(lab, *command)
            said += (told.stdout + told.stderr).encode()
    assert done.returncode == (20 if fails else 0), said
    assert [found for found in watch.found if not is_starting(lab, found)] == []
    assert watch.looks > 20
    assert len(watch.processes) > 5
    assert not any(spelling in said for value in (old, new) for spelling in spellings(value))
    is_all(lab, *((old, new) if fails else (new, old)))
    assert stray(lab.state, [old, new]) == []
    after = tree(lab)
    created = [lab.root / name for name in after.keys() - before.keys()]
    assert lab.state / "journal.sqlite3" in created
    open_to_others = stat.S_IRWXG | stat.S_IRWXO
    assert [path for path in created if path.lstat().st_mode & open_to_others and path.name != ".cache"] == []
    changed = [name for name in differing(before, after) if name in before and name in after]
    assert all(before[name][0] == after[name][0] for name in changed)


def stat_of_newest(lab: Lab) -> str:
    from on_lab import events

    return events(lab)[-1][0]


@contextmanager
def proxy_stub() -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that writes down whatever reaches it."""
    seen: list[bytes] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1)
                    try:
                        seen.append(connection.recv(65536))
                    except OSError:
                        seen.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], seen
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_no_proxy_sees_the_key(make_lab: MakeLab) -> None:
    """With every proxy variable set, upper and lower case, nothing at all reaches the proxy."""
    lab = make_lab()
    old, new = lab.current_key(), new_value()
    with proxy_stub() as (port, seen):
        names = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
        proxies = {name: f"http://127.0.0.1:{port}" for name in (*names, *map(str.upper, names))}
        done = rotate_under(lab, 0o022, new, **proxies)
    assert done.returncode == 0, done.stderr
    assert seen == []
    is_all(lab, new, old)


FAULTY = """
import sys
from keyrotor.places import env_file
def broken(self, goal, pair):
    value = pair[goal]
    raise RuntimeError("a bug of ours", value._sealed)
env_file.EnvFile.put = broken
from keyrotor.cli import main
main(["rotate", "--yes", "--value-stdin"])
"""
FAULTY_BEFORE = (
    FAULTY.replace("EnvFile.put", "EnvFile.check")
    .replace("(self, goal, pair)", "(self, pair)")
    .replace("pair[goal]", "pair.old")
)


@pytest.mark.parametrize(("program", "code"), [(FAULTY, (20, 21)), (FAULTY_BEFORE, (1, 3))])
def test_a_bug_of_ours_shows_no_value(make_lab: MakeLab, program: str, code: tuple[int, ...]) -> None:
    """An internal error in a place: told by its class, never by its text, its locals or a traceback."""
    import sys

    lab = make_lab()
    old, new = lab.current_key(), new_value()
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=lab.project,
        env=keyrotor_env(lab),
        input=new.encode(),
        capture_output=True,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode in code, said
    assert not any(spelling in said for value in (old, new) for spelling in spellings(value))
    assert b"Traceback" not in said
    assert b"a bug of ours" not in said
    assert stray(lab.state, [old, new]) == []


def test_the_words_of_sops_are_not_shown(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """A sops that prints the value on stderr and fails: its exit code is told in our words."""
    lab = make_lab()
    loud = lab.root / "loud-sops"
    loud.write_text(f'#!/bin/sh\ncase "$*" in *--version*) exec {lab.sops} "$@";; esac\n{lab.sops} "$@" >&2\nexit 51\n')
    loud.chmod(0o755)
    done = keyrotor(lab, "rotate", "--yes", env={"KEYROTOR_SOPS": str(loud)})
    assert done.returncode == 3
    assert lab.current_key() not in done.stdout + done.stderr
    assert "checksum" in done.stderr


def test_a_command_gets_the_value_on_stdin_only(
    make_lab: MakeLab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """Its environment is a list of named variables without a secret in it, though ours is full of them."""
    lab = make_lab()
    old, new = lab.current_key(), new_value()
    dump, given = lab.root / "gateway" / "environment", lab.root / "gateway" / "stdin"
    add_command(lab, f"cat > {given}; env > {dump}")
    done = rotate_under(lab, 0o022, new, LITELLM_MASTER_KEY=old, OTHER_TOKEN="sk-other-token-of-the-shell")
    assert done.returncode == 0, done.stderr
    assert given.read_text() == new
    shown = dump.read_text()
    assert "KEYROTOR_VALUE=new" in shown
    assert old not in shown
    assert new not in shown
    assert "OTHER_TOKEN" not in shown
    given.unlink()
    is_all(lab, new, old)
