"""An `.envrc`: what it loads, what it exports, and what it decrypts by itself. Pure.

Why a command that decrypts into a file does harm (facts: sops.md 7): `>` empties the file before sops has read
anything, so that a decrypt that fails leaves an empty one; its mode is the umask's; and at the next prompt it undoes a
rollback of the env file.

Rule: a path is told only if every variable in it is known; one that cannot be told is None, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_WORD = r"(?P<word>(?:\"[^\"]*\"|'[^']*'|\\.|[^\s;&|<>()#\"'`])+)"
_DECRYPTS = re.compile(r"(?:^|[\s;&|(/`])sops\s(?:[^#]*\s)?(?:-d|--decrypt|decrypt)\b")
_TARGET = re.compile(r"(?:>\|?|\s--output[= ]|\stee\s)\s*" + _WORD)
_LOADS = re.compile(r"(?:^|[;&|({]|\b(?:then|do|else)\b)\s*(?P<by>dotenv|dotenv_if_exists)\s+" + _WORD)
_WATCHES = re.compile(
    r"(?:^|[;&|({]|\b(?:then|do|else)\b)\s*(?P<by>(?:dotenv|source_env)(?:_if_exists)?|watch_file)\s+" + _WORD
)
_SOURCES = re.compile(r"(?:^|[;&|({]|\b(?:then|do|else)\b)\s*(?P<by>\.|source(?:_env(?:_if_exists)?)?)\s+" + _WORD)
_ASSIGNS = re.compile(r"(?:^|[\s;&|({])(?P<name>[A-Za-z_]\w*)=" + _WORD + "?")
_SAID = re.compile(_WORD)
_PIECE = re.compile(r"\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'|\\(?P<escaped>.)|(?P<bare>[^\"'\\]+)")
_VARIABLE = re.compile(r"\\(?P<escaped>[\"\\$`])|\$(?:\{(?P<braced>\w+)\}|(?P<plain>\w+))|(?P<odd>[$`])")


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a line names; None where that cannot be told."""

    line: int  # counted from 1
    path: str | None


@dataclass(frozen=True, slots=True)
class Decrypting:
    """A command that decrypts a file, perhaps into another. "" where none is named, None where it cannot be told."""

    line: int  # it begins in, counted from 1
    encrypted: str | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Assigned:
    """A variable that is given a value; None where that is not a literal."""

    line: int
    name: str
    value: str | None = field(repr=False)


def decrypting(text: str, variables: Mapping[str, str]) -> list[Decrypting]:
    """Every command there that decrypts."""
    found = []
    for line, command in _commands(text):
        bare = _without_quiet(command)
        if _DECRYPTS.search(bare):
            target = _TARGET.search(bare)
            into = _meant(target["word"], variables) if target else ""
            found.append(Decrypting(line, _encrypted(bare, variables), into))
    return found


def loaded(text: str, variables: Mapping[str, str]) -> list[Named]:
    """The files that it loads by `dotenv` or `dotenv_if_exists`."""
    return list(_named(_LOADS, text, variables))


def watched(text: str, variables: Mapping[str, str]) -> list[Named]:
    """The files at whose change direnv reads it again: what it loads by its own words, or says to watch."""
    return list(_named(_WATCHES, text, variables))


def sourced(text: str, variables: Mapping[str, str]) -> list[Named]:
    """The files that it runs as a part of itself."""
    return list(_named(_SOURCES, text, variables))


def assigned(text: str, variables: Mapping[str, str]) -> list[Assigned]:
    """Every variable that is given something; a value with a reference in it is no literal."""
    found = []
    for line, command in _commands(text):
        for said in _ASSIGNS.finditer(command):
            cut = command[said.end() : said.end() + 1] in ("(", "`")  # of `$(…)`
            word = said["word"] or ""
            is_literal = not cut and not re.search(r"[$`]", re.sub(r"'[^']*'", "", word))
            found.append(Assigned(line, said["name"], _meant(word, variables) if is_literal else None))
    return found


def _named(pattern: re.Pattern[str], text: str, variables: Mapping[str, str]) -> Iterator[Named]:
    for line, command in _commands(text):
        for found in pattern.finditer(command):
            is_cut = command[found.end() : found.end() + 1] in ("(", "`")
            yield Named(line, None if is_cut else _meant(found["word"], variables))


def _commands(text: str) -> list[tuple[int, str]]:
    """Each line that is no comment, with those that go on after a backslash, and the number of its first."""
    found: list[tuple[int, str]] = []
    goes_on = False
    for at, line in enumerate(text.splitlines(), 1):
        if goes_on:
            first, before = found.pop()
            found.append((first, before + line.removesuffix("\\")))
        else:
            found.append((at, line.removesuffix("\\")))
        goes_on = line.endswith("\\")
    return [(line, command) for line, command in found if not command.lstrip().startswith("#")]


def _without_quiet(command: str) -> str:
    """The command without what goes to /dev/null or from one descriptor to another."""
    return re.sub(r"(?:[0-9&]?>+\s*/dev/null|[0-9]?>&[0-9-])", " ", command)


def _encrypted(command: str, variables: Mapping[str, str]) -> str | None:
    """The word behind `sops` that is a file: the last one that is no option and stands before a `>` or a `|`."""
    told = re.split(r"(?<!\$)[|>;&)`]", command[command.index("sops") + len("sops") :])[0]
    if "$(" in told:
        return None
    words = [found["word"] for found in _SAID.finditer(told)]
    meant = [_meant(word, variables) for word in words if not word.startswith("-") and word != "decrypt"]
    files = [path for path in meant if path is None or re.search(r"[./]", path)]
    return files[-1] if files else ""


def _meant(word: str, variables: Mapping[str, str]) -> str | None:
    """A word of the shell as the text that it means; None where a part of it is not known."""
    text = ""
    for at, piece in enumerate(_PIECE.finditer(word)):
        if piece["single"] is not None or piece["escaped"] is not None:
            text += piece["single"] or piece["escaped"] or ""
            continue
        part = _expanded(piece["double"] if piece["bare"] is None else piece["bare"], variables)
        if part is None:
            return None
        if at == 0 and piece["bare"] is not None and (part == "~" or part.startswith("~/")):
            part = variables.get("HOME", "~") + part[1:]
        text += part
    return text


def _expanded(text: str, variables: Mapping[str, str]) -> str | None:
    names = [found["braced"] or found["plain"] for found in _VARIABLE.finditer(text) if found["escaped"] is None]
    if any(name is None or name not in variables for name in names):
        return None
    return _VARIABLE.sub(lambda found: found["escaped"] or variables[found["braced"] or found["plain"]], text)
