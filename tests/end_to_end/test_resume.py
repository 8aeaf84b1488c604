"""Going on: what an unfinished run left is used where it is sound, and made again where it is not.

The real pipeline, with workers as threads; frames are compared decoded.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from orchestrator.fleet.journal_entries import Entry, SegmentCommitted
from orchestrator.out.journal import Journal
from pipeline.errors import DiskError
from tests.clips import X264, ClipSpec
from tests.runs import HereRun, committed, files_left, journal, outputs
from tests.shared_runs import GetClip, VideosOf

pytestmark = pytest.mark.slow

CLIPS = (
    ClipSpec("one_LR.mp4", X264, num_frames=24, eye=(96, 48), audio=("aac",)),
    ClipSpec("two_LR.mp4", X264, num_frames=16, eye=(96, 48)),
)
OTHER = ClipSpec("other_LR.mp4", X264, num_frames=20, eye=(104, 48))
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "stereo": {"mode": "independent"},
    "streaming": {"segment_frames": 8, "lanes": 2},
    "limits": {"reserve_gb": 0.0},
}
#: Segments of the clips above.
ALL = 5


@dataclass
class Unfinished:
    """An OUT whose segments are all committed and not yet joined, laid out anew for each test."""

    run: HereRun
    copy: Path
    outputs: dict[str, str]

    @property
    def out(self) -> Path:
        return self.run.out

    def lay_out(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self.copy, self.out, symlinks=True)

    def find(self, pattern: str) -> Path:
        """The first such file of the video that has three segments."""
        [third] = self.out.glob(".vrmatte/work/*/*/webm-000002.webm")
        return min(self.out.glob(pattern.replace("VIDEO", third.parent.parent.name)))

    def go_on(self) -> int:
        """Give the same command again; how many segments were made."""
        before = len(committed(self.out))
        status = self.run.run()
        assert status == 0, (status, self.run.said.getvalue())
        assert self.run.published() == self.outputs
        assert files_left(self.out) == set()
        return len(committed(self.out)) - before


@contextmanager
def no_room_to_join(patch: pytest.MonkeyPatch) -> Iterator[None]:
    def full(*arguments: object, **options: object) -> None:
        raise DiskError("no room left", "make room")

    with patch.context() as context:
        context.setattr("workers.work.finish_video", full)
        yield


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies, because a test replaces one."""
    return shutil.copytree(videos_of(CLIPS), tmp_path_factory.mktemp("base") / "videos")


