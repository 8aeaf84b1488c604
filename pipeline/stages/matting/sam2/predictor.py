"""SAM 2's video predictor in memory that does not grow with the video, its answers unchanged.

The `sam2` package stays as it is: its steps are called on its own state, which is made without
loading the video, and after each frame what no later frame reads is dropped from it. Knows
nothing of files, of eyes and of where prompts come from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from pipeline.stages.matting.sam2.memory import ObjectMemory, Reach


class Frames(Protocol):
    """The frames of a video by number; see `pipeline.stages.matting.sam2.frames.LazyFrames`."""

    def __len__(self) -> int: ...
    def __getitem__(self, frame: int, /) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """Where the objects are in one frame.

    Attributes:
        frame: its number.
        object_ids: as they were given with the prompts, in the order of the first prompt.
        logits: float32 ``[objects, 1, H, W]``; above 0 is inside.
    """

    frame: int
    object_ids: tuple[int, ...]
    logits: Tensor


@dataclass(slots=True)
class Tracking:
    """What is known of the objects of one video so far: made by `BoundedPredictor.start`.

    Attributes:
        stock: the stock predictor's inference state.
        rewinds: whether tracking may begin again at prompted frames.
    """

    stock: dict[str, Any]
    reach: Reach
    rewinds: bool
    objects: list[ObjectMemory] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        return int(self.stock["num_frames"])


class BoundedPredictor:
    """Tracks objects through a video of any length.

    Every answer is bit for bit that of the stock `SAM2VideoPredictor` for the same calls, or a
    ForgottenFrameError where it would depend on what was dropped. Holds nothing between
    calls but the network: several videos may be tracked in turns, each in its `Tracking`.

    Args:
        network: in eval mode, on its device.
    """

    def __init__(self, network: SAM2VideoPredictor) -> None:
        if network.training:
            raise ValueError("the network must be in eval mode")
        self._network = network

    def start(self, images: Frames, height: int, width: int, *, rewinds: bool = False) -> Tracking:
        """Nothing is known yet; no frame is read.

        Args:
            images: float32 ``[3, S, S]`` each, normalised, S the network's ``image_size``.
            height: H of the logits, and what the coordinates of points and boxes refer to.
            width: W, likewise.
            rewinds: tracking may begin again at any prompted frame, in either direction, so what
                surrounds prompted frames is kept; memory then grows with the number of prompted
                frames, and still not with the number of frames. Otherwise tracking only goes on,
                and of prompted frames as many are kept as the network reads (all of them where
                its ``max_cond_frames_in_attn`` is -1).
        """
        device = self._network.device
        # The keys of `SAM2VideoPredictor.init_state`, which would load the video.
        stock: dict[str, Any] = {
            "images": images,
            "num_frames": len(images),
            "offload_video_to_cpu": False,
            "offload_state_to_cpu": False,
            "video_height": height,
            "video_width": width,
            "device": device,
            "storage_device": device,
            "point_inputs_per_obj": {},
            "mask_inputs_per_obj": {},
            "cached_features": {},
            "constants": {},
            "obj_id_to_idx": OrderedDict(),
            "obj_idx_to_id": OrderedDict(),
            "obj_ids": [],
            "output_dict_per_obj": {},
            "temp_output_dict_per_obj": {},
            "frames_tracked_per_obj": {},
        }
        return Tracking(stock, Reach.of(self._network, len(images)), rewinds)

    def add_points(
        self,
        tracking: Tracking,
        frame: int,
        object_id: int,
        points: Sequence[tuple[float, float]] = (),
        labels: Sequence[int] = (),
        box: tuple[float, float, float, float] | None = None,
    ) -> TrackedFrame:
        """Say where an object is; replaces what was said of it in this frame before.

        Args:
            points: (x, y) in pixels of H x W.
            labels: of each point: 1 inside, 0 outside.
            box: left, top, right, bottom in pixels of H x W.

        Returns:
            How the network understands it, with the other objects as far as they are known there.

        Raises:
            ForgottenFrameError: the frame has been left behind.
            ValueError: there is no such frame, nothing is said, or labels do not fit the points.
        """
        if len(points) != len(labels) or (not points and box is None):
            raise ValueError(f"{len(points)} points, {len(labels)} labels, box {box}")
        self._require_prompt(tracking, frame, object_id)
        answer = self._network.add_new_points_or_box(
            tracking.stock,
            frame,
            object_id,
            points=torch.tensor(points, dtype=torch.float32).reshape(-1, 2),
            labels=torch.tensor(labels, dtype=torch.int32),
            box=box,
        )
        return _tracked(answer)

    def add_mask(
        self, tracking: Tracking, frame: int, object_id: int, mask: Tensor
    ) -> TrackedFrame:
        """Say where an object is by a mask: bool ``[height, width]`` of any size.

        See `add_points`.
        """
        if mask.ndim != 2 or mask.dtype != torch.bool:
            raise ValueError(f"mask must be bool [H,W], got {mask.dtype}{list(mask.shape)}")
        self._require_prompt(tracking, frame, object_id)
        return _tracked(self._network.add_new_mask(tracking.stock, frame, object_id, mask))

    @torch.inference_mode()
    def propagate(
        self, tracking: Tracking, first: int, count: int, *, reverse: bool = False
    ) -> Iterator[TrackedFrame]:
        """Follow the objects through `count` frames from `first`, or back from it.

        May be left at any frame, and gone on with at the next.

        Raises:
            ForgottenFrameError: it would depend on frames that have been left behind.
            ValueError: there are no such frames.
            RuntimeError: an object has no prompt, or there is none at all.
        """
        step = -1 if reverse else 1
        frames = range(first, first + step * count, step)
        if count < 1 or not all(0 <= end < tracking.num_frames for end in (frames[0], frames[-1])):
            raise ValueError(f"frames {frames} of a video of {tracking.num_frames}")
        for memory in tracking.objects:
            memory.require_track(frames)
        self._network.propagate_in_video_preflight(tracking.stock)
        object_ids = tuple(tracking.stock["obj_ids"])
        for frame in frames:
            masks = [
                self._track(tracking, index, frame, reverse) for index in range(len(object_ids))
            ]
            tracking.stock["cached_features"] = {}
            self._forget(tracking, frame, reverse)
            _, logits = self._network._get_orig_video_res_output(tracking.stock, torch.cat(masks))
            yield TrackedFrame(frame, object_ids, logits)

    def _track(self, tracking: Tracking, index: int, frame: int, reverse: bool) -> Tensor:
        """One object in one frame, as in `SAM2VideoPredictor.propagate_in_video`."""
        stock = tracking.stock
        outputs = stock["output_dict_per_obj"][index]
        if frame in outputs["cond_frame_outputs"]:
            masks: Tensor = outputs["cond_frame_outputs"][frame]["pred_masks"]
        else:
            outputs["non_cond_frame_outputs"][frame], masks = (
                self._network._run_single_frame_inference(
                    inference_state=stock,
                    output_dict=outputs,
                    frame_idx=frame,
                    batch_size=1,
                    is_init_cond_frame=False,
                    point_inputs=None,
                    mask_inputs=None,
                    reverse=reverse,
                    run_mem_encoder=True,
                )
            )
        stock["frames_tracked_per_obj"][index][frame] = {"reverse": reverse}
        tracking.objects[index].computed(frame)
        return masks

    def _forget(self, tracking: Tracking, frame: int, reverse: bool) -> None:
        anchors: set[int] | None = None
        if tracking.rewinds:
            anchors = set().union(*(memory.prompted_frames for memory in tracking.objects))
        for memory in tracking.objects:
            memory.forget(frame, reverse=reverse, anchors=anchors)

    def _require_prompt(self, tracking: Tracking, frame: int, object_id: int) -> None:
        if not 0 <= frame < tracking.num_frames:
            raise ValueError(f"frame {frame} of a video of {tracking.num_frames}")
        for memory in tracking.objects:
            memory.require_whole(frame)  # the answer shows all objects
        index = self._network._obj_id_to_idx(tracking.stock, object_id)
        if index == len(tracking.objects):
            tracking.objects.append(ObjectMemory(tracking.stock, index, tracking.reach))
        tracking.objects[index].require_prompt(frame)


def _tracked(answer: tuple[int, list[int], Tensor]) -> TrackedFrame:
    frame, object_ids, logits = answer
    return TrackedFrame(frame, tuple(object_ids), logits)
