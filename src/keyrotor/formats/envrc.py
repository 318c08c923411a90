"""An `.envrc` of the old kind: one that decrypts into the env file whenever a shell enters the folder. Pure.

Why that does harm (facts: sops.md 7): `>` empties the file before sops has read anything, so that a decrypt that fails
leaves an empty one; its mode is the umask's; and at the next prompt it undoes a rollback of the env file.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_DECRYPTS = re.compile(r"(?:^|[\s;&|(/])sops\s(?:[^#]*\s)?(?:-d|--decrypt|decrypt)\b")
_TARGET = re.compile(r"(?:>\|?|\s--output[= ]|\stee\s)\s*(?P<word>(?:\"[^\"]*\"|'[^']*'|\\.|[^\s;&|<>()])+)")
_LOADS = re.compile(r"^\s*dotenv(?:_if_exists)?\s+(?P<word>(?:\"[^\"]*\"|'[^']*'|\\.|[^\s;&|<>()#])+)", re.MULTILINE)
_HOME = re.compile(r"\$(?:HOME\b|\{HOME\})")


@dataclass(frozen=True, slots=True)
class Decrypting:
    """A command that decrypts a file into another."""

    first: int  # the line it begins in, counted from 0
    last: int
    encrypted: str  # the file, as it is written; "" if that cannot be told
    target: str  # with `~` and HOME replaced; may be relative


def decrypting(text: str, home: str) -> list[Decrypting]:
    """Every command there that writes what sops decrypts into a file."""
    found = []
    for first, last, command in _commands(text):
        bare = _without_quiet(command)
        target = _TARGET.search(bare)
        if command.lstrip().startswith("#") or target is None or not _DECRYPTS.search(bare):
            continue
        found.append(Decrypting(first, last, _encrypted(bare), _word(target["word"], home)))
    return found


def loaded(text: str, home: str) -> list[str]:
    """The files that it loads by `dotenv` or `dotenv_if_exists`."""
    return [_word(found["word"], home) for found in _LOADS.finditer(text)]


def mended(text: str, line: str, home: str) -> str:
    """The text with this line where it decrypts; at its end, if it does not."""
    rows, places = text.splitlines(), decrypting(text, home)
    for at, place in reversed(list(enumerate(places))):
        rows[place.first : place.last + 1] = [line] if at == 0 else []
    if not places:
        rows.append(line)
    return "\n".join(rows) + "\n"


def _commands(text: str) -> list[tuple[int, int, str]]:
    """Each line with those that go on after a backslash, and the numbers of its first and its last one."""
    found: list[tuple[int, int, str]] = []
    goes_on = False
    for at, line in enumerate(text.splitlines()):
        if goes_on:
            first, _, before = found.pop()
            found.append((first, at, before + line.removesuffix("\\")))
        else:
            found.append((at, at, line.removesuffix("\\")))
        goes_on = line.endswith("\\")
    return found


def _without_quiet(command: str) -> str:
    """The command without what goes to /dev/null or from one descriptor to another."""
    return re.sub(r"(?:[0-9&]?>+\s*/dev/null|[0-9]?>&[0-9-])", " ", command)


def _encrypted(command: str) -> str:
    """The word behind `sops` that is a file: the last one that is no option and stands before a `>` or a `|`."""
    told = re.split(r"[|>;&]", command[command.index("sops") :])[0]
    try:
        words = shlex.split(told)[1:]
    except ValueError:
        return ""
    files = [word for word in words if not word.startswith("-") and word != "decrypt" and re.search(r"[./]", word)]
    return files[-1] if files else ""


def _word(word: str, home: str) -> str:
    """A word of the shell as the path that it means; other variables stay as they are."""
    text = _HOME.sub(lambda _: home, word)
    try:
        text = "".join(shlex.split(text))
    except ValueError:
        text = text.strip("\"'")
    return home + text[1:] if text == "~" or text.startswith("~/") else text
