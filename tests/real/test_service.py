"""`keyrotor service` on a real `systemd --user`: the real LiteLLM once, else the embedded gateway in its stead."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    edit,
    found,
    keyrotor_argv,
    keyrotor_env,
    missing,
    wait_for,
)
from on_service import Clients, Served, write_stand_in

from keyrotor.demo.build import build
from keyrotor.demo.user_systemd import UserManager
from keyrotor.formats.former_unit import Former, kept

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "reference" / "json-schema.json").read_text())
Serve = Callable[..., Served]


@pytest.fixture
def serve(make_lab: MakeLab, manager: UserManager, tmp_path: Path) -> Iterator[Serve]:
    """A lab on whose gateway `service` can be tried; `start=True` leaves the lab's own unit running first."""
    with ExitStack() as stack:

        def make(*, start: bool = False, delay: float = 0.0, **how: Any) -> Served:
            lab = make_lab(start=start, within="60s", **how)
            assert lab.unit
            folder = write_stand_in(lab.root / "venv" / "bin", delay)
            served = Served(lab, manager, folder, lab.unit)
            stack.callback(served.tidy)
            return served

        yield make


@pytest.fixture
def service(keyrotor: Keyrotor) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `keyrotor service VERB …` with the stand-ins on PATH."""

    def run(served: Served, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        asked = [] if arguments[0] == "status" or "--dry-run" in arguments else ["--yes"]
        path = {"PATH": f"{served.bin}:{os.environ['PATH']}"}
        return keyrotor(served.lab, "service", *arguments, *asked, env={**path, **env})

    return run


Service = Callable[..., subprocess.CompletedProcess[str]]


def told(done: subprocess.CompletedProcess[str], of: str) -> dict[str, Any]:
    """The JSON object, which is as the schema says."""
    one: dict[str, Any] = json.loads(done.stdout)
    jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{of}"}]}).validate(one)
    return one


def test_a_fresh_install_is_up_and_clean_and_goes_away_again(serve: Serve, service: Service) -> None:
    """0; both files 0644, enabled, active, sound for systemd; again: nothing to do; removed: nothing is left."""
    served = serve()
    before = served.standing()
    done = service(served, "install", "--json")
    assert done.returncode == 0, done.stderr
    one = told(done, "service")
    assert (one["outcome"], [each["state"] for each in one["files"]]) == ("installed", ["new", "new"])
    assert 0 < one["seconds"] < 600
    assert served.lab.status(served.lab.current_key()) == 200
    for path in (served.unit, served.socket):
        assert path.stat().st_mode & 0o777 == 0o644
        assert (served.is_active(path.name), served.is_enabled(path.name)) == ("active", "enabled")
    verify = ["systemd-analyze", "--user", "--recursive-errors=no", "verify", str(served.unit), str(served.socket)]
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(served.manager.runtime), "HOME": str(served.lab.home)}
    said = subprocess.run(verify, env=env, capture_output=True, text=True, check=False)
    assert (said.returncode, [line for line in said.stderr.splitlines() if "keyrotor-demo" in line]) == (0, [])
    stamp = served.unit.stat().st_mtime_ns, served.lab.runner.main_pid()
    again = service(served, "install", "--json")
    assert (again.returncode, told(again, "service")["outcome"]) == (0, "nothing-to-do")
    assert (served.unit.stat().st_mtime_ns, served.lab.runner.main_pid()) == stamp
    status = service(served, "status", "--json")
    assert status.returncode == 0, status.stdout
    assert {line["state"] for line in told(status, "service-status")["lines"]} <= {"well", "unknown"}
    removed = service(served, "remove", "--json")
    assert (removed.returncode, told(removed, "service")["outcome"]) == (0, "removed")
    assert served.standing() == before
    assert (removed := service(served, "remove")).returncode == 0
    assert "nothing to do" in removed.stdout


def test_connections_wait_across_a_restart_and_a_whole_rotation(
    serve: Serve, service: Service, keyrotor: Keyrotor
) -> None:
    """20 connections a second: none is refused; the rotation is proven; nothing is found against the unit."""
    served = serve(delay=1.0)
    assert service(served, "install").returncode == 0
    lab = served.lab
    clients = Clients(lab.port, lambda: re.findall(r'"apiKey": "([^"]*)"', lab.settings.read_text())[0])
    clients.start()
    served.manager.systemctl("restart", served.name)
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    put_client_above_unit(served)  # as docs/reference/service.md advises
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    became = clients.end()
    assert became.keys() <= {"200", "400"}, became  # 400: the client's file is written after the restart
    assert became["200"] > 20
    assert clients.longest > 0.9
    assert set(found(keyrotor, lab)) <= {"timer-absent", "file-uncommitted"}, found(keyrotor, lab)
    assert keyrotor(lab, "doctor").returncode == 0


def put_client_above_unit(served: Served) -> None:
    head, *places = served.lab.playbook.read_text().split("[[place]]\n")
    client = next(place for place in places if "client-file" in place)
    places.remove(client)
    places.insert(2, client)
    served.lab.playbook.write_text("[[place]]\n".join([head, *places]))


def test_a_rotation_that_never_comes_up_turns_back_behind_the_socket(
    serve: Serve, service: Service, keyrotor: Keyrotor
) -> None:
    """20: the old key is proven again, and the socket holds the port."""
    served = serve()
    assert service(served, "install").returncode == 0
    lab, old = served.lab, served.lab.current_key()
    add_command(
        lab,
        f"if [ $KEYROTOR_VALUE = new ]; then echo 3 > {served.sick}; else rm -f {served.sick}; fi",
        before="systemd-unit",
    )
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 20, (done.stdout, done.stderr)
    assert lab.status(old) == 200
    assert served.is_active(served.socket_name) == "active"


FORMER = """\
[Service]
Environment="LITELLM_SALT_KEY={secret}" LITELLM_MODE=PRODUCTION
EnvironmentFile={env_file}
ExecStart={bin}/litellm --config x --port {port}
[Install]
WantedBy=default.target
"""


def write_former(served: Served, *, start: bool) -> str:
    """A unit that a person has made in the very folder, private, for it has a literal value; the value."""
    secret = "sk-literal-0123456789abcdef"
    served.folder.mkdir(parents=True, exist_ok=True)
    served.unit.write_text(
        FORMER.format(secret=secret, env_file=served.lab.env_file, bin=served.bin, port=served.lab.port)
    )
    served.unit.chmod(0o600)
    served.manager.systemctl("daemon-reload")
    if start:
        served.manager.systemctl("enable", "--now", served.name)
        served.lab.wait_until_healthy()
    return secret


@pytest.mark.parametrize("start", [True, False])
def test_a_unit_that_is_there_is_replaced_only_if_asked_and_comes_back(
    serve: Serve, service: Service, start: bool
) -> None:
    """3 without --replace, nothing changed; with it: kept as private as it was, never shown; back byte for byte, as it
    was enabled and started."""
    served = serve()
    secret = write_former(served, start=start)
    before = served.standing()
    refused = service(served, "install")
    assert refused.returncode == 3, refused.stdout
    assert "--replace" in refused.stderr
    assert served.standing() == before
    done = service(served, "install", "--replace")
    assert done.returncode == 0, done.stderr
    assert served.kept.stat().st_mode & 0o777 == 0o600
    assert secret in served.kept.read_text()
    assert secret not in served.unit.read_text()
    assert served.unit.stat().st_mode & 0o777 == 0o644
    shown = service(served, "install", "--dry-run", "--replace")
    status = service(served, "status")
    removed = service(served, "remove")
    assert (shown.returncode, status.returncode, removed.returncode) == (0, 0, 0), (status.stdout, removed.stderr)
    for said in (refused, done, shown, status, removed):
        assert secret not in said.stdout + said.stderr
    assert served.standing() == before
    assert (served.lab.status(served.lab.current_key()) == 200) is start


def test_a_removal_brings_no_dead_key_back(serve: Serve, service: Service, keyrotor: Keyrotor) -> None:
    """3 while the former unit has another key than the present one, or none can tell; without it, ours goes alone."""
    served = serve()
    old = served.lab.current_key()
    write_former(served, start=False)
    text = re.sub('EnvironmentFile=.*|"LITELLM_SALT_KEY=[^"]*"', "", served.unit.read_text())
    literals = f'Environment="LITELLM_MASTER_KEY={old}" OTHER_KEY=sk-other-0123456789 WHERE=http://a'
    served.unit.write_text(text.replace("[Service]", f"[Service]\n{literals}"))
    served.unit.chmod(0o644)
    served.manager.systemctl("daemon-reload")
    served.manager.systemctl("enable", "--now", served.name)
    served.lab.wait_until_healthy()
    done = service(served, "install", "--replace")
    assert done.returncode == 0, done.stderr
    assert "no longer set: OTHER_KEY, WHERE" in done.stdout
    assert served.kept.stat().st_mode & 0o777 == 0o600
    assert "unit-kept" in found(keyrotor, served.lab)
    assert service(served, "remove", "--dry-run").returncode == 0  # it is the present one still
    assert keyrotor(served.lab, "rotate", "--yes").returncode == 0
    assert "unit-kept" not in found(keyrotor, served.lab)
    before = served.standing()
    for asked in (["--dry-run"], []):
        done = service(served, "remove", *asked)
        assert (done.returncode, f"rm {served.kept}" in done.stderr) == (3, True), done.stderr
        assert "which is not the present one" in done.stderr
        assert old not in done.stdout + done.stderr
    away = served.lab.identity.rename(served.lab.root / "away")
    assert "cannot be told" in service(served, "remove").stderr
    away.rename(served.lab.identity)
    assert served.standing() == before
    served.kept.unlink()
    assert service(served, "remove").returncode == 0
    assert not served.unit.exists()


@pytest.mark.parametrize("is_runtime", [True, False])
def test_whatever_a_unit_was_linked_to_comes_back(serve: Serve, service: Service, is_runtime: bool) -> None:
    """What `add-wants` made, and an enabling until the next boot; after a removal, and after an install that failed."""
    served = serve()
    write_former(served, start=False)
    if is_runtime:
        served.manager.systemctl("enable", "--runtime", served.name)
    else:
        served.manager.systemctl("enable", served.name)
        served.manager.systemctl("add-wants", "timers.target", served.name)
    before = served.standing()
    assert service(served, "install", "--replace").returncode == 0
    assert service(served, "remove").returncode == 0
    assert served.standing() == before
    served.sick.write_text("3")
    assert service(served, "install", "--replace").returncode == 1
    assert served.standing() == before


@pytest.mark.parametrize(
    ("gone", "is_reloaded", "then"),
    [
        ("service", False, "install"),
        ("service", False, "remove"),
        ("service", True, "install"),
        ("service", True, "remove"),
        ("socket", False, "remove"),
        ("socket", True, "remove"),
        ("both", False, "remove"),
        ("both", True, "install"),
    ],
)
def test_a_file_that_was_deleted_by_hand_is_in_nobodys_way(
    serve: Serve, service: Service, gone: str, is_reloaded: bool, then: str
) -> None:
    """Installed again it is there again; removed, nothing of it runs on."""
    served = serve()
    before = served.standing()
    assert service(served, "install").returncode == 0
    for path in {"service": [served.unit], "socket": [served.socket]}.get(gone, [served.unit, served.socket]):
        path.unlink()
    if is_reloaded:
        served.manager.systemctl("daemon-reload")
    assert service(served, "status").returncode == 10
    done = service(served, then)
    assert done.returncode == 0, done.stderr
    if then == "install":
        assert service(served, "status").returncode == 0
        assert service(served, "remove").returncode == 0
    assert served.standing() == before


def test_a_shadowed_unit_that_is_gone_keeps_nobody_from_removing_ours(serve: Serve, service: Service) -> None:
    """0, and it is told that there is nothing to bring back."""
    served = serve(start=True)
    assert service(served, "install", "--replace").returncode == 0
    shadowed = served.manager.units / served.name
    text = shadowed.read_text()
    shadowed.unlink()
    done = service(served, "remove")
    shadowed.write_text(text)
    assert done.returncode == 0, done.stderr
    assert f"the {served.name} of before is not there any more" in done.stdout
    assert not served.kept.exists()


def test_what_only_looks_starts_no_gateway(serve: Serve, service: Service, keyrotor: Keyrotor) -> None:
    """Behind its socket a question would start it, and the command says that nothing was changed."""
    served = serve()
    assert service(served, "install").returncode == 0
    served.manager.systemctl("stop", served.name)
    looks = (["plan"], ["rotate", "--dry-run"], ["rotate", "--yes"], ["repair", "--dry-run"], ["healthcheck"])
    for words in (*looks, ["doctor"], ["audit"], ["service", "status"]):
        done = keyrotor(served.lab, *words)
        assert (served.is_active(), served.is_active(served.socket_name)) == ("inactive", "active"), words
        assert done.returncode in (3, 10) or words[0] == "repair", (words, done.stdout, done.stderr)
    done = keyrotor(served.lab, "repair", "--yes")
    assert (done.returncode, served.is_active()) == (0, "active"), (done.stdout, done.stderr)


def test_an_env_file_without_the_key_names_what_writes_it(serve: Serve, service: Service) -> None:
    """3, and not `keyrotor repair`, which adds nothing to a file; by the playbook's path where it was named so."""
    served = serve()
    served.lab.env_file.write_text("")
    done = service(served, "install", str(served.lab.playbook))
    assert (done.returncode, f"keyrotor env {served.lab.playbook}" in done.stderr) == (3, True), done.stderr


