"""A real HTTP server on loopback, that keeps what is posted to it and answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Inbox:
    """What came in, in its order."""

    port: int
    answers: list[int]  # the statuses of the first ones; 200 for all others
    leads_to: str = ""  # where a redirect leads
    delay: float = 0.0  # seconds before each answer
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    @property
    def everything(self) -> bytes:
        said = "\n".join([*self.paths, *(f"{name}: {text}" for each in self.headers for name, text in each.items())])
        return said.encode() + b"\n".join(self.bodies)


@contextmanager
def inbox(*answers: int, leads_to: str = "", delay: float = 0.0) -> Iterator[Inbox]:
    """Such a server, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept.paths.append(self.path)
            kept.headers.append(dict(self.headers.items()))
            kept.bodies.append(body)
            time.sleep(kept.delay)
            try:
                self.send_response(kept.answers.pop(0) if kept.answers else 200)
                if kept.leads_to:
                    self.send_header("Location", kept.leads_to)
                self.end_headers()
                self.wfile.write(b"ok")
            except OSError:  # who asked has gone
                return

        do_GET = do_POST  # noqa: N815  http.server calls it so

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Inbox(server.server_port, list(answers), leads_to, delay)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
