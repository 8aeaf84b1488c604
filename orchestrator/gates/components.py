"""Gate 2: every part alone, on every device: decoders, models, formats with their encoders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial

from orchestrator.doctor.clips import CPU_SIZE, NUM_FRAMES, Sample, samples
from orchestrator.doctor.trials import DecodeTrial, FormatTrial, ModelTrial, Tried, WeightsTrial
from orchestrator.doctor.weights_here import LOOK_DEADLINE_S, lacking
from orchestrator.gates.checks import Check, CheckFailed, CheckSkipped
from orchestrator.gates.clips import EYE
from orchestrator.gates.site import Site
from pipeline.contract import EncodingSettings
from pipeline.contract.nvenc_ways import WAYS
from pipeline.deliverables.formats import FORMATS
from pipeline.encode.choice import Codec, encoder_options
from pipeline.encode.nvenc_trial import Asked
from pipeline.engines.choice import settled_engine
from pipeline.errors import SettingsError
from pipeline.stages.matting.catalogue import MODELS, facts_of

GATE = 2

#: The loading of PyTorch included, at the first of each device.
DECODE_DEADLINE_S = 120.0
MODEL_DEADLINE_S = 300.0
FORMAT_DEADLINE_S = 180.0

#: Between kinds of device (the first law of the project).
MOST_DEVICE_DIFFERENCE = 1 / 255

#: Mean difference that the way through `chroma` and an encoder may add to an alpha.
MOST_ALPHA_ERROR = 0.02

#: Of the clip, for each format.
FORMAT_FRAMES = 6

_OTHER_FFMPEG = "run `make setup`; if IMAGEIO_FFMPEG_EXE is set, unset it"

_CODECS: tuple[Codec, ...] = ("hevc", "h264", "av1")


def checks(site: Site) -> Iterator[Check]:
    yield from decoding(site)
    yield from models(site)
    yield from formats(site)


# -- decoders ------------------------------------------------------------------------------------


def decoding(site: Site) -> Iterator[Check]:
    """Every codec on the CPU, and on each GPU."""
    for sample in samples(CPU_SIZE):
        name = f"decode {sample.codec} {sample.depth} bit"
        yield Check(GATE, f"{name} (CPU)", partial(decode, site, sample, "cpu"))
    if not site.around.gpus:
        yield Check(GATE, "decode on a GPU", partial(_skip, "no GPU"))
    for gpu in site.around.gpus:
        for sample in samples({"1080p": (1920, 1080)}):
            name = f"decode {sample.codec} {sample.depth} bit (GPU {gpu.number})"
            yield Check(GATE, name, partial(decode, site, sample, gpu.number))


def decode(site: Site, sample: Sample, device: int | str) -> str:
    path = site.around.make_sample(site.folder, sample)
    trial = DecodeTrial(str(path), NUM_FRAMES, str(site.folder))
    tried = site.try_on(device, trial, DECODE_DEADLINE_S)
    if tried.outcome == "refused":  # which a run meets by the CPU's decoder
        raise CheckSkipped(f"this GPU does not decode it ({tried.said}); the CPU will")
    _require(tried, "`vrmatte doctor --fresh` tells more; --gpus none works without a GPU")
    return f"{NUM_FRAMES} frames by {tried.words.get('decoder', '?')}"


# -- models --------------------------------------------------------------------------------------


def models(site: Site) -> Iterator[Check]:
    """Every model whose weights are here, on the CPU or on each GPU."""
    devices: list[int | str] = [gpu.number for gpu in site.around.gpus]
    for name in MODELS.names():
        for device in devices or ["cpu"]:
            where = "CPU" if device == "cpu" else f"GPU {device}"
            yield Check(GATE, f"model {name} ({where})", partial(matte, site, name, device))
    if not site.around.gpus:
        yield Check(GATE, "models on a GPU", partial(_skip, "no GPU"))


def matte(site: Site, name: str, device: int | str) -> str:
    matting = dataclasses.replace(site.matting, model=name)
    try:
        row = facts_of(matting)
    except SettingsError as error:  # another package's, which is broken
        if name == site.asked_model:
            raise
        raise CheckSkipped(str(error)) from error
    looked = site.try_on("cpu", WeightsTrial(matting), LOOK_DEADLINE_S)
    _require(looked, "the models' cache does not answer: mend its disk, or set TORCH_HOME")
    lacks = lacking(matting, looked.words)
    if lacks and name != site.asked_model:
        raise CheckSkipped(f"{lacks}: `vrmatte models fetch`, then --model {name}")
    kind = "cpu" if device == "cpu" else "cuda"
    processing = settled_engine(site.processing, row.engines, kind)
    on_cpu_too = device != "cpu" and not row.slow_on_cpu
    tried = site.try_on(device, ModelTrial(matting, processing, on_cpu_too), MODEL_DEADLINE_S)
    _require(tried, f"choose another --model than {name}, or see `vrmatte doctor`")
    figures = tried.figures
    if not 0 <= figures["low"] <= figures["high"] <= 1:
        raise CheckFailed(
            f"its alpha is from {figures['low']:.3f} to {figures['high']:.3f}", "run `make setup`"
        )
    if row.most_error is not None and figures["error"] > row.most_error:
        raise CheckFailed(
            f"its alpha is off by {figures['error']:.3f} on average, more than {row.most_error:g}",
            "this installation computes something else than it should: run `make setup`",
        )
    if figures.get("cpu_difference", 0.0) > MOST_DEVICE_DIFFERENCE:
        raise CheckFailed(
            f"its alpha differs from the CPU's by {figures['cpu_difference']:.4f} on average",
            "another driver or another machine; processing.precision: fp32",
        )
    off = f", off by {figures['error']:.4f} on average" if row.most_error is not None else ""
    there = f", {figures['cpu_difference']:.4f} from the CPU's" if on_cpu_too else ""
    return f"alpha from {figures['low']:.2f} to {figures['high']:.2f}{off}{there}"


# -- formats -------------------------------------------------------------------------------------


def formats(site: Site) -> Iterator[Check]:
    """Every format; of those that `encoding.codec` decides on, one by every codec and encoder."""
    software = EncodingSettings(encoder="software")
    by_codec = next(row.name for row in FORMATS if row.codec is None)
    for name in FORMATS.names():
        if name != by_codec:
            yield Check(GATE, f"format {name}", partial(make, site, name, software, "cpu"))
    for codec in _CODECS:
        encoding = dataclasses.replace(software, codec=codec)
        title = f"format {by_codec} {codec} (CPU)"
        yield Check(GATE, title, partial(make, site, by_codec, encoding, "cpu"))
    if not site.around.gpus:
        yield Check(GATE, "NVENC", partial(_skip, "no GPU"))
    for gpu in site.around.gpus:
        for codec in _CODECS:
            title = f"format {by_codec} {codec} (GPU {gpu.number})"
            yield Check(GATE, title, partial(make_by_nvenc, site, by_codec, codec, gpu.number))


def make_by_nvenc(site: Site, name: str, codec: Codec, number: int) -> str:
    width, height = 2 * EYE, EYE
    encoding = EncodingSettings(codec=codec, encoder="nvenc", nvenc_input="pipe")
    asked = Asked(tuple(encoder_options(encoding, 60)), width, height)
    reasons = []
    for way in WAYS:
        if way.takes == "pipe":
            refusal = site.around.nvenc(way, asked, number)
            if refusal is None:
                return make(site, name, dataclasses.replace(encoding, nvenc_pipe=way.name), number)
            reasons.append(f"{way.words}: {refusal}")
    why = "; ".join(reasons)
    raise CheckSkipped(f"no NVENC for {codec} here ({why}); the CPU will encode it")


def make(site: Site, name: str, encoding: EncodingSettings, device: int | str) -> str:
    try:
        row = FORMATS[name]
    except SettingsError as error:  # another package's, which a run meets only if it is asked for
        raise CheckSkipped(str(error)) from error
    folder = site.folder / f"{name}-{encoding.codec}-{encoding.encoder}-{device}"
    trial = FormatTrial(str(site.clips["h264"]), name, encoding, str(folder), FORMAT_FRAMES)
    tried = site.try_on(device, trial, FORMAT_DEADLINE_S)
    _require(tried, f"{_OTHER_FFMPEG}; the other formats do not need it")
    figures = tried.figures
    require_frames(figures["frames"], figures["decoded"], FORMAT_FRAMES)
    said = f"{FORMAT_FRAMES} frames"
    if row.shows_alpha:
        said += f", alpha off by {require_alpha(tried):.4f} on average"
    return said


def require_frames(frames: float, decoded: float, wanted: int) -> None:
    """Raises CheckFailed unless so many are there, and decode."""
    if (frames, decoded) != (wanted, wanted):
        raise CheckFailed(
            f"{frames:.0f} frames, of which {decoded:.0f} decode, instead of {wanted}",
            "run `make setup`; if it stays, the disk or the memory of this machine is bad",
        )


def require_alpha(tried: Tried) -> float:
    """The mean difference to the true alpha; raises CheckFailed: another, or none."""
    error = tried.figures.get("alpha_error")
    if error is None:
        raise CheckFailed("it has no alpha", _OTHER_FFMPEG)
    if error > MOST_ALPHA_ERROR:
        raise CheckFailed(
            f"its alpha is off by {error:.3f} on average, more than {MOST_ALPHA_ERROR:g}",
            _OTHER_FFMPEG,
        )
    return error


def _require(tried: Tried, advice: str) -> None:
    if tried.outcome != "works":
        said = tried.said if tried.outcome == "failed" else f"{tried.outcome}: {tried.said}"
        raise CheckFailed(said, tried.words.get("advice") or advice)


def _skip(reason: str) -> str:
    raise CheckSkipped(reason)
