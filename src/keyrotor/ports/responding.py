"""The port of an incident's deeds, for the gateway of one playbook. Each may be done again after a kill anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from keyrotor.core.response import Contained, Exposure, Frozen, Lifted, Proof, Reached
from keyrotor.secret import Secret


class Responder(Protocol):
    def freeze(self, folder: Path, since: datetime, logs: Sequence[Path]) -> Frozen:
        """Keep evidence, redacted, as it is now; what is kept already stays. What cannot be kept is told in it.
        Raises PlaceError where nothing can be written."""

    def contain(self, how: str) -> Contained:
        """Keep strangers away: `stop`, `loopback` or `none`, which ends a containment. Raises PlaceError where that
        cannot be had; where it can be had of one of several gateways, `missed` says why not of the others."""

    def lift(self) -> Lifted:
        """End the containment: it listens as before. Nothing contained is well too. Raises PlaceError."""

    def prove(
        self, old: Secret, new: Callable[[], Secret], since: datetime, within: float, told: Callable[[int, int], None]
    ) -> Proof:
        """Ask every listener, again and again until `within` seconds after `since`; `told` hears how many of how many
        seconds are over. `new` tells the value that is present, and is asked again where that is refused. A playbook
        without a gateway has nobody to ask: its proof has no listeners and `is_moot`, and must keep nothing from being
        done. Raises PlaceError where somebody is to be asked and cannot be."""

    def exposure(self, new: Secret, since: str, until: str) -> Exposure:
        """What was made at the gateway in the window, as far as anybody can know. Writes nothing."""

    def reach(self, values: Mapping[str, Secret]) -> Sequence[Reached]:
        """The upstream keys that could be used through the gateway, by name. Writes nothing. Raises PlaceError."""
