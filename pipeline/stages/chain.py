"""The chain of a video's stages: what happens to a frame between decoding and encoding.

Segments, previews, the doctor's and the planner's trials all drive this one chain.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.contract import EyeShape, Finding, VideoInfo, VideoSettings
from pipeline.pixels.batches import EyeBatch, FrameBatch
from pipeline.pixels.eyes import split_eyes
from pipeline.pixels.layers import Layers
from pipeline.stages.base import ClipSampler, Prepared, Stage
from pipeline.stages.catalogue import StageChoice, chosen_stages, make_stage

#: Surrounds the work of one stage, which is named; for clocks.
At = Callable[[str], AbstractContextManager[object]]


class BatchReader(Protocol):
    """Reads runs of frames in batches (`pipeline.source.reader.Reader`)."""

    def batches(self, start: int, stop: int, size: int) -> Iterator[FrameBatch]: ...


class Chain:
    """The stages of one video, in order. Does not change after it is made.

    Args:
        stages: made for one device.
        warmups: frames of warm-up of some stages, by name, in place of their own figure.
    """

    def __init__(self, stages: Sequence[Stage], warmups: Mapping[str, int] | None = None) -> None:
        self.stages = tuple(stages)
        asked = warmups or {}
        self.warmup_frames = sum(asked.get(s.name, s.warmup_frames) for s in self.stages)
        self.lookahead_frames = sum(stage.lookahead_frames for stage in self.stages)

    @classmethod
    def of(
        cls,
        settings: VideoSettings,
        device: torch.device,
        made: Callable[[StageChoice, torch.device], Stage] = make_stage,
    ) -> Chain:
        """The chain that settings ask for.

        Args:
            made: gives the stage of a choice; a worker's keeps those that are expensive to make.

        Raises:
            SettingsError: there is no such stage or model, or an option of it is wrong.
            MachineError: weights or a device are not to be had.
        """
        asked = settings.streaming.warmup_frames
        stages = [made(choice, device) for choice in chosen_stages(settings)]
        return cls(stages, {} if asked is None else {"matting": asked})

    def shape(self, eye: EyeShape) -> EyeShape:
        """The shape of the eyes that come out."""
        for stage in self.stages:
            eye = stage.shape(eye)
        return eye

    def span(self, start: int, stop: int, num_frames: int) -> tuple[int, int]:
        """The frames to decode for ``start..stop`` of a video of `num_frames`, half open."""
        return max(0, start - self.warmup_frames), min(num_frames, stop + self.lookahead_frames)

    def decoded(
        self, reader: BatchReader, video: VideoInfo, start: int, stop: int, size: int
    ) -> Generator[FrameBatch, None, None]:
        """Warm-up, the frames ``start..stop``, look-ahead, in batches that hold frames of one kind.

        Args:
            size: frames in a batch, at most.
        """
        begin, end = self.span(start, stop, video.num_frames)
        for first, last in ((begin, start), (start, stop), (stop, end)):
            if first < last:
                yield from reader.batches(first, last, size)

    def prepare(self, clip: ClipSampler) -> dict[str, Prepared]:
        """What each stage prepares of a video, by its name; nothing is kept on a disk."""
        return {stage.name: stage.prepare(clip) for stage in self.stages}

    def start(
        self, eye: EyeShape, prepared: Mapping[str, Prepared], at: At = nullcontext
    ) -> ChainRun:
        """Begin one segment.

        Args:
            eye: the shape of the eyes that go in.
            prepared: what each stage's `prepare` gave, by the stage's name.
            at: surrounds the work of each stage.
        """
        states = []
        for stage in self.stages:
            states.append(stage.start(eye, prepared.get(stage.name, {})))
            eye = stage.shape(eye)
        return ChainRun(self.stages, states, eye, at)


class ChainRun:
    """One segment on its way through the stages. Not thread-safe."""

    def __init__(
        self, stages: Sequence[Stage], states: Sequence[Any], shape: EyeShape, at: At
    ) -> None:
        self._stages, self._states, self._shape, self._at = stages, states, shape, at
        self._seen: Tensor | None = None

    def layers(
        self, batches: Iterable[EyeBatch], start: int, stop: int
    ) -> Generator[Layers, None, None]:
        """The frames ``start..stop`` as they leave the last stage, each once and in order.

        Args:
            batches: consecutive frames from the warm-up to the end of the look-ahead.

        Raises:
            RuntimeError: a stage lost, doubled or resized frames.
        """
        wanted = start
        for given in self._through(batches):
            part = given.part(start, stop)
            del given
            if part is None:
                continue
            self._require(part, wanted)
            wanted = part.stop
            yield part
            del part  # not to be held beside the next one
            if wanted == stop:  # what is still held back are frames that were only looked ahead at
                break
        if wanted != stop:
            names = ", ".join(stage.name for stage in self._stages)
            raise RuntimeError(f"the stages {names} gave no frame {wanted} of {start}..{stop}")

    def findings(self, first: int, stop: int) -> tuple[Finding, ...]:
        """What the stages found of the frames ``first..stop``, which have all come out."""
        pairs = zip(self._stages, self._states, strict=True)
        return tuple(
            finding for stage, state in pairs for finding in stage.findings(state, first, stop)
        )

    def _through(self, batches: Iterable[EyeBatch]) -> Iterator[Layers]:
        for batch in batches:
            self._seen = batch.seen
            layers = self._onwards(Layers(batch.start, batch.rgb, fine=batch.fine), 0)
            del batch
            if layers is not None:
                yield layers
                del layers
        for place, stage in enumerate(self._stages):
            while (held := self._flushed(stage, place)) is not None:
                layers = self._onwards(held, place + 1)
                del held
                if layers is not None:
                    yield layers
                    del layers

    def _flushed(self, stage: Stage, place: int) -> Layers | None:
        with self._at(stage.name):
            return self._within(stage, stage.flush(self._states[place]))

    def _onwards(self, layers: Layers | None, place: int) -> Layers | None:
        """Through the stages from `place` on."""
        pairs = zip(self._stages[place:], self._states[place:], strict=True)
        for stage, state in pairs:
            if layers is None:
                return None
            with self._at(stage.name):
                layers = self._within(stage, stage.run(layers, state))
        return layers

    def _within(self, stage: Stage, layers: Layers | None) -> Layers | None:
        """Without a subject where the file shows nothing, as soon as there is alpha.

        A model may take that black for somebody: to `chroma` it is no screen.
        """
        if layers is None or layers.alpha is None or self._seen is None or stage.name != "matting":
            return layers
        if self._seen.is_cuda:  # made on another stream, for all readers of the video
            self._seen.record_stream(torch.cuda.current_stream(self._seen.device))
        return replace(layers, alpha=layers.alpha * self._seen)

    def _require(self, layers: Layers, start: int) -> None:
        eyes, height, width = self._shape.eyes, self._shape.height, self._shape.width
        shape_ok = tuple(layers.rgb.shape[1:]) == (eyes, 3, height, width)
        if layers.start != start or not shape_ok:
            raise RuntimeError(
                f"the stages gave {layers} where frame {start} of {eyes} eyes {width}x{height}"
                " was due"
            )


def eyes_of(frames: Iterable[FrameBatch], video: VideoInfo) -> Generator[EyeBatch, None, None]:
    """Whole pictures as single eyes, by the video's layout."""
    for batch in frames:
        yield split_eyes(batch, video.layout, video.right_first)
        del batch
