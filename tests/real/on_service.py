"""What the tests of `service` share: a stand-in for LiteLLM's programs, and clients that connect again and again."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyrotor.demo import gateway
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

EVERY = 0.05  # seconds between two connections: 20 a second

# The embedded gateway in LiteLLM's stead: as `uvicorn … --fd 3` it takes the port from systemd, as `litellm … --port N`
# it opens it. It starts in 0.1 s, the real one in 5.5 s. Like the real one it answers, before it ends, what it has
# accepted.
STAND_IN = """\
#!{python} -IS
import importlib.util, os, signal, socket, sys, threading, time
spec = importlib.util.spec_from_file_location("gateway", {gateway!r})
gateway = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gateway)
class Handed(gateway.Gateway):
    daemon_threads = False
    def server_bind(self):
        self.socket.close()
        self.socket = socket.socket(fileno=3)
        self.server_name, self.server_port = "127.0.0.1", 0
sick = {sick!r}
if os.path.exists(sick):
    sys.exit(int(open(sick).read() or 3))
time.sleep({delay})
if "--fd" in sys.argv:
    while os.path.exists({held!r}):
        time.sleep(0.05)
    assert os.environ["CONFIG_FILE_PATH"] and os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    options = gateway._options([])
    gateway.Door.protocol_version = "HTTP/1.0"  # no connection is kept, which would have to be waited for
    with Handed(os.environ["LITELLM_MASTER_KEY"], options) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(0.02)
    sys.exit()
options = gateway._options(["--port", sys.argv[sys.argv.index("--port") + 1]])
gateway.Gateway(os.environ["LITELLM_MASTER_KEY"], options).serve_forever()
"""


@dataclass(frozen=True)
class Served:
    """A lab whose gateway `service install` can run, and where its units go."""

    lab: Lab
    manager: UserManager
    bin: Path
    name: str

    @property
    def socket_name(self) -> str:
        return self.name.replace(".service", ".socket")

    @property
    def folder(self) -> Path:
        """The folder of the manager, whose home is another than the lab's."""
        return self.manager.runtime.parent / "home" / ".config" / "systemd" / "user"

    @property
    def unit(self) -> Path:
        return self.folder / self.name

    @property
    def socket(self) -> Path:
        return self.folder / self.socket_name

    @property
    def kept(self) -> Path:
        return self.folder / f"{self.name}.before-keyrotor"

    @property
    def sick(self) -> Path:
        return self.bin / "sick"

    @property
    def held(self) -> Path:
        """While it is there, no gateway comes up behind a socket."""
        return self.bin / "held"

    def is_active(self, name: str = "") -> str:
        return self.manager.systemctl("is-active", name or self.name, check=False)

    def is_enabled(self, name: str = "") -> str:
        return self.manager.systemctl("is-enabled", name or self.name, check=False)

    def standing(self) -> dict[str, object]:
        """Everything of the two units that an install could change."""
        found: dict[str, object] = {}
        for path in sorted(self.folder.rglob(f"{self.name.removesuffix('.service')}*")):
            status = path.lstat()
            found[str(path.relative_to(self.folder))] = (
                oct(status.st_mode),
                path.read_bytes() if path.is_file() else "",
            )
        found["active"] = (self.is_active(), self.is_active(self.socket_name))
        found["enabled"] = (self.is_enabled(), self.is_enabled(self.socket_name))
        return found

    def tidy(self) -> None:
        """Stop both units and remove what is left of them."""
        self.manager.systemctl("stop", self.socket_name, self.name, check=False)
        self.manager.systemctl("disable", self.socket_name, self.name, check=False)
        for path in [*self.folder.rglob(f"*{self.name.removesuffix('.service')}*")]:
            if path.is_symlink() or path.is_file():
                path.unlink()
        self.manager.systemctl("daemon-reload")
        self.manager.systemctl("reset-failed", self.socket_name, self.name, check=False)


def write_stand_in(folder: Path, delay: float = 0.0) -> Path:
    """A `bin` with the stand-ins for `litellm` and `uvicorn`."""
    folder.mkdir(parents=True)
    for name in ("litellm", "uvicorn"):
        files = {each: str(folder / each) for each in ("sick", "held")}
        text = STAND_IN.format(python=sys.executable, gateway=gateway.__file__, delay=delay, **files)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


class Clients(threading.Thread):
    """20 requests a second, each on a connection of its own, with the key that is in force; what became of each."""

    def __init__(self, port: int, key: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self._port, self._key = port, key
        self._over = threading.Event()
        self._asked: list[threading.Thread] = []
        self.became: list[str] = []
        self.longest = 0.0

    def run(self) -> None:
        while not self._over.wait(EVERY):
            one = threading.Thread(target=self._ask, daemon=True)
            one.start()
            self._asked.append(one)

    def end(self) -> dict[str, int]:
        """How many ended how."""
        self._over.set()
        self.join()
        for one in self._asked:
            one.join(300)
        return {each: self.became.count(each) for each in sorted(set(self.became))}

    def _ask(self) -> None:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        try:
            connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {self._key()}"})
            became = str(connection.getresponse().status)
        except ConnectionRefusedError:
            became = "refused"
        except (OSError, http.client.HTTPException) as error:
            became = type(error).__name__
        finally:
            connection.close()
        self.became.append(became)
        self.longest = max(self.longest, time.monotonic() - began)
