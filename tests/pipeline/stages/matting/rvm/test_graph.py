"""RVM by its graph: the file's format, the operations against torch's own, the engines' agreement.

The graph here is drawn by hand, small, with the names of RVM's. With VRMATTE_RVM_GRAPH (the real
``rvm.json`` beside its ``rvm.bin``) `test_rvm.py` compares the real one with RVM's own code.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import MachineError
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.rvm.graph import GraphNetwork, GraphPart, GuidedLines
from pipeline.stages.matting.rvm.graph_file import read_graph
from pipeline.stages.matting.rvm.load import load

CPU = torch.device("cpu")
INSIDE = "StatefulPartitionedCall/matting_network_wrapper/StatefulPartitionedCall"
SMALL, MADE = f"{INSIDE}/cond/output/_660", f"{INSIDE}/conv2d_62/BiasAdd"
STATES = 2, 3, 4, 5


class Drawing:
    """A graph that is written to two files."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.manifest: list[dict[str, Any]] = []
        self.content = b""
        self._random = np.random.default_rng(5)

    def node(self, name: str, operation: str, inputs: Sequence[str], **attributes: Any) -> str:
        said = {key: _attribute(value) for key, value in attributes.items()}
        self.nodes.append({"name": name, "op": operation, "input": [*inputs], "attr": said})
        return name

    def constant(self, name: str, value: Any) -> str:
        value = np.asarray(value)
        entry = {"name": name, "shape": [*value.shape], "dtype": str(value.dtype)}
        self.nodes.append({"name": name, "op": "Const", "input": [], "attr": {}})
        self.manifest.append(entry)
        self.content += value.tobytes()
        return name

    def weights(self, name: str, *shape: int) -> str:
        """In 8 bits, as the real file has them."""
        codes = self._random.integers(0, 256, shape, np.uint8)
        self.nodes.append({"name": name, "op": "Const", "input": [], "attr": {}})
        quantised = {"dtype": "uint8", "scale": 0.004, "min": -0.5, "original_dtype": "float32"}
        self.manifest.append(
            {"name": name, "shape": [*shape], "dtype": "float32", "quantization": quantised}
        )
        self.content += codes.tobytes()
        return name

    def write(self, folder: Path) -> Path:
        group = {"paths": ["rvm.bin"], "weights": self.manifest}
        said = {"modelTopology": {"node": self.nodes}, "weightsManifest": [group]}
        (folder / "rvm.json").write_text(json.dumps(said))
        (folder / "rvm.bin").write_bytes(self.content)
        return folder / "rvm.json"


def _attribute(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"b": value}
        case int():
            return {"i": str(value)}
        case str():
            return {"s": base64.b64encode(value.encode()).decode()}
        case _:
            kind = "s" if isinstance(value[0], str) else "i"
            return {"list": {kind: [_attribute(each)[kind] for each in value]}}


CONVOLUTION = {"strides": (1, 1, 1, 1), "dilations": (1, 1, 1, 1), "padding": "SAME"}


def small_rvm(folder: Path) -> Path:
    """A network with RVM's names: four states, each of a quarter of the one before."""
    drawing = Drawing()
    drawing.node(SMALL, "Placeholder", ())
    for number in range(1, 5):
        drawing.node(f"r{number}i", "Placeholder", ())
    last = SMALL
    channels = 3
    for number, out in enumerate(STATES, start=1):
        kernel = drawing.weights(f"k{number}", 3, 3, channels, 4)
        bias = drawing.weights(f"b{number}", 4)
        strided = CONVOLUTION | {"strides": (1, 2, 2, 1), "fused_ops": ("BiasAdd", "Relu6")}
        last = drawing.node(f"c{number}", "_FusedConv2D", (last, kernel, bias), **strided)
        shape = drawing.node(f"s{number}", "Shape", (last,))
        before = drawing.node(f"x{number}", "BroadcastTo", (f"r{number}i", shape))
        both = drawing.node(f"a{number}", "AddV2", (last, before))
        half = drawing.constant(f"h{number}", np.float32(0.5))
        drawing.node(f"Identity_{out}", "Mul", (both, half))
        last, channels = f"Identity_{out}", 4
    size = drawing.node("size", "Shape", (SMALL,))
    ends = [drawing.constant(f"e{n}", np.array([n], np.int32)) for n in (1, 3)]
    step = drawing.constant("one", np.array([1], np.int32))
    size = drawing.node("hw", "StridedSlice", (size, *ends, step))
    large = drawing.node(
        "large", "ResizeBilinear", (last, size), align_corners=False, half_pixel_centers=True
    )
    kernel, bias = drawing.weights("k", 1, 1, 4, 4), drawing.weights("b", 4)
    drawing.node(MADE, "_FusedConv2D", (large, kernel, bias), **CONVOLUTION, fused_ops=("BiasAdd",))
    return drawing.write(folder)


