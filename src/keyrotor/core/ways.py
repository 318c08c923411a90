"""How a run that is not finished can be ended: what is typed for it. Pure."""

from __future__ import annotations

from keyrotor.core.machine import Run
from keyrotor.core.model import Value


def brings_back_leaked(run: Run) -> bool:
    """Whether a rollback would put a value in force again that an incident has replaced."""
    return bool(run.plan.incident) and run.goal is Value.NEW


def ways(run: Run) -> str:
    """The commands, with what each does."""
    does = "puts the leaked key back in force; then: keyrotor incident resume" if _revives(run) else "goes on"
    return "   or   ".join(filter(None, (f"keyrotor resume {run.plan.run}  ({does})", instead(run))))


def instead(run: Run) -> str:
    """What may be typed in the stead of going on; "" where only that helps: a leaked value is not brought back by the
    way, and who means it finds it in the manual."""
    if not run.has_way_back or _revives(run):
        return f"keyrotor abandon {run.plan.run} --reason …  (leaves it as it is)"
    return "" if brings_back_leaked(run) else f"keyrotor rollback {run.plan.run}  (ends all old)"


def _revives(run: Run) -> bool:
    """Whether to go on is to put the leaked value back: the run of an incident was turned back."""
    return bool(run.plan.incident) and run.goal is Value.OLD
