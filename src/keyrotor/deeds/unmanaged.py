"""A gateway that no unit of systemd's is known for: where it listens is told, the rest is left to a person."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from keyrotor.boundary import listeners, proc
from keyrotor.boundary.litellm_api import port
from keyrotor.core.response import Contained, Lifted
from keyrotor.errors import PlaceError


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """One such gateway."""

    playbook: str
    url: str  # "" where the playbook has no gateway at all

    def contain(self, how: str) -> Contained:
        """Nothing; says where it listens. Raises PlaceError where strangers reach it and were to be kept away."""
        if not self.url:
            return Contained(self.playbook, "", how, said="it has no gateway: there is nothing to contain")
        is_here = proc.is_own(urlsplit(self.url).hostname or "")
        now = listeners.of_port(port(self.url)) if is_here else ()
        told = tuple(map(str, now))
        where = ", ".join(told) or "no address"
        is_local = is_here and all(at.is_local for at in now)
        if how == "none" or (how == "loopback" and is_local):
            said = f"{self.url} is left as it is: {f'it listens at {where}' if is_here else 'another machine has it'}"
            return Contained(self.playbook, "", how, told, told, said=said)
        drop = f"iptables -I INPUT ! -i lo -p tcp --dport {port(self.url)} -j DROP"
        raise PlaceError(
            f"cannot contain {self.url}: no unit of systemd's is known for it",
            hint=f"stop it by hand   or   sudo {drop}  (there, and the same with ip6tables)",
        )

    def lift(self) -> Lifted:
        """Nothing was contained."""
        return Lifted(self.playbook, "", said="nothing was contained" if self.url else "it has no gateway")
