"""The systemd journal: every field of every entry that this user may read, of all boots, as journalctl tells it.

Rules:
1. What cannot be read is a doubt that is told; no journal is never the same as nothing found.
2. An entry is looked at alone only where something stands in its block, so that a journal of gigabytes streams through.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from keyrotor.boundary.process import Processes, Streamed, environment
from keyrotor.core.swept import MOST
from keyrotor.errors import PlaceError
from keyrotor.sweeping.ledger import Ledger

# All fields of all entries, with those of every namespace; `export` is the one form that escapes and shortens nothing.
ARGV = ("journalctl", "--output=export", "--all", "--merge", "--namespace=*", "--no-pager")
_END = b"\n\n"  # of an entry
_LARGEST = 4 * 1024 * 1024  # bytes of an entry that is kept whole
_LONGEST = 256  # bytes of a unit's name
_OTHERS = "many more"
_BORDER = 4096  # bytes; no form of a value is longer
_UNIT = re.compile(rb"^(?:_SYSTEMD_USER_UNIT|_SYSTEMD_UNIT|SYSLOG_IDENTIFIER|_COMM)=(.+)$", re.MULTILINE)
_RANK = (b"_SYSTEMD_USER_UNIT", b"_SYSTEMD_UNIT", b"SYSLOG_IDENTIFIER", b"_COMM")
_AT = re.compile(rb"^__REALTIME_TIMESTAMP=(\d+)$", re.MULTILINE)
_MEND = "it leaves with its whole file: journalctl --rotate, then journalctl --vacuum-time=1s"


@dataclass(slots=True)
class _Unit:
    """What stands in the entries of one unit."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: int = 0  # microseconds since 1970
    last: int = 0


def look(ledger: Ledger, processes: Processes, env: Mapping[str, str]) -> None:
    """Everything that journalctl shows us."""
    units: dict[str, _Unit] = {}
    size, said = 0, ""
    try:
        with processes.streaming(ARGV, env={**environment(env), "LC_ALL": "C"}) as streamed:
            for entries in _whole(streamed):
                size += len(entries)
                if ledger.finder.is_in(entries):
                    _note(ledger, entries, units)
                ledger.looked("the journal", len(entries))
        said = _complaint(streamed)
    except PlaceError as error:
        said = str(error)
    finally:  # what was seen before somebody ended it is told all the same
        for name, unit in units.items():
            ledger.found(ledger.finder.hits("journal", f"the journal of {name}{_when(unit)}", unit.counts, _MEND))
    if not size:
        ledger.doubt(f"the journal: journalctl shows no entry{f': {said}' if said else ''}")
    elif said:
        ledger.doubt(f"the journal was not read whole: {said}")


def _whole(streamed: Streamed) -> Iterator[bytes]:
    """Blocks that end where an entry ends. One that is too large to be kept is cut, and what stands at the cut is in
    either part."""
    rest = b""
    for block in streamed.blocks():
        data = rest + block
        if (end := data.rfind(_END)) >= 0:
            yield data[: end + len(_END)]
            rest = data[end + len(_END) :]
        elif len(data) < _LARGEST:
            rest = data
        else:
            yield data
            rest = data[-_BORDER:]
    if rest:
        yield rest


def _note(ledger: Ledger, entries: bytes, units: dict[str, _Unit]) -> None:
    for entry in entries.split(_END):
        if counts := ledger.finder.counts(entry):
            name = _name(entry)
            unit = units.setdefault(name if name in units or len(units) < MOST else _OTHERS, _Unit())
            unit.counts.update(counts)
            if at := _AT.search(entry):
                unit.first = min(unit.first or int(at[1]), int(at[1]))
                unit.last = max(unit.last, int(at[1]))


def _name(entry: bytes) -> str:
    found = {each[0].partition(b"=")[0]: each[1] for each in _UNIT.finditer(entry)}
    name = next((found[field] for field in _RANK if field in found), b"something without a name")
    return name[:_LONGEST].decode(errors="replace")


def _when(unit: _Unit) -> str:
    from datetime import UTC, datetime

    if not unit.last:
        return ""
    first, last = (f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%d %H:%M}" for at in (unit.first, unit.last))
    return f", {first} UTC" if first == last else f", {first} to {last} UTC"


def _complaint(streamed: Streamed) -> str:
    """Why it may not be all; "" where journalctl has nothing to say against it."""
    done = streamed.done
    said = done.err.decode(errors="replace") if done else ""
    if "not seeing messages from other users" in said:
        return "this user may not read the system's and other users' entries (journalctl says who may)"
    lines = [line for line in said.splitlines() if line.strip()]
    if lines:
        return lines[0]
    return f"journalctl ended with exit code {done.code}" if done and done.code else ""
