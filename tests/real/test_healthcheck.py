"""`healthcheck` on real labs, a real redis-server, the real LiteLLM; stand-ins for servers that need a GPU."""

from __future__ import annotations

import base64
import json
import os
import pty
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from backend_servers import (
    babble,
    flood,
    hang,
    llama_cpp,
    ollama,
    raw,
    refuse,
    server,
    trickle_body,
    trickle_head,
    vllm,
)
from on_lab import Keyrotor, MakeLab, StartKeyrotor, add_place, differing, edit, missing, spellings, tree

from keyrotor.demo.build import free_port
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager
from places.doors import stub

Line = dict[str, Any]
Ask = Callable[..., list[Line]]


@pytest.fixture
def child_lab(make_lab: MakeLab) -> Lab:
    """A lab whose gateway is a child process."""
    return make_lab(unit=False)


@pytest.fixture
def ask(keyrotor: Keyrotor) -> Ask:
    """The lines of a healthcheck; its exit code is 10 exactly where one is ill, and it has written nothing."""

    def lines(lab: Lab, *arguments: str, markers: Sequence[str] = (), **how: Any) -> list[Line]:
        before = tree(lab)
        done = keyrotor(lab, "healthcheck", "--json", *arguments, **how)
        assert done.stderr == ""
        told = json.loads(done.stdout)
        assert (told["schema"], told["playbook"], told["exit"]) == (1, "litellm-master-key", done.returncode)
        assert done.returncode == (10 if any(line["state"] == "ill" for line in told["lines"]) else 0)
        assert differing(before, tree(lab)) == []
        values = [lab.current_key(), *markers]
        assert not any(spelt in done.stdout.encode() for value in values for spelt in spellings(value))
        return list(told["lines"])

    return lines


def states(lines: list[Line]) -> list[tuple[str, str]]:
    return [(line["name"], line["state"]) for line in lines]


def ill(lines: list[Line]) -> list[str]:
    return [line["said"] for line in lines if line["state"] == "ill"]


def write_catalogue(lab: Lab, *models: str, more: str = "") -> None:
    """The lab's own config, with these entries of model_list (YAML flow style) in the stead of the mock."""
    entries = "".join(f"  - {model}\n" for model in models)
    text = f"model_list:\n{entries}general_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n{more}"
    lab.config.write_text(text)


def model(name: str, what: str, base: str = "", key: str = "") -> str:
    params = {"model": what, **({"api_base": base} if base else {}), **({"api_key": key} if key else {})}
    return json.dumps({"model_name": name, "litellm_params": params})


def set_secret(lab: Lab, key: str, value: str) -> None:
    lab.run(
        *(lab.sops, "set", "--input-type", "dotenv", "--output-type", "dotenv", "--value-stdin"),
        *(str(lab.secret_file), f'["{key}"]'),
        stdin=json.dumps(value),
    )


DOOR = [("litellm, no key", "well"), ("litellm, bogus key", "well"), ("litellm, present key", "well")]


# -- the door ----------------------------------------------------------------------------------------------------------


def test_a_well_gateway_is_told_in_three_lines(lab: Lab, ask: Ask, keyrotor: Keyrotor) -> None:
    """401, refused, 200; exit 0; a person reads the same, and no progress in a pipe."""
    assert states(ask(lab)) == DOOR
    done = keyrotor(lab, "healthcheck")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "all is well"
    assert len(done.stdout.splitlines()) == 4


def test_the_real_litellm_is_well(make_lab: MakeLab, ask: Ask) -> None:
    """So are its answers, and its mock model is nobody's to ask."""
    lab = make_lab("litellm")
    found = ask(lab, "--backends")
    assert states(found) == [*DOOR, ("litellm-unified.yaml", "well"), ("mock", "skipped")]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--open"], ["is open: 200 without a key", "is open: 200 with a key that nobody has"]),
        (["--no-prisma"], ["500 without a key: its `prisma` package is missing"]),
        (["--answer", "503"], ["answers 503 without a key", "answers 503 with a key that nobody has"]),
    ],
)
def test_an_ill_gateway_is_told(make_lab: MakeLab, ask: Ask, options: list[str], told: list[str]) -> None:
    """Open, without prisma, out of order: an ill line for each answer that is wrong."""
    lab = make_lab(unit=False, gateway_options=options, start=False)
    lab.start()
    wait_for_port(lab.port)
    found = ill(ask(lab))
    assert len(found) == len(told)
    assert all(part in said for part, said in zip(told, found, strict=True))


def test_a_gateway_that_is_away_is_one_line(make_lab: MakeLab, ask: Ask) -> None:
    """Nobody listens: one ill line, not three."""
    lab = make_lab(unit=False, start=False)
    assert ill(ask(lab)) == [f"no answer from {lab.url} (connection refused)"]


def test_a_gateway_with_another_key_is_ill(lab: Lab, ask: Ask) -> None:
    """The file was edited and the gateway not restarted."""
    set_secret(lab, "LITELLM_MASTER_KEY", f"sk-{secrets.token_urlsafe(24)}")
    found = ask(lab)
    assert states(found)[2] == ("litellm, present key", "ill")
    assert found[2]["mend"] == "keyrotor repair"


