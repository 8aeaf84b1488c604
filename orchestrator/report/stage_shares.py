"""How busy each stage was while a video's segments were made, and which one was the bottleneck."""

from __future__ import annotations

from collections.abc import Mapping

#: A stage that is at work for so much of the time is what the others wait for.
BUSY = 0.85

#: Steps with threads or processes of their own. All other stages of a segment take turns in one
#: thread, and on one GPU where there is one.
_APART = ("decode", "encode")


def shares(stage_seconds: Mapping[str, float], wall_s: float) -> dict[str, float] | None:
    """The share of the segments' time for which each stage was at work; None if not measured.

    Args:
        stage_seconds: of one or several segments, by the stages' names.
        wall_s: how long these segments took, added up.
    """
    if wall_s <= 0:
        return None
    # A device's clock is not quite the host's, so a stage may seem to work longer than that.
    return {stage: round(min(1.0, seconds / wall_s), 3) for stage, seconds in stage_seconds.items()}


def in_words(shares: Mapping[str, float]) -> str:
    """``decode 12%, matte 81%, planes 3%, encode 34%``."""
    return ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())


def bottleneck(shares: Mapping[str, float]) -> str | None:
    """What the others wait for, in words; None if nothing is at work nearly all the time."""
    if busy := [stage for stage, share in shares.items() if share > BUSY]:
        return f"{_listed(busy)}: the rest waits"
    turns = {stage: share for stage, share in shares.items() if stage not in _APART}
    if sum(turns.values()) > BUSY:
        return f"{_listed(list(turns))}, which take turns: the rest waits"
    return None


def _listed(stages: list[str]) -> str:
    """``decode, matte and encode``."""
    *others, last = stages
    return f"{', '.join(others)} and {last}" if others else last
