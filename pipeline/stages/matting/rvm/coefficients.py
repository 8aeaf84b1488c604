"""RVM in two parts: its network at its own small size, and what that says of the full picture.

RVM's refiners are guided filters (He and Sun, "Fast Guided Filter", 2015, and the learned form of
Wu et al., 2018): they find ``slope`` and ``offset`` at the size of the network, enlarge both, and
give ``slope * picture + offset``. Only that last line is work at full size. Done plane by plane it
takes a tenth of the time of the refiner inside the network. Knows nothing of what runs the network.
"""

from __future__ import annotations

from typing import Any

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: How far the parts may be from the whole, in alpha and states: far above what rounding does
#: (0.001), and below what anybody sees.
PARTS_TOLERANCE = 0.01


class Coefficients(nn.Module):
    """RVM's network and refiner at the network's size.

    Args:
        network: RVM's; its parts are called by their names.
        refine: whether the picture is larger than the network's input.
    """

    def __init__(self, network: Any, refine: bool) -> None:
        super().__init__()
        self._network = network
        self._refine = refine

    def forward(
        self,
        small: Tensor,
        r1: Tensor | None = None,
        r2: Tensor | None = None,
        r3: Tensor | None = None,
        r4: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """One frame. The refiner works in 32 bits, whatever the network does.

        Args:
            small: ``[E, 3, h, w]``, 0..1, the eyes at the network's size.
            r1, r2, r3, r4: the recurrent state after the frame before; None at first.

        Returns:
            slope, offset ``[E, 4, h, w]`` for `apply_coefficients`, then the four states.
        """
        network = self._network
        *skipped, deepest = network.backbone(small)
        hidden, *recurrent = network.decoder(small, *skipped, network.aspp(deepest), r1, r2, r3, r4)
        made = network.project_mat(hidden)
        if made.dtype != torch.float32:
            small, hidden, made = small.float(), hidden.float(), made.float()
        residual, alpha = made.split([3, 1], dim=1)
        if self._refine:
            # A refiner is linear in the picture: a black and a white one tell all about it.
            black = torch.zeros_like(small)
            white = torch.ones_like(small)
            offset = torch.cat(network.refiner(black, small, residual, alpha, hidden), 1)
            slope = torch.cat(network.refiner(white, small, residual, alpha, hidden), 1) - offset
        else:
            offset = torch.cat([residual, alpha], 1)
            slope = torch.zeros_like(offset)
        return slope_by_sums(slope), offset, *recurrent


def slope_by_sums(slope: Tensor) -> Tensor:
    """The refiner's slope ``[E, 4, h, w]`` as `apply_coefficients` takes it.

    The foreground is the picture and what the network adds to it; alpha goes by the mean.
    """
    return torch.cat([(slope[:, :3] + 1) / 255, slope[:, 3:] / 765], 1)


def coefficients_of(network: nn.Module, refine: bool) -> nn.Module:
    """RVM's network and refiner at the network's size, whatever holds them.

    Args:
        network: RVM's own, or one with a method `coefficients`, which makes its own.
    """
    make = getattr(network, "coefficients", None)
    part: nn.Module = Coefficients(network, refine) if make is None else make(refine)
    return part.eval()


@torch.inference_mode()
def parts_problem(network: Any) -> str | None:
    """Why RVM's parts, put together by us, are not the whole, which may not be RVM's own.

    Args:
        network: in 32 bits on the CPU.
    """
    if hasattr(network, "coefficients"):  # there is no other whole than its parts
        return None
    picture = torch.randint(0, 256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(1))
    picture = picture.to(torch.uint8)
    for ratio in (0.5, 1.0):
        foreground, alpha = torch.empty(3, 64, 96), torch.empty(64, 96)
        try:
            whole = network(picture.float() / 255, None, None, None, None, ratio)
            slope, offset, *states = Coefficients(network, ratio != 1)(shrink(picture, ratio))
            apply_coefficients(picture[0], slope[0], offset[0], foreground, alpha)
            ours = (foreground[None], alpha[None, None], *states)
            worst = max(float((a - b).abs().max()) for a, b in zip(ours, whole, strict=True))
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            return f"RVM's code is not built as expected ({error})"
        if not worst <= PARTS_TOLERANCE:
            return f"RVM's code does not do what its parts do (they differ by {worst:.3f})"
    return None


def shrink(picture: Tensor, ratio: float) -> Tensor:
    """Uint8 ``[E, 3, H, W]`` -> float32 ``[E, 3, floor(H*ratio), floor(W*ratio)]``, 0..1.

    As RVM does it inside its network: bilinear, without a low pass.
    """
    if ratio == 1:
        return picture.float().div_(255)
    eyes = [
        F.interpolate(
            eye[None].float(), scale_factor=ratio, mode="bilinear", recompute_scale_factor=False
        )
        for eye in picture
    ]
    return torch.cat(eyes).div_(255)


def apply_coefficients(
    picture: Tensor, slope: Tensor, offset: Tensor, foreground: Tensor, alpha: Tensor
) -> None:
    """Make foreground and alpha of one eye, on the CPU.

    Args:
        picture: uint8 ``[3, H, W]``.
        slope, offset: float32 ``[4, h, w]``: red, green and blue by their own plane, alpha by the
            sum of the three.
        foreground, alpha: float32 ``[3, H, W]`` and ``[H, W]``, contiguous, written to, 0..1.
    """
    total = torch.zeros(alpha.shape)
    for channel in range(3):
        plane = picture[channel].float()
        total.add_(plane)
        _line(slope[channel], offset[channel], plane, foreground[channel])
    _line(slope[3], offset[3], total, alpha)


def _line(slope: Tensor, offset: Tensor, plane: Tensor, out: Tensor) -> None:
    # OpenCV enlarges a plane ten times as fast as OpenVINO, and four times as fast as torch.
    size = (out.shape[1], out.shape[0])
    cv2.resize(slope.numpy(), size, dst=out.numpy(), interpolation=cv2.INTER_LINEAR)
    enlarged = torch.from_numpy(cv2.resize(offset.numpy(), size, interpolation=cv2.INTER_LINEAR))
    torch.addcmul(enlarged, out, plane, out=out).clamp_(0, 1)
