"""The pages of a report: whatever stands in it, it is text in its place, and nothing beside it moves."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import incident_record as record
from keyrotor.core import inquiry
from keyrotor.core.incident import fold
from keyrotor.core.inquest import Fate, Inquest, Key, RecordState
from keyrotor.core.inquiry import Facts, Told
from keyrotor.core.machine import fold as fold_run
from keyrotor.paper import contents, html, markdown, words
from keyrotor.paper.letter import letter
from keyrotor.paper.page import Look, Page, Table
from keyrotor.world.reporting import cleaner

FACTS = Facts(
    frozen=(record.FROZEN,),
    contained=(record.CONTAINED,),
    proofs={record.BOOK: record.PROOF},
    sought=record.SOUGHT,
    exposures=(replace(record.EXPOSURE, made=record.MADE),),
    reached=record.REACHED,
)
VOID = {"meta", "link", "br"}
NASTY = (
    "<script>alert(1)</script>",
    "</td></table><h1>",
    "\"'><img src=x onerror=alert(1)>",
    "]]>--><!--",
    "a | b || c",
    "``` ` `` | `",
    "\\|\\",
    "line\nline\r\n\n# heading",
    "[link](https://example.invalid) ![](x) <https://example.invalid> https://example.invalid www.example.invalid",
    "**bold** _it_ ~~gone~~ &amp; &#60; $x$ @all",
    "\u202egnp.exe\u200f \x00 \x1b[31m \u2028",
    "- item",
    "1. item",
    "w" * 500,
)
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=40), st.lists(st.sampled_from(NASTY)).map("".join))


@cache
def sample() -> Inquest:
    """All of the made-up incident."""
    steps = [(record.at(seconds), event) for seconds, event in (*record.STEPS, *record.CLOSED)]
    run = [(record.at(seconds), event) for seconds, event in record.RUN_EVENTS]
    runs = [(fold_run(event for _, event in run), run)]
    state = RecordState(31, record.sha("head"), record.sha("key"), "the chain is whole and signed", is_whole=True)
    told = Told(fold(event for _, event in steps), steps, runs, FACTS, state, ("a doubt",))
    return inquiry.inquest(told, record.at(100_000), "0.1.0")


def mapped(found: Any, change: Callable[[str], str]) -> Any:
    """The same, with another text in every field."""
    if type(found) is str:
        return change(found)
    if isinstance(found, tuple):
        return tuple(mapped(each, change) for each in found)
    if is_dataclass(found) and not isinstance(found, type):
        return replace(found, **{field.name: mapped(getattr(found, field.name), change) for field in fields(found)})
    return found


class World:
    """A world that knows no value."""

    def known_fingerprinter(self) -> None:
        raise AssertionError("nothing is known")


clean = cleaner(World(), (), (), frozenset())  # type: ignore[arg-type]


class Read(HTMLParser):
    """The page as a browser takes it: its elements, balanced, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    @property
    def cells(self) -> list[list[int]]:
        """The number of cells of each row of each table."""
        found: list[list[int]] = []
        for tag in self.tags:
            if tag == "table":
                found.append([])
            elif tag == "tr":
                found[-1].append(0)
            elif tag in ("td", "th"):
                found[-1][-1] += 1
        return found


def tables(text: str) -> list[list[int]]:
    """The number of cells of each row of each table, as GitHub's Markdown has it."""
    found: list[list[int]] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append(0)
        elif token.type in ("th_open", "td_open"):
            found[-1][-1] += 1
    return found


