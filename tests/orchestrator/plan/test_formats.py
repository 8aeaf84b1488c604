"""Formats on the way of a job: their names, what does not fit, and their encoders' memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.fleet.jobs import Plan
from orchestrator.machine.segment_memory import encoders_bytes_per_pixel, with_needs
from orchestrator.out.output_names import output_name
from orchestrator.plan.discover import Source, discover
from orchestrator.plan.places import Places
from orchestrator.plan.planner import Planner, Wanted
from orchestrator.run.said import plan_remarks
from orchestrator.settings.settings import load_settings, video_settings
from pipeline.contract import EncodingSettings, VideoInfo, VideoSettings
from pipeline.deliverables.fit import with_encoder
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import SettingsError
from tests.nvenc import works
from tests.orchestrator.snapshots import ProbeDouble
from tests.orchestrator.worlds import make_job


def test_no_output_is_taken_for_a_source_or_for_another_output(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    video = make_job().info
    names = {output_name("talk", name, video) for name in FORMATS.built_in}
    assert len(names) == len(FORMATS.built_in)
    for output in names:
        (tmp_path / "in" / output).touch()
    sources = ["talk_green.mp4", "talk_LR_180_FISHEYE_F180_alpha.mp4"]
    for source in sources:  # one that others packed, and one that is filmed before a screen
        (tmp_path / "in" / source).touch()
    assert [s.name for s in discover([tmp_path / "in"], tmp_path / "out")] == sources


def planner(out: Path, settings: VideoSettings) -> Planner:
    return Planner(
        Places(out),
        wanted=lambda source: Wanted(settings),
        probe=ProbeDouble(),
        settle=lambda info, chosen, index: with_encoder(
            replace(info, width=8192, height=4096), chosen, works
        ),
    )


def test_a_video_too_large_for_its_codec_is_set_aside_and_told_another(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a_LR_180.mp4").write_bytes(b"a")
    sources = discover([tmp_path / "in"], tmp_path / "out")
    encoding = EncodingSettings(codec="h264", encoder="nvenc")
    settings = VideoSettings(deliverables=("webm", "greenscreen"), encoding=encoding)
    [aside] = planner(tmp_path / "out", settings).plan(sources).set_aside
    assert "8192x4096 is too large for H.264 by NVENC" in aside.error.message
    assert "encoding.codec: hevc" in aside.error.advice
    fits = replace(settings, encoding=EncodingSettings(codec="hevc"))
    [job] = planner(tmp_path / "out", fits).plan(sources).jobs
    assert job.settings.encoding.encoder == "nvenc"
    assert [Path(output).name for output in job.outputs] == [
        "a_LR_180_matte.webm",
        "a_LR_180_matte_green.mp4",
    ]
    other = replace(settings, deliverables=("webm",))
    assert len(planner(tmp_path / "out", other).plan(sources).jobs) == 1


def test_every_further_format_needs_memory_for_its_encoder() -> None:
    job = make_job()
    one = with_needs(job, False)
    two = with_needs(
        replace(job, settings=replace(job.settings, deliverables=("webm", "greenscreen"))), False
    )
    assert two.ram_bytes > one.ram_bytes
    assert two.vram_bytes == one.vram_bytes
    av1 = VideoSettings(deliverables=("greenscreen",), encoding=EncodingSettings(codec="av1"))
    hevc = VideoSettings(deliverables=("greenscreen",))
    assert encoders_bytes_per_pixel(av1) > encoders_bytes_per_pixel(hevc)


def wanted_so(settings: VideoSettings, source: Source) -> Wanted:
    return Wanted(settings)


@dataclass
class OldCamera(ProbeDouble):
    """Ten bits, two fields a picture and a time code in every file."""

    def __call__(self, path: Path, index_path: Path, **asked: Any) -> VideoInfo:
        found = super().__call__(path, index_path, **asked)
        tags = {"first_field": "top", "timecode": "01:00:00:00", "notes": ("odd",)}
        return replace(found, bit_depth=10, **tags)  # type: ignore[arg-type]


def test_what_a_format_does_not_keep_is_a_note_in_the_plan_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a_LR_180.mp4").write_bytes(b"a")
    sources = discover([tmp_path / "in"], tmp_path / "out")
    probe = OldCamera()
    for deinterlace, field, note in (
        ("auto", "top", "interlaced (top field first): made whole by bwdif"),
        ("off", None, "interlaced: its fields are left woven (input.deinterlace: off)"),
    ):
        (tmp_path / "asked.yaml").write_text(f"input:\n  deinterlace: {deinterlace}\n")
        asked = video_settings(load_settings(tmp_path / "asked.yaml", {}))
        settings = VideoSettings(deliverables=("webm", "prores"), deinterlace=asked.deinterlace)
        made = Planner(Places(tmp_path / "out"), partial(wanted_so, settings), probe=probe)
        for _ in range(2):  # the second time by the probe that was kept
            [job] = made.plan(sources).jobs
            assert job.info.first_field == field
            lines = [line.partition(": ")[2] for line in plan_remarks(Plan((job,), ()))]
            assert lines == [
                "odd",
                note,
                "the source's 10 bits are delivered as 8 in webm",
                "the time code 01:00:00:00 is not kept in webm",
            ]
    assert probe.probed == ["a_LR_180.mp4"]


def test_ten_bits_take_more_memory_only_where_they_are_carried() -> None:
    job = make_job()
    ten = replace(job, info=replace(job.info, bit_depth=10))
    for format_name, more in (("webm", False), ("tiff", False), ("matte", True), ("prores", True)):
        settings = replace(job.settings, deliverables=(format_name,))
        needs = [with_needs(replace(j, settings=settings), False).ram_bytes for j in (job, ten)]
        assert (needs[1] > needs[0]) == more


@pytest.mark.parametrize("color", ["green", "#2BE64", "#2BE6401", "2BE640", "#GGGGGG"])
def test_a_screen_colour_is_six_hexadecimal_digits(color: str) -> None:
    with pytest.raises(SettingsError, match=r"encoding\.screen_color"):
        load_settings(None, {"encoding": {"screen_color": color}})
