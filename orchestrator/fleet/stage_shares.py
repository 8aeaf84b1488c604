"""What took a video's time: how much of it each stage of the way of a frame was at work. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass

from pipeline.contract import StageTimes

#: A stage that is at work for so much of the time is what the others wait for.
BUSY = 0.85


@dataclass(frozen=True, slots=True)
class StageShares:
    """Of the time that a video's segments took, from the beginning of each to its files' names.

    Attributes:
        decode: 0..1, from the file to RGB.
        matte: 0..1, the model, its first look at the video too, and what is made of its matte.
        planes: 0..1, what the encoders are given, and its copy to the host; matte and planes take
            turns.
        encode: 0..1, writing, checking and naming the files; not what an encoder goes on with
            while nothing waits for it.
    """

    decode: float
    matte: float
    planes: float
    encode: float


def added(times: Iterable[StageTimes | None]) -> StageTimes | None:
    """Of all those segments that were measured; None where none was."""
    known = [astuple(each) for each in times if each is not None]
    return StageTimes(*map(sum, zip(*known, strict=True))) if known else None


def shares(times: StageTimes | None) -> StageShares | None:
    """Of several segments together: the mean of theirs, a longer one counting for more."""
    if times is None or times.wall_s <= 0:
        return None

    def share(seconds: float) -> float:  # a device's clock is not quite the host's
        return round(min(1.0, seconds / times.wall_s), 3)

    return StageShares(
        decode=share(times.decode_s),
        matte=share(times.matte_s),
        planes=share(times.planes_s),
        encode=share(times.encode_s),
    )


def in_words(shares: StageShares) -> str:
    """``decode 12%, matte 81%, planes 3%, encode 34%``."""
    return ", ".join(f"{name} {share:.0%}" for name, share in asdict(shares).items())


def bottleneck(shares: StageShares) -> str | None:
    """What the others wait for, in words; None where nothing is at work nearly all the time."""
    busy = [name for name, share in asdict(shares).items() if share > BUSY]
    if busy:
        return f"{' and '.join(busy)}: the rest waits"
    if shares.matte + shares.planes > BUSY:
        return "matte and planes, which take turns: the rest waits"
    return None
