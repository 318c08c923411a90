"""Refused connections across a rotation: with the socket of `keyrotor service install`, with a plain unit, and with a
plain shell script on that unit (`bench/rotate.sh`); 20 requests a second, each on a connection of its own.

    KEYROTOR_LITELLM=… .venv/bin/python tests/bench/held_port.py [--rounds 3] [--json FILE]

Rules:
1. Round by round, so that what else the machine does meets all three.
2. The real LiteLLM only: what is measured is its start. A goal that is missed is said and is no error (exit 0).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "real"))

from on_service import Clients

from keyrotor.demo.build import build
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import private_user_manager

KEYROTOR = Path(sys.executable).with_name("keyrotor")
SCRIPT = Path(__file__).with_name("rotate.sh")
NO_START_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n"  # rotations follow each other at once


NAMES = {
    "socket": "`rotate`, unit and socket of `service install`",
    "first": "the same, the client file above the unit in the playbook",
    "plain": "`rotate`, plain unit",
    "script": "shell script, plain unit",
}


@dataclass(frozen=True)
class Sample:
    """One rotation under load."""

    asked: int
    refused: int
    cut: int  # connections that were taken and ended without an answer
    former: int  # answered with 400: the client's file still had the former key, or already the new one
    longest: float  # seconds that the slowest answer took


def run(lab: Lab, argv: Sequence[str]) -> None:
    env = {**lab.environment(), "SOPS": lab.sops, "UNIT": str(lab.unit), "URL": lab.url}
    done = subprocess.run(argv, check=False, cwd=lab.project, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def measured(lab: Lab, argv: Sequence[str]) -> Sample:
    """One rotation of the lab, and what became of everybody who connected meanwhile."""
    clients = Clients(lab.port, lambda: key_of(lab))
    clients.start()
    run(lab, argv)
    became = clients.end()
    cut = sum(count for how, count in became.items() if not how.isdigit() and how != "refused")
    refused, former = became.get("refused", 0), became.get("400", 0)
    return Sample(len(clients.became), refused, cut, former, clients.longest)


def rotate(playbook: Path) -> list[str]:
    return [str(KEYROTOR), "rotate", "--yes", str(playbook)]


def clients_first(lab: Lab) -> Path:
    """The lab's playbook with its client file above the unit: who waits at the socket brings the new key along."""
    head, *places = lab.playbook.read_text().split("[[place]]\n")
    client = next(place for place in places if "client-file" in place)
    others = [place for place in places if place is not client]
    unit = next(at for at, place in enumerate(others) if 'kind   = "systemd-unit"' in place)
    others.insert(unit, client)
    path = lab.playbook.with_name("clients-first.toml")
    path.write_text("[[place]]\n".join([head, *others]).replace('"litellm-master-key"', '"clients-first"'))
    return path


def key_of(lab: Lab) -> str:
    found = re.search(r'"apiKey": "([^"]*)"', lab.settings.read_text())
    return found[1] if found else ""


def rounds(count: int, litellm: Path) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory(prefix="keyrotor-bench-") as folder, private_user_manager() as manager:
        held, plain = (
            build(Path(folder) / name, manager=manager, litellm=litellm, unit_lines=NO_START_LIMIT)
            for name in ("held", "plain")
        )
        try:
            for lab in (held, plain):
                lab.start()
                lab.wait_until_healthy()
            install = ["service", "install", "--yes", "--replace", "--litellm", str(litellm)]
            run(held, [str(KEYROTOR), *install])
            first = clients_first(held)
            contestants = {
                "socket": (held, rotate(held.playbook)),
                "first": (held, rotate(first)),
                "plain": (plain, rotate(plain.playbook)),
                "script": (plain, [str(SCRIPT)]),
            }
            for number in range(1, count + 1):
                for name, (lab, argv) in contestants.items():
                    samples[name].append(measured(lab, argv))
                    print(f"{number:>3} {name:7} {samples[name][-1]}", file=sys.stderr, flush=True)
            run(held, [str(KEYROTOR), "service", "remove", "--yes", str(held.playbook)])
        finally:
            held.stop()
            plain.stop()
    return samples


def table(samples: dict[str, list[Sample]]) -> list[str]:
    """Markdown: for each contestant what became of the connections, one number for each round."""
    lines = ["| | refused | cut off | answered 400 | longest wait, s | goal | |", "|---|---|---|---|---|---|---|"]
    for name, found in samples.items():
        counts = (", ".join(str(getattr(one, of)) for one in found) for of in ("refused", "cut", "former"))
        longest = f"{statistics.median(one.longest for one in found):.1f}"
        goal, judged = "", ""
        if name in ("socket", "first"):
            goal, judged = "0 refused", "ok" if not sum(one.refused for one in found) else "**missed**"
        lines.append(f"| {NAMES[name]} | {' | '.join(counts)} | {longest} | {goal} | {judged} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to this file")
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if "KEYROTOR_LITELLM" not in os.environ:
        parser.error("KEYROTOR_LITELLM must name the litellm program")
    samples = rounds(asked.rounds, Path(os.environ["KEYROTOR_LITELLM"]))
    print("\n".join(table(samples)))
    if asked.json:
        told = {name: [asdict(one) for one in found] for name, found in samples.items()}
        asked.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
