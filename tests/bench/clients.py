"""A rotation with 1,000 client files: how long they take after the gateway's first 200, beside a plain `sed -i` loop.

    .venv/bin/python tests/bench/clients.py [--pairs 5] [--clients 1000]

Rules:
1. Both write the same files with the same bytes changed, by turns; one rotation comes before and is not counted.
2. keyrotor's time is told by its own record: from the door's *accepts* to the result of the last client. It covers
   every fsync, the record's too; `sed -i` has none.
3. A goal that is missed is said and is no error (exit 0).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keyrotor.core.machine import Moved
from keyrotor.demo.build import build
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import private_user_manager
from keyrotor.journal import Journal

KEYROTOR = Path(sys.executable).with_name("keyrotor")
GOAL = 1.5  # times the loop
NO_START_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n"
LOOP = 'for file in "$1"/*; do sed -i "s/$OLD/$NEW/g" "$file"; done'


def with_clients(lab: Lab, count: int) -> Path:
    """The folder of so many settings files of a droid, each a place of the lab's playbook."""
    folder = lab.home / "clients"
    folder.mkdir()
    text, places = lab.settings.read_text(), []
    for number in range(count):
        (folder / f"{number}.json").write_text(text)
        (folder / f"{number}.json").chmod(0o600)
        places.append(f'\n[[place]]\nkind = "client-file"\npath = "~/clients/{number}.json"\n')
    lab.playbook.write_text(lab.playbook.read_text() + "".join(places))
    return folder


def rotated(lab: Lab) -> tuple[float, float]:
    """Seconds from the door's first 200 to the last client, and of the whole command."""
    argv = [KEYROTOR, "rotate", "--yes"]
    began = time.perf_counter()
    done = subprocess.run(argv, check=False, cwd=lab.project, env=lab.environment(), capture_output=True, text=True)
    wall = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"the rotation ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    with Journal.peek(lab.state) as journal:
        entries = journal.accounts()[-1].entries
    moved = {entry.event.row: entry.at for entry in entries if isinstance(entry.event, Moved)}
    clients = [at for row, at in moved.items() if row.startswith("client-file")]
    return (max(clients) - moved["litellm:accepts"]).total_seconds(), wall


def looped(folder: Path, old: str, new: str) -> float:
    """Seconds that a shell takes for the same; the files are as before after it."""
    spent = 0.0
    for one, other in ((old, new), (new, old)):
        began = time.perf_counter()
        subprocess.run(["sh", "-c", LOOP, "sh", folder], check=True, env={**os.environ, "OLD": one, "NEW": other})
        spent = spent or time.perf_counter() - began
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--clients", type=int, default=1000)
    asked = parser.parse_args()
    ours, loops, walls = [], [], []
    with tempfile.TemporaryDirectory(prefix="keyrotor-bench-") as folder, private_user_manager() as manager:
        lab = build(Path(folder) / "lab", manager=manager, unit_lines=NO_START_LIMIT)
        try:
            lab.start()
            lab.wait_until_healthy()
            clients = with_clients(lab, asked.clients)
            for pair in range(asked.pairs + 1):
                spent, wall = rotated(lab)
                loop = looped(clients, lab.current_key(), "sk-" + "x" * 43)
                if pair:
                    ours, loops, walls = [*ours, spent], [*loops, loop], [*walls, wall]
                print(
                    f"{pair or 'warm-up':>7} keyrotor {spent:.2f} s of {wall:.2f} s, loop {loop:.2f} s", file=sys.stderr
                )
        finally:
            lab.stop()
    ratio = statistics.median(one / other for one, other in zip(ours, loops, strict=True))
    print(
        f"{asked.clients:,} client files after the first 200, medians of {asked.pairs}: "
        f"{statistics.median(ours):.2f} s, a `sed -i` loop {statistics.median(loops):.2f} s, ratio {ratio:.2f} "
        f"(goal: at most {GOAL}: {'ok' if ratio <= GOAL else '**missed**'}); "
        f"the whole rotation {statistics.median(walls):.2f} s"
    )


if __name__ == "__main__":
    main()
