"""The lab's embedded gateway with addresses of its own: run by a unit under the name `litellm`, as a person would.

`--host` and `--port` as LiteLLM has them, or the sockets that systemd hands over. Besides:
- `--stale PORT FILE`: a second listener (a worker that was left over) that accepts the key in FILE;
- `--cache FILE SECONDS`: the key in FILE is accepted for so long after the start;
- `--metrics PORT STATUS`: a listener that answers so to all; `--tls PORT PEM`: one that speaks TLS;
- `--unix PATH FILE`: a socket of the file system that accepts the key in FILE;
- `--open` and `--answer`: as the embedded gateway has them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

place = Path(__file__).parents[2] / "src" / "keyrotor" / "demo" / "gateway.py"
spec = importlib.util.spec_from_file_location("gateway", place)
gateway: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
spec.loader.exec_module(gateway)  # type: ignore[union-attr]


class Metrics(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        body = b"# HELP up\nup 1\n"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(key: str, mine: socket.socket, also: Path | None, until: float, **how: Any) -> None:
    options = SimpleNamespace(**{"also": also, "answer": None, "open": False, "no_prisma": False, **how})

    class Door(gateway.Door):  # type: ignore[misc]
        disable_nagle_algorithm = mine.family != socket.AF_UNIX

    class One(gateway.Gateway):  # type: ignore[misc]
        def __init__(self) -> None:
            self.key, self.options = key, options
            ThreadingHTTPServer.__init__(self, ("", 0), Door, bind_and_activate=False)
            self.socket = mine

        def accepts(self, shown: str) -> bool:
            if self.options.also and time.monotonic() > until:
                self.options.also = None
            return bool(super().accepts(shown))

    threading.Thread(target=One().serve_forever, daemon=True).start()


def bound(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(128)
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=4000)
    parser.add_argument("--stale", nargs=2)
    parser.add_argument("--metrics", type=int, nargs=2)
    parser.add_argument("--cache", nargs=2)
    parser.add_argument("--unix", nargs=2)
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--open", action="store_true")
    parser.add_argument("--answer", type=int)
    options = parser.parse_args()
    key = os.environ["LITELLM_MASTER_KEY"]
    handed = int(os.environ.get("LISTEN_FDS", "0"))
    mine = [socket.socket(fileno=3 + at) for at in range(handed)] or [bound(options.host, options.port)]
    also, until = None, float("inf")
    if options.cache:
        also, until = Path(options.cache[0]), time.monotonic() + float(options.cache[1])
    for each in mine:
        serve(key, each, also, until, open=options.open, answer=options.answer)
    if options.stale:
        serve(key, bound("127.0.0.1", int(options.stale[0])), Path(options.stale[1]), float("inf"))
    if options.unix:
        local = socket.socket(socket.AF_UNIX)
        local.bind(options.unix[0])
        local.listen(16)
        serve(key, local, Path(options.unix[1]), float("inf"))
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls[1])
        secure = context.wrap_socket(bound("127.0.0.1", int(options.tls[0])), server_side=True)
        serve(key, secure, None, float("inf"))
    if options.metrics:
        Metrics.status = options.metrics[1]
        other = ThreadingHTTPServer(("127.0.0.1", options.metrics[0]), Metrics)
        threading.Thread(target=other.serve_forever, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