def test_dry_runs_do_not_disturb_each_other(serve: Serve, start_keyrotor: StartKeyrotor) -> None:
    """Each has its own copies for systemd to look at, and leaves none behind."""
    served = serve()
    path = {"PATH": f"{served.bin}:{os.environ['PATH']}"}
    words = ("service", "install", "--dry-run")
    running = [start_keyrotor(served.lab, *words, env=path) for _ in range(4)]
    assert [process.wait(300) for process in running] == [0] * 4
    assert not list(served.lab.root.rglob("units-*"))


def test_a_kept_file_that_was_changed_is_told_with_what_to_do(serve: Serve, service: Service) -> None:
    """10 from status, 3 from remove; once it is deleted, the removal goes on."""
    served = serve()
    write_former(served, start=False)
    assert service(served, "install", "--replace").returncode == 0
    served.kept.write_text(served.kept.read_text().rstrip() + "x\n")
    status, done = service(served, "status"), service(served, "remove")
    assert (status.returncode, done.returncode) == (10, 3), done.stderr
    for said in (status.stdout, done.stderr):
        assert f"rm {served.kept}" in said
    served.kept.unlink()
    assert service(served, "remove").returncode == 0


def test_another_sockets_service_is_refused_before_the_first_effect(serve: Serve, service: Service) -> None:
    """3: systemd would start ours with another one's port."""
    served = serve()
    write_former(served, start=False)
    other = served.folder / f"my-{served.socket_name}"
    other.write_text(f"[Socket]\nListenStream={served.lab.root}/other\nService={served.name}\n")
    served.manager.systemctl("daemon-reload")
    served.manager.systemctl("start", other.name)
    done = service(served, "install", "--replace")
    served.manager.systemctl("stop", other.name)
    other.unlink()
    assert (done.returncode, f"disable --now {other.name}" in done.stderr) == (3, True), done.stderr


