"""A page as one HTML file that stands by itself: no script, no request, nothing of it from anywhere else. Pure.

Every text is escaped, whoever wrote it; the only markup is what is written here.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from keyrotor.paper.page import Block, Items, Letter, Line, Look, Page, Paragraph, Piece, Section, Table
from keyrotor.paper.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SYMBOLS = {Look.WELL: "✓", Look.UNSURE: "!", Look.ILL: "✗"}


def written(page: Page) -> str:
    """The page as HTML."""
    return "\n".join(_lines(page)) + "\n"


def _lines(page: Page) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta name="generator" content="{escape(page.kind)}">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="robots" content="noindex">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{escape(page.title)}: {escape(page.verdict)}</title>"
    yield f"<style>{STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield from _head(page)
    yield "<main>"
    for section in page.sections:
        yield from _section(section)
    yield "</main>"
    yield f"<footer><p>{_line(page.foot)}</p></footer>"
    yield "</body>"
    yield "</html>"


def _head(page: Page) -> Iterator[str]:
    yield "<header>"
    yield f"<h1>{escape(page.title)}</h1>"
    yield f'<p class="lead">{_line(page.lead)}</p>'
    yield f'<div class="verdict {page.mood}" role="group" aria-labelledby="verdict">'
    yield f'<p id="verdict"><span aria-hidden="true">{_SYMBOLS.get(page.mood, "")}</span> {escape(page.verdict)}</p>'
    yield f"<p>{_line(page.because)}</p>"
    yield "</div>"
    yield "<dl>"
    for name, line in page.facts:
        yield f"<div><dt>{escape(name)}</dt><dd>{_line(line)}</dd></div>"
    yield "</dl>"
    yield '<nav aria-label="Sections">'
    yield "<ul>"
    for section in page.sections:
        yield f'<li><a href="#{escape(section.id)}">{escape(section.title)}</a></li>'
    yield "</ul>"
    yield "</nav>"
    yield "</header>"


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{escape(section.id)}" aria-labelledby="{escape(section.id)}-title">'
    yield f'<h2 id="{escape(section.id)}-title">{escape(section.title)}</h2>'
    for at, block in enumerate(section.blocks):
        yield from _block(block, f"{section.id}-{at}")
    yield "</section>"


def _block(block: Block, name: str) -> Iterator[str]:
    match block:
        case Paragraph(line):
            yield f"<p>{_line(line)}</p>"
        case Items(lines):
            yield "<ul>"
            yield from (f"<li>{_line(line)}</li>" for line in lines)
            yield "</ul>"
        case Letter(text):
            yield f'<pre tabindex="0" aria-label="Letter">{escape(text)}</pre>'
        case Table():
            yield from _table(block, escape(name))


def _table(table: Table, name: str) -> Iterator[str]:
    """In a box of its own, that can be scrolled by keys as well."""
    is_pairs = not table.heads[0]  # its first column names each row
    yield f'<div class="wide" role="region" aria-labelledby="{name}" tabindex="0">'
    yield '<table class="pairs">' if is_pairs else "<table>"
    yield f'<caption id="{name}">{escape(table.caption)}</caption>'
    if not is_pairs:
        heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
        yield f"<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        cells = [f"<td>{_line(cell)}</td>" for cell in row]
        if is_pairs:
            cells[0] = f'<th scope="row">{_line(row[0])}</th>'
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody>"
    yield "</table>"
    yield "</div>"


def _line(line: Line) -> str:
    return "".join(map(_piece, line))


def _piece(piece: Piece) -> str:
    text = escape(piece.text)
    match piece.look:
        case Look.PLAIN:
            shown = text
        case Look.CODE:
            shown = f"<code>{text}</code>"
        case Look.TIME:
            shown = f'<time datetime="{text.replace(" UTC", "Z")}">{text}</time>'
        case _:
            shown = f'<span class="{piece.look}">{text}</span>'
    return f'<a href="#{escape(piece.to)}">{shown}</a>' if piece.to else shown