def kinds(text: str) -> set[str]:
    """What stands in its lines, but text."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inner = [child for token in tokens for child in token.children or ()]
    raw = [child for child in inner if child.type == "html_inline"]
    assert {child.content for child in raw} <= {"<br>"}
    return {child.type for child in inner if child not in raw}


def expected(page: Page) -> list[list[int]]:
    blocks = [block for section in page.sections for block in section.blocks if isinstance(block, Table)]
    return [[len(table.heads)] * (1 + len(table.rows)) for table in blocks]


# -- any text in any field


@settings(max_examples=60)
@given(st.data())
def test_any_text_in_any_field_is_text_in_html(data: st.DataObject) -> None:
    """Its elements are balanced, every table has the cells that it was made of; no attribute holds what was typed."""
    texts = data.draw(st.lists(TEXTS, min_size=3, max_size=6))
    at = iter(range(10**6))
    inquest = mapped(sample(), lambda text: clean(texts[next(at) % len(texts)]) if text else text)
    page = contents.page(inquest)
    read = Read(html.written(page))
    is_pairs = [not block.heads[0] for section in page.sections for block in section.blocks if isinstance(block, Table)]
    assert read.cells == [rows[pairs:] for rows, pairs in zip(expected(page), is_pairs, strict=True)]
    assert set(read.tags) <= set(Read(html.written(contents.page(sample()))).tags)
    assert {name for name, _ in read.attributes if name.startswith("on") or name in ("src", "srcset", "style")} == set()
    assert all(value.startswith("#") for name, value in read.attributes if name == "href")
    assert clean(texts[0]).strip() in "".join(read.text)


@settings(max_examples=60)
@given(st.data())
def test_any_text_in_any_field_is_text_in_markdown(data: st.DataObject) -> None:
    """Every table has the rows and the cells that it was made of; there is no link, no image, no HTML."""
    texts = data.draw(st.lists(TEXTS, min_size=3, max_size=6))
    at = iter(range(10**6))
    inquest = mapped(sample(), lambda text: clean(texts[next(at) % len(texts)]) if text else text)
    page = contents.page(inquest)
    text = markdown.written(page)
    assert tables(text) == expected(page)
    assert kinds(text) <= {"text", "text_special", "code_inline", "strong_open", "strong_close", "softbreak"}


@pytest.mark.parametrize("text", NASTY)
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    """Out of HTML and out of Markdown, as prose and as code."""
    shown = clean(text)
    read = Read(html.written(contents.page(replace(sample(), reason=shown))))
    assert shown.strip() in "".join(read.text)
    [cell] = [
        each for each in _cells(markdown.written(contents.page(replace(sample(), cause=shown)))) if each[0] == "Cause"
    ]
    assert cell[1] == "<br>".join(shown.split("\n")).strip()


def _cells(text: str) -> list[list[str]]:
    """The text of each row's cells."""
    rows: list[list[str]] = []
    tokens = MarkdownIt("commonmark").enable(["table"]).parse(text)
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            rows[-1].append("".join(child.content for child in tokens[at + 1].children or ()))
    return rows


# -- what the page is


def test_the_page_needs_nothing_but_itself() -> None:
    """No script, no request, and a policy that would forbid both."""
    text = html.written(contents.page(sample()))
    read = Read(text)
    assert not {"script", "img", "iframe", "object", "embed", "base", "form"} & set(read.tags)
    assert ("content", html.POLICY) in read.attributes
    assert html.POLICY.startswith("default-src 'none'; style-src 'unsafe-inline'")
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert not re.findall(r"url\(|@import|@font-face|https?:", style)
    assert [value for name, value in read.attributes if name == "href" and value[0] != "#"] == []


