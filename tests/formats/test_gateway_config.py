"""What a LiteLLM config says of its master key, its salt and its database."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.errors import FormatError
from keyrotor.formats.gateway_config import read

VARIABLE = "LITELLM_MASTER_KEY"
REFERENCE = "general_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n"


def told(text: str, *, has_database: bool = False, has_salt: bool = True) -> list[str]:
    return read(text.encode()).refusals(VARIABLE, has_database=has_database, has_salt=has_salt)


@pytest.mark.parametrize(
    "text",
    [
        REFERENCE,
        "",
        "# nothing\n",
        "general_settings:\n",
        "general_settings: {}\n",
        "general_settings:\n  master_key: null\n",
        "model_list: []\nlitellm_settings:\n  master_key: sk-ignored-by-litellm\n",
        REFERENCE + "  allow_requests_on_db_unavailable: false\n",
        'general_settings:\n  "master_key": "os.environ/LITELLM_MASTER_KEY"\n',
        "x: &k os.environ/LITELLM_MASTER_KEY\ngeneral_settings:\n  master_key: *k\n",
        REFERENCE + "environment_variables:\n  OTHER: x\n",
        "- a list\n",
        "text\n",
    ],
)
def test_a_config_that_takes_the_key_from_the_environment_is_fine(text: str) -> None:
    """By reference, or by saying nothing."""
    assert told(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("general_settings:\n  master_key: sk-a-literal\n", "literal"),
        ("general_settings:\n  master_key: ''\n", "literal"),
        ("general_settings:\n  master_key: ${LITELLM_MASTER_KEY}\n", "literal"),
        ("general_settings:\n  master_key: 'os.environ/LITELLM_MASTER_KEY '\n", "read from"),
        ("general_settings:\n  master_key: 123456\n", "number"),
        ("general_settings:\n  master_key: 1.5\n", "number"),
        ("general_settings:\n  master_key: true\n", "number"),
        ("general_settings:\n  master_key: [a]\n", "master_key"),
        ("general_settings:\n  master_key: os.environ/ANOTHER\n", "ANOTHER"),
        (REFERENCE + "environment_variables:\n  LITELLM_MASTER_KEY: x\n", "environment_variables"),
        (REFERENCE + "  allow_requests_on_db_unavailable: true\n", "lets every key in"),
        ("general_settings: &g\n  master_key: sk-a-literal\nx: *g\n", "literal"),
    ],
)
def test_a_config_with_which_a_new_key_would_not_count_is_refused(text: str, said: str) -> None:
    """Each in words that hold no value."""
    (why,) = told(text)
    assert said in why
    assert "sk-a-literal" not in why


@pytest.mark.parametrize("where", ["config", "unit"])
def test_a_database_needs_a_salt_key(where: str) -> None:
    """Without one the master key also encrypts what is stored there."""
    text = REFERENCE + ("  database_url: postgres://x\n" if where == "config" else "")
    assert told(text, has_database=where == "unit") == []
    (why,) = told(text, has_database=where == "unit", has_salt=False)
    assert "LITELLM_SALT_KEY" in why
    assert told(REFERENCE, has_salt=False) == []


def test_with_a_database_its_absence_may_be_tolerated() -> None:
    """`allow_requests_on_db_unavailable` is dangerous without one only."""
    text = REFERENCE + "  allow_requests_on_db_unavailable: true\n"
    assert told(text + "  database_url: postgres://x\n") == []
    assert told(text, has_database=True) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("general_settings:\n\tmaster_key: x\n", 2),
        ("a: [\n", 2),
        ("a: b: c\n", 1),
        ("a: 1\na: 2\n", 2),
        ("%x\n", 1),
        ("a: *nowhere\n", 1),
        ("a: !!python/object:os.system x\n", 1),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int) -> None:
    """And without its content."""
    with pytest.raises(FormatError) as raised:
        read(text.encode())
    assert abs(raised.value.line - line) <= 1
    assert "master_key" not in str(raised.value)


@pytest.mark.parametrize("data", [b"\xff", b"a: \xff\n", b"\x00", b"a: \x07\n", b"---\na: 1\n---\nb: 2\n", b"[" * 3000])
def test_bytes_that_no_yaml_reader_takes_are_told(data: bytes) -> None:
    """As a FormatError, whatever the parser makes of them."""
    with pytest.raises(FormatError):
        read(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No other error ever comes out."""
    with suppress(FormatError):
        read(data).refusals(VARIABLE, has_database=True, has_salt=False)


def included(files: dict[str, str], *, has_salt: bool = True) -> list[str]:
    """What is told of /etc/litellm/config.yaml and all that it takes in."""
    text = {path: data.encode() for path, data in files.items()}
    found = read(text["/etc/litellm/config.yaml"], "/etc/litellm/config.yaml", text.get)
    return found.refusals(VARIABLE, has_database=False, has_salt=has_salt)


LITERAL = "general_settings:\n  master_key: sk-a-literal\n"
ROOT = "/etc/litellm/config.yaml"


@pytest.mark.parametrize(
    "files",
    [
        {ROOT: REFERENCE + "include: [more.yaml]\n", "/etc/litellm/more.yaml": LITERAL},
        {ROOT: REFERENCE + "include: [/srv/more.yaml]\n", "/srv/more.yaml": LITERAL},
        {
            ROOT: REFERENCE + "include: [a/b.yaml]\n",
            "/etc/litellm/a/b.yaml": "include: [c.yaml]\n",
            "/etc/litellm/a/c.yaml": LITERAL,
        },
        {
            ROOT: REFERENCE + "include: [a/b.yaml]\n",
            "/etc/litellm/a/b.yaml": "include: [c.yaml]\n",
            "/etc/litellm/c.yaml": LITERAL,
        },
        {ROOT: "include: [more.yaml]\n", "/etc/litellm/more.yaml": LITERAL + "include: [config.yaml, more.yaml]\n"},
    ],
)
def test_what_a_config_includes_counts(files: dict[str, str]) -> None:
    """Beside the file that names it or else beside the first, each once, over what stood before."""
    (why,) = included(files)
    assert "literal" in why


def test_a_later_file_has_the_last_word() -> None:
    """Its table replaces the whole table before it."""
    assert included({ROOT: LITERAL + "include: [more.yaml]\n", "/etc/litellm/more.yaml": REFERENCE}) == []
    assert included({ROOT: LITERAL + "include: [more.yaml]\n", "/etc/litellm/more.yaml": "general_settings:\n"}) == []


@pytest.mark.parametrize(
    "files",
    [
        {ROOT: "include: [gone.yaml]\n"},
        {ROOT: "include: more.yaml\n", "/etc/litellm/more.yaml": LITERAL},
        {ROOT: "include: [1]\n"},
        {ROOT: "include: [more.yaml]\n", "/etc/litellm/more.yaml": "- a list\n"},
        {ROOT: "include: [more.yaml]\n", "/etc/litellm/more.yaml": "a: [\n"},
        {ROOT: f"include: [{', '.join(f'{at}.yaml' for at in range(200))}]\n"}
        | {f"/etc/litellm/{at}.yaml": "a: 1\n" for at in range(200)},
    ],
)
def test_an_include_with_which_litellm_cannot_start_is_told(files: dict[str, str]) -> None:
    """A file that is not there or no table, a list that is none, and more files than anybody has."""
    with pytest.raises(FormatError):
        included(files)


def test_without_a_reader_nothing_is_included() -> None:
    """The file alone."""
    assert told(REFERENCE + "include: [more.yaml]\n") == []