def options_of(folder: Path) -> MattingSettings:
    return MattingSettings(options=(RvmOptions(weights=str(small_rvm(folder))),))


def mattes(matting: MattingSettings, engine: Any, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and foreground of a clip ``[T, E, 3, H, W]``, frame by frame."""
    model = load(matting, ProcessingSettings(engine=engine), CPU)
    state = model.start(pictures.shape[1], pictures.shape[3], pictures.shape[4], {})
    made = [model.matte(EyeBatch(each[None], t), state) for t, each in enumerate(pictures)]
    foregrounds = [each.foreground for each in made if each.foreground is not None]
    return torch.cat([each.alpha for each in made]), torch.cat(foregrounds)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 51), (300, 700)])
def test_both_engines_and_a_single_eye_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    matting = options_of(tmp_path)
    pictures = torch.randint(0, 256, (3, 2, 3, height, width), dtype=torch.uint8)
    alpha, foreground = mattes(matting, "torch", pictures)
    assert float(alpha.std()) > 0.01
    by_openvino = mattes(matting, "openvino", pictures)
    torch.testing.assert_close(by_openvino[0], alpha, atol=2e-3, rtol=0)
    torch.testing.assert_close(by_openvino[1], foreground, atol=2e-3, rtol=0)
    alone, _ = mattes(matting, "torch", pictures[:, 1:])
    torch.testing.assert_close(alone, alpha[:, 1:], atol=1e-4, rtol=0)


def test_it_remembers_between_frames_and_begins_anew_with_each_segment(tmp_path: Path) -> None:
    matting = options_of(tmp_path)
    picture = torch.randint(0, 256, (1, 1, 3, 40, 40), dtype=torch.uint8)
    first, _ = mattes(matting, "torch", picture)
    both, _ = mattes(matting, "torch", picture.repeat(2, 1, 1, 1, 1))
    assert torch.equal(both[0], first[0])
    assert not torch.equal(both[1], first[0])


@pytest.mark.parametrize(
    "damage", ["cut off", "longer", "no json", "another graph", "an operation"]
)
def test_what_is_no_such_graph_is_refused_in_a_line(tmp_path: Path, damage: str) -> None:
    model = small_rvm(tmp_path)
    weights = tmp_path / "rvm.bin"
    match damage:
        case "cut off":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "longer":
            weights.write_bytes(weights.read_bytes() + b"\0")
        case "no json":
            model.write_text("{")
        case "another graph":
            model.write_text(model.read_text().replace("Identity_3", "another"))
        case _:
            model.write_text(model.read_text().replace('"ResizeBilinear"', '"PyFunc"'))
    matting = MattingSettings(options=(RvmOptions(weights=str(model)),))
    with pytest.raises(MachineError, match=r"no graph that can be read|not that of RVM"):
        load(matting, ProcessingSettings(engine="torch"), CPU)


def test_eight_bits_are_put_back_to_their_scale(tmp_path: Path) -> None:
    drawing = Drawing()
    drawing.weights("w", 2, 3)
    drawing.constant("i", np.array([3, -4], np.int32))
    graph = read_graph(drawing.write(tmp_path), tmp_path / "rvm.bin")
    codes = np.frombuffer(drawing.content[:6], np.uint8).reshape(2, 3)
    np.testing.assert_allclose(graph.constants["w"], codes * 0.004 - 0.5, atol=1e-7)
    assert graph.constants["i"].tolist() == [3, -4]


# -- operations ----------------------------------------------------------------------------------


def part(folder: Path, drawing: Drawing, wanted: Sequence[str]) -> GraphPart:
    drawing.node("x", "Placeholder", ())
    return GraphPart(read_graph(drawing.write(folder), folder / "rvm.bin"), ("x",), wanted)


@given(
    height=st.integers(5, 19), width=st.integers(5, 19), kernel=st.sampled_from([1, 2, 3, 5]),
    step=st.integers(1, 3),
)  # fmt: skip
def test_same_gives_a_picture_for_every_step_and_pads_more_at_the_end(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, kernel: int, step: int
) -> None:
    drawing = Drawing()
    drawing.constant("k", np.ones((kernel, kernel, 1, 1), np.float32))
    attributes = CONVOLUTION | {"strides": (1, step, step, 1)}
    drawing.node("y", "Conv2D", ("x", "k"), **attributes)
    picture = torch.rand(1, 1, height, width)
    (made,) = part(tmp_path_factory.mktemp("graph"), drawing, ("y",))(picture)
    assert made.shape[2:] == (-(-height // step), -(-width // step))
    rows, columns = (max((-(-n // step) - 1) * step + kernel - n, 0) for n in (height, width))
    edges = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    expected = F.conv2d(F.pad(picture, edges), torch.ones(1, 1, kernel, kernel), stride=step)
    torch.testing.assert_close(made, expected)


def test_pixels_apart_convolved_and_together_are_a_convolution_with_gaps(tmp_path: Path) -> None:
    drawing = Drawing()
    block = drawing.constant("block", np.array([2, 2], np.int32))
    edges = drawing.constant("edges", np.array([[2, 2], [2, 2]], np.int32))
    none = drawing.constant("none", np.zeros((2, 2), np.int32))
    kernel = drawing.weights("k", 3, 3, 4, 1)
    apart = drawing.node("apart", "SpaceToBatchND", ("x", block, edges))
    attributes = CONVOLUTION | {"padding": "VALID"}
    made = drawing.node("made", "DepthwiseConv2dNative", (apart, kernel), **attributes)
    drawing.node("y", "BatchToSpaceND", (made, block, none))
    graph = part(tmp_path, drawing, ("y",))
    picture = torch.rand(2, 4, 12, 16)
    weights = torch.from_numpy(
        read_graph(tmp_path / "rvm.json", tmp_path / "rvm.bin").constants["k"]
    )
    expected = F.conv2d(
        picture, weights.permute(2, 3, 0, 1).reshape(4, 1, 3, 3), padding=2, dilation=2, groups=4
    )
    torch.testing.assert_close(graph(picture)[0], expected)


def test_axes_and_vectors_of_channels_last_find_their_place(tmp_path: Path) -> None:
    drawing = Drawing()
    axis = drawing.constant("axis", np.int32(3))
    axes = drawing.constant("axes", np.array([1, 2], np.int32))
    colour = drawing.constant("colour", np.arange(4, dtype=np.float32))
    wide = drawing.constant("wide", np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4))
    sizes = drawing.constant("sizes", np.array([3, 1], np.int32))
    drawing.node("mean", "Mean", ("x", axes))
    drawing.node("both", "ConcatV2", ("x", "x", axis))
    drawing.node("halves", "Split", (axis, "x"), num_split=2)
    drawing.node("second", "Identity", ("halves:1",))
    drawing.node("parts", "SplitV", ("x", sizes, axis))
    drawing.node("alpha", "Identity", ("parts:1",))
    drawing.node("plus", "Add", ("x", colour))
    drawing.node("plus_wide", "Add", ("x", wide))
    wanted = ("mean", "both", "second", "alpha", "plus", "plus_wide")
    x = torch.rand(2, 4, 5, 7)
    mean, both, second, alpha, plus, plus_wide = part(tmp_path, drawing, wanted)(x)
    torch.testing.assert_close(mean, x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(both, torch.cat([x, x], 1))
    assert torch.equal(second, x[:, 2:])
    assert torch.equal(alpha, x[:, 3:])
    assert torch.equal(plus, x + torch.arange(4.0).view(4, 1, 1))
    assert torch.equal(plus_wide, plus)


def test_the_guided_filter_is_that_of_its_authors() -> None:
    """Slope and offset minimise the squared error over each window, with epsilon on the slope."""
    guide, made = torch.rand(1, 4, 9, 9, dtype=torch.float64), torch.rand(1, 4, 9, 9).double()
    slope, offset = GuidedLines()(guide, made)
    for channel, row, column in [(0, 4, 4), (3, 1, 7)]:
        window = slice(row - 1, row + 2), slice(column - 1, column + 2)
        x, y = (plane[0, channel][window].flatten() for plane in (guide, made))
        a = ((x * y).mean() - x.mean() * y.mean()) / (x.var(correction=0) + 1e-5)
        assert float(slope[0, channel, row, column]) == pytest.approx(float(a))
        assert float(offset[0, channel, row, column]) == pytest.approx(
            float(y.mean() - a * x.mean())
        )


def test_a_circle_is_found_out(tmp_path: Path) -> None:
    drawing = Drawing()
    drawing.node("a", "Add", ("x", "b"))
    drawing.node("b", "Add", ("x", "a"))
    with pytest.raises(ValueError, match="depends on itself"):
        part(tmp_path, drawing, ("a",))


def test_the_colours_of_imagenet_are_put_back_exactly(tmp_path: Path) -> None:
    graph = read_graph(small_rvm(tmp_path), tmp_path / "rvm.bin")
    mean = f"{INSIDE}/mobile_net_v3_encoder/Const"
    nodes = dict(graph.nodes)
    nodes[MADE] = replace(nodes[MADE], inputs=(("less", 0), *nodes[MADE].inputs[1:]))
    nodes["less"] = replace(
        nodes["hw"], name="less", operation="Sub", inputs=(("large", 0), (mean, 0))
    )
    constants = {**graph.constants, mean: np.zeros(4, np.float32)}
    network = GraphNetwork(replace(graph, nodes=nodes, constants=constants))
    found = [value.tolist() for value in network.buffers() if value.shape == (3,)]
    assert found == [pytest.approx([0.485, 0.456, 0.406])]
