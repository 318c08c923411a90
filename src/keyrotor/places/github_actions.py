"""A secret of GitHub's in a repository, an environment or an organisation, through `gh`.

It takes a value and never shows it; the proof of a write is that its update time moved. The value goes to `gh` on
standard input, which seals it before it leaves the machine; the token, if one is named, in `gh`'s own variable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from keyrotor.boundary.api import NotTakenError, Sent, Token
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Done, Processes, environment, found
from keyrotor.core.model import Holds, Value
from keyrotor.core.preview import Change
from keyrotor.core.stores import written
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.secret import Pair, Secret

PUBLIC = "github.com"
# gh's own, and what leads its connections; everything else stays with us.
_LOGIN = ("GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
_WAY = ("GH_CONFIG_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
TICK = 1.1  # seconds: GitHub tells the update time in whole ones
_WRITES = 3  # within one second none can be told from the one before


@dataclass(frozen=True, slots=True)
class GithubActions:
    label: str
    host: str
    name: str
    repo: str  # OWNER/REPO; or
    org: str
    environment: str  # of the repository; "": none
    app: str  # actions, dependabot, codespaces
    token: Token | None  # None: gh's own login
    recorded: str  # the update time that the record knows of; "" if it knows none
    within: float
    processes: Processes
    env: Mapping[str, str]
    rest: Callable[[float], None]
    sent: Sent = field(default_factory=Sent)

    def check(self, pair: Pair) -> list[str]:
        if found("gh", self.env) is None:
            return ["cannot run gh: no such program; GitHub's command line is the package gh"]
        try:
            secret = self._secret(pair)
            if secret is None:
                return [f"cannot write {self.label}: there is no such secret; make it once: {self._command()}"]
            self._visibility(secret, pair)
        except PlaceError as error:
            return [str(error)]
        return []

    def holds(self, pair: Pair) -> Holds:
        try:
            secret = self._secret(pair)
        except PlaceError:
            return Holds.UNKNOWN
        if secret is None:
            return Holds.NEITHER
        return Holds.OLD if self.recorded and _updated(secret) == self.recorded else Holds.UNKNOWN

    def put(self, goal: Value, pair: Pair) -> str:
        return self.sent.put(goal, partial(self._put, goal, pair))

    def _put(self, goal: Value, pair: Pair) -> str:
        secret = self._secret(pair)
        if secret is None:
            raise StrangerError(f"cannot write {self.label}: there is no such secret", hint=self._command())
        before, argv = _updated(secret), [*self._set(), *self._visibility(secret, pair)]
        for _ in range(_WRITES):
            with self.sent.writing(goal):
                self._write(argv, goal, pair)
            if (after := self._secret(pair)) is None:
                raise PlaceError(f"cannot write {self.label}: there is no such secret any more")
            if _updated(after) != before:
                return written(_updated(after))
            self.rest(TICK)
        raise PlaceError(f"cannot write {self.label}: gh ended well, but its update time does not move")

    def _write(self, argv: list[str], goal: Value, pair: Pair) -> None:
        done = self._gh(argv, pair, stdin=unseal(pair[goal]))
        if done.code:
            no = NotTakenError if any(status in done.err for status in _NO) else PlaceError
            why = self._refused(done) or f"gh secret set ended with exit code {done.code}"
            raise no(f"cannot write {self.label}: {why}")

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        if self.app == "codespaces":
            return f"{self.label}: codespaces that run have the former value: stop and start them"
        what = "jobs that" if self.environment else "workflow runs that were queued or"
        return f"{self.label}: {what} ran meanwhile have the former value: run them again"

    def shows(self) -> list[Secret]:
        return []

    def changes(self, pair: Pair) -> list[Change]:
        return [Change(text="gives the secret the new value; what it holds now nobody can read")]

    def inputs(self) -> list[Path]:
        program = found("gh", self.env)
        return [Path(program)] if program else []

    def _set(self) -> list[str]:
        where = ["--org", self.org] if self.org else ["--repo", self.repo]
        where += ["--env", self.environment] if self.environment else []
        return ["secret", "set", self.name, *where, *(["--app", self.app] if self.app != "actions" else [])]

    def _command(self) -> str:
        shown = " ".join(["gh", *self._set()])
        return f"GH_HOST={self.host} {shown}" if self.host != PUBLIC else shown

    def _path(self) -> str:
        owner = f"orgs/{self.org}" if self.org else f"repos/{self.repo}"
        of = f"environments/{quote(self.environment, safe='')}" if self.environment else self.app
        return f"{owner}/{of}/secrets/{self.name}"

    def _secret(self, pair: Pair) -> Mapping[str, Any] | None:
        """What GitHub says of it; None where there is none. Raises PlaceError."""
        done = self._gh(["api", self._path()], pair)
        if done.code and b"HTTP 404" in done.err:
            self._want_shown(pair)
            return None
        said = self._read(done)
        if not isinstance(said, dict) or not said.get("updated_at"):
            raise PlaceError(f"cannot ask {self.host} of {self.label}: what it answers is no secret of GitHub's")
        return said

    def _want_shown(self, pair: Pair) -> None:
        """Raises PlaceError where a secret that seems absent may only be out of our sight: GitHub says 404 to both."""
        path = self._path().rpartition("/")[0]
        listed = self._gh(["api", f"{path}?per_page=1"], pair)
        if listed.code and b"HTTP 404" in listed.err:
            of = self._path().removesuffix(f"/secrets/{self.name}").removesuffix(f"/{self.app}")
            why = f"it shows no secrets of {of}: there is no such thing, or {self._login()} may not see it"
            raise PlaceError(f"cannot ask {self.host} of {self.label}: {why}")
        if listed.code:
            self._read(listed)

    def _visibility(self, secret: Mapping[str, Any], pair: Pair) -> list[str]:
        """An organisation's secret keeps the repositories that may use it: gh would make it one of all private ones."""
        visibility = secret.get("visibility")
        if not self.org or not isinstance(visibility, str):
            return []
        if visibility != "selected":
            return ["--visibility", visibility]
        done = self._gh(["api", "--paginate", f"{self._path()}/repositories?per_page=100", "--jq", _NAMES], pair)
        names = self._lines(done)
        if not names:
            raise PlaceError(f"cannot write {self.label}: no repository is selected for it, and gh cannot say so")
        return ["--visibility", "selected", "--repos", ",".join(names)]

    def _lines(self, done: Done) -> list[str]:
        if done.code:
            self._read(done)
        return done.out.decode(errors="replace").split()

    def _read(self, done: Done) -> Any:
        """The JSON that gh printed. Raises PlaceError where it failed; of its words only a status is shown."""
        if not done.code:
            try:
                return json.loads(done.out)
            except ValueError:
                return None
        where = f"cannot ask {self.host} of {self.label}"
        raise PlaceError(f"{where}: {self._refused(done) or f'gh ended with exit code {done.code}'}")

    def _refused(self, done: Done) -> str:
        """Why gh was let in no further; "" if it was, or does not say."""
        is_unknown = b"HTTP 401" in done.err or b"gh auth login" in done.err
        if is_unknown and not self.token:
            return f"gh has no login there, or one that is not known (gh auth login --hostname {self.host})"
        is_refused = is_unknown or b"HTTP 403" in done.err
        return f"{self._login()} is not known there, or lacks the right" if is_refused else ""

    def _login(self) -> str:
        return f"the token {self.token.name}" if self.token else "gh's login"

    def _gh(self, argv: list[str], pair: Pair, stdin: bytes = b"") -> Done:
        env = environment(self.env, *_WAY, *(() if self.token else _LOGIN))
        env |= {"GH_HOST": self.host, "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
        if self.token:
            is_cloud = self.host == PUBLIC or self.host.endswith(".ghe.com")
            env["GH_TOKEN" if is_cloud else "GH_ENTERPRISE_TOKEN"] = unseal(self.token.of(pair)).decode()
        return self.processes.run(["gh", *argv], env=env, stdin=stdin, within=self.within)


_NAMES = ".repositories[].full_name"
_NO = (b"HTTP 401", b"HTTP 403", b"HTTP 404", b"HTTP 422")  # it has taken nothing


def _updated(secret: Mapping[str, Any]) -> str:
    return str(secret["updated_at"])