def test_a_stranger_on_the_port_is_shown_no_key(lab: Lab, manager: UserManager, ask: Ask) -> None:
    """The unit is down, somebody else answers there: nothing is asked, nothing is shown."""
    assert lab.unit
    manager.systemctl("stop", lab.unit)
    with server({}) as thief:
        edit(lab.playbook, lab.url, thief.url)
        found = ask(lab)
        assert states(found) == [("litellm", "ill")]
        assert "not by" in found[0]["said"]
        assert thief.asked == []


def test_what_cannot_be_decrypted_is_a_line(lab: Lab, ask: Ask) -> None:
    """Without the identity everything that needs no value is asked all the same."""
    found = ask(lab, env={"SOPS_AGE_KEY_FILE": "/nowhere", "XDG_CONFIG_HOME": "/nowhere"})
    assert states(found) == [("global.enc.env", "ill"), *DOOR[:2], ("litellm, present key", "skipped")]


def test_a_playbook_without_a_door_is_a_mistake(child_lab: Lab, keyrotor: Keyrotor) -> None:
    """2, with a hint."""
    text = child_lab.playbook.read_text()
    at = text.index('[[place]]\nkind   = "litellm"')
    child_lab.playbook.write_text(text[:at])
    done = keyrotor(child_lab, "healthcheck")
    assert done.returncode == 2
    assert "no litellm place" in done.stderr
    assert "hint:" in done.stderr


@pytest.mark.parametrize("wrong", [("--within", "soon"), ("--within", "0s"), ("--redis-password", "KEY")])
def test_wrong_words_are_a_mistake(child_lab: Lab, keyrotor: Keyrotor, wrong: tuple[str, ...]) -> None:
    """2, before anything is asked."""
    assert keyrotor(child_lab, "healthcheck", *wrong).returncode == 2


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nobody listens")


# -- redis -------------------------------------------------------------------------------------------------------------


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[int]:
    """A real redis-server on loopback; its port."""
    program = shutil.which("redis-server") or missing("no redis-server: apt-get install redis-server")
    port = free_port()
    listen = ["--port", "0", "--tls-port", str(port)] if "--tls-cert-file" in options else ["--port", str(port)]
    argv = [program, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *listen, *options]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(100)


def redis_line(lines: list[Line]) -> tuple[str, str]:
    found = [line for line in lines if line["name"] == "redis"]
    assert len(found) == 1
    return found[0]["state"], found[0]["said"]


def test_redis_answers(child_lab: Lab, ask: Ask, tmp_path: Path) -> None:
    """Over TCP by name and by number, in a database of its own, and through a socket file."""
    path = tmp_path / "redis.sock"
    with redis_server(tmp_path, "--unixsocket", str(path)) as port:
        for url in (f"redis://127.0.0.1:{port}", f"redis://localhost:{port}/3", f"unix://{path}?db=2"):
            assert redis_line(ask(child_lab, "--redis", url))[0] == "well", url


def test_redis_takes_its_password_from_the_address_or_the_file(child_lab: Lab, ask: Ask, tmp_path: Path) -> None:
    """Both let us in; neither is shown."""
    password = secrets.token_urlsafe(24)
    set_secret(child_lab, "REDIS_PASSWORD", password)
    with redis_server(tmp_path, "--requirepass", password) as port:
        named = ("--redis", f"redis://127.0.0.1:{port}", "--redis-password", "REDIS_PASSWORD")
        for how in (("--redis", f"redis://:{password}@127.0.0.1:{port}"), named):
            found = ask(child_lab, *how)
            assert redis_line(found) == ("well", f"redis://127.0.0.1:{port}: answers")
            assert password not in json.dumps(found)


def test_a_redis_that_does_not_let_us_in_is_ill(child_lab: Lab, ask: Ask, tmp_path: Path) -> None:
    """Wrong password, none, one too many, no such key in the file, no such database: each in our words."""
    password, wrong = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    with redis_server(tmp_path, "--requirepass", password) as shut, redis_server(tmp_path) as wide:
        for url, told in (
            (f"redis://:{wrong}@127.0.0.1:{shut}", "it refuses the password"),
            (f"redis://127.0.0.1:{shut}", "it wants a password"),
            (f"redis://:{wrong}@127.0.0.1:{wide}", "it wants no password, and was given one"),
            (f"redis://127.0.0.1:{wide}/99", "it has no database 99"),
        ):
            found = ask(child_lab, "--redis", url)
            assert redis_line(found) == ("ill", f"redis://127.0.0.1:{shut if str(shut) in url else wide}: {told}")
            assert wrong not in json.dumps(found)
        missing_key = ask(child_lab, "--redis", f"redis://127.0.0.1:{shut}", "--redis-password", "ABSENT")
        assert "no ABSENT in the encrypted file" in redis_line(missing_key)[1]


