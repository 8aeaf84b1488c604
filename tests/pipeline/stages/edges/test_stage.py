"""The stage `edges` on drawn mattes: frames by themselves, tiles that do not show, colours."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from pipeline.contract import (
    AS_MATTED,
    EdgeSettings,
    EyeShape,
    KeepOut,
    MattingSettings,
    VideoSettings,
)
from pipeline.contract.fingerprint import _pixel_fields
from pipeline.pixels.layers import Layers
from pipeline.stages.catalogue import chosen_rows
from pipeline.stages.edges import stage as stage_module
from pipeline.stages.edges.stage import Edges
from tests.pipeline.demo_truth import Clip

CPU = torch.device("cpu")
WIDTH, HEIGHT = 94, 70  # no whole cells, and no whole tiles
ALL = EdgeSettings(
    choke=-1.5,
    feather=2.5,
    gamma=1.3,
    despill=0.7,
    keep_out=(KeepOut(eye="right", points=((40, 20), (70, 20), (70, 60), (40, 60))),),
)

pytestmark = pytest.mark.usefixtures("one_thread")


def frames(count: int = 3, seed: int = 0, *, own_colours: bool = False) -> Layers:
    """Soft discs in noise, of another place in each frame and eye."""
    chance = torch.Generator().manual_seed(seed)
    rgb = torch.randint(0, 256, (count, 2, 3, HEIGHT, WIDTH), generator=chance, dtype=torch.uint8)
    down, across = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)
    alpha = torch.empty(count, 2, 1, HEIGHT, WIDTH)
    for t in range(count):
        for eye in (0, 1):
            distance = torch.hypot(down - 30.0 - t, across - 40.0 - 5 * eye)
            alpha[t, eye, 0] = ((24 - distance) / 4).clamp(0, 1)
    foreground = torch.rand(rgb.shape, generator=chance) if own_colours else None
    return Layers(0, rgb, alpha, foreground)


def run(layers: Layers, edges: EdgeSettings) -> tuple[Tensor, Tensor | None]:
    """Alpha and foreground."""
    stage = Edges(edges, CPU)
    eyes, _, height, width = layers.rgb.shape[1:]
    eye = EyeShape(eyes, height, width, "equirect180", Fraction(30))
    state = stage.start(eye, stage.prepare(Clip(layers.rgb)))
    made = stage.run(layers, state)
    assert made.alpha is not None
    return made.alpha, made.foreground


def test_it_takes_part_only_where_a_control_is_used() -> None:
    def names(edges: EdgeSettings) -> list[str]:
        settings = VideoSettings(matting=MattingSettings(edges=edges))
        return [row.name for row in chosen_rows(settings)]

    assert names(EdgeSettings()) == ["matting", "stereo", "judge"]
    assert names(EdgeSettings(choke=0.5)) == ["matting", "stereo", "edges", "judge"]
    assert names(EdgeSettings(keep_out_image="a.png")) == ["matting", "stereo", "edges", "judge"]


def test_settings_that_do_not_use_it_have_the_fingerprint_they_had_before_it() -> None:
    def fingerprint(edges: EdgeSettings) -> str:
        return VideoSettings(matting=MattingSettings(model="chroma", edges=edges)).fingerprint()

    assert EdgeSettings() == AS_MATTED
    said = json.dumps(_pixel_fields(MattingSettings(edges=EdgeSettings())))
    assert "edges" not in said
    assert "edges" in json.dumps(_pixel_fields(MattingSettings(edges=EdgeSettings(choke=1))))
    others = [
        EdgeSettings(choke=1),
        EdgeSettings(feather=1),
        EdgeSettings(gamma=2),
        EdgeSettings(despill=1),
        EdgeSettings(keep_out=ALL.keep_out),
        EdgeSettings(keep_out_image="a.png", keep_out_image_sha256="0" * 64),
    ]
    assert len({fingerprint(edges) for edges in (EdgeSettings(), *others)}) == len(others) + 1


@pytest.mark.parametrize("own_colours", [False, True])
def test_frames_and_eyes_are_each_made_by_themselves(own_colours: bool) -> None:
    layers = frames(own_colours=own_colours)
    before = [layer.clone() for layer in (layers.rgb, layers.matte.alpha)]
    alpha, foreground = run(layers, ALL)
    assert torch.equal(layers.rgb, before[0]), "what it was given is as it was"
    assert torch.equal(layers.matte.alpha, before[1])
    assert foreground is not None
    for t in range(3):
        part = layers.part(t, t + 1)
        assert part is not None
        one_alpha, one_foreground = run(part, ALL)
        assert one_foreground is not None
        assert torch.equal(one_alpha[0], alpha[t])
        assert torch.equal(one_foreground[0], foreground[t])
    exchanged = Layers(
        0,
        layers.rgb.flip(1),
        layers.matte.alpha.flip(1),
        None if layers.foreground is None else layers.foreground.flip(1),
    )
    edges = EdgeSettings(choke=-1.5, feather=2.5, gamma=1.3, despill=0.7)
    for made, of_exchanged in zip(run(layers, edges), run(exchanged, edges), strict=True):
        assert made is not None
        assert of_exchanged is not None
        assert torch.equal(made, of_exchanged.flip(1))


@pytest.mark.parametrize("own_colours", [False, True])
@pytest.mark.parametrize(
    "edges",
    [
        ALL,
        EdgeSettings(despill=1),
        EdgeSettings(choke=3.5),
        EdgeSettings(choke=-6, feather=5),
        EdgeSettings(gamma=0.5),
    ],
)
def test_tiles_do_not_show(
    edges: EdgeSettings, own_colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = frames(1, own_colours=own_colours)
    whole_alpha, whole = run(layers, edges)
    monkeypatch.setattr(stage_module, "_TILE", 16)
    alpha, foreground = run(layers, edges)
    assert float((alpha - whole_alpha).abs().max()) < 1e-6
    assert (foreground is None) == (whole is None)
    if foreground is not None and whole is not None:
        assert float((foreground - whole).abs().max()) < 1e-5


def test_colours_stay_as_they_are_where_nothing_is_added() -> None:
    plain, own = frames(1), frames(1, own_colours=True)
    for edges in (EdgeSettings(choke=2), EdgeSettings(gamma=0.7)):
        assert run(plain, edges)[1] is None
        made = run(own, edges)[1]
        assert made is own.foreground
    _, coloured = run(own, EdgeSettings(choke=-2, feather=1, despill=1))
    assert coloured is not None
    assert own.foreground is not None
    inside = (own.matte.alpha >= 1).float().expand_as(coloured)
    deep = -torch.nn.functional.max_pool2d(-inside[0], 9, 1, 4)[None]  # 4 pixels from the edge
    assert torch.equal(coloured * deep, own.foreground * deep)


def on_two_colours(softness: float = 0) -> Layers:
    """A red subject on the left half of a green picture, mixed by alpha."""
    across = torch.arange(64, dtype=torch.float32)
    alpha = (across < 32).float() if not softness else (0.5 - (across - 32) / softness).clamp(0, 1)
    alpha = alpha.expand(1, 1, 1, 48, 64).clone()
    red, green = (torch.tensor(c).view(3, 1, 1) for c in ((200.0, 30.0, 30.0), (20.0, 180.0, 40.0)))
    rgb = (red * alpha[0, 0] + green * (1 - alpha[0, 0])).round().to(torch.uint8)
    return Layers(0, rgb[None, None], alpha)


@pytest.mark.parametrize("edges", [EdgeSettings(choke=-5), EdgeSettings(feather=6)])
def test_what_an_edge_gains_has_the_subject_s_colour(edges: EdgeSettings) -> None:
    layers = on_two_colours()
    alpha, foreground = run(layers, edges)
    assert foreground is not None
    gained = (alpha > layers.matte.alpha).expand_as(foreground)
    assert int(gained.sum()) >= 3 * 48 * 4
    red = torch.tensor((200.0, 30.0, 30.0)).view(3, 1, 1).expand_as(foreground) / 255
    assert float((foreground - red)[gained].abs().max()) < 0.01


def test_despill_takes_the_background_out_of_the_edge_and_nowhere_else() -> None:
    layers = on_two_colours(softness=8)
    red = torch.tensor((200.0, 30.0, 30.0)).view(3, 1, 1) / 255
    soft = (layers.matte.alpha > 0.1) & (layers.matte.alpha < 0.9)
    errors = []
    for despill in (0.25, 0.5, 1.0):
        alpha, foreground = run(layers, EdgeSettings(despill=despill))
        assert torch.equal(alpha, layers.matte.alpha)
        assert foreground is not None
        off = (foreground - red).abs().amax(dim=2, keepdim=True)
        errors.append(float(off[soft].max()))
        assert torch.equal(foreground[..., :20], layers.rgb[..., :20].float() / 255)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05


def test_what_is_kept_out_is_exactly_nothing_after_all_else() -> None:
    layers = frames()
    alpha, _ = run(layers, ALL)
    assert not alpha[:, 1, 0, 20:61, 40:71].any()
    open_alpha, _ = run(layers, EdgeSettings(choke=-1.5, feather=2.5, gamma=1.3, despill=0.7))
    assert torch.equal(alpha[:, 0], open_alpha[:, 0]), "the other eye"
    assert torch.equal(alpha[:, 1, 0, :20], open_alpha[:, 1, 0, :20])
