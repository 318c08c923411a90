"""An embedded gateway with LiteLLM's own answers: `python gateway.py --port P`.

Rules:
1. The key is read from LITELLM_MASTER_KEY once, at start; a weak one is refused with exit 3, as LiteLLM >= 1.104 does.
2. Statuses and bodies are those of LiteLLM 1.106.2 without a database; tests/real/test_lab.py compares the two.
3. Loopback only. No request, header or key is ever logged.
4. Options beyond the port make the faults that a rotation must survive; `--sick-file` works on the real proxy too.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import socketserver
import sys
import time
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WEAK_KEYS = ("", "sk-1234")
HEALTH = {
    "/health/liveliness": "I'm alive!",
    "/health/liveness": "I'm alive!",
    "/health/readiness": {"status": "healthy", "db": "Not connected"},
}
MODELS = ("/v1/models", "/models")
CHATS = ("/v1/chat/completions", "/chat/completions")
MODEL = "mock"
ANSWER = "pong"


class Gateway(ThreadingHTTPServer):
    """Answers on loopback until it is ended."""

    daemon_threads = True
    request_queue_size = 128  # the default of 5 drops connections that a polling client opens in a burst

    def __init__(self, key: str, options: argparse.Namespace) -> None:
        self.key = key
        self.options = options
        super().__init__(("127.0.0.1", options.port), Door)

    def server_bind(self) -> None:
        """Binds without HTTPServer's reverse look-up of the host name: it can take seconds without a network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.options.port

    def accepts(self, key: str) -> bool:
        also: Path | None = self.options.also
        keys = [self.key] + ([also.read_text().strip()] if also and also.exists() else [])
        return any(hmac.compare_digest(key.encode(), known.encode()) for known in keys if known)


class Door(BaseHTTPRequestHandler):
    """One request: authenticate, then answer."""

    server: Gateway
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for head and body
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def _route(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        options = self.server.options
        if options.answer:
            self._error(options.answer, "Service unavailable.", "service_unavailable", None)
        elif path in HEALTH:
            self._say(200, HEALTH[path])
        elif path not in MODELS + CHATS:
            self._say(404, {"detail": "Not Found"})
        elif self.command != ("GET" if path in MODELS else "POST"):
            self._say(405, {"detail": "Method Not Allowed"})
        elif options.open or self._is_authorised():
            self._say(200, _models() if path in MODELS else _chat(body))

    def _is_authorised(self) -> bool:
        """True for a key that opens the door; else the answer has been given."""
        key = self._key()
        if key is None and self.server.options.no_prisma:
            self._send(500, "text/plain; charset=utf-8", b"Internal Server Error")
        elif key is None:
            self._error(401, "Authentication Error, No api key passed in.", "auth_error", "None")
        elif not key:
            why = "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix."
            self._error(401, why, "auth_error", "None")
        elif not self.server.accepts(key):
            self._error(400, "No connected db.", "no_db_connection", None)
        else:
            return True
        return False

    def _key(self) -> str | None:
        """The key of the request: None without one, empty when its header is malformed."""
        value = self.headers.get("Authorization")
        if value is None:
            return self.headers.get("x-api-key")
        scheme, _, key = value.partition(" ")
        return key.strip() if scheme in ("Bearer", "Basic") else ""

    def _error(self, status: int, message: str, kind: str, param: str | None) -> None:
        self._say(status, {"error": {"message": message, "type": kind, "param": param, "code": str(status)}})

    def _say(self, status: int, body: object) -> None:
        self._send(status, "application/json", json.dumps(body, separators=(",", ":")).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "uvicorn"

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: request lines can carry keys."""


def _models() -> object:
    model = {"id": MODEL, "object": "model", "created": 1677610602, "owned_by": "openai"}
    return {"data": [model], "object": "list"}


def _chat(body: bytes) -> object:
    try:
        model = json.loads(body)["model"]
    except (ValueError, KeyError, TypeError):
        model = MODEL
    return {
        "id": f"chatcmpl-{uuid.uuid4()}",
        "created": int(time.time()),
        "model": model,
        "object": "chat.completion",
        "choices": [{"finish_reason": "stop", "index": 0, "message": {"content": ANSWER, "role": "assistant"}}],
        "usage": {"completion_tokens": 20, "prompt_tokens": 10, "total_tokens": 30},
    }


def _is_sick(note: Path | None, key: str) -> bool:
    """True while the note is there, unless it names this key by its SHA-256 as the one that still comes up."""
    try:
        spared = note.read_text().strip() if note else None
    except FileNotFoundError:
        return False
    return spared is not None and spared != hashlib.sha256(key.encode()).hexdigest()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=4000)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before it listens (LiteLLM: 5.5)")
    parser.add_argument("--sick-file", type=Path, help="if FILE exists, never listen but with the key it names")
    parser.add_argument("--no-prisma", action="store_true", help="500 without a key, as measured")
    parser.add_argument("--open", action="store_true", help="accept every key, and none too")
    parser.add_argument("--also", type=Path, help="accept the key in FILE as well, while it is there")
    parser.add_argument("--answer", type=int, help="answer everything with this status")
    parser.add_argument("--then", nargs=argparse.REMAINDER, help="if not sick, become this command")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    key = os.environ.get("LITELLM_MASTER_KEY", "")
    if _is_sick(options.sick_file, key):
        time.sleep(365 * 86400)
    if options.then:
        os.execv(options.then[0], options.then)
    if key.strip() in WEAK_KEYS:
        print("LITELLM_MASTER_KEY is unset, empty or a known example: refusing to start", file=sys.stderr)
        return 3
    time.sleep(options.delay)
    Gateway(key, options).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
