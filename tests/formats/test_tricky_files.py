"""Files as they come: each one holds the old key in places that must change and in places that must not.

`tricky/` keeps every byte (see its .gitattributes). In a row, `x` is an occurrence that changes, `.` one that
stays.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from keyrotor.errors import FormatError
from keyrotor.formats import readers
from keyrotor.formats.splice import Reader, raw_hits, raw_tokens, replace, tokens

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
    ("plain.yaml", "x", "models[0].apiKey", 0),
    ("line-comments.yaml", "....x.x", "models[0].apiKey models[0].note", 5),
    ("crlf.yaml", "xxx.x", "a b c d", 1),
    ("mixed-line-ends.yaml", "xxx", "a b c", 0),
    ("bom-no-final-newline.yaml", "x", "apiKey", 0),
    ("tabs.yaml", "xxx", "a b c.d", 0),
    ("duplicate-keys.yaml", "xx", "apiKey apiKey", 0),
    ("escapes.yaml", "xxxx.xx", "a a b c eA eA", 0),
    ("minified.yaml", "xxx", "a.b[2].c a.d e", 0),
    ("trailing-commas.yaml", "xxx", "keys[0] keys[1] more.apiKey", 0),
    ("beyond-ascii.yaml", "xx", 'näme ["\\u540d x"][1]', 0),
    ("longer-keys.yaml", "....xx", "e f", 0),
    ("key-as-name.yaml", "...x", "by.sk-OLD-OLD-OLD", 3),
    ("block-scalars.yaml", "xxxxxx.x.xx", "a a a b b b c d e", 2),
    ("folded.yaml", "xxxxxx", "a a b b c c", 0),
    ("anchors.yaml", "xxxx", "base two.apiKey three.apiKey four", 0),
    ("documents.yaml", ".xxx", "apiKey [0] $", 1),
    (
        "environment.yml",
        "xxxxx",
        "gateway.environment[0] gateway.environment[1] gateway.command[1] gateway.command[2] gateway.env.KEY",
        0,
    ),
    ("only-a-word.yaml", "x", "$", 0),
    ("plain.toml", "x", "model_providers.lab.experimental_bearer_token", 0),
    ("comments.toml", ".x...x..x", "a c[0] t.d", 6),
    ("crlf.toml", "xxx", "a b.c b.d", 0),
    ("mixed-line-ends.toml", "xxx.", "a b b", 1),
    ("tabs.toml", "xx", "a t.b", 0),
    ("escapes.toml", "xxxxx.x", "a a b c d fA", 0),
    ("minified.toml", "xx", "a.b[2].c a.d", 0),
    ("trailing-commas.toml", "x", "a[0]", 0),
    ("quotes.toml", "xxxxxx", "a b c d e f", 0),
    ("tables.toml", "xxxxx", 'a.b["c d"] m[0].k m[1].n[0].k m[1].o.p.q m[2].k', 0),
    ("beyond-ascii.toml", "xx", "näme 名.x", 0),
    ("longer-keys.toml", "...x", "d", 0),
    ("key-as-name.toml", "...x", "by.sk-OLD-OLD-OLD", 3),
    ("no-final-newline.toml", "x", "a", 0),
    ("plain.ini", "x", "gateway.api_key", 0),
    (
        "unit.service",
        ".xxx.xxxx",
        " ".join(["Service.Environment"] * 5 + ["Service.ExecStart"] * 2),
        2,
    ),
    ("comments.conf", "....xxx", "a.k a.k a.l", 4),
    ("crlf.ini", "xx.", "a.k a.l", 1),
    ("mixed-line-ends.ini", "xx", "a.k a.l", 0),
    ("bom-no-final-newline.ini", "x", "a.k", 0),
    ("tabs.ini", "xx", '["remote \\"x\\""].k ["remote \\"x\\""].list', 0),
    ("duplicates.ini", "xxxx", "k a.k a.k a.k", 0),
    ("quotes.ini", "xxxxx", "a.k a.l a.m a.m a.n", 0),
    ("minified.ini", "x", "a.k", 0),
    ("longer-keys.ini", "..x", "a.m", 0),
    ("beyond-ascii.ini", "x", 'é["n\\u00e4me \\u540d"]', 0),
    ("key-as-name.ini", "..x", "a.sk-OLD-OLD-OLD", 2),
    ("rc.txt", "xxxx..x", "line 1 line 2 line 2 line 3 line 5", 0),
    ("crlf.txt", "xx", "line 1 line 3", 0),
    ("bom-no-final-newline.txt", "xxx", "line 1 line 1 line 2", 0),
]


def reader(name: str) -> Reader:
    return readers.of(readers.of_path(Path(name)) or "text")


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


@pytest.mark.parametrize("name", [row[0] for row in ROWS if row[3]])
def test_comments_are_changed_where_that_is_asked_for_and_names_never(name: str) -> None:
    """With the spans outside of all leaves the key is nowhere any more, unless it is a name, which is refused."""
    read, data = reader(name), (TRICKY / name).read_bytes()
    found, raw = tokens(read(data), OLD), raw_tokens(data, read(data), OLD)
    if name.startswith("key-as-name"):
        with pytest.raises(FormatError, match="the value stands in a name"):
            replace(read, data, found, NEW, raw)
        return
    changed = replace(read, data, found, NEW, raw)
    assert raw_tokens(changed, (), OLD) == ()
    assert [leaf.text.replace(NEW, OLD) for leaf in read(changed)] == [leaf.text for leaf in read(data)]
    back = replace(read, changed, tokens(read(changed), NEW), OLD, raw_tokens(changed, read(changed), NEW))
    assert back == data


@pytest.mark.parametrize("name", [row[0] for row in ROWS])
def test_offsets_point_at_what_means_each_byte(name: str) -> None:
    """Every letter of a leaf stands in the file at its offset, or behind an escape there."""
    data = (TRICKY / name).read_bytes()
    for leaf in reader(name)(data):
        assert len(leaf.offsets) == len(leaf.text) + 1
        assert list(leaf.offsets) == sorted(leaf.offsets)
        for at, byte in zip(leaf.offsets, leaf.text, strict=False):
            assert data[at] in (byte, ord("\\")) or byte in b" \n'" or byte > 127
