"""Who is told of an incident: whom its playbook names, and whom those name that it rotates; each once."""

from __future__ import annotations

from pathlib import Path

from keyrotor import proceedings, telling
from keyrotor.casefile import Ground
from keyrotor.errors import InterruptedRun, PlaybookError, UsageError
from keyrotor.proceedings import Standing


def tell(world: Ground, standing: Standing) -> list[str]:
    """Tell whom the incident playbook names, and whom those name that it rotates; a note for each one who could not be
    told."""
    case = standing.docket.incident.case
    notes: list[str] = []
    heard: set[str] = set()
    for path in filter(None, (case.response, *case.playbooks.values())):
        try:
            known = telling.named(world, path)
        except (PlaybookError, UsageError) as error:
            notes.append(f"whom {path} names is told as far as it can be read: {error}")
            known = telling.read(Path(path), world.env)
        try:
            said = proceedings.notice(standing, telling.scene(world, known.name))
            wanting = {known.address_of(each): each for each in known.addressees if each.wants(said.occasions)}
            to = [each for address, each in wanting.items() if address not in heard]
            heard |= wanting.keys()
            notes += [each.fault for each in telling.tell(world, to, said, known.source) if each.fault]
        except InterruptedRun as asked:
            return [*notes, f"not everybody was told: interrupted by {asked}"]
    return notes
