"""Step `machine`: the driver, what of it the container sees, and PyTorch's code for the card."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable

from orchestrator.gpu_check.cards import without_engine
from orchestrator.gpu_check.results import Result, passed
from orchestrator.gpu_check.site import Site, Tell
from pipeline.contract.nvenc_ways import WAYS, named
from pipeline.encode.nvenc_library import capability_words, is_older, needed_driver
from pipeline.files.child import tied

#: For CUDA 13, which PyTorch's wheels are made for.
LEAST_DRIVER = "580"

_DECODE_LIBRARY, _ENCODE_LIBRARY = "libnvcuvid.so.1", "libnvidia-encode.so.1"

#: What the rehearsal's double of a machine has.
_REHEARSED_LIBRARIES = f"\t{_DECODE_LIBRARY} (libc6) => /x\n\t{_ENCODE_LIBRARY} (libc6) => /x\n"
_REHEARSED_CODE = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


def look(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    driver = site.machine.driver
    tell(
        passed(
            "driver",
            f"{LEAST_DRIVER} or newer",
            driver or "not told",
            bool(driver) and not is_older(driver, LEAST_DRIVER),
        )
    )
    for way in WAYS:
        tell(_driver_of_way(site, way.words, needed_driver(named(way.library)())))
    tell(capabilities(site))
    for result in libraries(site, _REHEARSED_LIBRARIES if site.rehearsal else _ldconfig()):
        tell(result)
    for number, card in enumerate(site.machine.cards):
        tell(_code(number, card.capability, _code_of_torch(site)))
        whole = "whole" if not card.parts else f"divided into {card.parts} parts (MIG)"
        memory = "unknown" if card.memory_bytes is None else f"{card.memory_bytes / 1e9:.1f} GB"
        tell(passed(f"GPU {number}", "a card", f"{card.name}, {memory}, {whole}"))
    tell(_computes(site))


def _driver_of_way(site: Site, words: str, needed: str | None) -> Result:
    what = f"driver for NVENC by {words}"
    found = site.machine.driver
    if not site.encodes("hevc"):
        return Result(what, "none (this card has no NVENC by the table)", found, "absent")
    if needed is None:
        return Result(what, "told by the library", "it does not tell", "absent")
    if is_older(found, needed):  # one way is enough: step `nvenc` tells whether there is one
        return Result(what, f"{needed} or newer for this way", found, "absent")
    return passed(what, f"{needed} or newer", found)


def capabilities(site: Site) -> Result:
    """Whether the container was given the driver's video libraries."""
    value = site.machine.capabilities
    given = set((value or "").replace(" ", "").split(","))
    expected = 'one with "video", or none where there is no container'
    if value is None or given & {"video", "all"}:
        return passed("NVIDIA_DRIVER_CAPABILITIES", expected, value or "not set")
    cause, cure = capability_words({"NVIDIA_DRIVER_CAPABILITIES": value})
    return passed("NVIDIA_DRIVER_CAPABILITIES", expected, f"{cause}: {cure}", False)


def libraries(site: Site, ldconfig: str) -> Iterable[Result]:
    """By the linker's list: those of NVDEC and NVENC, where the card has such engines."""
    for name, has in (
        (_DECODE_LIBRARY, site.decodes("hevc")),
        (_ENCODE_LIBRARY, site.encodes("hevc")),
    ):
        if re.search(rf"^\s*{re.escape(name)}\s", ldconfig, re.MULTILINE):
            yield passed(name, "in the linker's list", "there")
        else:
            yield without_engine(name, site.engines, has, "not in the linker's list")


def _ldconfig() -> str:
    program = shutil.which("ldconfig") or "/sbin/ldconfig"
    done = subprocess.run(
        tied([program, "-p"]), capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout


def covers(code: Iterable[str], capability: tuple[int, int]) -> str | None:
    """Which of PyTorch's architectures a card of that capability runs, or None.

    A cubin runs on its own and on later minor versions of the same major one (NVIDIA, CUDA C
    Programming Guide, "Binary Compatibility"), PTX on all later ones.
    """
    major, minor = capability
    found: list[tuple[int, int, str]] = []
    for name in code:
        if match := re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", name):
            its = int(match[2]), int(match[3])
            same = its[0] == major and its[1] <= minor
            if same or (match[1] == "compute" and its <= capability):
                found.append((*its, name))
    return max(found)[2] if found else None


def _code_of_torch(site: Site) -> tuple[str, ...]:
    if site.rehearsal:
        return _REHEARSED_CODE
    import torch

    return tuple(torch.cuda.get_arch_list())


def _code(number: int, capability: tuple[int, int] | None, code: tuple[str, ...]) -> Result:
    what, has = f"CUDA code for GPU {number}", ", ".join(code)
    if capability is None:
        return passed(what, "a compute capability", "the driver does not tell it", False)
    runs = covers(code, capability)
    its = ".".join(map(str, capability))
    found = f"{its}, by {runs}" if runs else f"{its}, and none in PyTorch ({has})"
    return passed(what, "code that the card runs", found, runs is not None)


def _computes(site: Site) -> Result:
    import torch

    ones = torch.ones(64, 64, device=site.device)
    total = float((ones @ ones).sum())
    return passed("a product of matrices", "262144", f"{total:.0f}", total == 64**3)