def test_what_is_no_redis_is_ill(child_lab: Lab, ask: Ask) -> None:
    """A web server, nobody, no such name, an address that is none, and a password for a public address in clear."""
    marker = secrets.token_urlsafe(24)
    with (
        server({}) as web,
        raw(refuse) as other,
        raw(babble) as babbling,
        raw(flood) as flooding,
        socket.socket() as unheard,
    ):
        unheard.bind(("127.0.0.1", 0))
        for url, told in (
            (f"redis://127.0.0.1:{other}", "there is no redis"),
            (f"redis://127.0.0.1:{babbling}", "there is no redis"),
            (f"redis://127.0.0.1:{flooding}", "there is no redis"),
            (f"redis://127.0.0.1:{web.port}", "it cut the connection; is it a redis"),
            (f"redis://127.0.0.1:{unheard.getsockname()[1]}", "no answer (connection refused)"),
            ("redis://no-such-host.invalid", "no answer (no such host)"),
            ("unix:///nowhere/redis.sock", "no answer (no such socket)"),
            (f"redis://:{marker}@192.88.99.1", "the password was not sent"),
            (f"http://:{marker}@127.0.0.1", "cannot read the address"),
            (f"redis://:{marker}@127.0.0.1:99999", "cannot read the address"),
        ):
            found = ask(child_lab, "--redis", url)
            state, said = redis_line(found)
            assert state == "ill"
            assert told in said, url
            assert marker not in json.dumps(found)


def test_tls_and_no_tls_are_told_apart(child_lab: Lab, ask: Ask, tmp_path: Path) -> None:
    """TLS to a plain port, a plain word to a TLS port, a certificate that nobody vouches for."""
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    tls = ("--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
    with redis_server(tmp_path) as plain, redis_server(tmp_path, *tls) as sealed:
        assert "no TLS there" in redis_line(ask(child_lab, "--redis", f"rediss://127.0.0.1:{plain}"))[1]
        assert "does it want TLS?" in redis_line(ask(child_lab, "--redis", f"redis://127.0.0.1:{sealed}"))[1]
        told = redis_line(ask(child_lab, "--redis", f"rediss://localhost:{sealed}"))[1]
        assert "certificate cannot be verified" in told


# -- the backends ------------------------------------------------------------------------------------------------------


def test_every_kind_of_backend_is_asked_in_its_own_way(child_lab: Lab, ask: Ask) -> None:
    """Ollama by its tags, llama.cpp and vLLM by OpenAI's list, each once for all its models."""
    with (
        server(ollama("llama3:latest", "qwen3:8b")) as local,
        server(llama_cpp("gemma")) as cpp,
        server(vllm("org/big", "lora")) as big,
    ):
        write_catalogue(
            child_lab,
            model("a", "ollama/llama3", local.url),
            model("b", "ollama_chat/qwen3:8b", local.url + "/"),
            model("c", "openai/gemma", cpp.url + "/v1"),
            model("d", "hosted_vllm/org/big", big.url + "/v1"),
            model("e", "hosted_vllm/lora", big.url + "/v1"),
            model("f", "openai/*", big.url + "/v1"),
            model("g", "anthropic/claude", key=secrets.token_urlsafe(16)),
        )
        found = ask(child_lab, "--backends")
        assert ill(found) == []
        assert [name for name, _ in states(found)] == [
            *(name for name, _ in DOOR),
            *("litellm-unified.yaml", "ollama", "openai", "hosted_vllm", "anthropic"),
        ]
        assert states(found)[-1] == ("anthropic", "skipped")
        assert [path for path, _ in local.asked] == ["/api/tags"]
        assert [path for path, _ in cpp.asked] == ["/v1/models", "/health"]
        assert [path for path, _ in big.asked] == ["/v1/models", "/health"]


def test_a_model_that_is_not_there_is_ill(child_lab: Lab, ask: Ask) -> None:
    """Its own line, with the command that fetches it to that Ollama; a tag that is another one is not there."""
    with server(ollama("llama3:8b")) as local, server(vllm("other")) as big:
        write_catalogue(
            child_lab,
            model("a", "ollama/llama3", local.url),
            model("b", "ollama/llama3:8b", local.url),
            model("c", "hosted_vllm/mine", big.url + "/v1"),
        )
        found = [line for line in ask(child_lab, "--backends") if line["state"] == "ill"]
    assert [(line["name"], line["said"]) for line in found] == [
        ("a", f"llama3 is not at {local.url}"),
        ("c", f"mine is not at {big.url}/v1"),
    ]
    assert found[0]["mend"] == f"OLLAMA_HOST={local.url} ollama pull llama3"


def test_a_llama_cpp_that_loads_is_ill(child_lab: Lab, ask: Ask) -> None:
    """Its list is there already, its model is not."""
    with server(llama_cpp("gemma", is_ready=False)) as cpp:
        write_catalogue(child_lab, model("a", "openai/gemma", cpp.url + "/v1"))
        assert "still loading" in ill(ask(child_lab, "--backends"))[0]


def test_a_llama_cpp_under_another_name_is_no_fault(child_lab: Lab, ask: Ask) -> None:
    """It answers to any name, so the name cannot tell."""
    with server(llama_cpp("models/gemma.gguf")) as cpp:
        write_catalogue(child_lab, model("a", "openai/gemma", cpp.url + "/v1"))
        assert states(ask(child_lab, "--backends"))[-1] == ("openai", "unknown")


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, {}, "wants a key (401)"),
        (404, {}, "has no list of models there (404)"),
        (302, {}, "answers with a redirect (302)"),
        (503, {}, "may still be loading"),
        (200, b"<html>", "not with a list of models"),
        (200, [1, 2], "0 of 1 models there"),
        (200, {"data": None}, "not with a list of models"),
        (200, b"[" * 100_000, "not with a list of models"),
    ],
)
def test_an_answer_that_is_no_list_is_told(child_lab: Lab, ask: Ask, status: int, body: object, told: str) -> None:
    """In our words, and nothing follows a redirect."""
    with server({"/models": lambda _: (status, body)}) as strange:
        write_catalogue(child_lab, model("a", "openai/x", strange.url))
        found = ask(child_lab, "--backends")
        assert any(told in line["said"] for line in found)
        assert ill(found)


