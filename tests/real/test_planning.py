"""A plan: what it tells, that it writes nothing, and that a saved one is binding. On real labs."""

from __future__ import annotations

import json
import os
import pty
import re
import secrets
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    add_command,
    add_place,
    differing,
    edit,
    events,
    in_project,
    keyrotor_argv,
    keyrotor_env,
    missing,
    spellings,
    tree,
)

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager


def shown(keyrotor: Keyrotor, lab: Lab, *options: str, code: int = 0) -> dict[str, Any]:
    """The object that `plan --json` prints."""
    done = keyrotor(lab, "plan", "--json", *options)
    assert done.returncode == code, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def places(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {place["id"]: place for place in (*told["places"], *told["left"])}


def add_client(lab: Lab, name: str, data: bytes | None, *, more: str = "") -> Path:
    """One more client file, written as it is given; None leaves it absent."""
    path = lab.home / name
    if data is not None:
        path.write_bytes(data)
        path.chmod(0o600)
    add_place(lab, f'kind = "client-file"\nid = "{name}"\npath = "~/{name}"\n{more}')
    return path


# -- it writes nothing -----------------------------------------------------------------------------------------------

# Calls that change nothing outside of the process and its children, whatever their arguments are.
HARMLESS = """
    access alarm arch_prctl brk chdir clock_getres clock_gettime clock_nanosleep clone clone3 close close_range
    dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group faccessat
    faccessat2 fadvise64 fchdir fstat fstatfs futex get_mempolicy get_robust_list getcwd getdents64 getegid
    geteuid getgid getgroups getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr lgetxattr
    listxattr lseek lstat madvise membarrier mincore mprotect mremap munmap name_to_handle_at nanosleep
    newfstatat pause pidfd_open pipe pipe2 poll ppoll prctl pread64 preadv prlimit64 pselect6 read readlink
    readlinkat readv recvfrom recvmmsg recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getparam sched_getscheduler sched_yield select set_robust_list set_tid_address setitimer setpgid
    setsid setsockopt shutdown sigaltstack socketpair stat statfs statx sysinfo timer_create timer_delete
    timer_settime timerfd_create timerfd_settime uname vfork wait4 waitid
"""
CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
TOLD = re.compile(r"^\d+ +(?:---|\+\+\+|<\.\.\. \w+ resumed>|\w+ resumed)")  # a signal, an end, the rest of a call
OPENS_TO_WRITE = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE")
STREAM = re.compile(r"\d+<(?:pipe:\[\d+\]|anon_inode:\[eventfd\]|/dev/null(?:<char [\d:]+>)?)>")
SOCKET = re.compile(r"\d+<(?:TCP|UNIX|UNIX-STREAM|NETLINK|UDP)[^>]*>?")
TERMINAL = ("TCGETS", "TIOCGWINSZ", "TIOCGPGRP", "FIONREAD", "FIONBIO", "FIOCLEX")
LOCKS = re.compile(r"F_(?:GET|SET)(?:FD|FL|LK)\b|F_DUPFD|F_OFD_GETLK|F_GETPIPE_SZ")


def effects(trace: str, port: int) -> Iterator[str]:
    """Every call in a trace that changes something, or that this test does not know."""
    for line in trace.splitlines():
        call = CALL.match(line)
        if call is None:
            if not TOLD.match(line):
                yield line[:200]
        elif not _is_harmless(call[1], call[2], port):
            yield line[:200]


def _is_harmless(name: str, arguments: str, port: int) -> bool:
    judge = JUDGES.get(name)
    return judge(arguments, port) if judge else name in HARMLESS.split()


def _opens_to_read(arguments: str, _: int) -> bool:
    return not OPENS_TO_WRITE.search(arguments.partition('", ')[2]) or '"/dev/null"' in arguments


def _asks(arguments: str, port: int) -> bool:
    is_gateway = f"sin_port=htons({port})" in arguments and '"127.0.0.1"' in arguments
    return is_gateway or bool(re.search(r'sun_path="[^"]*/(?:systemd/private|bus)"', arguments))


def _maps_privately(arguments: str, _: int) -> bool:
    return "MAP_SHARED" not in arguments or "PROT_WRITE" not in arguments or "MAP_ANONYMOUS" in arguments


# Calls of which it depends on the arguments.
JUDGES: Mapping[str, Callable[[str, int], bool]] = {
    **dict.fromkeys(("open", "openat", "openat2"), _opens_to_read),
    **dict.fromkeys(("write", "writev", "pwrite64"), lambda arguments, _: bool(STREAM.match(arguments))),
    # What is sent on was connected, and so judged, before.
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), lambda arguments, _: bool(SOCKET.match(arguments))),
    "socket": lambda arguments, _: arguments.startswith(("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")),
    "connect": _asks,
    "bind": lambda arguments, _: "AF_NETLINK" in arguments,
    "mmap": _maps_privately,
    "fcntl": lambda arguments, _: bool(LOCKS.search(arguments)) and "F_WRLCK" not in arguments,
    "ioctl": lambda arguments, _: any(word in arguments for word in TERMINAL),
    "tgkill": lambda arguments, _: "SIGURG" in arguments,  # Go wakes its own threads by it
}


