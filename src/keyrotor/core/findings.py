"""What an audit can find: one catalogue, one row for each kind. Pure data.

To add a finding: one row in `CATALOGUE`, one `found(...)` where it is seen, one test that seeds it, one row in
docs/reference/findings.md (`python tests/core/test_findings.py` makes that page). `text`, `why` and `mend` are what a
person reads; `{words}` in braces are given by whoever finds it and never hold a value. A command in `mend` stands
alone, or between two spaces, or after a colon and one space: the screen breaks its lines there and nowhere in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keyrotor.core.client_kinds import CLIENT_KINDS
from keyrotor.core.incident_kinds import INCIDENT_KINDS
from keyrotor.core.kinds import ROTATE as _ROTATE
from keyrotor.core.kinds import Finding, Kind, Severity, typed

__all__ = ["CATALOGUE", "Finding", "Kind", "Severity", "found", "ordered", "ranked"]


def found(kind: str, place: str, **words: object) -> Finding:
    """The finding of that kind at that place. Raises KeyError for an unknown kind, or a word that is not given."""
    row = CATALOGUE[kind]
    given: dict[str, object] = {"place": place, **words}
    in_shell = given | {name: typed(str(given[name])) for name in ("place", "path") if name in given}
    text, why, mend = row.text.format_map(given), row.why.format_map(given), row.mend.format_map(in_shell).rstrip()
    return Finding(kind, row.severity, place, text, why, mend)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those of one playbook, ranked, without what only follows from another of them."""
    every = tuple(findings)
    kinds = {one.id for one in every}
    return ranked(one for one in every if kinds.isdisjoint(CATALOGUE[one.id].outdone_by))


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first; within a severity in the order of the catalogue, then by place; each once."""
    order = list(CATALOGUE)
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: (-one.severity.rank, order.index(one.id), one.place)))


_LOW, _MEDIUM, _HIGH = Severity
_REPAIR = "keyrotor repair {playbook}"
# No format can splice what it would have to quote, and so short a value is found where it does not stand.
_BY_HAND = (
    _ROTATE + "  (where that refuses the present value, first by hand:  sops edit {place}  , the same value into every "
    "place, a restart)"
)
_OWED = ("run-owed", "run-going")  # while a run is owed places may hold what they like, and nothing but it can help
_AMISS = ("key-leaked", "leak-revived", "key-revived", *_OWED)  # nor may they be given what the encrypted file holds

# fmt: off
_ROWS = (
    *INCIDENT_KINDS,
    # -- the record and the key's age
    Kind("run-owed", _HIGH,
         "run {run} is not finished ({state}, on the way to the {goal} key)",
         "until it is, places may hold different keys, and no other rotation can start",
         "{ways}"),
    Kind("run-going", _LOW,
         "run {run} is going on just now ({how})",
         "places change while they are looked at: what else is found may be over in a moment",
         "keyrotor audit {playbook}  (again, once it has ended)"),
    Kind("old-key-alive", _HIGH,
         "run {run} ended without proof that the old key is dead",
         "whoever has the old key may still get in",
         "find what still accepts it (a cache, a second process, a database row), then: " + _ROTATE),
    Kind("record-broken", _HIGH,
         "the record cannot be believed: {broken}",
         "what it says of former keys and of unfinished runs cannot be believed",
         "keyrotor log --verify  (then look for who wrote there)"),
    Kind("record-unreadable", _HIGH,
         "the record cannot be read: {reason}",
         "unfinished runs and former keys are not known",
         "{hint}",
         outdone_by=("record-broken",)),
    Kind("key-revived", _HIGH,
         "its {key} is a former value ({fingerprint}), which run {run} had replaced",
         "a dead, perhaps leaked key would come back to life: a stale checkout, or an editor that was left open",
         "{back}  (brings back the version with the present value; or, to let this value count: "
         "keyrotor repair {playbook} --accept-former {fingerprint})"),
    Kind("key-overdue", _MEDIUM,
         "its {key} is {age} old; the playbook says every {every}",
         "the longer a key lives, the more copies of it there are",
         _ROTATE,
         outdone_by=("clock-set-back",)),
    Kind("key-changed-by-hand", _LOW,
         "its {key} is not the value that run {run} put there",
         "nobody has proven that the value before it is dead",
         _ROTATE,
         outdone_by=_OWED),
    Kind("clock-set-back", _MEDIUM,
         "it is {ahead} ahead of the clock",
         "the clock was set back, or ran ahead when that was recorded; ages that are reckoned from it are wrong",
         "timedatectl  (mend the clock, then: keyrotor rotate {playbook})"),
    Kind("clock-jumped", _LOW,
         "entry {entry} of the record was written {by} before the entry it follows",
         "the clock was wrong at one of the two; ages that are reckoned from it are too",
         "timedatectl  (is the clock synchronised?), then: " + _ROTATE),
    Kind("state-readable", _MEDIUM,
         "others may look into it (mode {mode})",
         "it holds the key of all fingerprints, and the former value's ciphertext",
         "chmod -R go-rwx {path}"),
    # -- the value itself
    Kind("key-weak", _HIGH,
         "its {key} is short, made of few different characters, or like an example that many keep",
         "it can be guessed",
         _BY_HAND),
    Kind("key-alphabet", _MEDIUM,
         "its {key} has characters that some format must quote",
         "shells, systemd and dotenv readers differ in how they quote; one of them will read another key",
         _BY_HAND),
    Kind("salt-missing", _HIGH,
         "there is a database and no LITELLM_SALT_KEY",
         "the master key also encrypts what is stored there: with a new master key it can never be read again",
         "set LITELLM_SALT_KEY to the present master key in {place}, before the next rotation"),
    Kind("salt-absent", _LOW,
         "it has no LITELLM_SALT_KEY",
         "once a database is added, the master key will also encrypt what is stored there",
         "sops edit {place}  (add LITELLM_SALT_KEY now, while nothing is encrypted)",
         outdone_by=("salt-missing",)),
    Kind("salt-empty", _HIGH,
         "its LITELLM_SALT_KEY is empty",
         "LiteLLM does not take that for unset: it encrypts with a key that everybody knows",
         "sops edit {place}  (give it a value; what was stored meanwhile must be entered again)"),
    Kind("salt-same", _MEDIUM,
         "its LITELLM_SALT_KEY is the master key of today",
         "whoever learns the master key can read what is stored in the database; it can never be changed",
         _ROTATE),
    # -- who holds what
    Kind("drift-former", _HIGH,
         "holds a former value of {key} ({fingerprint})",
         "it is locked out, or, if it is the gateway, the former key is alive",
         _REPAIR,
         outdone_by=("key-leaked",)),
    Kind("drift-other", _HIGH,
         "does not hold the present {key}",
         "it is locked out, or, if it is the gateway, another key is alive",
         "{mend}",
         outdone_by=_AMISS),
    Kind("drift-absent", _HIGH,
         "is absent",
         "what reads it has no key, or an old one",
         "{mend}",
         outdone_by=("key-leaked", *_OWED)),
    Kind("value-unknown", _LOW,
         "it cannot be told whether this holds the present {key}",
         "a rotation will put the key there, but an audit cannot see whether it stays",
         "{hint}",
         outdone_by=("run-going",)),
    Kind("not-decrypted", _HIGH,
         "cannot be decrypted here: {reason}",
         "no rotation, repair or roll back can run, and nothing can be compared",
         "keyrotor doctor  (tells more)  {hint}",
         outdone_by=("file-in-clear",)),
    Kind("fingerprints-lost", _LOW,
         "its former values were recorded with another fingerprint key",
         "a former value that came back would not be recognised as one",
         _ROTATE),
    # -- the encrypted file
    Kind("recipients-differ", _MEDIUM,
         "its recipients are not those of {rules}: {difference}",
         "somebody who should read it cannot, or somebody who should no longer can",
         "cd {project} && sops updatekeys {types}{place}  (then rotate: who could read it has seen the value)"),
    Kind("file-in-clear", _HIGH,
         "stands in clear, in whole or in part: sops is to encrypt it",
         "a commit or a backup takes its values along, and whoever can read it has them",
         "{hint}  (then, if it was committed or copied: " + _ROTATE + ")"),
    Kind("file-uncommitted", _LOW,
         "is changed and not committed",
         "another checkout, and the backup, have the former key",
         "{hint}"),
    Kind("file-untracked", _LOW,
         "lies in a git repository that does not track it",
         "there is no history of it, and no other copy",
         "git -C {folder} add -- {name}"),
    Kind("file-conflict", _HIGH,
         "is in a git merge conflict",
         "sops cannot read it, and a textual merge breaks its checksum",
         "{hint}"),
    Kind("twin-beside", _HIGH,
         "holds {key} in clear, beside the encrypted file",
         "a backup, an editor or a commit will take it along",
         "{hint}"),
    Kind("twin-tracked", _HIGH,
         "holds {key} in clear, and git tracks it",
         "whoever can read the repository has the key",
         "{untrack}  (then: " + _ROTATE + "; the history keeps it)"),
    # -- env files and clients
    Kind("readable", _HIGH,
         "holds {key} and is readable by others (mode {mode})",
         "every user of this machine has the key",
         "chmod go-rwx {path}"),
    Kind("readable-by-group", _MEDIUM,
         "holds {key} and is readable by its group (mode {mode})",
         "whoever is in that group, or joins it, has the key",
         "chmod go-rwx {path}"),
    Kind("left-over", _HIGH,
         "a write of it was killed, and left {left}",
         "the present key, or a former one, may lie there in clear, and the file itself may be half written",
         "keyrotor repair {playbook}  (finishes that write, or clears away what it left)",
         outdone_by=_OWED),
    *CLIENT_KINDS,
    # -- the unit and its host
    Kind("unit-env-optional", _MEDIUM,
         "has `-` before EnvironmentFile {path}",
         "if the file is missing it starts without a key, in silence",
         "systemctl --{scope} edit --full {place}  (take the `-` away)"),
    Kind("unit-overridden", _HIGH,
         "does not take {key} from the env file: {path} comes after it",
         "a rotation writes the one and the gateway runs with the other",
         "take {key} out of {path}, then: systemctl --{scope} restart {place}"),
    Kind("unit-literal", _HIGH,
         "has {key} in {where}",
         "every user of this machine can read it with `systemctl show` or `ps`",
         "systemctl --{scope} edit --full {place}  (use EnvironmentFile=), then: " + _ROTATE),
    Kind("unit-kept", _MEDIUM,
         "has {key} in {path}, which is kept of a former unit",
         "it is one more copy of the key, in a file that nobody looks at",
         "rm {path}  (then `service remove` does not bring that unit back), then: " + _ROTATE),
    Kind("unit-env-ignored", _HIGH,
         "takes no {key} from {path}: systemd ignores a line that begins with `export`",
         "the gateway would not come up with the key after the next restart",
         "take `export` out of {path}, then: systemctl --{scope} restart {place}"),
    Kind("unit-down", _HIGH,
         "is {state}",
         "nobody can use the gateway, or it will not come up again after the next restart",
         "{mend}",
         outdone_by=("key-leaked", "run-going")),
    Kind("unit-reload-owed", _LOW,
         "was changed on disk and not reloaded",
         "what runs is not what the file says; the next restart after a reload may differ",
         "systemctl --{scope} daemon-reload"),
    Kind("linger-off", _MEDIUM,
         "the user's services end with the last logout (linger is off)",
         "the gateway and the timer stop when nobody is logged in",
         "loginctl enable-linger {user}"),
    Kind("timer-absent", _LOW,
         "there is no such timer",
         "nobody rotates the key when it is due",
         "keyrotor timer install {playbook}"),
    Kind("timer-inactive", _MEDIUM,
         "is not started",
         "nobody rotates the key when it is due",
         "systemctl --{scope} enable --now {place}   or   keyrotor timer install {playbook}"),
    Kind("timer-strayed", _MEDIUM,
         "wakes for {path}, {how}",
         "nobody rotates the key when it is due",
         "{mend}"),
    Kind("timer-failed", _HIGH,
         "its last run failed ({result})",
         "the key is not rotated when it is due",
         "systemctl --{scope} status {service}   and   keyrotor status"),
    Kind("timer-silent", _MEDIUM,
         "is started since {since} and {how}",
         "nobody rotates the key when it is due",
         "keyrotor timer status {playbook}   and   systemctl --{scope} list-timers {place}"),
    # -- the gateway
    Kind("gateway-open", _HIGH,
         "lets in whoever comes ({how})",
         "everybody who reaches it can use it, and no rotation changes that",
         "set general_settings.master_key, take allow_requests_on_db_unavailable out, and restart it"),
    Kind("gateway-refuses", _HIGH,
         "refuses the present {key}",
         "every client is locked out, or another key is alive",
         _REPAIR,
         outdone_by=_AMISS),
    Kind("gateway-silent", _HIGH,
         "gives no clear answer to the present {key} ({answer})",
         "nobody can use it, and no rotation can be proven",
         "keyrotor healthcheck {playbook}   and   {status}",
         outdone_by=("run-going",)),
    Kind("gateway-500", _LOW,
         "answers 500, not 401, without a key",
         "its `prisma` package is missing: monitors cannot tell a refusal from a fault",
         "pip install prisma  (in the gateway's environment)",
         outdone_by=("run-going",)),
    Kind("gateway-exposed", _MEDIUM,
         "listens on {address}, not on loopback alone",
         "the master key travels in clear over the network",
         "start it with --host 127.0.0.1, or put TLS in front of it"),
    Kind("gateway-config", _HIGH,
         "{reason}",
         "a new key would not take effect, or would destroy something",
         "edit {path}"),
    Kind("stray-env", _MEDIUM,
         "is read by LiteLLM, since LITELLM_MODE is not PRODUCTION",
         "what is not set in the unit is taken from it: a forgotten key can come back",
         "rm {place}  (or set LITELLM_MODE=PRODUCTION in the unit)"),
    # -- the looking itself
    Kind("cannot-look", _MEDIUM,
         "cannot be looked at: {reason}",
         "what is wrong there is not known",
         "{hint}"),
)
# fmt: on

CATALOGUE: Mapping[str, Kind] = {kind.id: kind for kind in _ROWS}
