"""TorchDynamo is not loaded for TorchCodec, and can be when somebody compiles.

Each program runs in a process of its own: what is loaded there, nothing else has loaded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clips import X264, ClipSpec

GetClip = Callable[[ClipSpec], Path]

CLIP = ClipSpec("tiny_LR.mp4", X264, num_frames=8, eye=(64, 64), audio=("aac",))


def said(program: str, *words: str) -> Any:
    """What the program prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


RVM_THEN_SAM2 = """
import json, sys
from pathlib import Path
from pipeline.torchcodec_import import decoders

def loaded():
    return "torch._dynamo" in sys.modules or "torch._inductor" in sys.modules

said = {"loaded by the import": loaded()}
from tests.render import chroma_settings, render
render(Path(sys.argv[1]), Path(sys.argv[2]), chroma_settings(4))
said["loaded by a segment"] = loaded()

from tests.pipeline.stages.matting.rvm.test_network import (
    by_openvino, clip, directly, make_network, matte)
rgb = clip(2, 32, 48)
alpha, _ = matte(by_openvino(Path(sys.argv[2])), rgb, 3)
said["loaded by openvino"] = loaded()
expected, _ = directly(make_network(), rgb, 0.5)
said["openvino is right"] = float((alpha - expected).abs().max()) < 1e-4

import torch
from pipeline.stages.matting.sam2.compiled import compile_networks
from tests.pipeline.sam2_networks import random_network
from tests.pipeline.stages.matting.sam2.test_compiled import answers
real = torch.compile
network = random_network(64, slim=True)
plain = answers(network)
said["loaded before the compiler"] = loaded()
torch.compile = lambda function, *, options, **rest: real(function, backend="eager", **rest)
compile_networks(network)
said["compiled is right"] = answers(network) == plain
said["loaded by the compiler"] = loaded()
print(json.dumps(said))
"""


@pytest.mark.slow
def test_dynamo_is_loaded_when_something_is_compiled_and_not_before(
    clip: GetClip, tmp_path: Path
) -> None:
    """Not by a segment, nor where OpenVINO converts RVM and runs it; SAM 2 is compiled after that.

    It is traced as for a GPU; the kernels that a compiler would write are PyTorch's own here.
    """
    assert said(RVM_THEN_SAM2, str(clip(CLIP)), str(tmp_path)) == {
        "loaded by the import": False,
        "loaded by a segment": False,
        "loaded by openvino": False,
        "openvino is right": True,
        "loaded before the compiler": False,
        "compiled is right": True,
        "loaded by the compiler": True,
    }


CHANGED = """
import json, sys
import torch
import pipeline.torchcodec_import as own
with own._without_dynamo():
    stand_in = torch._dynamo
    known = torch._dynamo.disallow_in_graph(len) is len
    unknown = torch._dynamo.is_compiling()
real = torch._dynamo is sys.modules["torch._dynamo"] and torch._dynamo is not stand_in
print(json.dumps([known, unknown, real]))
"""


@pytest.mark.slow
def test_whatever_else_is_asked_of_dynamo_is_answered_by_dynamo() -> None:
    """As a newer TorchCodec may do while it is imported."""
    assert said(CHANGED) == [True, False, True]
