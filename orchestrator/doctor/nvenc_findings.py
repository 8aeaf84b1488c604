"""What the doctor says of NVENC as a whole: its ways, the driver each needs, what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from orchestrator.doctor.findings import Finding
from pipeline.contract.nvenc_ways import NvencWay, named
from pipeline.encode.nvenc_library import (
    capability_words,
    has_no_nvenc,
    is_older,
    is_session_refused,
    needed_driver,
)
from pipeline.encode.nvenc_trial import Asked, only_these, try_way
from workers.launch import visible_devices

#: (way, what is to be encoded, GPU's number) -> why NVENC does not encode that there, or None.
NvencTrial = Callable[[NvencWay, Asked, int], str | None]

#: The driver that a way needs, by its library's own words; None where that is not known.
NeededDriver = Callable[[NvencWay], str | None]


def nvenc_on(
    way: NvencWay, asked: Asked, number: int, environment: Mapping[str, str] = os.environ
) -> str | None:
    """See `NvencTrial`."""
    return try_way(way, asked, only_these(visible_devices(number, environment), environment))


def driver_needed(way: NvencWay) -> str | None:
    """See `NeededDriver`."""
    return needed_driver(named(way.library)())


def ways_finding(
    group: str,
    said: Mapping[NvencWay, str | None],
    needed: Mapping[NvencWay, str | None],
    driver: str,
) -> Finding:
    """Which ways to NVENC work, the driver that each needs beside the one that is there."""
    reasons = [why for why in said.values() if why is not None]
    if len(reasons) == len(said) and any(map(has_no_nvenc, reasons)):
        said_so = next(filter(has_no_nvenc, reasons))
        return Finding(
            group,
            "NVENC",
            "warning",
            f"this GPU has none ({said_so})",
            "the CPU encodes H.264, HEVC and AV1: rent more cores for them, or an Ada or Blackwell"
            " GPU; WebM is encoded by the CPU anyway",
        )
    ways = []
    for way, why in said.items():
        needs = f"needs driver {needed[way]}" if needed[way] else "the driver it needs is not known"
        ways.append(f"{way.words} ({needs}): {'works' if why is None else why}")
    text = f"driver {driver or 'unknown'} here; {'; '.join(ways)}"
    if len(reasons) < len(said):
        return Finding(group, "NVENC", "ok", text)
    oldest = [n for way in said if (n := needed[way]) and is_older(driver, n)]
    advice = "the CPU encodes (encoding.encoder: auto): rent more cores, or another GPU"
    if oldest and len(oldest) == len(said):
        advice = f"rent a machine with driver {min(oldest)} or newer; until then the CPU encodes"
    elif any(map(is_session_refused, reasons)):
        advice = "end other programs that encode on this GPU, then run this again with --fresh"
    return Finding(group, "NVENC", "warning", text, advice)


def without_capability(group: str, name: str, said: str, environment: Mapping[str, str]) -> Finding:
    cause, cure = capability_words(environment)
    return Finding(group, name, "broken", f"{said}: {cause}", cure)
