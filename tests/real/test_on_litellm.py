"""A rotation on the real LiteLLM proxy, under a real `systemd --user`, with the real sops. Each start costs 6 s."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from on_lab import Keyrotor, MakeLab, add_command, differing, doors, edit, is_all, new_value, trace, tree

from keyrotor.demo.build import build
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

# A stop of LiteLLM takes a second; with the lab's 15 a rotation that never comes up would be waited for too long. A
# start takes 5.5 s, and many times that where others want the same cores.
SHORT_STOP = "TimeoutStopSec=2\n"
WITHIN = 300  # seconds
WITHIN_IN_VAIN = 90  # seconds, where they are waited out; the way back must come up within them, too

Node = tuple[object, ...]


@pytest.fixture(scope="module")
def only_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Lab]]:
    """The one proxy that the tests below share, once the first of them has started it."""
    shared: dict[str, Lab] = {}
    yield shared
    for lab in shared.values():
        lab.stop()


@pytest.fixture
def proxy(
    only_proxy: dict[str, Lab], manager: UserManager, litellm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """The shared proxy; playbook and config are put back after each test."""
    if not only_proxy:
        folder = tmp_path_factory.mktemp("proxy") / "lab"
        lab = build(folder, manager=manager, litellm=litellm, unit_lines=SHORT_STOP, within=f"{WITHIN}s")
        only_proxy["lab"] = lab
        lab.start()
        lab.wait_until_healthy(WITHIN)
    lab = only_proxy["lab"]
    kept = {path: path.read_bytes() for path in (lab.playbook, lab.config)}
    yield lab
    for path, data in kept.items():
        path.write_bytes(data)
    lab.heal()


def nodes(found: object, *left_out: str) -> list[str]:
    return [name for name in found if "/.git/" not in name and name not in left_out]  # type: ignore[attr-defined]


def test_a_rotation_on_the_real_proxy(proxy: Lab, keyrotor: Keyrotor) -> None:
    """0; new key 200, old one refused; one token differs in each file; the JSON report is the promised one."""
    old, before = proxy.current_key(), tree(proxy, exact=False)
    texts = {path: path.read_bytes() for path in (proxy.env_file, proxy.settings)}
    done = keyrotor(proxy, "rotate", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    new = proxy.current_key()
    is_all(proxy, new, old)
    assert proxy.status(None) == 401
    after = tree(proxy, exact=False)
    changed = nodes(differing(before, after))
    assert changed == [
        str(path.relative_to(proxy.root)) for path in (proxy.env_file, proxy.settings, proxy.secret_file)
    ]
    for name in changed:
        assert (before[name][:3], before[name][4:]) == (after[name][:3], after[name][4:])
    for path, text in texts.items():
        assert path.read_bytes() == text.replace(old.encode(), new.encode())
    told = json.loads(done.stdout)
    wanted = {"schema", "run", "playbook", "outcome", "exit", "reason", "seconds", "fingerprints", "places"}
    assert wanted <= told.keys()
    assert (told["schema"], told["playbook"], told["outcome"], told["exit"]) == (1, "litellm-master-key", "rotated", 0)
    assert 0 < told["outage"] < told["seconds"]
    assert told["fingerprints"]["old"] != told["fingerprints"]["new"]
    assert [(place["kind"], place["state"]) for place in told["places"]] == [
        (kind, "moved") for kind in ("sops-file", "env-file", "systemd-unit", "litellm", "client-file", "litellm")
    ]
    assert all({"id", "kind", "state", "seconds", "detail"} <= place.keys() for place in told["places"])
    hint = next(note for note in told["notes"] if "git -C" in note)
    assert shlex.split(hint[hint.index("git -C") :])[-1] == "global.enc.env"
    assert old not in done.stdout + done.stderr
    assert new not in done.stdout + done.stderr


def test_a_service_that_never_comes_up_is_rolled_back(proxy: Lab, keyrotor: Keyrotor) -> None:
    """20; old key 200, new one refused; every file is byte for byte as before, with mode, owner, links."""
    edit(proxy.playbook, f'"{WITHIN}s"', f'"{WITHIN_IN_VAIN}s"')
    old, new, before = proxy.current_key(), new_value(), tree(proxy, exact=False)
    proxy.sicken()
    done = keyrotor(proxy, "rotate", "--yes", "--value-stdin", input=new)
    assert done.returncode == 20, (done.stdout, done.stderr)
    is_all(proxy, old, new)
    assert nodes(differing(before, tree(proxy, exact=False))) == []
    last = done.stdout.strip().splitlines()[-4:]
    assert "cannot rotate" in done.stdout
    assert "rolled back and proven" in done.stdout, last


def test_a_literal_key_in_the_config_is_refused(proxy: Lab, keyrotor: Keyrotor) -> None:
    """3, with what to write instead; nothing changed, nothing restarted."""
    edit(proxy.config, "os.environ/LITELLM_MASTER_KEY", f'"{proxy.current_key()}"')
    before, pid = tree(proxy), proxy.runner.main_pid()
    done = keyrotor(proxy, "rotate", "--yes")
    assert done.returncode == 3
    assert "os.environ/LITELLM_MASTER_KEY" in done.stderr
    assert proxy.current_key() not in done.stderr
    assert differing(before, tree(proxy)) == []
    assert proxy.runner.main_pid() == pid


def test_a_literal_key_that_appears_in_mid_run_is_noticed_at_once(proxy: Lab, keyrotor: Keyrotor) -> None:
    """The new process runs on with the old key: turned back without waiting for the deadline, 20."""
    edit(proxy.playbook, f'"{WITHIN}s"', '"1h"')  # whoever waits for that does not end in time
    old, new, before = proxy.current_key(), new_value(), tree(proxy, exact=False)
    present = f"""$(sed -n 's/.*"apiKey": "\\(.*\\)".*/\\1/p' {proxy.settings} | head -1)"""
    literal = f'sed -i "s#os.environ/LITELLM_MASTER_KEY#{present}#" {proxy.config}'
    healed = f"sed -i 's#master_key: .*#master_key: os.environ/LITELLM_MASTER_KEY#' {proxy.config}"
    add_command(proxy, f"if [ $KEYROTOR_VALUE = new ]; then {literal}; else {healed}; fi", before="systemd-unit")
    done = keyrotor(proxy, "rotate", "--yes", "--value-stdin", "--json", input=new)
    told = json.loads(done.stdout)
    assert (done.returncode, told["outcome"]) == (20, "rolled-back"), done.stderr
    assert "runs on with the old" in told["reason"]
    is_all(proxy, old, new)
    playbook = str(proxy.playbook.relative_to(proxy.root))
    assert nodes(differing(before, tree(proxy, exact=False)), playbook) == []


def test_a_client_file_that_turns_read_only_midway_is_rolled_back(proxy: Lab, keyrotor: Keyrotor) -> None:
    """20 and proven: the client file could not be written, so every other place is put back."""
    chattr = shutil.which("chattr")
    if os.geteuid() == 0 and chattr:
        closed, opened = f"{chattr} +i {proxy.settings}", f"{chattr} -i {proxy.settings}"
    else:
        closed, opened = f"chmod 500 {proxy.settings.parent}", f"chmod 700 {proxy.settings.parent}"
    old, new, before = proxy.current_key(), new_value(), tree(proxy, exact=False)
    add_command(proxy, f"test $KEYROTOR_VALUE = old || {closed}")
    try:
        done = keyrotor(proxy, "rotate", "--yes", "--value-stdin", input=new)
    finally:
        subprocess.run(["/bin/sh", "-c", opened], check=False)
    assert done.returncode == 20, (done.stdout, done.stderr)
    assert "settings.json" in done.stdout
    is_all(proxy, old, new)
    playbook = str(proxy.playbook.relative_to(proxy.root))
    assert nodes(differing(before, tree(proxy, exact=False)), playbook) == []
    assert "moved litellm:accepts:new" in trace(proxy)


def test_a_client_that_reads_its_file_again_waits_for_the_restart_only(proxy: Lab, keyrotor: Keyrotor) -> None:
    """At any moment exactly one of the two keys works, or none: never both, and the gap is the restart."""
    old, new = proxy.current_key(), new_value()
    seen: list[tuple[int | None, int | None]] = []
    stop = threading.Event()

    def look() -> None:
        by_new = proxy.status(new)  # first: once it works the old one must not, however long it takes to ask
        seen.append((proxy.status(old), by_new))

    def watch() -> None:
        while not stop.wait(0.05):
            look()

    look()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert keyrotor(proxy, "rotate", "--yes", "--value-stdin", input=new).returncode == 0
    finally:
        stop.set()
        watcher.join()
    look()
    assert (200, 200) not in seen
    kinds = [pair for at, pair in enumerate(seen) if at == 0 or pair != seen[at - 1]]
    assert kinds[0] == (200, 400)
    assert kinds[-1] == (400, 200)


def test_a_gateway_without_prisma_is_told_not_failed(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """500 without a key is LiteLLM without its `prisma` package: 0, and said."""
    lab = make_lab(gateway_options=("--no-prisma",))
    old = lab.current_key()
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 0, done.stdout
    assert "prisma" in done.stdout
    assert doors(lab, lab.current_key(), old) == [200, 400]
