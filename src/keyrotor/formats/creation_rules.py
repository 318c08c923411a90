"""`.sops.yaml`: which age recipients its creation rules want for a file. Pure: bytes in, facts out.

Rules of sops' own (config/config.go), followed step by step:
1. The first rule whose `path_regex` is found in the path counts; one without matches every path.
2. The path is the one below the folder of `.sops.yaml`; of a file elsewhere it is the whole path.
3. Where a rule has `key_groups`, its own `age`, `pgp`, … do not count.
4. Recipients stand in a list or behind commas, in any mixture.
5. A file without `creation_rules` is as good as none.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

from keyrotor.errors import FormatError, PlaceError

# A rule with one of these names who shall read the file; one with none of them leaves that to the command line.
_OTHER_KEYS = ("pgp", "kms", "gcp_kms", "hckms", "azure_keyvault", "hc_vault_transit_uri", "hc_vault", "plugins")

# What Go's RE2 says in its own way; all else that Python cannot read is an error.
_SPELLED = {
    **{"[:alpha:]": "a-zA-Z", "[:digit:]": "0-9", "[:alnum:]": "a-zA-Z0-9", "[:word:]": r"\w", "[:space:]": r"\s"},
    **{"[:lower:]": "a-z", "[:upper:]": "A-Z", "[:xdigit:]": "0-9a-fA-F", r"\z": r"\Z"},
}


def wanted(data: bytes, path: str) -> frozenset[str] | None:
    """The age recipients that the file at this path is to have; None where the rules say nothing of it.

    Raises PlaceError for rules that cannot be read.
    """
    rule = next((rule for rule in _rules(data) if _fits(rule, path)), None)
    if rule is None:
        return None
    try:
        groups = _groups(rule)
    except RecursionError:  # an alias can make a group a part of itself
        raise PlaceError("key_groups are nested too deep") from None
    if not any(group.get(kind) for group in groups for kind in ("age", *_OTHER_KEYS)):
        return None
    return frozenset(recipient for group in groups for recipient in _recipients(group.get("age")))


def _rules(data: bytes) -> list[Mapping[str, Any]]:
    from ruamel.yaml import YAML  # 35 ms
    from ruamel.yaml.error import YAMLError

    try:
        tree = next(iter(YAML(typ="safe", pure=True).load_all(BytesIO(data))), None)
    except RecursionError:
        raise FormatError("nested too deep", 1, 1) from None
    except (YAMLError, ValueError) as error:  # a date that there is not is a ValueError
        mark = getattr(error, "problem_mark", None)
        raise FormatError("not YAML", (mark.line + 1) if mark else 1, (mark.column + 1) if mark else 1) from None
    return _tables(_table(tree, "it").get("creation_rules"), "creation_rules")


def _fits(rule: Mapping[str, Any], path: str) -> bool:
    pattern = str(rule.get("path_regex") or "")
    for theirs, ours in _SPELLED.items():
        pattern = pattern.replace(theirs, ours)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's plans for `[[` are nobody's concern here
            return re.search(pattern, path, re.ASCII) is not None
    except (re.error, RecursionError, OverflowError):
        raise PlaceError("a path_regex that only sops understands") from None


def _groups(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    groups = _tables(rule.get("key_groups"), "key_groups")
    return [each for group in groups for each in _merged(group)] if groups else [rule]


def _merged(group: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The group, and those that it is made of."""
    yield group
    for part in _tables(group.get("merge"), "merge"):
        yield from _merged(part)


def _recipients(said: Any) -> Iterator[str]:
    texts = [said] if isinstance(said, str) else [] if said is None else said
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise PlaceError("age is neither a text nor a list of texts")
    yield from (part.strip() for text in texts for part in text.split(",") if part.strip())


def _tables(said: Any, name: str) -> list[Mapping[str, Any]]:
    if said is None:
        return []
    if not isinstance(said, list):
        raise PlaceError(f"{name} is not a list")
    return [_table(each, f"an entry of {name}") for each in said if each is not None]  # sops drops what is empty


def _table(said: Any, name: str) -> Mapping[str, Any]:
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise PlaceError(f"{name} is not a table")
    return said
