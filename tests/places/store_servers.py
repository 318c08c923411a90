"""Stores that a test writes to: little servers in this process that keep the contract of the real ones' APIs.

They stand in for GitHub, GitLab, Gitea and Open WebUI, none of which can be had in a test: two are services, one is a
Go program that no package brings, and Open WebUI 0.12.4 takes 0.8 GB without its models' libraries. Its contract here
is read from its own code. Each keeps what it holds in a file, so that what a write changes can be seen.
"""

from __future__ import annotations

import base64
import copy
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from places.contract import umask

TOKEN = "NOBODYS_TOKEN"  # its name; what it is each test makes


@dataclass(frozen=True)
class Asked:
    """One request, as a store sees it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


Said = tuple[int, Any]


class Store:
    """What every one of them has: who may do what, what was asked, what is kept."""

    def __init__(self, file: Path, token: str) -> None:
        self.file, self.token = file, token
        self.url = ""
        self.asked: list[Asked] = []
        self.is_read_only = False
        self.fault: Callable[[Asked], Said | None] = lambda _: None  # answers in the store's stead; None: does not
        self.is_cut = False  # writes, and then says nothing
        self.retry_after = ""  # what it says in a header of that name

    def keep(self, what: object) -> None:
        with umask(0o077):
            self.file.write_text(json.dumps(what))

    def answer(self, asked: Asked) -> Said:
        """Status and JSON; a status of 0 is a connection that is closed without a word."""
        self.asked.append(asked)
        if fault := self.fault(asked):
            return fault
        if asked.method == "GET" or not self.is_cut:
            return self.said(asked)
        self.said(asked)
        return 0, None

    def said(self, asked: Asked) -> Said:
        raise NotImplementedError

    def writes(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method != "GET"]


class GiteaStore(Store):
    """Gitea's: `PUT` answers 201 for a new secret and 204 for one that was there; the list gives `created_at` only,
    which a write leaves as it is. Names are kept in capitals."""

    def __init__(self, file: Path, token: str) -> None:
        super().__init__(file, token)
        self.secrets: dict[str, str] = {}
        self.made: dict[str, str] = {}
        self.page = 50
        self.moves_time = False  # no Gitea does; a store that did would prove its writes by it

    def put(self, name: str, value: str) -> int:
        is_new = name not in self.secrets
        self.secrets[name] = value
        if is_new or self.moves_time:
            self.made[name] = f"2026-01-01T00:00:{len(self.asked):02}Z"
        self.keep(self.secrets)
        return 201 if is_new else 204

    def said(self, asked: Asked) -> Said:
        if asked.headers.get("Authorization") != f"token {self.token}":
            return 401, {"message": "invalid username, password or token"}
        if not asked.path.startswith(("/api/v1/repos/lab/gateway/actions/secrets", "/api/v1/orgs/lab/actions/secrets")):
            return 404, {"message": "not found"}
        if asked.method == "GET":
            at = (int(asked.query["page"]) - 1) * min(self.page, int(asked.query["limit"]))
            names = list(self.secrets)[at : at + self.page]
            return 200, [{"name": name, "description": "", "created_at": self.made[name]} for name in names]
        if self.is_read_only:
            return 403, {"message": "token does not have at least one of required scope(s): [write:repository]"}
        if set(asked.body) != {"data"}:
            return 400, {"message": "no data"}
        return self.put(asked.path.rpartition("/")[2].upper(), asked.body["data"]), None


class GitlabStore(Store):
    """GitLab's: a variable for each key and scope, read back unless it is hidden; only what is sent changes."""

    def __init__(self, file: Path, token: str) -> None:
        super().__init__(file, token)
        self.variables: dict[tuple[str, str], dict[str, Any]] = {}

    def make(self, key: str, scope: str, value: str, **more: Any) -> None:
        plain = {"variable_type": "env_var", "protected": True, "masked": True, "hidden": False, "raw": False}
        self.variables[key, scope] = {"key": key, "environment_scope": scope, "value": value, **plain, **more}
        self.keep(list(self.variables.values()))

    def said(self, asked: Asked) -> Said:
        if asked.headers.get("PRIVATE-TOKEN") != self.token:
            return 401, {"message": "401 Unauthorized"}
        owner, _, key = asked.path.removeprefix("/api/v4/projects/").partition("/variables")
        if unquote(owner) != "lab/gate way":
            return 404, {"message": "404 Project Not Found"}
        if not key:
            return 200, list(self.variables.values())[: int(asked.query["per_page"])]
        found = self.variables.get((key.removeprefix("/"), asked.query["filter[environment_scope]"]))
        if found is None:
            return 404, {"message": "404 Variable Not Found"}
        if asked.method == "PUT":
            if self.is_read_only:
                return 403, {"message": "403 Forbidden"}
            if found["hidden"] and "masked" in asked.body:
                return 400, {"message": "masked: is not to be changed"}
            found.update(asked.body)
            self.keep(list(self.variables.values()))
        return 200, {**found, "value": None} if found["hidden"] else found


