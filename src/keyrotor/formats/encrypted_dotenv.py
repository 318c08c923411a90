"""A sops-encrypted dotenv file, as ciphertext: what can be known of it without any key.

Facts: sops.md sections 1, 3 and 8. `sops set` appends a missing key in silence, changes only the first of
two, and writes the value in clear where the file's own rule says so, each with exit code 0: so these are
looked for before it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_ENCRYPTED = re.compile(rb"ENC\[AES256_GCM,data:.+,iv:.+,tag:.+,type:str\]")
_CONFLICT = re.compile(rb"^(<{7}|={7}|>{7})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its key (None for comments and blanks) and the value as it stands."""

    key: bytes | None
    value: bytes
    raw: bytes


def lines(data: bytes) -> list[Line]:
    return [_line(raw) for raw in data.split(b"\n")]


def _line(raw: bytes) -> Line:
    key, equals, value = raw.partition(b"=")
    return Line(None, b"", raw) if raw.startswith(b"#") or not equals else Line(key, value, raw)


def refusals(data: bytes, key: str) -> list[str]:
    """Every reason why sops must not be let near this file, or this key; each ends a sentence `cannot use FILE: …`."""
    return file_refusals(data) or _key_refusals(lines(data), key)


def file_refusals(data: bytes) -> list[str]:
    """Those that have to do with no key."""
    if _CONFLICT.search(data):
        return ["it holds git conflict markers; resolve the merge first"]
    if b"\r" in data:
        return ["it has CRLF line ends, which sops cannot read (add `*.env text eol=lf` to .gitattributes)"]
    keys = [line.key for line in lines(data) if line.key is not None]
    if b"sops_mac" not in keys or b"sops_version" not in keys:
        return ["it is not encrypted: it has no sops metadata"]
    if any(found.startswith(b"sops_key_groups__") for found in keys):
        return ["it has several key groups, which a rotation cannot open alone"]
    return []


def _key_refusals(parsed: list[Line], key: str) -> list[str]:
    values = [line.value for line in parsed if line.key == key.encode()]
    if not values:
        return [f"it has no key {key}"]
    if len(values) > 1:
        return [f"it has the key {key} {len(values)} times; readers disagree on which one counts"]
    rule = clear_rule(parsed, key)
    if rule:
        return [f"its own rule `{rule}` would store {key} in clear"]
    if not _ENCRYPTED.fullmatch(values[0]):
        return [f"its {key} stands in clear, or is empty"]
    return []


def clear_rule(parsed: list[Line], key: str) -> str:
    """The rule in the file's own metadata by which sops would write this key in clear; "" if none does."""
    said = {
        line.key.decode(errors="replace"): line.value.decode(errors="replace")
        for line in parsed
        if line.key is not None and _is_metadata(line)
    }
    suffix = said.get("sops_unencrypted_suffix", "" if _has_rule(said) else "_unencrypted")
    if suffix and key.endswith(suffix):
        return f"unencrypted_suffix {suffix}"
    if (suffix := said.get("sops_encrypted_suffix", "")) and not key.endswith(suffix):
        return f"encrypted_suffix {suffix}"
    if (pattern := said.get("sops_encrypted_regex", "")) and not _found(pattern, key, unclear=False):
        return f"encrypted_regex {pattern}"
    if (pattern := said.get("sops_unencrypted_regex", "")) and _found(pattern, key, unclear=True):
        return f"unencrypted_regex {pattern}"
    return next((f"{name.removeprefix('sops_')}" for name in said if name.endswith("_comment_regex")), "")


def _has_rule(said: dict[str, str]) -> bool:
    return any(name.endswith(("_suffix", "_regex")) for name in said)


def _found(pattern: str, key: str, *, unclear: bool) -> bool:
    """Go's RE2, searched unanchored; `unclear` is the dangerous answer, for a pattern that Python cannot read."""
    try:
        return re.search(pattern, key) is not None
    except re.error:
        return unclear


def others_changed(before: bytes, after: bytes, key: str) -> list[str]:
    """What differs besides the key's own line, the checksum and its date: names only; [] for a clean `set`.

    Comments may get a new ciphertext, and metadata may be sorted once: sops does both, and loses nothing.
    """
    old, new = (_kept(lines(data), key.encode()) for data in (before, after))
    counts = [[line.key for line in lines(data)].count(key.encode()) for data in (before, after)]
    if counts[0] != counts[1]:
        return [f"the number of lines of {key}"]
    names = {line.key.decode(errors="replace") if line.key else "a comment" for line in set(old) ^ set(new)}
    if not names and [line for line in old if not _is_metadata(line)] != [
        line for line in new if not _is_metadata(line)
    ]:
        return ["the order of the lines"]
    return sorted(names)


def changed_besides(before: bytes, after: bytes, keys: Iterable[str]) -> list[str]:
    """The same for keys that were missing or blank before: names only of what else differs."""
    free = {key.encode() for key in keys}
    old, new = ([line for line in _kept(lines(data), b"") if line.key not in free] for data in (before, after))
    return sorted({line.key.decode(errors="replace") if line.key else "a comment" for line in set(old) ^ set(new)})


def changing(data: bytes, key: str) -> list[tuple[int, str]]:
    """The lines that `sops set` writes anew for this key, counted from 1, and their names."""
    free = {key, "sops_lastmodified", "sops_mac"}
    named = enumerate((line.key.decode(errors="replace") if line.key else "" for line in lines(data)), 1)
    return [(at, name) for at, name in named if name in free]


def _kept(parsed: list[Line], key: bytes) -> list[Line]:
    free = (key, b"sops_mac", b"sops_lastmodified")
    kept = (line for line in parsed if line.raw and line.key not in free)
    return [line if line.key else Line(None, b"", b"#") for line in kept]


def _is_metadata(line: Line) -> bool:
    return line.key is not None and line.key.startswith(b"sops_")
