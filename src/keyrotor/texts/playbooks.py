"""The text of the playbooks: the shipped one with only what differs replaced, and the incident's. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

_PLACE = "[[place]]\n"
_KEYS = ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY")
GATEWAY = "gateway"  # the id of the `command` place that stands where a unit would


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a lab's playbook says."""

    file: str
    env_file: str
    url: str
    config: str
    identity: str = ""
    unit: str = "litellm.service"
    scope: str = "user"
    command: Sequence[str] = ()  # restarts the gateway, where no unit does
    clients: Sequence[str] = ()  # further files that hold the key as a literal
    keys: Sequence[str] = _KEYS  # that the env file has


def rotation(template: str, lab: Rotation) -> str:
    """The shipped playbook for this lab. Raises ValueError where the template has not what is to be replaced."""
    blocks = template.split(_PLACE)
    head = _with(blocks[0], "file", "secrets/global.enc.env", lab.file)
    if lab.identity:
        head = head.rstrip("\n") + f"\nidentity = {quoted(lab.identity)}\n\n"
    env_file = _with(blocks[2], "path", "~/.config/lab-secrets/litellm.env", lab.env_file)
    env_file = _replaced(env_file, f"keys = {_array(_KEYS)}", f"keys = {_array(lab.keys)}")
    unit = _with(_with(blocks[3], "unit", "litellm.service", lab.unit), "scope", "user", lab.scope)
    door = _with(blocks[4], "url", "http://127.0.0.1:4000", lab.url)
    door = _with(door, "config", "ai/backend/ai-backend-unified/config/litellm-unified.yaml", lab.config)
    if lab.command:
        unit = _command(lab.command)
        door = _replaced(door, '"systemd-unit"            ', f'"{GATEWAY}"                 ')
    clients = [f'\nkind = "client-file"\npath = {quoted(path)}\noptional = true\n'.lstrip("\n") for path in lab.clients]
    last = blocks[5] + ("\n" if clients else "")
    return _PLACE.join([head, blocks[1], env_file, unit, door, last, *clients])


def _command(argv: Sequence[str]) -> str:
    return f"""\
kind   = "command"                       # restarts the gateway, so that it reads the env file again
id     = "{GATEWAY}"
put    = {_array(argv)}
within = "120s"

"""


def _with(text: str, key: str, shipped: str, wanted: str) -> str:
    """The text with another value of this key; the key is padded with blanks, as its neighbours are."""
    found = next((line for line in text.splitlines() if line.split("=")[0].strip() == key), "")
    return _replaced(text, found, _replaced(found, quoted(shipped), quoted(wanted)))


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1 or not old:
        raise ValueError(f"{old!r} does not stand once in the shipped playbook")
    return text.replace(old, new)


def incident(template: str, playbook: str, roots: Sequence[str]) -> str:
    """The incident playbook for this playbook, by the shipped one."""
    text = _replaced(template, 'playbooks = ["litellm-master-key"]', f"playbooks = {_array([playbook])}")
    return _replaced(text, 'roots = ["~", "."]', f"roots = {_array(roots)}")


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _array(words: Sequence[str]) -> str:
    return "[" + ", ".join(quoted(word) for word in words) + "]"
