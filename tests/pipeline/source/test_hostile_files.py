"""Files that would have other files read or addresses called, or take the machine's memory.

Each is refused with one clear line before a decoder sees it; a canary tells if anything was read.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import av
import imageio_ffmpeg
import psutil
import pytest
import torch

from pipeline.contract import AudioTrack, EncodingSettings
from pipeline.deliverables.sound.plan import WEBM_SOUND, plan_audio
from pipeline.errors import EncodeError, InputError
from pipeline.source.container import LARGEST_SIDE
from pipeline.source.decode import FrameReader
from pipeline.source.probe import probe_video
from pipeline.source.signature import CONTAINERS, container_of, find_container
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from pipeline.verify.readback import inspect_file
from tests.clips import SVT_AV1, VP9, X264, X265, ClipSpec
from tests.pipeline.canary import Canary, canary
from tests.pipeline.deliverables.test_webm import info
from tests.pipeline.hostile import SCRIPTS, dash_that_begins_like_mp4, hls, targets
from tests.pipeline.hostile import with_external_data as external

GetClip = Callable[[ClipSpec], Path]

TS = ClipSpec("clip.ts", X264, num_frames=10)
MP4 = ClipSpec("clip.mp4", X264, num_frames=10, audio=("aac",))


@pytest.fixture
def bird(clip: GetClip, tmp_path: Path) -> Iterator[Canary]:
    with canary(tmp_path / "canary.ts", clip(TS).read_bytes()) as watched:
        yield watched


def ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True, stderr=subprocess.PIPE)


def refusal(path: Path) -> str:
    """What the probe says of a file that it must not take, in one line."""
    with pytest.raises(InputError) as caught:
        probe_video(path, path.parent / "index.json", deadline_s=60)
    said = str(caught.value)
    assert said.isprintable()
    assert "Traceback" not in said
    assert not list(path.parent.glob("*index.json*"))
    return said


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_is_named_and_nothing_it_names_is_touched(
    kind: str, suffix: str, bird: Canary, tmp_path: Path
) -> None:
    for target in targets(bird).values():
        path = tmp_path / f"clip{suffix}"
        path.write_bytes(SCRIPTS[kind](target if "SDP" not in kind else bird.address))
        assert kind.strip() in refusal(path)
        with pytest.raises(InputError):
            read_video(path, tmp_path / "index.json", None)
        with pytest.raises(EncodeError):
            inspect_file(path)
    assert not bird.was_touched()


@pytest.mark.parametrize("kind", SCRIPTS)
def test_the_joining_of_sound_obeys_no_script(kind: str, bird: Canary, tmp_path: Path) -> None:
    path, target = tmp_path / "clip.mp4", tmp_path / "sound.webm"
    path.write_bytes(SCRIPTS[kind](str(bird.path) if "SDP" not in kind else bird.address))
    track = AudioTrack(0, "aac", 1, 48000, 0.0, 1.0)
    plan = plan_audio(info(path=str(path), audio=(track,)), 0, 10, EncodingSettings(), WEBM_SOUND)
    with pytest.raises(subprocess.CalledProcessError):
        ffmpeg(*plan.input, *plan.output, str(target))
    assert not bird.was_touched()


@pytest.mark.parametrize("make", [hls, dash_that_begins_like_mp4])
def test_the_order_of_the_checks_matters(
    make: Callable[[str], bytes], bird: Canary, tmp_path: Path
) -> None:
    """TorchCodec itself obeys what the probe refuses; it must never see such a file."""
    from pipeline.torchcodec_import import decoders

    path = tmp_path / "clip.mp4"
    path.write_bytes(make(str(bird.path)))
    with suppress(RuntimeError, ValueError):
        decoders.VideoDecoder(str(path))
    if not bird.was_touched():
        pytest.skip("the FFmpeg that TorchCodec found here reads no such playlist")
    refusal(path)
    assert not bird.was_touched()


def test_an_mp4_cannot_name_another_file_for_its_samples(
    clip: GetClip, bird: Canary, tmp_path: Path
) -> None:
    from pipeline.torchcodec_import import decoders

    path = tmp_path / "external.mp4"
    path.write_bytes(external(clip(MP4).read_bytes(), bird.path))

    def demux(options: dict[str, str]) -> None:
        with suppress(av.FFmpegError), av.open(f"file:{path}", options=options) as container:
            list(container.demux())

    demux({"enable_drefs": "1"})
    assert bird.was_touched(), "the file is not the attack that it should be"
    assert "holds no frame" in refusal(path)
    with suppress(RuntimeError):
        list(decoders.Demuxer(str(path), streams="video"))
    target = tmp_path / "sound.webm"
    with suppress(subprocess.CalledProcessError):
        ffmpeg("-i", f"file:{path}", "-map", "0", str(target))
    assert not bird.was_touched()


def test_every_container_that_is_taken_is_known_by_its_head(clip: GetClip, tmp_path: Path) -> None:
    source = clip(MP4)
    variants = {
        "fast.mp4": ("-movflags", "+faststart"),
        "fragmented.mp4": ("-movflags", "+frag_keyframe+empty_moov"),
        "dash.mp4": ("-movflags", "+dash+delay_moov"),
        "plain.m4v": ("-an",),
        "plain.mov": (),
        "plain.mkv": (),
        "plain.ts": (),
        "plain.mts": ("-f", "mpegts"),
        "plain.m2ts": ("-f", "mpegts", "-mpegts_m2ts_mode", "1"),
    }
    files = [clip(ClipSpec("clip.webm", VP9, num_frames=10)), clip(MP4)]
    files.append(clip(ClipSpec("clip.avi", X264, num_frames=10)))
    for name, options in variants.items():
        ffmpeg("-i", str(source), "-c", "copy", *options, str(tmp_path / name))
        files.append(tmp_path / name)
    seen = set()
    for path in files:
        container = find_container(path)
        with av.open(str(path)) as opened:
            assert container in opened.format.name.split(",")
        assert probe_video(path, tmp_path / "index.json").num_frames == 10
        seen.add(container)
    assert seen == set(CONTAINERS)


def test_a_recording_that_begins_in_the_middle_of_a_packet_is_taken(
    clip: GetClip, tmp_path: Path
) -> None:
    path = tmp_path / "late.ts"
    path.write_bytes(clip(TS).read_bytes()[100:])
    assert container_of(path.read_bytes()) == "mpegts"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(100), "a JPEG picture"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (b"ID3\x04" + bytes(100), "an MP3 file"),
        (b"\n<!DOCTYPE html><html>not found</html>", "a web page"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(50), "a WAV file"),
        (bytes(5000), "zeros, as a broken-off download"),
        (b"Go and see. " * 1000, "text"),
        (b"G" * 5000, "text"),
        (b"\x1aE\xdf\xa3\x84B\x82\x84none" + bytes(100), "not known"),
        (b"\x00\x00\x00\x04ftypisom" + bytes(100), "not known"),
    ],
)
def test_other_files_are_called_what_they_look_like(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert words in refusal(path)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    fifo, folder, plug = (tmp_path / name for name in ("fifo.mp4", "folder.mp4", "socket.mp4"))
    os.mkfifo(fifo)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(plug))
        for path in (fifo, folder, plug, Path("/dev/zero")):
            with pytest.raises(InputError, match="is not a file"):
                probe_video(path, tmp_path / "index.json")
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_reader_takes_no_address_and_no_other_file(clip: GetClip, tmp_path: Path) -> None:
    path = clip(MP4)
    video = probe_video(path, tmp_path / "index.json")
    index = FrameIndex.load(tmp_path / "index.json")
    device = torch.device("cpu")
    FrameReader(video, index, device)
    for address in ("http://127.0.0.1/clip.mp4", "clip.mp4", f"file:{path}", "concat:a|b"):
        with pytest.raises(ValueError, match="not an absolute path"):
            FrameReader(info(path=address), index, device)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="changed"):
        FrameReader(info(path=str(copy), size_bytes=video.size_bytes), index, device)
    with pytest.raises(InputError, match="is not a file"):
        FrameReader(info(path=str(tmp_path)), index, device)


@pytest.mark.parametrize(
    ("setpts", "words"),
    [
        ("if(gt(N\\,5)\\,PTS+40*365*86400/TB\\,PTS)", "leaps by .* hours after frame 5"),
        ("if(gt(N\\,5)\\,PTS+2*3600/TB\\,PTS)", "leaps by 2 hours after frame 5"),
        ("if(gt(N\\,5)\\,PTS+1000/TB\\,PTS)", "claims 300.. frames"),
        ("N/3000/TB", "claims 3000 frames a second"),
    ],
)
def test_time_stamps_that_leap_make_no_endless_film(
    setpts: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / ("leap.mp4" if "3000" in setpts else "leap.mkv")
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=s=64x32:r=30:d=1", "-vf", f"settb=1/90000,setpts={setpts}"),
        *("-fps_mode", "passthrough", "-enc_time_base", "1/90000"),
        *("-c:v", "libx264", "-bf", "0", "-video_track_timescale", "90000", str(path)),
    )
    assert re.search(words, refusal(path))


def test_a_pause_is_no_leap(tmp_path: Path) -> None:
    path = tmp_path / "pause.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=s=64x32:r=30:d=1"),
        *("-vf", "setpts=if(gt(N\\,5)\\,PTS+10/TB\\,PTS)", "-fps_mode", "passthrough"),
        *("-c:v", "libx264", str(path)),
    )
    assert probe_video(path, tmp_path / "index.json").num_frames == 330


def test_a_picture_larger_than_any_camera_s_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x32:d=0.1", "-c:v", "rawvideo", str(path))
    content = bytearray(path.read_bytes())
    header = content.index(b"strf") + 8
    content[header + 4 : header + 8] = (LARGEST_SIDE + 2).to_bytes(4, "little")
    path.write_bytes(content)
    assert f"claims a picture of {LARGEST_SIDE + 2}x32" in refusal(path)


def test_a_picture_too_small_for_an_eye_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x32:d=0.1,scale=2:64", "-c:v", "ffv1", str(path))
    assert "has a picture of 2x64" in refusal(path)


def test_a_file_of_a_hundred_streams_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "streams.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=s=64x32:d=0.1", "-f", "lavfi", "-i", "sine=d=0.1"),
        *("-map", "0", *("-map", "1") * 100, "-c:a", "pcm_u8", str(path)),
    )
    assert "streams" in refusal(path)


def test_titles_are_cut_and_made_harmless(tmp_path: Path) -> None:
    path, damaged = tmp_path / "title.mp4", tmp_path / "damaged.mp4"
    title = "one\ntwo\x1b[31mred\u202e" + "x" * 5000
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=s=64x32:d=0.1", "-f", "lavfi", "-i", "sine=d=0.1"),
        *("-metadata", f"title={title}", "-metadata:s:a:0", f"title={title}", str(path)),
    )
    video = probe_video(path, tmp_path / "index.json")
    for text in (video.title, video.audio[0].title, video.audio[0].language):
        assert text.isprintable()
        assert len(text) <= 200
    assert video.title.startswith("one�two�[31mred")
    damaged.write_bytes(path.read_bytes().replace(b"one\n", b"\xff\xfe\x80\n"))
    assert probe_video(damaged, tmp_path / "index.json").title.startswith("���")


def in_child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_child_s_limits_hold(clip: GetClip, tmp_path: Path) -> None:
    code = """
