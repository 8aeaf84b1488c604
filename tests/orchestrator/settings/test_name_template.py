"""Templates for the names of outputs: read, or refused in one line before the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.settings.name_template import DEFAULT_TEMPLATE, name_template
from orchestrator.settings.settings import load_settings
from pipeline.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "filled", "tagged"),
    [
        (DEFAULT_TEMPLATE, "talk", True),
        ("{stem}_{model}{tags}", "talk_sam2", True),
        ("{model}-{stem} (cut){tags}", "sam2-talk (cut)", True),
        ("{stem}", "talk", False),
        ("con{stem}-{tags}", "contalk-", True),
        ("{stem}_LR_180_by_hand", "talk_LR_180_by_hand", False),
        ("é {{x}} {stem}", "é {x} talk", False),
    ],
)
def test_templates_that_give_names(text: str, filled: str, tagged: bool) -> None:
    template = name_template(text)
    assert template.filled("talk", "sam2") == filled
    assert template.tagged == tagged


REFUSED = [
    ("", "without {stem}"),
    ("{model}{tags}", "without {stem}"),
    ("{stem}{stem}", "once"),
    ("{stem}_{date}{tags}", "a field that there is not"),
    ("{stem}{}{tags}", "a field that there is not"),
    ("{stem.name}{tags}", "a field that there is not"),
    ("{stem!r}{tags}", "a field that there is not"),
    ("{stem:>30}{tags}", "a field that there is not"),
    ("{stem", "braces"),
    ("stem}{tags}", "braces"),
    ("{tags}{stem}", "at its end"),
    ("{stem}{tags}_x", "at its end"),
    ("sub/{stem}{tags}", "no /"),
    ("..\\{stem}{tags}", "no /"),
    ("{stem}\n{tags}", "cannot be seen"),
    ("{stem}\u202e{tags}", "cannot be seen"),
    (".{stem}{tags}", "hidden"),
    *((f"{{stem}}{bad}{{tags}}", f"take no {bad} in") for bad in '<>:"|?*'),
    ("-{stem}{tags}", "begins with - or"),
    (" {stem}{tags}", "begins with - or"),
    ("{stem}\x00{tags}", "cannot be seen"),
    ("CON.{stem}{tags}", "for a device"),
    ("lpt1 .{stem}{tags}", "for a device"),
    ("{stem}_360{tags}", "'360'"),
    ("TB_{stem}{tags}", "'TB'"),
    ("{stem}" + "é" * 33 + "{tags}", "64 bytes"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_others_are_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {"output": {"name": text}})
    assert caught.value.message.startswith("--name: output.name = ")
    assert why in caught.value.message
    assert "\n" not in caught.value.message


def test_what_players_know_by_its_name_alone_must_have_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text('output: {name: "{stem}"}\noverrides: [{match: a, format: alphapack}]\n')
    with pytest.raises(SettingsError, match=r"line 2: players find the matte of 'alphapack' by"):
        load_settings(path, {})
    assert load_settings(path, {"output": {"formats": ["webm"]}}).output.name == "{stem}"


def test_it_is_the_same_for_all_videos(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text('overrides: [{match: a, name: "x{stem}"}]\n')
    with pytest.raises(SettingsError, match="same for all videos"):
        load_settings(path, {})
