"""Gate 3: an H.264 and an AV1 clip from end to end, by `vrmatte run`; its files are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.doctor.trials import ReadTrial, Tried
from orchestrator.gates.checks import Check, CheckFailed, CheckSkipped
from orchestrator.gates.clips import EYE, FRAMES, RATE
from orchestrator.gates.components import require_alpha, require_frames
from orchestrator.gates.real_run import RunEnd
from orchestrator.gates.site import Site, need_gpu
from orchestrator.report.report import LONGEST_BYTES
from pipeline.files.child_failure import how_it_ended
from pipeline.foreign.json_text import read_json

GATE = 3

READ_DEADLINE_S = 120.0

#: Seconds that sound may begin or end away from the picture: a frame, and a packet of Opus.
_MOST_OFF_S = 1 / RATE + 0.02

#: Root mean square; the tone has 0.09 of full scale.
_LEAST_LOUDNESS = 0.02

#: A GPU that was used was busy at least once, or held this much more than before.
_LEAST_VRAM = 256 << 20


def checks(site: Site) -> Iterator[Check]:
    yield Check(GATE, "vrmatte run, H.264 and AV1", partial(from_end_to_end, site))
    for codec, name in (("h264", "H.264"), ("av1", "AV1")):
        yield Check(GATE, f"alpha of the {name} clip", partial(alpha_of, site, codec))
        yield Check(GATE, f"sound of the {name} clip", partial(sound_of, site, codec))
    yield Check(GATE, "use of the GPU", partial(gpu_use, site))


def from_end_to_end(site: Site) -> str:
    end = site.one_worker()
    return require_done(end, len(site.clips))


def require_done(end: RunEnd, videos: int) -> str:
    """Describe a run. Raises CheckFailed unless all its videos are done without a lost attempt."""
    log = "try it by hand: `vrmatte demo DIR`, then `vrmatte run DIR -o OUT`, and see its logs"
    if end.status is None:
        raise CheckFailed(f"the run did not end within {end.seconds:.0f} s", log)
    if end.status != 0:
        raise CheckFailed(f"the run failed ({how_it_ended(end.status)}): {end.said}", log)
    report = read_report(end.out)
    done = [video for video in report["videos"] if video["result"] == "done"]
    if len(done) != videos:
        raise CheckFailed(f"{len(done)} of {videos} videos are done", log)
    retries = sum(video["retries"] for video in done)
    if retries:
        raise CheckFailed(f"{retries} attempts were lost and repeated", log)
    decoders = sorted({decoder for video in done for decoder in video["decoders"]})
    frames = sum(video["frames_done"] for video in done)
    return f"{len(done)} videos, {frames} frames in {end.seconds:.0f} s, by {', '.join(decoders)}"


def read_report(out: Path) -> dict[str, Any]:
    """Raises CheckFailed: there is none."""
    try:
        report: dict[str, Any] = read_json(out / "report.json", LONGEST_BYTES)
    except ValueError:
        raise CheckFailed("the run left no report.json", "see the logs of a run by hand") from None
    return report


def output_of(site: Site, codec: str) -> Path:
    """The output of a clip. Raises CheckSkipped: the run made none."""
    end = site.one_worker()
    source = site.clips[codec]
    try:
        videos = [v for v in read_report(end.out)["videos"] if Path(v["source"]) == source]
        return Path(end.out, videos[0]["outputs"][0]["path"])
    except (CheckFailed, IndexError):
        raise CheckSkipped("the run made no such file") from None


def _read(site: Site, codec: str) -> Tried:
    trial = ReadTrial(str(output_of(site, codec)), "webm", True, FRAMES, EYE)
    tried = site.read_once(trial, READ_DEADLINE_S)
    if tried.outcome != "works":
        raise CheckFailed(f"the output of the run: {tried.said}", "run `make setup`")
    return tried


def alpha_of(site: Site, codec: str) -> str:
    tried = _read(site, codec)
    require_frames(tried.figures["frames"], tried.figures["decoded"], FRAMES)
    return f"{FRAMES} frames, alpha off by {require_alpha(tried):.4f} on average"


def sound_of(site: Site, codec: str) -> str:
    figures = _read(site, codec).figures
    advice = "check that the source plays with sound, and run `make setup`"
    if figures["tracks"] != 1:
        raise CheckFailed(f"{figures['tracks']:.0f} tracks of sound instead of 1", advice)
    if figures.get("loudness", 0.0) < _LEAST_LOUDNESS:
        raise CheckFailed("its sound is silence", advice)
    begin, end, picture = (figures[n] for n in ("sound_begin", "sound_end", "picture_end"))
    if abs(begin) > _MOST_OFF_S or abs(end - picture) > _MOST_OFF_S:
        raise CheckFailed(
            f"sound from {begin:.3f} to {end:.3f} s, the picture ends at {picture:.3f} s", advice
        )
    return f"from {begin:.3f} to {end:.3f} s beside {picture:.3f} s of picture"


def gpu_use(site: Site) -> str:
    """The GPU's load, which was sampled during the run."""
    need_gpu(site)
    number = site.around.gpus[0].number
    name = site.around.gpus[0].name
    # NVML counts all GPUs of the machine: only by name and order where some are hidden.
    seen = [gpu for sample in site.one_worker().samples for gpu in sample if gpu.name == name]
    if not seen:
        raise CheckFailed("NVML does not list the GPU", "see `nvidia-smi`")
    busy = max(gpu.busy_percent or 0 for gpu in seen)
    held = [gpu.memory_used_bytes for gpu in seen]
    if busy == 0 and max(held) - min(held) < _LEAST_VRAM:
        raise CheckFailed(
            f"GPU {number} was never busy in {len(seen)} samples",
            "the run did not use it: see `vrmatte doctor` for its CUDA and decoders",
        )
    return f"busy up to {busy} %, {(max(held) - min(held)) / 1e9:.1f} GB more than before"
