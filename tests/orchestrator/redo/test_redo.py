"""`vrmatte redo`: what is made again, what stays, and what is left by one that does not end."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
from rich.console import Console

from orchestrator.fleet.journal_entries import Entry, SegmentCommitted, VideoDone
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal, read_entries
from orchestrator.watch.status import show_status
from pipeline.contract import Finding
from pipeline.deliverables.tiff import Tiff
from pipeline.errors import DiskError, EncodeError, VrmatteError
from pipeline.files.publish import file_digest
from pipeline.verify.readback import inspect_file
from tests.clips import X264, ClipSpec, read_sounds
from tests.finished import digests
from tests.runs import HereRun, committed, journal
from tests.shared_runs import UndisturbedRun, VideosOf

CLIP = ClipSpec("talk_LR_180.mkv", X264, num_frames=24, audio=("libopus",))
WEBM, TIFF = "talk_LR_180_matte.webm", "talk_LR_180_matte.tif"
CHOKE = "matting.choke=3"
#: Segments 1 and 2 of 4, of 6 frames each at 30 frames a second.
PART = {"begin": "0.25", "end": "0.45", "assignments": (CHOKE,)}
MADE = range(6, 18)


def settings(**matting: object) -> dict[str, dict[str, object]]:
    return {
        "output": {"formats": ["webm", "tiff"]},
        "streaming": {"segment_frames": 6},
        "matting": {"model": "chroma", **matting},
        "stereo": {"mode": "independent"},
    }


@pytest.fixture(scope="module")
def former(undisturbed_run: UndisturbedRun) -> Path:
    return undisturbed_run([CLIP], settings()).out


@pytest.fixture(scope="module")
def choked(undisturbed_run: UndisturbedRun) -> Path:
    """By a whole run with the new setting."""
    return undisturbed_run([CLIP], settings(choke=3)).out


@pytest.fixture
def here(former: Path, videos_of: VideosOf, tmp_path: Path) -> HereRun:
    """The finished OUT, to be changed."""
    out = tmp_path / "out"
    shutil.copytree(former, out)
    return HereRun(videos_of([CLIP]), out, settings(), threads=True)


@pytest.fixture(scope="module")
def redone(former: Path, videos_of: VideosOf, tmp_path_factory: pytest.TempPathFactory) -> HereRun:
    """With a part that was made again."""
    out = tmp_path_factory.mktemp("redone") / "out"
    shutil.copytree(former, out)
    run = HereRun(videos_of([CLIP]), out, settings(), threads=True)
    assert run.redo("talk", **PART) == 0, run.said.getvalue()
    return run


def pages(path: Path) -> list[bytes]:
    with tifffile.TiffFile(path) as stack:
        return [page.asarray().tobytes() for page in stack.pages]


def files(out: Path) -> dict[str, str]:
    return {name: file_digest(out / name) for name in (WEBM, TIFF)}


def mixed(old: list[Any], new: list[Any]) -> list[Any]:
    assert old[MADE.start] != new[MADE.start]
    return [*old[: MADE.start], *new[MADE.start : MADE.stop], *old[MADE.stop :]]


def test_frames_in_the_part_are_those_of_a_whole_run_and_all_others_stay(
    former: Path, choked: Path, redone: HereRun
) -> None:
    for read, name in ((digests, WEBM), (pages, TIFF)):
        old, new, now = (read(out / name) for out in (former, choked, redone.out))
        assert now == mixed(old, new)


def test_packets_outside_of_the_part_and_the_sound_are_copied(
    former: Path, choked: Path, redone: HereRun
) -> None:
    old, new, now = (inspect_file(out / WEBM) for out in (former, choked, redone.out))
    assert now.packets == tuple(mixed(list(old.packets), list(new.packets)))
    assert (now.sound, now.audio_s, now.pts_s) == (old.sound, old.audio_s, old.pts_s)
    assert read_sounds(redone.out / WEBM) == read_sounds(former / WEBM)


def test_the_range_is_widened_to_the_borders_of_segments_and_that_is_said(redone: HereRun) -> None:
    said = redone.said.getvalue()
    assert (
        "redoing 0:00.20 to 0:00.60 of talk_LR_180.mkv: segments 2 and 3 of 4, with matting.choke 3"
        in said
    )


def test_status_and_report_tell_of_the_part(redone: HereRun) -> None:
    said = "made again: 0:00.20 to 0:00.60, with matting.choke 3"
    words = io.StringIO()
    show_status(redone.out, Console(file=words, width=120))
    assert f"talk_LR_180.mkv: {said}" in words.getvalue()
    (video,) = json.loads((redone.out / "report.json").read_text())["videos"]
    assert video["result"] in ("done", "done earlier")  # as of a run on it since
    assert said in video["notes"]
    assert video["redone"] == [{"begin_s": 0.2, "end_s": 0.6, "differs": {"matting.choke": "3"}}]
    assert [file["digest"] for file in video["outputs"]] == list(files(redone.out).values())


def test_a_later_run_with_the_former_settings_leaves_it(redone: HereRun) -> None:
    before = files(redone.out)
    assert redone.run() == 0
    assert "was done earlier" in redone.said.getvalue()
    assert files(redone.out) == before
    (video,) = json.loads((redone.out / "report.json").read_text())["videos"]
    assert (video["result"], len(video["redone"])) == ("done earlier", 1)


def test_what_was_found_in_the_part_is_new_and_elsewhere_stays(
    former: Path, choked: Path, redone: HereRun
) -> None:
    old, new, now = (findings(out) for out in (former, choked, redone.out))
    assert old != new
    assert now == [old[0], new[1], new[2], old[3]]


def findings(out: Path) -> list[tuple[Finding, ...]]:
    """Of each segment, by the settings that OUT says its video was made with."""
    (video,) = json.loads((out / ".vrmatte/videos.json").read_text())
    found = {
        entry.segment: entry.result.findings
        for entry in read_entries(out / ".vrmatte/journal.jsonl")
        if isinstance(entry, SegmentCommitted) and entry.settings == video["settings"]
    }
    return [found[number] for number in sorted(found)]


def test_a_part_that_is_made_again_with_the_former_settings_is_as_it_was(
    former: Path, redone: HereRun, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(redone.out, out)
    run = HereRun(redone.videos, out, settings(), threads=True)
    assert run.redo("talk", begin="0.3", end="0.31") == 0
    old, choked = (digests(place / WEBM) for place in (former, redone.out))
    assert digests(out / WEBM) == [*choked[:6], *old[6:12], *choked[12:]]


def test_a_redo_that_was_undone_can_be_done_again(
    former: Path, redone: HereRun, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(redone.out, out)
    run = HereRun(redone.videos, out, settings(), threads=True)
    for asked, like in (({**PART, "assignments": ()}, former), (PART, redone.out)):
        assert run.redo("talk", **asked) == 0, run.said.getvalue()
        assert files(out) == files(like)
    assert run.run() == 0
    assert "was done earlier" in run.said.getvalue()
    (video,) = json.loads((out / "report.json").read_text())["videos"]
    assert [part["differs"] for part in video["redone"]] == [{"matting.choke": "3"}]


def test_a_video_that_is_begun_anew_is_as_before_and_can_be_redone(
    former: Path, redone: HereRun, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(redone.out, out)
    fresh = HereRun(redone.videos, out, settings(), threads=True, fresh=True)
    assert fresh.run() == 0
    assert files(out) == files(former)
    words = io.StringIO()
    show_status(out, Console(file=words, width=120))
    assert "again" not in words.getvalue()
    (video,) = json.loads((out / "report.json").read_text())["videos"]
    assert (video["result"], video["redone"]) == ("done", [])
    assert fresh.redo("talk", **PART) == 0
    assert files(out) == files(redone.out)


def test_of_several_sets_of_files_one_is_made_again(redone: HereRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(redone.out, out)
    before = files(out)
    other = settings() | {"output": {"formats": ["prores"]}}
    run = HereRun(redone.videos, out, other, threads=True)
    assert run.run() == 0
    (prores,) = out.glob("*.mov")
    was = file_digest(prores)
    error = run.redo("talk", **PART)
    assert isinstance(error, VrmatteError)
    assert "talk may be talk_LR_180.mkv, talk_LR_180.mkv (webm, tiff)" in error.message
    assert run.redo(prores.name, **PART) == 0
    assert file_digest(prores) != was
    assert files(out) == before
    assert run.redo("talk_LR_180.mkv (webm, tiff)", **{**PART, "assignments": ()}) == 0
    now = files(out)
    assert now != before
    words = io.StringIO()
    show_status(out, Console(file=words, width=160))
    told = [line for line in words.getvalue().splitlines() if "made again" in line]
    assert told == [
        "talk_LR_180.mkv: made again: 0:00.20 to 0:00.60, with matting.choke 3",
        "talk_LR_180.mkv (webm, tiff): made again: 0:00.20 to 0:00.60, with the settings of the"
        " video",
    ]
    report = json.loads((out / "report.json").read_text())
    assert [(len(v["redone"]), v["of_this_run"]) for v in report["videos"]] == [
        (1, True),
        (1, False),
    ]
    for again in (settings(), other):
        later = HereRun(run.videos, out, again, threads=True)
        assert later.run() == 0
        assert "was done earlier" in later.said.getvalue()
    assert files(out) == now


def test_files_of_which_another_run_made_some_since_are_made_again_alone(here: HereRun) -> None:
    other = settings(choke=1) | {"output": {"formats": ["tiff"]}}
    run = HereRun(here.videos, here.out, other, threads=True)
    assert run.run() == 0
    before = files(here.out)
    assert run.redo(WEBM, **PART) == 0, run.said.getvalue()
    now = files(here.out)
    assert (now[WEBM] != before[WEBM], now[TIFF]) == (True, before[TIFF])
    error = run.redo(WEBM, **PART)
    assert isinstance(error, VrmatteError)
    assert "nothing to redo" in error.message


def test_a_damaged_list_of_videos_does_not_hinder(here: HereRun, redone: HereRun) -> None:
    (here.out / ".vrmatte/videos.json").write_text("[{]")
    assert here.redo("talk", **PART) == 0
    assert files(here.out) == files(redone.out)


def test_all_of_a_video_made_again_is_that_of_a_run_with_these_settings(
    here: HereRun, choked: Path
) -> None:
    assert here.redo("talk_LR_180.mkv", assignments=(CHOKE,)) == 0
    assert files(here.out) == files(choked)
    for matting in ({}, {"choke": 3}):
        again = HereRun(here.videos, here.out, settings(**matting), threads=True)
        assert again.run() == 0
        assert "was done earlier" in again.said.getvalue()
    assert files(here.out) == files(choked)


def test_a_redo_that_was_killed_leaves_the_former_files_and_is_resumed(
    here: HereRun, redone: HereRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, made = files(here.out), len(committed(here.out))
    with monkeypatch.context() as patched:
        broken_at(patched, lambda entry: len(committed(here.out)) == made + 1)
        assert isinstance(here.redo("talk", **PART), DiskError)
    assert files(here.out) == before
    words = io.StringIO()
    show_status(here.out, Console(file=words, width=120))
    assert "a redo is not finished: 0:00.20 to 0:00.60" in words.getvalue()
    assert here.redo("talk", **PART) == 0
    assert len(committed(here.out)) == made + 2
    assert files(here.out) == files(redone.out)


def test_a_redo_that_was_killed_between_a_name_and_its_record_is_ended(
    here: HereRun, redone: HereRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        broken_at(patched, lambda entry: isinstance(entry, VideoDone))
        assert isinstance(here.redo("talk", **PART), DiskError)
    assert here.redo("talk", **PART) == 0
    assert files(here.out) == files(redone.out)
    assert journal(here.out)[-2]["entry"]["kind"] == "video-done"


def broken_at(patched: pytest.MonkeyPatch, is_there: Callable[[Entry], bool]) -> None:
    """The journal takes no entry from there on."""
    append = Journal.append

    def failing(self: Journal, entry: Entry) -> None:
        if is_there(entry):
            raise DiskError("the disk is gone")
        append(self, entry)

    patched.setattr(Journal, "append", failing)


def test_where_a_new_file_is_not_what_it_should_be_the_former_one_stays(
    here: HereRun, redone: HereRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(here.out)

    def wrong(self: Tiff, path: Path, num_frames: int) -> None:
        raise EncodeError("it has wrong pages")

    with monkeypatch.context() as patched:
        patched.setattr(Tiff, "verify", wrong)
        assert here.redo("talk", **PART) == 1
    assert "failed: it has wrong pages\ntalk_LR_180.mkv is as it was\n" in here.said.getvalue()
    assert files(here.out)[TIFF] == before[TIFF]
    assert here.redo("talk", **PART) == 0
    assert files(here.out) == files(redone.out)


@pytest.mark.parametrize(
    ("asked", "message", "advice"),
    [
        ({"video": "walk"}, "OUT holds no video walk", "it holds talk_LR_180.mkv"),
        ({"begin": "9"}, "talk_LR_180.mkv ends at 0:00.80; the range begins at 9", "--from"),
        ({"begin": "x"}, "--from 'x' is no time", "12.5, 1:02"),
        ({"begin": "0.5", "end": "0.2"}, "the range ends at 0.2 and begins at 0.5", "--to"),
        ({"begin": "0.5"}, "nothing to redo", "--model"),
        ({"assignments": ("matting.chok=2",)}, "no key 'matting.chok'", "matting.choke"),
        ({"assignments": ("choke",)}, "--set 'choke' is no setting", "GROUP.KEY=VALUE"),
        ({"assignments": ("matting.choke=many",)}, "matting.choke = 'many'", "pixels"),
        ({"assignments": ("output.formats=[webm]",)}, "--set output.formats", "vrmatte run"),
        ({"begin": "0", "end": "0.1", "assignments": ("encoding.vp9_crf=9",)}, "encoding", "whole"),
        ({"begin": "0", "end": "0.1", "assignments": ("enhance.scale=2",)}, "as large", "whole"),
        ({"model": "nobody"}, "nobody", "chroma"),
    ],
)
def test_what_cannot_be_redone_is_one_line(
    former: Path, videos_of: VideosOf, asked: dict[str, Any], message: str, advice: str
) -> None:
    error = HereRun(videos_of([CLIP]), former, settings(), threads=True).redo(
        **{"video": "talk", **asked}
    )
    assert isinstance(error, VrmatteError)
    assert message in error.message
    assert advice in error.advice
    assert "\n" not in error.message


def test_a_source_or_a_file_that_changed_since_is_noticed(here: HereRun) -> None:
    with (here.out / WEBM).open("r+b") as file:
        file.seek(-20, 2)
        file.write(b"\xff")
    error = here.redo("talk", **PART)
    assert isinstance(error, VrmatteError)
    assert "is not as it was made" in error.message


def test_a_video_that_is_not_finished_or_in_work_is_one_line(
    here: HereRun,
) -> None:
    with OutFolder(here.out).locked():
        error = here.redo("talk", **PART)
    assert isinstance(error, VrmatteError)
    assert "a run is going on" in error.message
    path = here.out / ".vrmatte/journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "video-done" not in line))
    error = here.redo("talk", **PART)
    assert isinstance(error, VrmatteError)
    assert "talk_LR_180.mkv is not finished" in error.message
