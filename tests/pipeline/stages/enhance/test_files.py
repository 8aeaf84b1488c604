"""Files of weights of a person's own, by the real spandrel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.contract import EnhanceSettings
from pipeline.errors import SettingsError
from pipeline.stages.enhance.networks import load_network
from tests.pipeline.stages.enhance.test_tiles import in_tiles

pytestmark = pytest.mark.usefixtures("one_thread")


def compact(scale: int = 2, features: int = 8) -> dict[str, Tensor]:
    """A small network of Real-ESRGAN's kind Compact: three convolutions, random."""
    chance = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance) * 0.1

    given = {}
    for number, (into, out) in enumerate(
        [(3, features), (features, features), (features, 3 * scale * scale)]
    ):
        given[f"body.{2 * number}.weight"] = draw(out, into, 3, 3)
        given[f"body.{2 * number}.bias"] = draw(out)
        if out == features:
            given[f"body.{2 * number + 1}.weight"] = draw(features)
    return given


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_file_is_a_network_whose_tiles_do_not_show(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"own{ending}"
    if ending == ".pth":
        torch.save(compact(), file)
    else:
        save_file(compact(), file)
    network = load_network(EnhanceSettings(scale=2, model=str(file)))
    picture = torch.rand(1, 3, 41, 37)
    made = network(picture)
    assert tuple(made.shape) == (1, 3, 82, 74)
    assert 3 <= int(network.radius) <= 4  # type: ignore[arg-type]
    assert torch.allclose(in_tiles(picture, network, 16), made, rtol=0, atol=1e-6)


def test_a_network_that_makes_more_is_made_smaller_again(tmp_path: Path) -> None:
    file = tmp_path / "own.pth"
    torch.save(compact(scale=4), file)
    twice = load_network(EnhanceSettings(scale=2, model=str(file)))
    four = load_network(EnhanceSettings(scale=4, model=str(file)))
    picture = torch.rand(1, 3, 12, 10)
    small = torch.nn.functional.avg_pool2d(four(picture), 2)
    assert torch.allclose(twice(picture), small, atol=1e-6)


class Trap:
    """What an unpickler that trusts its file would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/vrmatte-was-here"),))  # type: ignore[return-value]


def test_what_is_no_network_is_one_line(tmp_path: Path) -> None:
    few = tmp_path / "few.pth"
    torch.save(compact(scale=2), few)
    with pytest.raises(SettingsError, match=r"makes pictures 2 times larger, not 4"):
        load_network(EnhanceSettings(scale=4, model=str(few)))
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"\0" * 100)
    trap = tmp_path / "trap.pth"
    torch.save({"body.0.weight": Trap()}, trap)
    other = tmp_path / "other.pth"
    torch.save({"weights": torch.zeros(3)}, other)
    for file in (junk, trap, other):
        with pytest.raises(SettingsError, match="cannot be used") as caught:
            load_network(EnhanceSettings(scale=2, model=str(file)))
        assert "\n" not in caught.value.message
    assert not Path("/tmp/vrmatte-was-here").exists()
