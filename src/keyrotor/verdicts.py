"""What an audit tells a person, and a program: a line for each playbook, its findings, one line of counts. Pure.

Lines are 80 columns wide at the most, but a command is never broken: it is there to be copied.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from keyrotor.core.audited import Audited, all_findings, counts
from keyrotor.core.due import ago
from keyrotor.core.findings import Finding, Severity
from keyrotor.errors import Exit

COLUMNS = 80
_MARGIN = 8  # columns: the longest severity, and two spaces
FAIL_ON = {**{str(severity): severity.rank for severity in Severity}, "never": len(Severity)}  # what --fail-on takes
# What a command begins with; anything else in a `mend` is prose, and wrapped like it.
_PROGRAMS = "keyrotor|cd|git|sops|systemctl|loginctl|timedatectl|chmod|chown|shred|ls|rm|curl|pip|export|sudo"
_COMMAND = re.compile(rf"({_PROGRAMS})\b")
_SEAM = re.compile(r" {2,}|(?<=: )")  # where a `mend` may be broken


def exit_of(audited: Sequence[Audited], fail_on: str) -> Exit:
    """10 if anything was found that is as bad as `fail_on`, or worse."""
    is_bad = any(one.severity.rank >= FAIL_ON[fail_on] for one in all_findings(audited))
    return Exit.FINDINGS if is_bad else Exit.DONE


def lines_of(audited: Sequence[Audited], paint: Callable[[Severity, str], str]) -> list[str]:
    """Everything that an audit has to say; `paint` colours a word of that severity."""
    findings = all_findings(audited)
    heads = [line for one in audited for line in _wrapped(_head(one), "", "  ")]
    told = [line for finding in findings for line in ("", *_finding(finding, paint))]
    return [*heads, *told, "", _summary(findings)] if findings else [*heads, "nothing was found"]


def _head(one: Audited) -> str:
    key = _plain(f"{one.book.name}: {one.book.source.key}")
    places = f"{len(one.places)} places looked at"
    if one.age is None or one.due is None:
        return f"{key} was not rotated here yet, due every {one.book.every}; {places}"
    return f"{key} is {ago(one.age)} old, {_due(one.due, one.at)}; {places}"


def _due(due: datetime, now: datetime) -> str:
    day = f"({due.astimezone():%Y-%m-%d})"
    return f"due in {ago(due - now)} {day}" if due > now else f"overdue for {ago(now - due)} {day}"


def _finding(finding: Finding, paint: Callable[[Severity, str], str]) -> Iterator[str]:
    margin = " " * _MARGIN
    severity = f"{finding.severity:<{_MARGIN}}"
    first, *more = _wrapped(_plain(f"{finding.place}: {finding.text}"), severity, margin)
    yield paint(finding.severity, severity) + first.removeprefix(severity)
    yield from more
    yield from _wrapped(_plain(finding.why), f"{margin}why:  ", f"{margin}      ")
    yield from _mend(_plain(finding.mend), f"{margin}mend: ", f"{margin}      ")


def _plain(text: str) -> str:
    """The text with the code of each sign that would steer a terminal: a file's name may hold any."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _wrapped(text: str, first: str, more: str) -> list[str]:
    return textwrap.wrap(
        text, COLUMNS, initial_indent=first, subsequent_indent=more, break_long_words=False, break_on_hyphens=False
    )


def _mend(text: str, first: str, more: str) -> Iterator[str]:
    """The mend, broken between commands and prose, and within prose."""
    line = first
    for piece in _SEAM.split(text):
        joint = "" if line in (first, more) else "  " if not line.endswith(": ") else ""
        if line not in (first, more) and len(line) + len(joint) + len(piece.rstrip()) > COLUMNS:
            yield line.rstrip()
            line, joint = more, ""
        if _COMMAND.match(piece):
            line += joint + piece
        else:
            *whole, last = _wrapped(piece, line + joint, more) or [line]
            yield from whole
            line = last + (" " if piece.endswith(" ") else "")
    if line.strip():
        yield line.rstrip()


def _summary(findings: Sequence[Finding]) -> str:
    each = ", ".join(f"{count} {severity}" for severity, count in counts(findings).items())
    return f"{len(findings)} finding{'s' if len(findings) > 1 else ''}: {each}"


def as_json(audited: Sequence[Audited], code: Exit) -> dict[str, Any]:
    """The one object that --json prints (docs/reference/json.md)."""
    return {
        "schema": 1,
        "exit": int(code),
        "audited": _utc(audited[0].at) if audited else None,
        "playbooks": [_playbook(one) for one in audited],
        "findings": [asdict(finding) for finding in all_findings(audited)],
    }


def _playbook(one: Audited) -> dict[str, Any]:
    return {
        "playbook": one.book.name,
        "key": one.book.source.key,
        "file": one.book.source.file,
        "every": one.book.every,
        "rotated": _utc(one.rotated),
        "age_seconds": None if one.age is None else one.age.total_seconds(),
        "due": _utc(one.due),
        "outcome": str(one.outcome) if one.outcome else None,
        "outage": one.outage,
        "owed": list(one.owed),
        "fingerprint": one.fingerprint or None,
        "places": [{"id": p.id, "kind": p.kind, "label": p.label, "holds": p.holds or None} for p in one.places],
        "findings": [asdict(finding) for finding in one.findings],
    }


def _utc(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
