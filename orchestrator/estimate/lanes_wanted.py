"""Compute the lanes of a worker, and the network's share of its device, from speeds of stages.

Arithmetic only; `orchestrator/estimate/trial.py` measures. Lanes never alter frames; the network's
size does, so it is chosen once per video and recorded (`orchestrator/estimate/network_scale.py`).
"""

from __future__ import annotations

import math

from orchestrator.estimate.trial import Stages
from orchestrator.machine.devices import MOST_LANES

#: Steps that have threads or processes of their own. The others are the chain and the planes: one
#: thread of a lane, and the GPU where there is one, which serves one lane at a time.
_APART = ("decode", "encode")

#: A lane of huge pictures takes gigabytes: another one has to make the run faster by this share.
_WORTH_A_LANE = 0.15


def lanes_wanted(stages: Stages, cores: float, on_gpu: bool, huge: bool = False) -> int:
    """Lanes that keep the scarcest thing busy: the cores, or the GPU.

    The stages of one lane run beside each other, so that it goes at the speed of its slowest. All
    lanes together go no faster than the cores allow for the CPU seconds of a frame, and the GPU for
    the seconds that it works on one. One lane more than reaches that works while others begin, end
    or wait; where pictures are huge its memory is worth more than that.

    Args:
        cores: of one worker.
        huge: the pictures are, and so, on a CPU, all but the encoders take turns in a lane.
    """
    cost = Cost.of(stages, on_gpu)
    floor = max(cost.cpu_s / cores, cost.device_s)
    if floor <= 0:
        return 1
    if huge and not on_gpu:
        alone = max(cost.in_turn_s, cost.slowest_s) / floor
        return min(MOST_LANES, max(1, math.ceil(round(alone - _WORTH_A_LANE, 3))))
    return min(MOST_LANES, math.ceil(round(cost.slowest_s / floor, 3)) + 1)


def network_usage(stages: Stages, cores: float, on_gpu: bool) -> float:
    """The share of its device's time that the network takes when everything goes at its best, 0..1.

    On a GPU: its seconds a frame, over those of whatever bounds the run with enough lanes. On a CPU
    all stages have the same cores: its CPU seconds, over those of all.
    """
    network = [stage for stage in stages.stages if stage.name == "matting"]
    cost = Cost.of(stages, on_gpu)
    if on_gpu:
        bound = max(cost.cpu_s / cores, cost.device_s)
        return sum(stage.wall_s / stage.frames for stage in network) / bound
    return sum(stage.cpu_s / stage.frames for stage in network) / cost.cpu_s


class Cost:
    """Seconds a frame: of all cores together, of the GPU, of the slowest stage alone, and of all
    but the encoders one after the other.
    """

    def __init__(self, cpu_s: float, device_s: float, slowest_s: float, in_turn_s: float) -> None:
        self.cpu_s = cpu_s
        self.device_s = device_s
        self.slowest_s = slowest_s
        self.in_turn_s = in_turn_s

    @classmethod
    def of(cls, stages: Stages, on_gpu: bool) -> Cost:
        wall = {stage.name: stage.wall_s / stage.frames for stage in stages.stages}
        apart = {name: s for name, s in wall.items() if name.partition(" ")[0] in _APART}
        together = sum(s for name, s in wall.items() if name not in apart)
        cpu_s = sum(stage.cpu_s / stage.frames for stage in stages.stages)
        in_turn = sum(s for name, s in wall.items() if name.partition(" ")[0] != "encode")
        return cls(cpu_s, together if on_gpu else 0.0, max([together, *apart.values()]), in_turn)
