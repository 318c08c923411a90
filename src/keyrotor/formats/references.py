"""How a text refers to a variable instead of holding its value, and what it runs instead. Pure.

Rules of this module:
1. The forms are the ways in which programs write it; which program resolves which form is core/clients.py's to say.
2. A dollar after a dollar or a backslash is an escaped one: compose and the shells read it as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from keyrotor.formats.splice import Leaf

# `@` stands for the name. The words are those of core.clients.Form, which no format may know.
_FORMS: Final[Mapping[str, bytes]] = {
    "${NAME}": rb"(?<![\\$])\$\{@(?:[:?+=-][^}]*)?\}",  # also with a default: `${NAME:-x}`
    "$NAME": rb"(?<![\\$])\$@(?![A-Za-z0-9_])",
    "{env:NAME}": rb"(?<!\$)\{env:@\}",
    "env:NAME": rb"(?<![A-Za-z0-9_.{-])env:@(?![A-Za-z0-9_])|(?<![\\$])\$\{env:@\}",  # `${env:NAME}` is VS Code's
    "${{ secrets.NAME }}": rb"(?<![\\$])\$\{\{\s*secrets\.@\s*\}\}",
    "os.environ/NAME": rb"(?<![A-Za-z0-9_.-])os\.environ/@(?![A-Za-z0-9_])",
}
FORMS: Final = (*_FORMS, "$(command)")
_COMMAND = re.compile(rb"(?<![\\$])\$\((?!\()[^)]|(?<!\\)`[^`]*[^`\\]`")
_LISTED = re.compile(r"(.*)\[\d+\]", re.DOTALL)
_PRINTS_KEY = re.compile(rb"(?:^|[\s/\"'(`;&|])keyrotor[\"']?\s(?:[^;&|]{0,200}\s)?print-key(?![\w-])")


def found(text: bytes, name: str) -> tuple[str, ...]:
    """The forms in which the text refers to the variable, in the order of FORMS."""
    if name.encode() not in text:
        return ()
    word = re.escape(name.encode())
    return tuple(form for form, pattern in _FORMS.items() if re.search(pattern.replace(b"@", word), text))


def spans(text: bytes, name: str, form: str) -> list[tuple[int, int]]:
    """Where in the text it refers to the variable in this form."""
    pattern = _FORMS[form].replace(b"@", re.escape(name.encode()))
    return [found.span() for found in re.finditer(pattern, text)]


def is_one(text: bytes) -> bool:
    """Whether it is a reference and nothing else, which no string of any format has to escape."""
    return any(re.fullmatch(pattern.replace(b"@", rb"[A-Za-z_][A-Za-z0-9_]*"), text) for pattern in _FORMS.values())


def commands(text: bytes) -> bool:
    """Whether a shell would run something in it: `$(…)`, or between backticks."""
    return _COMMAND.search(text) is not None


def prints_key(text: bytes) -> bool:
    """Whether it is a command that asks us for the key, as an `apiKeyHelper` may be."""
    return _PRINTS_KEY.search(text) is not None


def asks_us(leaves: Sequence[Leaf]) -> bool:
    """Whether a command in the file asks us for the key: one text, a list of words, or `command` with `args` beside."""
    if not any(b"print-key" in leaf.text for leaf in leaves):
        return False
    words: dict[str, list[bytes]] = {}
    for leaf in leaves:
        if listed := _LISTED.fullmatch(leaf.path):
            words.setdefault(listed[1], []).append(leaf.text)
    programs = {leaf.path.removesuffix("command"): leaf.text for leaf in leaves if leaf.key == "command"}
    listed_ones = (b" ".join((programs.get(at.removesuffix("args"), b""), *texts)) for at, texts in words.items())
    return any(map(prints_key, (*(leaf.text for leaf in leaves), *listed_ones)))
