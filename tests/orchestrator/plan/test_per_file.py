"""Settings of some of the videos on their way through a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml

from orchestrator.backends.base import Backend
from orchestrator.backends.local import LocalBackend
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.crew import crew_of
from orchestrator.machine.devices import Devices
from orchestrator.machine.model_memory import further_bytes
from orchestrator.out.folder import OutFolder
from orchestrator.plan.discover import Source
from orchestrator.plan.per_file import PerFile, choose
from orchestrator.plan.settle import settle_settings
from orchestrator.run.supervisor import Outcome
from orchestrator.settings.overrides import Override
from orchestrator.settings.settings import Settings, load_settings, with_overrides
from pipeline.contract import MattingSettings, VideoSettings
from pipeline.errors import SettingsError
from tests.orchestrator.run.test_run import Place, SupervisorDouble, place
from tests.orchestrator.worlds import make_job
from workers.messages import ModelChoice

__all__ = ["place"]

A, B = (Source(Path(f"/in/{name}"), PurePath(name), "in") for name in ("a.mp4", "sub/b.mp4"))
CPU = Devices(("cpu",), "")


def chosen(*overrides: Override, **groups: dict[str, Any]) -> PerFile:
    settings = load_settings(None, groups).model_copy(update={"overrides": overrides})
    settle = partial(settle_settings, device_kind="cpu", digests={})
    return choose(settings, settle(with_overrides(settings, ())), [A, B], settle)


def green(**groups: dict[str, Any]) -> Override:
    """For b.mp4 alone."""
    return Override("b*", groups, 7)


def test_a_video_with_overrides_is_made_as_by_a_run_with_these_settings_alone(
    tmp_path: Path,
) -> None:
    """The same fingerprint, whatever is decided late: the engine, the content of files, prompts."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    general: dict[str, Any] = {"matting": {"plate_image": one}}
    changes: tuple[dict[str, dict[str, Any]], ...] = (
        {"matting": {"model": "chroma"}},
        {"matting": {"model": "plate", "plate_image": two}},
        {"matting": {"model": "plate"}, "encoding": {"quality": "best"}},
        {"processing": {"engine": "torch"}},
        {"output": {"formats": ["matte"]}, "input": {"layout": "tb", "max_frames": 3}},
    )
    for change in changes:
        both = {
            group: general.get(group, {}) | change.get(group, {}) for group in (*general, *change)
        }
        some, alone, usual = chosen(green(**change), **general), chosen(**both), chosen(**general)
        mixed, wanted = some.wanted[B], alone.wanted[B]
        assert mixed.settings == wanted.settings
        assert mixed.settings.fingerprint() == wanted.settings.fingerprint()
        assert (mixed.layout, mixed.projection) == (wanted.layout, wanted.projection)
        assert some.wanted[A] == usual.wanted[A]
        assert dict(mixed.differing) == {
            f"{g}.{k}": v for g, m in change.items() for k, v in m.items()
        }


def test_an_override_that_matches_nothing_is_said_aloud() -> None:
    found = chosen(Override("*grren*", {"matting": {"model": "chroma"}}, 3))
    assert list(found.remarks()) == ["the override '*grren*' of line 3 matches none of 2 videos"]
    assert not list(chosen(green(matting={"model": "chroma"})).remarks())


def test_what_is_wrong_with_an_override_names_it() -> None:
    missing: dict[str, Any] = {"plate_image": "/none.png"}
    with pytest.raises(SettingsError, match=r"^the override 'b\*' of line 7: matting.plate_image"):
        chosen(green(matting=missing))
    with pytest.raises(SettingsError, match=r"^matting\.plate_image /none\.png cannot be read"):
        chosen(green(matting={"model": "depth"}), matting=missing)


