"""The report's page in a real browser: shown whole, asking nobody for anything; on a phone, by night, on paper.

The browser calls home by itself; what it says goes to a port of ours, where it is heard and left without an answer.

`KEYROTOR_SCREENSHOT=write` makes docs/images/incident-report.png again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

import pytest
from on_lab import Keyrotor, MakeLab, missing, spellings

import incident_record as record
from keyrotor import inquest
from keyrotor.boundary.signals import Signals
from keyrotor.core import machine
from keyrotor.core.incident_events import Did
from keyrotor.core.inquest import Inquest
from keyrotor.core.model import Outcome, Value
from keyrotor.journal import Journal
from keyrotor.secret import Secret
from keyrotor.world import RealWorld

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "incident-report.png"
WITHIN = 300.0  # seconds for a start and a page; it takes two
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--mute-audio"),
    *("--disable-extensions", "--hide-scrollbars", "--disable-breakpad", "--no-default-browser-check"),
)
NOWHERE = ("--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=<-loopback>")  # the discard port, where nobody is
OWN = (".google.com", ".googleapis.com")  # whom Chromium asks by itself, whatever it is told
NIGHT = ("--blink-settings=preferredColorScheme=0",)

# What a page is like in a frame of this width: measured from outside, for in the page itself nothing may run.
HARNESS = """<!doctype html><meta charset="utf-8"><body>
<iframe style="width:{width}px;height:800px;border:0" srcdoc="{page}"></iframe>
<script>
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => {{
  const [r, g, b] = numbers(colour).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}};
const ground = (view, node) => {{
  for (; node; node = node.parentElement) {{
    const colour = view.getComputedStyle(node).backgroundColor;
    if ((numbers(colour)[3] ?? 1) > 0) return colour;
  }}
  return "rgb(255, 255, 255)";
}};
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {{
  const view = frame.contentWindow, inner = frame.contentDocument, root = inner.documentElement;
  const contrasts = [...inner.body.querySelectorAll("*")]
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .map((node) => {{
      const both = [light(view.getComputedStyle(node).color), light(ground(view, node))].sort((a, b) => b - a);
      return (both[0] + 0.05) / (both[1] + 0.05);
    }});
  const boxes = [...inner.querySelectorAll(".wide")];
  const found = {{
    inner: view.innerWidth,
    width: Math.max(root.scrollWidth, inner.body.scrollWidth),
    scrolling: boxes.filter((box) => box.scrollWidth > box.clientWidth).length,
    narrow: boxes.filter((box) => box.scrollWidth <= box.clientWidth).length,
    ground: view.getComputedStyle(inner.body).backgroundColor,
    texts: contrasts.length,
    contrast: Math.min(...contrasts),
  }};
  document.body.innerHTML = '<pre id="told"></pre>';
  document.querySelector("#told").textContent = JSON.stringify(found);
}});
</script>"""


@dataclass(frozen=True)
class Seen:
    """What a browser that has ended leaves."""

    out: str
    said: str  # on stderr

    @property
    def console(self) -> list[str]:
        return [line for line in self.said.splitlines() if ":CONSOLE" in line]


Browser = Callable[..., Seen]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Opens a page in a Chromium of its own: no home, no profile, no session but a private one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        missing("no chromium")
    count = iter(range(1000))

    def show(page: Path, *options: str) -> Seen:
        home = tmp_path_factory.mktemp(f"browser{next(count)}")
        env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": os.environ["PATH"], "TZ": "UTC"}
        argv = [str(program), *QUIET, *NOWHERE, f"--user-data-dir={home}/profile", "--enable-logging=stderr", *options]
        process = subprocess.Popen(
            [*argv, page.as_uri()],
            env=env,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, said = process.communicate(timeout=WITHIN)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        assert process.returncode == 0, said
        return Seen(out, said)

    return show


def world(folder: Path, env: dict[str, str] | None = None) -> RealWorld:
    own = {"HOME": str(folder), "KEYROTOR_STATE_DIR": str(folder / "state"), "PATH": os.environ["PATH"]}
    return RealWorld(env or own, folder, None, Signals())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the made-up incident."""
    folder = tmp_path_factory.mktemp("report")
    record.write(folder / "state")
    return written(folder, inquest.report(world(folder), None))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of which every text is somebody's attempt at something."""
    folder = tmp_path_factory.mktemp("hostile")
    attack = "<script>document.title='owned'</script><img src=http://127.0.0.1:9/x><style>*{display:none}</style>"
    attack += "\"'>" + "w" * 900
    steps = [(at, replace(e, said=attack) if isinstance(e, Did) else e) for at, e in record.STEPS]
    record.write(folder / "state", steps, reason=attack, by=attack)
    return written(folder, inquest.report(world(folder), None))