def test_a_backend_that_is_away_is_asked_once(child_lab: Lab, ask: Ask) -> None:
    """One line, however many models it serves."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        write_catalogue(child_lab, *(model(f"m{at}", f"ollama/m{at}", base) for at in range(9)))
        found = ill(ask(child_lab, "--backends"))
    assert found == [f"{base}: no answer (connection refused); wanted for m0, m1, m2, m3 and 5 more"]


def test_a_key_goes_to_its_backend_only(child_lab: Lab, ask: Ask) -> None:
    """A literal, one from the encrypted file, one from our environment; each to its own, none in any output."""
    literal, kept, ours = (f"sk-marker-{secrets.token_urlsafe(16)}" for _ in range(3))
    set_secret(child_lab, "KEPT_KEY", kept)
    with (
        server(vllm("m", key=literal)) as one,
        server(vllm("m", key=kept)) as two,
        server(vllm("m", key=ours)) as three,
        server(vllm("m")) as four,
    ):
        write_catalogue(
            child_lab,
            model("a", "openai/m", one.url + "/v1", literal),
            model("b", "openai/m", two.url + "/v1", "os.environ/KEPT_KEY"),
            model("c", "hosted_vllm/m", three.url + "/v1", "os.environ/OUR_KEY"),
            model("d", "openai/m", four.url + "/v1"),
        )
        env = {"OUR_KEY": ours, "KEPT_KEY": "of the environment", "OPENAI_API_KEY": ours}
        found = ask(child_lab, "--backends", env=env)
        assert ill(found) == []
        for each, key in ((one, literal), (two, kept), (three, ours)):
            assert {given for path, given in each.asked if path == "/v1/models"} == {f"Bearer {key}"}
        assert {given for each in (one, two, three) for path, given in each.asked if path == "/health"} == {None}
        assert {given for _, given in four.asked} == {None}
        assert not any(key in json.dumps(found) for key in (literal, kept, ours))


def test_a_key_of_the_running_unit_is_found(lab: Lab, ask: Ask) -> None:
    """What the gateway was started with counts before what we have."""
    with server(ollama("m")) as local:
        write_catalogue(lab, model("a", "ollama/m", local.url, "os.environ/LITELLM_MODE"))
        assert ill(ask(lab, "--backends", env={"LITELLM_MODE": "ours"})) == []
        assert local.asked == [("/api/tags", "Bearer PRODUCTION")]


def test_a_wrong_key_is_ill_and_its_variable_named(child_lab: Lab, ask: Ask) -> None:
    """Not its value."""
    marker = f"sk-marker-{secrets.token_urlsafe(16)}"
    with server(vllm("m", key="another")) as big:
        write_catalogue(child_lab, model("a", "openai/m", big.url + "/v1", "os.environ/MY_KEY"))
        found = ask(child_lab, "--backends", env={"MY_KEY": marker})
    assert ill(found) == [f"{big.url}/v1: refuses the key in MY_KEY (401); wanted for a"]
    assert marker not in json.dumps(found)


def test_a_variable_that_nobody_sets_is_named(child_lab: Lab, ask: Ask) -> None:
    """A key, an address, a provider's own: named, and nobody is asked."""
    with server(vllm("m")) as big:
        write_catalogue(
            child_lab,
            model("a", "openai/m", big.url + "/v1", "os.environ/NO_SUCH_KEY"),
            model("b", "ollama/m", "os.environ/NO_SUCH_BASE"),
            model("c", "openai/gpt-5"),
            model("d", "ollama/m", "https://ollama.com"),
            model("e", "hosted_vllm/m"),
        )
        found = ill(ask(child_lab, "--backends"))
        assert big.asked == []
    wanted = ("NO_SUCH_KEY", "NO_SUCH_BASE", "OPENAI_API_KEY", "OLLAMA_API_KEY", "api_base")
    assert len(found) == len(wanted)
    assert all(f"{name} is set nowhere" in said for name, said in zip(wanted, found, strict=True))


