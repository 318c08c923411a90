"""A notice as JSON, posted to an address."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from keyrotor.boundary import webhook
from keyrotor.core.notice import Notice
from keyrotor.secret import Secret


@dataclass(frozen=True, slots=True)
class Webhook:
    address: Secret
    within: float
    rest: Callable[[float], None]
    trust: str  # a file of certificates that are trusted besides the usual ones

    def send(self, notice: Notice) -> None:
        """Post it. Raises PlaceError, which says why it has not arrived."""
        body = json.dumps(notice.as_json()).encode()
        webhook.post(self.address, body, within=self.within, rest=self.rest, trust=self.trust)
