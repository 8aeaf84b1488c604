"""Overrides: which files a pattern means, what overrides what, and what cannot differ."""

from __future__ import annotations

import json
import unicodedata
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.plan.per_file import possible_mattings, require_sense
from orchestrator.settings.keys import GROUPS, KEYS
from orchestrator.settings.option_keys import OPTION_KEYS, SHORT_KEYS
from orchestrator.settings.overrides import Override, may_differ
from orchestrator.settings.settings import (
    Settings,
    as_mapping,
    differing,
    load_settings,
    settings_for,
)
from pipeline.errors import SettingsError
from pipeline.stages.matting.sam2.facts import Sam2Options


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str, typed: dict[str, dict[str, Any]] | None = None) -> Settings:
    return load_settings(written(folder, text), typed or {})


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        require_sense(loaded(folder, text))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*green*", "green_01.mp4", True),
        ("*green*", "day 1/shoot/Green_01.MP4", True),
        ("*green*", "green room/talk.mp4", False),  # without a slash it is about the file's name
        ("green*/*", "green room/talk.mp4", True),
        ("green*/*", "day 1/green room/talk.mp4", False),  # a star stays inside a name
        ("**/green*/*", "day 1/green room/talk.mp4", True),
        ("**/green*/*", "green room/talk.mp4", True),
        ("day 1/**", "day 1/a/b/c.mp4", True),
        ("day 1/**", "day 1/c.mp4", True),
        ("day 1/**", "day 10/c.mp4", False),
        ("**/a.mp4", "a.mp4", True),
        ("**", "x/a.mp4", True),
        ("*.mov", "x/a.mp4", False),
        ("talk_?.mp4", "talk_1.mp4", True),
        ("talk_?.mp4", "talk_12.mp4", False),
        ("talk_[12].mp4", "talk_2.mp4", True),
        ("talk [[]x].mp4", "talk [x].mp4", True),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}*", unicodedata.normalize("NFD", "CAFÉ.mp4"), True),
        ("*", "caf\udce9.mp4", True),
    ],
)
def test_which_files_a_pattern_means(pattern: str, path: str, matches: bool) -> None:
    assert Override(pattern, {}).matches(PurePath(path)) is matches


PATHS = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4)


@given(PATHS, st.lists(st.sampled_from(["a", "*", "?b", "**", "a*"]), min_size=1, max_size=5))
def test_two_stars_are_any_number_of_folders(parts: list[str], pattern: list[str]) -> None:
    """Compared with the definition: some number of plain stars for each of them."""

    def plain(pieces: list[str], room: int) -> list[list[str]]:
        if "**" not in pieces:
            return [pieces]
        at = pieces.index("**")
        found = []
        for count in range(room + 1):
            for rest in plain(pieces[at + 1 :], room):
                found.append([*pieces[:at], *["*"] * count, *rest])
        return found

    if len(pattern) == 1:
        parts = parts[-1:]
    found = Override("/".join(pattern), {}).matches(PurePath(*parts))
    choices = [choice for choice in plain(pattern, len(parts)) if len(choice) == len(parts)]
    assert found == any(all(map(fnmatchcase, parts, choice)) for choice in choices)


def test_the_example(tmp_path: Path) -> None:
    settings = loaded(tmp_path, 'overrides: [{match: "*green*", model: chroma}]\n')
    assert settings_for(settings, PurePath("a/green_1.mp4")).matting.model == "chroma"
    assert settings_for(settings, PurePath("a/room_1.mp4")).matting.model == "auto"


VALUES: dict[tuple[str, str], list[Any]] = {
    ("matting", "model"): ["rvm", "chroma", "depth"],
    ("encoding", "vp9_crf"): [10, 20, 30, None],
    ("encoding", "quality"): ["draft", "best"],
    ("output", "formats"): [["webm"], ["prores", "tiff"]],
    ("input", "layout"): ["sbs", "auto"],
    ("input", "every"): [1, 3],
}
SOME = st.fixed_dictionaries(
    {}, optional={key: st.sampled_from(values) for key, values in VALUES.items()}
)