import sys, pipeline.source.probe_server as server, pipeline.source.video_info
server._MEMORY_BYTES = int(sys.argv[1])
server._FILE_BYTES = int(sys.argv[2])
server.limit_this_process(60)
server.answer_to(server.Asked(*sys.argv[3:], None, None, 60), sys.stdout)
"""
    files = str(clip(MP4)), str(tmp_path / "index.json")
    *_, whole = in_child(code, str(1 << 30), "100000", *files).stdout.splitlines()
    assert json.loads(whole)["info"]["audio"]
    without_memory = json.loads(in_child(code, "100000", "100000", *files).stdout)
    assert "takes more than" in without_memory["error"]
    assert without_memory["kind"] == "input"
    (tmp_path / "index.json").unlink()
    without_room = in_child(code, str(1 << 30), "150", *files)
    assert "time stamps" in json.loads(without_room.stdout)["error"]
    assert list(tmp_path.iterdir()) == []


def test_no_module_is_taken_from_where_the_command_was_typed(
    clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(MP4)
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("av", "json", "numpy", "pydantic", "pipeline"):
        (trap / f"{name}.py").write_text("raise SystemExit('the trap has closed')")
    monkeypatch.chdir(trap)
    assert probe_video(path, tmp_path / "index.json").num_frames == 10


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipe into which a probe says its process's number; it never ends by itself."""
    folder, told = tmp_path / "library", tmp_path / "told"
    folder.mkdir()
    os.mkfifo(told)
    os.mkfifo(tmp_path / "never")
    (folder / "av.py").write_text(
        "import os\n"
        f"with open({str(told)!r}, 'w') as file:\n"
        "    file.write(str(os.getpid()))\n"
        f"open({str(tmp_path / 'never')!r}).read()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return told


def test_a_probe_that_hangs_is_killed(clip: GetClip, hanging: Path, tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(InputError, match="could not be read within 3 s"):
        probe_video(clip(MP4), tmp_path / "index.json", deadline_s=3)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_probe_ends_with_whoever_asked_for_it(
    clip: GetClip, hanging: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, pathlib as p, pipeline.source.probe as q;"
        " q.probe_video(*map(p.Path, sys.argv[1:]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, clip(MP4), tmp_path / "index.json"])
    try:
        child = psutil.Process(int(hanging.read_text()))
        assert child.ppid() == parent.pid
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not alive


@pytest.mark.slow
@pytest.mark.parametrize("codec", [X265, SVT_AV1])
def test_8k_in_ten_bits_stays_within_the_limits(codec: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "8k.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=8192x4096:r=30:d=0.17"),
        *("-pix_fmt", "yuv420p10le", *codec, str(path)),
    )
    video = probe_video(path, tmp_path / "index.json")
    assert (video.width, video.height, video.bit_depth, video.num_frames) == (8192, 4096, 10, 6)
