"""Doubles of NVENC that fail as the libraries do.

The texts were said by ffmpeg 9.0.2 and PyAV 18.1 over a driver's library that a test made: one
that reports API 13.0 or 12.1, refuses sessions by number, or is not there
(docs/decisions/033-nvenc-in-three-ways.md). TorchCodec's are those of its sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.contract.nvenc_ways import NvencWay
from pipeline.encode.nvenc_trial import Asked

NO_LIBRARY = "Cannot load libnvidia-encode.so.1"
NO_NVENC = "OpenEncodeSessionEx failed: unsupported device (2): (no details)"
NO_SESSION = "OpenEncodeSessionEx failed: out of memory (10): (no details)"
NO_KEY = "OpenEncodeSessionEx failed: incompatible client key (21): (no details)"
OLD_FOR_FFMPEG = (
    "Driver does not support the required nvenc API version. Required: 13.1 Found: 13.0"
)
OLD_FOR_PYAV = "Driver does not support the required nvenc API version. Required: 13.0 Found: 12.1"
OLD_LIBAVUTIL = "TorchCodec has libavutil 57.28.100, and 58.26.100 or newer (FFmpeg 6.1) is needed"

#: The standard error of ffmpeg 9 whose driver is too old.
FFMPEG_SAYS = """\
[hevc_nvenc @ 0x561504302a40] {cause}
[hevc_nvenc @ 0x561504302a40] The minimum required Nvidia driver for nvenc is 610.00 or newer
[vost#0:0/hevc_nvenc @ 0x565475faf080] [enc:hevc_nvenc @ 0x565475fafa40] Error while opening \
encoder - maybe incorrect parameters such as bit_rate, rate, width or height.
[vf#0:0 @ 0x565475fcad40] Error sending frames to consumers: Function not implemented
[out#0/null @ 0x565475fae4c0] Nothing was written into output file, because at least one of its \
streams received no packets.
"""


def works(way: NvencWay, asked: Asked) -> str | None:
    """`pipeline.encode.nvenc_trial.Nvenc` where all is right."""
    return None


@dataclass
class Ways:
    """`pipeline.encode.nvenc_trial.Nvenc` whose ways fail as told; remembers what it was asked.

    Attributes:
        gpu, pyav, ffmpeg: why that way does not work.
        most_width: wider pictures are refused by all ways.
    """

    gpu: str | None = None
    pyav: str | None = None
    ffmpeg: str | None = None
    most_width: int = 1 << 20
    asked: list[tuple[str, Asked]] = field(default_factory=list)

    def __call__(self, way: NvencWay, asked: Asked) -> str | None:
        self.asked.append((way.name, asked))
        if asked.width > self.most_width:
            return f"Width {asked.width} exceeds {self.most_width}"
        reason: str | None = getattr(self, way.name)
        return reason


def no_way(reason: str = NO_NVENC) -> Ways:
    return Ways(reason, reason, reason)
