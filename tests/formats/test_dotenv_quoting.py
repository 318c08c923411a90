"""Values that must be quoted: systemd, bash, direnv and python-dotenv read back what is written, or it is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from shutil import which
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyrotor.demo.user_systemd import UserManager, private_user_manager
from keyrotor.errors import FormatError, KeyrotorError
from keyrotor.formats.dotenv import is_plain, read, render, trouble, values, with_line, with_value, written

SPECIAL = [
    *"'\"\\$`#!={}()<>;&|*?~^%@ \t\n\r[]-:,",
    "é",
    "\x01",
    "\x1b",
    "\x7f",
    "\x0b",
    "\ufeff",
    "\u2028",
    "\x85",
    "\xa0",
]
WHOLE = [
    *(
        "${HOME}",
        "$HOME",
        "a${X:-y}b",
        "$(id)",
        "`id`",
        "a # b",
        "#a",
        "\\n",
        "\\t",
        "\\x41",
        "\\u0041",
        "\\101",
        "\\\\n",
    ),
    *(
        "%h %%",
        "-n",
        "~/x",
        "$$",
        "$1",
        "a'b\"c",
        "💥",
        "\U0010ffff",
        "\ufffe",
        "\ufdd0",
        "export A=1",
        "",
        " ",
        "x" * 9999,
    ),
    *(
        '{"a": "b\\"c", "d": [1, 2]}',
        "postgres://u:p@ss w#rd$1@h:5432/db?x=y&z",
        "-----BEGIN KEY-----\nab\n-----END KEY-----",
    ),
]
CASES = [
    *WHOLE,
    *(text for one in SPECIAL for text in (one, f"a{one}", f"{one}a", f"a{one}a")),
    *(text for one, other in product(SPECIAL, repeat=2) for text in (one + other, f"a{one}{other}a")),
]
READ_BY_PYTHON_DOTENV = """
import dotenv, sys
for name, value in dotenv.dotenv_values(sys.argv[1]).items():
    sys.stdout.buffer.write(f"{name}={value}\\0".encode())
"""


def missing(what: str) -> NoReturn:
    if os.environ.get("CI") or os.environ.get("KEYROTOR_REAL") == "required":
        pytest.fail(f"a real part is missing: {what}")
    pytest.skip(what)


def parsed(environment: bytes) -> dict[str, bytes]:
    pairs = (line.partition(b"=") for line in environment.split(b"\0") if line)
    return {name.decode(): value for name, _, value in pairs if name.startswith(b"KEY_")}


@dataclass(frozen=True)
class Readers:
    """The four of them, in a folder of their own."""

    folder: Path
    manager: UserManager

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", "X": "interpolated"}

    def all(self, data: bytes) -> dict[str, dict[str, bytes]]:
        """What each of them takes the file for."""
        file = self.folder / "work" / "it.env"
        file.write_bytes(data)
        return {
            "bash": parsed(self.run("bash", "-c", 'set -aeu; . "$1"; exec env -0', "bash", str(file))),
            "direnv": parsed(self.run("direnv", "exec", str(file.parent), "env", "-0")),
            "python-dotenv": parsed(self.run(sys.executable, "-c", READ_BY_PYTHON_DOTENV, str(file))),
            "systemd": parsed(self.by_systemd(file)),
        }

    def run(self, *command: str) -> bytes:
        return subprocess.run(
            command, check=True, cwd=self.folder, env=self.environment, capture_output=True, stdin=subprocess.DEVNULL
        ).stdout

    def by_systemd(self, file: Path) -> bytes:
        out = self.folder / "out"
        lines = (
            "Type=oneshot",
            f"EnvironmentFile={file}",
            "ExecStart=/usr/bin/env -0",
            f"StandardOutput=truncate:{out}",
        )
        unit = "\n".join(["[Service]", *lines, ""])
        self.manager.units.mkdir(parents=True, exist_ok=True)
        if not (self.manager.units / "reading.service").exists():
            (self.manager.units / "reading.service").write_text(unit)
            self.manager.systemctl("daemon-reload")
        self.manager.systemctl("start", "reading.service")
        return out.read_bytes()


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    """The real four; direnv's `.envrc` is the one that a lab has."""
    if not which("direnv"):
        missing("no direnv")
    folder = tmp_path_factory.mktemp("readers")
    (folder / "work").mkdir()
    (folder / "work" / ".envrc").write_text("dotenv_if_exists it.env\n")
    try:
        with private_user_manager() as manager:
            found = Readers(folder, manager)
            found.run("direnv", "allow", str(folder / "work"))
            yield found
    except KeyrotorError as error:
        missing(str(error))


