"""What can be known of an encrypted file without any key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.formats.encrypted_dotenv import clear_rule, lines, others_changed, refusals

KEY = "LITELLM_MASTER_KEY"


def enc(name: str) -> str:
    return f"ENC[AES256_GCM,data:{name}==,iv:{name}=,tag:{name}==,type:str]"


def file(
    *extra: str, key: str = KEY, value: str = enc("one"), rule: str = "sops_unencrypted_suffix=_unencrypted"
) -> bytes:
    comment = "#ENC[AES256_GCM,data:c,iv:c,tag:c,type:comment]"
    meta = [
        "sops_age__list_0__map_recipient=age1x",
        "sops_lastmodified=2026",
        f"sops_mac={enc('mac')}",
        "sops_version=3.13.2",
    ]
    body = [comment, f"{key}={value}", f"OTHER={enc('other')}", *extra, *meta, *([rule] if rule else [])]
    return ("\n".join(body) + "\n").encode()


def test_a_sound_file_is_not_refused() -> None:
    """Nothing to say."""
    assert refusals(file(), KEY) == []
    assert refusals(file(rule=""), KEY) == []


REFUSED = {
    "conflict markers": (b"<<<<<<< HEAD\n" + file(), "conflict"),
    "half a conflict": (file() + b">>>>>>> theirs\n", "conflict"),
    "CRLF": (file().replace(b"\n", b"\r\n"), "CRLF"),
    "one CR": (file().replace(b"\nOTHER", b"\r\nOTHER"), "CRLF"),
    "plaintext": (f"{KEY}=x\n".encode(), "not encrypted"),
    "nothing at all": (b"", "not encrypted"),
    "binary": (b"\xff\xfe\0", "not encrypted"),
    "yaml": (b"a: 1\nsops:\n  mac: x\n", "not encrypted"),
    "no mac": (file().replace(b"sops_mac", b"xsops_mac"), "not encrypted"),
    "several key groups": (file("sops_key_groups__list_0__map_age__list_0__map_enc=x"), "key groups"),
    "no such key": (file(key="OTHER_KEY"), f"no key {KEY}"),
    "the key twice": (file(f"{KEY}={enc('two')}"), "2 times"),
    "the key in clear": (file(value="sk-in-clear"), "clear"),
    "an empty key": (file(value=""), "empty"),
    "an exported key": (file(key=f"export {KEY}"), f"no key {KEY}"),
    "another type": (file(value=enc("one").replace("type:str", "type:int")), "clear"),
    "ciphertext with something after it": (file(value=enc("one") + "x"), "clear"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_faulty_file_is_refused(fault: str) -> None:
    """With a reason, and without a byte of any value."""
    data, said = REFUSED[fault]
    reasons = refusals(data, KEY)
    assert any(said in reason for reason in reasons), reasons
    assert "sk-in-clear" not in "".join(reasons)


@pytest.mark.parametrize(
    ("rule", "key", "is_clear"),
    [
        ("", "A", False),
        ("", "A_unencrypted", True),
        ("sops_unencrypted_suffix=_unencrypted", "A_unencrypted", True),
        ("sops_unencrypted_suffix=_plain", "A_plain", True),
        ("sops_unencrypted_suffix=_plain", "A_unencrypted", False),
        ("sops_encrypted_suffix=_SECRET", "A", True),
        ("sops_encrypted_suffix=_SECRET", "A_SECRET", False),
        ("sops_encrypted_regex=^(data|stringData)$", "A", True),
        ("sops_encrypted_regex=KEY", "MY_KEY_2", False),
        ("sops_encrypted_regex=(", "A", True),
        ("sops_unencrypted_regex=^PUBLIC_", "PUBLIC_A", True),
        ("sops_unencrypted_regex=^PUBLIC_", "A_PUBLIC_", False),
        ("sops_unencrypted_regex=(", "A", True),
        ("sops_unencrypted_comment_regex=x", "A", True),
        ("sops_encrypted_comment_regex=x", "A", True),
        ("sops_mac_only_encrypted=true", "A", False),
    ],
)
def test_a_rule_by_which_sops_would_write_in_clear(rule: str, key: str, is_clear: bool) -> None:
    """`set` obeys the file's own metadata, with exit code 0; what cannot be judged counts as dangerous."""
    data = file(key=key, rule=rule)
    assert bool(clear_rule(lines(data), key)) is is_clear
    assert any("in clear" in reason for reason in refusals(data, key)) is is_clear