@pytest.fixture(scope="module")
def made(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Unfinished:
    base = tmp_path_factory.mktemp("unfinished")
    here = HereRun(videos, base / "out", SETTINGS, threads=True)
    with pytest.MonkeyPatch.context() as patch, no_room_to_join(patch):
        while len(committed(here.out)) < ALL:  # each stop finishes what is in hand
            assert here.run() == 130, here.said.getvalue()
    assert len(committed(here.out)) == ALL
    shutil.copytree(here.out, base / "copy", symlinks=True)
    assert here.run() == 0, here.said.getvalue()
    return Unfinished(here, base / "copy", outputs(here.out))


@pytest.fixture
def unfinished(made: Unfinished) -> Unfinished:
    made.lay_out()
    return made


def test_sound_segments_are_not_made_again(unfinished: Unfinished) -> None:
    assert unfinished.go_on() == 0


def flip(path: Path, seed: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[Random(seed).randrange(len(content))] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap(path: Path) -> None:
    """Two whole segments under each other's name; the other is as long, with other pictures."""
    other = path.with_name(path.name.replace("1.webm", "2.webm"))
    third = path.with_name("third")
    path.rename(third)
    other.rename(path)
    third.rename(other)


DAMAGES: dict[str, tuple[Callable[[Path], None], int]] = {
    "a flipped bit at the beginning": (lambda path: flip(path, 1), 1),
    "a flipped bit in the middle": (lambda path: flip(path, 2), 1),
    "cut": (cut, 1),
    "empty": (lambda path: os.truncate(path, 0), 1),
    "deleted": (Path.unlink, 1),
    "swapped": (swap, 2),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_segment_is_noticed_and_made_again(damage: str, unfinished: Unfinished) -> None:
    do, lost = DAMAGES[damage]
    do(unfinished.find(".vrmatte/work/VIDEO/*/webm-000001.webm"))
    assert unfinished.go_on() == lost


@pytest.mark.parametrize("part", ["index.json", "*/prepared-matting.pt"])
@pytest.mark.parametrize("damage", ["a flipped bit in the middle", "cut", "empty", "deleted"])
def test_what_was_learnt_of_a_video_and_is_damaged_is_learnt_again(
    part: str, damage: str, unfinished: Unfinished
) -> None:
    DAMAGES[damage][0](unfinished.find(f".vrmatte/work/VIDEO/{part}"))
    # The missing segment is made with it.
    unfinished.find(".vrmatte/work/VIDEO/*/webm-000001.webm").unlink()
    assert unfinished.go_on() == 1


@pytest.mark.parametrize("name", [".vrmatte/run.yaml", "report.json", ".vrmatte/probed/VIDEO*"])
def test_records_that_are_damaged_are_written_anew(name: str, unfinished: Unfinished) -> None:
    record = unfinished.find(name)
    record.write_bytes(record.read_bytes()[:40] + b"\0\xff")
    assert unfinished.go_on() == 0
    assert b"\0" not in record.read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_or_garbled_journal_costs_only_what_it_no_longer_says(
    seed: int, unfinished: Unfinished
) -> None:
    random = Random(seed)
    path = unfinished.out / ".vrmatte/journal.jsonl"
    content = path.read_bytes()
    if seed % 2:
        content = content[: random.randrange(len(content))]
    else:
        garbled = bytearray(content)
        for _ in range(4):
            garbled[random.randrange(len(content))] = random.randrange(256)
        content = bytes(garbled)
    path.write_bytes(content)
    journal = Journal.open(path)
    known = {(e.video, e.segment) for e in journal.entries if isinstance(e, SegmentCommitted)}
    journal.close()
    assert unfinished.go_on() == ALL - len(known)


def test_a_journal_that_is_gone_costs_all_and_mixes_nothing(unfinished: Unfinished) -> None:
    (unfinished.out / ".vrmatte/journal.jsonl").unlink()
    assert unfinished.go_on() == ALL


def test_drafts_are_never_trusted(unfinished: Unfinished) -> None:
    segment = unfinished.find(".vrmatte/work/VIDEO/*/webm-000001.webm")
    draft = segment.with_name(f".{segment.name}.part")
    segment.rename(draft)
    assert unfinished.go_on() == 1
    assert not draft.exists()


def test_changed_settings_never_meet_old_segments(
    unfinished: Unfinished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = SETTINGS | {"encoding": {"vp9_crf": 50}}
    plain = HereRun(unfinished.run.videos, tmp_path / "plain", changed, threads=True)
    assert plain.run() == 0
    expected = outputs(plain.out)
    assert expected.keys() == unfinished.outputs.keys()
    assert not set(expected.values()) & set(unfinished.outputs.values())
    other = HereRun(unfinished.run.videos, unfinished.out, changed, threads=True)
    with no_room_to_join(monkeypatch):
        assert other.run() == 130
    assert other.run() == 0, other.said.getvalue()
    assert other.published() == expected
    assert unfinished.go_on() == 0  # and the old ones are still good for the old settings


@contextmanager
def after_a_segment(do: Callable[[], object], patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do something once, when a second segment is committed."""
    append = Journal.append
    done: list[bool] = []

    def watched(self: Journal, entry: Entry) -> None:
        append(self, entry)
        if isinstance(entry, SegmentCommitted) and not done and entry.start == 8:
            done.append(True)
            do()

    with patch.context() as context:
        context.setattr(Journal, "append", watched)
        yield
    assert done


def test_a_source_that_is_replaced_between_runs_is_another_video(
    unfinished: Unfinished, clip: GetClip, videos: Path, tmp_path: Path
) -> None:
    source = videos / CLIPS[0].name
    kept = tmp_path / "kept"
    shutil.copy2(source, kept)
    try:
        shutil.copy2(clip(OTHER), source)
        plain = HereRun(videos, tmp_path / "plain", SETTINGS, threads=True)
        assert plain.run() == 0
        before = len(committed(unfinished.out))
        assert unfinished.run.run() == 0, unfinished.run.said.getvalue()
        assert unfinished.run.published() == outputs(plain.out) != unfinished.outputs
        assert len(committed(unfinished.out)) == before + 3
        # Nothing of the old one takes up room.
        assert not list((unfinished.out / ".vrmatte/work").rglob("*.webm"))
    finally:
        shutil.copy2(kept, source)


def test_a_source_that_changes_during_a_run_is_set_aside_and_costs_only_itself(
    videos: Path, tmp_path: Path, made: Unfinished, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(videos, tmp_path / "videos")
    here = HereRun(folder, tmp_path / "out", SETTINGS, threads=True)

    def write_on() -> None:
        with (folder / CLIPS[0].name).open("ab") as file:
            file.write(b"more of it")

    with after_a_segment(write_on, monkeypatch):
        assert here.run() == 1, here.said.getvalue()
    report = json.loads((here.out / "report.json").read_text())
    results = {video["name"]: video for video in report["videos"]}
    assert results[CLIPS[1].name]["result"] == "done"
    assert results[CLIPS[0].name]["result"] == "failed"
    assert "was changed while it was worked on" in results[CLIPS[0].name]["error"]["message"]
    assert list(here.published()) == ["two_LR_360_matte.webm"]
    shutil.copy2(videos / CLIPS[0].name, folder / CLIPS[0].name)
    os.utime(folder / CLIPS[0].name, ns=(1, 1))
    assert here.run() == 0, here.said.getvalue()
    assert here.published() == made.outputs


def test_a_done_output_that_was_cut_is_made_again(made: Unfinished) -> None:
    made.lay_out()
    assert made.go_on() == 0
    cut(made.out / "one_LR_360_matte.webm")
    assert made.run.run() == 0
    assert outputs(made.out) == made.outputs
    assert [entry["entry"]["kind"] for entry in journal(made.out)][-1] == "run-ended"