def test_another_address_of_the_same_port_is_nobodys_business(serve: Serve, service: Service) -> None:
    """What listens beside the gateway keeps nobody from installing it."""
    served = serve()
    with socket.create_server(("127.0.0.2", served.lab.port)):
        assert service(served, "install").returncode == 0


def test_a_former_unit_is_stopped_in_its_own_way(serve: Serve, service: Service) -> None:
    """Its ExecStop= is run, for it is stopped before systemd reads ours."""
    served = serve()
    write_former(served, start=False)
    mark = served.lab.root / "stopped"
    edit(served.unit, "[Service]", f"[Service]\nExecStop=/bin/sh -c ': > {mark}'")
    served.manager.systemctl("daemon-reload")
    served.manager.systemctl("start", served.name)
    served.lab.wait_until_healthy()
    assert service(served, "install", "--replace").returncode == 0
    assert mark.exists()


def test_what_was_kept_already_is_kept_once(serve: Serve, service: Service) -> None:
    """An install that was killed right after it had kept the former unit is finished; another former one is not lost.

    The kill itself is made by hand: between the two files no program is run that could be made to kill."""
    served = serve()
    write_former(served, start=False)
    before = served.standing()
    was = Former("disabled", "inactive", 0o600)
    served.kept.write_bytes(kept(served.unit.read_bytes(), was))
    served.kept.chmod(0o600)
    assert service(served, "install", "--replace").returncode == 0
    assert service(served, "remove").returncode == 0
    assert served.standing() == before
    served.kept.write_bytes(kept(b"[Service]\nExecStart=/bin/true\n", was))
    done = service(served, "install", "--replace")
    assert (done.returncode, "is kept already" in done.stderr) == (3, True), done.stderr


