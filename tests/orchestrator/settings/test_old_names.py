"""Old names of settings are read as the new ones, with a note for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.settings.keys import KEYS
from orchestrator.settings.old_names import OLD_KEYS
from orchestrator.settings.option_keys import OLD_OPTIONS, OPTION_KEYS
from orchestrator.settings.settings import Settings, load_settings
from pipeline.errors import SettingsError


def read(folder: Path, text: str) -> tuple[Settings, list[str]]:
    path = folder / "settings.yaml"
    path.write_text(text)
    notes: list[str] = []
    return load_settings(path, {}, on_note=notes.append), notes


def test_an_old_name_is_read_with_a_note_that_has_its_line(tmp_path: Path) -> None:
    settings, notes = read(tmp_path, "output:\n  sidecar: true\n  scratch: /nvme\n")
    assert settings == read(tmp_path, "output: {sidecar: true, local_folder: /nvme}")[0]
    line = "settings.yaml, line 3: output.scratch is now named output.local_folder"
    assert notes == [f"{tmp_path}/{line}"]
    assert read(tmp_path, "output: {local_folder: /nvme}")[1] == []


def test_a_wrong_value_is_refused_by_the_line_of_the_old_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line 2: output\.local_folder = 5: it should be"):
        read(tmp_path, "output:\n  scratch: 5\n")


def test_old_and_new_name_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line 2: output\.scratch is the old name") as refused:
        read(tmp_path, "output:\n  scratch: /a\n  local_folder: /b\n")
    assert refused.value.advice == "remove output.scratch"


@pytest.mark.parametrize("setting", ["scratch: /a", "output: {scratch: /a}"])
def test_in_an_override_too(setting: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"output\.local_folder is the same for all videos"):
        read(tmp_path, f"overrides:\n- match: x\n  {setting}\n")


@pytest.mark.parametrize("text", ["output: x\n", "overrides: [x]\n", "overrides: 3\n"])
def test_a_group_that_holds_no_keys_has_the_usual_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must"):
        read(tmp_path, text)


def test_the_new_names_exist_and_the_old_ones_do_not() -> None:
    for group, names in OLD_KEYS.items():
        assert set(names.values()) <= set(KEYS[group])
        assert not set(names) & set(KEYS[group])
    assert set(OLD_OPTIONS.values()) <= set(OPTION_KEYS)
