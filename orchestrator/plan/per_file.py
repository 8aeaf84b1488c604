"""The final settings of each source: overrides laid over the general settings, then settled.

Overrides are applied to the settings as they were written, and only the result is settled, so that
a video with overrides is made exactly as by a run with these settings alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from orchestrator.estimate.network_scale import require_scalable
from orchestrator.plan.discover import Source
from orchestrator.plan.layers import require_layers
from orchestrator.plan.part import Times
from orchestrator.plan.per_object import require_objects
from orchestrator.plan.planner import Wanted
from orchestrator.plan.prompts_for import require_follower
from orchestrator.settings.overrides import Override
from orchestrator.settings.settings import (
    Settings,
    differing,
    forced_layout,
    forced_projection,
    video_settings,
    with_overrides,
)
from orchestrator.words import counted
from pipeline.contract import MattingSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.matting.catalogue import AUTO, candidates, facts_of

Fault = TypeVar("Fault", bound=SettingsError | MachineError)


@dataclass(frozen=True, slots=True)
class PerFile:
    """The settings of all sources; see `choose`.

    Attributes:
        general: the settled settings without overrides, with the overrides as they were written.
        wanted: what each source is processed with.
        idle: overrides that match no source.
        asked: the settings as they were written, with the overrides.
    """

    general: Settings
    wanted: Mapping[Source, Wanted]
    idle: tuple[Override, ...]
    asked: Settings = field(default_factory=Settings)

    def remarks(self) -> Iterator[str]:
        """A line for each override that matches no source."""
        for override in self.idle:
            yield f"{override.name} matches none of {counted(len(self.wanted), 'video')}"


def choose(
    settings: Settings,
    general: Settings,
    sources: Sequence[Source],
    settle: Callable[[Settings], Settings],
) -> PerFile:
    """The settings of each source.

    Args:
        general: the settings without overrides, settled.
        settle: `orchestrator.plan.settle.settle_settings` for this machine; called once for all
            sources with the same settings.

    Raises:
        SettingsError, MachineError: of `settle`, naming the overrides at fault.
    """
    usual = with_overrides(settings, ())
    settled = {usual: settled_candidates(usual, general, settle)}
    wanted: dict[Source, Wanted] = {}
    for source in sources:
        matching = [each for each in settings.overrides if each.matches(source.relative)]
        own = with_overrides(settings, matching)
        if own not in settled:
            try:
                settled[own] = settled_candidates(own, settle(own), settle)
            except (SettingsError, MachineError) as error:
                raise _named(error, matching) from error
        differs = tuple(differing(own, usual).items()) if matching else ()
        wanted[source] = _wanted(settled[own], differs)
    idle = tuple(
        each
        for each in settings.overrides
        if not any(each.matches(source.relative) for source in sources)
    )
    general = general.model_copy(update={"overrides": settings.overrides})
    return PerFile(general, wanted, idle, settings)


def contradictions(settings: Settings) -> Iterator[SettingsError]:
    """Where settings contradict each other, for all videos or by an override."""
    requirements: Sequence[Callable[[Settings], object]] = (
        lambda own: require_follower(own.matting),
        require_scalable,
        lambda own: require_layers(video_settings(own)),
        lambda own: require_objects(video_settings(own)),
    )
    told = set()
    for overrides in ((), *((each,) for each in settings.overrides)):
        own = with_overrides(settings, overrides)
        for require in requirements:
            try:
                require(own)
            except SettingsError as error:
                if error.message not in told:
                    told.add(error.message)
                    yield _named(error, overrides)


def require_sense(settings: Settings) -> None:
    """Raises SettingsError: settings contradict each other, for all videos or by an override."""
    for error in contradictions(settings):
        raise error


def possible_mattings(settings: Settings) -> list[MattingSettings]:
    """The matting settings that some video could have, whichever overrides match it.

    For `auto` with each of the models that it may come to.
    """
    found = {settings.matting: None}
    for override in settings.overrides:
        for matting in [*found] if "matting" in override.values else []:
            before = settings.model_copy(update={"matting": matting})
            found[with_overrides(before, [override]).matting] = None
    return [*dict.fromkeys(each for matting in found for each in candidates(matting))]


def settled_candidates(
    asked: Settings, settled: Settings, settle: Callable[[Settings], Settings]
) -> list[Settings]:
    """The settled settings; for `auto` with each model that a video may get, settled as with it.

    Args:
        asked: as they were written.
        settled: the same, settled.
        settle: settles others.
    """
    if asked.matting.model != AUTO:
        return [settled]
    return [settle(with_matting(asked, matting)) for matting in candidates(asked.matting)]


def with_matting(asked: Settings, matting: MattingSettings) -> Settings:
    """The settings with another model, as a person would write them for it."""
    return asked.model_copy(update={"matting": matting, **_without_scale(asked, matting)})


def _without_scale(asked: Settings, matting: MattingSettings) -> dict[str, object]:
    """What a person said of the network's size is for the models that have one."""
    if asked.processing.adaptive_scaling is None or facts_of(matting).has_scale:
        return {}
    return {"processing": replace(asked.processing, adaptive_scaling=None)}


def _wanted(found: Sequence[Settings], differs: tuple[tuple[str, object], ...]) -> Wanted:
    settings = found[0]
    return Wanted(
        settings=video_settings(settings),
        candidates=tuple(map(video_settings, found)) if len(found) > 1 else (),
        times=Times(settings.input.start, settings.input.end),
        layout=forced_layout(settings),
        projection=forced_projection(settings),
        deadline_s=settings.input.probe_timeout_s,
        differing=differs,
    )


def _named(error: Fault, overrides: Sequence[Override]) -> Fault:
    """The error, naming the overrides that cause it, if any."""
    if not overrides:
        return error
    names = " and ".join(each.name for each in overrides)
    return type(error)(f"{names}: {error.message}", error.advice)