def test_a_unit_in_another_folder_is_shadowed_and_comes_back(serve: Serve, service: Service) -> None:
    """The lab's own unit stands in the runtime folder: untouched, ours goes before it until it is removed."""
    served = serve(start=True)
    assert service(served, "install", "--replace").returncode == 0
    assert served.manager.systemctl("show", served.name, "--property=FragmentPath", "--value") == str(served.unit)
    assert service(served, "remove").returncode == 0
    fragment = served.manager.systemctl("show", served.name, "--property=FragmentPath", "--value")
    assert fragment == str(served.manager.units / served.name)
    assert served.lab.status(served.lab.current_key()) == 200
    assert not served.kept.exists()


@pytest.mark.parametrize("code", [3, 0])
def test_a_unit_that_does_not_come_up_is_taken_out_again(serve: Serve, service: Service, code: int) -> None:
    """1; the unit of before runs again, proven; every file, link and state is as it was."""
    served = serve()
    write_former(served, start=True)
    before = served.standing()
    served.bin.joinpath("uvicorn").write_text(f"#!/bin/sh\nsleep 0.5\nexit {code}\n")
    done = service(served, "install", "--replace")
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "everything is as it was before" in done.stderr
    assert "accepts the present key again" in done.stderr
    assert served.standing() == before
    assert served.lab.status(served.lab.current_key()) == 200


