"""What has become of a key that has leaked. Pure.

Nothing is better than its proof: a key is dead once every listener has refused it to the end, and not before; one that
was brought back is alive, whatever was proven of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyrotor.core import urgent
from keyrotor.core.incident import Incident, Stand, State
from keyrotor.core.incident_events import Deed, Step
from keyrotor.core.inquest import Fate, Key
from keyrotor.core.machine import Run
from keyrotor.core.narrative import moment
from keyrotor.core.report import Timed
from keyrotor.core.response import Proof


def key(
    incident: Incident, runs: Sequence[tuple[Run, Sequence[Timed]]], name: str, proof: Proof | None, again: Proof | None
) -> Key:
    """What has become of the key of this playbook; `again` is the proof once the containment had ended."""
    mine = [(run, timed) for run, timed in runs if run.plan.playbook == name]
    known = mine[-1][0].plan.source.key if mine else ""
    if not mine or not urgent.is_replaced(mine[-1][0]):
        return Key(name, known, Fate.ALIVE, _why_alive(incident, name, [run for run, _ in mine]))
    why = _doubt(incident, name, proof, again)
    dead = proof if not why else None
    return Key(
        playbook=name,
        name=known,
        fate=Fate.DEAD if dead else Fate.UNPROVEN,
        why=why,
        replaced=urgent.taken_up(*mine[-1]),
        began=moment(dead.began) if dead else None,
        ended=moment(dead.ended) if dead else None,
        listeners=proof.listeners if proof else (),
        asked_again=moment(again.ended) if again and again.listeners else None,
        again=again.listeners if again else (),
    )


def _why_alive(incident: Incident, name: str, runs: Sequence[Run]) -> str:
    rotation = incident.stand(Step(Deed.ROTATE, name))
    if runs and rotation.state is State.DONE:  # and nobody has gone on with the incident since
        return f"run {runs[-1].plan.run} was rolled back: the leaked key is in force again"
    return _not_done(rotation, "it is not replaced yet")


def _doubt(incident: Incident, name: str, proof: Proof | None, again: Proof | None) -> str:
    """Why a key that is replaced is not proven dead; "" where it is."""
    proving, lift = (incident.stand(step) for step in (Step(Deed.PROVE, name), Step(Deed.LIFT)))
    if proof and proof.is_moot:
        return proof.said or "its playbook has no gateway that could be asked"
    if proof is None or not proof.is_dead or proving.state is not State.DONE:
        return _not_done(proving, "not every listener was asked to the end yet")
    if lift.state in (State.BEGUN, State.FAILED) and not (again and again.is_dead):  # asked at what strangers reach
        then = _not_done(lift, "the step lift was cut off")
        return f"it was refused while the gateway was contained; then: {then}"
    return ""


def _not_done(stand: Stand, otherwise: str) -> str:
    return stand.said if stand.state is State.FAILED and stand.said else otherwise
