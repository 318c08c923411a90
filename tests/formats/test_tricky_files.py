"""Files as they come: each one holds the old key in places that must change and in places that must not.

`tricky/` keeps every byte (see its .gitattributes). In a row, `x` is an occurrence that changes, `.` one that
stays.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from keyrotor.formats import dotenv, json
from keyrotor.formats.splice import Reader, raw_hits, replace, tokens

TRICKY = Path(__file__).parent / "tricky"
OLD, NEW = b"sk-OLD-OLD-OLD", b"sk-NEW-NEW-NEW-longer=="

ROWS = [
    # file, the occurrences from top to bottom, where the changed ones are, how many are in no leaf
    ("plain.json", "x", "customModels[0].apiKey", 0),
    ("line-comments.json", "..x.", "apiKey", 3),
    ("block-comments.json", ".xx", "apiKey note", 1),
    ("trailing-commas.json", "xx", "keys[0] apiKey", 0),
    ("crlf.json", "x.", "apiKey", 1),
    ("mixed-line-ends.json", "xx", "a b", 0),
    ("bom.json", "x", "apiKey", 0),
    ("duplicate-keys.json", "xx", "apiKey apiKey", 0),
    ("escaped-neighbours.json", "xx", "header header", 0),
    ("minified.json", "x", "a.b[2][0].c", 0),
    ("beyond-ascii.json", "xx", '["n\\u00e4me \\u540d"] é', 0),
    ("longer-keys.json", "....x", "e", 0),
    ("key-as-name.json", "..x", '["by.name"].sk-OLD-OLD-OLD', 2),
    ("inside-text.json", "xxxx", "env env url url", 0),
    ("only-a-string.json", "x", "$", 0),
    ("plain.env", "x", "LITELLM_MASTER_KEY", 0),
    ("export.env", "xx", "A B", 0),
    ("quotes.env", "xxx", "A B C", 0),
    ("inline-comments.env", "x.x..x", "A B D", 3),
    ("comments.env", "..x", "A", 2),
    ("crlf.env", "x.x", "A B", 1),
    ("bom-no-final-newline.env", "x", "LITELLM_MASTER_KEY", 0),
    ("duplicates.env", "xx", "K K", 0),
    ("many-lines.env", "xxx", "A A C", 0),
    ("escapes.env", "xx", "J W", 0),
    ("longer-keys.env", "..x.", "C", 0),
]


def reader(name: str) -> Reader:
    return dotenv.read if name.endswith(".env") else json.read


def test_every_tricky_file_has_a_row() -> None:
    """No file of the corpus is forgotten."""
    assert sorted(row[0] for row in ROWS) == sorted(path.name for path in TRICKY.glob("[!.]*"))


@pytest.mark.parametrize(("name", "fates", "paths", "elsewhere"), ROWS, ids=[row[0] for row in ROWS])
def test_a_tricky_file_changes_only_where_it_must(name: str, fates: str, paths: str, elsewhere: int) -> None:
    """The new file is the old one with the key changed at exactly these occurrences, and nothing else."""
    read, data = reader(name), (TRICKY / name).read_bytes()
    kept = data.split(OLD)
    assert len(kept) == len(fates) + 1
    wanted = kept[0]
    for fate, after in zip(fates, kept[1:], strict=True):
        wanted += (NEW if fate == "x" else OLD) + after

    found = tokens(read(data), OLD)
    changed = replace(read, data, found, NEW)

    assert changed == wanted
    said = [token.leaf.path for token in found]
    assert " ".join(said) == paths
    assert raw_hits(data, read(data), OLD) == elsewhere


@pytest.mark.parametrize("name", [row[0] for row in ROWS])
def test_the_inverse_splice_restores_a_tricky_file(name: str) -> None:
    """Going back to the old key gives the very bytes the file had."""
    read, data = reader(name), (TRICKY / name).read_bytes()
    changed = replace(read, data, tokens(read(data), OLD), NEW)

    assert changed != data
    assert replace(read, changed, tokens(read(changed), NEW), OLD) == data


@pytest.mark.parametrize("name", [row[0] for row in ROWS])
def test_one_token_can_be_changed_alone(name: str) -> None:
    """Of several tokens only the chosen one changes."""
    read, data = reader(name), (TRICKY / name).read_bytes()
    for token in tokens(read(data), OLD):
        assert replace(read, data, [token], NEW) == data[: token.start] + NEW + data[token.end :]
