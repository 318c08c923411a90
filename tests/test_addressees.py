"""The [[notify]] tables: what is read, what is refused and how; and no address is ever shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyrotor import addressees, incident_playbook, playbook, telling
from keyrotor.core.addressee import USUAL, Occasion
from keyrotor.errors import PlaybookError

BOOK = """\
name = "a"
{more}
[secret]
file = "secrets/global.enc.env"
key = "LITELLM_MASTER_KEY"
[[place]]
kind = "sops-file"
"""
ENV = {"HOME": "/home/somebody"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "playbooks").mkdir()
    return tmp_path


def write(project: Path, notify: str, more: str = "") -> Path:
    path = project / "playbooks" / "a.toml"
    path.write_text(BOOK.format(more=more) + notify)
    return path


def test_each_kind_is_read_with_its_defaults(project: Path) -> None:
    """All four, by address and by the name of a key; nothing of an address but its host is its label."""
    path = write(
        project,
        """
        [[notify]]
        kind = "desktop"
        [[notify]]
        kind = "webhook"
        url = "https://me:hidden@Hooks.example:8443/services/hidden?token=hidden"
        on = ["success", "stuck", "stuck"]
        within = "2s"
        [[notify]]
        kind = "webhook"
        url_key = "HOOK_URL"
        [[notify]]
        kind = "command"
        run = ["/opt/my pager", "--hidden"]
        [[notify]]
        kind = "apprise"
        urls = ["ntfy://hidden/topic", "mailto://hidden@host", "ntfy://other"]
        [[notify]]
        kind = "apprise"
        urls_key = "APPRISE_URLS"
        """,
    )
    found = playbook.load(path, ENV).notify
    labels = ["the desktop", "https://hooks.example:8443", "webhook (HOOK_URL)", "my pager"]
    assert [each.label for each in found] == [*labels, "apprise (ntfy, mailto)", "apprise (APPRISE_URLS)"]
    assert found[1].on == (Occasion.SUCCESS, Occasion.STUCK)
    assert found[1].within == 2.0
    assert {each.on for each in found} - {found[1].on} == {USUAL}
    assert "hidden" not in repr(found)
    assert "hidden" not in repr(playbook.load(path, ENV))


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("x = 1", "notify 1: has no kind; allowed: desktop, webhook, command, apprise"),
        ('kind = "mail"', "notify 1: unknown kind 'mail'; allowed: desktop, webhook, command, apprise"),
        ('kind = "desktop"\nurl = "x"', "notify 1 (desktop): unknown key 'url'; allowed: kind, on, within"),
        ('kind = "desktop"\non = ["always"]', "notify 1 (desktop): on: unknown 'always'; allowed: success, failure, "),
        ('kind = "desktop"\non = ["test"]', "notify 1 (desktop): on: unknown 'test'"),
        ('kind = "desktop"\non = []', "notify 1 (desktop): on: it is empty"),
        ('kind = "desktop"\non = "stuck"', "notify 1 (desktop): on: expected `array`, got `str`"),
        ('kind = "desktop"\nwithin = "soon"', "notify 1 (desktop): within: cannot use 'soon'"),
        ('kind = "desktop"\nwithin = "2m"', "within: cannot use '2m'; write it as 10s, 60s at the most"),
        ('kind = "desktop"\nwithin = "0s"', "within: cannot use '0s'"),
        ('kind = "webhook"', "notify 1 (webhook): give one of url and url_key"),
        ('kind = "webhook"\nurl = "https://a"\nurl_key = "A"', "give one of url and url_key"),
        ('kind = "webhook"\nurl = "hidden.example/x"', "notify 1 (webhook): url: not an address"),
        ('kind = "webhook"\nurl = "ftp://hidden.example/x"', "url: not an address"),
        ('kind = "webhook"\nurl = "https:///hidden"', "url: not an address"),
        ('kind = "webhook"\nurl = "https://a b/hidden"', "url: not an address"),
        ('kind = "webhook"\nurl = "https://a:99999/hidden"', "url: not an address"),
        ('kind = "webhook"\nurl = "https://[hidden"', "url: not an address"),
        ('kind = "webhook"\nurl = "https://a/\\u0007hidden"', "url: not an address"),
        ('kind = "webhook"\nurl_key = "A-B"', "url_key: use letters, digits and `_`"),
        ('kind = "webhook"\nurl_key = "LITELLM_MASTER_KEY"', "LITELLM_MASTER_KEY is no address, and is told to nobody"),
        ('kind = "webhook"\nurl_key = "LITELLM_SALT_KEY"', "LITELLM_SALT_KEY is no address"),
        ('kind = "command"', "notify 1 (command): missing key `run`"),
        ('kind = "command"\nrun = []', "notify 1 (command): run: an empty command"),
        ('kind = "command"\nrun = [""]', "run: an empty command"),
        ('kind = "command"\nrun = ["a", "\\u0000"]', "run: a NUL cannot be in a command"),
        ('kind = "command"\nrun = "a"', "run: expected `array`, got `str`"),
        ('kind = "apprise"', "notify 1 (apprise): give one of urls and urls_key"),
        ('kind = "apprise"\nurls = ["hidden"]', "urls: not an address of apprise's"),
        ('kind = "apprise"\nurls_key = "LITELLM_MASTER_KEY"', "LITELLM_MASTER_KEY is no address"),
    ],
)
def test_what_cannot_work_is_an_error_that_names_table_and_key(project: Path, table: str, why: str) -> None:
    """Before anything is done, with what is allowed, and without an address."""
    path = write(project, f"[[notify]]\n{table}\n")
    with pytest.raises(PlaybookError, match=re.escape(why)) as raised:
        playbook.load(path, ENV)
    assert str(path) in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_another_key_that_is_rotated_is_no_address_either(project: Path) -> None:
    """Whatever the playbook rotates."""
    path = write(project, '[[notify]]\nkind = "webhook"\nurl_key = "OTHER"\n')
    path.write_text(path.read_text().replace('key = "LITELLM_MASTER_KEY"', 'key = "OTHER"'))
    with pytest.raises(PlaybookError, match="OTHER is no address"):
        playbook.load(path, ENV)


def test_an_incident_playbook_takes_the_same_tables(project: Path) -> None:
    """With the same faults."""
    write(project, "")
    path = project / "playbooks" / "incident-response.toml"
    path.write_text('name = "i"\n[incident]\nplaybooks = ["a"]\n[[notify]]\nkind = "desktop"\n')
    assert [each.kind for each in incident_playbook.load(path, ENV).notify] == ["desktop"]
    path.write_text('[incident]\nplaybooks = ["a"]\n[[notify]]\nkind = "desk"\n')
    with pytest.raises(PlaybookError, match="notify 1: unknown kind 'desk'"):
        incident_playbook.load(path, ENV)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@host/path?q#f", "https://host"),
        ("http://host:80/", "http://host:80"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
        ("HTTPS://HOST/x", "https://host"),
        ("https://host:0/x", ""),
        ("https://höst/x", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_of_an_address_only_the_host_is_shown(url: str, shown: str) -> None:
    """Neither user nor password, path, query or fragment."""
    assert addressees.where(url) == shown


GOOD = '[[notify]]\nkind = "desktop"\n[[notify]]\nkind = "nobody"\n[[notify]]\nkind = "webhook"\nurl_key = "A"\n'


@pytest.mark.parametrize(
    ("notify", "more", "kinds", "has_source"),
    [
        (GOOD, "", ["desktop", "webhook"], True),
        (GOOD, 'every = "never"\nunknown = 1', ["desktop", "webhook"], True),
        (GOOD.replace("[[place]]", ""), "place = 3", ["desktop", "webhook"], True),
        ("notify = 3", "", [], True),
        (GOOD, "this is no TOML", [], False),
    ],
)
def test_who_is_to_hear_that_a_playbook_is_broken_is_read_from_it(
    project: Path, notify: str, more: str, kinds: list[str], has_source: bool
) -> None:
    """Each table that is fine, whatever else is not; as long as it is TOML at all."""
    path = write(project, notify, more)
    if "place = 3" in more:
        path.write_text(path.read_text().replace('[[place]]\nkind = "sops-file"\n', ""))
    if notify.startswith("notify"):
        path.write_text(f"{notify}\n{path.read_text().replace(notify, '')}")
    with pytest.raises(PlaybookError):
        playbook.load(path, ENV)
    known = telling.read(path, ENV)
    assert [each.kind for each in known.addressees] == kinds
    assert (known.source is not None) == has_source


def test_a_playbook_without_a_secret_still_names_whom_to_tell(project: Path) -> None:
    """Then no address can come from the encrypted file."""
    path = write(project, '[[notify]]\nkind = "desktop"\n')
    path.write_text(path.read_text().replace("[secret]", "[secrets]"))
    known = telling.read(path, ENV)
    assert (known.name, [each.kind for each in known.addressees], known.source) == ("a", ["desktop"], None)
