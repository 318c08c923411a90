"""A notice for a command of the user's own: as JSON on its standard input, and in short in its environment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keyrotor.boundary.process import Processes
from keyrotor.core.notice import Notice
from keyrotor.errors import PlaceError


@dataclass(frozen=True, slots=True)
class Command:
    argv: Sequence[str]
    within: float
    processes: Processes
    env: Mapping[str, str] = field(repr=False)
    project: Path

    def send(self, notice: Notice) -> None:
        """Run it. Raises PlaceError, which says why that did not do."""
        stdin = json.dumps(notice.as_json()).encode() + b"\n"
        env = {**self.env, **_told(notice)}
        done = self.processes.run(self.argv, env=env, stdin=stdin, cwd=self.project, within=self.within)
        if done.code:
            raise PlaceError(f"it ended with exit code {done.code}")


def _told(notice: Notice) -> dict[str, str]:
    return {
        "KEYROTOR_EVENT": str(notice.event),
        "KEYROTOR_TITLE": notice.title.replace("\0", " "),
        "KEYROTOR_PLAYBOOK": notice.scene.playbook,
        "KEYROTOR_RUN": notice.run,
        "KEYROTOR_OUTCOME": notice.outcome,
        "KEYROTOR_EXIT": "" if notice.exit is None else str(notice.exit),
    }
