"""RVM's parts, and OpenVINO, against a network as a whole: a small double of RVM's interface.

The double has what makes conversion hard: recurrence at four sizes, skipped connections cropped to
odd sizes, and a refiner that works on the full picture.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.engines.choice import settled_engine
from pipeline.errors import MachineError, SettingsError
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.chroma_facts import CHROMA
from pipeline.stages.matting.rvm.facts import RVM
from pipeline.stages.matting.rvm.load import load
from pipeline.stages.matting.rvm.openvino import OpenVinoMatting

CHANNELS = (4, 6, 8, 10)
NUM_FRAMES = 7


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        steps = pairwise((3, *CHANNELS))
        self.steps = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in steps)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for step in self.steps:
            x = F.hardswish(step(x))
            found.append(x)
        return found


class Recurrent(nn.Module):
    """What was is mixed with what is new."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 * channels, channels, 3, 1, 1)
        self.fresh = nn.Conv2d(2 * channels, channels, 3, 1, 1)

    def forward(self, mixed: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        if before is None:
            before = torch.zeros_like(mixed)
        both = torch.cat([mixed, before], 1)
        state = torch.lerp(before, self.fresh(both).tanh(), self.gate(both).sigmoid())
        return state, state


class Remembering(nn.Module):
    """Half of the channels pass, half go through a recurrent layer."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.into = nn.Conv2d(inputs, channels, 3, 1, 1)
        self.gru = Recurrent(channels // 2)

    def forward(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        passed, mixed = self.into(x).tensor_split(2, dim=1)
        mixed, state = self.gru(mixed, before)
        return torch.cat([passed, mixed], 1), state


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        inputs = (CHANNELS[0] + CHANNELS[1], CHANNELS[1] + CHANNELS[2], CHANNELS[2] + CHANNELS[3])
        self.layers = nn.ModuleList(
            Remembering(a, b) for a, b in zip((*inputs, CHANNELS[3]), CHANNELS, strict=True)
        )
        self.last = nn.Conv2d(CHANNELS[0] + 3, 4, 3, 1, 1)

    def forward(
        self,
        small: Tensor,
        f1: Tensor,
        f2: Tensor,
        f3: Tensor,
        f4: Tensor,
        *before: Tensor | None,
    ) -> tuple[Tensor, ...]:
        after: list[Tensor] = []
        x = f4
        for level, skipped in zip((3, 2, 1, 0), (None, f3, f2, f1), strict=True):
            if skipped is not None:
                x = torch.cat([enlarge(x, skipped), skipped], 1)
            x, state = self.layers[level](x, before[level])
            after.insert(0, state)
        hidden = self.last(torch.cat([enlarge(x, small), small], 1)).relu()
        return hidden, *after


class Refiner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Conv2d(4 + 3 + 4, 4, 3, 1, 1)

    def forward(
        self, fine: Tensor, small: Tensor, colour: Tensor, alpha: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        slope = self.slope(torch.cat([hidden, small, colour, alpha], 1)) * 3
        with_grey = torch.cat([small, small.mean(1, keepdim=True)], 1)
        offset = torch.cat([colour, alpha], 1) - slope * with_grey
        size = fine.shape[2:]
        slope, offset = (F.interpolate(x, size, mode="bilinear") for x in (slope, offset))
        made = slope * torch.cat([fine, fine.mean(1, keepdim=True)], 1) + offset
        return made[:, :3], made[:, 3:]


class Network(nn.Module):
    """RVM's interface; `twist` is what its own forward does and its parts do not."""

    def __init__(self, twist: float = 0.0) -> None:
        super().__init__()
        self.backbone, self.aspp, self.decoder = Encoder(), nn.Conv2d(10, 10, 1), Decoder()
        self.project_mat, self.refiner = nn.Conv2d(4, 4, 1), Refiner()
        self.twist = twist

    def forward(
        self,
        source: Tensor,
        r1: Tensor | None,
        r2: Tensor | None,
        r3: Tensor | None,
        r4: Tensor | None,
        ratio: float,
    ) -> list[Tensor]:
        small = source
        if ratio != 1:
            small = F.interpolate(
                source, scale_factor=ratio, mode="bilinear", recompute_scale_factor=False
            )
        f1, f2, f3, f4 = self.backbone(small)
        hidden, *after = self.decoder(small, f1, f2, f3, self.aspp(f4), r1, r2, r3, r4)
        made = self.project_mat(hidden)
        colour, alpha = made[:, :3], made[:, 3:]
        if ratio != 1:
            colour, alpha = self.refiner(source, small, colour, alpha, hidden)
        return [(source + colour).clamp(0, 1), (alpha + self.twist).clamp(0, 1), *after]


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    x = F.interpolate(x, scale_factor=2, mode="bilinear")
    return x[:, :, : like.shape[2], : like.shape[3]]


def make_network(twist: float = 0.0) -> nn.Module:
    torch.manual_seed(5)
    return Network(twist).eval().requires_grad_(False)


def clip(eyes: int, height: int, width: int) -> Tensor:
    """Uint8 ``[T, E, 3, H, W]``, soft and moving, as a view into pictures side by side."""
    generator = torch.Generator().manual_seed(2)
    grain = torch.rand(NUM_FRAMES, 3, 9, 13, generator=generator)
    full = F.interpolate(grain, (height, width * eyes), mode="bicubic").mul(255).clamp(0, 255)
    halves = full.to(torch.uint8).view(NUM_FRAMES, 3, height, eyes, width)
    return halves.permute(0, 3, 1, 2, 4)


def matte(model: OpenVinoMatting, rgb: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    _, eyes, _, height, width = rgb.shape
    state = model.start(eyes, height, width, {})
    made = [
        model.matte(EyeBatch(rgb[t : t + chunk], t), state) for t in range(0, NUM_FRAMES, chunk)
    ]
    colours = [batch.foreground for batch in made if batch.foreground is not None]
    return torch.cat([batch.alpha for batch in made]), torch.cat(colours)


@torch.inference_mode()
def directly(network: nn.Module, rgb: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    states: list[Tensor | None] = [None] * 4
    alphas, colours = [], []
    for picture in rgb:
        colour, alpha, *states = network(picture.float() / 255, *states, ratio)
        alphas.append(alpha)
        colours.append(colour)
    return torch.stack(alphas), torch.stack(colours)


def by_openvino(
    kept: Path, ratio: float = 0.5, threads: int = 1, network: nn.Module | None = None
) -> OpenVinoMatting:
    return OpenVinoMatting(network or make_network(), ratio, threads, Path(__file__), kept)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def halved(kept: Path) -> OpenVinoMatting:
    return by_openvino(kept)


@pytest.mark.parametrize(
    ("eyes", "height", "width", "ratio"),
    [(2, 80, 112, 0.5), (1, 94, 126, 0.43), (1, 62, 90, 1.0)],
)
def test_openvino_gives_what_the_network_gives(
    eyes: int, height: int, width: int, ratio: float, kept: Path
) -> None:
    model = by_openvino(kept, ratio, threads=2)
    rgb = clip(eyes, height, width)
    expected = directly(make_network(), rgb, ratio)
    assert float(expected[0].std()) > 0.02  # not all one colour
    for ours, theirs in zip(matte(model, rgb, 3), expected, strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-4


def test_chunks_alter_no_bit_and_every_segment_begins_afresh(halved: OpenVinoMatting) -> None:
    rgb = clip(2, 80, 112)
    together, *others = (matte(halved, rgb, chunk) for chunk in (NUM_FRAMES, 1, 4, NUM_FRAMES))
    for other in others:
        assert all(map(torch.equal, together, other))


def test_lanes_at_once_give_what_one_gives(halved: OpenVinoMatting) -> None:
    clips = [clip(2, 80, 112), clip(2, 80, 112).flip(0), clip(1, 64, 80)]
    alone = [matte(halved, rgb, 2) for rgb in clips]
    with ThreadPoolExecutor(3) as pool:
        for expected, made in zip(
            alone * 3, pool.map(lambda rgb: matte(halved, rgb, 2), clips * 3), strict=True
        ):
            assert all(map(torch.equal, expected, made))


def test_a_network_that_does_more_than_its_parts_is_refused(kept: Path) -> None:
    with pytest.raises(MachineError, match=r"RVM's code.*engine: torch"):
        by_openvino(kept, network=make_network(twist=0.1))
    with pytest.raises(MachineError, match=r"not built as expected.*engine: torch"):
        by_openvino(kept, network=nn.Conv2d(3, 4, 1))


@pytest.mark.parametrize(
    ("device", "precision", "installed", "engine"),
    [
        ("cpu", "auto", True, "openvino"),
        ("cpu", "fp32", True, "openvino"),
        ("cpu", "auto", False, "torch"),
        ("cpu", "fp16", True, "torch"),
        ("cuda", "auto", True, "cuda_graph"),
        ("cuda", "fp16", False, "torch"),
    ],
)
def test_auto_goes_by_the_device_and_by_what_is_installed(
    device: str, precision: Literal["auto", "fp32", "fp16"], installed: bool, engine: str
) -> None:
    asked = ProcessingSettings(precision=precision)
    settled = settled_engine(
        asked, RVM.engines, device, lambda engine: installed or engine.name == "torch"
    )
    assert settled.engine == engine
    assert (
        settled_engine(
            settled, RVM.engines, device, lambda engine: installed or engine.name == "torch"
        )
        == settled
    )
    assert (
        settled_engine(
            asked, CHROMA.engines, device, lambda engine: installed or engine.name == "torch"
        )
        == asked
    )


def test_rvm_is_not_loaded_before_its_engine_is_decided() -> None:
    with pytest.raises(ValueError, match=r"processing\.engine is auto"):
        load(MattingSettings(), ProcessingSettings(), torch.device("cpu"))


def test_openvino_asked_for_where_it_cannot_be_had() -> None:
    asked = ProcessingSettings(engine="openvino")
    with pytest.raises(MachineError, match="make setup"):
        settled_engine(asked, RVM.engines, "cpu", lambda engine: False)
    with pytest.raises(SettingsError, match="on the CPU only"):
        settled_engine(asked, RVM.engines, "cuda", lambda engine: True)
    half = ProcessingSettings(engine="openvino", precision="fp16")
    with pytest.raises(SettingsError, match="in fp32 only"):
        settled_engine(half, RVM.engines, "cpu", lambda engine: True)