class OpenWebuiStore(Store):
    """Open WebUI's admin API, as in 0.12.4: a document can be written whole only, one with a member of another type is
    refused with 422, and the key for embeddings is taken only while their engine is `openai`."""

    def __init__(self, file: Path, token: str, documents: Mapping[str, Any]) -> None:
        super().__init__(file, token)
        self.documents: dict[str, Any] = copy.deepcopy(dict(documents))
        self.keep(self.documents)

    def said(self, asked: Asked) -> Said:
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"detail": "Your session has expired or the token is invalid. Please sign in again."}
        if asked.method == "GET":
            found = self.documents.get(asked.path)
            return (404, {"detail": "Not Found"}) if found is None else (200, found)
        kept = self.documents.get(path := _READ_AT.get(asked.path, ""))
        if kept is None:
            return 405, {"detail": "Method Not Allowed"}
        if not _fits(asked.body, kept):
            return 422, {"detail": "Input should be valid", "input": asked.body}  # it says the body back
        taken = copy.deepcopy(asked.body)
        if path == EMBEDDING and taken["RAG_EMBEDDING_ENGINE"] != "openai":
            taken["openai_config"] = kept["openai_config"]
        self.documents[path] = taken
        self.keep(self.documents)
        return 200, taken


EMBEDDING = "/api/v1/retrieval/embedding"
_READ_AT = {
    "/openai/config/update": "/openai/config",
    f"{EMBEDDING}/update": EMBEDDING,
    "/api/v1/audio/config/update": "/api/v1/audio/config",
    "/api/v1/images/config/update": "/api/v1/images/config",
}


def _fits(given: Any, kept: Any) -> bool:
    """Whether a document has every member of the one that is kept, each of its type."""
    if isinstance(kept, dict):
        return isinstance(given, dict) and all(key in given and _fits(given[key], kept[key]) for key in kept)
    return kept is None or given is None or type(given) is type(kept)


class GithubStore(Store):
    """GitHub's REST API as far as `gh secret set` and `gh api` ask it: a sealed box comes in and is opened here; the
    update time is told in whole seconds, by a clock of its own."""

    def __init__(self, file: Path, token: str) -> None:
        from nacl.public import PrivateKey

        super().__init__(file, token)
        self.private = PrivateKey.generate()
        self.secrets: dict[str, dict[str, Any]] = {}  # by path: value, updated_at, visibility, selected
        self.repositories = {"lab/gateway": 7, "lab/other": 8, "lab/third": 9}
        self.seconds = 0
        self.ticks = 1  # seconds that pass with each write

    def make(self, path: str, value: str, **more: Any) -> None:
        self.secrets[path] = {"value": value, "updated_at": self._now(), **more}
        self.keep(self.secrets)

    def _now(self) -> str:
        return f"2026-01-01T00:00:{self.seconds:02}Z"

    def said(self, asked: Asked) -> Said:
        if asked.headers.get("Authorization") != f"token {self.token}":
            return 401, {"message": "Bad credentials"}
        path = unquote(asked.path.removeprefix("/api/v3/"))
        if asked.path == "/api/graphql":
            return 200, {"data": self._ids(asked.body["query"])}
        if path.endswith("/secrets/public-key"):
            return 200, {"key_id": "1", "key": base64.b64encode(bytes(self.private.public_key)).decode()}
        if path.endswith("/secrets") and path.split("/")[1] == "lab":
            return 200, {"total_count": len(self.secrets), "secrets": []}
        found = self.secrets.get(path.removesuffix("/repositories"))
        if found is None:
            return 404, {"message": "Not Found"}
        if path.endswith("/repositories"):
            return 200, {"total_count": 2, "repositories": [self._repository(name) for name in found["selected"]]}
        if asked.method == "PUT":
            return self._put(found, asked.body)
        return 200, {"name": path.rpartition("/")[2], **{key: found[key] for key in found if key != "value"}}

    def _put(self, found: dict[str, Any], body: Mapping[str, Any]) -> Said:
        from nacl.public import SealedBox

        if self.is_read_only:
            return 403, {"message": "Resource not accessible by personal access token"}
        found["value"] = SealedBox(self.private).decrypt(base64.b64decode(body["encrypted_value"])).decode()
        self.seconds += self.ticks
        found["updated_at"] = self._now()
        if "visibility" in body:
            ids = body.get("selected_repository_ids", [])
            found["visibility"] = body["visibility"]
            found["selected"] = [name for name, number in self.repositories.items() if number in ids]
        self.keep(self.secrets)
        return 204, None

    def _repository(self, name: str) -> dict[str, Any]:
        return {"id": self.repositories[name], "name": name.partition("/")[2], "full_name": name}

    def _ids(self, query: str) -> dict[str, Any]:
        wanted = {name: number for name, number in self.repositories.items() if f'"{name.partition("/")[2]}"' in query}
        return {f"repo_{at:03}": {"databaseId": number} for at, number in enumerate(wanted.values())}


@contextmanager
def served(store: Store, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """The store answers on loopback; `store.url` says where."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, said = store.answer(Asked(self.command, parts.path, query, dict(self.headers.items()), body))
            if status == 0:
                return
            data = b"" if status == 204 else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if store.retry_after:
                self.send_header("Retry-After", store.retry_after)
            if 300 <= status < 400:
                self.send_header("Location", f"{store.url}/elsewhere")
            self.end_headers()
            self.wfile.write(data)

        do_PUT = do_POST = do_GET  # noqa: N815  (the names that http.server looks for)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    store.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Certificate:
    """A self-signed certificate for localhost, and the server's side of it."""

    folder: Path
    file: Path = field(init=False)

    def __post_init__(self) -> None:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file = self.folder / "certificate.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))

    def served(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.folder / "key.pem")
        return context
