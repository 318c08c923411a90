"""The texts of the gateway's unit and socket: nothing left to expand, and a mark that tells whose they are."""

from __future__ import annotations

import dataclasses

import pytest

from keyrotor.errors import RefusedError
from keyrotor.formats import unit_files
from keyrotor.formats.unit_files import Origin, Wanted

WANTED = Wanted(
    name="litellm.service",
    scope="user",
    user="",
    project="/home/you/lab",
    env_files=["/home/you/.config/lab-secrets/litellm.env"],
    config="/home/you/lab/litellm.yaml",
    program="/home/you/venv/bin/litellm",
    host="127.0.0.1",
    port=4000,
    within=120.0,
    has_socket=True,
    has_database=False,
)


def but(**other: object) -> Wanted:
    return dataclasses.replace(WANTED, **other)  # type: ignore[arg-type]


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_the_unit_has_what_keeps_a_key_safe() -> None:
    """No `-` before the env file, a private umask, no core dump, a stop that is longer than LiteLLM's own drain."""
    told = lines(unit_files.service(WANTED))
    wanted = {
        "EnvironmentFile=/home/you/.config/lab-secrets/litellm.env",
        "WorkingDirectory=/home/you/lab",
        "UMask=0077",
        "LimitCORE=0",
        "TimeoutStopSec=90",
        "NoNewPrivileges=yes",
        "Restart=on-failure",
        "WantedBy=default.target",
        "Requires=litellm.socket",
        "After=litellm.socket",
    }
    assert wanted <= set(told)


@pytest.mark.parametrize(
    ("other", "command"),
    [
        (
            {},
            "ExecStart=:/home/you/venv/bin/uvicorn litellm.proxy.proxy_server:app --fd 3 --app-dir /home/you/venv/bin",
        ),
        (
            {"has_database": True},
            "ExecStart=:/home/you/venv/bin/litellm --config /home/you/lab/litellm.yaml --host 127.0.0.1 --port 4000 "
            "--run_gunicorn",
        ),
        (
            {"has_socket": False},
            "ExecStart=:/home/you/venv/bin/litellm --config /home/you/lab/litellm.yaml --host 127.0.0.1 --port 4000",
        ),
    ],
)
def test_what_is_started_can_be_handed_the_port(other: dict[str, object], command: str) -> None:
    """uvicorn for a gateway without a database, gunicorn for one with it, LiteLLM itself where there is no socket."""
    text = unit_files.service(but(**other))
    assert command in lines(text)
    assert unit_files.has_socket(text) is other.get("has_socket", True)
    assert unit_files.program(text) == WANTED.program


@pytest.mark.parametrize(
    "path", ["/home/you/100% mine/x", "/home/you/$HOME/${x}", '/home/you/"a" b/x', "/home/you/it's; é/x"]
)
def test_nothing_in_a_path_is_left_to_be_expanded(path: str) -> None:
    """`%` is doubled, quotes are escaped, and what our own reader takes out is the path again."""
    text = unit_files.service(but(program=f"{path}/bin/litellm", config=path, project=path, env_files=[path]))
    doubled = path.replace("%", "%%")
    assert f"EnvironmentFile={doubled}" in lines(text)
    assert f"WorkingDirectory={doubled}" in lines(text)
    assert unit_files.program(text) == f"{path}/bin/litellm"


@pytest.mark.parametrize("path", ["/a\nExecStart=/bin/sh", "/a*", "/a[b]", "/a\\b", "/a ", "/\udc80"])
def test_a_path_that_no_unit_can_name_is_refused(path: str) -> None:
    """A newline would be another setting, a pattern another file."""
    with pytest.raises(RefusedError, match="cannot write a unit"):
        unit_files.service(but(env_files=[path]))


@pytest.mark.parametrize(
    ("host", "listens", "is_free"),
    [("127.0.0.1", "127.0.0.1:4000", False), ("::1", "[::1]:4000", False), ("192.0.2.7", "192.0.2.7:4000", True)],
)
def test_the_socket_listens_where_the_playbook_says(host: str, listens: str, is_free: bool) -> None:
    """An address that is not always there may come up later."""
    told = lines(unit_files.socket(but(host=host)))
    assert f"ListenStream={listens}" in told
    assert ("FreeBind=yes" in told) is is_free


@pytest.mark.parametrize(("within", "stop"), [(57.0, "45"), (100.0, "70"), (600.0, "90")])
def test_the_stop_leaves_time_for_a_start_within_the_doors_deadline(within: float, stop: str) -> None:
    """At least LiteLLM's own drain, at most systemd's default."""
    assert f"TimeoutStopSec={stop}" in lines(unit_files.service(but(within=within)))


def test_a_unit_of_the_system_runs_as_somebody_and_waits_for_the_network() -> None:
    """User=, no capabilities, multi-user.target."""
    told = set(lines(unit_files.service(but(scope="system", user="lab"))))
    assert {"User=lab", "CapabilityBoundingSet=", "After=network-online.target", "WantedBy=multi-user.target"} <= told


def test_whose_a_text_is_is_told_by_its_last_line() -> None:
    """Ours, ours with a change anywhere in it, somebody else's, none."""
    text = unit_files.service(WANTED)
    assert unit_files.origin(text) is Origin.OURS
    assert unit_files.origin(text.replace("RestartSec=5", "RestartSec=6")) is Origin.EDITED
    assert unit_files.origin(text + "# more\n") is Origin.EDITED
    assert unit_files.origin("[Service]\nExecStart=/bin/true\n") is Origin.FOREIGN
    assert unit_files.origin(None) is Origin.ABSENT


def test_the_port_that_is_installed_is_told_by_the_text() -> None:
    """By the socket's, or by that of the service without one."""
    assert unit_files.listens(unit_files.socket(but(host="::1"))) == 4000
    assert unit_files.listens(unit_files.service(but(has_socket=False))) == 4000
    assert unit_files.listens(unit_files.service(WANTED)) == 0