def programs(trace: str) -> set[str]:
    """The programs that were started, each with its verb."""
    found = re.findall(r'execve\("[^"]*/([^"/]+)", \[(.*?)\], ', trace)
    words = {(name, *re.findall(r'"((?:[^"\\]|\\.)*)"', argv)[1:]) for name, argv in found}
    verbs = ("show", "decrypt", "--version", "plan", "cat")
    return {" ".join([program, *(word for word in rest if word in verbs)]) for program, *rest in words}


@pytest.fixture
def strace() -> str:
    return shutil.which("strace") or missing("strace")


@pytest.mark.parametrize("record", ["none", "a run"])
@pytest.mark.parametrize("options", [("plan",), ("rotate", "--dry-run")])
def test_a_plan_makes_no_call_that_writes(
    lab: Lab, keyrotor: Keyrotor, strace: str, tmp_path: Path, record: str, options: tuple[str, ...]
) -> None:
    """No open for writing, no rename, unlink, mkdir or chmod, no connect but to the gateway and systemd's bus; also
    not in the children. Without a record there is no state folder afterwards.

    Bytecode is not written here: that is the installation's business (pip compiles what it installs), and the tree
    under test is a source tree that nobody has installed.
    """
    if record == "a run":
        assert keyrotor(lab, "rotate", "--yes").returncode == 0
    before, log = tree(lab), tmp_path / "trace"
    argv = [strace, "-f", "-yy", "-s", "128", "-o", str(log), *keyrotor_argv(*options)]
    done = in_project(lab, argv, timeout=120, PYTHONDONTWRITEBYTECODE="1")
    trace = log.read_text()
    log.unlink()  # it has seen what the program reads
    assert done.returncode == 0, done.stderr
    assert list(effects(trace, lab.port)) == []
    started = {name for name in programs(trace) if not name.startswith("python")}
    assert started == {f"{Path(lab.sops).name} --version", f"{Path(lab.sops).name} decrypt", "systemctl show"}
    assert differing(before, tree(lab)) == []
    assert (lab.home / ".local").exists() is (record == "a run")


@pytest.mark.parametrize(
    "line",
    [
        '1 openat(AT_FDCWD</a>, "/a/b", O_RDWR|O_CLOEXEC) = 3',
        '1 openat(AT_FDCWD</a>, "/a/O_RDONLY", O_WRONLY|O_CREAT, 0600 <unfinished ...>',
        '1 rename("/a", "/b") = 0',
        '1 mkdir("/a", 0700) = -1 EEXIST (File exists)',
        '1 unlinkat(AT_FDCWD</a>, "b", 0) = 0',
        '1 write(3</a/b>, "x", 1) = 1',
        "1 ftruncate(3</a/b>, 0) = 0",
        '1 connect(3<TCP:[7]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        '1 connect(3<UNIX:[7]>, {sa_family=AF_UNIX, sun_path="/run/docker.sock"}, 110) = 0',
        "1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</a/b>, 0) = 0x7f",
        "1 fcntl(3</a>, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET}) = 0",
        "1 kill(7, SIGTERM) = 0",
        "1 io_uring_setup(8, 0x7f) = 4",
        "what is this",
    ],
)
def test_the_reader_of_traces_finds_what_writes(line: str) -> None:
    """Each of these would fail the test above, and so would a call that nobody here has heard of."""
    assert list(effects(line, 4000)) == [line]


