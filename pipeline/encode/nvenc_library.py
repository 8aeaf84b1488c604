"""What libraries say of NVENC: the driver that each needs, and why one does not work.

The texts are those of libavcodec (`nvenc.c`) and of NVIDIA's dynlink loader, which it uses.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path

#: Of `nvenc.c`: what stands in the file right before the driver that this build needs.
_BEFORE_DRIVER = b"Loaded Nvenc version %d.%d\n\0"
_DRIVER = re.compile(rb"(\d{3}\.\d{1,3}(?:\.\d{1,2})?)\0")
_NEAR_BYTES = 64

#: ``[hevc_nvenc @ 0x55dc3db7ca40] ``, or ``[hevc_nvenc] ``: the encoder itself speaks.
_SPEAKER = re.compile(r"^\[\w+_nvenc\b[^\]]*\] ?")

#: Lines of which the first that is found is the cause, whatever else was said: below the missing
#: library stands the driver that one would need, whichever is there.
_CAUSES = (
    re.compile(r"Cannot load lib\S+"),
    re.compile(r"Driver does not support the required nvenc API version.*"),
    re.compile(r"OpenEncodeSessionEx failed: .*"),
    re.compile(r".*CUDA_ERROR_\w+.*"),
    re.compile(r"No CUDA capable devices found"),
    re.compile(r".* not supported.*|(?:Width|Height) \d+ exceeds \d+"),
    re.compile(r"No capable devices found"),
)

#: NVIDIA's driver gives these when there are as many sessions as it allows, and for want of memory.
_REFUSED = re.compile(
    r"OpenEncodeSessionEx failed: (?:out of memory \(10\)|incompatible client key \(21\))"
)
_NO_NVENC = re.compile(r"OpenEncodeSessionEx failed: unsupported device \(2\)")

#: Libraries that a container gets with the driver's capability "video" only
#: (NVIDIA/libnvidia-container: `video_libs`), and what is said where they are missing.
_VIDEO_LIBRARIES = (
    "Cannot load libnvidia-encode.so.1",
    "Cannot load libnvcuvid.so.1",
    "NVcuvid unavailable",
)

_CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES"


def needed_driver(library: Path | str | None) -> str | None:
    """The first driver whose NVENC this library can use, by the library's own words ("570.0").

    Args:
        library: the file with libavcodec's code in it.
    """
    if library is None:
        return None
    try:
        with (
            Path(library).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            place = text.find(_BEFORE_DRIVER)
            if place < 0:
                return None
            behind = place + len(_BEFORE_DRIVER)
            found = _DRIVER.search(text[behind : behind + _NEAR_BYTES])
    except (OSError, ValueError):
        return None
    return found[1].decode() if found else None


def is_older(driver: str, needed: str) -> bool:
    """Whether that driver is older than the one that is needed."""
    return _numbers(driver) < _numbers(needed)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))[:2]


def nvenc_cause(messages: str) -> str:
    """The line of a failed encoder that says why; "" if there is none."""
    said = (line.strip() for line in messages.splitlines())
    lines = [_SPEAKER.sub("", line) for line in said if _SPEAKER.match(line)]
    for cause in _CAUSES:
        for line in lines:
            if found := cause.search(line):
                return found[0]
    return ""


def is_session_refused(message: str) -> bool:
    """Whether NVENC works, and has no session to give at the moment."""
    return _REFUSED.search(message) is not None


def has_no_nvenc(message: str) -> bool:
    """Whether the GPU has no encoder at all."""
    return _NO_NVENC.search(message) is not None


def lacks_video_capability(message: str) -> bool:
    """Whether the driver's video libraries are not there."""
    return any(text in message for text in _VIDEO_LIBRARIES)


def capability_words(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Why those libraries are not there, as far as can be known, and what to do."""
    value = environment.get(_CAPABILITIES)
    given = set((value or "").replace(" ", "").split(","))
    cure = (
        f"start the pod or container with {_CAPABILITIES}=compute,utility,video (RunPod: a variable"
        " of the pod or its template); it cannot be set from within"
    )
    if value is None:
        return "the driver's video libraries are not in this container", cure
    if given & {"video", "all"}:
        return (
            f"{_CAPABILITIES}={value}, and yet the driver's video libraries are not there",
            "the host's driver is installed without them: use another machine",
        )
    return f'{_CAPABILITIES}={value} lacks "video"', cure


def pyavs_libavcodec() -> Path | None:
    """The libavcodec in PyAV's wheel; None: PyAV uses another."""
    import av

    folder = Path(av.__file__).parents[1] / "av.libs"
    found = sorted(path for path in folder.glob("libavcodec-*.so.*") if not path.is_symlink())
    return found[0] if found else None


def torchcodecs_libavcodec() -> Path | None:
    """The libavcodec of `TorchCodec`, if that is PyAV's, which is read without loading it."""
    found = pyavs_libavcodec()
    if found is None:
        return None
    return found if any(found.parent.glob("libavcodec.so.*")) else None