def test_a_fresh_unit_that_does_not_come_up_leaves_nothing(serve: Serve, service: Service) -> None:
    """1; no file, no link, nothing that listens."""
    served = serve()
    before = served.standing()
    served.sick.write_text("3")
    done = service(served, "install")
    assert done.returncode == 1, done.stdout
    assert served.standing() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.lab.port), 5)


def no_program(served: Served) -> str:
    shutil.rmtree(served.bin)
    return "there is no litellm"


def no_server(served: Served) -> str:
    (served.bin / "uvicorn").unlink()
    return "--no-socket"


def no_env_file(served: Served) -> str:
    served.lab.env_file.unlink()
    return "keyrotor env litellm-master-key"


def no_config(served: Served) -> str:
    served.lab.config.unlink()
    return "litellm-unified.yaml is not there"


def another_key(served: Served) -> str:
    edit(served.lab.env_file, served.lab.current_key(), "sk-another-key-0123456789")
    return "keyrotor repair litellm-master-key"


def a_literal(served: Served) -> str:
    edit(served.lab.config, "os.environ/LITELLM_MASTER_KEY", "sk-literal-0123456789abc")
    return "its master_key is a literal"


def a_link(served: Served) -> str:
    served.folder.mkdir(parents=True, exist_ok=True)
    (served.lab.root / "managed.service").write_text("[Service]\nExecStart=/bin/true\n")
    served.unit.symlink_to(served.lab.root / "managed.service")
    return "it is a link to"


def a_mask(served: Served) -> str:
    served.manager.systemctl("mask", served.name)
    return f"systemctl --user unmask {served.name}"


def far_away(served: Served) -> str:
    edit(served.lab.playbook, f"http://127.0.0.1:{served.lab.port}", "https://gateway.example")
    return "not spoken by LiteLLM itself"


def too_short(served: Served) -> str:
    served.lab.playbook.write_text(re.sub(r'within = "60s"', 'within = "50s"', served.lab.playbook.read_text()))
    return 'within = "120s"'


@pytest.mark.parametrize(
    "spoil",
    [no_program, no_server, no_env_file, no_config, another_key, a_literal, a_link, a_mask, far_away, too_short],
)
def test_what_cannot_work_is_refused_before_the_first_effect(
    serve: Serve, service: Service, spoil: Callable[[Served], str]
) -> None:
    """3, with what to do; nothing changed, and no value shown."""
    served = serve()
    hint = spoil(served)
    before = served.standing()
    done = service(served, "install", "--replace")
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert hint in done.stderr
    assert "nothing was changed" in done.stderr
    assert "sk-" not in done.stdout + done.stderr
    assert served.standing() == before


def test_a_port_that_somebody_else_has_is_refused(serve: Serve, service: Service) -> None:
    """3: a stranger is not shown a key."""
    served = serve()
    with socket.create_server(("127.0.0.1", served.lab.port)):
        done = service(served, "install")
    assert done.returncode == 3
    assert f"port {served.lab.port} is answered by" in done.stderr
    assert not served.unit.exists()


def test_no_bus_and_another_scope_are_told(serve: Serve, service: Service, tmp_path: Path) -> None:
    """3 where no manager answers; 2 with the line to change where the playbook names the other one."""
    served = serve()
    (tmp_path / "empty").mkdir(mode=0o700)
    done = service(served, "install", XDG_RUNTIME_DIR=str(tmp_path / "empty"))
    assert (done.returncode, "no bus" in done.stderr) == (3, True), done.stderr
    done = service(served, "install", "--system")
    assert (done.returncode, 'scope = "system"' in done.stderr) == (2, True), done.stderr


