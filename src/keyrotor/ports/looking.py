"""The ports of what is looked at and not touched: what an audit has read, what a healthcheck asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from keyrotor.core.findings import Finding
from keyrotor.core.lineage import Lineage
from keyrotor.core.model import Holds, Playbook
from keyrotor.core.recorded import Recorded
from keyrotor.secret import Pair, Secret


@dataclass(frozen=True, slots=True)
class Seen:
    """What an audit has read once, before anything else is looked at."""

    book: Playbook
    now: datetime
    pair: Pair | None  # the present value, and a decoy in the new one's stead; None where nothing can be decrypted
    former: Callable[[Secret], str]  # the fingerprint of a former value; "" for any other
    recorded: Recorded = field(default_factory=Recorded)
    lineage: Lineage = field(default_factory=Lineage)
    fingerprint: str = ""  # of the present value; "" where no run is on record, or nothing could be decrypted
    holds: Mapping[str, Holds] = field(default_factory=dict)  # row id -> what it holds; doors are not asked


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a healthcheck asks besides the doors."""

    within: float  # seconds for all of it
    redis: Secret | None = None  # its address, which may hold its password
    redis_password: str = ""  # the key of the encrypted file that holds the password, if one does
    backends: bool = False
    catalogue: Path | None = None  # another one than the playbook's


class Look(Protocol):
    """Something that an audit looks at, and does not touch."""

    def findings(self, seen: Seen) -> Iterable[Finding]:
        """What is wrong there. Writes nothing. Raises PlaceError where it cannot look."""