# -- what it tells ----------------------------------------------------------------------------------------------------


@pytest.fixture
def rich(make_lab: MakeLab) -> tuple[Lab, str]:
    """A lab with clients of every sort, and a secret of somebody else's that stands on the same line as the key."""
    lab, other = make_lab(), f"tok-{secrets.token_urlsafe(24)}"
    key = lab.current_key()
    minified = {"é": 1, "a": {"token": other, "key": f"Bearer {key}"}, "b": [other, key], key: other}
    add_client(lab, "minified.json", json.dumps(minified, ensure_ascii=False, separators=(",", ":")).encode())
    windows = b'\xef\xbb\xbf{\r\n  // it is %b\r\n  "apiKey": "%b",\r\n}\r\n' % (key.encode(), key.encode())
    add_client(lab, "windows.json", windows)
    add_client(lab, "program.env", f"OTHER={other}\nKEY='{key}' # mine\n".encode())
    add_client(lab, "refers.json", b'{"apiKey": "${LITELLM_MASTER_KEY}"}')
    add_client(lab, "absent.json", None, more="optional = true")
    add_client(lab, "another.json", json.dumps({"apiKey": other}).encode(), more="optional = true")
    return lab, other


def test_each_place_has_its_symbol_and_its_change(rich: tuple[Lab, str], keyrotor: Keyrotor) -> None:
    """What changes, what is left, what is left to a person; in 80 columns and without colour."""
    lab, _ = rich
    at = (lab.home / "minified.json").read_bytes().index(b"Bearer ") + len(b"Bearer ")
    said = keyrotor(lab, "plan").stdout
    for line in (
        "  ~ write secrets/global.enc.env",
        "  ~ write ~/.config/lab-secrets/litellm.env",
        f"  ~ restart {lab.unit} onto the new key",
        f"  ? prove that {lab.url} accepts the new key",
        "  ~ write ~/minified.json",
        "  ! ~/refers.json: refers to LITELLM_MASTER_KEY; restart what reads it",
        "  = ~/absent.json: absent",
        "  ! ~/another.json: has another key, or none",
        f"  ? prove that {lab.url} refuses the old key",
        f"  a.key, line 1, column {at}: 46 bytes from byte {at}",  # the é has two bytes and one column
        "  ! 1 more in comments or names, left as they are",
        "  - sk-…(present)",
        "  + sk-…(new), 46 bytes",
        "plan: 6 places change, 1 unit restarts, 1 door proves it, 0 cannot, 5 by hand",
        "A rotation can run.",
        "Nothing was changed.",
    ):
        assert f"\n{line}\n" in said, line
    assert "\x1b" not in said
    assert [line for line in said.splitlines() if len(line) > 80] == []


def test_the_same_plan_is_told_by_a_dry_run(lab: Lab, keyrotor: Keyrotor) -> None:
    """Word for word, and in JSON too."""
    assert keyrotor(lab, "rotate", "--dry-run").stdout == keyrotor(lab, "plan").stdout
    assert json.loads(keyrotor(lab, "rotate", "--dry-run", "--json").stdout) == shown(keyrotor, lab)