def written(folder: Path, found: Inquest) -> Path:
    path = folder / "report.html"
    path.write_text(inquest.rendered(found, "html"))
    return path


def measured(browser: Browser, page: Path, width: int, *options: str) -> dict[str, Any]:
    """What the page is like in a frame of this width."""
    harness = page.with_name("harness.html")
    harness.write_text(HARNESS.format(width=width, page=escape(page.read_text())))
    found = re.search(r'<pre id="told">(.*?)</pre>', browser(harness, "--dump-dom", *options).out)
    assert found
    return dict(json.loads(found[1]))


# -- shown whole, and by itself


class Proxy:
    """What every request would go through: it hears whom it is for, and hangs up."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def options(self) -> tuple[str, ...]:
        return (f"--proxy-server=http://127.0.0.1:{self._listener.getsockname()[1]}", "--proxy-bypass-list=<-loopback>")

    def _accept(self) -> None:
        while True:
            try:
                caller = self._listener.accept()[0]
            except TimeoutError:
                if self._is_over.is_set():  # and nobody waits any more
                    return
                continue
            self._threads.append(threading.Thread(target=self._hang_up, args=(caller,)))
            self._threads[-1].start()

    def _hang_up(self, caller: socket.socket) -> None:
        # Chromium opens connections in advance, which it closes, or resets, without a word: they ask for nobody.
        with suppress(OSError, IndexError), caller:
            caller.settimeout(WITHIN)
            self.heard.append(urlsplit(f"//{caller.recv(200).split()[1].decode().rpartition('://')[2]}").hostname or "")

    def asked(self) -> list[str]:
        """The hosts that a browser, which has ended, has asked for, but for the browser's own."""
        self.end()
        return [host for host in self.heard if not host.endswith(OWN)]

    def end(self) -> None:
        """All that have come are heard to their end."""
        self._is_over.set()
        for thread in self._threads:  # the first one adds to them until it ends
            thread.join()
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.end()


@pytest.mark.parametrize("name", ["page", "hostile"])
def test_the_page_is_shown_without_a_request_and_without_an_error(
    browser: Browser, proxy: Proxy, name: str, request: pytest.FixtureRequest
) -> None:
    """Its headings are there, the console is silent, and whatever a browser asks for, it asks nobody for this page."""
    file: Path = request.getfixturevalue(name)
    log = file.with_name("net.json")
    seen = browser(file, "--dump-dom", f"--log-net-log={log}", *proxy.options)
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", seen.out)
    assert titles[0] == "What happened"
    assert titles[-2:] == ["What people must still do", "Evidence and record"]
    assert "<title>Incident inc-4c81d2: The old key is dead</title>" in seen.out
    assert seen.console == []
    assert proxy.asked() == []
    assert requested(log) <= {file.as_uri()}


def requested(log: Path) -> set[str]:
    """The addresses of a net log's requests."""
    found = json.loads(log.read_text())
    starts = {found["constants"]["logEventTypes"][name] for name in ("URL_REQUEST_START_JOB", "CORS_REQUEST")}
    events = [event for event in found["events"] if event["type"] in starts]
    urls = {event["params"]["url"] for event in events if "url" in event.get("params", {})}
    return {url for url in urls if not (urlsplit(url).hostname or "").endswith(OWN)}


def test_a_page_that_asked_for_something_would_be_seen(browser: Browser, proxy: Proxy, tmp_path: Path) -> None:
    """The same look at a page with a picture from elsewhere and a script that fails: the looks above can see."""
    page = tmp_path / "control.html"
    page.write_text("<title>x</title><img src='http://example.invalid/x.png'><script>throw new Error('x')</script>")
    seen = browser(page, "--dump-dom", f"--log-net-log={tmp_path}/net.json", *proxy.options)
    assert seen.console
    assert "example.invalid" in proxy.asked()
    assert "http://example.invalid/x.png" in requested(tmp_path / "net.json")


# -- a phone, the night, paper


