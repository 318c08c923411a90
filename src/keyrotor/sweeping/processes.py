"""The environments and command lines of the processes that this user may read (Linux /proc).

Rules:
1. An environment is what the process was started with; what it has put there since nobody sees.
2. Our own process and its children are left out: they were given what they look for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from keyrotor.boundary import proc
from keyrotor.boundary.reading import why
from keyrotor.sweeping.finder import Counts
from keyrotor.sweeping.ledger import Ledger

_UNREADABLE = "environments of processes that this user may not read"
_UNITS = (".service", ".scope", ".socket", ".mount")


def look(ledger: Ledger, places: Mapping[int, str]) -> None:
    """Every process; `places` tells whose are those that belong to a place of a playbook."""
    ours = proc.family(os.getpid())
    for pid in proc.pids():
        ledger.raise_if_asked()
        if pid in ours:
            continue
        parts = {"environment": b"", "command line": proc.command_line(pid)}
        try:
            parts["environment"] = Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        except PermissionError:
            ledger.left_out.skipped[_UNREADABLE] += 1
        except OSError as error:
            ledger.cannot_read(f"/proc/{pid}/environ", why(error))
        found = {part: counts for part, data in parts.items() if (counts := ledger.finder.counts(data))}
        if found:
            _tell(ledger, pid, found, places.get(pid, ""))
        ledger.looked("processes", sum(map(len, parts.values())))


def _tell(ledger: Ledger, pid: int, found: Mapping[str, Counts], place: str) -> None:
    unit = _unit(pid)
    where = f"process {pid} ({proc.name(pid)}{f' of {unit}' if unit else ''}), its {' and '.join(found)}"
    mend = f"systemctl restart {unit}" if unit.endswith(".service") else "start it again"
    note = "" if place else ledger.finder.shown(f"it keeps that until it ends: {mend}")
    counts: Counter[tuple[str, str]] = Counter()
    for each in found.values():
        counts.update(each)
    hits = ledger.finder.hits("process", where, counts, note)
    ledger.found(replace(hit, whose=place) for hit in hits)


def _unit(pid: int) -> str:
    """The unit that the process belongs to, by its control group; "" where none tells."""
    for group in sorted(proc.groups(pid), key=len, reverse=True):
        for name in reversed(group.split("/")):
            if name.endswith(_UNITS):
                return name
    return ""
