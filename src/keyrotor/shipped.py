"""The files that travel with the program: playbooks and rules for sops. In the wheel they lie beside the code,
in a checkout at its top."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parents[1]


def rules() -> str:
    """The text of the shipped `.sops.yaml`."""
    return _first(_HERE / "shipped" / "sops.yaml", _CHECKOUT / ".sops.yaml").read_text()


def playbook(name: str) -> Path:
    """The shipped playbook of that name."""
    return _first(_HERE / "shipped" / "playbooks" / f"{name}.toml", _CHECKOUT / "playbooks" / f"{name}.toml")


def _first(*paths: Path) -> Path:
    return next(path for path in paths if path.is_file())
