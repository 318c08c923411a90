"""What a LiteLLM config file says about its master key, its salt and its database. Pure: bytes in, facts out; what a
file includes is asked of a reader.

Facts: litellm.md 1, 2, 3 and 6. `general_settings.master_key` wins over the environment; without a salt key
the master key also encrypts what is in the database; `allow_requests_on_db_unavailable` without a database
lets any key in. Includes (read in 1.106.2): a list of files, each next to the file that names it, or else next to the
first one; each is read once, in the order in which they are met, and its tables replace those before; LiteLLM does
not start where one is missing.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from keyrotor.errors import FormatError

Reader = Callable[[str], bytes | None]  # what is in the file at that path; None where there is none
MOST = 100  # included files; a config that takes in more is none
_REFERENCE = "os.environ/"
# Any of these in its environment gives LiteLLM a database: it builds the address from the parts.
DATABASE_VARIABLES = ("DATABASE_URL", "DIRECT_URL", "DATABASE_HOST")


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The settings that decide whether a new master key takes effect, and what else it breaks."""

    master_key: Any
    sets_environment: frozenset[str]  # variables that the file itself sets, over the unit's
    has_database: bool
    lets_everyone_in: bool  # allow_requests_on_db_unavailable

    def refusals(self, variable: str, *, has_database: bool, has_salt: bool) -> list[str]:
        """Every reason why a new value of the variable would not take effect, or would destroy something."""
        reasons = []
        if self.master_key is not None and not isinstance(self.master_key, str):
            reasons.append("its master_key is a number or the like, with which LiteLLM cannot start; quote it")
        elif isinstance(self.master_key, str) and not self.master_key.startswith(_REFERENCE):
            reasons.append(f"its master_key is a literal, which wins over {variable}; write {_REFERENCE}{variable}")
        elif isinstance(self.master_key, str) and self.master_key != _REFERENCE + variable:
            named = self.master_key.removeprefix(_REFERENCE)
            reasons.append(f"its master_key is read from {named}, not from {variable}")
        if variable in self.sets_environment:
            reasons.append(f"its environment_variables set {variable} over the unit's own")
        if (self.has_database or has_database) and not has_salt:
            reasons.append(
                "a database is configured and no LITELLM_SALT_KEY: the master key also encrypts what is stored there; "
                "set LITELLM_SALT_KEY to the present master key first"
            )
        if self.lets_everyone_in and not (self.has_database or has_database):
            reasons.append("allow_requests_on_db_unavailable without a database lets every key in; remove it")
        return reasons


UNKNOWN = GatewayConfig(None, frozenset(), has_database=False, lets_everyone_in=False)  # no config file is named


def tree(data: bytes) -> Any:
    """What the file says, anchors and merge keys resolved. Raises FormatError, naming line and column."""
    from ruamel.yaml import YAML  # 35 ms
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(BytesIO(data))
    except RecursionError:
        raise FormatError("nested too deep", 1, 1) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise FormatError("not YAML", (mark.line + 1) if mark else 1, (mark.column + 1) if mark else 1) from None


def read(data: bytes, path: str = "", reader: Reader | None = None) -> GatewayConfig:
    """The config at that path, and all that it includes if there is a reader. Raises FormatError, naming line and
    column."""
    found = tree(data)
    if reader is not None:
        found = _whole(found, path, reader)
    general = _table(found, "general_settings")
    sets = frozenset(map(str, _table(found, "environment_variables")))
    return GatewayConfig(
        master_key=general.get("master_key"),
        sets_environment=sets,
        has_database=bool(general.get("database_url")) or not sets.isdisjoint(DATABASE_VARIABLES),
        lets_everyone_in=general.get("allow_requests_on_db_unavailable") is True,
    )


def _whole(first: Any, path: str, reader: Reader) -> Any:
    """The first file's tables with those of the files that it includes over them."""
    whole, taken, pending = first, {os.path.abspath(path)}, _includes(first, path)
    while pending:
        entry, named_in = pending.pop(0)
        beside, beside_first = (os.path.abspath(os.path.join(os.path.dirname(at), entry)) for at in (named_in, path))
        data = reader(beside)
        at = beside if data is not None else beside_first
        if at in taken:
            continue
        data = data if data is not None else reader(at)
        taken.add(at)
        added = _included(data, at, len(taken))
        whole = {**whole, **added}
        pending += _includes(added, at)
    return whole


def _included(data: bytes | None, at: str, count: int) -> dict[str, Any]:
    """One included file, which must be a table."""
    if data is None:
        raise FormatError(f"included file {at} is not there: the include", 1, 1)
    if count > MOST:
        raise FormatError(f"more than {MOST} files are included: the include", 1, 1)
    try:
        added = tree(data)
    except FormatError as error:
        raise FormatError(f"included file {at} is not YAML", error.line, error.column) from None
    if not isinstance(added, dict):
        raise FormatError(f"included file {at} is not a table", 1, 1)
    return added


def _includes(whole: Any, path: str) -> list[tuple[str, str]]:
    """Each entry of the list, and the file that names it."""
    entries = whole.get("include") if isinstance(whole, dict) else None
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise FormatError(f"`include` of {path} is not a list of files", 1, 1)
    return [(entry, path) for entry in entries]


def _table(whole: Any, name: str) -> Mapping[str, Any]:
    found = whole.get(name) if isinstance(whole, dict) else None
    return found if isinstance(found, dict) else {}