def test_nothing_of_a_file_is_shown_but_where_the_value_stands(rich: tuple[Lab, str], keyrotor: Keyrotor) -> None:
    """Neither the key, nor another secret of the encrypted file, nor one that stands beside it; nowhere."""
    lab, other = rich
    plan = lab.project / "saved.plan"
    said = "".join(
        done.stdout + done.stderr
        for done in (keyrotor(lab, "plan", "--out", str(plan)), keyrotor(lab, "plan", "--json"))
    )
    said += plan.read_text()
    values = [other, *(lab.current_key(name) for name in ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "GRAFANA_TOKEN"))]
    assert [at for at, value in enumerate(values) for word in spellings(value) if word.decode() in said] == []


def test_the_bytes_that_it_names_are_those_that_a_rotation_changes(rich: tuple[Lab, str], keyrotor: Keyrotor) -> None:
    """The spans hold the old key now and the new key then, and nothing else moves; the encrypted file's lines too.

    sops' time stamp counts whole seconds: a lab that was made in the second of its rotation keeps that line.
    """
    lab, _ = rich
    old = lab.current_key().encode()
    told = places(shown(keyrotor, lab))
    paths = {"env-file": lab.env_file, "client-file": lab.settings}
    paths |= {name: lab.home / name for name in ("minified.json", "windows.json", "program.env")}
    before = {name: path.read_bytes() for name, path in paths.items()}
    lines = lab.secret_file.read_bytes().split(b"\n")
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    new = lab.current_key().encode()
    for name, path in paths.items():
        data, found = before[name], [change for change in told[name]["changes"] if change["end"]]
        assert found, name
        for change in reversed(found):
            assert data[change["start"] : change["end"]] == old
            assert change["after"] == len(new)
            at = data[: change["start"]].removeprefix(b"\xef\xbb\xbf")
            column = len(at.rpartition(b"\n")[2].decode()) + 1
            assert (change["line"], change["column"]) == (at.count(b"\n") + 1, column)
            data = data[: change["start"]] + new + data[change["end"] :]
        assert path.read_bytes() == data, name
    after = lab.secret_file.read_bytes().split(b"\n")
    differ = [at for at, (one, other) in enumerate(zip(lines, after, strict=True), 1) if one != other]
    [stamp] = [at for at, line in enumerate(after, 1) if line.startswith(b"sops_lastmodified=")]
    assert [change["line"] for change in told["sops-file"]["changes"]] == sorted({*differ, stamp})


def test_the_last_outage_is_told_once_there_was_one(lab: Lab, keyrotor: Keyrotor) -> None:
    """From the record: the newest run of this key in which the gateway was away."""
    assert shown(keyrotor, lab)["last_outage"] is None
    assert "not known" in keyrotor(lab, "plan").stdout
    done = json.loads(keyrotor(lab, "rotate", "--yes", "--json").stdout)
    last = shown(keyrotor, lab)["last_outage"]
    assert (last["seconds"], last["run"]) == (done["outage"], done["run"])
    said = " ".join(keyrotor(lab, "plan").stdout.split())
    assert f"{lab.unit}: the gateway was away for {done['outage']:.1f} s the last time (run {done['run']}," in said


def test_the_present_key_is_named_by_its_fingerprint(lab: Lab, keyrotor: Keyrotor) -> None:
    """The one that the record knows it by."""
    done = json.loads(keyrotor(lab, "rotate", "--yes", "--json").stdout)
    assert shown(keyrotor, lab)["masks"] == {"old": done["fingerprints"]["new"], "new": "sk-…(new)"}


