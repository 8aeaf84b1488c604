"""Memory of further models in a worker whose videos have different ones.

`orchestrator.machine.segment_memory` allows for one model; this adds a second and a third.
"""

from __future__ import annotations

from collections.abc import Collection

from pipeline.stages.matting.catalogue import facts_of, taking_part
from workers.messages import MOST_LOADED, ModelChoice


def model_bytes(choice: ModelChoice) -> int:
    """What one more model of that choice takes, and the models that it asks."""
    engine = choice.processing.engine
    return sum(facts_of(each).memory(each, engine).another for each in taking_part(choice.matting))


def further_bytes(choices: Collection[ModelChoice], lanes: int) -> int:
    """The most that models loaded at the same time take, without the largest, which is allowed for.

    Args:
        choices: all that the videos ask for, each once.
        lanes: of one worker; each may have another model in use.
    """
    sizes = sorted(map(model_bytes, choices), reverse=True)
    return sum(sizes[1 : max(MOST_LOADED, lanes)])
