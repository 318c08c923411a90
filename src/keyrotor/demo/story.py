"""`keyrotor demo`: two rotations in a throw-away lab, the second one doomed, told as they happen.

The lab is real: real sops, a real age identity, a gateway with LiteLLM's own answers (or LiteLLM itself), run
by the user's systemd where one answers and as a child process where none does. keyrotor runs in it as its
own process, in the lab's environment, exactly as a person would run it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from keyrotor.demo.build import build
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import existing_user_manager
from keyrotor.errors import Exit, KeyrotorError

# How long the doomed rotation waits before it turns back: its stop, LiteLLM's start, and a little.
WITHIN = {"embedded": "18s", "litellm": "40s"}
WITHIN_CHILD = {"embedded": "5s", "litellm": "25s"}


def tell(gateway: str, program: str | None, keep: bool, rules: str) -> int:
    """Runs the demo; 0 if both rotations ended as they should. `rules` is the text of the lab's .sops.yaml."""
    if gateway == "litellm" and not program:
        raise KeyrotorError(
            "cannot run the real proxy: which litellm?", hint="keyrotor demo --gateway litellm --litellm PATH"
        )
    folder = Path(tempfile.mkdtemp(prefix="keyrotor-demo-"))
    manager = existing_user_manager()
    litellm = Path(program) if program and gateway == "litellm" else None
    within = (WITHIN if manager else WITHIN_CHILD)[gateway]
    try:
        lab = build(folder / "lab", manager=manager, litellm=litellm, sops_yaml=rules, within=within)
        try:
            return _tell(lab, gateway)
        finally:
            lab.stop()
    finally:
        if keep:
            _say(f"The lab stays in {folder}; its gateway is stopped.")
        else:
            shutil.rmtree(folder)


def _tell(lab: Lab, gateway: str) -> int:
    runner = f"as {lab.unit} of your systemd" if lab.unit else "as a child process (no systemd --user answers here)"
    _say(f"A throw-away lab in {lab.root}: a sops-encrypted key, its env file, a client's settings,")
    _say(f"and {'LiteLLM' if gateway == 'litellm' else 'a gateway with its answers'}, {runner}.")
    lab.start()
    _say(f"The gateway answers after {lab.wait_until_healthy():.1f} s. First, a rotation:\n")
    first, before = lab.current_key(), _files(lab)
    rotated = _keyrotor(lab, "rotate", "--yes")
    new = lab.current_key()
    _say(f"\nAsked from outside: the new key gets {lab.status(new)}, the old one {lab.status(first)}.")
    if rotated != Exit.DONE or lab.status(new) != 200 or lab.status(first) == 200:
        return Exit.FAILED
    _say(f"Changed: {', '.join(name for name, data in _files(lab).items() if data != before[name])}.")
    _say("\nNow one that cannot succeed: with any other key the gateway will never answer again.\n")
    lab.sicken()
    before = _files(lab)
    failed = _keyrotor(lab, "rotate", "--yes", "--reason", "a doomed one")
    _say(f"\nAsked from outside: the key gets {lab.status(new)}; exit code {failed}.")
    whole = _files(lab) == before
    _say("Every file is byte for byte as before." if whole else "Some file is NOT as before.")
    return Exit.DONE if failed == Exit.ROLLED_BACK and whole and lab.status(new) == 200 else Exit.FAILED


def _files(lab: Lab) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (lab.secret_file, lab.env_file, lab.settings)}


def _keyrotor(lab: Lab, *arguments: str) -> int:
    _say(f"$ keyrotor {' '.join(arguments)}")
    command = [sys.executable, "-m", "keyrotor", *arguments]
    return subprocess.run(command, check=False, cwd=lab.project, env=lab.environment()).returncode


def _say(text: str) -> None:
    print(text, flush=True)