def test_a_gateway_that_a_command_restarts_is_told(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """Its program, and that it takes the door away."""
    lab = make_lab(unit=False)
    told = shown(keyrotor, lab)
    assert "python" in places(told)[lab.runner.place_id]["changes"][0]["text"]
    assert told["counts"] == {"change": 4, "restart": 0, "prove": 1, "cannot": 0, "by_hand": 0}


def test_a_slow_kind_of_value_is_not_made_for_a_plan(lab: Lab, keyrotor: Keyrotor) -> None:
    """So its length is not known, and is not told."""
    lab.playbook.write_text(re.sub("generate = .*", 'generate = { kind = "rsa" }', lab.playbook.read_text()))
    told = places(shown(keyrotor, lab))
    assert {change["after"] for change in told["client-file"]["changes"]} == {None}
    assert "sk-…(new)\n" in keyrotor(lab, "plan").stdout


# -- what cannot ------------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_is_told_among_the_others(lab: Lab, keyrotor: Keyrotor) -> None:
    """All places are shown, those that cannot with every reason; then it ends as rotate does, word for word."""
    lab.settings.chmod(0o400)
    edit(lab.config, "os.environ/LITELLM_MASTER_KEY", '"a-literal-key"')
    planned, rotated = keyrotor(lab, "plan"), keyrotor(lab, "rotate", "--yes")
    assert (planned.returncode, rotated.returncode) == (3, 3)
    assert planned.stderr == rotated.stderr
    said = planned.stdout
    assert "  ✗ write ~/.factory/settings.json\n      cannot write ~/.factory/settings.json:" in said
    assert "\n  ~ write ~/.config/lab-secrets/litellm.env\n" in said
    assert "(chmod u+w ~/.factory/settings.json)\n" in said
    assert "2 cannot" in said
    assert "A rotation can run" not in said
    told = shown(keyrotor, lab, code=3)
    assert (told["outcome"], told["exit"], told["reason"]) == ("refused", 3, planned.stderr[10:].split("\nnow:")[0])
    states = {name: place["state"] for name, place in places(told).items()}
    assert states["client-file"] == states["litellm:accepts"] == "cannot"
    assert states["env-file"] == states["systemd-unit"] == "changes"
    assert places(told)["client-file"]["changes"] == []


def test_a_plan_while_a_run_is_owed(lab: Lab, keyrotor: Keyrotor) -> None:
    """It is shown, and saved nowhere; then it ends as rotate does, word for word, also where a place cannot."""
    old = keyrotor(lab, "plan", "--out", "saved.plan").returncode
    add_command(lab, "kill -9 $PPID; sleep 0.2")
    assert (old, keyrotor(lab, "rotate", "--yes").returncode) == (0, -9)
    before, run = tree(lab), events(lab)[-1][0]
    for name in ("saved.plan", "another.plan"):
        planned, rotated = keyrotor(lab, "plan", "--out", name), keyrotor(lab, "rotate", "--yes")
        assert (planned.returncode, rotated.returncode) == (22, 22)
        assert planned.stderr == rotated.stderr
        assert "write secrets/global.enc.env" in planned.stdout
        said = (
            f"\nFirst run {run} must be finished: keyrotor resume {run}\nNothing was changed; the plan is not saved.\n"
        )
        assert planned.stdout.endswith(said)
    assert keyrotor(lab, "rotate", "--dry-run").returncode == 22
    told = shown(keyrotor, lab, "--out", "another.plan", code=22)
    assert (told["owed"], told["run"], told["outcome"], told["exit"]) == (run, run, "interrupted", 22)
    assert f"keyrotor resume {run}" in told["hint"]
    assert told["saved"] is None
    assert {"places", "counts", "masks"} <= told.keys()
    shutil.move(lab.secret_file, lab.root / "gone")
    unread = keyrotor(lab, "plan", "--json")
    assert (unread.returncode, json.loads(unread.stdout)["run"]) == (22, run)
    shutil.move(lab.root / "gone", lab.secret_file)
    assert differing(before, tree(lab)) == [str(lab.secret_file.parent.relative_to(lab.root))], "we moved it"


def test_a_keyring_is_not_asked_before_a_run_is_on_record(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """It might have to be unlocked, or be made: only a fingerprint that a record knows is worth that."""
    marker = tmp_path / "asked"
    backend = "from pathlib import Path\nfrom keyring.backend import KeyringBackend\nclass Asked(KeyringBackend):\n"
    backend += "    priority = 1\n    def set_password(self, *_): raise OSError\n"
    backend += f"    def get_password(self, *_): Path({str(marker)!r}).touch()\n"
    (tmp_path / "asked_keyring.py").write_text(backend)
    env = keyrotor_env(lab, PYTHON_KEYRING_BACKEND="asked_keyring.Asked")
    env["PYTHONPATH"] += f":{tmp_path}"
    assert keyrotor(lab, "plan", env=env).returncode == 0
    assert not marker.exists()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    (lab.state / "fingerprint.key").unlink()
    assert keyrotor(lab, "plan", env=env).returncode == 0
    assert marker.exists(), "this backend is one that is asked"


def test_a_plan_that_cannot_run_is_not_saved(lab: Lab, keyrotor: Keyrotor) -> None:
    """Exit 3, and no file."""
    lab.settings.chmod(0o400)
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 3
    assert not (lab.project / "saved.plan").exists()


# -- a saved plan -----------------------------------------------------------------------------------------------------


def test_a_saved_plan_is_rotated_by(lab: Lab, keyrotor: Keyrotor) -> None:
    """Private, and with or without the playbook's name it does what it said, once."""
    done = keyrotor(lab, "plan", "--out", "saved.plan")
    assert done.stdout.endswith("The plan is saved: keyrotor rotate --plan saved.plan\n")
    plan = lab.project / "saved.plan"
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    old = lab.current_key()
    done = keyrotor(lab, "rotate", "litellm-master-key", "--plan", "saved.plan", "--yes")
    assert done.returncode == 0, done.stderr
    assert lab.current_key() != old
    again = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
    assert again.returncode == 3
    assert "was made since" in again.stderr
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0, "a saved plan is replaced"
    assert keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes").returncode == 0


def test_a_plan_that_others_may_read_is_made_private(lab: Lab, keyrotor: Keyrotor) -> None:
    """When it is saved anew, whatever its mode was."""
    plan = lab.project / "saved.plan"
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0
    plan.chmod(0o644)
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600


def test_a_plan_replaces_no_other_file(lab: Lab, keyrotor: Keyrotor) -> None:
    """Neither a stranger's, nor one of those that the rotation would use."""
    add_client(lab, "absent.json", None, more="optional = true")
    (lab.project / "notes.json").write_text('{"mine": 1}')
    before = tree(lab)
    for name in ("notes.json", str(lab.playbook), str(lab.home / "absent.json"), str(lab.settings)):
        done = keyrotor(lab, "plan", "--out", name)
        assert done.returncode == 2, name
        assert Path(name).name in done.stderr
    assert differing(before, tree(lab)) == []


def test_one_byte_elsewhere_makes_a_plan_stale(lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """Whatever the plan was made from, its change is refused by name before the first effect; changed back, it runs."""
    absent = add_client(lab, "absent.json", None, more="optional = true")
    fragment = manager.units / str(lab.unit)
    drop_in = fragment.with_name(f"{lab.unit}.d") / "more.conf"
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0

    def stale(path: Path, change: Callable[[bytes], bytes], told: str) -> None:
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(change(before or b""))
        if path in (fragment, drop_in):
            manager.systemctl("daemon-reload")
        world = tree(lab)
        done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
        assert done.returncode == 3, path
        assert told.format(path) in done.stderr, done.stderr
        assert differing(world, tree(lab)) == []
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
        if path in (fragment, drop_in):
            manager.systemctl("daemon-reload")

    changed = "it is stale: {} has changed"
    for path in (lab.playbook, lab.env_file, lab.config, fragment):
        stale(path, lambda data: data + b"#\n", changed)
    stale(lab.settings, lambda data: data.replace(b'"dark"', b'"Dark"'), changed)
    stale(lab.secret_file, lambda data: data + b"\n", changed)
    stale(absent, lambda _: b"{}", "{} is there now")
    stale(drop_in, lambda _: b"[Service]\nNice=1\n", "it is stale: {} was not looked at")
    stale(lab.secret_file, lambda data: data.replace(b"LITELLM_SALT", b"LITELLM_MALT"), "{}: ")  # sops refuses it
    done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
    assert done.returncode == 0, done.stderr


def test_every_environment_file_of_the_unit_is_held_to(lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """Also those of a pattern, and one that was not there; what systemd passes over hinders no plan."""
    names = [lab.home / name for name in ("more-a.env", "more-b.env", "once.env")]
    names[0].write_text("A=1\n")
    (lab.home / "folder").mkdir()
    drop_in = manager.units / f"{lab.unit}.d" / "more.conf"
    drop_in.parent.mkdir()
    read = (f"-{lab.home}/folder", lab.env_file, f"-{lab.home}/more-*.env", f"-{lab.home}/once.env")
    drop_in.write_text("[Service]\nEnvironmentFile=\n" + "".join(f"EnvironmentFile={path}\n" for path in read))
    manager.systemctl("daemon-reload")
    saved = keyrotor(lab, "plan", "--out", "saved.plan")
    assert saved.returncode == 0, saved.stderr
    told = [f"{names[0]} has changed", f"{names[1]} was not looked at", f"{names[2]} is there now"]
    for path in names:
        path.write_text("B=2\n")
    done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
    assert done.returncode == 3
    assert [one for one in told if one not in done.stderr] == []
    names[0].write_text("A=1\n")
    for path in names[1:]:
        path.unlink()
    done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
    assert done.returncode == 0, done.stderr


def test_another_file_with_the_same_bytes_makes_a_plan_stale(lab: Lab, keyrotor: Keyrotor) -> None:
    """A link that leads elsewhere, or another mode: what would be written is not what was looked at."""
    there = add_client(lab, "there.json", json.dumps({"key": lab.current_key()}).encode())
    twin = lab.home / "twin.json"
    shutil.move(there, twin)
    other = Path(shutil.copy(twin, lab.home / "other.json"))
    there.symlink_to(twin)
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0

    def is_stale() -> None:
        done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
        assert done.returncode == 3
        assert f"it is stale: {there} has changed\n" in done.stderr

    there.unlink()
    there.symlink_to(other)
    is_stale()
    there.unlink()
    there.symlink_to(twin)
    twin.chmod(0o644)
    is_stale()
    twin.chmod(0o600)
    assert keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes").returncode == 0


def answering(lab: Lab, meanwhile: Callable[[], object], *arguments: str) -> tuple[int, str]:
    """keyrotor on a terminal, where somebody says yes after something has happened."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        keyrotor_argv(*arguments),
        cwd=lab.project,
        env=keyrotor_env(lab, TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    told = b""
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        while piece := _piece(terminal.fileno()):
            had_asked, told = b"Rotate now?" in told, told + piece
            if not had_asked and b"Rotate now?" in told:
                meanwhile()
                terminal.write(b"y\n")
    return process.wait(timeout=60), told.decode().replace("\r\n", "\n")


def _piece(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last one on the other side has left
        return b""


def test_what_changes_while_the_question_stands_makes_a_plan_stale(lab: Lab, keyrotor: Keyrotor) -> None:
    """It is looked at again after the answer; without a change the answer counts."""
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0
    before = tree(lab)
    code, said = answering(lab, lambda: edit(lab.settings, '"dark"', '"Dark"'), "rotate", "--plan", "saved.plan")
    assert code == 3, said
    assert f"it is stale: {lab.settings} has changed\n" in said
    assert differing(before, tree(lab)) == [str(lab.settings.relative_to(lab.root))]
    edit(lab.settings, '"Dark"', '"dark"')
    code, said = answering(lab, lab.config.unlink, "rotate", "--plan", "saved.plan")
    assert code == 3, said
    assert f"{lab.config} is gone" in said


def test_a_plan_by_which_somebody_says_yes_is_rotated_by(lab: Lab, keyrotor: Keyrotor) -> None:
    """Where nothing has changed meanwhile."""
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0
    old = lab.current_key()
    code, said = answering(lab, lambda: None, "rotate", "--plan", "saved.plan")
    assert code == 0, said
    assert lab.current_key() != old


def test_the_hint_of_a_stale_plan_can_be_typed(lab: Lab, keyrotor: Keyrotor) -> None:
    """Also where there are several playbooks: it names the one, by a name that finds it, else by its path."""
    another = lab.playbook.with_name("an other.toml")
    another.write_text(lab.playbook.read_text().replace('"litellm-master-key"', '"its-own-name"'))
    assert keyrotor(lab, "plan").returncode == 2, "there are several"
    for name in ("its-own-name", "litellm-master-key"):
        assert keyrotor(lab, "plan", name, "--out", "saved.plan").returncode == 0
        edit(lab.settings, '"dark"', '"dark" ')
        done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
        assert done.returncode == 3
        words = shlex.split(done.stderr.partition("hint: ")[2])
        assert words == ["keyrotor", "plan", name, "--out", str(lab.project / "saved.plan")]
        assert keyrotor(lab, *words[1:]).returncode == 0
        assert f"\n{name} gives " in keyrotor(lab, *words[1:]).stdout
    away = lab.project / "away" / "from playbooks.toml"
    away.parent.mkdir()
    another.rename(away)
    assert keyrotor(lab, "plan", str(away), "--out", "saved.plan").returncode == 0
    edit(lab.settings, '"dark"', '"dark" ')
    done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
    assert f"hint: keyrotor plan {shlex.quote(str(away))} --out" in done.stderr


def test_a_file_that_went_away_makes_a_plan_stale(lab: Lab, keyrotor: Keyrotor) -> None:
    """Also an optional one, and the playbook itself."""
    client = add_client(lab, "client.json", json.dumps({"key": lab.current_key()}).encode(), more="optional = true")
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0
    for path in (client, lab.playbook):
        path.unlink()
        done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
        assert done.returncode == 3
        assert f"{path} is gone" in done.stderr


def test_why_nothing_can_run_is_told_before_that_the_plan_is_another(
    lab: Lab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """No file has changed, but the unit is down: that is the reason a person can mend."""
    assert keyrotor(lab, "plan", "--out", "saved.plan").returncode == 0
    manager.systemctl("stop", str(lab.unit))
    done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
    assert done.returncode == 3
    assert "unit is inactive" in done.stderr
    assert "stale" not in done.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no such file"),
        ("", "it is no saved plan"),
        ("[]", "it is no saved plan"),
        ("[" * 100_000, "it is no saved plan"),
        ('{"kind":' * 100_000, "it is no saved plan"),
        ('{"kind": "\udcff"}', "it is no saved plan"),
        ('{"kind": "another"}', "it is no saved plan"),
        ('{"kind": "keyrotor plan", "schema": 2}', "its schema is 2, this keyrotor reads 1"),
        ('{"kind": "keyrotor plan", "schema": 1, "salt": "00"}', "it is damaged"),
    ],
)
def test_a_plan_that_cannot_be_read_is_a_usage_error(
    make_lab: MakeLab, keyrotor: Keyrotor, text: str | None, why: str
) -> None:
    """Exit 2, and why; nothing is looked at."""
    lab = make_lab(unit=False, start=False)
    if text is not None:
        (lab.project / "saved.plan").write_text(text, errors="surrogateescape")
    done = keyrotor(lab, "rotate", "--plan", "saved.plan", "--yes")
    assert done.returncode == 2
    assert why in done.stderr


def test_a_plan_is_of_one_playbook(lab: Lab, keyrotor: Keyrotor) -> None:
    """Another one that is named besides is a mistake, as is a dry run by a plan."""
    shutil.copy(lab.playbook, lab.playbook.with_name("another.toml"))
    assert keyrotor(lab, "plan", "litellm-master-key", "--out", "saved.plan").returncode == 0
    done = keyrotor(lab, "rotate", "another", "--plan", "saved.plan", "--yes")
    assert done.returncode == 2
    assert f"it was made from {lab.playbook}" in done.stderr
    assert keyrotor(lab, "rotate", "--dry-run", "--plan", "saved.plan").returncode == 2
