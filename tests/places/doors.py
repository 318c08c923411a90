"""Doors that a test answers at: a tiny HTTP server in this process, for what the embedded gateway cannot say."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NO_DB = b'{"error":{"message":"No connected db.","type":"no_db_connection","param":null,"code":"400"}}'

Said = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]
Answers = Callable[[bytes | None], Said]


@dataclass
class StubDoor:
    """Answers a bearer key (None: no key) by a function that a test may swap; remembers all it was asked."""

    url: str
    answers: Answers
    asked: list[bytes | None] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # request line and headers, whole


@contextmanager
def stub(answers: Answers, tls: ssl.SSLContext | None = None) -> Iterator[StubDoor]:
    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            header = self.headers.get("Authorization")
            key = header.removeprefix("Bearer ").encode() if header is not None else None
            door.asked.append(key)
            door.seen.append(f"{self.requestline}\n{self.headers}")
            status, body, *more = door.answers(key)
            if status == 0:
                return  # not a word: the connection is closed
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, text in (more[0] if more else {}).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        do_CONNECT = do_GET  # noqa: N815  (the name that http.server looks for)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.block_on_close = False
    door = StubDoor(f"http://127.0.0.1:{server.server_address[1]}", answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield door
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hang(_: bytes | None) -> Said:
    """Says nothing for longer than anybody waits in a test."""
    time.sleep(600)
    return 0, b""
