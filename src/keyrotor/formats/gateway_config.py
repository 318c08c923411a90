"""What a LiteLLM config file says about its master key, its salt and its database. Pure: bytes in, facts out.

Facts: litellm.md 1, 2, 3 and 6. `general_settings.master_key` wins over the environment; without a salt key
the master key also encrypts what is in the database; `allow_requests_on_db_unavailable` without a database
lets any key in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from keyrotor.errors import FormatError

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


def read(data: bytes) -> GatewayConfig:
    """Raises FormatError, naming line and column."""
    found = tree(data)
    general = _table(found, "general_settings")
    sets = frozenset(map(str, _table(found, "environment_variables")))
    return GatewayConfig(
        master_key=general.get("master_key"),
        sets_environment=sets,
        has_database=bool(general.get("database_url")) or not sets.isdisjoint(DATABASE_VARIABLES),
        lets_everyone_in=general.get("allow_requests_on_db_unavailable") is True,
    )


def _table(whole: Any, name: str) -> Mapping[str, Any]:
    found = whole.get(name) if isinstance(whole, dict) else None
    return found if isinstance(found, dict) else {}
