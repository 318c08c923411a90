"""What an incident is opened with: what a person says, and what the incident playbook says. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from keyrotor.core.incident_events import Case, Chosen
from keyrotor.core.model import printable
from keyrotor.errors import UsageError
from keyrotor.incident_playbook import Response

_KEY = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{8}")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who opens an incident says."""

    reason: str
    response: str | None = None  # the incident playbook's name or path
    contain: str = ""  # "" for what the playbook says
    detected: str = ""  # "" for now
    exposed: str = ""  # "" where nobody knows
    another: bool = False  # whether the key that an open incident has made has leaked as well


def in_the_way(docket: str, case: Case, steps: int, *, has_new: bool) -> UsageError:
    """Another incident of the same key has steps to do: it is gone on with. `has_new`: whether it has made a new key,
    which may have leaked as well."""
    left = f"{steps} step{'s' if steps != 1 else ''} to go" if steps else "the leaked key is in force again"
    why = f"{docket} is open ({case.reason}), {left}; it is of {', '.join(case.playbooks.values())}"
    hint = f"keyrotor incident resume {docket}  (goes on)"
    if has_new:
        hint += "   or   keyrotor incident open --another --reason …  (if the new key has leaked as well)"
    return UsageError(f"cannot open an incident: {why}", hint=hint)


def recorded(option: str, text: str, tells: Callable[[str], bool]) -> str:
    """The text on one line, as it is recorded. Raises UsageError for what somebody has pasted in the heat of it."""
    if not text.strip() and option != "--force":
        raise UsageError(f"cannot record {option}: it says nothing")
    if _KEY.search(text) or tells(text):
        why = "there is a key in it, or what looks like one, and the record is in clear"
        raise UsageError(f"cannot record {option}: {why}")
    return printable(" ".join(text.split()))


def case_of(response: Response, wish: Wish, id: str, who: str, now: datetime) -> Case:
    """What an incident is opened with. Raises UsageError for a moment that cannot be."""
    detected = _moment("--detected-at", wish.detected, now) or now.isoformat()
    exposed = _moment("--exposed-since", wish.exposed, now)
    if exposed > detected:
        why = f"it was detected ({detected}) before the key was exposed ({exposed})"
        raise UsageError(f"cannot open an incident: {why}")
    contain = wish.contain or response.contain
    return Case(
        id=id,
        reason=wish.reason,
        detected=detected,
        exposed=exposed,
        contain=contain,
        playbooks={book.name: book.path for book in response.books},
        response=response.path,
        proof=response.proof,
        roots=response.roots,
        elsewhere=response.elsewhere,
        logs=response.logs,
        by=who,
    )


def told_anew(case: Case, contain: str, exposed: str, now: datetime) -> Chosen | None:
    """What a person says of an incident that is open already; None for nothing new. Raises UsageError."""
    since = _moment("--exposed-since", exposed, now)
    if since > case.detected:
        raise UsageError(f"cannot read --exposed-since {exposed}: it was detected before that, {case.detected}")
    found = Chosen(contain if contain != case.contain else "", since if since != case.exposed else "")
    return found if found != Chosen() else None


def _moment(option: str, text: str, now: datetime) -> str:
    """A moment that a person has typed, in UTC; one without a zone is of here. Raises UsageError."""
    if not text:
        return ""
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"cannot read {option} {text}: write it as 2026-11-22T03:14 or 2026-11-22T03:14Z") from None
    if at > now:
        raise UsageError(f"cannot read {option} {text}: that is in the future")
    return at.isoformat()


def lines(case: Case) -> list[str]:
    """What will be done."""
    said = {"stop": "the gateway is stopped first", "loopback": "strangers are kept away from the gateway first"}
    contained = said.get(case.contain, "the gateway stays open to those who reach it now")
    return [
        f"incident {case.id}: {case.reason}",
        "  evidence is kept before anything is changed",
        f"  {contained} (contain: {case.contain})",
        *(f"  {path}: its key gets a new value, with no grace and no way back" for path in case.playbooks.values()),
        f"  the old one is proven dead at every listener, for {case.proof:g} s",
        f"  it is looked for in {', '.join(case.roots)}, git, shell histories, the journal and processes",
    ]
