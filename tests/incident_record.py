"""A made-up incident in a real record: what its steps would have written there in the night of 22 November."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from keyrotor.casebook import Casebook
from keyrotor.core import machine
from keyrotor.core.incident_events import Began, Case, Did, Event, IncidentClosed, IncidentOpened, Missed
from keyrotor.core.model import Act, Outcome, Plan, Row, Source, Value
from keyrotor.core.response import (
    Contained,
    Exhibit,
    Exposure,
    Frozen,
    Lifted,
    Listener,
    Made,
    Proof,
    Reached,
    Rotated,
    Sought,
    Witnessed,
)
from keyrotor.core.swept import Hit
from keyrotor.journal import Journal

ID, RUN, BOOK = "inc-4c81d2", "9f03ab", "litellm-master-key"
NIGHT = datetime(2026, 11, 22, 3, 14, 7, tzinfo=UTC)
EXPOSED = NIGHT - timedelta(hours=2, minutes=5)
ROTATED_BEFORE = "2026-11-01T04:00:11+00:00"
HOME = "/home/ann/lab"
SECRETS = f"{HOME}/secrets/global.enc.env"
FOLDER = f"/home/ann/.local/state/keyrotor/incidents/{ID}/evidence/{BOOK}"
DOOR = "http://127.0.0.1:4000"
Rows = Sequence[tuple[float, Event]]  # seconds after NIGHT


def built(kind: Any) -> Any:
    """As an event keeps it."""
    return msgspec.to_builtins(kind)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


ENV_FILE = "/home/ann/.config/lab-secrets/litellm.env"
CASE = Case(
    id=ID,
    reason="a notebook with the key was pushed to a public fork",
    detected=NIGHT.isoformat(),
    exposed=EXPOSED.isoformat(),
    contain="loopback",
    playbooks={BOOK: f"{HOME}/playbooks/{BOOK}.toml"},
    roots=("/home/ann", HOME),
    by="ann@lab",
)
FROZEN = Frozen(
    folder=FOLDER,
    salt="5a" * 16,
    exhibits=(
        Exhibit("places.json", "every place: imprint, mode, owner, time", sha("places"), 1_911),
        Exhibit("journal-litellm.service.txt", "what litellm.service has logged since then", sha("journal"), 184_223),
        Exhibit("log-5be2a1c0-access.log.txt", "the end of /var/log/caddy/access.log", sha("access"), 1_204_882),
        Exhibit("git.txt", f"what the git repository of {SECRETS} remembers", sha("refs"), 3_112),
    ),
    places=(
        Witnessed(BOOK, "sops-file", SECRETS, sha("a"), "600", "ann", ROTATED_BEFORE),
        Witnessed(BOOK, "env-file", ENV_FILE, sha("b"), "600", "ann", ROTATED_BEFORE),
        Witnessed(BOOK, "systemd-unit", "litellm.service", ""),
    ),
    missing=("spend logs of LiteLLM: it has no database",),
)  # fmt: skip
CONTAINED = Contained(
    BOOK, "litellm.service", "loopback", ("0.0.0.0:4000", "[::]:4000"), ("127.0.0.1:4000",), restarts=True,
    said="litellm.service listens at 127.0.0.1:4000 only, and no more at 0.0.0.0:4000, [::]:4000",
)  # fmt: skip
LISTENERS = (
    Listener("127.0.0.1:4000", 38, 38, "400 no_db_connection", is_dead=True),
    Listener("[::1]:4000", 38, 38, "400 no_db_connection", is_dead=True),
)
PROOF = Proof(
    LISTENERS, (NIGHT + timedelta(seconds=341)).isoformat(), (NIGHT + timedelta(seconds=412)).isoformat(), is_dead=True
)
HITS = (
    Hit("git", f"{HOME}/notebooks: blob 3f2a91c, try.ipynb", ("as it is",), 2, BOOK, note="reachable from main"),
    Hit("git", f"{HOME}/notebooks: stash@{{0}}", ("as it is",), 1, BOOK, note="in a stash: git stash drop"),
    Hit("file", "/home/ann/.bash_history", ("as it is",), 1, BOOK),
    Hit("archive", "/home/ann/backup/lab-2026-10.tar.gz: lab/litellm.env", ("as it is",), 1, BOOK),
    Hit("file", "/home/ann/.cache/probe.json", ("base64", "Bearer"), 3, BOOK),
    Hit("process", "4711 (python), variable OPENAI_API_KEY", ("as it is",), 1, BOOK, note="restart it"),
    Hit("file", SECRETS, ("as it is",), 0, BOOK, whose="place sops-file"),
)  # fmt: skip
SOUGHT = Sought(
    HITS, 1, 48_211, 3_904_112_004, 21.4,
    ("the journal of other users: permission denied", "larger than 1 GB: 2", "other file systems: 3"),
)  # fmt: skip
EXPOSURE = Exposure(
    BOOK, EXPOSED.isoformat(), (NIGHT + timedelta(seconds=440)).isoformat(), is_known=False,
    why="the gateway has no database, so it keeps no list of keys, users and models",
    used="unknown: without a database LiteLLM records no use",
)  # fmt: skip
REACHED = (
    Reached(BOOK, "openai", "OPENAI_API_KEY", ("gpt-4o", "gpt-4o-mini")),
    Reached(BOOK, "anthropic", "ANTHROPIC_API_KEY", ("claude-sonnet",)),
)
ROTATED = Rotated(RUN, "rotated", 9.8, 5.9, "sk-…0b7e4c11d2aa", "sk-…6a90fe33b5c4")

STEPS: Rows = (
    (61, IncidentOpened(CASE)),
    (61.2, Began("freeze")),
    (64, Did("freeze", "4 files of evidence are kept", {"gateways": [built(FROZEN)]})),
    (64.1, Began("contain")),
    (70, Did("contain", "only this machine reaches litellm.service", {"gateways": [built(CONTAINED)]})),
    (70.1, Began(f"rotate:{BOOK}")),
    (81, Did(f"rotate:{BOOK}", "rotated by run 9f03ab in 9.8 s, gateway away 5.9 s", built(ROTATED))),
    (81.1, Began(f"prove:{BOOK}")),
    (140, Missed(f"prove:{BOOK}", "cannot prove the old key dead: [::1]:4000: no answer", "keyrotor incident resume")),
    (340, Began(f"prove:{BOOK}")),
    (412, Did(f"prove:{BOOK}", "refused 76 times at 127.0.0.1:4000, [::1]:4000", built(PROOF))),
    (412.1, Began("lift")),
    (418, Did("lift", "litellm.service listens as before", {"gateways": [built(
        Lifted(BOOK, "litellm.service", ("0.0.0.0:4000", "[::]:4000")))]})),
    (418.1, Began("exposure")),
    (418.5, Did("exposure", f"unknown for {BOOK}: {EXPOSURE.why}", {"gateways": [built(EXPOSURE)]})),
    (418.6, Began("reach")),
    (418.8, Did("reach", "2 upstream keys could be used through the gateway",
        {"upstream": [built(each) for each in REACHED]},
        ("tell those who use the gateway that its key was exposed and replaced (template: the report)",
         "judge whether to replace the upstream keys that were in its reach: ANTHROPIC_API_KEY, OPENAI_API_KEY"))),
    (418.9, Began("sweep")),
    (440.3, Did("sweep", "the old key was found in 6 places", built(SOUGHT),
        ("take the dead key out of the 6 places where it was found: keyrotor incident report",))),
)  # fmt: skip
CLOSED: Rows = (
    (90_000, IncidentClosed("notebooks were not in .gitignore; a hook refuses keys now", "letters are out")),
)
MADE = (
    Made("key", "night-crawler", "2026-11-22T02:31:55+00:00", "litellm_proxy_master_key"),
    Made("user", "tmp-7", "2026-11-22T02:32:10+00:00"),
)

ROWS = (
    Row("sops-file", "sops-file", "sops-file", Act.FILE, SECRETS, 20),
    Row("systemd-unit", "systemd-unit", "systemd-unit", Act.RESTART, "litellm.service", 20),
    Row("litellm:accepts", "litellm", "litellm", Act.ADMIT, DOOR, 20),
    Row("litellm:refuses", "litellm", "litellm", Act.RETIRE, DOOR, 20),
)
PLAN = Plan(
    run=RUN, playbook=BOOK, source=Source(SECRETS, "LITELLM_MASTER_KEY", "", HOME), rows=ROWS,
    fingerprints={Value.OLD: "sk-…0b7e4c11d2aa", Value.NEW: "sk-…6a90fe33b5c4"}, fingerprint_key="1f2e3d4c",
    ciphertexts={}, no_return="systemd-unit", incident=ID,
)  # fmt: skip
RUN_EVENTS: Sequence[tuple[float, machine.Event]] = (
    (71, machine.Opened(PLAN)),
    (71.4, machine.Moving("sops-file", Value.NEW)),
    (71.6, machine.Moved("sops-file", Value.NEW, "written")),
    (72, machine.Moving("systemd-unit", Value.NEW)),
    (77.7, machine.Moved("systemd-unit", Value.NEW, "done")),
    (77.7, machine.Moving("litellm:accepts", Value.NEW)),
    (77.9, machine.Moved("litellm:accepts", Value.NEW, "200; runs with the new key (pid 4102)")),
    (78.6, machine.Moving("litellm:refuses", Value.NEW)),
    (78.7, machine.Moved("litellm:refuses", Value.NEW, "400 no_db_connection")),
    (80.7, machine.Settled({"client-file": "restart the notebooks that are open"})),
    (80.8, machine.Closed(Outcome.ROTATED)),
)  # fmt: skip


def write(
    state: Path, steps: Rows = STEPS, run: Sequence[tuple[float, machine.Event]] = RUN_EVENTS, **case: Any
) -> None:
    """The record of it in this state folder; `case` changes what it was opened with."""
    with Casebook.open(state) as casebook:
        for seconds, event in steps:
            said = replace(event, case=replace(event.case, **case)) if isinstance(event, IncidentOpened) else event
            casebook.append(said.case.id if isinstance(said, IncidentOpened) else case.get("id", ID), said, at(seconds))
    with Journal.open(state) as journal:
        for seconds, happened in run:
            journal.append(RUN, happened, at(seconds))


def at(seconds: float) -> datetime:
    return NIGHT + timedelta(seconds=seconds)
