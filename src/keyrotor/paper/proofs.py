"""What was proven and how, where the old key was found, and what it could have made. Pure."""

from __future__ import annotations

from datetime import datetime

from keyrotor.core.inquest import Answer, Fate, Inquest, Key
from keyrotor.core.narrative import moment
from keyrotor.core.response import Listener
from keyrotor.core.swept import Hit
from keyrotor.paper.page import Block, Items, Line, Look, Paragraph, Piece, Section, Table, code, codes, cut, plain
from keyrotor.paper.words import number, size, span, when

_FATES = {
    Fate.DEAD: Piece("✓ dead", Look.WELL),
    Fate.UNPROVEN: Piece("! not proven dead", Look.UNSURE),
    Fate.ALIVE: Piece("✗ still in force", Look.ILL),
}
_LISTENER = ("Listener", "Playbook", "From", "Until", "Asked", "Refused", "Last answer", "Verdict")
_ANSWER = ("Door", "Was to show that it", "Said", "When", "Run", "Verdict")
_KINDS = {"file": "file", "archive": "inside an archive", "git": "git", "journal": "journal", "process": "process"}


# -- what was proven


def proven(inquest: Inquest) -> Section:
    blocks: list[Block] = [_keys(inquest)]
    asked = [(key, listener) for key in inquest.keys for listener in key.listeners]
    if asked:
        said = (
            "Each address at which the gateway's unit listens was asked with the old key, again and again, for longer "
        )
        said += "than any cache keeps a key. Only an answer that refuses it counts; silence and errors prove nothing."
        blocks.append(Paragraph(plain(said)))
        rows = tuple(_listener(key, listener, key.began, key.ended) for key, listener in asked)
        blocks.append(Table("The old key at every listener", _LISTENER, rows))
    else:
        blocks.append(Paragraph(plain("No proof at every listener is on record.")))
    again = tuple(
        _listener(key, listener, key.asked_again, key.asked_again) for key in inquest.keys for listener in key.again
    )
    if again:
        blocks.append(Table("Asked once more, when the containment had ended", _LISTENER, again))
    answers = [(run.run, answer) for run in inquest.runs for answer in run.answers]
    if answers:
        blocks.append(Table("The rotation's own proofs", _ANSWER, tuple(_answer(*each) for each in answers)))
    if inquest.runs:
        blocks.append(_runs(inquest))
    return Section("proven", "What was proven, and how", tuple(blocks))


def _keys(inquest: Inquest) -> Table:
    heads = ("Key", "Playbook", "Is", "Replaced", "Proven dead", "Why not")
    return Table("What has become of each key", heads, tuple(_key(key) for key in inquest.keys))


def _key(key: Key) -> tuple[Line, ...]:
    name = code(key.name) or plain("not on record yet")
    return (
        *(name, code(key.playbook), (_FATES[key.fate],), when(key.replaced, "no")),
        *(when(key.ended, "no"), plain(key.why)),
    )


def _listener(key: Key, listener: Listener, began: datetime | None, ended: datetime | None) -> tuple[Line, ...]:
    return (
        *(code(listener.address), code(key.playbook), when(began), when(ended)),
        *(plain(f"{listener.asked:,}"), plain(f"{listener.refused:,}"), code(listener.said)),
        (_verdict(listener),),
    )


def _verdict(listener: Listener) -> Piece:
    if not listener.is_api:
        return Piece("– another language", Look.DIM)
    return Piece("✓ refuses it", Look.WELL) if listener.is_dead else Piece("✗ not proven", Look.ILL)


def _answer(run: str, answer: Answer) -> tuple[Line, ...]:
    verdict = Piece("✓ proven", Look.WELL) if answer.is_proven else Piece("✗ not proven", Look.ILL)
    return code(answer.label), plain(answer.asked), plain(answer.said), when(answer.at), code(run), (verdict,)


