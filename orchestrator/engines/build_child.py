"""The process that builds an engine and compares it with torch; see `request.py`.

Run as ``python -m orchestrator.engines.build_child REQUEST ANSWER DEVICE``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.engines.request import EngineAnswer, EngineRequest
from pipeline.engines.catalogue import ENGINES, make_engine
from pipeline.engines.compiled_files import CompiledFiles
from pipeline.errors import MachineError, VrmatteError
from pipeline.stages.matting.catalogue import JSON_CONTEXT, facts_of, function_of

if TYPE_CHECKING:
    import torch


def answer_of(request: EngineRequest, device: torch.device) -> EngineAnswer:
    """Build and compare, in this process.

    Raises:
        MachineError: the network or the engine's library cannot be had.
    """
    import torch

    from pipeline.engines.kept import built_and_compared

    settings = request.settings
    torch.set_num_threads(settings.processing.intra_op_threads)
    row = facts_of(settings.matting)
    assert row.parts is not None
    engine = ENGINES[request.key.engine]
    try:
        builder = make_engine(engine.name, settings.processing.intra_op_threads, device)
    except ImportError as error:
        raise MachineError(
            f"{engine.name} does not load: {error}", engine.how_to_have_it()
        ) from error
    network, example = function_of(row, row.parts)(
        settings.matting, settings.processing, request.info.eye_shape, device
    )
    files = CompiledFiles(Path(request.folder))
    kept = built_and_compared(network, example, builder, files, request.key)
    return EngineAnswer(kept.digest, kept.refused)


def main(request: str, answer: str, device: str) -> None:
    import torch
    from pydantic import TypeAdapter

    text = Path(request).read_bytes()
    asked = TypeAdapter(EngineRequest).validate_json(text, context=JSON_CONTEXT)
    found = answer_of(asked, torch.device(device))
    Path(answer).write_bytes(TypeAdapter(EngineAnswer).dump_json(found))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except VrmatteError as error:
        sys.exit(f"error: {error}")