def accepted(texts: list[str]) -> dict[str, bytes]:
    """Those that can be written, each under a name of its own."""
    found = {}
    for at, text in enumerate(texts):
        try:
            written(f"KEY_{at}", text.encode())
        except ValueError:
            continue
        found[f"KEY_{at}"] = text.encode()
    return found


def differing(readers: Readers, wanted: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Which reader takes which value for another."""
    told = readers.all(render(wanted))
    return [(reader, value) for reader, got in told.items() for name, value in wanted.items() if got.get(name) != value]


def test_all_four_readers_read_back_what_is_written(readers: Readers) -> None:
    """Every special character, alone, at each end, inside, and beside every other one."""
    wanted = accepted(CASES)
    assert len(wanted) > 0.8 * len(CASES)
    assert differing(readers, wanted) == []


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(st.text(st.sampled_from(SPECIAL) | st.characters(codec="utf-8", exclude_characters="\0")), max_size=200)
)
def test_all_four_readers_read_back_any_text(readers: Readers, texts: list[str]) -> None:
    """Any text at all that is not refused."""
    assert differing(readers, accepted(texts)) == []


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"", b""),
        (b"sk-abc_D9==", b"sk-abc_D9=="),
        (b"a b", b"'a b'"),
        (b"=a", b"'=a'"),
        (b"#", b"'#'"),
        (b"$HOME", b"'$HOME'"),
        (b"a\\b", b"'a\\b'"),
        (b'say "x"', b"'say \"x\"'"),
        (b"it's", b'"it\'s"'),
        ("é".encode(), "'é'".encode()),
    ],
)
def test_a_value_is_bare_else_in_single_quotes_else_in_double_ones(value: bytes, line: bytes) -> None:
    """As few quotes as all readers bear; and what is written is read back here, too."""
    assert render({"K": value}) == b"K=" + line + b"\n"
    assert values(render({"K": value})) == {"K": value}


@pytest.mark.parametrize("value", [b"it's $1", b"a\nb", b"a\r", b"${X}", b"a\\\\b", b"a\\", b"'\"", b"a\0b", b"\xff"])
def test_a_value_that_some_reader_would_change_is_refused_by_name(value: bytes) -> None:
    """Nothing is written where one of the four would read another value; the refusal says why, and not the value."""
    with pytest.raises(ValueError, match=r"^cannot render SECRET: it") as refused:
        render({"FIRST": b"v", "SECRET": value})
    assert value.decode(errors="replace") not in str(refused.value)


@pytest.mark.parametrize(
    "value", [text.encode() for text in ("${HOME}", "a\\", "a\\\\b", "a\nb", "a\rb", "\ufffe", "\ufdd0")]
)
def test_what_is_refused_would_indeed_be_read_differently(readers: Readers, value: bytes) -> None:
    """In either quotes some reader takes another value out of it: the refusal is not for nothing."""
    for quote in (b"'", b'"'):
        try:
            told = readers.all(b"KEY_A=" + quote + value + quote + b"\n")
        except (subprocess.CalledProcessError, KeyrotorError):
            continue
        assert any(got.get("KEY_A") != value for got in told.values()), quote


lines = st.sampled_from(
    ["KEY={}", "export KEY={}", " KEY = {} # c", "KEY='{}'", 'KEY="{}"', 'KEY="{}" # c', "KEY=", "KEY= #c"]
)
others = st.sampled_from(["", "# KEY=x", "A=b", "B='c d' # e", 'C="d\ne"', "KEY2=f", "D=é"])


@given(
    st.lists(st.tuples(lines, st.booleans()) | st.tuples(others, st.none()), min_size=1),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from(CASES),
)
def test_a_line_is_written_anew_and_nothing_else_is_changed(
    parts: list[tuple[str, bool | None]], newline: str, is_ended: bool, value: str
) -> None:
    """Every assignment of the name is one that all readers take alike, or named; every other byte stands."""
    data = (
        newline.join(line.format("old value" if "{}" in line[5:] else "") for line, _ in parts) + newline * is_ended
    ).encode()
    if not accepted([value]):
        with pytest.raises(ValueError, match="cannot render KEY"):
            with_value(data, "KEY", value.encode())
        return
    if any(trouble(data, leaf) for leaf in read(data) if leaf.key == "KEY"):
        assert newline == "\r\n" or b" #" in data
        with pytest.raises(ValueError, match=r"cannot render KEY: line \d+ (ends in CRLF|has a comment)"):
            with_value(data, "KEY", value.encode())
        return
    result = with_value(data, "KEY", value.encode())
    changed = [(leaf.key, leaf.text) for leaf in read(result)]
    assert changed == [(leaf.key, value.encode() if leaf.key == "KEY" else leaf.text) for leaf in read(data)]
    assert all(is_plain(result, leaf) for leaf in read(result) if leaf.key == "KEY")
    line = re.compile(rb"^( ?)(?:export )?KEY ?= ?(?:old value|'old value'|\"old value\")?(?=\r?$)", re.MULTILINE)
    new = written("KEY", value.encode())
    assert result == line.sub(lambda found: found[1] + b"KEY=" + new, data)


TROUBLES = {
    b"KEY_A=v # c\n": "line 1 has a comment behind the value",
    b"\nKEY_A='v' # c\n": "line 2 has a comment behind the value",
    b"KEY_A= # c\n": "line 1 has a comment behind the value",
    b"A=1\n# c \\\nKEY_A=v\n": "the comment above line 3 ends in a backslash",
    b"\xef\xbb\xbfKEY_A=v\n": "a byte order mark",
    b"\n ; c\nKEY_A=v\n": "line 2 is a comment with `;`",
    b"\r\nKEY_A=v\r\n": "line 2 ends in CRLF",
}
HEADS = [b"export KEY_A=v\n", b"KEY_A = v\n", b"KEY_A= v\n", b"KEY_A =v\n", b" export KEY_A = 'v'\n"]
FINE = [
    b"KEY_A=v\n",
    b" \tKEY_A=v \t\n",
    b"KEY_A='v' \n",
    b"# c \\\n\nKEY_A=v\n",
    b"A=1 # c\nKEY_A=v",
    b"#\\ \nKEY_A=v",
]


@pytest.mark.parametrize("data", [*TROUBLES, *HEADS, *FINE])
def test_what_counts_as_plain_is_what_all_four_readers_take_alike(readers: Readers, data: bytes) -> None:
    """The whole line counts, and what stands above it: the real four say so."""
    leaf = next(leaf for leaf in read(data) if leaf.key == "KEY_A")
    try:
        are_alike = all(got.get("KEY_A") == b"v" for got in readers.all(data).values())
    except subprocess.CalledProcessError:  # a reader stops at it
        are_alike = False
    assert is_plain(data, leaf) is are_alike is (data in FINE)


@pytest.mark.parametrize("data", TROUBLES)
def test_a_line_that_cannot_be_mended_is_named(data: bytes) -> None:
    """Nothing is written there, and nothing handed on."""
    with pytest.raises(ValueError, match=f"cannot render KEY_A: .*{TROUBLES[data]}"):
        with_value(data, "KEY_A", b"w")
    with pytest.raises(ValueError, match=f"cannot tell what KEY_A is: .*{TROUBLES[data]}"):
        values(data)


@pytest.mark.parametrize("data", HEADS)
def test_a_line_is_written_anew_so_that_all_readers_take_it(data: bytes) -> None:
    """`export` and blanks around the equals sign go; the value alone was certain before."""
    assert values(data) == {"KEY_A": b"v"}
    assert with_value(data, "KEY_A", b"w").lstrip() == b"KEY_A=w\n"


@pytest.mark.parametrize("end", [b"# old stuff \\", b"# old stuff \\\n", b"A=1\n#\\\n", b"", b"A=1"])
def test_a_further_line_is_not_taken_for_a_part_of_a_comment(readers: Readers, end: bytes) -> None:
    """All four see the line behind a last comment that ends in a backslash."""
    assert {got["KEY_B"] for got in readers.all(with_line(end, "KEY_B", b"v")).values()} == {b"v"}


def test_a_byte_that_was_lost_is_not_written() -> None:
    """sops puts U+FFFD for what is no UTF-8."""
    with pytest.raises(ValueError, match=r"cannot render K: it holds U\+FFFD"):
        written("K", "a\ufffdb".encode())
    with pytest.raises(ValueError, match="cannot tell what K is"):
        values("K='a\ufffdb'\n".encode())


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"K='a' b\n", ""), (b"K=a\\\n", ""), (b'K="a\\"b"\n', "K"), (b"K=it's\n", "K"), (b"K=$HOME\n", "K")],
)
def test_what_readers_take_differently_is_not_handed_on(data: bytes, name: str) -> None:
    """A value whose meaning depends on the reader is named, never guessed."""
    with pytest.raises((ValueError, FormatError), match=f"what {name} is" if name else "at line 1"):
        values(data)


def test_the_last_assignment_counts() -> None:
    """As for every reader."""
    assert values(b"K=a\nL=b\nexport K='c d'\n") == {"K": b"c d", "L": b"b"}
