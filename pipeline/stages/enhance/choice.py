"""Decides what the settings of enhancement leave open, before a run is planned. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.contract import EnhanceSettings, VideoInfo
from pipeline.errors import SettingsError
from pipeline.stages.enhance.catalogue import file_of, upscaler_of
from pipeline.stages.matting.weights import sha256_of

_CPU_INFO = Path("/proc/cpuinfo")

#: What a CPU says that multiplies 16-bit floats by itself; others are slower with them.
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def settled_enhancement(
    enhance: EnhanceSettings, device_kind: str, cpu_info: Path = _CPU_INFO
) -> EnhanceSettings:
    """With precision and digest decided, so that both are in the settings' fingerprint.

    Args:
        device_kind: ``"cpu"`` or ``"cuda"``, what the workers have.

    Raises:
        SettingsError: there is no such upscaler, or no such file.
    """
    if enhance.scale == 1:
        return enhance
    row = upscaler_of(enhance)
    if row.files and enhance.scale not in row.files:
        raise SettingsError(
            f"enhance.model: {row.name} cannot make pictures {enhance.scale} times larger",
            f"set enhance.scale to one of {', '.join(map(str, row.files))}",
        )
    if (file := file_of(enhance)) is not None:
        if not file.is_file():
            raise SettingsError(f"enhance.model: there is no file {file}", "check its path")
        found = sha256_of(file)
        if enhance.model_sha256 not in (None, found):
            raise SettingsError(
                f"enhance.model: {file} has another sha256 than enhance.model_sha256 says",
                "check the file and the setting",
            )
        enhance = replace(enhance, model_sha256=found)
    if enhance.precision != "auto":
        return enhance
    if row.wheel is None and file is None:
        return replace(enhance, precision="fp32")  # no network: there is nothing to save
    if device_kind == "cuda":
        return replace(enhance, precision="fp16")
    return replace(enhance, precision="bf16" if _has_bf16(cpu_info) else "fp32")


#: Of one bit of H.264, how many another codec needs for the same picture. (HEVC and VP9 save some
#: 40 %, AV1 half: Grois et al., "Coding efficiency comparison of AV1/VP9, H.265/MPEG-HEVC and
#: H.264/MPEG-AVC encoders", PCS 2016, and later comparisons.)
_WORTH = {"hevc": 1.6, "vp9": 1.6, "av1": 2.0}

#: Bits a pixel of H.264 from which on nothing is calmed, and below which it is as much as ever, of
#: pictures of 1920x1080. The same quality takes bits as pixels to the power of 0.75: neighbours of
#: large pictures are more alike.
_CLEAN_BITS, _COARSE_BITS = 0.12, 0.05
_USUAL_PIXELS, _POWER = 1920 * 1080, 0.25

#: What is calmed then, in steps that small changes of a file do not alter.
_MOST, _STEP = 0.7, 0.05


def settled_denoise(enhance: EnhanceSettings, video: VideoInfo) -> EnhanceSettings:
    """With ``denoise: auto`` decided, by the bits that the file spends on a pixel."""
    if enhance.calms != "auto":
        return enhance
    width, height = video.stored_size
    bits = 8 * video.size_bytes / max(1, width * height * video.source_frames)
    bits *= _WORTH.get(video.codec, 1.0)
    return replace(enhance, denoise=denoise_for(bits, width * height))


def denoise_for(bits: float, pixels: int) -> float:
    """How much pixels are calmed that H.264 gave so many bits each, in a picture of so many."""
    bits *= (pixels / _USUAL_PIXELS) ** _POWER
    coarse = (_CLEAN_BITS - bits) / (_CLEAN_BITS - _COARSE_BITS)
    return round(round(_MOST * min(1.0, max(0.0, coarse)) / _STEP) * _STEP, 2)


def _has_bf16(cpu_info: Path) -> bool:
    text = cpu_info.read_text(encoding="utf-8", errors="replace") if cpu_info.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return bool(lines) and not _BF16_FLAGS.isdisjoint(lines[0].split())


def enhanced_in_words(enhance: EnhanceSettings, shown: VideoInfo) -> Iterator[str]:
    """What becomes of the pictures, one line or none.

    Args:
        enhance: settled.
        shown: the video as formats see it.
    """
    said = []
    if enhance.scale > 1:
        said.append(f"enlarged to {shown.width}x{shown.height} by {enhance.model}")
    if enhance.calms:
        said.append(f"calmed by {enhance.calms}")
    if enhance.history:
        frames = "the frame" if enhance.history == 1 else f"{enhance.history} frames"
        said.append(f"steadied by {frames} before")
    if enhance.steady_matte:
        said.append(f"mattes steadied by {enhance.steady_matte} before")
    if said:
        yield ", ".join(said)
