"""RVM as a GPU runs it, on the CPU: with a double of CUDA's graphs, and a small one of RVM.

The double keeps what a capture promises: the work runs without effect when it is captured, and its
replay does the same to the same memory. `tests/gpu/test_gpu.py` has the real one.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from torch import Tensor, nn

from benchmarks.launches import Launches
from pipeline.engines.by_torch import CudaGraphEngine, TorchEngine
from pipeline.engines.cuda_graph import Capture, capture_lock
from pipeline.engines.engine import Engine
from pipeline.pixels import lines
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.rvm.coefficients import parts_problem
from pipeline.stages.matting.rvm.cuda import DeviceMatting, Shrinker, on_device
from tests.pipeline.stages.matting.rvm.test_network import NUM_FRAMES, clip, directly, make_network
from tests.render import CPU


class Graphs:
    """Captures, and counts."""

    def __init__(self, spoil: Callable[[], None] = lambda: None) -> None:
        self.captured = self.replayed = 0
        self._spoil = spoil

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        assert capture_lock.locked()
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            self._spoil()
            work()

        return replay


def refuse(work: Callable[[], None]) -> Callable[[], None]:
    raise RuntimeError("operation not permitted when stream is capturing\nmore")


def make(
    ratio: float, capture: Capture | None = None, dtype: torch.dtype = torch.float32
) -> DeviceMatting:
    return DeviceMatting(make_network(), ratio, dtype, CPU, engine_by(capture))


def engine_by(capture: Capture | None) -> Engine:
    return TorchEngine(1, CPU) if capture is None else CudaGraphEngine(1, CPU, capture)


def matte(model: DeviceMatting, rgb: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    _, eyes, _, height, width = rgb.shape
    state = model.start(eyes, height, width, {})
    made = [
        model.matte(EyeBatch(rgb[t : t + chunk], t), state) for t in range(0, NUM_FRAMES, chunk)
    ]
    colours = [batch.foreground for batch in made if batch.foreground is not None]
    return torch.cat([batch.alpha for batch in made]), torch.cat(colours)


@pytest.mark.parametrize(
    ("eyes", "height", "width", "ratio"),
    [(2, 80, 112, 0.5), (1, 94, 126, 0.43), (1, 62, 90, 1.0)],
)
def test_it_gives_what_the_network_gives(
    eyes: int, height: int, width: int, ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_PLANE_PIXELS", 2 * height * width)  # two frames at once
    rgb = clip(eyes, height, width)
    expected = directly(make_network(), rgb, ratio)
    assert float(expected[0].std()) > 0.02  # not all one colour
    for ours, theirs in zip(matte(make(ratio), rgb, 3), expected, strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-4


def test_in_16_bits_it_is_near() -> None:
    rgb = clip(2, 80, 112)
    expected = directly(make_network(), rgb, 0.5)
    found = matte(make(0.5, dtype=torch.float16), rgb, 3)
    assert found[0].dtype == torch.float16
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours.float() - theirs).abs().mean()) <= 1 / 255


def test_graphs_and_chunks_alter_no_bit_and_every_segment_begins_afresh() -> None:
    rgb = clip(2, 80, 112)
    expected = matte(make(0.5), rgb, NUM_FRAMES)
    graphs = Graphs()
    model = make(0.5, graphs)
    for chunk in (NUM_FRAMES, 1, 4, NUM_FRAMES):
        before = graphs.replayed
        assert all(map(torch.equal, expected, matte(model, rgb, chunk)))
        assert graphs.replayed >= before + NUM_FRAMES
    assert graphs.captured == 1


@pytest.mark.usefixtures("one_thread")
def test_lanes_at_once_have_a_graph_each() -> None:
    """Each lane sets its number of threads, which alters bits, as a worker's lanes do."""
    clips = [clip(2, 80, 112), clip(2, 80, 112).flip(0), clip(1, 64, 80)]
    alone = [matte(make(0.5), rgb, 2) for rgb in clips]
    graphs = Graphs()
    model = make(0.5, graphs)
    together = threading.Barrier(3)

    def lane(rgb: Tensor) -> tuple[Tensor, Tensor]:
        together.wait()
        return matte(model, rgb, 2)

    with ThreadPoolExecutor(3, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for expected, made in zip(alone * 2, pool.map(lane, clips * 2), strict=True):
            assert all(map(torch.equal, expected, made))
    assert graphs.captured <= 6


NO_GRAPH = "operation not permitted when stream is capturing"


@pytest.mark.parametrize("why", [NO_GRAPH, "it does not give the same bits"])
def test_without_a_right_graph_it_goes_on_without_and_says_so_once(why: str) -> None:
    network = make_network()
    weights = {name: value.clone() for name, value in network.state_dict().items()}

    def spoil() -> None:  # as if other kernels were replayed
        for value in network.parameters():
            value.mul_(1.0001)

    model = DeviceMatting(
        network, 0.5, torch.float32, CPU, engine_by(refuse if why is NO_GRAPH else Graphs(spoil))
    )
    with capture_logs() as logs:
        states = [model.start(2, 80, 112, {}) for _ in range(2)]
    assert [log["reason"] for log in logs if log["event"] == "no_cuda_graph"] == [why]
    network.load_state_dict(weights)
    del states  # their steps are the next segment's
    rgb = clip(2, 80, 112)
    assert all(map(torch.equal, matte(make(0.5), rgb, 3), matte(model, rgb, 3)))


@given(
    height=st.integers(8, 90),
    width=st.integers(8, 90),
    ratio=st.floats(0.15, 1.0),
    seed=st.integers(0, 99),
)
def test_shrinking_is_pytorchs(height: int, width: int, ratio: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (2, 2, 3, height, width), generator=generator)
    pictures = pictures.to(torch.uint8)
    expected = F.interpolate(
        pictures.flatten(0, 1).float(),
        scale_factor=ratio,
        mode="bilinear",
        recompute_scale_factor=False,
    )
    shrinker = Shrinker(height, width, ratio, CPU)
    found = shrinker.shrink(pictures)
    assert found.shape[-2:] == shrinker.size == expected.shape[-2:]
    assert float((found.flatten(0, 1) - expected / 255).abs().max()) <= 1e-3


def test_picked_rows_are_counted_and_the_rows_between_them_are_not() -> None:
    picture = torch.empty(3, 512, 64, dtype=torch.uint8, device="meta")
    places = torch.empty(8, dtype=torch.int64, device="meta")
    counter = Launches()
    for dim, read in ((-2, 3 * 8 * 64), (-1, picture.nbytes)):
        with counter.of() as counts:
            picture.index_select(dim, places)
        assert counts.read_bytes == read + places.nbytes


CODE = """
import torch
from torchvision.transforms.functional import normalize
class Backbone(torch.nn.Module):
    def forward(self, x):
        return [normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])] * 4
class Code(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
"""


def test_constants_of_the_backbone_stay_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rvm_code_of_this_test.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    network: Any = importlib.import_module("rvm_code_of_this_test").Code()
    picture = torch.rand(2, 3, 8, 8).half()
    expected = network.backbone(picture)[0]
    on_device(network, torch.float16, CPU)

    def never(*arguments: object) -> None:
        raise AssertionError("a constant was made anew")

    monkeypatch.setattr(torch, "tensor", never)
    monkeypatch.setattr(torch, "as_tensor", never)
    for _ in range(2):  # its input is left as it was
        assert torch.equal(network.backbone(picture)[0], expected)


def test_a_network_that_does_more_than_its_parts_is_found_out() -> None:
    assert parts_problem(make_network()) is None
    assert "does not do what its parts do" in str(parts_problem(make_network(twist=0.1)))
    assert "not built as expected" in str(parts_problem(nn.Conv2d(3, 4, 1)))