def test_an_address_from_a_variable_is_not_shown(child_lab: Lab, ask: Ask) -> None:
    """Nor are a user and a password in one that stands there."""
    marker = secrets.token_urlsafe(16)
    with server(ollama("m")) as local:
        set_secret(child_lab, "OLLAMA_BASE", local.url)
        with_password = local.url.replace("//", f"//somebody:{marker}@")
        write_catalogue(
            child_lab, model("a", "ollama/m", "os.environ/OLLAMA_BASE"), model("b", "ollama/x", with_password)
        )
        found = ask(child_lab, "--backends")
    assert marker not in json.dumps(found)
    assert any(line["said"].startswith("os.environ/OLLAMA_BASE: answers") for line in found)
    assert sum(str(local.port) in line["said"] for line in found) == 2


def test_the_master_key_is_handed_to_no_backend(child_lab: Lab, ask: Ask) -> None:
    """By its variable, or as a literal."""
    with server(vllm("m")) as big:
        write_catalogue(
            child_lab,
            model("a", "openai/m", big.url + "/v1", "os.environ/LITELLM_MASTER_KEY"),
            model("b", "openai/m", big.url + "/v1", child_lab.current_key()),
        )
        found = ill(ask(child_lab, "--backends"))
        assert big.asked == []
    assert len(found) == 2
    assert all("master key" in said for said in found)


def test_a_key_is_not_sent_in_clear_to_a_public_address(child_lab: Lab, ask: Ask) -> None:
    """Plain http to the world: ill, and not sent. (The address is one that nobody routes any more.)"""
    write_catalogue(child_lab, model("a", "openai/m", "http://192.88.99.1/v1", secrets.token_urlsafe(16)))
    assert "its key was not sent" in ill(ask(child_lab, "--backends", "--within", "60s"))[0]


def test_the_applied_profile_beside_it_is_asked_too(child_lab: Lab, ask: Ask) -> None:
    """And a backend that both name is asked once; --catalogue names one file and nothing beside it."""
    with server(ollama("m", "n")) as local:
        write_catalogue(child_lab, model("a", "ollama/m", local.url))
        profile = child_lab.config.with_name("litellm-hybrid.yaml.applied")
        profile.write_text(f"model_list:\n  - {model('b', 'ollama/n', local.url)}\n")
        found = ask(child_lab, "--backends")
        assert [name for name, _ in states(found)[3:]] == [child_lab.config.name, profile.name, "ollama"]
        assert len(local.asked) == 1
        assert "2 of 2 models" in found[-1]["said"]
        alone = ask(child_lab, "--catalogue", str(profile.relative_to(child_lab.project)))
        assert [name for name, _ in states(alone)[3:]] == [profile.name, "ollama"]


def test_included_files_are_taken_in(child_lab: Lab, ask: Ask) -> None:
    """Also one that includes back; one that is missing is ill."""
    with server(ollama("m")) as local:
        more = child_lab.config.with_name("more.yaml")
        more.write_text(f"include: [{child_lab.config.name}]\nmodel_list:\n  - {model('a', 'ollama/m', local.url)}\n")
        write_catalogue(child_lab, more="include: [more.yaml]\n")
        assert "1 of 1 models" in ask(child_lab, "--backends")[-1]["said"]
    more.unlink()
    assert "more.yaml" in ill(ask(child_lab, "--backends"))[0]


def test_a_fallback_to_nobody_and_a_loop_are_ill(child_lab: Lab, ask: Ask) -> None:
    """One line for each."""
    write_catalogue(
        child_lab,
        model("a", "anthropic/a"),
        model("b", "anthropic/b"),
        more="router_settings:\n  fallbacks: [{a: [b]}, {b: [a, nobody]}]\n",
    )
    assert ill(ask(child_lab, "--backends")) == [
        "fallbacks: b falls back to nobody, which is not in model_list",
        "fallbacks: a → b → a is a loop",
    ]


@pytest.mark.parametrize("text", ["model_list: [\n", "a: *nobody\n", ""])
def test_a_catalogue_that_cannot_be_read_is_ill(child_lab: Lab, ask: Ask, text: str) -> None:
    """Or absent; the door is asked all the same."""
    path = child_lab.project / "other.yaml"
    if text:
        path.write_text(text)
    found = ask(child_lab, "--catalogue", str(path))
    assert states(found) == [*DOOR, ("catalogue", "ill")]


# -- time --------------------------------------------------------------------------------------------------------------