def test_a_unit_that_was_edited_by_hand_is_not_lost(serve: Serve, service: Service) -> None:
    """Neither replaced nor removed unless asked; then the edit is kept beside, and the next removal works."""
    served = serve()
    assert service(served, "install").returncode == 0
    edit(served.unit, "RestartSec=5", "RestartSec=7")
    edited = served.unit.read_text()
    for verb in ("install", "remove"):
        done = service(served, verb)
        assert done.returncode == 3, done.stdout
        assert "--replace" in done.stderr
    assert service(served, "status").returncode == 10
    assert served.unit.read_text() == edited
    assert service(served, "install", "--replace").returncode == 0
    assert served.unit.with_name(f"{served.name}.edited").read_text() == edited
    edit(served.unit, "RestartSec=5", "RestartSec=9")
    assert service(served, "install", "--replace").returncode == 0
    assert served.unit.with_name(f"{served.name}.edited").read_text() == edited
    assert "RestartSec=9" in served.unit.with_name(f"{served.name}.edited.2").read_text()
    removed = service(served, "remove")
    assert (removed.returncode, f"{served.name}.edited.2 stays" in removed.stdout) == (0, True), removed.stderr
    assert not served.unit.exists()


def test_without_a_socket_and_back(serve: Serve, service: Service) -> None:
    """--no-socket takes the socket away and opens the port itself; status takes it as it is; the next install brings
    the socket again."""
    served = serve()
    assert service(served, "install").returncode == 0
    done = service(served, "install", "--no-socket", "--json")
    assert done.returncode == 0, done.stderr
    assert [each["state"] for each in told(done, "service")["files"]] == ["removed", "changed"]
    assert not served.socket.exists()
    assert "Requires" not in served.unit.read_text()
    assert service(served, "status").returncode == 0
    assert service(served, "install").returncode == 0
    assert not served.socket.exists()
    assert service(served, "install", "--socket").returncode == 0
    assert served.is_active(served.socket_name) == "active"


KILLER = """\
#!/bin/sh
case "$*" in *{verb}*) [ -e {mark} ] || {{ : > {mark}; {systemctl} "$@"; kill -9 $PPID; exit 1; }};; esac
exec {systemctl} "$@"
"""


@pytest.mark.parametrize("verb", ["daemon-reload", "stop -- ", "start -- .*service"])
@pytest.mark.parametrize("then", ["install", "remove"])
def test_an_install_that_was_killed_is_finished_or_taken_away(
    serve: Serve, service: Service, verb: str, then: str, tmp_path: Path
) -> None:
    """Killed after any of its steps: install completes it, remove brings the former unit back."""
    served = serve()
    write_former(served, start=True)
    before = served.standing()
    stub = tmp_path / "stub"
    stub.mkdir()
    pattern = verb.replace(".*", "*").replace(" ", "\\ ")
    text = KILLER.format(verb=pattern, mark=tmp_path / "killed", systemctl=shutil.which("systemctl"))
    (stub / "systemctl").write_text(text)
    (stub / "systemctl").chmod(0o755)
    done = service(served, "install", "--replace", PATH=f"{stub}:{served.bin}:{os.environ['PATH']}")
    assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr)
    done = service(served, then)
    assert done.returncode == 0, done.stderr
    assert served.lab.status(served.lab.current_key()) == 200
    if then == "install":
        assert service(served, "status").returncode == 0
        assert service(served, "remove").returncode == 0
    assert served.standing() == before


@pytest.mark.parametrize("verb", ["disable", "daemon-reload", "start -- "])
def test_a_removal_that_was_killed_is_finished(serve: Serve, service: Service, verb: str, tmp_path: Path) -> None:
    """Killed after any of its steps, the next removal brings the former unit back, enabled and started."""
    served = serve()
    write_former(served, start=True)
    before = served.standing()
    assert service(served, "install", "--replace").returncode == 0
    stub = tmp_path / "stub"
    stub.mkdir()
    pattern = verb.replace(".*", "*").replace(" ", "\\ ")
    text = KILLER.format(verb=pattern, mark=tmp_path / "killed", systemctl=shutil.which("systemctl"))
    (stub / "systemctl").write_text(text)
    (stub / "systemctl").chmod(0o755)
    done = service(served, "remove", PATH=f"{stub}:{served.bin}:{os.environ['PATH']}")
    assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr)
    assert service(served, "remove").returncode == 0
    assert served.standing() == before
    assert served.lab.status(served.lab.current_key()) == 200


