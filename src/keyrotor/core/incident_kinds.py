"""What an audit can find of an open incident; these rows of the catalogue, which is in `findings`. Pure data."""

from __future__ import annotations

from keyrotor.core.kinds import Kind, Severity

_, _MEDIUM, _HIGH = Severity

# fmt: off
INCIDENT_KINDS = (
    Kind("key-leaked", _HIGH,
         "its {key} has leaked (incident {case}) and is not replaced",
         "whoever has it gets in, as soon as the gateway can be reached",
         "keyrotor incident resume {case}"),
    Kind("leak-revived", _HIGH,
         "its {key} is one that had leaked ({fingerprint}), which run {run} had replaced",
         "it would come back to life: a stale checkout, or an editor that was left open",
         "{back}  (brings back the version with the present value; where a gateway has taken the leaked one up: "
         "keyrotor rotate {playbook})"),
    Kind("incident-open", _MEDIUM,
         "incident {case} is open: {left}",
         "the leaked key is kept until it is closed, and what became of it is not all known",
         "keyrotor incident status {case}"),
)
# fmt: on
