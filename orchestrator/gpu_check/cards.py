"""Which engines a card has, by NVIDIA's support matrix: the table of DEPLOYMENT_GUIDE.md, phase 1.

The table decides whether an engine that does not answer has failed, or is not there. It goes by
compute capability: all cards of a generation that can be rented have the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.gpu_check.results import Result


@dataclass(frozen=True, slots=True)
class Engines:
    """Codecs that a generation of cards decodes and encodes.

    Attributes:
        generation: NVIDIA's name for it.
    """

    generation: str
    decodes: frozenset[str]
    encodes: frozenset[str]


_ALL = frozenset({"h264", "hevc", "av1"})
_NO_AV1 = frozenset({"h264", "hevc"})
_NONE = frozenset[str]()

ENGINES: dict[tuple[int, int], Engines] = {
    (7, 5): Engines("Turing", _NO_AV1, _NO_AV1),
    (8, 0): Engines("Ampere (A100, A30)", _NO_AV1, _NONE),
    (8, 6): Engines("Ampere", _ALL, _NO_AV1),
    (8, 9): Engines("Ada", _ALL, _ALL),
    (9, 0): Engines("Hopper (H100, H200)", _NO_AV1, _NONE),
    (12, 0): Engines("Blackwell", _ALL, _ALL),
}


def engines_of(capability: tuple[int, int] | None) -> Engines | None:
    """None where the table does not hold such cards."""
    return None if capability is None else ENGINES.get(capability)


def decodes(engines: Engines | None, codec: str) -> bool | None:
    """Whether NVDEC has that codec; None where the table does not say."""
    return None if engines is None else codec in engines.decodes


def encodes(engines: Engines | None, codec: str) -> bool | None:
    """Whether NVENC has that codec; None where the table does not say."""
    return None if engines is None else codec in engines.encodes


def without_engine(
    what: str, engines: Engines | None, has: bool | None, why: str, said: str = ""
) -> Result:
    """The result where an engine does not work: by the table a failure, or no more than absent.

    Args:
        has: what the table says of it.
        why: as the library said it.
    """
    generation = "this card" if engines is None else engines.generation
    if has:
        return Result(what, f"{generation} has it", why, "FAILED", said=said)
    table = "is not in the table" if has is None else "has none"
    return Result(what, f"none ({generation} {table})", why, "absent", said=said)


def with_engine(engines: Engines | None, has: bool | None) -> str:
    """What was expected of an engine that works."""
    if has:
        return "works"
    if engines is None:
        return "unknown (this card is not in the table)"
    return f"none ({engines.generation} has none by the table, which is to be mended)"
