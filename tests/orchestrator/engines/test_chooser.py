"""Built engines in a run: torch serves until one is there and trusted, and no video has two.

OpenVINO stands in for TensorRT: its files are built, kept, compared and opened by the same code.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from orchestrator.engines import build_child
from orchestrator.engines.chooser import EngineChooser
from orchestrator.engines.prepare import built_for
from orchestrator.engines.request import EngineAnswer, EngineRequest
from orchestrator.out.journal import Past
from orchestrator.run.request import Surroundings
from orchestrator.settings.settings import load_settings
from pipeline.contract import MattingSettings, ProcessingSettings, VideoSettings
from pipeline.engines import catalogue, openvino
from pipeline.engines.compiled_files import CompiledFiles
from pipeline.engines.engine import Runner
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.weights import compiled_folder
from tests import runs
from tests.clips import X264, ClipSpec
from tests.orchestrator.worlds import make_job
from tests.pipeline.stages.matting.rvm.test_graph import small_rvm
from tests.runs import HereRun, journal
from tests.shared_runs import GetClip

STAND_IN = "pipeline.engines.openvino:OpenVino"


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of TensorRT's name and ways, on the CPU; and a cache of one's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    row = replace(
        catalogue.ENGINES["tensorrt"],
        make=STAND_IN,
        packages=("openvino",),
        libraries=("torch", "openvino"),
        devices=frozenset({"cpu"}),
    )
    monkeypatch.setitem(catalogue.ENGINES, "tensorrt", row)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    (tmp_path / "weights").mkdir()
    return str(small_rvm(tmp_path / "weights"))


def settings_of(weights: str, **processing: Any) -> VideoSettings:
    return VideoSettings(
        matting=MattingSettings(region="whole", options=(RvmOptions(weights=weights),)),
        processing=ProcessingSettings(engine="tensorrt", **processing),
    )


def here(request: EngineRequest, device: int | str = "cpu", watch: object = None) -> EngineAnswer:
    """What the child does, in this process: by the files that pass between the two."""
    with tempfile.TemporaryDirectory() as name:
        asked, answer = Path(name, "asked.json"), Path(name, "answer.json")
        asked.write_bytes(TypeAdapter(EngineRequest).dump_json(request))
        build_child.main(str(asked), str(answer), "cpu")
        return TypeAdapter(EngineAnswer).validate_json(answer.read_bytes())


def chooser(out: Path, **changed: Any) -> EngineChooser:
    made = EngineChooser(out / "engines", compiled_folder(), "cpu", (), "", here)
    return replace(made, **changed)


INFO = make_job().info


def never(settings: VideoSettings) -> Past:
    return "nothing"


def test_torch_serves_until_one_is_built_and_what_it_began_it_ends(
    weights: str, tmp_path: Path
) -> None:
    asked = settings_of(weights)
    first = chooser(tmp_path / "out")
    settings, [note] = first.choose(INFO, asked, never)
    assert (settings.processing.engine, settings.processing.engine_file) == ("torch", None)
    assert "made by torch, not by tensorrt: its engine is not built yet" in note

    wish = first.wishes.take()
    assert wish is not None
    answer = here(wish)
    assert answer.refused is None

    def begun(by: VideoSettings) -> Past:
        return "begun" if by == settings else "nothing"

    again, [note] = chooser(tmp_path / "out").choose(INFO, asked, begun)
    assert again == settings
    assert "it was begun before its engine was built" in note

    for _ in range(2):  # nothing was begun; and a run that is resumed has the same
        built, notes = chooser(tmp_path / "out").choose(INFO, asked, never)
        assert built.processing.engine_file == answer.digest
        assert notes == ()
    assert built.fingerprint() != settings.fingerprint()


@pytest.mark.parametrize("past", ["begun", "done"])
def test_when_an_engine_is_gone_what_it_finished_stays_and_what_it_began_begins_again(
    past: Past, weights: str, tmp_path: Path
) -> None:
    asked = settings_of(weights)
    made = chooser(tmp_path / "out")
    made.choose(INFO, asked, never)
    wish = made.wishes.take()
    assert wish is not None
    here(wish)
    built, _ = made.choose(INFO, asked, never)
    CompiledFiles(compiled_folder()).clear()

    def by_it(by: VideoSettings) -> Past:
        return past if by == built else "nothing"

    settings, notes = chooser(tmp_path / "out").choose(INFO, asked, by_it)
    if past == "done":
        assert (settings, notes) == (built, ())
    else:
        assert settings.processing.engine == "torch"
        assert "the engine with which it was begun is not used any more" in notes[0]


def test_each_engine_is_wished_for_once(weights: str, tmp_path: Path) -> None:
    made = chooser(tmp_path / "out")
    for digit in "abc":
        made.choose(replace(INFO, fingerprint=digit * 64), settings_of(weights), never)
    made.choose(replace(INFO, width=256), settings_of(weights), never)
    taken = [made.wishes.take() for _ in range(3)]
    assert [wish is not None for wish in taken] == [True, True, False]


def spoilt(what: str) -> Any:
    real = openvino._Runner.__call__

    def call(self: Any, *given: torch.Tensor) -> list[torch.Tensor]:
        made = real(self, *given)
        return [each * (0 if what == "black" else float("nan")) for each in made]

    return call


@pytest.mark.parametrize(("what", "why"), [("black", "single colour"), ("nan", "NaN")])
def test_a_wrong_one_is_refused_aloud_and_torch_goes_on(
    what: str, why: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino._Runner, "__call__", spoilt(what))
    made = chooser(tmp_path / "out")
    made.choose(INFO, settings_of(weights), never)
    wish = made.wishes.take()
    assert wish is not None
    assert why in str(here(wish).refused)
    settings, [note] = chooser(tmp_path / "new").choose(INFO, settings_of(weights), never)
    assert settings.processing.engine == "torch"
    assert "its engine is not to be trusted" in note
    assert why in note


@pytest.mark.parametrize("trouble", ["goes wrong later", "is refused by its library", "crashes"])
def test_one_that_is_kept_is_compared_once_more_before_a_video_is_planned_with_it(
    trouble: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chooser(tmp_path / "out")
    made.choose(INFO, settings_of(weights), never)
    wish = made.wishes.take()
    assert wish is not None
    here(wish)
    asked: list[EngineRequest] = []

    def compare(request: EngineRequest) -> EngineAnswer:
        asked.append(request)
        if trouble == "crashes":
            raise MachineError("orchestrator.engines.build_child was killed by SIGSEGV")
        return here(request)

    if trouble == "goes wrong later":
        monkeypatch.setattr(openvino._Runner, "__call__", spoilt("black"))
    if trouble == "is refused by its library":

        def refuse(self: object, content: bytes, example: object) -> Runner:
            raise RuntimeError("incompatible blob")

        monkeypatch.setattr(openvino.OpenVino, "open", refuse)
    later = chooser(tmp_path / "new", compare=compare)
    for digit in "ab":
        settings, [note] = later.choose(
            replace(INFO, fingerprint=digit * 64), settings_of(weights), never
        )
        assert settings.processing.engine == "torch"
        assert "not to be trusted" in note
    assert len(asked) == 1


def test_other_weights_sizes_and_drivers_have_engines_of_their_own(
    weights: str, tmp_path: Path
) -> None:
    made = chooser(tmp_path / "out")
    made.choose(INFO, settings_of(weights), never)
    wish = made.wishes.take()
    assert wish is not None
    files = CompiledFiles(compiled_folder())
    files.keep(wish.key, b"x")
    for other in (
        chooser(tmp_path / "b", driver="600.1", device_names=("NVIDIA L4",)),
        chooser(tmp_path / "c"),
    ):
        info = replace(INFO, width=256) if other.driver == "" else INFO
        other.choose(info, settings_of(weights), never)
        assert other.wishes.take() is not None
    content = Path(weights).with_suffix(".bin").read_bytes()
    Path(weights).with_suffix(".bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    last = chooser(tmp_path / "d")
    last.choose(INFO, settings_of(weights), never)
    assert last.wishes.take() is not None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"on_cluster": True}, "several machines"),
        ({"device_names": ("NVIDIA L4", "NVIDIA L40S")}, "several kinds"),
    ],
)
def test_where_one_file_cannot_serve_all_torch_does(
    changed: dict[str, Any], why: str, weights: str, tmp_path: Path
) -> None:
    made = chooser(tmp_path / "out", **changed)
    settings, [note] = made.choose(INFO, settings_of(weights), never)
    assert settings.processing.engine == "torch"
    assert why in note
    assert made.wishes.take() is None


def test_eyes_that_are_seen_in_boxes_go_by_torch(weights: str, tmp_path: Path) -> None:
    asked = settings_of(weights)
    boxes = replace(asked, matting=replace(asked.matting, region="auto"))
    large = replace(INFO, width=4096, height=2048)
    _, [note] = chooser(tmp_path / "out").choose(large, boxes, never)
    assert "set matting.region: whole" in note


# -- a whole run ---------------------------------------------------------------------------------


@pytest.fixture
def run(weights: str, clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HereRun:
    videos = tmp_path / "in"
    videos.mkdir()
    source = clip(ClipSpec("engine.mp4", X264, num_frames=8, eye=(64, 48)))
    shutil.copy(source, videos / "a_LR_180.mp4")

    def surroundings(*args: Any, **kwargs: Any) -> Surroundings:
        return replace(Surroundings(*args, **kwargs), build_engine=here)

    monkeypatch.setattr(runs, "Surroundings", surroundings)
    return HereRun(
        videos,
        tmp_path / "out",
        {
            "matting": {"model": "rvm", "region": "whole", "rvm_weights": weights},
            "processing": {"engine": "tensorrt"},
            "streaming": {"segment_frames": 4, "lanes": 2},
        },
        threads=True,
    )


def engines_of(out: Path) -> dict[str, str]:
    said = json.loads((out / "report.json").read_text())
    return {video["name"]: " ".join(video["notes"]) for video in said["videos"]}


def test_a_run_builds_in_the_background_and_the_next_video_is_made_by_it(
    run: HereRun, clip: GetClip, tmp_path: Path
) -> None:
    assert run.run() == 0, run.said.getvalue()
    for thread in threading.enumerate():
        if thread.name == "engines":  # in a process of its own it would have been ended
            thread.join()
    said = run.said.getvalue()
    assert "building the tensorrt engine of rvm in the background" in said
    assert "not by tensorrt" in engines_of(run.out)["a_LR_180.mp4"]
    [kept] = CompiledFiles(compiled_folder()).all()
    assert kept.refused is None

    by_torch = run.published()
    longer = clip(ClipSpec("longer.mp4", X264, num_frames=9, eye=(64, 48)))
    shutil.copy(longer, run.videos / "b_LR_180.mp4")
    assert run.run() == 0, run.said.getvalue()
    assert "tensorrt" not in engines_of(run.out)["b_LR_180.mp4"]
    assert run.published().items() > by_torch.items()  # what was finished stays
    recorded = [
        json.loads(path.read_text())["engine_file"]
        for path in (run.out / ".vrmatte/engines").iterdir()
    ]
    assert recorded == [kept.digest]

    expected = run.published()["b_LR_180_matte.webm"]
    (run.videos / "a_LR_180.mp4").unlink()
    streaming = {"segment_frames": 4, "lanes": 1}  # any lanes, in any OUT, the same frames
    other = HereRun(
        run.videos, tmp_path / "other", {**run.settings, "streaming": streaming}, threads=True
    )
    assert other.run() == 0, other.said.getvalue()
    assert other.published()["b_LR_180_matte.webm"] == expected


def test_built_beforehand_it_serves_the_first_video(run: HereRun) -> None:
    asked = load_settings(None, {**run.settings, "workers": {"gpus": "none"}})
    [built] = built_for(
        [run.videos / "a_LR_180.mp4"],
        asked,
        "tensorrt",
        lambda matting: None,
        lambda what: None,
        build=here,
    )
    [kept] = CompiledFiles(compiled_folder()).all()
    assert built.line.startswith(kept.digest)
    assert run.run() == 0, run.said.getvalue()
    assert "tensorrt" not in engines_of(run.out)["a_LR_180.mp4"]
    assert "building" not in run.said.getvalue()
    assert len(journal(run.out)) > 0


def test_what_is_not_built_in_the_background_has_nothing_to_build(run: HereRun) -> None:
    asked = load_settings(None, run.settings)
    for name, why in (("openvino", "nothing to build"), ("tensor", "no engine 'tensor'")):
        with pytest.raises(SettingsError, match=why):
            built_for([], asked, name, lambda matting: None, lambda what: None)