@dataclass
class Watching(SupervisorDouble):
    """Remembers what workers are given, and each job's model."""

    models: list[ModelChoice | None] = field(default_factory=list)
    jobs: Sequence[VideoJob] = ()

    def __call__(
        self, jobs: Sequence[VideoJob], backend: Backend, *rest: Any, **more: Any
    ) -> Outcome:
        assert isinstance(backend, LocalBackend)
        self.models = [setup.model for setup in backend._setups.values()]
        self.jobs = jobs
        return super().__call__(jobs, backend, *rest, **more)


def mixed_settings(model: str = "chroma") -> Settings:
    return Settings(matting=MattingSettings(model="depth")).model_copy(
        update={"overrides": (green(matting={"model": model}),)}
    )


def test_a_run_with_two_models(place: Place) -> None:
    double = Watching()
    assert place.run(double, settings=mixed_settings()) == 0
    assert [job.settings.matting.model for job in double.jobs] == ["depth", "chroma"]
    assert double.models == [None]  # each is loaded by the first task that comes with it
    assert place.fetched == ["depth", "chroma"]
    record = yaml.safe_load((place.out / ".vrmatte/run.yaml").read_text())
    assert [video["differs"] for video in record["videos"]] == [{}, {"matting.model": "chroma"}]
    assert record["settings"]["overrides"] == [{"match": "b*", "matting": {"model": "chroma"}}]
    assert "sub/b.mp4: matting.model: chroma" in place.told.getvalue()


def test_one_model_for_all_is_loaded_before_a_worker_is_ready(place: Place) -> None:
    double = Watching()
    settings = Settings(matting=MattingSettings(model="depth"))
    override = green(encoding={"quality": "best"}, matting={"prompts": None})
    place.run(double, settings=settings.model_copy(update={"overrides": (override,)}))
    assert double.models == [ModelChoice.of(double.jobs[0].settings)]


def test_changed_overrides_make_anew_what_they_are_for_and_nothing_else(place: Place) -> None:
    place.run(settings=mixed_settings())
    place.fetched.clear()
    again = Watching()
    assert place.run(again, settings=mixed_settings()) == 0
    assert again.worked_on == []
    other = Watching()
    assert place.run(other, settings=mixed_settings("plate")) == 0
    assert other.worked_on == ["sub/b.mp4"]
    assert place.fetched == ["plate"]
    assert [model and model.matting.model for model in other.models] == ["plate"]


def test_a_dry_run_shows_what_differs_and_what_matches_nothing(place: Place) -> None:
    idle = Override("*grren*", {"matting": {"model": "chroma"}}, 3)
    settings = mixed_settings()
    settings = settings.model_copy(update={"overrides": (*settings.overrides, idle)})
    assert place.run(settings=settings, dry_run=True) == 0
    said = place.told.getvalue().splitlines()
    assert "the override '*grren*' of line 3 matches none of 2 videos" in said
    assert "sub/b.mp4: matting.model: chroma" in said


def test_further_models_take_room_from_the_segments(tmp_path: Path) -> None:
    def room(*models: str, lanes: int) -> int:
        choices = [ModelChoice.of(VideoSettings(matting=MattingSettings(model=m))) for m in models]
        return further_bytes(choices, lanes)

    assert room("sam2", lanes=8) == 0
    small = room("sam2", "chroma", lanes=2)
    assert 0 < small < room("sam2", "rvm", lanes=2)
    assert room("sam2", "chroma", "depth", lanes=1) == small  # two stay loaded, however few lanes
    assert room("sam2", "chroma", "depth", lanes=3) == 2 * small
    settings = load_settings(None, {})

    def spec(*jobs: VideoJob) -> WorkerSpec:
        out, memory = OutFolder(tmp_path), 24 * 10**9
        [spec] = crew_of(settings, CPU, out, jobs, lanes=2, machine_bytes=memory).specs()
        return spec

    jobs = [
        replace(make_job(model), settings=VideoSettings(matting=MattingSettings(model=model)))
        for model in ("chroma", "depth")
    ]
    before, after = spec(), spec(*jobs)
    assert before.ram_bytes is not None
    assert after.ram_bytes == before.ram_bytes - room("chroma", "depth", lanes=2)
    assert spec(jobs[0]) == before
