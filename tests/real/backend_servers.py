"""Servers that stand for Ollama, llama.cpp and vLLM, which need models and a GPU and cannot run in a test.

They answer in the formats that those document: Ollama's /api/tags, OpenAI's /v1/models with llama.cpp's and vLLM's
own fields, llama.cpp's /health.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Said = tuple[int, object]
LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
READY = {"status": "ok"}


@dataclass
class Server:
    """Answers paths by functions of the key; remembers what it was asked, and by how many at once."""

    port: int
    routes: dict[str, Callable[[str | None], Said]]
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    now: int = 0
    most: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def server(routes: dict[str, Callable[[str | None], Said]], *, pause: float = 0.0) -> Iterator[Server]:
    """A server for the time of the context; each answer takes `pause` seconds."""
    lock = threading.Lock()

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            key = self.headers.get("Authorization")
            with lock:
                found.asked.append((self.path, key))
                found.now += 1
                found.most = max(found.most, found.now)
            time.sleep(pause)
            status, body = found.routes.get(self.path, lambda _: (404, {"error": "not found"}))(key)
            with lock:
                found.now -= 1
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None: ...

    class Many(ThreadingHTTPServer):
        daemon_threads, block_on_close, request_queue_size = True, False, 256

    with Many(("127.0.0.1", 0), Door) as listening:
        found = Server(listening.server_address[1], routes)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            listening.shutdown()
            thread.join()


def ollama(*names: str) -> dict[str, Callable[[str | None], Said]]:
    """Ollama's own list."""
    details = {
        "format": "gguf",
        "family": "llama",
        "families": None,
        "parameter_size": "8B",
        "quantization_level": "Q4_0",
    }
    models = [
        {
            "name": name,
            "model": name,
            "modified_at": "2026-10-01T10:00:00Z",
            "size": 1,
            "digest": "ab",
            "details": details,
        }
        for name in names
    ]
    return {"/api/tags": lambda _: (200, {"models": models})}


def llama_cpp(*names: str, is_ready: bool = True) -> dict[str, Callable[[str | None], Said]]:
    """llama-server: the list can be had while the model is still loading."""
    data = [
        {"id": name, "object": "model", "owned_by": "llamacpp", "aliases": [], "meta": {"n_ctx": 4096}}
        for name in names
    ]
    return {
        "/v1/models": lambda _: (200, {"object": "list", "data": data, "models": [{"name": name} for name in names]}),
        "/health": lambda _: (200, READY) if is_ready else (503, LOADING),
    }


def vllm(*names: str, key: str | None = None) -> dict[str, Callable[[str | None], Said]]:
    """vLLM, with a key or without: what is below /v1 wants it, /health does not."""
    data = [
        {"id": name, "object": "model", "owned_by": "vllm", "root": name, "parent": None, "max_model_len": 1}
        for name in names
    ]

    def models(given: str | None) -> Said:
        is_let_in = key is None or given == f"Bearer {key}"
        return (200, {"object": "list", "data": data}) if is_let_in else (401, {"error": "Unauthorized"})

    return {"/v1/models": models, "/health": lambda _: (200, b"")}


@contextmanager
def raw(say: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A port at which `say` speaks with whoever comes, until the event is set; for what no HTTP server would do."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=speak, args=(connection,), daemon=True).start()

        def speak(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                say(connection, over)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)


def hang(connection: socket.socket, over: threading.Event) -> None:
    """Says nothing."""
    over.wait()


def refuse(connection: socket.socket, over: threading.Event) -> None:
    """A web server that knows no such words."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    over.wait()


def babble(connection: socket.socket, over: threading.Event) -> None:
    """What begins like redis' own words, and goes on as nobody's."""
    connection.recv(4096)
    connection.sendall(b":not a number\r\n")
    over.wait()


def trickle_head(connection: socket.socket, over: threading.Event) -> None:
    """Headers without an end, one byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not over.wait(0.02):
        connection.sendall(b"x")


def trickle_body(connection: socket.socket, over: threading.Event) -> None:
    """A body without an end, one byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
    while not over.wait(0.02):
        connection.sendall(b" ")


def flood(connection: socket.socket, over: threading.Event) -> None:
    """A body without an end, as fast as it can."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
    while not over.is_set():
        connection.sendall(b" " * 65536)
