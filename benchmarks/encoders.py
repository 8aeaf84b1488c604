"""Encoders: several at once against one, and what a quality costs in time and bytes.

    python benchmarks/encoders.py CLIP [--config FILE] [--model M] [--frames N] [--rounds 3]
        [--part speed|quality] [--codecs vp9,hevc,h264,av1]

CLIP is matted once; the planes that its formats hand to their encoders lie in a temporary folder
(2.5 bytes a pixel and frame for VP9, 1.5 for each other), and every encoder reads them from there,
with the real command of a segment. Nothing else runs meanwhile.

`speed`: K encoders of the same segment begin together; frames/s are those of all K until the last
has ended, medians over the rounds. "same" says whether the file is, bit for bit, the one that a
single thread writes.

`quality`: one encoder for each point, its speed the median over the rounds. Size is in kB a frame;
PSNR is in dB against the planes that went in: of colour over the samples that the subject covers
(alpha above 0; of a green screen over all), of alpha over all. VP9 holds both in one file; the
other codecs encode the green screen for colour and the grey matte for alpha, and frames/s are of
the green screen.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CODECS = ("vp9", "hevc", "h264", "av1")
FORMAT = {"vp9": "webm", "hevc": "greenscreen", "h264": "greenscreen", "av1": "greenscreen"}

AT_ONCE = (1, 2, 3)
THREADS = (1, 2, 4)

#: What the settings can be, for each codec.
POINTS = {
    "vp9": [
        {"vp9_deadline": deadline, "vp9_cpu_used": speed, "vp9_crf": crf}
        for (deadline, speed), crf in itertools.product(
            [("realtime", 8), ("realtime", 6), ("realtime", 5), ("good", 5), ("good", 3)],
            (34, 30, 24, 18),
        )
    ],
    "hevc": [
        {"hevc_preset": preset, "hevc_crf": crf}
        for preset, crf in itertools.product(("ultrafast", "veryfast", "medium"), (24, 20, 18, 14))
    ],
    "h264": [
        {"h264_preset": preset, "h264_crf": crf}
        for preset, crf in itertools.product(("ultrafast", "veryfast", "medium"), (24, 20, 18, 14))
    ],
    "av1": [
        {"av1_preset": preset, "av1_crf": crf}
        for preset, crf in itertools.product(("ultrafast", "veryfast", "medium"), (36, 30, 24, 18))
    ],
}


@dataclass(frozen=True, slots=True)
class Material:
    """The planes of each format, as files, and what made them.

    Attributes:
        planes: by the format's name.
    """

    video: Any
    settings: Any
    folder: Path
    planes: dict[str, Path]
    num_frames: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=["speed", "quality"])
    parser.add_argument("--codecs", default=",".join(CODECS))
    asked = parser.parse_args()
    codecs = [codec for codec in asked.codecs.split(",") if codec in CODECS]
    with tempfile.TemporaryDirectory() as name:
        made = material(asked.clip, asked.config, asked.model, asked.frames, Path(name))
        video = made.video
        print(f"{asked.clip.name}: {made.num_frames} frames of {video.width}x{video.height}")
        if asked.part != "quality":
            speed(made, codecs, asked.rounds)
        if asked.part != "speed":
            quality(made, codecs, asked.rounds)


def material(
    clip: Path, config: Path | None, model: str | None, frames: int, folder: Path
) -> Material:
    """Matte the clip's first frames, and write what each format's encoder would be given."""
    import torch

    from orchestrator.settings.settings import load_settings, video_settings
    from pipeline.clip import ClipReader
    from pipeline.contract import SegmentJob
    from pipeline.deliverables.base import make_deliverable
    from pipeline.engines.choice import settled_engine
    from pipeline.source.decode import FrameReader
    from pipeline.source.probe import probe_video
    from pipeline.source.timing.frame_index import FrameIndex
    from pipeline.stages.chain import Chain, eyes_of
    from pipeline.stages.matting.catalogue import facts_of

    overrides = {"matting": {"model": model}} if model else {}
    settings = video_settings(load_settings(config, overrides))
    encoding = replace(settings.encoding, encoder="software")
    settings = replace(settings, encoding=encoding)
    cpu = torch.device("cpu")
    video = probe_video(clip, folder / "index.json")
    frames = min(frames, video.num_frames)
    reader = FrameReader(video, FrameIndex.load(folder / "index.json"), cpu)
    job = SegmentJob(video, settings, 0, 0, frames, str(folder / "index.json"), str(folder))
    processing = settled_engine(settings.processing, facts_of(settings.matting).engines, cpu.type)
    settings = replace(settings, processing=processing)
    chain = Chain.of(settings, cpu)
    passing = chain.start(video.eye_shape, chain.prepare(ClipReader(job, reader)))
    planes = {name: folder / f"{name}.yuv" for name in ("webm", "greenscreen", "matte")}
    with ExitStack() as stack:
        files = {name: stack.enter_context(path.open("wb")) for name, path in planes.items()}
        makers = {name: make_deliverable(name, video, settings) for name in planes}
        decoded = chain.decoded(reader, video, 0, frames, 4)
        for layers in passing.layers(eyes_of(decoded, video), 0, frames):
            for name, file in files.items():
                file.write(makers[name].planes(layers).contiguous().numpy().data)
    return Material(video, settings, folder, planes, frames)


def command(made: Material, form: str, changes: dict[str, Any], target: Path) -> list[str]:
    """The real command of a segment, read off the format as it is about to be started."""
    from pipeline.deliverables import movie
    from pipeline.deliverables.base import make_deliverable

    seen: list[list[str]] = []
    encoding = replace(made.settings.encoding, **changes)
    settings = replace(made.settings, encoding=encoding)
    real = movie.PipeEncoder
    movie.PipeEncoder = lambda words: seen.append(list(words))  # type: ignore[assignment,misc,return-value]
    try:
        make_deliverable(form, made.video, settings).open_segment(target)
    finally:
        movie.PipeEncoder = real  # type: ignore[misc]
    return seen[0]


def encode(made: Material, form: str, changes: dict[str, Any], at_once: int) -> tuple[float, Path]:
    """Seconds until the last of so many encoders has ended; the file of the first."""
    targets = [made.folder / f"out-{number}.bin" for number in range(at_once)]
    commands = [command(made, form, changes, target) for target in targets]
    with ExitStack() as stack:
        inputs = [stack.enter_context(made.planes[form].open("rb")) for _ in targets]
        begin = time.perf_counter()
        children = [
            subprocess.Popen(words, stdin=source, stderr=subprocess.DEVNULL)
            for words, source in zip(commands, inputs, strict=True)
        ]
        ended = [child.wait() for child in children]
        if any(ended):
            raise SystemExit(f"error: an encoder failed: {' '.join(commands[0])}")
        return time.perf_counter() - begin, targets[0]


def speed(made: Material, codecs: Sequence[str], rounds: int) -> None:
    print("codec  threads  at once  frames/s  against one of one thread  same  cores busy")
    for codec in codecs:
        first: tuple[float, bytes] | None = None
        for threads, at_once in itertools.product(THREADS, AT_ONCE):
            changes: dict[str, Any] = {"vp9_threads": threads, "encoder_threads": threads}
            if codec != "vp9":
                changes["codec"] = codec
            rates, busy = [], []
            for _ in range(rounds):
                cpu = children_cpu_s()
                seconds, target = encode(made, FORMAT[codec], changes, at_once)
                rates.append(at_once * made.num_frames / seconds)
                busy.append((children_cpu_s() - cpu) / seconds)
            rate, digest = statistics.median(rates), hashlib.sha256(target.read_bytes()).digest()
            first = first or (rate, digest)
            print(
                f"{codec:6} {threads:7} {at_once:8} {rate:9.1f} {rate / first[0]:26.2f}"
                f"  {'yes' if digest == first[1] else 'no':4} {statistics.median(busy):11.2f}",
                flush=True,
            )


def quality(made: Material, codecs: Sequence[str], rounds: int) -> None:
    print(
        "codec  settings                        frames/s  kB/frame  colour dB  alpha kB  alpha dB"
    )
    for codec in codecs:
        for point in POINTS[codec]:
            changes = dict(point) if codec == "vp9" else {**point, "codec": codec}
            tries = [encode(made, FORMAT[codec], changes, 1) for _ in range(rounds)]
            seconds, target = statistics.median(taken for taken, _ in tries), tries[0][1]
            size = target.stat().st_size
            if codec == "vp9":
                colour, alpha = compared(made, "webm", target)
                alpha_size = 0
            else:
                colour, _ = compared(made, "greenscreen", target)
                _, target = encode(made, "matte", changes, 1)
                alpha, _ = compared(made, "matte", target)
                alpha_size = target.stat().st_size
            words = " ".join(str(value) for value in point.values())
            print(
                f"{codec:6} {words:30} {made.num_frames / seconds:9.1f}"
                f" {size / made.num_frames / 1000:9.2f} {colour:10.2f}"
                f" {alpha_size / made.num_frames / 1000:9.2f} {alpha:9.2f}",
                flush=True,
            )


def compared(made: Material, form: str, encoded: Path) -> tuple[float, float]:
    """PSNR in dB of (colour, alpha); of the matte, luma counts as colour. See the module."""
    import numpy as np

    width, height = made.video.even_width, made.video.even_height
    luma, chroma = width * height, width * height // 4
    errors = [0.0, 0.0]
    counts = [0, 0]
    frame_bytes = luma * 5 // 2 if form == "webm" else luma * 3 // 2
    with made.planes[form].open("rb") as file:
        for frame in decoded(encoded):
            source = np.frombuffer(file.read(frame_bytes), np.uint8)
            shown = np.concatenate([plane(frame, k).ravel() for k in range(len(frame.planes))])
            difference = (source.astype(np.int32) - shown.astype(np.int32)) ** 2
            colour = difference[: luma + 2 * chroma]
            if form == "webm":
                alpha = source[luma + 2 * chroma :].reshape(height, width)
                covered = alpha > 0
                quarter = covered.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3))
                mask = np.concatenate([covered.ravel(), quarter.ravel(), quarter.ravel()])
                colour = colour[mask]
                errors[1] += float(difference[luma + 2 * chroma :].sum())
                counts[1] += luma
            elif form == "matte":
                colour = colour[:luma]
            errors[0] += float(colour.sum())
            counts[0] += colour.size
    first, second = (
        10 * math.log10(255**2 * count / max(error, 1e-9)) if count else 0.0
        for error, count in zip(errors, counts, strict=True)
    )
    return first, second


def decoded(path: Path) -> Iterator[Any]:
    """All frames, by a decoder that keeps VP9's alpha."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.codec_context.name == "vp9":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            for packet in container.demux(stream):
                if packet.size:
                    yield from decoder.decode(packet)
            yield from decoder.decode(None)
        else:
            yield from container.decode(stream)


def plane(frame: Any, number: int) -> Any:
    """One plane without the padding of its lines."""
    import numpy as np

    part = frame.planes[number]
    lines = np.frombuffer(part, np.uint8).reshape(part.height, part.line_size)
    return lines[:, : part.width]


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
