"""A page as Markdown, as GitHub and others read it, and as it is read in a terminal. Pure.

What a text means by itself to Markdown or HTML is taken from it: it stays text, in one cell of its table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyrotor.paper.page import Block, Items, Letter, Line, Look, Page, Paragraph, Piece, Section, Table

_SYMBOLS = {Look.WELL: "✓", Look.UNSURE: "!", Look.ILL: "✗"}
_SPECIAL = re.compile(r"[\\`*\[\]<>|~$@#&]|(?<![^\W_])_|_(?![^\W_])|(?<=:)/(?=/)|(?<=\bwww)\.", re.IGNORECASE)
_BEGINS = re.compile(r"^(\d*)([-+=.)])")  # what would begin a list or a heading at the start of a line


def written(page: Page) -> str:
    """The page as Markdown."""
    return "\n".join(_lines(page)) + "\n"


def _lines(page: Page) -> Iterator[str]:
    yield f"<!-- {page.kind} -->"
    yield f"# {_escaped(page.title)}"
    yield from ("", _block_text(page.lead))
    yield from ("", f"**{_SYMBOLS.get(page.mood, '')} {_escaped(page.verdict)}**")
    yield from ("", _block_text(page.because), "")
    yield from (f"- {_escaped(name)}: {_line(line)}" for name, line in page.facts)
    for section in page.sections:
        yield from _section(section)
    yield from ("", "---", "", _block_text(page.foot))


def _section(section: Section) -> Iterator[str]:
    yield from ("", f"## {_escaped(section.title)}")
    for block in section.blocks:
        yield ""
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(line):
            yield _block_text(line)
        case Items(lines):
            yield from (f"- {_block_text(line)}" for line in lines)
        case Letter(text):
            fence = "`" * max(3, 1 + _longest(text))
            yield from (f"{fence}text", text.rstrip("\n"), fence)
        case Table():
            yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    yield from (f"{_escaped(table.caption)}:", "")
    yield _row([_escaped(head) for head in table.heads])
    yield _row(["---"] * len(table.heads))
    yield from (_row([_line(cell, in_table=True) for cell in row]) for row in table.rows)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _block_text(line: Line) -> str:
    """What stands at the start of a line, where some signs mean more than elsewhere."""
    return _BEGINS.sub(r"\1\\\2", _line(line), count=1)


def _line(line: Line, *, in_table: bool = False) -> str:
    return "".join(_piece(piece, in_table=in_table) for piece in line).strip()


def _piece(piece: Piece, *, in_table: bool) -> str:
    if piece.look is Look.CODE:
        return _code(piece.text, in_table=in_table)
    text = _escaped(piece.text)
    is_strong = piece.look in _SYMBOLS and text == text.strip()
    return f"**{text}**" if is_strong and text else text


def _code(text: str, *, in_table: bool) -> str:
    """Character by character, but for line ends; in a table a `|` must be escaped even there."""
    text = " ".join(text.split("\n"))
    if not text.strip():
        return ""
    ticks = "`" * (_longest(text) + 1)
    room = " " if "`" in (text[0], text[-1]) else ""
    shown = f"{ticks}{room}{text}{room}{ticks}"
    return shown.replace("|", "\\|") if in_table else shown


def _escaped(text: str) -> str:
    """The text as text, on one line."""
    return "<br>".join(_SPECIAL.sub(r"\\\g<0>", part) for part in text.split("\n"))


def _longest(text: str) -> int:
    """The longest run of backticks in it."""
    return max(map(len, re.findall("`+", text)), default=0)