def nested(flat: dict[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for (group, key), value in flat.items():
        groups.setdefault(group, {})[key] = value
    return groups


@settings(max_examples=30)
@given(SOME, st.lists(st.tuples(st.sampled_from(["*a*", "*b*", "*"]), SOME), max_size=4), SOME)
def test_what_goes_before_what(
    tmp_path_factory: pytest.TempPathFactory,
    written_values: dict[tuple[str, str], Any],
    overrides: list[tuple[str, dict[tuple[str, str], Any]]],
    typed: dict[tuple[str, str], Any],
) -> None:
    """Defaults, the file, its overrides in turn, what was typed: each key has the last one's."""
    entries = [{"match": match, **nested(some)} for match, some in overrides if some]
    path = tmp_path_factory.getbasetemp() / "order.yaml"
    path.write_text(json.dumps({**nested(written_values), "overrides": entries}))
    read = load_settings(path, nested(typed))
    for name, letters in (("xay.mp4", "a"), ("xby.mp4", "b"), ("abc.mp4", "ab")):
        expected = dict(written_values)
        for match, some in overrides:
            if match == "*" or match[1] in letters:
                expected |= some
        expected |= typed
        alone = load_settings(None, nested(expected))
        assert settings_for(read, PurePath(name)) == alone
    # What is recorded says the same.
    path.write_text(json.dumps(as_mapping(read)))
    assert load_settings(path, {}) == read


def test_every_short_form_means_its_setting(tmp_path: Path) -> None:
    free = {short: pair for short, pair in SHORT_KEYS.items() if may_differ(*pair)}
    assert {"model", "format", "formats", "dlc-csv", "dlc_csv", "quality", "scale"} <= set(free)
    values: dict[str, Any] = {
        "start_frame": 3, "max_frames": 4, "start": "0:10", "end": "1:20.5", "every": 3,
        "segment_frames": 5, "scale": 0.5, "enhance": 2, "dlc_likelihood": 0.5,
        "layout": "tb", "projection": "flat", "quality": "draft", "formats": "prores, tiff",
        "dlc_parts": ["nose"], "model": "depth", "prompts": "p", "dlc_csv": "d.csv",
    }  # fmt: skip
    for short, (group, key) in free.items():
        [option] = [name for name, pair in OPTION_KEYS.items() if pair == (group, key)]
        value = values[option]
        text = yaml.safe_dump({"overrides": [{"match": "*", short: value}]})
        own = settings_for(loaded(tmp_path, text), PurePath("a.mp4"))
        value = ["prores", "tiff"] if option == "formats" else value
        assert differing(own, Settings()) == {f"{group}.{key}": value}


def test_what_is_for_all_videos_is_refused_by_either_name(tmp_path: Path) -> None:
    for short, pair in SHORT_KEYS.items():
        if not may_differ(*pair):
            text = f'overrides:\n- match: "*"\n  {short}: 1\n'
            assert f"line 3: {'.'.join(pair)} is the same for all" in refusal(tmp_path, text)
    for group in GROUPS:
        for key in KEYS[group]:
            if not may_differ(group, key):
                text = f'overrides:\n- match: "*"\n  {group}:\n    {key}: 1\n'
                assert f"line 4: {group}.{key} is the same for all" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ('- match: "*"\n  modl: rvm', 3, "did you mean 'model'?"),
        ('- match: "*"\n  matting:\n    rvm_weight: a', 4, "did you mean 'matting.rvm_weights'?"),
        ('- match: "*"\n  model: cromax', 3, "did you mean 'chroma'?"),
        ('- match: "*"\n  matting:\n    model: cromax', 4, "did you mean 'chroma'?"),
        ('- match: "*"\n  model: rvm\n  model: rvm', 4, "already given in line 3"),
        ('- match: "*"\n  model: rvm\n  matting:\n    model: rvm', 5, "given twice"),
        ('- match: "*"\n  format: prores\n  formats: [webm]', 4, "given twice"),
        ('- match: "*"\n  quality: bst', 3, "encoding.quality = 'bst'"),
        ('- match: "*"\n  scale: "0.5"', 3, "processing.scale_factor = '0.5'"),
        (
            '- match: "*"\n  output:\n    formats:\n    - webm\n    - gif',
            6,
            "no format named 'gif'",
        ),
        ('- match: "*"\n  formats:\n  - webm\n  - gif', 5, "no format named 'gif'"),
        ('- match: "*"\n  matting: 3', 3, "matting must hold `key: value` lines"),
        ('- match: "*"\n  processing: {adaptive_scaling: {max: 1}}', 3, "adaptive_scaling.max"),
        ('- match: "*"', 2, "changes nothing"),
        ('- match: "*"\n  matting:', 2, "changes nothing"),
        ("- model: rvm", 2, "needs `match`"),
        ("- match: 3\n  model: rvm", 2, "needs `match`"),
        ('- match: ""\n  model: rvm', 2, "needs `match`"),
        ("- match: *green*\n  model: chroma", 2, "in quotes"),
        ("- match: *green\n  model: chroma", 2, "in quotes"),
        ('- match: "/data/*"\n  model: rvm', 2, "relative to the input"),
        ('- match: "green/"\n  model: rvm', 2, "'green/**' is for all videos in that folder"),
        ('- "*"', 2, "key: value"),
        ('- match: "*"\n  preset: 3', 3, "a preset is a name"),
        ('- match: "*"\n  preset: qwest', 3, "did you mean 'quest'?"),
        ('  match: "*"', 1, "must be a list"),
        ('- match: "*a*"\n  model: depth\n- match: "*b*"\n  prompts: x', 4, "'*b*' of line 4"),
        ('- match: "*"\n  processing: {scale_factor: 0.5, adaptive_scaling: {}}', 2, "both set"),
    ],
)
def test_what_is_wrong_has_its_line(tmp_path: Path, lines: str, line: int, words: str) -> None:
    said = refusal(tmp_path, f"overrides:\n{lines}\n")
    assert f"line {line}" in said
    assert words in said


def test_what_is_typed_holds_for_all_videos(tmp_path: Path) -> None:
    text = """\
overrides:
- {match: "*", model: chroma}
- {match: "*", model: depth, quality: best}
"""
    settings = loaded(tmp_path, text, {"matting": {"model": "sam2"}})
    [left] = settings.overrides
    assert left.values == {"encoding": {"quality": "best"}}
    own = settings_for(settings, PurePath("a.mp4"))
    assert (own.matting.model, own.encoding.quality) == ("sam2", "best")


def test_what_may_have_to_be_fetched(tmp_path: Path) -> None:
    text = (
        "matting: {model: rvm}\noverrides:\n- {match: '*a*', model: sam2}\n"
        "- {match: '*b*', quality: best}\n"
        "- {match: '*c*', matting: {sam2_size: large}}\n"
    )
    found = possible_mattings(loaded(tmp_path, text))
    assert {(m.model, m.of(Sam2Options).size) for m in found} == {
        ("rvm", "small"),
        ("sam2", "small"),
        ("rvm", "large"),
        ("sam2", "large"),
    }
