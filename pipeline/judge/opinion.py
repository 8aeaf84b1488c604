"""A second opinion on the frames of a trial: where RVM sees people, and whether the matte has them.

RVM finds people before any background. A matte by another model that leaves out most of a person is
likely of something else: of the sky, of furniture. Asked only where RVM is at hand, and not of
models that ask it themselves, or that follow one subject of several.
"""

from __future__ import annotations

from dataclasses import astuple, replace

import torch

from pipeline.contract import NO_MODEL, Finding, VideoSettings
from pipeline.engines.choice import settled_engine
from pipeline.errors import VrmatteError
from pipeline.judge.findings import SOURCE, SUMS
from pipeline.judge.sums import MatteSums
from pipeline.pixels.batches import EyeBatch
from pipeline.pixels.layers import Layers
from pipeline.stages.matting.base import MattingModel, load_model
from pipeline.stages.matting.catalogue import facts_of, function_of, taking_part

#: RVM's own name in the catalogue.
_RVM = "rvm"

#: Share of an eye's picture from which on what RVM finds is a person: 20 m away are 0.0002.
_LEAST_PERSON = 0.005

#: A matte that holds less of the person than this share has missed it.
_LEAST_SHARE = 0.5


class SecondOpinion:
    """RVM, to be asked about single frames."""

    def __init__(self, rvm: MattingModel) -> None:
        self._rvm = rvm

    @classmethod
    def at_hand(cls, settings: VideoSettings, device: torch.device) -> SecondOpinion | None:
        """None where nobody is to be asked: nothing is fetched for it."""
        asked = settings.matting
        known = {each.model for each in taking_part(asked)}
        if asked.model == NO_MODEL or _RVM in known or facts_of(asked).follows_prompts:
            return None
        matting = replace(asked, model=_RVM)
        row = facts_of(matting)
        assert row.weights is not None
        if function_of(row, row.weights.missing)(matting) is not None:
            return None
        processing = replace(settings.processing, engine="auto", scale_factor=None)
        try:
            engine = settled_engine(processing, row.engines, device.type)
            return cls(load_model(matting, engine, device))
        except VrmatteError:  # it is only a second opinion
            return None

    def of(self, layers: Layers) -> Finding:
        """Whether the matte of the first frame holds the people in it."""
        rgb, own = layers.rgb[:1], layers.matte.alpha[:1] > 0.5
        _, eyes, _, height, width = rgb.shape
        state = self._rvm.start(eyes, height, width, {})
        person = self._rvm.matte(EyeBatch(rgb, layers.start), state).alpha > 0.5
        if person.shape != own.shape:  # a stage has resized the picture since
            return _finding(layers.start, MatteSums())
        share = float(person.float().mean(dim=(0, 2, 3, 4)).max())
        held = float((person & own).sum()) / max(1.0, float(person.sum()))
        seen = share >= _LEAST_PERSON
        return _finding(
            layers.start, MatteSums(persons=int(seen), missed=int(seen and held < _LEAST_SHARE))
        )


def _finding(frame: int, sums: MatteSums) -> Finding:
    return Finding(SOURCE, SUMS, frame, frame, values=tuple(map(float, astuple(sums))))
