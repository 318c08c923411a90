"""What a page is made of, whatever it is written in: sections of paragraphs, lists and tables. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Look(StrEnum):
    """How a piece of text is shown."""

    PLAIN = "plain"
    CODE = "code"  # a path, a command, a hash: character by character
    TIME = "time"  # `2026-11-22 03:14:07 UTC`
    DIM = "dim"  # besides
    WELL = "well"
    ILL = "ill"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    look: Look = Look.PLAIN
    to: str = ""  # the id of the section that tells more


Line = tuple[Piece, ...]  # what stands in a cell, in an item, in a paragraph


@dataclass(frozen=True, slots=True)
class Paragraph:
    line: Line


@dataclass(frozen=True, slots=True)
class Items:
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A text that is there to be copied, line by line."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Every row has a cell for each head."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]


Block = Paragraph | Items | Letter | Table


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    kind: str  # what it is a page of
    title: str
    lead: Line
    mood: Look  # WELL, ILL or UNSURE
    verdict: str
    because: Line
    facts: tuple[tuple[str, Line], ...]  # what is to be known at first sight
    sections: tuple[Section, ...]
    foot: Line


MOST = 100  # rows of a table, or items of a list, that people read


def cut(block: Table | Items, what: str, unlisted: int = 0) -> tuple[Block, ...]:
    """The block as far as people read it, and how many more of `what` there are; `unlisted`: not even on record."""
    match block:
        case Table(rows=all_of):
            blocks: list[Block] = [replace(block, rows=all_of[:MOST])]
        case Items(all_of):
            blocks = [replace(block, lines=all_of[:MOST])]
    left = len(all_of) - MOST
    if left > 0:
        said = Piece(f"And {left:,} more {what}, all of which are in: ")
        blocks.append(Paragraph((said, Piece("keyrotor incident report --json", Look.CODE))))
    if unlisted:
        blocks.append(Paragraph(plain(f"And {unlisted:,} more {what} that the record does not list.")))
    return tuple(blocks)


def plain(text: str) -> Line:
    return (Piece(text),)


def code(text: str) -> Line:
    """Character by character; nothing, where there is nothing."""
    return (Piece(text, Look.CODE),) if text else ()


def codes(texts: tuple[str, ...]) -> Line:
    """Several of them in a row."""
    pieces = [piece for text in texts for piece in (Piece(", "), *code(text))]
    return tuple(pieces[1:])
