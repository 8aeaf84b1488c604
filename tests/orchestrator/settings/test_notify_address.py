"""Addresses of `--notify`: read, or refused in one line before the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.settings.notify_address import address_of
from orchestrator.settings.settings import as_mapping, load_settings
from pipeline.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "url", "is_ntfy", "host"),
    [
        ("ntfy:my-Topic_1", "https://ntfy.sh/my-Topic_1", True, "ntfy.sh"),
        ("ntfy:https://own.server/t", "https://own.server/t", True, "own.server"),
        ("ntfy:http://10.0.0.2:8080/a/t", "http://10.0.0.2:8080/a/t", True, "10.0.0.2"),
        ("https://host/path?key=1", "https://host/path?key=1", False, "host"),
        ("https://my_box.local.:8443/x", "https://my_box.local.:8443/x", False, "my_box.local."),
        ("https://host/?to=me@there", "https://host/?to=me@there", False, "host"),
        ("http://[::1]:80/", "http://[::1]:80/", False, "::1"),
    ],
)
def test_addresses_that_can_be_posted_to(text: str, url: str, is_ntfy: bool, host: str) -> None:
    address = address_of(text)
    assert (address.url, address.is_ntfy, address.host) == (url, is_ntfy, host)


@pytest.mark.parametrize(
    "text",
    [
        *("", "topic", "ntfy:", "ntfy:a b", "ntfy:ä", f"ntfy:{'t' * 65}", "ntfy:https://host"),
        *("ntfy:https://host/", "ntfy:https://host/a.b", "ntfy:ftp://host/t", "ftp://host/p"),
        *("https://", "https:///path", "https://host:99999/", "https://host:x/", "https://[::1/"),
        *("https://me:word@host/", "https://host/#part", "https://host/a b", "https://höst/"),
        *("https://a..b/x", "https://.b/x", "https://-a.b/x", "https://a-/x", "https://a%20b/x"),
        *(f"https://{'a' * 64}.b/x", f"https://{'abcd.' * 60}b/x", f"ntfy:https://{'a' * 300}/t"),
        *("https://1.2.3.999/x", "https://1.2.3/x", "https://[::x]/", "https://a,b/", "https://*/"),
        *("https://word@a..b/x", "ntfy:http://me@/t", "https://host?me@else#"),
        *("https://host/\n", "file:///etc/passwd", f"https://host/{'a' * 2000}"),
    ],
)
def test_others_are_refused_in_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        address_of(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {"notify": {"to": ["ntfy:fine", text]}})
    assert caught.value.message.startswith("--notify: ")
    path = tmp_path / "settings.yaml"
    path.write_text(f"notify:\n  to:\n  - {text!r}\n", encoding="utf-8")
    if "\n" not in text:
        with pytest.raises(SettingsError, match=r"settings\.yaml, line 3: "):
            load_settings(path, {})


def test_typed_addresses_replace_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("notify: {to: [ntfy:one, https://host/two]}\n")
    assert load_settings(path, {}).notify.to == ("ntfy:one", "https://host/two")
    assert load_settings(path, {"notify": {"to": ["ntfy:three"]}}).notify.to == ("ntfy:three",)


def test_what_is_as_good_as_a_password_is_not_written_down() -> None:
    settings = load_settings(None, {"notify": {"to": ["ntfy:secret"]}})
    assert "secret" not in str(as_mapping(settings))
