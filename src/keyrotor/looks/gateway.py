"""The gateway: whom it lets in, where it listens, what its config and its surroundings do to the key.

Rules:
1. The present key is shown to nobody but the process of the playbook's unit.
2. What an answer says is never shown; its status is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from keyrotor.boundary import files, litellm_process, proc
from keyrotor.boundary.generate import bogus_key
from keyrotor.boundary.http import Answer, Http
from keyrotor.boundary.litellm_api import Verdict, has_salt, models, port, runs_with, stranger, verdict
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.proc import Listener
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.findings import Finding, found
from keyrotor.core.model import Holds
from keyrotor.errors import PlaceError
from keyrotor.formats import gateway_config
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class Gateway:
    url: str
    variable: str
    config: Path | None
    unit: str  # "" where no unit of systemd's answers there
    systemd: Systemd | None
    clients: Mapping[str, str]  # the client files of the playbook: the row's id -> its label
    http: Http

    def findings(self, seen: Seen) -> Iterator[Finding]:
        unit, is_here = self._unit(), proc.is_own(urlsplit(self.url).hostname or "")
        listening = proc.listening(port(self.url)) if is_here else ()
        yield from self._settings(seen, unit)
        yield from self._surroundings(unit, listening)
        yield from self._door(seen, unit, listening)

    def _unit(self) -> Unit | None:
        """The unit; None too where systemd cannot be asked, which the unit's own look says."""
        try:
            return self.systemd.seen(self.unit) if self.systemd else None
        except PlaceError:
            return None

    # -- what it was told

    def _settings(self, seen: Seen, unit: Unit | None) -> Iterator[Finding]:
        """What the config and the running process's environment do to the key."""
        config, place = gateway_config.UNKNOWN, str(self.config or self.url)
        if self.config is not None:
            try:
                text = files.look(self.config).data
                config = gateway_config.read(text, str(self.config), litellm_process.included)
            except PlaceError as error:
                hint = f"keyrotor plan {seen.book.name}  (a rotation is refused until it can be read)"
                yield found("cannot-look", place, reason=error, hint=hint)
        has_database = config.has_database or any(runs_with(unit, name) for name in gateway_config.DATABASE_VARIABLES)
        for reason in config.refusals(self.variable, has_database=has_database, has_salt=True):
            yield found("gateway-config", place, reason=reason, path=self.config)
        if not has_database:
            return
        if has_salt(seen.pair, unit) is False:
            yield found("salt-missing", seen.book.source.file)
        for row, label in self.clients.items():
            if seen.holds.get(row) in (Holds.OLD, Holds.BOTH):
                yield found("master-key-in-client", label, url=self.url)

    # -- where it stands

    def _surroundings(self, unit: Unit | None, listening: Sequence[Listener]) -> Iterator[Finding]:
        """Who can reach it, and which files it has read that nobody meant it to."""
        exposed = sorted({each.address for each in listening if not proc.is_loopback(each.address)})
        if exposed and urlsplit(self.url).scheme == "http":
            told = " and ".join(_at(each, port(self.url)) for each in exposed)
            yield found("gateway-exposed", self.url, address=told)
        pids = proc.family(unit.pid) if unit else proc.holders(listening)
        for path in sorted({path for pid in pids for path in litellm_process.dotenv_files(pid)}):
            yield found("stray-env", str(path))

    # -- whom it lets in

    def _door(self, seen: Seen, unit: Unit | None, listening: Sequence[Listener]) -> Iterator[Finding]:
        words = {"key": self.variable, "playbook": seen.book.name, "status": self._status()}
        if why := self._not_ours(unit, listening):
            yield found("gateway-silent", self.url, answer=why, **words)
            return
        if unit and not unit.is_active:
            return  # the unit's own look says so, and whoever answers meanwhile is shown no key
        bogus = self._get(bogus_key())
        if bogus.status is None:  # each further question would wait as long
            yield found("gateway-silent", self.url, answer=_told(bogus), **words)
            return
        no_key = self._get(None)
        if how := _open(bogus, no_key):
            yield found("gateway-open", self.url, how=how, **words)
            return
        if verdict(bogus) is not Verdict.REFUSED:  # whoever that is, it is shown no key
            yield found("gateway-silent", self.url, answer=_told(bogus), **words)
            return
        if no_key.status == 500:
            yield found("gateway-500", self.url, **words)
        if seen.pair is None:
            return
        present = self._get(unseal(seen.pair.old))
        if verdict(present) is Verdict.REFUSED:
            yield found("gateway-refuses", self.url, **words)
        elif verdict(present) is Verdict.UNKNOWN:
            yield found("gateway-silent", self.url, answer=_told(present), **words)

    def _not_ours(self, unit: Unit | None, listening: Sequence[Listener]) -> str:
        """Why who answers there is not the unit's process; "" if it is, or if no unit is known."""
        return stranger(self.url, unit, listening) if unit else ""

    def _status(self) -> str:
        """What else tells why it is silent."""
        scope = self.systemd.command("status", self.unit)[1] if self.systemd else ""
        return f"systemctl {scope} status {self.unit}" if scope else "the log of what answers there"

    def _get(self, key: bytes | None) -> Answer:
        return self.http.get(models(self.url), key)


def _open(bogus: Answer, no_key: Answer) -> str:
    """How the door lets in whoever comes; "" if it does not."""
    if verdict(bogus) is Verdict.ACCEPTED:
        return "it accepts a key that nobody has"
    return "it answers 200 without a key" if verdict(no_key) is Verdict.ACCEPTED else ""


def _at(address: str, number: int) -> str:
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


def _told(answer: Answer) -> str:
    return f"no answer: {answer.fault}" if answer.status is None else f"it answers {answer.status}"
