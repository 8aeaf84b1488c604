"""Findings on codecs: each is tried on the CPU and on each GPU, or remembered from before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.doctor.clips import (
    CODECS,
    CPU_SIZE,
    NUM_FRAMES,
    SIZES,
    EncodeHung,
    Sample,
    SourceCodec,
    make_sample,
    samples,
)
from orchestrator.doctor.findings import Finding
from orchestrator.doctor.nvenc_findings import (
    NeededDriver,
    NvencTrial,
    ways_finding,
    without_capability,
)
from orchestrator.doctor.trial_process import tried_of, tried_record
from orchestrator.doctor.trials import DecodeTrial, Trials, Tried
from orchestrator.machine.devices import Gpu
from orchestrator.machine.nvenc import GEFORCE_SESSIONS, is_geforce
from pipeline.contract import EncodingSettings
from pipeline.contract.nvenc_ways import WAYS, NvencWay
from pipeline.encode.choice import LIMITS, Codec, encoder_options
from pipeline.encode.nvenc_library import (
    is_session_refused,
    lacks_video_capability,
)
from pipeline.encode.nvenc_trial import Asked
from pipeline.errors import EncodeError

CPU_GROUP = "codecs on the CPU"

#: The first of them includes the loading of PyTorch, and of CUDA.
DECODE_DEADLINE_S = 120.0

_NVENC: tuple[Codec, ...] = ("h264", "hevc", "av1")

#: The first question to each way.
_FIRST: tuple[Codec, str] = ("hevc", "1080p")

_NO_FFMPEG = "run `make setup`; if IMAGEIO_FFMPEG_EXE is set, unset it: that ffmpeg lacks something"


@dataclass
class Memory:
    """Earlier trials on this machine, without those that failed to give an answer.

    Attributes:
        known: `Tried` in its plain form, by device and sample.
    """

    known: dict[str, object] = field(default_factory=dict)

    def get(self, device: str, name: str) -> Tried | None:
        return tried_of(self.known.get(f"{device} {name}"))

    def keep(self, device: str, name: str, tried: Tried) -> None:
        passing = lacks_video_capability(tried.said) or is_session_refused(tried.said)
        # What hung may not do so tomorrow, and a pod may be started anew.
        if tried.outcome in ("works", "refused") and not passing:
            self.known[f"{device} {name}"] = tried_record(tried)


@dataclass
class CodecTrials:
    """Tries codecs on clips, which it makes in a folder.

    Attributes:
        make: makes a clip; raises EncodeError.
        on_step: called with what is tried.
    """

    folder: Path
    memory: Memory
    make: Callable[[Path, Sample], Path] = make_sample
    on_step: Callable[[str], None] = lambda what: None
    _hung: str = ""

    def decoded(
        self, device: int | str, trials: Trials, wanted: Sequence[Sample]
    ) -> Iterator[tuple[Sample, Tried | None, str]]:
        """Decode a clip of each; where no clip can be made, None and the reason.

        Args:
            device: a GPU's number, or ``"cpu"``.
        """
        where = "the CPU" if device == "cpu" else f"GPU {device}"
        for sample in wanted:
            if (known := self.memory.get(f"decode {device}", sample.name)) is not None:
                yield sample, known, ""
                continue
            if self._hung:
                yield sample, None, self._hung
                continue
            self.on_step(f"{where}: decoding {sample.name}")
            try:
                path = self.make(self.folder, sample)
            except EncodeError as error:
                self._hung = error.message if isinstance(error, EncodeHung) else ""
                yield sample, None, error.message
                continue
            trial = DecodeTrial(str(path), NUM_FRAMES, str(self.folder))
            tried = trials.run(trial, DECODE_DEADLINE_S)
            self.memory.keep(f"decode {device}", sample.name, tried)
            yield sample, tried, ""

    def cpu_findings(self, trials: Trials) -> Iterator[Finding]:
        """The encoders and decoders that every run needs."""
        for codec in CODECS:
            of_codec = [sample for sample in samples(CPU_SIZE) if sample.codec == codec]
            found = list(self.decoded("cpu", trials, of_codec))
            unmade = [(sample, why) for sample, tried, why in found if tried is None]
            if unmade:
                yield Finding(CPU_GROUP, f"encode {codec}", "broken", unmade[0][1], _NO_FFMPEG)
            else:
                yield Finding(CPU_GROUP, f"encode {codec}", "ok", _depths(of_codec))
            wrong = [(s, t) for s, t, _ in found if t is not None and t.outcome != "works"]
            right = [s for s, t, _ in found if t is not None and t.outcome == "works"]
            name = f"decode {codec}"
            if wrong:
                sample, tried = wrong[0]
                said = f"{sample.depth} bit: {tried.outcome}: {tried.said}"
                advice = "run `make setup`; docs/decisions/001-ffmpeg-libraries.md"
                yield Finding(CPU_GROUP, name, "broken", said, advice)
            elif right:
                yield Finding(CPU_GROUP, name, "ok", _depths(right))
            else:
                yield Finding(CPU_GROUP, name, "skipped", "there is no clip to decode")

    def gpu_findings(
        self,
        gpu: Gpu,
        trials: Trials,
        nvenc: NvencTrial,
        needed: NeededDriver,
        driver: str,
        environment: Mapping[str, str] = os.environ,
    ) -> Iterator[Finding]:
        """NVDEC and NVENC of one GPU; the CPU does what they refuse.

        Args:
            driver: NVIDIA's version.
            environment: of this container.
        """
        group = gpu_group(gpu)
        for codec in CODECS:
            of_codec = [sample for sample in samples(SIZES) if sample.codec == codec]
            found = self.decoded(gpu.number, trials, of_codec)
            sample, tried, why = next(found)
            if tried is not None and lacks_video_capability(tried.said):
                yield without_capability(group, "NVDEC", tried.said, environment)
                break
            yield _nvdec_finding(group, codec, [(sample, tried, why), *found])
        yield from self._nvenc_findings(group, gpu, nvenc, needed, driver, environment)

    def _nvenc_findings(
        self,
        group: str,
        gpu: Gpu,
        nvenc: NvencTrial,
        needed: NeededDriver,
        driver: str,
        environment: Mapping[str, str],
    ) -> Iterator[Finding]:
        said = {way: self._encoded(way, *_FIRST, gpu.number, nvenc) for way in WAYS}
        lacking = [why for why in said.values() if why and lacks_video_capability(why)]
        if lacking and all(said.values()):
            yield without_capability(group, "NVENC", lacking[0], environment)
            return
        yield ways_finding(group, said, {way: needed(way) for way in WAYS}, driver)
        working = [way for way, why in said.items() if why is None]
        if not working:
            return
        if is_geforce(gpu.name):
            yield Finding(
                group,
                "NVENC sessions",
                "ok",
                f"{GEFORCE_SESSIONS} at once in the whole system (GeForce); lanes are fewer by it",
            )
        way = next((way for way in working if way.takes == "pipe"), working[0])
        for codec in _NVENC:
            yield self._nvenc_finding(group, codec, way, gpu.number, nvenc)

    def _encoded(
        self, way: NvencWay, codec: Codec, size: str, number: int, nvenc: NvencTrial
    ) -> str | None:
        """Why one GPU does not encode such a picture that way, or None."""
        name = f"{way.name} {codec} {size}"
        tried = self.memory.get(f"encode {number}", name)
        if tried is None:
            width, height = SIZES[size]
            self.on_step(f"GPU {number}: encoding {codec} {size} by {way.words}")
            encoding = EncodingSettings(codec=codec, encoder="nvenc")
            asked = Asked(tuple(encoder_options(encoding, 60)), width, height)
            reason = _too_large(codec, width, height) or nvenc(way, asked, number)
            tried = Tried("refused" if reason else "works", reason or "")
            if reason is None or "did not end" not in reason:
                self.memory.keep(f"encode {number}", name, tried)
        return None if tried.outcome == "works" else tried.said

    def _nvenc_finding(
        self, group: str, codec: Codec, way: NvencWay, number: int, nvenc: NvencTrial
    ) -> Finding:
        found = {size: self._encoded(way, codec, size, number, nvenc) for size in SIZES}
        works = [size for size, why in found.items() if why is None]
        why_not = next((f"{size}: {why}" for size, why in found.items() if why), "")
        if works:
            not_all = f"; not {why_not}" if why_not else ""
            return Finding(group, f"NVENC {codec}", "ok", f"8 bit: {', '.join(works)}{not_all}")
        return Finding(
            group,
            f"NVENC {codec}",
            "warning",
            f"not here ({why_not})",
            "the CPU encodes it (encoding.encoder: auto): choose another codec, or rent more cores",
        )


def gpu_group(gpu: Gpu) -> str:
    return f"GPU {gpu.number}: {gpu.name}"


def _nvdec_finding(
    group: str, codec: SourceCodec, found: Sequence[tuple[Sample, Tried | None, str]]
) -> Finding:
    name = f"NVDEC {codec}"
    for sample, tried, _ in found:
        if tried is not None and tried.outcome not in ("works", "refused"):
            return Finding(
                group,
                name,
                "broken",
                f"{sample.depth} bit {sample.size}: {tried.outcome}: {tried.said}",
                "use another driver or machine; --gpus none works without this GPU",
            )
    works = [sample for sample, tried, _ in found if tried and tried.outcome == "works"]
    refused = [(s, t) for s, t, _ in found if t is not None and t.outcome == "refused"]
    unmade = [why for _, tried, why in found if tried is None]
    if not any(sample.depth == 8 for sample in works):
        why = refused[0][1].said if refused else (unmade or ["no clip to decode"])[0]
        return Finding(
            group,
            name,
            "warning",
            f"not here ({why})",
            "the CPU decodes it: rent more cores for it",
        )
    rest = ""
    if refused:
        rest = f"; the CPU decodes {', '.join(f'{s.depth} bit {s.size}' for s, _ in refused)}"
    return Finding(group, name, "ok", _by_depth(works) + rest)


def _by_depth(works: Sequence[Sample]) -> str:
    """``8 bit: 1080p, 4K; 10 bit: 1080p``."""
    depths = sorted({sample.depth for sample in works})
    return "; ".join(
        f"{depth} bit: {', '.join(s.size for s in works if s.depth == depth)}" for depth in depths
    )


def _depths(found: Sequence[Sample]) -> str:
    """``8 and 10 bit``."""
    return f"{' and '.join(str(depth) for depth in sorted({s.depth for s in found}))} bit"


def _too_large(codec: Codec, width: int, height: int) -> str | None:
    limit = LIMITS[codec, "nvenc"]
    if width <= limit.width and height <= limit.height:
        return None
    return f"NVENC's {codec} takes at most {limit.width}x{limit.height} pixels"


def remembered(found: Mapping[str, object]) -> Memory:
    """The memory that a record of the cache holds."""
    return Memory(dict(found))
