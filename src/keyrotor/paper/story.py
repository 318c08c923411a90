"""What happened: who said what, how long the key could be used, and the time line. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from keyrotor.core.inquest import Fate, Inquest, Moment
from keyrotor.core.response import Contained
from keyrotor.paper.page import Line, Look, Paragraph, Piece, Section, Table, code, codes, plain
from keyrotor.paper.words import span, when

_HOW = {
    "stop": "the gateway was stopped",
    "loopback": "only this machine could reach the gateway",
    "none": "the gateway was not kept from anybody",
}


def window(inquest: Inquest) -> Line:
    """From when until when others could use the key, as far as anybody knows."""
    ill = "now: it is in force" if inquest.fate is Fate.ALIVE else "now: it is not proven dead"
    until = when(inquest.until) if inquest.until else (Piece(ill, Look.ILL),)
    if inquest.exposed is None:
        bound = (Piece(", at the earliest since "), *when(inquest.earliest)) if inquest.earliest else ()
        return (Piece("since when is unknown", Look.UNSURE), *bound, Piece("; until "), *until)
    length = f"{span(inquest.window.total_seconds())}: " if inquest.window else ""
    return (Piece(f"{length}from "), *when(inquest.exposed), Piece(" until "), *until)


def happened(inquest: Inquest) -> Section:
    rows = [(plain(name), line) for name, line in _said(inquest) if line]
    blocks = [Table("What was said and done", ("", "on record"), tuple(rows))]
    if inquest.contained:
        blocks.append(_containment(inquest))
    return Section("happened", "What happened", tuple(blocks))


def _said(inquest: Inquest) -> Iterator[tuple[str, Line]]:
    names = tuple(dict.fromkeys(key.name for key in inquest.keys if key.name))
    yield "What leaked", (codes(names) or plain("not on record yet"))
    yield "Playbooks", codes(tuple(key.playbook for key in inquest.keys))
    yield "Reason", plain(inquest.reason)
    yield "Opened", (*when(inquest.opened), Piece(f" by {inquest.by}" if inquest.by else ""))
    yield "Exposed since", when(inquest.exposed, "unknown: nobody has said since when")
    yield "Noticed", when(inquest.detected)
    yield "Closed", when(inquest.closed, "not yet")
    yield "Cause", plain(inquest.cause) if inquest.cause else ()
    yield "Closed all the same", plain(inquest.forced) if inquest.forced else ()


def _containment(inquest: Inquest) -> Table:
    lifted = {each.playbook: each for each in inquest.lifted}
    rows = []
    for each in inquest.contained:
        end = lifted.get(each.playbook)
        now = codes(end.listens) or plain(end.said) if end else (Piece("not lifted yet", Look.UNSURE),)
        rows.append((code(each.unit or each.playbook), _how(each), codes(each.listened), codes(each.listens), now))
    heads = ("Gateway", "Meanwhile", "Listened at", "Contained, at", "In the end, at")
    return Table("How strangers were kept away from the gateway", heads, tuple(rows))


def _how(contained: Contained) -> Line:
    if contained.missed:
        return (Piece("not contained", Look.UNSURE), Piece(f": {contained.missed}"))
    return plain("; ".join(filter(None, (_HOW.get(contained.how, contained.how), contained.said))))


def time_line(inquest: Inquest) -> Section:
    if not inquest.moments:
        return Section("time-line", "Time line", (Paragraph(plain("Nothing is on record.")),))
    start = inquest.detected
    rows = tuple(
        (when(moment.at), plain(_after((moment.at - start).total_seconds())), _what(moment), code(moment.by))
        for moment in inquest.moments
    )
    heads = ("When", "After", "What", "Step or run")
    return Section(
        "time-line", "Time line", (Table("What happened when, and how long after it was noticed", heads, rows),)
    )


def _after(seconds: float) -> str:
    """How long after it was noticed; before it with a minus."""
    return f"{'+' if seconds >= 0 else ''}{span(seconds)}"


def _what(moment: Moment) -> Line:
    took = f" (took {span((moment.at - moment.began).total_seconds())})" if moment.began else ""
    said = Piece(f"{moment.what}{took}")
    return (Piece("✗ ", Look.ILL), said) if moment.is_ill else (said,)
