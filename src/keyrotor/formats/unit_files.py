"""The text of the gateway's unit, and of the socket that holds its port while it restarts. Pure.

Rules:
1. Nothing in a path is left for systemd to expand: `%` is doubled, and `:` before the program keeps every `$` as it is.
2. No value ever stands in a unit: the key comes from the env file.
3. The last line is ours: a digest of all that stands before it tells whether somebody has edited the file since.

Measured on systemd 252 with LiteLLM 1.106.2 (docs/explanation/performance.md); the reasons that a reader of the unit
needs stand in its own comments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from keyrotor.formats import unit_lines
from keyrotor.formats.unit_lines import Origin as Origin  # noqa: PLC0414  everybody knows it by this module
from keyrotor.formats.unit_lines import cannot_stand as cannot_stand  # noqa: PLC0414  as above
from keyrotor.formats.unit_lines import marked, specified, whole, word

STOP_LEAST = 45.0  # seconds: LiteLLM drains for 30 after SIGTERM
STOP_MOST = 90.0  # seconds: systemd's own default
START = 12.0  # seconds: the slowest quiet start of LiteLLM measured was 11.6
SLOW_START = 30.0  # seconds of the door's `within` that are left for a start
_MAKER = "service"

# What LiteLLM bears, and what a user's manager can do without any privilege: system call filters and flags, no mount
# namespaces (which a user has only where user namespaces are allowed) and no capabilities.
_HARDENING = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
# The system's manager can take capabilities away besides. Mount namespaces (ProtectSystem= and the like) it has not
# in every container, where the unit would not start at all (226/NAMESPACE); a drop-in may add them.
_HARDENING_OF_THE_SYSTEM = """\
CapabilityBoundingSet=
"""
_WHY_UVICORN = """\
# uvicorn, not litellm: it takes the port from the socket unit (--fd 3), where litellm would try to open it once more.
# What litellm would do besides is for a database (its address, its migrations), and this gateway has none.
# --app-dir: else a litellm.py in the project's folder would be run in the place of the real one.
"""
_WHY_GUNICORN = """\
# With a database litellm itself must start, for it prepares the database's address and runs its migrations; under
# --run_gunicorn it takes the port from the socket unit.
"""
_WHY_PLAIN = """\
# No socket unit: whoever connects while the gateway restarts is refused.
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that the two texts are made of; paths are absolute."""

    name: str  # `litellm.service`
    scope: str
    user: str  # whom it runs as, in the system's scope; "" leaves it
    project: str
    env_files: Sequence[str]
    config: str
    program: str  # the litellm of a virtual environment
    host: str
    port: int
    within: float  # seconds that the playbook gives the door
    has_socket: bool
    has_database: bool

    @property
    def stem(self) -> str:
        return self.name.removesuffix(".service")

    @property
    def socket(self) -> str:
        return f"{self.stem}.socket"

    @property
    def server(self) -> str:
        """The program that is started."""
        is_uvicorn = self.has_socket and not self.has_database
        return f"{self.program.rpartition('/')[0]}/uvicorn" if is_uvicorn else self.program


def service(wanted: Wanted) -> str:
    """The unit's text. Raises RefusedError for a path that cannot stand in one."""
    stop = min(STOP_MOST, max(STOP_LEAST, wanted.within - SLOW_START))
    needed = f"Requires={specified(wanted.socket)}\nAfter={specified(wanted.socket)}\n" if wanted.has_socket else ""
    online = "Wants=network-online.target\nAfter=network-online.target\n" if wanted.scope == "system" else ""
    env_files = "".join(f"EnvironmentFile={whole(path)}\n" for path in wanted.env_files)
    user = f"User={specified(wanted.user)}\n" if wanted.user else ""
    more = _HARDENING_OF_THE_SYSTEM if wanted.scope == "system" else ""
    target = "multi-user.target" if wanted.scope == "system" else "default.target"
    return marked(
        f"""\
# Made by `keyrotor service install`. Change it by a drop-in: systemctl --{wanted.scope} edit {wanted.name}
[Unit]
Description=LiteLLM gateway
{needed}{online}# A key that LiteLLM refuses would make it start for ever: every 11 s, RestartSec and the start itself.
StartLimitIntervalSec=180
StartLimitBurst=10

[Service]
Type=exec
{user}WorkingDirectory={whole(wanted.project)}
# No `-` before the path: without its keys the gateway must not start.
{env_files}# No look-up of model prices over the network, no `.env` found beside the virtual environment.
Environment=LITELLM_LOCAL_MODEL_COST_MAP=True LITELLM_MODE=PRODUCTION PYTHONUNBUFFERED=1
{_command(wanted)}Restart=on-failure
RestartSec=5
# Requests in flight are finished, then LiteLLM drains for 30 s.
TimeoutStopSec={stop:g}
UMask=0077
LimitCORE=0
{_HARDENING}{more}
[Install]
WantedBy={target}
""",
        _MAKER,
    )


def socket(wanted: Wanted) -> str:
    """The text of the unit that holds the port."""
    is_local = wanted.host in ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104  compared, not bound
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    free = "" if is_local else "# The address may come up after us.\nFreeBind=yes\n"
    return marked(
        f"""\
# Made by `keyrotor service install`. Change it by a drop-in: systemctl --{wanted.scope} edit {wanted.socket}
[Unit]
Description=Port of the LiteLLM gateway

[Socket]
# Held by systemd: whoever connects while the gateway restarts waits here, and is not refused.
ListenStream={host}:{wanted.port}
Backlog=2048
# The gateway is handed the port as a file, and could not set this by itself.
NoDelay=yes
{free}
[Install]
WantedBy=sockets.target
""",
        _MAKER,
    )


def origin(text: str | None) -> Origin:
    """Whose text it is."""
    return unit_lines.origin(text, _MAKER)


def has_socket(text: str) -> bool:
    """Whether a unit of ours takes its port from a socket."""
    return re.search(r"^Requires=.*\.socket$", text, re.MULTILINE) is not None


def listens(text: str) -> int:
    """The port that a unit of ours opens, or its socket's text holds; 0 if it names none."""
    found = re.search(r"^(?:ListenStream=.*:|ExecStart=.* --port )(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def program(text: str) -> str:
    """The litellm that a unit of ours starts, or that stands beside what it starts; "" if it names none."""
    found = re.search(r"""^ExecStart=:(?:"((?:\\.|[^"\\])*)"|(\S+)) """, text, re.MULTILINE)
    if not found:
        return ""
    path = (found[2] or re.sub(r"\\(.)", r"\1", found[1])).replace("%%", "%")
    return f"{path.rpartition('/')[0]}/litellm"


def _command(wanted: Wanted) -> str:
    """The line that starts it, `:` before it so that no `$` means anything, and why it is this program."""
    config = word(wanted.config)
    if wanted.has_socket and not wanted.has_database:
        setting = f"Environment={word(f'CONFIG_FILE_PATH={wanted.config}')}\n"
        beside = word(wanted.server.rpartition("/")[0])
        command = f"{word(wanted.server)} litellm.proxy.proxy_server:app --fd 3 --app-dir {beside}"
        return f"{setting}{_WHY_UVICORN}ExecStart=:{command}\n"
    listens = f"--config {config} --host {word(wanted.host)} --port {wanted.port}"
    if wanted.has_socket:
        return f"{_WHY_GUNICORN}ExecStart=:{word(wanted.server)} {listens} --run_gunicorn\n"
    return f"{_WHY_PLAIN}ExecStart=:{word(wanted.server)} {listens}\n"