@pytest.mark.parametrize(
    ("of", "call"),
    [(".service.before-keyrotor", "link:when=1"), (".socket", "unlink:when=2")],
    ids=["while-keeping", "with-two-names"],
)
def test_a_write_that_was_killed_is_in_nobodys_way_and_leaves_no_copy(
    serve: Serve, service: Service, tmp_path: Path, of: str, call: str
) -> None:
    """What is kept may hold a key: nothing of it is left under a hidden name, whatever is typed next."""
    strace = shutil.which("strace") or missing("strace")
    served = serve()
    write_former(served, start=True)
    before = served.standing()
    hidden = served.folder / f".{served.name.removesuffix('.service')}{of}.keyrotor"
    name, _, when = call.partition(":")
    cut = ("-P", str(hidden), "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:{when}")
    done = subprocess.run(
        [strace, "-o", str(tmp_path / "log"), *cut, *keyrotor_argv("service", "install", "--replace", "--yes")],
        check=False,
        cwd=served.lab.project,
        env=keyrotor_env(served.lab, PATH=f"{served.bin}:{os.environ['PATH']}"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
    )
    assert (done.returncode, hidden.exists()) == (-signal.SIGKILL, True), done.stderr
    assert service(served, "install", "--replace", "--dry-run").returncode == 0
    assert service(served, "remove").returncode in (0, 3)  # 3: the former unit still stands there
    assert not hidden.exists()
    assert served.standing() == before


def test_a_former_unit_that_does_not_come_back_is_told(serve: Serve, service: Service) -> None:
    """21: ours is gone, its file is back, and it does not answer; nothing says that nothing was changed."""
    served = serve()
    write_former(served, start=True)
    assert service(served, "install", "--replace").returncode == 0
    served.sick.write_text("3")
    done = service(served, "remove")
    assert done.returncode == 21, (done.stdout, done.stderr)
    assert "nothing was changed" not in done.stderr
    assert f"systemctl --user status {served.name}" in done.stderr
    assert "literal" in served.unit.read_text()
    assert not served.kept.exists()


def test_a_removal_needs_no_key(serve: Serve, service: Service) -> None:
    """0: an identity that is lost keeps nobody from removing; what is then not proven is told."""
    served = serve()
    write_former(served, start=True)
    assert service(served, "install", "--replace").returncode == 0
    served.lab.identity.unlink()
    done = service(served, "remove")
    assert done.returncode == 0, done.stderr
    assert "is not proven" in done.stdout


def test_another_run_and_a_run_that_is_owed_come_first(
    serve: Serve, service: Service, start_keyrotor: StartKeyrotor
) -> None:
    """30 while the lock is held, 22 while a run is owed: it may be restarting this very unit."""
    served = serve(start=True)
    folder = os.open(served.lab.secret_file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert service(served, "install", "--replace").returncode == 30
    os.close(folder)
    add_command(served.lab, "sleep 60", before="litellm")
    process = start_keyrotor(served.lab, "rotate", "--yes")
    wait_for(served.lab, "moving meanwhile:new", process)
    process.kill()
    process.wait()
    subprocess.run(["fuser", "-ks", str(served.lab.secret_file.parent)], check=False)
    for verb in ("install", "remove"):
        done = service(served, verb)
        assert done.returncode in (22, 30), done.stderr
    assert not served.unit.exists()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_paths_with_signs_in_them_and_any_umask(
    manager: UserManager, keyrotor: Keyrotor, tmp_path: Path, umask: int
) -> None:
    """Blanks, `%`, `$`, quotes and letters beyond ASCII mean nothing to systemd; modes are set, not left to chance."""
    lab = build(tmp_path / f'l "a\'b" 100%h $HOME ${{x}} é {umask}', manager=manager, within="60s")
    assert lab.unit
    served = Served(lab, manager, write_stand_in(tmp_path / "ve nv%n $HOME ${x} é" / "bin"), lab.unit)
    before = os.umask(umask)
    try:
        done = keyrotor(lab, "service", "install", "--yes", "--litellm", str(served.bin / "litellm"))
        assert done.returncode == 0, done.stderr
        assert served.unit.stat().st_mode & 0o777 == 0o644
        assert lab.status(lab.current_key()) == 200
        assert keyrotor(lab, "service", "status").returncode == 0
    finally:
        os.umask(before)
        served.tidy()


def test_a_unit_of_the_system_is_shown_with_whom_it_runs_as(serve: Serve, service: Service, tmp_path: Path) -> None:
    """The system's own manager is never asked here: a `systemctl` of the test's stands before it, which knows no unit.

    So this tells what would be written, and not that it runs."""
    served = serve()
    edit(served.lab.playbook, 'scope  = "user"', 'scope  = "system"')
    os.chown(served.lab.project, 65534, 65534)
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nprintf "LoadState=not-found\\n\\nLoadState=not-found\\n"\n'
    )
    (stub / "systemd-analyze").write_text("#!/bin/sh\nexit 0\n")
    for program in stub.iterdir():
        program.chmod(0o755)
    env = {"PATH": f"{stub}:{served.bin}:{os.environ['PATH']}", "SYSTEMD_UNIT_PATH": f"{tmp_path}/system:"}
    (tmp_path / "system").mkdir()
    done = service(served, "install", "--system", "--dry-run", **env)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/system/{served.name}: new" in done.stdout
    assert "| User=nobody" in done.stdout
    assert "| WantedBy=multi-user.target" in done.stdout
    asked = (tmp_path / "asked").read_text()
    assert "--user" not in asked
    assert "show" in asked


def test_a_litellm_that_is_linked_from_elsewhere_is_started_from_its_own_environment(
    serve: Serve, keyrotor: Keyrotor, tmp_path: Path
) -> None:
    """pipx and uv put a link on PATH; the server stands beside what it leads to."""
    served = serve()
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "litellm").symlink_to(served.bin / "litellm")
    done = keyrotor(served.lab, "service", "install", "--dry-run", env={"PATH": f"{tmp_path}/path:{os.defpath}"})
    assert done.returncode == 0, done.stderr
    assert f"ExecStart=:{served.bin}/uvicorn" in done.stdout


