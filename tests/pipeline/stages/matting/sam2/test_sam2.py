"""The model `sam2` around a small network with random weights: what it is told and says."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
import torch
from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError, MachineError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting import weights
from pipeline.stages.matting.base import ClipSampler, MattingModel, Prepared, load_model
from pipeline.stages.matting.depth.model import DepthLayers
from pipeline.stages.matting.sam2.facts import Sam2Options, Sam2Size
from pipeline.stages.matting.sam2.load import MOST_PROMPTED, SegmentAnything, soft_matte
from pipeline.stages.matting.sam2.network import build_network, load_weights
from pipeline.stages.matting.sam2.subjects import largest_subjects
from pipeline.stages.matting.sam2.tracker import SubjectTracker
from pipeline.stages.matting.sam2.weights import address, fetch_checkpoint
from tests.pipeline.demo_truth import SMALL_FRAMES, scene_clip
from tests.pipeline.sam2_networks import SLIM, random_network

SIDE = 96

pytestmark = pytest.mark.usefixtures("one_thread")


class RedIsTheSubject:
    """A seed model: alpha is what is red. Counts its frames in the state."""

    name: ClassVar[str] = "red"
    warmup_frames = 0

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {"seen": torch.tensor(clip.num_frames)}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> list[int]:
        return []

    def matte(self, eyes: EyeBatch, state: list[int]) -> MatteBatch:
        state.append(eyes.start)
        return MatteBatch((eyes.rgb[:, :, :1] > 200).float(), None, eyes.start)


@pytest.fixture(scope="module")
def model() -> SegmentAnything:
    return SegmentAnything(SubjectTracker(random_network(64, slim=True), RedIsTheSubject()))


def clip(num_frames: int, *, eyes: int = 2, appears: int = 0) -> Tensor:
    """uint8 ``[T, E, 3, H, W]``: a red square on dark noise, from frame `appears` on."""
    made = torch.Generator().manual_seed(5)
    shape = (num_frames, eyes, 3, SIDE, SIDE)
    rgb = torch.randint(0, 90, shape, generator=made, dtype=torch.uint8)
    for t in range(appears, num_frames):
        rgb[t, :, 0, 30:60, 30 + t : 60 + t] = 255
    return rgb


def matte(
    model: MattingModel, rgb: Tensor, chunks: Sequence[int] = (), state: Any = None
) -> Tensor:
    """Alpha of all frames, so many at a time, then the rest."""
    if state is None:
        state = model.start(rgb.shape[1], rgb.shape[3], rgb.shape[4], {})
    parts, start = [], 0
    for length in (*chunks, len(rgb)):
        if part := rgb[start : start + length].shape[0]:
            parts.append(model.matte(EyeBatch(rgb[start : start + part], 100 + start), state))
            start += part
    assert parts[0].start == 100
    assert all(part.foreground is None for part in parts)
    return torch.cat([part.alpha for part in parts])


def test_the_first_frame_is_the_seed_along_the_edges(model: SegmentAnything) -> None:
    alpha = matte(model, clip(1))
    assert alpha.shape == (1, 2, 1, SIDE, SIDE)
    assert alpha.dtype == torch.float32
    assert alpha[..., 36:54, 36:54].min() > 0.9
    assert alpha[..., :20].max() < 0.1
    assert alpha[..., 80:].max() < 0.1


def test_depth_points_out_who_stands_nearer() -> None:
    scene = scene_clip("room")
    model = SegmentAnything(SubjectTracker(random_network(256, slim=True), DepthLayers()))
    seed = DepthLayers()
    expected = seed.matte(
        EyeBatch(scene.rgb[:1], 0), seed.start(2, scene.height, scene.width, {})
    ).alpha
    alpha = matte(model, scene.rgb[:1])
    inside, expected_inside = alpha > 0.5, expected > 0.5
    overlap = (inside & expected_inside).sum() / (inside | expected_inside).sum()
    assert overlap > 0.85
    with pytest.raises(InputError, match="only one"):
        model.start(1, scene.height, scene.width, {})


@pytest.mark.parametrize("chunks", [(1, 1, 1), (4, 3), (2,)])
def test_chunks_do_not_matter(model: SegmentAnything, chunks: Sequence[int]) -> None:
    rgb = clip(9, appears=2)
    at_once = matte(model, rgb)
    assert at_once[-1].std() > 0
    assert torch.equal(matte(model, rgb, chunks), at_once)


def test_states_do_not_know_of_each_other(model: SegmentAnything) -> None:
    one, other = clip(8), clip(8, eyes=1, appears=1)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda rgb: matte(model, rgb, (3,)), (one, other)))
    assert torch.equal(together[0], matte(model, one))
    assert torch.equal(together[1], matte(model, other))


def test_before_a_subject_is_found_there_is_none(model: SegmentAnything) -> None:
    rgb = clip(6, appears=3)
    state = model.start(2, SIDE, SIDE, {})
    alpha = matte(model, rgb, (2,), state)
    assert alpha[:3].abs().max() == 0
    assert alpha[3, ..., 36:50, 40:54].min() > 0.9
    assert state.seed == [100, 101, 102, 103]  # asked no longer than needed


def test_eyes_are_prompted_each_when_it_sees_the_subject(model: SegmentAnything) -> None:
    rgb = clip(4)
    rgb[:2, 1, 0].clamp_(max=90)
    alpha = matte(model, rgb)
    assert torch.equal(alpha[:, :1], matte(model, rgb[:, :1]))
    assert alpha[:2, 1].abs().max() == 0
    assert alpha[2, 1, 0, 40:50, 40:50].min() > 0.9


def test_in_bfloat16_the_edge_is_the_same(model: SegmentAnything) -> None:
    """As on a GPU; logits and alpha come out in 32 bits all the same."""
    lower = SegmentAnything(
        SubjectTracker(random_network(64, slim=True), RedIsTheSubject(), torch.bfloat16)
    )
    batch = EyeBatch(clip(2), 0)
    found = lower.matte(batch, lower.start(2, SIDE, SIDE, {}))
    assert found.objects is not None
    assert found.objects.dtype == found.alpha.dtype == torch.float32
    assert (found.alpha[:1] - matte(model, clip(1))).abs().max() < 0.01
    assert not torch.equal(found.alpha, matte(model, clip(2)))


def test_what_it_holds_does_not_grow(model: SegmentAnything) -> None:
    state = model.start(1, SIDE, SIDE, {})
    rgb, held = clip(1, eyes=1), []
    for number in range(60):
        model.matte(EyeBatch(rgb, number), state)
        outputs = state.eyes[0].tracking.stock["output_dict_per_obj"][0]
        held.append(sum(len(output) for output in outputs["non_cond_frame_outputs"].values()))
    assert held[20] == held[40] == held[59]
    assert state.eyes[0].tracking.stock["images"].num_kept == 1


def test_the_seed_prepares(model: SegmentAnything) -> None:
    assert model.prepare(scene_clip("room"))["seen"] == SMALL_FRAMES


def test_largest_subjects_leave_specks_out() -> None:
    alpha = torch.zeros(100, 120)
    assert largest_subjects(alpha) is None
    alpha[3, 4] = 1.0
    assert largest_subjects(alpha) is None  # a speck is no subject
    alpha[20:60, 20:50] = 0.8
    alpha[20:60, 80:100] = 0.6
    alpha[80:85, 80:85] = 1.0
    alpha[90:, :] = 0.4
    found = largest_subjects(alpha)
    assert found is not None
    assert found.dtype == torch.bool
    assert int(found.sum()) == 40 * 30 + 40 * 20
    assert bool(found[30, 30] & found[30, 90])


def test_soft_matte_takes_the_edge_from_the_picture() -> None:
    """A coarse answer that is off by half a cell, and a picture that says where the edge is."""
    rgb = torch.full((3, 128, 128), 30, dtype=torch.uint8)
    rgb[:, :, 66:] = 220
    logits = torch.full((1, 1, 32, 32), -10.0)
    logits[..., 16:] = 10.0  # the edge at 64
    alpha = soft_matte(logits, rgb)
    assert alpha.shape == (1, 128, 128)
    assert float(alpha.min()) >= 0
    assert float(alpha.max()) <= 1
    step = (alpha[0, 64, 1:] - alpha[0, 64, :-1]).abs()
    assert int(step.argmax()) == 65
    assert float(alpha[0, :, 60].max()) < 0.35
    assert float(alpha[0, :, 72].min()) > 0.9


def test_soft_matte_goes_no_farther_than_a_cell() -> None:
    """Whatever the picture shows: here an edge three cells off, and stripes everywhere."""
    rgb = torch.full((3, 128, 128), 30, dtype=torch.uint8)
    rgb[:, :, 76:] = 220
    rgb[:, ::16] = 255
    logits = torch.full((1, 1, 32, 32), -10.0)
    logits[..., 16:] = 10.0
    alpha = soft_matte(logits, rgb)
    assert float(alpha[..., :56].max()) < 0.001
    assert float(alpha[..., 72:].min()) > 0.999


@dataclass(frozen=True)
class Bad:
    content: Any
    says: str


def test_a_checkpoint_as_it_is_published(tmp_path: Path) -> None:
    options = {**SLIM, "image_size": 64}
    torch.manual_seed(3)
    saved = build_network("tiny", options=options)
    torch.save({"model": saved.state_dict()}, tmp_path / "sam2.pt")
    torch.manual_seed(4)
    network = build_network("tiny", options=options)
    load_weights(network, tmp_path / "sam2.pt")
    one, other = (
        matte(SegmentAnything(SubjectTracker(each, RedIsTheSubject())), clip(3))
        for each in (saved, network)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    "bad",
    [
        Bad(b"no weights", "can be read safely"),
        Bad({"weights": {}}, "no checkpoint of SAM 2"),
        Bad({"model": {"some": torch.zeros(1)}}, "not for this size"),
        Bad({"model": 3}, "not for this size"),
    ],
    ids=["bytes", "no model", "another", "nonsense"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, bad: Bad) -> None:
    path = tmp_path / "bad.pt"
    if isinstance(bad.content, bytes):
        path.write_bytes(bad.content)
    else:
        torch.save(bad.content, path)
    network = build_network("tiny", options={**SLIM, "image_size": 64})
    with pytest.raises(MachineError, match=bad.says) as caught:
        load_weights(network, path)
    assert "sam2" in caught.value.advice


def test_addresses_are_those_of_the_package() -> None:
    for model_id, (_, name) in HF_MODEL_ID_TO_FILENAMES.items():
        if "sam2.1" in model_id:
            size: Any = name.removeprefix("sam2.1_hiera_").removesuffix(".pt")
            expected = f"https://huggingface.co/{model_id}/resolve/main/{name}"
            assert address(size) == expected
            assert size in get_args(Sam2Size)


def test_weights_are_fetched_once_or_taken_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(weights, "_require_answer", lambda address: None)
    asked: list[str] = []

    def download(url: str, target: str, progress: bool = True) -> None:
        asked.append(url)
        if len(asked) == 1:
            raise OSError("no route to host")
        Path(target).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    tiny = Sam2Options(size="tiny")
    with pytest.raises(MachineError, match=r"SAM 2's weights .*no route to host") as caught:
        fetch_checkpoint(tiny)
    assert "matting.sam2_checkpoint" in caught.value.advice
    path = fetch_checkpoint(tiny)
    assert path.read_bytes() == b"weights"
    assert fetch_checkpoint(tiny) == path
    assert asked == [address("tiny")] * 2
    assert fetch_checkpoint(Sam2Options(checkpoint=str(path))) == path
    with pytest.raises(MachineError, match="there are no weights at"):
        fetch_checkpoint(Sam2Options(checkpoint=str(tmp_path / "none.pt")))
    with pytest.raises(MachineError, match="another sha256"):
        fetch_checkpoint(replace(tiny, checkpoint_sha256="0" * 64))


def test_loaded_by_its_settings(tmp_path: Path) -> None:
    options = {"image_size": 64}
    torch.manual_seed(3)
    network = build_network("tiny", options=options)
    torch.save({"model": network.state_dict()}, tmp_path / "sam2.pt")
    own = Sam2Options(
        size="tiny", image_size=64, checkpoint=str(tmp_path / "sam2.pt"), seed="depth"
    )
    matting = MattingSettings(model="sam2", options=(own,))
    loaded = load_model(matting, ProcessingSettings(), torch.device("cpu"))
    assert isinstance(loaded, SegmentAnything)
    rgb = scene_clip("room").rgb[:3]
    assert loaded._tracker._sight._predictor._network.max_cond_frames_in_attn == MOST_PROMPTED
    assert loaded._tracker._sight._predictor._network.add_all_frames_to_correct_as_cond
    expected = SegmentAnything(SubjectTracker(network, DepthLayers()))
    assert torch.equal(matte(loaded, rgb), matte(expected, rgb))
    with_edges = load_model(
        replace(matting, model="sam2+rvm").with_options(replace(own, edge="depth")),
        ProcessingSettings(),
        torch.device("cpu"),
    )
    assert with_edges.name == "sam2+rvm"
    height, width = rgb.shape[3:]
    state = with_edges.start(2, height, width, with_edges.prepare(scene_clip("room")))
    assert with_edges.matte(EyeBatch(rgb, 0), state).alpha[0].max() > 0.5