def test_what_does_not_answer_is_cut_at_the_deadline(child_lab: Lab, ask: Ask) -> None:
    """One that hangs, headers and bodies that trickle, a body without an end; those beside them are well."""
    with ExitStack() as stack:
        ports = [stack.enter_context(raw(say)) for say in (hang, trickle_head, trickle_body)]
        flooding = stack.enter_context(raw(flood))
        local = stack.enter_context(server(ollama("m")))
        write_catalogue(
            child_lab,
            *(model(f"m{port}", "ollama/m", f"http://127.0.0.1:{port}") for port in (*ports, flooding)),
            model("well", "ollama/m", local.url),
        )
        found = ask(child_lab, "--backends", "--within", "30s", "--redis", f"redis://127.0.0.1:{ports[0]}")
    told = {line["said"].partition(": ")[0]: line for line in found if line["name"] == "ollama"}
    for port in ports:
        assert "no answer within" in told[f"http://127.0.0.1:{port}"]["said"]
    assert "not with a list" in told[f"http://127.0.0.1:{flooding}"]["said"]
    assert told[local.url]["state"] == "well"
    assert redis_line(found)[1].startswith(f"redis://127.0.0.1:{ports[0]}: no answer within")


def test_two_hundred_backends_are_asked_a_few_at_a_time(child_lab: Lab, ask: Ask) -> None:
    """All answer within the deadline, never more than 16 at once, and many at once."""
    routes = {f"/{at}/api/tags": ollama("m")["/api/tags"] for at in range(200)}
    with server(routes, pause=0.02) as local:
        write_catalogue(child_lab, *(model(f"m{at}", "ollama/m", f"{local.url}/{at}") for at in range(200)))
        found = ask(child_lab, "--backends", "--within", "300s")
        assert ill(found) == []
        assert len([line for line in found if line["name"] == "ollama"]) == 200
        assert 4 <= local.most <= 16


def test_those_that_hang_do_not_use_up_the_time_of_the_others(child_lab: Lab, ask: Ask) -> None:
    """Forty that say nothing stand before one that is well."""
    with raw(hang) as port, server(ollama("m")) as local:
        hanging = (model(f"m{at}", "ollama/m", f"http://127.0.0.1:{port}/{at}") for at in range(40))
        write_catalogue(child_lab, *hanging, model("well", "ollama/m", local.url))
        found = ask(child_lab, "--backends", "--within", "30s")
    assert len(ill(found)) == 40
    assert found[-1]["state"] == "well"


def test_a_terminal_is_told_how_far_it_is(child_lab: Lab, start_keyrotor: StartKeyrotor) -> None:
    """On standard error, on one line, which is gone in the end; with --json there is none."""
    for arguments, is_told in (((), True), (("--json",), False)):
        ours, theirs = pty.openpty()
        process = start_keyrotor(child_lab, "healthcheck", *arguments, stderr=theirs)
        os.close(theirs)
        out, _ = process.communicate(timeout=300)
        shown = b""
        with suppress(OSError):  # EIO: nothing more, and nobody there
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        assert bool(shown) is is_told
        assert process.returncode == 0
        assert "have answered" not in out
        assert (b"\r0 of 1 have answered" in shown) is is_told
        assert shown.endswith(b"\r\x1b[K") is is_told


def test_a_signal_ends_the_wait(child_lab: Lab, start_keyrotor: StartKeyrotor) -> None:
    """Ctrl-C while somebody hangs: at once, and in one line."""
    with server(ollama("m"), pause=600) as slow:
        write_catalogue(child_lab, model("a", "ollama/m", slow.url))
        process = start_keyrotor(child_lab, "healthcheck", "--backends", "--within", "10m")
        while not slow.asked:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "interrupted by SIGINT" in err
    assert "Traceback" not in err


# -- what a review found -----------------------------------------------------------------------------------------------


def test_the_master_key_goes_to_no_backend_though_nothing_can_be_decrypted(lab: Lab, ask: Ask) -> None:
    """By name, by another variable, as a literal, in an address: the gateway's own environment tells which it is."""
    key = lab.current_key()
    with server(vllm("m")) as big:
        base = big.url + "/v1"
        write_catalogue(
            lab,
            model("a", "openai/m", base, "os.environ/LITELLM_MASTER_KEY"),
            model("b", "openai/m", base, "os.environ/LITELLM_SALT_KEY"),
            model("c", "openai/m", base, "os.environ/COPIED"),
            model("d", "openai/m", base, key),
            model("e", "openai/m", base.replace("//", f"//somebody:{key}@")),
            model("f", "os.environ/LITELLM_MASTER_KEY", base),
            model("g", "openai/m", "os.environ/LITELLM_MASTER_KEY"),
        )
        found = ask(
            lab,
            "--backends",
            env={"SOPS_AGE_KEY_FILE": "/nowhere", "XDG_CONFIG_HOME": "/nowhere", "COPIED": key},
        )
        assert big.asked == []
    assert sum("the gateway's own master key" in said for said in ill(found)) == 7


def test_no_key_is_sent_where_the_master_key_is_not_known(child_lab: Lab, ask: Ask) -> None:
    """Nothing decrypted, no unit: a literal could be the master key. What needs no key is asked."""
    with server(vllm("m")) as one, server(vllm("m")) as two:
        write_catalogue(
            child_lab,
            model("a", "openai/m", one.url + "/v1", child_lab.current_key()),
            model("b", "openai/m", two.url + "/v1"),
        )
        env = {"SOPS_AGE_KEY_FILE": "/nowhere", "XDG_CONFIG_HOME": "/nowhere"}
        found = ask(child_lab, "--backends", env=env)
        assert one.asked == []
        assert {given for _, given in two.asked} == {None}
    assert [line["state"] for line in found if line["name"] == "openai"] == ["skipped", "well"]