def _runs(inquest: Inquest) -> Table:
    rows = tuple(
        (
            *(code(run.run), code(run.playbook), plain(run.outcome), when(run.opened), when(run.closed, "not yet")),
            plain("not on record" if run.outage is None else span(run.outage)),
            *(code(run.old), code(run.new), plain(run.reason)),
        )
        for run in inquest.runs
    )
    heads = ("Run", "Playbook", "Outcome", "Opened", "Closed", "Gateway away", "Old key", "New key", "Why")
    return Table("The runs that replaced the key, with the keyed fingerprints of both values", heads, rows)


# -- where it was found


def found(inquest: Inquest) -> Section:
    title = "Where the old key was found"
    search = inquest.search
    if search is None:
        return Section("found", title, (Paragraph(plain("Unknown: it was not looked for yet.")),))
    looked = (
        f"Looked through {number(search.files, 'file')} and other things, {size(search.size)} in all once unpacked, "
    )
    looked += f"in {span(search.seconds)}."
    own = f" {number(search.own, 'more hit')} {'is' if search.own == 1 else 'are'} in keyrotor's own state or in the "
    own += "places of a playbook, and no leak."
    blocks: list[Block] = [Paragraph(plain(looked + (own if search.own else "")))]
    if inquest.copies:
        blocks += cut(_leaks(inquest), "copies", search.more)
        dead = "A dead key opens nothing. Take it out of these places all the same: it tells where keys lie."
        blocks.append(Paragraph(plain(dead)))
    else:
        blocks.append(Paragraph(plain("It was found nowhere else in what was looked into.")))
    if inquest.left_out:
        blocks.append(Paragraph(plain("Not looked into:")))
        blocks += cut(Items(tuple(map(plain, inquest.left_out))), "things")
    return Section("found", title, tuple(blocks))


def _leaks(inquest: Inquest) -> Table:
    many = len(inquest.keys) > 1
    heads = ("In a", "Where", "How it stands there", "Times", *(("Key of",) if many else ()), "Note")
    rows = tuple(_leak(hit, many=many) for hit in inquest.leaks)
    return Table(f"Copies of the old key, in {number(inquest.copies, 'place')}", heads, rows)


def _leak(hit: Hit, *, many: bool) -> tuple[Line, ...]:
    return (
        *(plain(_KINDS.get(hit.kind, hit.kind)), code(hit.where), plain(", ".join(hit.forms)), plain(f"{hit.count:,}")),
        *((code(hit.value),) if many else ()),
        plain(hit.note),
    )


# -- what it could do


def made(inquest: Inquest) -> Section:
    blocks: list[Block] = []
    for each in inquest.exposures:
        known = number(len(each.made), "thing") + " made meanwhile" if each.is_known or each.made else "unknown"
        why = "" if each.is_known else f" ({each.why or 'it could not be asked'})"
        use = f"; use of the key: {each.used or 'unknown'}"
        blocks.append(Paragraph((Piece(f"Gateway of {each.playbook}: {known}{why}{use}."),)))
    rows = tuple(
        (plain(one.kind), code(one.name), when(moment(one.at), one.at), plain(one.by or "unknown"), code(each.playbook))
        for each in inquest.exposures
        for one in each.made
    )
    if rows:
        heads = ("Kind", "Name", "Made", "By", "Gateway of")
        blocks += cut(Table("Made at the gateway while the key could be used", heads, rows), "things")
    if not inquest.exposures:
        blocks.append(Paragraph(plain("Unknown: the gateway was not asked yet.")))
    blocks += _reach(inquest)
    return Section("made", "What could be done with it", tuple(blocks))


def _reach(inquest: Inquest) -> list[Block]:
    asked = any(stage.id == "reach" and stage.state == "done" for stage in inquest.steps)
    if not inquest.reached:
        said = "No upstream key was found in the gateway's reach." if asked else "Unknown: its reach was not looked at."
        return [Paragraph(plain(said))]
    rows = tuple(
        (plain(each.provider), code(each.name), codes(each.models), code(each.playbook)) for each in inquest.reached
    )
    heads = ("Provider", "Key, by its name", "Models", "Gateway of")
    said = "Who held the gateway's key could not read these, but could spend with them."
    return [Paragraph(plain(said)), Table("Upstream keys that could be used through the gateway", heads, rows)]