def test_a_gateway_with_a_database_is_started_by_litellm_itself(serve: Serve, service: Service) -> None:
    """Its address may stand in the env file alone; uvicorn would leave migrations out."""
    served = serve()
    with served.lab.env_file.open("a") as file:
        file.write("DATABASE_URL=postgresql://127.0.0.1/litellm\n")
    done = service(served, "install", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "--run_gunicorn" in done.stdout
    assert "postgresql" not in done.stdout


def test_a_refused_install_asks_for_nothing_without_a_terminal(serve: Serve, keyrotor: Keyrotor) -> None:
    """2: no consent can be had."""
    done = keyrotor(serve().lab, "service", "install")
    assert (done.returncode, "--yes" in done.stderr) == (2, True)


def test_a_signal_in_the_wait_puts_everything_back(serve: Serve, start_keyrotor: StartKeyrotor) -> None:
    """1: ours is taken out again, the unit of before runs, proven."""
    served = serve()
    write_former(served, start=True)
    before = served.standing()
    served.held.touch()
    path = f"{served.bin}:{os.environ['PATH']}"
    process = start_keyrotor(served.lab, "service", "install", "--yes", "--replace", env={"PATH": path})
    deadline = time.monotonic() + 300
    while served.is_active(served.socket_name) != "active":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1, said
    assert "interrupted by SIGTERM" in said
    assert "accepts the present key again" in said
    assert served.standing() == before


def test_the_real_litellm_behind_the_socket(
    make_lab: MakeLab, manager: UserManager, keyrotor: Keyrotor, litellm: Path
) -> None:
    """20 connections a second across a rotation of the real proxy: none refused, each answered; an audit is clean."""
    lab = make_lab("litellm", start=False)
    assert lab.unit
    served = Served(lab, manager, litellm.parent, lab.unit)
    try:
        done = keyrotor(lab, "service", "install", "--yes", "--litellm", str(litellm))
        assert done.returncode == 0, done.stderr
        clients = Clients(lab.port, lambda: re.findall(r'"apiKey": "([^"]*)"', lab.settings.read_text())[0])
        clients.start()
        rotated = keyrotor(lab, "rotate", "--yes")
        became = clients.end()
        assert rotated.returncode == 0, rotated.stdout
        assert became.keys() <= {"200", "400"}, became
        assert keyrotor(lab, "service", "status").returncode == 0
        assert set(found(keyrotor, lab)) <= {"timer-absent", "file-uncommitted"}, found(keyrotor, lab)
        assert keyrotor(lab, "service", "remove", "--yes").returncode == 0
    finally:
        served.tidy()
