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


SEGMENT = """
import json, sys
from pathlib import Path
from tests.render import chroma_settings, render
render(Path(sys.argv[1]), Path(sys.argv[2]), chroma_settings(4))
loaded = ["torch._dynamo" in sys.modules, "torch._inductor" in sys.modules]
import torch
compiled = torch.compile(lambda x: x.sin() + 1, fullgraph=True, backend="eager")
x = torch.arange(5.0)
loaded += [bool((compiled(x) == x.sin() + 1).all()), "torch._dynamo" in sys.modules]
print(json.dumps(loaded))
"""


@pytest.mark.slow
def test_a_segment_is_made_without_dynamo_and_dynamo_loads_when_it_is_wanted(
    clip: GetClip, tmp_path: Path
) -> None:
    assert said(SEGMENT, str(clip(CLIP)), str(tmp_path)) == [False, False, True, True]


RVM = """
import json, sys
from pathlib import Path
from pipeline.torchcodec_import import decoders
loaded = ["torch._dynamo" in sys.modules]
from tests.pipeline.stages.matting.rvm.test_network import (
    by_openvino, clip, directly, make_network, matte)
rgb = clip(2, 32, 48)
alpha, _ = matte(by_openvino(Path(sys.argv[1])), rgb, 3)
loaded.append("torch._dynamo" in sys.modules)
expected, _ = directly(make_network(), rgb, 0.5)
print(json.dumps([*loaded, float((alpha - expected).abs().max()) < 1e-4]))
"""


@pytest.mark.slow
def test_openvino_converts_rvm_after_it_and_runs_it_without_dynamo(tmp_path: Path) -> None:
    assert said(RVM, str(tmp_path)) == [False, False, True]


SAM2 = """
import functools, json, sys
import torch
from pipeline.stages.matting.sam2.compiled import compile_networks
from pipeline.torchcodec_import import decoders
from tests.pipeline.sam2_networks import random_network
from tests.pipeline.stages.matting.sam2.test_compiled import answers
loaded = ["torch._dynamo" in sys.modules]
real = torch.compile
network = random_network(64, slim=True)
plain = answers(network)
torch.compile = lambda function, *, options, **rest: real(function, backend="eager", **rest)
compile_networks(network)
print(json.dumps([*loaded, answers(network) == plain, "torch._dynamo" in sys.modules]))
"""


@pytest.mark.slow
def test_sam2_is_compiled_after_it() -> None:
    """Traced as it is for a GPU; the kernels that a compiler would write are PyTorch's own here."""
    assert said(SAM2) == [False, True, True]


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
