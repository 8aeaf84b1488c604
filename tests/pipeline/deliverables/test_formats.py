"""The catalogue of formats: laws that hold for every row, and what a row must be."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.out.output_names import LONGEST_ENDING_BYTES, is_output_name, output_name
from orchestrator.settings.presets import PRESETS
from pipeline.contract import EncodingSettings, ProjectionName, VideoInfo, VideoSettings
from pipeline.contract.encoder_points import Quality
from pipeline.deliverables.base import make_deliverable
from pipeline.deliverables.format import FixedRate, Format, RelativeSize
from pipeline.deliverables.formats import FORMATS, WEBM, require_formats
from pipeline.deliverables.movie import Movie
from pipeline.encode.choice import Codec, Family
from pipeline.errors import InputError, SettingsError
from tests.orchestrator.worlds import make_job

ROWS = list(FORMATS.built_in.values())
NAMES = [row.name for row in ROWS]
VIDEO = replace(make_job().info, width=256, height=128)

ENCODINGS = [
    EncodingSettings(codec=codec, quality=quality, encoder=encoder)
    for codec, quality, encoder in product(get_args(Codec), get_args(Quality), get_args(Family))
]

videos = st.builds(
    lambda width, height, layout, projection, swapped: replace(
        VIDEO,
        width=width,
        height=height,
        layout=layout,
        projection=projection,
        right_first=swapped,
    ),
    st.integers(32, 9000),
    st.integers(32, 9000),
    st.sampled_from(["mono", "sbs", "tb"]),
    st.sampled_from(get_args(ProjectionName)),
    st.booleans(),
)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_row_makes_what_it_says(row: Format) -> None:
    made = make_deliverable(row.name, VIDEO, VideoSettings(deliverables=(row.name,)))
    assert (made.name, made.suffix) == (row.name, row.suffix)
    assert isinstance(made, Movie) == row.is_film
    if isinstance(made, Movie):
        assert made.format is row
        assert row.suffix == f".{made.container}"
    if row.read_back is not None:
        assert callable(FORMATS.load(row.name, row.read_back))


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_estimates_are_positive_whatever_the_encoding(row: Format) -> None:
    for encoding in ENCODINGS:
        assert row.encoder_memory(encoding) > 0
        assert row.codec_for(encoding)
    assert bool(row.encoder) == (row.codec is not None)
    expected, least = (row.size.picture_bytes(1000.0, 1000, each) for each in (False, True))
    assert 0 < least <= expected


@given(video=videos)
def test_pictures_have_even_sides_and_names_are_those_of_outputs(video: VideoInfo) -> None:
    """Every name is another's, is known for an output's, and no longer than is planned for."""
    held = []
    for row in ROWS:
        with suppress(InputError):
            held.append((row, row.picture(video)))
    assert held
    found = set()
    for row, shown in held:
        assert shown.width % 2 == shown.height % 2 == 0
        assert min(shown.width, shown.height) > 0
        name = output_name("talk", row.name, video)
        assert name.startswith("talk_")
        assert len(name.encode()) - len("talk") <= LONGEST_ENDING_BYTES
        assert is_output_name(name)
        assert is_output_name(name.upper())
        assert name not in found
        found.add(name)


def test_every_name_that_the_code_mentions_is_in_the_catalogue() -> None:
    mentioned = {*VideoSettings().deliverables}
    for preset in PRESETS.values():
        mentioned.update(preset.values.get("output", {}).get("formats", ()))
    assert mentioned <= set(NAMES)


def test_the_catalogue_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from pipeline.deliverables.formats import FORMATS\n"
        "heavy = {'torch', 'pydantic', 'numpy', 'av', 'structlog'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else not FORMATS.names())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def row(**changes: object) -> Format:
    return replace(WEBM, **changes)  # type: ignore[arg-type]


def test_two_formats_whose_files_would_have_one_name_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_formats(NAMES)
    monkeypatch.setitem(FORMATS.built_in, "twin", row(name="twin"))
    require_formats(["twin", "tiff"])
    with pytest.raises(SettingsError, match="'webm' and 'twin' have the same names"):
        require_formats(["webm", "tiff", "twin"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a/b"}, "lower-case"),
        ({"name": ""}, "lower-case"),
        ({"name": "WebM"}, "lower-case"),
        ({"ending": "webm"}, "cannot end with"),
        ({"ending": "_a/b.webm"}, "cannot end with"),
        ({"ending": "_matte"}, "cannot end with"),
        ({"ending": ".webm"}, "name of a source"),
        ({"before_tags": "/x"}, "cannot end with"),
        ({"ending": "_a_name_that_is_too_long.webm"}, "too long"),
    ],
)
def test_a_row_that_would_spoil_the_names_of_files_is_refused(
    changes: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        row(**changes)


def test_sizes_follow_a_vp9_matte_or_the_pixels() -> None:
    assert RelativeSize(1.5).picture_bytes(10.0, 1000, True) == 15.0
    assert FixedRate(0.4, 0.01).picture_bytes(10.0, 1000, False) == 400.0
    assert FixedRate(0.4, 0.01).picture_bytes(10.0, 1000, True) == 10.0