@pytest.mark.parametrize("status", [302, 404, 503, 500])
def test_a_door_that_does_not_refuse_a_bogus_key_is_shown_none(child_lab: Lab, ask: Ask, status: int) -> None:
    """Whoever it is, it is no gateway that is well."""
    with server({"/v1/models": lambda _: (status, {})}) as strange:
        edit(child_lab.playbook, child_lab.url, strange.url)
        found = ask(child_lab)
        assert len(strange.asked) == 2
        assert not any(child_lab.current_key() in str(given) for _, given in strange.asked)
    assert states(found)[-1] == ("litellm, present key", "skipped")


def test_an_audit_shows_such_a_door_no_key_either(child_lab: Lab, keyrotor: Keyrotor) -> None:
    """It is silent, for all that can be told."""
    with server({"/v1/models": lambda _: (404, {})}) as strange:
        edit(child_lab.playbook, child_lab.url, strange.url)
        assert "gateway-silent" in keyrotor(child_lab, "audit", "--json").stdout
        assert not any(child_lab.current_key() in str(given) for _, given in strange.asked)


def test_one_gateways_variables_are_nothing_to_another_ones_backends(child_lab: Lab, ask: Ask) -> None:
    """Each catalogue sets a key of the same name for its own."""
    one_key, two_key = (f"sk-marker-{secrets.token_urlsafe(16)}" for _ in range(2))
    other = child_lab.config.with_name("other.yaml")
    with server(vllm("m")) as one, server(vllm("m")) as two:
        for path, big, key in ((child_lab.config, one, one_key), (other, two, two_key)):
            entry = model("a", "openai/m", big.url + "/v1", "os.environ/SHARED")
            path.write_text(f"environment_variables: {{SHARED: {key}}}\nmodel_list:\n  - {entry}\n")
        place = f'kind = "litellm"\nid = "second"\nurl = "{child_lab.url}"\nconfig = "{other}"'
        add_place(child_lab, place)
        ask(child_lab, "--backends", markers=(one_key, two_key))
        for big, key in ((one, one_key), (two, two_key)):
            assert {given for path, given in big.asked if path == "/v1/models"} == {f"Bearer {key}"}


def test_ollamas_key_goes_to_no_address_that_only_looks_like_its_own(child_lab: Lab, ask: Ask) -> None:
    """`?@ollama.com` and `#@ollama.com` behind another host; no scheme, which LiteLLM cannot reach."""
    marker = secrets.token_urlsafe(24)
    with server(ollama("m")) as local:
        bases = [f"{local.url}?@ollama.com", f"{local.url}#@ollama.com", local.url.removeprefix("http://")]
        write_catalogue(child_lab, *(model(f"m{at}", "ollama/m", base) for at, base in enumerate(bases)))
        found = ask(child_lab, "--backends", env={"OLLAMA_API_KEY": marker}, markers=(marker,))
        assert local.asked == []
    assert sum("its address cannot be used" in said for said in ill(found)) == 3
    assert "://…" not in json.dumps(found)


def test_a_user_and_a_password_in_an_address_are_a_key(child_lab: Lab, ask: Ask) -> None:
    """Sent where there is no other, not in clear to the world, and never shown."""
    marker, key = secrets.token_urlsafe(24), f"sk-marker-{secrets.token_urlsafe(16)}"
    with server(ollama("m")) as local, server(vllm("m")) as big:
        write_catalogue(
            child_lab,
            model("a", "ollama/m", local.url.replace("//", f"//bob:{marker}@")),
            model("b", "openai/m", big.url.replace("//", f"//bob:{marker}@") + "/v1", key),
            model("c", "ollama/m", f"http://bob:{marker}@192.88.99.1"),
        )
        found = ask(child_lab, "--backends", "--within", "60s", markers=(marker, key))
        basic = "Basic " + base64.b64encode(f"bob:{marker}".encode()).decode()
        assert local.asked == [("/api/tags", basic)]
        assert big.asked[0] == ("/v1/models", f"Bearer {key}")
    [said] = [said for said in ill(found) if "192.88.99.1" in said]
    assert "its key was not sent" in said


@pytest.mark.parametrize(
    "wrong",
    [
        ("--redis", ""),
        ("--redis", " "),
        ("--redis", "redis://127.0.0.1", "--redis-password", ""),
        ("--redis", "redis://127.0.0.1", "--redis-password", "LITELLM_MASTER_KEY"),
        ("--redis", "redis://127.0.0.1", "--redis-password", "LITELLM_SALT_KEY"),
    ],
)
def test_a_redis_of_nothing_and_the_gateways_own_key_are_a_mistake(
    child_lab: Lab, keyrotor: Keyrotor, wrong: tuple[str, ...]
) -> None:
    """A variable that is not set must not make all well; 2, before anything is asked."""
    assert keyrotor(child_lab, "healthcheck", *wrong).returncode == 2


