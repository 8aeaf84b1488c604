"""A package of somebody else that registers models: one with a row, a bare factory, broken ones."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.stages.matting.catalogue import option_classes, usable
from tests.packages import install, installed

#: Names of its entry points and what each refers to.
ENTRY_POINTS = {
    "theirs": "their_rows:THEIRS",
    "theirs-bare": "their_model:load",
    "theirs-clash": "their_rows:CLASH",
    "theirs-gone": "their_rows:NOTHING",
    "theirs-odd": "their_rows:ODD",
    "theirs-raises": "their_broken:ROW",
}

_ROWS = '''
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.contract import ModelOptions
from pipeline.stages.matting.facts import ModelBytes, ModelFacts, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirOptions(ModelOptions):
    """Options of their model."""

    prefix: ClassVar[str] = "theirs"

    level: Annotated[float, Field(ge=0, le=1, description="alpha everywhere, 0 to 1")] = 0.5
    places: Annotated[tuple[str, ...], Field(description="names of places")] = ("here", "there")
    map: Annotated[str | None, Field(description="a file")] = None
    map_sha256: Annotated[str | None, Field(description="sha256 of that file")] = None


THEIRS = ModelFacts(
    name="theirs",
    load="their_model:load",
    description="the same alpha everywhere",
    needs="nothing",
    licence="MIT",
    options=TheirOptions,
    weights=Weights(
        name="theirs",
        choice=lambda matting: str(matting.of(TheirOptions).level),
        fetch=lambda matting: [],
        missing="their_model:missing",
    ),
    has_scale=True,
    memory=lambda matting, engine: ModelBytes(another=1_000_000, segment=2_000_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClashingOptions(ModelOptions):
    """Their name in a settings file is one of RVM's."""

    prefix: ClassVar[str] = "rvm"

    variant: Annotated[str, Field(description="another variant")] = "theirs"


CLASH = ModelFacts(
    name="theirs-clash", load="their_model:load", description="clashes", options=ClashingOptions
)
ODD = "no row"
'''

_MODEL = """
import torch

from pipeline.pixels.batches import MatteBatch


class TheirModel:
    name = "theirs"
    warmup_frames = 0

    def __init__(self, level):
        self.level = level

    def prepare(self, clip):
        return {}

    def start(self, eyes, height, width, prepared):
        return None

    def matte(self, eyes, state):
        frames, views, _, height, width = eyes.rgb.shape
        alpha = torch.full((frames, views, 1, height, width), self.level)
        return MatteBatch(alpha, None, eyes.start)


def load(matting, processing, device):
    if matting.model == "theirs-bare":
        return TheirModel(1.0)
    from their_rows import TheirOptions

    return TheirModel(matting.of(TheirOptions).level)


def missing(matting):
    raise LookupError("no map")
"""


_BROKEN = 'raise RuntimeError("no such library")\n'


def install_theirs(folder: Path) -> Path:
    """Put the package into a folder for ``sys.path``."""
    modules = {"their_rows": _ROWS, "their_model": _MODEL, "their_broken": _BROKEN}
    return install(folder, "their-models", ENTRY_POINTS, "vrmatte.models", **modules)


@contextmanager
def theirs_installed(folder: Path) -> Iterator[Any]:
    """The package is found by this process; its module of rows."""
    with installed(install_theirs(folder)):
        _forget()
        try:
            yield importlib.import_module("their_rows")
        finally:
            _forget()


def _forget() -> None:
    usable.cache_clear()
    option_classes.cache_clear()
