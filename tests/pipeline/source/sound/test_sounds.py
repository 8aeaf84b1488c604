"""What the probe says of sound, and that no decoder of sound costs a video its picture."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.contract import Ambisonics
from pipeline.errors import InputError
from pipeline.source.probe import info_from_json, info_to_json, probe_video
from pipeline.source.sound.trial import Room, Samples
from pipeline.vr_tags.sa3d import ambisonics_of, sa3d_box
from tests.clips import X264, ClipSpec
from tests.sounds import make_clip, sa3d, with_sound_box

GetClip = Callable[[ClipSpec], Path]

CLIP = ClipSpec("h264.mp4", X264, audio=("aac", "aac"))


@pytest.mark.slow
def test_a_layout_of_its_own_kind_is_read(tmp_path: Path) -> None:
    """PyAV frees what it does not own of such a layout: in a process that may crash."""
    plain = make_clip(tmp_path / "plain.mov", 6, "-c:a", "pcm_s16le")
    path = with_sound_box(plain, tmp_path / "odd_LR.mov", sa3d(1, 6, 0x80, (0, 2, 3, 1, 4, 5)))
    info = probe_video(path, tmp_path / "index.json")
    [track] = info.audio
    assert (track.channels, track.layout) == (6, "")
    assert track.ambisonics == Ambisonics(1, True, (0, 2, 3, 1, 4, 5))
    assert info.notes == ()
    assert info_from_json(info_to_json(info)) == info


@pytest.mark.slow
def test_a_box_that_makes_no_sense_is_noted(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "plain.mov", 6, "-c:a", "pcm_s16le")
    path = with_sound_box(plain, tmp_path / "odd_LR.mov", sa3d(3, 6, 0))
    info = probe_video(path, tmp_path / "index.json")
    assert [track.ambisonics for track in info.audio] == [None]
    assert info.notes == ("audio stream 1: its SA3D box makes no sense and is left out",)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (sa3d(1, 4, 0), Ambisonics(1, False, (0, 1, 2, 3))),
        (sa3d(1, 6, 0x80), Ambisonics(1, True, (0, 1, 2, 3, 4, 5))),
        (sa3d(1, 6, 0), None),  # two too many
        (sa3d(1, 4, 1), None),
        (sa3d(1, 4, 0, (0, 1, 1, 3)), None),
        (sa3d(0xFFFFFFFF, 4, 0), None),
        (sa3d(1, 4, 0)[:-1], None),
        (b"12345678", None),
    ],
    ids=("field", "stereo", "too many", "kind", "twice", "order", "cut", "other"),
)
def test_what_a_box_says(box: bytes, said: Ambisonics | None) -> None:
    assert ambisonics_of(box[8:]) == said
    if said is not None:
        assert sa3d_box(said) == box


#: What a decoder of sound may do to the process that tries it.
ENDS = {"crashed": "os.abort()", "hung": "time.sleep(1000)", "killed": "os.kill(os.getpid(), 9)"}

_LIBRARY = """
import sys
if sys.argv[0] == "-m" or "-m" in sys.orig_argv:
    import os, time
    from pipeline.source import video_info
    video_info.Sounds.tracks = lambda self: {end}
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_a_decoder_that_takes_the_probe_with_it_costs_the_sound_only(
    end: str, clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(CLIP)
    (tmp_path / "sitecustomize.py").write_text(_LIBRARY.format(end=ENDS[end]))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    deadline_s = 10.0 if end == "hung" else 60.0
    if end == "killed":  # by whoever ends the run: that says nothing of the file
        with pytest.raises(InputError, match="killed by SIGKILL"):
            probe_video(path, tmp_path / "index.json", deadline_s=deadline_s)
        return
    info = probe_video(path, tmp_path / "index.json", deadline_s=deadline_s)
    assert info.num_frames == 50
    assert info.audio == ()
    [note] = (note for note in info.notes if "sound" in note)
    how = "no end within 10 s" if end == "hung" else "killed by SIGABRT"
    assert note == f"its sound is left out: its decoder crashed or hung ({how})"


@dataclass
class Sized:
    """Stands for a packet."""

    number: int
    size: int = 100


@pytest.mark.parametrize("count", [1, 5, 6, 7, 49, 1000, 100_000])
def test_samples_are_spread_over_the_whole_track(count: int) -> None:
    room = Room(10_000)
    samples = Samples(room)
    for number in range(count):
        samples.add(Sized(number))
        assert room.left > 0
    numbers = [[packet.number for packet in run] for run in samples.runs()]
    flat = [number for run in numbers for number in run]
    assert flat == sorted(set(flat))
    assert all(run == list(range(run[0], run[0] + len(run))) for run in numbers)
    assert (flat[0], flat[-1]) == (0, count - 1)
    assert len(flat) == count if count < 49 else len(flat) >= 24
    widest = max((b - a for a, b in itertools.pairwise(flat)), default=0)
    assert widest <= max(1, count // 3)


def test_packets_that_are_too_large_are_not_kept() -> None:
    room = Room(1000)
    samples = Samples(room)
    for number in range(100):
        samples.add(Sized(number, 900))
    assert sum(len(run) for run in samples.runs()) <= 2