def test_a_clean_set_changes_nothing_else() -> None:
    """The key's own line, the checksum and its date may differ; comments may get a new ciphertext."""
    after = file(value=enc("two")).replace(b"2026", b"2027").replace(enc("mac").encode(), enc("cam").encode())
    after = after.replace(b"data:c,", b"data:d,")
    assert others_changed(file(), after, KEY) == []


def test_blank_lines_may_go_and_metadata_may_be_sorted() -> None:
    """sops does both, and loses nothing."""
    before = file().replace(b"OTHER", b"\n\nOTHER")
    head, meta = file()[: file().index(b"sops_age")], file()[file().index(b"sops_age") :]
    assert others_changed(before, head + b"\n".join(sorted(meta.strip().split(b"\n"))) + b"\n", KEY) == []


CHANGES = {
    "another value": (lambda data: data.replace(enc("other").encode(), enc("rehto").encode()), "OTHER"),
    "a new key": (lambda data: b"FRESH=x\n" + data, "FRESH"),
    "a lost key": (lambda data: data.replace(b"OTHER=" + enc("other").encode() + b"\n", b""), "OTHER"),
    "another recipient": (lambda data: data.replace(b"age1x", b"age1y"), "sops_age__list_0__map_recipient"),
    "one recipient more": (lambda data: data + b"sops_age__list_1__map_recipient=age1y\n", "sops_age__list_1"),
    "a lost comment": (lambda data: data.split(b"\n", 1)[1], "comment"),
    "another version": (lambda data: data.replace(b"3.13.2", b"3.14.0"), "sops_version"),
    "another rule": (lambda data: data.replace(b"_unencrypted\n", b"_KEY\n"), "sops_unencrypted_suffix"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_else_changed_is_named(change: str) -> None:
    """By its name alone, never by its value."""
    changes, named = CHANGES[change]
    told = others_changed(file(), changes(file()), KEY)
    assert any(named in name for name in told), told
    assert "ENC" not in "".join(told)


def test_a_change_of_order_is_told() -> None:
    """The MAC covers the order of values."""
    head = f"{KEY}={enc('one')}\nOTHER={enc('other')}\nTHIRD={enc('third')}\n"
    tail = "sops_mac=x\nsops_version=y\n"
    swapped = f"{KEY}={enc('one')}\nTHIRD={enc('third')}\nOTHER={enc('other')}\n"
    assert others_changed((head + tail).encode(), (swapped + tail).encode(), KEY) == ["the order of the lines"]


def test_a_key_that_was_doubled_is_told() -> None:
    """A second line of the same key and value changes what readers see."""
    other = f"OTHER={enc('other')}\n".encode()
    assert others_changed(file(), file().replace(other, other + other), KEY)


def test_a_doubled_own_key_is_told() -> None:
    """Ours appended once more leaves the old value for half of the readers."""
    assert others_changed(file(), file(f"{KEY}={enc('two')}"), KEY)


@given(st.binary(max_size=200), st.sampled_from([KEY, "A"]))
def test_any_bytes_are_judged_without_raising(data: bytes, key: str) -> None:
    """Whatever stands in the file, the answer is a list of reasons."""
    assert refusals(data, key)
    assert others_changed(data, data, key) == []


@given(st.binary(max_size=60).filter(lambda text: b"\r" not in text), st.sampled_from(["sops_", "", "A"]))
def test_any_line_beside_sound_metadata_is_judged_without_raising(text: bytes, start: str) -> None:
    """Also names that are no text."""
    assert isinstance(refusals(file() + start.encode() + text, KEY), list)
