"""What remains: what is not known, what people must do, and what all of it stands on. Pure."""

from __future__ import annotations

from keyrotor.core.inquest import Inquest
from keyrotor.core.narrative import moment
from keyrotor.paper.letter import letter
from keyrotor.paper.page import Block, Items, Letter, Line, Look, Paragraph, Piece, Section, Table, code, plain
from keyrotor.paper.words import size, when


def unknown(inquest: Inquest) -> Section:
    lead = Paragraph(plain("Nobody has looked, or nobody can know. None of this means that nothing happened."))
    return Section("unknown", "What is unknown", (lead, Items(tuple(map(plain, inquest.unknown)))))


# -- what people must do


def tasks(inquest: Inquest) -> Section:
    blocks: list[Block] = []
    if inquest.todo:
        rows = tuple((plain(each.text), code(each.command)) for each in inquest.todo)
        blocks.append(Table("Open, with the command that goes on with it or ticks it off", ("What", "Command"), rows))
    else:
        blocks.append(Paragraph(plain("Nothing that is on record is open.")))
    blocks.append(Paragraph(plain("Besides, whatever is ticked off:")))
    blocks.append(Items(tuple(_besides(inquest))))
    blocks.append(Paragraph(plain("A letter to those who use the gateway; fill in what stands in brackets:")))
    blocks.append(Letter(letter(inquest)))
    return Section("tasks", "What people must still do", tuple(blocks))


def _besides(inquest: Inquest) -> list[Line]:
    names = sorted({each.name for each in inquest.reached})
    upstream = [Piece("Judge whether to replace the upstream keys: ")]
    for at, name in enumerate(names):
        upstream += [Piece(", " if at else ""), Piece(name, Look.CODE)]
    lines: list[Line] = [tuple(upstream)] if names else []
    lines.append(plain("Tell those who use the gateway; the letter below is a beginning."))
    if inquest.exposed is None or any(not each.is_known for each in inquest.exposures):
        lines.append(plain("Ask the upstream providers for the use and the cost of the time in question."))
    history = "Rewriting git history is optional and comes last: the key is dead first, and clones keep what they have."
    lines.append(plain(history))
    return lines


# -- what it stands on


def evidence(inquest: Inquest) -> Section:
    kept = inquest.evidence
    blocks: list[Block] = []
    if kept.exhibits:
        rows = tuple(
            (code(each.name), plain(each.what), plain(size(each.size)), code(each.sha256)) for each in kept.exhibits
        )
        blocks.append(Table("Files of evidence, redacted", ("File", "What it is", "Size", "SHA-256"), rows))
        blocks.append(Paragraph((Piece("They lie in "), *_folders(kept.folders))))
    else:
        blocks.append(Paragraph(plain("No file of evidence was kept.")))
    if kept.places:
        blocks.append(_places(inquest))
    blocks.append(_record(inquest))
    return Section("evidence", "Evidence and record", tuple(blocks))


def _folders(folders: tuple[str, ...]) -> Line:
    pieces = [piece for folder in folders for piece in (Piece(", "), Piece(folder, Look.CODE))]
    return tuple(pieces[1:])


def _places(inquest: Inquest) -> Table:
    rows = tuple(
        (
            *(
                code(each.label),
                when(moment(each.changed), each.changed or "not a file"),
                code(each.mode),
                plain(each.owner),
            ),
            code(each.imprint),
        )
        for each in inquest.evidence.places
    )
    heads = ("Place", "Last written", "Mode", "Owner", "Salted digest")
    return Table("The places of the playbooks, as they were before anything was changed", heads, rows)


def _record(inquest: Inquest) -> Table:
    record = inquest.record
    whole = Piece("✓ whole", Look.WELL) if record.is_whole else Piece("✗ not to be believed", Look.ILL)
    rows: tuple[tuple[Line, ...], ...] = (
        (plain("When this was told"), when(inquest.made)),
        (plain("The record was"), (whole, Piece(f": {record.said}"))),
        (plain("Its last entry"), plain(f"{record.last:,}")),
        (plain("That entry's hash"), code(record.head)),
        (plain("Signed by the key"), code(record.key) or plain("not signed")),
        (plain("To ask again"), code("keyrotor log --verify")),
    )
    return Table("The record that all of this is told from", ("", "on record"), rows)
