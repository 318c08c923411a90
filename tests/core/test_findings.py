"""The catalogue of findings: each row is whole, told in the house's tone, seen somewhere, and on its page.

`python tests/core/test_findings.py` makes docs/reference/findings.md again.
"""

from __future__ import annotations

import re
import shlex
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.core.findings import CATALOGUE, Finding, Kind, Severity, found, ordered, ranked
from keyrotor.core.kinds import typed

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "findings.md"
HEAD = """\
# Findings

What [`keyrotor audit`](cli.md#keyrotor-audit) can find. `high` hurts now, `medium` will hurt one day, `low` is worth
knowing. Words in capitals stand for what was seen; a value is never among them. Where one finding only follows from
another (the last column), it is left out while the other is there.

The text stands after the place: a path, a unit, an address.

| id | severity | text | why it matters | mend | left out beside |
| --- | --- | --- | --- | --- | --- |
"""


class Capitals(dict[str, str]):
    """Each word in the stead of what would be seen."""

    def __missing__(self, name: str) -> str:
        return name.upper()


def words_of(kind: Kind) -> set[str]:
    """The words that the row needs, besides the place."""
    texts = (kind.text, kind.why, kind.mend)
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name} - {"place"}


def page() -> str:
    """The page, made from the catalogue."""
    lines = []
    for kind in CATALOGUE.values():
        told = (text.format_map(Capitals()).replace("|", "\\|") for text in (kind.text, kind.why, kind.mend))
        beside = ", ".join(f"`{other}`" for other in kind.outdone_by)
        lines.append(f"| `{kind.id}` | {kind.severity} | {' | '.join(told)} | {beside} |\n")
    return HEAD + "".join(lines)


def one_of(kind: str, place: str = "a place") -> Finding:
    return found(kind, place, **dict.fromkeys(words_of(CATALOGUE[kind]), "word"))


def test_the_page_is_made_from_the_catalogue() -> None:
    """A row for each id, with severity, text, why and mend; `python tests/core/test_findings.py` makes it so."""
    assert PAGE.read_text() == page(), "run: python tests/core/test_findings.py"


@pytest.mark.parametrize("kind", CATALOGUE)
def test_a_finding_says_all_of_its_words(kind: str) -> None:
    """What was found, why it matters and what mends it; a word that is not given is an error, never a gap."""
    finding = one_of(kind)
    assert (finding.id, finding.severity, finding.place) == (kind, CATALOGUE[kind].severity, "a place")
    assert all((finding.text, finding.why, finding.mend))
    assert "{" not in (finding.text + finding.why + finding.mend).replace("${word}", "")
    for missing in words_of(CATALOGUE[kind]):
        given = {name: "word" for name in words_of(CATALOGUE[kind]) if name != missing}
        with pytest.raises(KeyError):
            found(kind, "a place", **given)


def test_a_kind_that_nobody_knows_is_an_error() -> None:
    """A finding is in the catalogue or it is not made."""
    with pytest.raises(KeyError):
        found("no-such-kind", "a place")


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.id)
def test_a_row_is_in_the_tone_of_the_house(kind: Kind) -> None:
    """Lower case, no full stop, one line; the id is words with hyphens."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.id)
    for text in (kind.text, kind.why, kind.mend):
        assert not text[0].isupper() or text.split()[0].isupper() or text.startswith("LiteLLM"), text
        assert not text.endswith("."), text
        assert "\n" not in text


def test_what_outdoes_a_kind_is_a_kind_that_is_not_outdone_by_it() -> None:
    """No row is left out for one that does not exist, or that would be left out for it in turn."""
    for kind in CATALOGUE.values():
        for other in kind.outdone_by:
            assert kind.id not in CATALOGUE[other].outdone_by, kind.id
            assert CATALOGUE[other].severity.rank >= kind.severity.rank or other == "run-going", kind.id


def test_the_worst_comes_first_and_each_once() -> None:
    """By severity, then in the order of the catalogue, then by place."""
    low, medium, high = one_of("fingerprints-lost"), one_of("state-readable"), one_of("key-weak")
    others = [one_of("readable", place) for place in ("b", "a", "b")]
    sorted_ = [high, one_of("readable", "a"), one_of("readable", "b"), medium, low]
    assert list(ordered([low, *others, medium, high, low])) == sorted_


def test_what_only_follows_from_another_finding_is_left_out_beside_it() -> None:
    """One fault, one finding."""
    assert ordered([one_of("salt-absent"), one_of("salt-missing")]) == (one_of("salt-missing"),)
    assert ordered([one_of("salt-absent")]) == (one_of("salt-absent"),)


def test_what_one_playbook_explains_is_left_in_for_another() -> None:
    """The union of several is ranked, and nothing is left out of it."""
    going, drift = one_of("run-going"), one_of("drift-other")
    assert ranked([going, drift, going]) == (drift, going)
    assert ordered([going, drift]) == (going,)


@pytest.mark.parametrize("kind", ["gateway-silent", "gateway-500", "value-unknown", "unit-down", "drift-absent"])
def test_what_a_run_that_goes_on_does_to_places_is_no_fault(kind: str) -> None:
    """A restart is part of it."""
    assert ordered([one_of(kind), one_of("run-going")]) == (one_of("run-going"),)


def test_severities_are_ranked() -> None:
    """Low, medium, high."""
    assert sorted(Severity, key=lambda one: one.rank) == [Severity.LOW, Severity.MEDIUM, Severity.HIGH]


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1))
def test_a_path_in_a_mend_can_be_typed(path: str) -> None:
    """Whatever it holds, a shell reads it back as one word; a `~` in front still means the home folder."""
    if not path.startswith("~"):
        assert shlex.split(typed(path)) == [path]
    assert typed(f"~/{path}").startswith("~/")
    assert shlex.split(typed(f"~/{path}")) == [f"~/{path}"]


def test_a_path_is_quoted_where_it_is_typed_and_nowhere_else() -> None:
    """The text and the place show it as it is."""
    finding = found("state-readable", "/a b/c", mode="0755", path="/a b")
    assert finding.place == "/a b/c"
    assert finding.mend == "chmod -R go-rwx '/a b'"


def test_every_kind_is_found_somewhere_and_seeded_by_a_test() -> None:
    """No row that nobody makes, none that no test has seen."""
    looks = "".join(path.read_text() for path in (ROOT / "src" / "keyrotor").rglob("*.py") if path.stem != "findings")
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    assert [kind for kind in CATALOGUE if f'"{kind}"' not in looks] == []
    assert [kind for kind in CATALOGUE if f'"{kind}"' not in tests] == []


if __name__ == "__main__":
    PAGE.write_text(page())