@pytest.mark.parametrize("text", ["model_list: foo\n", "model_list: {}\n", "- a\n", "\n", "text\n", "model_list: []\n"])
def test_a_catalogue_that_offers_nothing_is_never_well(child_lab: Lab, ask: Ask, text: str) -> None:
    """LiteLLM does not start with it, or serves nobody."""
    child_lab.config.write_text(text)
    [line] = [line for line in ask(child_lab, "--backends") if not line["name"].startswith("litellm,")]
    assert line["state"] == "ill"


def test_a_profile_that_leads_nowhere_is_ill(child_lab: Lab, ask: Ask) -> None:
    """It is in force, and nobody can read it."""
    child_lab.config.with_name("litellm-hybrid.yaml.applied").symlink_to("nowhere.yaml")
    assert any("litellm-hybrid.yaml.applied" in said for said in ill(ask(child_lab, "--backends")))


def test_a_sops_that_hangs_leaves_time_for_the_rest(child_lab: Lab, ask: Ask, tmp_path: Path) -> None:
    """It is cut within --within, and what needs no value is asked. (A stand-in: no real sops hangs on demand.)"""
    slow = tmp_path / "sops"
    slow.write_text(f'#!/bin/sh\n[ "$1" = decrypt ] && exec sleep 600\nexec {child_lab.sops} "$@"\n')
    slow.chmod(0o755)
    found = ask(child_lab, "--within", "20s", env={"KEYROTOR_SOPS": str(slow)})
    assert float(found[0]["said"].partition("not done after ")[2].removesuffix(" s")) <= 10  # what it had, not took
    assert states(found) == [("global.enc.env", "ill"), *DOOR[:2], ("litellm, present key", "skipped")]


def test_certificates_that_litellm_trusts_are_trusted(child_lab: Lab, ask: Ask, tmp_path: Path) -> None:
    """Those in SSL_CERT_FILE, for backends; without it, and with a file of none, it is ill."""
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    make += " -addext subjectAltName=DNS:localhost"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with stub(lambda _: (200, b'{"data": [{"id": "m"}]}'), context) as door:
        base = door.url.replace("http://127.0.0.1", "https://localhost") + "/v1"
        write_catalogue(child_lab, model("a", "openai/m", base, secrets.token_urlsafe(16)))
        assert states(ask(child_lab, "--backends", env={"SSL_CERT_FILE": str(tmp_path / "cert.pem")}))[-1][1] == "well"
        assert "certificate cannot be verified" in ill(ask(child_lab, "--backends"))[0]
        of_none = ask(child_lab, "--backends", env={"SSL_CERT_FILE": str(tmp_path / "key.pem")})
        assert "no certificates can be read" in ill(of_none)[0]


def test_a_command_can_be_copied_and_a_name_says_nothing_to_the_terminal(
    child_lab: Lab, ask: Ask, keyrotor: Keyrotor
) -> None:
    """Quoted, for the server that it is about; without escape sequences."""
    with server(ollama("m")) as local:
        write_catalogue(
            child_lab,
            model("a\x1b[2J\u202e", "ollama/x; touch /tmp/PWN", local.url),
            model("b", "ollama/$(id)", "os.environ/BASE"),
        )
        env = {"BASE": local.url}
        mends = [line["mend"] for line in ask(child_lab, "--backends", env=env) if line["state"] == "ill"]
        shown = keyrotor(child_lab, "healthcheck", "--backends", env=env).stdout
    assert mends == [
        f"OLLAMA_HOST={local.url} ollama pull 'x; touch /tmp/PWN'",
        "OLLAMA_HOST=… ollama pull '$(id)'  (… is what BASE holds)",
    ]
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_model_from_a_variable_is_asked_for(child_lab: Lab, ask: Ask) -> None:
    """As LiteLLM does; the variable is named in its stead."""
    name = f"m-{secrets.token_hex(8)}"
    with server(ollama(name)) as local:
        write_catalogue(
            child_lab,
            model("a", "os.environ/MODEL", local.url),
            model("b", "os.environ/OTHER", local.url),
            model("c", "os.environ/NO_SUCH", local.url),
        )
        found = ask(child_lab, "--backends", env={"MODEL": f"ollama/{name}", "OTHER": f"ollama/{name}-other"})
    assert name not in json.dumps(found)
    assert ill(found) == ["NO_SUCH is set nowhere", f"os.environ/OTHER is not at {local.url}"]


def test_a_stranger_at_another_address_of_this_machine_is_shown_no_key(lab: Lab, ask: Ask) -> None:
    """The unit is up, and somebody else answers at 127.0.0.2: all of 127/8 is here."""
    with socket.create_server(("127.0.0.2", 0)) as thief:
        thief.setblocking(False)
        edit(lab.playbook, lab.url, f"http://127.0.0.2:{thief.getsockname()[1]}")
        found = ask(lab, "--within", "60s")
        with pytest.raises(BlockingIOError):
            thief.accept()
    assert states(found) == [("litellm", "ill")]
    assert "not by" in found[0]["said"]
