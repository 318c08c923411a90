"""The playbook's command that makes a client read its file again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes, environment, found
from keyrotor.core.model import Value
from keyrotor.errors import PlaceError
from keyrotor.secret import Pair

_DOCKER = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG")  # where `docker compose` finds the containers


@dataclass(frozen=True, slots=True)
class Reload:
    """What is run once the key is proven; it is told the place and the word, and no value."""

    argv: Sequence[str]
    place: str
    within: float
    processes: Processes
    env: Mapping[str, str]
    project: Path

    def fault(self, value: Value) -> str:
        """Run it; why that did not do, "" if it did."""
        env = {**environment(self.env, *_DOCKER), "KEYROTOR_PLACE": self.place, "KEYROTOR_VALUE": value}
        try:
            done = self.processes.run(self.argv, env=env, cwd=self.project, within=self.within)
        except PlaceError as error:
            return str(error)
        return f"it ended with exit code {done.code}" if done.code else ""

    def refusals(self, pair: Pair) -> list[str]:
        if any(unseal(pair.old) in word.encode() for word in self.argv):
            return [f"cannot run the reload of {self.place}: its command line holds the key itself"]
        is_there = found(self.argv[0], self.env, self.project) is not None
        return [] if is_there else [f"cannot run {self.argv[0]}, the reload of {self.place}: no such program"]
