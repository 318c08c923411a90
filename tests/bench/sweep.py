"""How fast a sweep is: beside `rg -F -uuu -f` on a real tree of 1 GB, and beside `git cat-file | grep -c`.

    .venv/bin/python tests/bench/sweep.py [--rounds 5] [--megabytes 1000] [--objects 50000]

Rules:
1. Both look for the same needles, by turns, each in a process of its own, started as a person would start it; one
   round comes before and is not counted, so that all is in the page cache.
2. The tree is made of what is on this machine: programs, libraries, manuals, source code; many small files and some
   large ones, packed ones as well. rg reads those as they are and gives a binary file up at its first nul that follows
   a match; a sweep also unpacks them, and all that is unpacked is told beside.
3. Everything is made in a temporary folder, and removed. A goal that is missed is said and is no error (exit 0).
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from keyrotor.boundary.forms import forms
from keyrotor.boundary.process import Processes
from keyrotor.secret import Secret
from keyrotor.sweeping.files import Files
from keyrotor.sweeping.finder import Finder
from keyrotor.sweeping.git_objects import Objects

FILES_GOAL, GIT_GOAL = 0.4, 0.5
LARGEST = 64 << 20  # bytes: one file must not be the tree
SOURCES = (sys.prefix, "/usr/share", "/usr/lib", "/usr/bin")
WORDS = ("the", "of", "and", "a", "to", "in", "is", "key", "token", "value", "=", "{", "}", ";", "return", "if", "def")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--sweep", nargs=2, metavar=("KIND", "FOLDER"), help="look for the value on standard input")
    asked = parser.parse_args()
    if asked.sweep:
        sweep(*asked.sweep)
        return
    with tempfile.TemporaryDirectory(prefix="keyrotor-bench-") as folder:
        root, value = Path(folder), b"sk-" + secrets.token_urlsafe(32).encode()
        needles = root / "needles"
        # rg takes text, a needle for each line: it is spared the one that is neither, the SHA-256 itself.
        needles.write_bytes(b"".join(form.needle + b"\n" for form in forms(Secret(value)) if form.needle.isascii()))
        bench_files(root / "tree", needles, value, asked.megabytes * 1_000_000, asked.rounds)
        bench_git(root / "repository", value, asked.objects, asked.rounds)


# -- what is measured ------------------------------------------------------------------------------------------------


def sweep(kind: str, folder: str) -> None:
    finder = Finder({"former": forms(Secret(sys.stdin.buffer.read()))})
    if kind == "files":
        files = Files(finder)
        hits = list(files.below([folder]))
        print(files.size, files.unpacked, len(hits))
    else:
        sizes: list[int] = []
        hits = list(Objects(Processes(), os.environ, Path(folder)).suspects(finder, sizes.append))
        print(sum(sizes), 0, len(hits))


def ours(kind: str, folder: Path, value: bytes) -> list[int]:
    done = subprocess.run(
        [sys.executable, __file__, "--sweep", kind, folder], input=value, capture_output=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


def bench_files(tree: Path, needles: Path, value: bytes, size: int, rounds: int) -> None:
    count, size = make_tree(tree, size)
    print(f"files: {size / 1e6:,.0f} MB in {count:,} files")
    rg = ["rg", "-F", "-uuu", "-f", str(needles), str(tree)]
    if not shutil.which("rg"):
        print("rg is not installed: nothing to compare with")
        return
    (_, unpacked, hits), times = by_turns(
        lambda: ours("files", tree, value),
        lambda: found_nothing(rg),
        rounds,
    )
    assert hits == 0
    tell("rg", times, size, FILES_GOAL)
    print(f"  keyrotor has looked through another {unpacked / 1e6:,.0f} MB, unpacked")


def bench_git(repository: Path, value: bytes, objects: int, rounds: int) -> None:
    make_repository(repository, objects)
    pipe = 'git -C "$1" cat-file --batch-all-objects --batch | grep -c -a -F -e "$2"'
    other = ["sh", "-c", pipe, "sh", str(repository), "no-key-at-all"]
    (size, _, _), times = by_turns(
        lambda: ours("git", repository, value),
        lambda: found_nothing(other),
        rounds,
    )
    print(f"git: {size / 1e6:,.0f} MB in {objects:,} objects")
    tell("git cat-file | grep -c", times, size, GIT_GOAL)


def found_nothing(argv: list[str]) -> None:
    assert subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode == 1


def by_turns(
    mine: Callable[[], list[int]], other: Callable[[], object], rounds: int
) -> tuple[list[int], list[tuple[float, float, float, float]]]:
    """What ours said, and for each round the seconds and the processor's seconds of both."""
    said, times = mine(), []
    other()
    for _ in range(rounds):
        times.append((*timed(mine), *timed(other)))
    return said, times


def timed(run: Callable[[], object]) -> tuple[float, float]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def tell(other: str, times: list[tuple[float, float, float, float]], size: int, goal: float) -> None:
    mine, mine_busy, theirs, theirs_busy = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"  keyrotor {mine:.2f} s ({size / mine / 1e6:,.0f} MB/s; {mine_busy:.2f} s of processors)")
    print(f"  {other} {theirs:.2f} s ({size / theirs / 1e6:,.0f} MB/s; {theirs_busy:.2f} s of processors)")
    print(f"  {theirs / mine:.2f} of its rate; the goal is {goal}: {'met' if theirs / mine >= goal else 'MISSED'}")


# -- what it is measured with ----------------------------------------------------------------------------------------


def make_tree(tree: Path, size: int) -> tuple[int, int]:
    """Copies of this machine's files, until there are as many bytes."""
    count = total = 0
    for path in found():
        copy = tree / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, copy)
        except OSError:
            continue
        count, total = count + 1, total + copy.stat().st_size
        if total >= size:
            break
    return count, total


def found() -> Iterator[Path]:
    """Regular files in an order that is nobody's choice, but always the same, so that all sources have their share."""
    paths = {
        Path(folder, name)
        for source in SOURCES
        for folder, _, names in os.walk(source)
        for name in names
        if os.path.isfile(os.path.join(folder, name)) and not os.path.islink(os.path.join(folder, name))
    }
    ordered = sorted(paths)
    random.Random(6).shuffle(ordered)
    return (path for path in ordered if 0 < path.stat().st_size <= LARGEST)


def make_repository(repository: Path, objects: int) -> None:
    """A repository of so many objects, blobs nearly all, made from words: as large as source files are."""
    subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True)
    chance = random.Random(6)
    importing = subprocess.Popen(["git", "-C", repository, "fast-import", "--quiet"], stdin=subprocess.PIPE)
    assert importing.stdin
    for number in range(objects - 2):
        text = " ".join([str(number), *chance.choices(WORDS, k=chance.choice((100, 400, 2000)))]).encode()
        importing.stdin.write(b"blob\nmark :%d\ndata %d\n%s\n" % (number + 1, len(text), text))
    importing.stdin.write(b"commit refs/heads/main\ncommitter a <a@example.org> 1700000000 +0000\ndata 4\nmany")
    for number in range(objects - 2):
        importing.stdin.write(b"\nM 100644 :%d %d" % (number + 1, number))
    importing.stdin.write(b"\n")
    importing.stdin.close()
    assert importing.wait() == 0


if __name__ == "__main__":
    main()
