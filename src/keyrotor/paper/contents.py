"""The page of an inquest: the verdict, what is to be known at first sight, then the sections. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from keyrotor.core.inquest import Fate, Inquest, Key
from keyrotor.paper import proofs, remains, story
from keyrotor.paper.page import Line, Look, Page, Piece, plain
from keyrotor.paper.words import number, span, when

KIND = "keyrotor incident report"  # by which a file is known as one of ours
_MOODS = {Fate.DEAD: Look.WELL, Fate.UNPROVEN: Look.UNSURE, Fate.ALIVE: Look.ILL}


def page(inquest: Inquest) -> Page:
    """All that is told of an incident, in the order in which it is read."""
    return Page(
        kind=KIND,
        title=f"Incident {inquest.id}",
        lead=plain(inquest.reason),
        mood=_MOODS[inquest.fate],
        verdict=_verdict(inquest),
        because=_because(inquest),
        facts=tuple(_facts(inquest)),
        sections=(
            story.happened(inquest),
            story.time_line(inquest),
            proofs.proven(inquest),
            proofs.found(inquest),
            proofs.made(inquest),
            remains.unknown(inquest),
            remains.tasks(inquest),
            remains.evidence(inquest),
        ),
        foot=(Piece(f"Told by keyrotor {inquest.keyrotor} from its record, "), *when(inquest.made), *plain(".")),
    )


def _verdict(inquest: Inquest) -> str:
    many = len(inquest.keys) > 1
    worst = [key for key in inquest.keys if key.fate is inquest.fate]
    which = f" ({', '.join(key.playbook for key in worst)})" if many and inquest.fate is not Fate.DEAD else ""
    one = len(worst) == 1
    match inquest.fate:
        case Fate.DEAD:
            return "The old keys are dead" if many else "The old key is dead"
        case Fate.UNPROVEN:
            return f"The old {'key is' if one else 'keys are'} not proven dead{which}"
        case Fate.ALIVE:
            return f"The leaked {'key is' if one else 'keys are'} still in force{which}"


def _because(inquest: Inquest) -> Line:
    if inquest.until:
        found = [listener for key in inquest.keys for listener in key.listeners if listener.is_api]
        asked, refused = sum(each.asked for each in found), sum(each.refused for each in found)
        said = f": {number(len(found), 'listener')} of the gateway, asked again and again, "
        said += f"refused {refused} of {asked} times."
        return (Piece("Proven at "), *when(inquest.until), Piece(said))
    return plain("; ".join(_why(key, inquest) for key in inquest.keys if key.fate is inquest.fate))


def _why(key: Key, inquest: Inquest) -> str:
    return f"{key.playbook}: {key.why}" if len(inquest.keys) > 1 else key.why


def _facts(inquest: Inquest) -> Iterator[tuple[str, Line]]:
    yield "Could be used", story.window(inquest)
    later = inquest.until - inquest.detected if inquest.until else None
    reaction = (Piece(f"; proven dead {span(later.total_seconds())} later"),) if later is not None else ()
    yield "Noticed", (*when(inquest.detected), *reaction)
    yield "Strangers kept away", _kept_away(inquest)
    state = (Piece("closed "), *when(inquest.closed)) if inquest.closed else plain("open")
    yield "Incident", state
    yield "Still to do", _open(inquest)
    yield "Found elsewhere", _found(inquest)
    yield "Unknown", (Piece(number(len(inquest.unknown), "thing"), to="unknown"),)
    away = [run.outage for run in inquest.runs if run.outage is not None]
    yield "Gateway away", plain(" + ".join(span(each) for each in away) if away else "not on record")


def _kept_away(inquest: Inquest) -> Line:
    if inquest.contained_at is None:
        said = "; ".join(filter(None, (each.missed or each.said for each in inquest.contained))) or _missed(inquest)
        return (Piece("not contained", Look.UNSURE), *plain(f": {said}" if said else ""))
    until = when(inquest.lifted_at) if inquest.lifted_at else plain("now")
    open_ = ", ".join(each.unit or each.playbook for each in inquest.contained if each.missed)
    but = (Piece(f"; not from {open_}", Look.UNSURE),) if open_ else ()
    return (Piece("from "), *when(inquest.contained_at), Piece(" until "), *until, *but)


def _missed(inquest: Inquest) -> str:
    """Why the step that contains has failed; "" where it has not."""
    return next((stage.said for stage in inquest.steps if stage.id == "contain" and stage.state == "failed"), "")


def _open(inquest: Inquest) -> Line:
    if not inquest.todo:
        return (Piece("nothing that is on record", to="tasks"),)
    return (Piece(number(len(inquest.todo), "task"), Look.UNSURE, to="tasks"),)


def _found(inquest: Inquest) -> Line:
    if inquest.search is None:
        return (Piece("not looked for yet", Look.UNSURE, to="found"),)
    if not inquest.copies:
        return (Piece("nowhere that was looked into", to="found"),)
    return (Piece(f"in {number(inquest.copies, 'place')}", Look.ILL, to="found"),)