@pytest.mark.parametrize("name", ["page", "hostile"])
def test_the_page_fits_a_phone(browser: Browser, name: str, request: pytest.FixtureRequest) -> None:
    """360 pixels: the page itself does not scroll sideways; tables that are wider do, each in its own box."""
    found = measured(browser, request.getfixturevalue(name), 360)
    assert found["inner"] == 360
    assert found["width"] <= 360
    assert found["scrolling"] > 0
    assert found["narrow"] > 0


@pytest.mark.parametrize(("options", "ground"), [((), "rgb(255, 255, 255)"), (NIGHT, "rgb(20, 23, 27)")])
def test_every_text_can_be_read_by_day_and_by_night(
    browser: Browser, page: Path, options: tuple[str, ...], ground: str
) -> None:
    """At least 4.5 to 1 between each text and what is behind it, in both schemes."""
    found = measured(browser, page, 1000, *options)
    assert found["ground"] == ground
    assert found["texts"] > 200
    assert found["contrast"] >= 4.5


def test_the_page_can_be_printed(browser: Browser, page: Path) -> None:
    """Some pages of PDF, black on white also where the screen is dark."""
    pdf = page.with_name("report.pdf")
    browser(page, f"--print-to-pdf={pdf}", "--no-pdf-header-footer", *NIGHT)
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF-")
    assert 3 <= len(re.findall(rb"/Type /Page\b", data)) <= 12


def test_the_page_can_be_photographed(browser: Browser, page: Path, tmp_path: Path) -> None:
    """The picture in the docs is of this page; it is made again if asked for."""
    picture = tmp_path / "picture.png"
    browser(page, f"--screenshot={picture}", "--window-size=1000,1240")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
    if os.environ.get("KEYROTOR_SCREENSHOT") == "write":
        PICTURE.parent.mkdir(exist_ok=True)
        shutil.copyfile(picture, PICTURE)


# -- no byte of either key


def test_a_report_shows_neither_key_though_people_have_typed_both(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """As a reason, and in what a step has said. The old one is forgotten, as is the one before it: both are still told
    by their fingerprints."""
    lab = make_lab(unit=False, start=False)
    there = world(lab.project, lab.environment())
    new, old, older = lab.current_key(), f"sk-an-old-key-{token_urlsafe(12)}", f"sk-older-{token_urlsafe(12)}"
    there.make_folder(there.state)
    name, fingerprint = there.fingerprinter()
    kept = record.PLAN.source
    source = replace(kept, file=str(lab.secret_file), identity=str(lab.identity), project=str(lab.project))
    marks = {Value.OLD: fingerprint(Secret(old.encode())), Value.NEW: fingerprint(Secret(new.encode()))}
    plan = replace(record.PLAN, source=source, fingerprints=marks, fingerprint_key=name)
    marks = {Value.OLD: fingerprint(Secret(older.encode())), Value.NEW: marks[Value.OLD]}
    before = replace(plan, run="0a0a0a", incident="", fingerprints=marks)
    run = [(at, machine.Opened(plan) if isinstance(e, machine.Opened) else e) for at, e in record.RUN_EVENTS]
    typed = f"OPENAI_API_KEY={old} and {new} and {new[4:16]} in it"
    keys = (older, old, new)
    forms = [form for key in keys for form in (b64encode(key.encode()).decode(), key.encode().hex(), key[3:])]
    typed += f"; {' or '.join(forms)}; of the desk-lamp"
    steps = [(at, replace(e, said=typed) if isinstance(e, Did) else e) for at, e in record.STEPS]
    with Journal.open(there.state) as journal:
        journal.append(before.run, machine.Opened(before), record.EXPOSED)
        journal.append(before.run, machine.Closed(Outcome.STUCK), record.EXPOSED)
    record.write(there.state, steps, run, reason=typed, by=typed)
    for form in inquest.FORMATS:
        done = keyrotor(lab, "incident", "report", "--out", f"r.{form}")
        assert (done.returncode, done.stderr) == (0, "")
        shown = (lab.project / f"r.{form}").read_bytes() + keyrotor(lab, "incident", "report").stdout.encode()
        assert not [one for key in keys for one in (*spellings(key), key[3:].encode()) if one in shown], form
        assert b"of the desk-lamp" in shown
        assert new[4:16].encode() not in shown
        assert re.search(rb"OPENAI_API_KEY=\\?\[redacted\\?\] and", shown)
