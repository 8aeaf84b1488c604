"""What libavcodec says of NVENC is understood: the driver it needs, and why it does not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contract.nvenc_ways import WAYS, named
from pipeline.encode.ffmpeg_pipe import ffmpeg_path
from pipeline.encode.nvenc_library import (
    capability_words,
    has_no_nvenc,
    is_older,
    is_session_refused,
    lacks_video_capability,
    needed_driver,
    nvenc_cause,
    pyavs_libavcodec,
)
from tests.nvenc import FFMPEG_SAYS, NO_KEY, NO_LIBRARY, NO_NVENC, NO_SESSION, OLD_FOR_FFMPEG


def test_the_driver_that_is_needed_is_read_from_the_library_itself() -> None:
    """PyAV's libraries need an older one than the bundled ffmpeg, hence the two ways."""
    pyav, ffmpeg = needed_driver(pyavs_libavcodec()), needed_driver(ffmpeg_path())
    assert pyav is not None
    assert ffmpeg is not None
    assert is_older(pyav, ffmpeg)
    assert not is_older("580.65.06", pyav)
    assert is_older("580.65.06", ffmpeg)


def test_a_library_that_does_not_say_needs_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "other").write_bytes(b"x" * 5000)
    (tmp_path / "short").write_bytes(b"Loaded Nvenc version %d.%d\n\0(unknown)\0")
    for name in ("empty", "other", "short", "gone"):
        assert needed_driver(tmp_path / name) is None
    assert needed_driver(None) is None


@pytest.mark.parametrize("cause", [NO_LIBRARY, OLD_FOR_FFMPEG, NO_NVENC, NO_SESSION])
def test_the_cause_is_found_among_what_follows_from_it(cause: str) -> None:
    """Below a library that is missing ffmpeg names a driver, whichever is there."""
    assert nvenc_cause(FFMPEG_SAYS.format(cause=cause)) == cause
    pyav = f"[Errno 1] x; last error log: [hevc_nvenc] The minimum required\n[hevc_nvenc] {cause}\n"
    assert nvenc_cause(pyav) == cause


def test_what_others_say_is_no_cause() -> None:
    assert nvenc_cause("[libx265 @ 0x1] 10 bit is not supported\n") == ""
    assert nvenc_cause("") == ""


def test_a_refused_session_is_told_from_a_gpu_without_an_encoder() -> None:
    assert [is_session_refused(text) for text in (NO_SESSION, NO_KEY, NO_NVENC, NO_LIBRARY)] == [
        True,
        True,
        False,
        False,
    ]
    assert has_no_nvenc(NO_NVENC)
    assert not has_no_nvenc(NO_SESSION)


def test_a_container_without_the_video_libraries_is_told_its_cure() -> None:
    assert lacks_video_capability(NO_LIBRARY)
    assert lacks_video_capability("NVcuvid unavailable")  # TorchCodec's _video_decoder.py
    assert not lacks_video_capability("Cannot load libcuda.so.1")
    name = "NVIDIA_DRIVER_CAPABILITIES"
    cause, cure = capability_words({name: "compute,utility"})
    assert 'lacks "video"' in cause
    assert f"{name}=compute,utility,video" in cure
    assert "not in this container" in capability_words({})[0]
    for value in ("all", "compute, video"):
        assert "another machine" in capability_words({name: value})[1]


def test_every_row_names_what_there_is() -> None:
    for way in WAYS:
        assert callable(named(way.trial))
        assert callable(named(way.library))
        assert (way.takes == "pipe") == bool(way.command)
        if way.command:
            assert callable(named(way.command))
