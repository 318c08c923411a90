"""`keyrotor rotate` beside a plain shell script that does the same (`bench/rotate.sh`), on one lab, in one run; and
`keyrotor audit` beside what it cannot do without: one `sops decrypt` and three questions to the gateway; and
`keyrotor exec` and `print-key` beside `sops exec-env` and `sops decrypt`.

    KEYROTOR_LITELLM=… .venv/bin/python tests/bench.py [--pairs 11] [--gateway litellm|embedded] [--json FILE]

Rules:
1. Pair by pair, so that what else the machine does meets both; who goes first changes with each pair.
2. One rotation of each comes before and is not counted: it makes the record, and warms the disk's cache.
3. A goal that is missed is said and is no error (exit 0): these are measurements. A rotation that fails is one (1).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from keyrotor.demo.build import build
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import private_user_manager

KEYROTOR = Path(sys.executable).with_name("keyrotor")
SCRIPT = Path(__file__).with_name("bench") / "rotate.sh"
EVERY = 0.02  # seconds between the client's questions, and between two looks at a process's memory
STARTS = 31  # interleaved starts of `keyrotor --version` and of bare click
NO_START_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n"  # rotations of the embedded gateway follow each other at once

WALL, OUTAGE, START, MEMORY = 0.6, 0.15, 1.5, 70.0  # the goals: seconds, seconds, times, MB
EXEC = 0.08  # the goal of `exec` over `sops exec-env`: seconds
DOTENV = ("--input-type", "dotenv", "--output-type", "json")  # as keyrotor has sops decrypt
PRINT = 0.1  # the goal of `print-key` over `sops decrypt`: seconds
AUDIT, MANY = 0.3, 1.5  # the goals of an audit, and of one with as many clients: seconds
CLIENTS = 1000

Judge = Callable[[float, float], bool]  # of the median difference and the median ratio


@dataclass(frozen=True)
class Sample:
    """One rotation. `memory` is the peak of the process itself, without its children."""

    wall: float
    outage: float
    memory: float


class Client(threading.Thread):
    """A client that reads its config again before each question, and notes when it got its 200."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(daemon=True)
        self._lab = lab
        self._is_over = threading.Event()
        self.served: list[tuple[float, str]] = []

    def run(self) -> None:
        while not self._is_over.wait(EVERY):
            key = self.key()
            if key and self._status(key) == 200:
                self.served.append((time.perf_counter(), key))

    def key(self) -> str:
        found = re.search(r'"apiKey": "([^"]*)"', self._lab.settings.read_text())
        return found[1] if found else ""

    def outage(self) -> float:
        """The longest time between one 200 and the next."""
        times = [at for at, _ in self.served]
        return max(later - earlier for earlier, later in pairwise(times))

    def wait_for(self, is_served: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not is_served():
            if time.monotonic() > deadline:
                sys.exit("the client gets no 200")
            time.sleep(EVERY)

    def end(self) -> None:
        self._is_over.set()
        self.join()

    def _status(self, key: str) -> int | None:
        gateway = http.client.HTTPConnection("127.0.0.1", self._lab.port, timeout=2)
        try:
            gateway.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
            return gateway.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            gateway.close()


class Memory(threading.Thread):
    """The peak of one process's resident memory. `wait4` would give the largest of it and its children."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.peak = 0.0  # MB

    def run(self) -> None:
        """Until the process ends. The last reading counts: the first may be from before its exec."""
        with contextlib.suppress(OSError):  # it is gone
            while found := re.search(r"VmHWM:\s*(\d+) kB", self._status.read_text()):
                self.peak = int(found[1]) / 1024
                time.sleep(EVERY)


def measured(lab: Lab, argv: Sequence[object]) -> Sample:
    """One rotation of the lab, proven from outside: a new key, and the client served with it."""
    client = Client(lab)
    old = client.key()
    client.start()
    client.wait_for(lambda: bool(client.served))
    env = {**lab.environment(), "SOPS": lab.sops, "UNIT": str(lab.unit), "URL": lab.url}
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in argv],
            cwd=lab.project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        memory = Memory(process.pid)
        memory.start()
        code = process.wait()
        wall = time.perf_counter() - began
        said.seek(0)
        if code:
            sys.exit(f"{argv[0]} ended with {code}:\n{said.read()}")
    new = client.key()
    if new == old or new != lab.current_key():
        sys.exit(f"{argv[0]} ended well, but the key is not a new one everywhere")
    client.wait_for(lambda: client.served[-1][1] == new)
    client.end()
    memory.join()
    return Sample(wall, client.outage(), memory.peak)


def rotations(gateway: str, pairs: int) -> tuple[dict[str, list[Sample]], dict[str, list[float]]]:
    """As many samples of each as there are pairs; and as many of audits of the same lab, once it is rotated."""
    contestants: dict[str, list[object]] = {"keyrotor": [KEYROTOR, "rotate", "--yes"], "script": [SCRIPT]}
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    litellm = Path(os.environ["KEYROTOR_LITELLM"]) if gateway == "litellm" else None
    with tempfile.TemporaryDirectory(prefix="keyrotor-bench-") as folder, private_user_manager() as manager:
        lab = build(Path(folder) / "lab", manager=manager, litellm=litellm, unit_lines=NO_START_LIMIT)
        try:
            lab.start()
            lab.wait_until_healthy()
            for pair in range(pairs + 1):
                for name in sorted(contestants, reverse=bool(pair % 2)):
                    sample = measured(lab, contestants[name])
                    if pair:
                        samples[name].append(sample)
                    seen = f"wall {sample.wall:.2f} s, outage {sample.outage:.2f} s"
                    print(f"{pair or 'warm-up':>7} {name:8} {seen}", file=sys.stderr, flush=True)
            audited = audits(lab, pairs)
        finally:
            lab.stop()
    return samples, audited


def audits(lab: Lab, turns: int) -> dict[str, list[float]]:
    """How long an audit takes, beside the decrypt and the questions alone; and with many clients, beside without."""
    plain, many = lab.playbook, lab.playbook.with_name("many.toml")
    clients = lab.home / "clients"
    clients.mkdir()
    text, places = lab.settings.read_text(), []
    for number in range(CLIENTS):
        path = clients / f"{number}.json"
        path.write_text(text)
        path.chmod(0o600)
        places.append(f'\n[[place]]\nkind = "client-file"\npath = "~/clients/{number}.json"\n')
    many.write_text(plain.read_text() + "".join(places))
    contestants: dict[str, Callable[[], None]] = {
        "alone": lambda: looked_at(lab),
        "audit": lambda: audit(lab, plain),
        "many": lambda: audit(lab, many),
    }
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        for name in sorted(contestants, reverse=bool(turn % 2)):
            began = time.perf_counter()
            contestants[name]()
            if turn:
                samples[name].append(time.perf_counter() - began)
    return samples


def audit(lab: Lab, playbook: Path) -> None:
    argv = [str(KEYROTOR), "audit", "--json", "--fail-on", "never", str(playbook)]
    told = subprocess.run(argv, check=True, cwd=lab.project, env=lab.environment(), capture_output=True)
    drifted = [one["id"] for one in json.loads(told.stdout)["findings"] if one["severity"] == "high"]
    if drifted:
        sys.exit(f"the audit found what is not there: {', '.join(drifted)}")


def looked_at(lab: Lab) -> None:
    """One decrypt by sops, and the gateway asked without a key, with a bogus one and with the present one."""
    key = json.loads(lab.run(lab.sops, "decrypt", *DOTENV, str(lab.secret_file)))["LITELLM_MASTER_KEY"]
    if [lab.status(each) for each in (None, "sk-bogus-key", key)][-1] != 200:
        sys.exit("the gateway refuses the present key")


def starts() -> dict[str, list[float]]:
    """How long `keyrotor --version` and bare click take, by turns."""
    contestants = {"keyrotor": [str(KEYROTOR), "--version"], "click": [sys.executable, "-c", "import click"]}
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(STARTS + 1):
        for name, argv in contestants.items():
            began = time.perf_counter()
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            if turn:
                samples[name].append(time.perf_counter() - began)
    return samples


def execs() -> dict[str, list[float]]:
    """How long `exec -- true` and `print-key`, and what sops alone takes for the same, by turns, on a lab's files."""
    with tempfile.TemporaryDirectory(prefix="keyrotor-bench-") as folder:
        lab = build(Path(folder) / "lab")
        env = {**lab.environment(), "SOPS_DISABLE_VERSION_CHECK": "1"}
        contestants = {
            "keyrotor": [str(KEYROTOR), "exec", "--", "true"],
            "sops": [lab.sops, "exec-env", str(lab.secret_file), "true"],
            "print-key": [str(KEYROTOR), "print-key", str(lab.playbook)],
            "decrypt": [lab.sops, "decrypt", *DOTENV, str(lab.secret_file)],
        }
        samples: dict[str, list[float]] = {name: [] for name in contestants}
        for turn in range(STARTS + 1):
            for name, argv in contestants.items():
                began = time.perf_counter()
                subprocess.run(argv, check=True, cwd=lab.project, env=env, stdout=subprocess.DEVNULL)
                if turn:
                    samples[name].append(time.perf_counter() - began)
    return samples


def spread(values: Sequence[float], form: str) -> str:
    """The median, and between which values half of them lie."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return f"{middle:{form}} ({low:{form}} … {high:{form}})"


def row(name: str, beside: Sequence[Sequence[float]], goal: str, is_met: Judge) -> str:
    """One line of the table; the goal is judged by the medians of the pairs' differences and ratios."""
    ours, others = beside
    differences = [one - other for one, other in zip(ours, others, strict=True)]
    ratios = [one / other for one, other in zip(ours, others, strict=True)]
    judged = "ok" if is_met(statistics.median(differences), statistics.median(ratios)) else "**missed**"
    seen = (spread(ours, ".3f"), spread(others, ".3f"), spread(differences, "+.3f"), spread(ratios, ".3f"))
    return f"| {name} | {' | '.join(seen)} | {goal} | {judged} |"


def table(
    samples: dict[str, list[Sample]],
    started: dict[str, list[float]],
    executed: dict[str, list[float]],
    audited: dict[str, list[float]],
) -> list[str]:
    """Markdown: seconds as median (quartiles), and whether each goal is met."""
    walls = [[sample.wall for sample in samples[name]] for name in ("keyrotor", "script")]
    outages = [[sample.outage for sample in samples[name]] for name in ("keyrotor", "script")]
    bare = [started[name] for name in ("keyrotor", "click")]
    handed = [executed[name] for name in ("keyrotor", "sops")]
    printed = [executed[name] for name in ("print-key", "decrypt")]
    memory = [sample.memory for sample in samples["keyrotor"]]
    judged = "ok" if max(memory) <= MEMORY else "**missed**"
    alone, one, many = (audited[name] for name in ("alone", "audit", "many"))
    clients = f"audit with {CLIENTS:,} clients, without, s"
    return [
        "| | keyrotor | beside it | difference | ratio | goal | |",
        "|---|---|---|---|---|---|---|",
        row("rotate: wall time, s", walls, f"at most +{WALL} s", lambda more, _: more <= WALL),
        row("rotate: no 200 for a client, s", outages, f"at most +{OUTAGE} s", lambda more, _: more <= OUTAGE),
        row("`--version`, `import click`, s", bare, f"at most {START} times", lambda _, times: times <= START),
        row("`exec -- true`, `sops exec-env`, s", handed, f"at most +{EXEC} s", lambda more, _: more <= EXEC),
        row("`print-key`, `sops decrypt`, s", printed, f"at most +{PRINT} s", lambda more, _: more <= PRINT),
        row(
            "audit, a decrypt and three questions, s",
            [one, alone],
            f"at most +{AUDIT} s",
            lambda more, _: more <= AUDIT,
        ),
        row(clients, [many, one], f"at most +{MANY} s", lambda more, _: more <= MANY),
        f"| rotate: peak memory, MB | {spread(memory, '.1f')} | | | | at most {MEMORY:g} MB | {judged} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--gateway", choices=["litellm", "embedded"], default="litellm")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to this file")
    asked = parser.parse_args()
    if asked.pairs < 1:
        parser.error("--pairs must be 1 or more")
    if asked.gateway == "litellm" and "KEYROTOR_LITELLM" not in os.environ:
        parser.error("KEYROTOR_LITELLM must name the litellm program")
    load = [os.getloadavg()[0]]
    started, executed = starts(), execs()
    samples, audited = rotations(asked.gateway, asked.pairs)
    load.append(os.getloadavg()[0])
    print(
        f"{asked.pairs} pairs on {'real LiteLLM' if asked.gateway == 'litellm' else 'the embedded gateway'}, "
        f"{STARTS} starts · {os.cpu_count()} cores · load average {load[0]:.2f} before, {load[1]:.2f} after · "
        "median (quartiles)\n"
    )
    print("\n".join(table(samples, started, executed, audited)))
    if asked.json:
        rotated = {name: [asdict(sample) for sample in found] for name, found in samples.items()}
        found = {
            "gateway": asked.gateway,
            "load": load,
            "rotate": rotated,
            "start": started,
            "exec": executed,
            "audit": audited,
        }
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