def test_the_page_can_be_read_by_those_who_do_not_see_it() -> None:
    """A language, one first heading and no level left out, a caption for each table, a name for each part."""
    read = Read(html.written(contents.page(sample())))
    assert ("lang", "en") in read.attributes
    levels = [int(tag[1]) for tag in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert levels.count(1) == 1
    assert read.tags.count("table") == read.tags.count("caption")
    ids = [value for name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    named = [value for name, value in read.attributes if name == "aria-labelledby"]
    assert set(named) <= set(ids)
    assert {value[1:] for name, value in read.attributes if name == "href" and value.startswith("#")} <= set(ids)


def test_the_verdict_stands_first_in_every_form() -> None:
    """Before anything else is told: dead, not proven dead, or in force."""
    said = {
        Fate.DEAD: ("The old key is dead", Look.WELL),
        Fate.UNPROVEN: ("The old key is not proven dead", Look.UNSURE),
        Fate.ALIVE: ("The leaked key is still in force", Look.ILL),
    }
    for fate, (verdict, mood) in said.items():
        key = replace(sample().keys[0], fate=fate, why="" if fate is Fate.DEAD else "nobody has asked yet")
        inquest = replace(sample(), keys=(key,))
        page = contents.page(inquest)
        assert (page.verdict, page.mood) == (verdict, mood)
        assert f"<title>Incident {record.ID}: {verdict}</title>" in html.written(page)
        assert verdict in markdown.written(page).splitlines()[5]
        assert ("is proven dead" in letter(inquest)) == (fate is Fate.DEAD)


def test_of_several_keys_those_that_are_not_dead_are_named() -> None:
    """A verdict on one that says nothing of which would be of no use."""
    other = Key("other", "OTHER_KEY", Fate.UNPROVEN, "a listener gave no answer")
    page = contents.page(replace(sample(), keys=(*sample().keys, other)))
    assert page.verdict == "The old key is not proven dead (other)"
    assert page.because[0].text == "other: a listener gave no answer"


@pytest.mark.parametrize("form", [html, markdown])
def test_nothing_is_left_out_of_a_page(form: Any) -> None:
    """Each of the things that a reader may ask for is in both of them."""
    text = form.written(contents.page(sample())).replace("\\", "")
    wanted = [
        record.ID,
        record.CASE.reason,
        record.CASE.by,
        "2 h 11 min",
        "6 min 52 s later",
        "38",
        "400 no_db_connection",
    ]
    wanted += [hit.where for hit in record.HITS if not hit.whose]
    wanted += [*record.SOUGHT.left_out, *record.FROZEN.missing, "night-crawler", "OPENAI_API_KEY", "sk-…0b7e4c11d2aa"]
    wanted += [exhibit.sha256 for exhibit in record.FROZEN.exhibits]
    wanted += [task.command for task in sample().todo] + list(sample().unknown) + ["keyrotor log --verify"]
    wanted += [record.sha("head"), record.sha("key"), "Subject: LITELLM_MASTER_KEY of our gateway", "git history"]
    wanted += ["a hook refuses keys now", "letters are out", "evidence/litellm-master-key"]
    plain = "".join(Read(text).text) if form is html else text
    assert [each for each in wanted if each not in plain] == []


# -- words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0, "0 s"), (0.82, "0.8 s"), (9.96, "10 s"), (42.4, "42 s"), (59.7, "1 min"), (65, "1 min 5 s")),
        *((3600, "1 h"), (7530, "2 h 5 min"), (86_400, "1 day"), (200_000, "2 days 7 h"), (-65, "-1 min 5 s")),
    ],
)
def test_a_length_of_time_is_said_as_a_person_says_it(seconds: float, said: str) -> None:
    """By its two greatest units."""
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "1 byte"), (999, "999 bytes"), (1_204_882, "1.2 MB"), (999_960, "1.0 MB"), (4 * 10**12, "4.0 TB")],
)
def test_a_size_is_said_in_its_unit(count: int, said: str) -> None:
    """Decimal units, one digit behind the point."""
    assert words.size(count) == said


def test_a_moment_is_told_in_utc_and_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both, where they differ; with the day, where that differs too."""
    night = datetime(2026, 11, 22, 23, 30, tzinfo=timezone(timedelta(hours=2)))

    def said(zone: str) -> str:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        return "".join(piece.text for piece in words.when(night))

    try:
        assert said("UTC") == "2026-11-22 21:30:00 UTC"
        assert said("EST5") == "2026-11-22 21:30:00 UTC (16:30:00 -05:00)"
        assert said("IST-5:30") == "2026-11-22 21:30:00 UTC (2026-11-23 03:00:00 +05:30)"
    finally:
        monkeypatch.undo()
        time.tzset()


# -- the picture in the docs


def test_the_picture_in_the_docs_is_small() -> None:
    """A PNG of less than 200 kB; tests/real/test_incident_report_page.py makes it."""
    data = (Path(__file__).parents[1] / "docs" / "images" / "incident-report.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert len(data) < 200_000
