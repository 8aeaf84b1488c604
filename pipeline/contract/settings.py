"""`VideoSettings`: all settings that decide what comes out of one video."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from pipeline.contract.encoding import EncodingSettings
from pipeline.contract.enhance import AS_SOURCE, EnhanceSettings
from pipeline.contract.fingerprint import NO_PIXELS, PIXELS_UNLESS_DEFAULT, pixel_fingerprint
from pipeline.contract.matting import MattingSettings
from pipeline.contract.processing import ProcessingSettings
from pipeline.contract.stereo import StereoSettings
from pipeline.contract.streaming import StreamingSettings

#: Which sound outputs get: all of the source's; what can be copied byte by byte; none.
AudioMode = Literal["keep", "copy", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSettings:
    """Everything but the source that decides what comes out of one video.

    Attributes:
        deliverables: names of the formats to make; with ``.NUMBER`` of one object alone.
        start_frame, max_frames: the range, in frames of the whole video; None means to the end.
        every: of that range, every so many frames one is taken.
        deinterlace: whether the pictures of an interlaced video are made whole.
        audio: which sound the outputs get. Segments have none, so that they do not depend on it;
            `OutputFile.audio` says which the finished file got.
        prompts_sha256: of what is said of the subject (`pipeline/prompts/store.py`); None: nothing.
        per_object: whether planning makes `deliverables` of each object, which says it all.
        redo_of: where a part of a finished video is made again, what tells the finished files and
            that part from others; so such work meets no other work on the video.
    """

    deliverables: tuple[str, ...] = ("webm",)
    start_frame: int = 0
    max_frames: int | None = None
    every: int = 1
    deinterlace: Literal["auto", "off"] = "auto"
    audio: AudioMode = field(default="keep", metadata=NO_PIXELS)
    streaming: StreamingSettings = field(default_factory=StreamingSettings)
    processing: ProcessingSettings = field(default_factory=ProcessingSettings)
    matting: MattingSettings = field(default_factory=MattingSettings)
    stereo: StereoSettings = field(default_factory=StereoSettings)
    enhance: EnhanceSettings = field(default=AS_SOURCE, metadata=PIXELS_UNLESS_DEFAULT)
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    prompts_sha256: str | None = None
    per_object: bool = field(default=False, metadata=NO_PIXELS)
    redo_of: str | None = field(default=None, metadata=PIXELS_UNLESS_DEFAULT)

    @property
    def phase(self) -> int:
        """The frame of the whole video with which the frames taken begin (`every_nth`)."""
        return self.start_frame % self.every

    @property
    def first_frame(self) -> int:
        """The first frame of the range, in the numbering of the frames taken."""
        return self.start_frame // self.every

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when the pictures of the output would."""
        return pixel_fingerprint(dataclasses.replace(self, encoding=self.encoding.spelled_out()))
