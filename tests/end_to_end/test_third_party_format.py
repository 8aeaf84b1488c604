"""A format of another package: asked for, estimated, made, checked and reported as ours are.

The package is found by PYTHONPATH, as pip would leave it, in every process of a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.doctor.component_trials import try_format
from orchestrator.doctor.software import plugin_findings
from orchestrator.doctor.trials import FormatTrial
from orchestrator.gates.clips import make_clips
from orchestrator.out.output_names import is_output_name
from pipeline.contract import EncodingSettings
from tests.clips import X264, ClipSpec, read_frames
from tests.packages import install, installed
from tests.shared_runs import VideosOf

pytestmark = pytest.mark.slow

CLIP = ClipSpec("one_LR.mp4", X264, num_frames=24, audio=("aac",))

#: A silent WebM; and one whose maker cannot be imported.
ROWS = """
from dataclasses import replace
from pipeline.deliverables.format import RelativeSize
from pipeline.deliverables.formats import WEBM

RIBBON = replace(
    WEBM,
    name="ribbon",
    factory="ribbon_maker:Ribbon",
    description="a silent WebM",
    ending="_ribbon.webm",
    encoder="ribbon weaver",
    sound=None,
    size=RelativeSize(2.0),
    encoder_memory=lambda encoding: 6000,
)
HOLLOW = replace(RIBBON, name="hollow", factory="hollow_maker:Hollow", ending="_hollow.webm")
"""
MAKER = """
from pipeline.deliverables.webm import WebM
from ribbon_rows import RIBBON

class Ribbon(WebM):
    format = RIBBON
"""
BROKEN = "import a_module_that_nobody_has\n"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, group = tmp_path_factory.mktemp("packages"), "vrmatte.deliverables"
    own = {"ribbon": "ribbon_rows:RIBBON", "hollow": "ribbon_rows:HOLLOW"}
    modules = {"ribbon_rows": ROWS, "ribbon_maker": MAKER, "hollow_maker": BROKEN}
    install(folder, "vrmatte-ribbon", own, group, **modules)
    return install(folder, "shards", {"shards": "shards_rows:ROW"}, group, shards_rows=BROKEN)


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of([CLIP])


@pytest.fixture(scope="module")
def vrmatte(packages: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    known = os.environ.get("PYTHONPATH")
    places = os.pathsep.join([str(packages), known] if known else [str(packages)])

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": places},
            check=False,
        )

    return run


def job(videos: Path, out: Path, *words: str) -> list[str]:
    return [
        *("run", str(videos), "-o", str(out), "--model", "chroma", "--gpus", "none"),
        *("--segment-frames", "12", *words),
    ]


@pytest.fixture(scope="module")
def out(
    vrmatte: Callable[..., subprocess.CompletedProcess[str]],
    videos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Of a run that makes it beside one of ours, by a settings file with an override."""
    folder = tmp_path_factory.mktemp("made")
    config = folder / "settings.yaml"
    config.write_text(
        "output: {formats: [tiff], sidecar: true}\n"
        'overrides: [{match: "one*", format: "tiff, ribbon"}]\n'
    )
    done = vrmatte(*job(videos, folder / "out", "--config", str(config)))
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_it_is_made_named_and_described_to_players(out: Path) -> None:
    ribbon = out / "one_LR_360_ribbon.webm"
    assert len(list(read_frames(ribbon))) == CLIP.num_frames
    sidecar = json.loads((out / f"{ribbon.name}.json").read_text())
    assert sidecar["encodings"][0]["name"] == "vp9"
    [video] = json.loads((out / "report.json").read_text())["videos"]
    assert [output["deliverable"] for output in video["outputs"]] == ["tiff", "ribbon"]


def test_the_page_plays_and_draws_it(
    vrmatte: Callable[..., subprocess.CompletedProcess[str]], out: Path
) -> None:
    done = vrmatte("report", str(out))
    assert done.returncode == 0, done.stderr
    page = (out / "report.html").read_text()
    assert 'class="behind"' in page  # a checkerboard behind what is transparent
    assert page.count("one_LR_360_ribbon.webm") >= 2
    for part in ("source", "matte", "result"):
        assert f'class="picture {part} ' in page


def test_a_dry_run_estimates_it(
    vrmatte: Callable[..., subprocess.CompletedProcess[str]], videos: Path, tmp_path: Path
) -> None:
    done = vrmatte(*job(videos, tmp_path / "out", "--format", "ribbon", "--dry-run", "--json"))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    [plan] = [line for line in lines if line.get("event") == "plan"]
    [video] = plan["videos"]
    assert video["encoders"] == ["ribbon: ribbon weaver"]
    assert video["problem"] is None
    assert (video["output_bytes_by"], video["output_bytes"] > 0) == ("trial", True)
    assert plan["seconds"] > 0


def test_it_is_listed_where_ours_are(
    vrmatte: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    assert "|tiff|video|hollow|ribbon|shards]" in "".join(vrmatte("run", "--help").stdout.split())
    vrmatte("config", "init", str(tmp_path / "s.yaml"))
    explained = " ".join((tmp_path / "s.yaml").read_text().replace("#", " ").split())
    assert "ribbon (a silent WebM), shards (cannot be loaded)" in explained
    schema = json.loads(vrmatte("config", "schema").stdout)
    formats = schema["$defs"]["OutputSettings"]["properties"]["formats"]["items"]["enum"]
    assert formats[-3:] == ["hollow", "ribbon", "shards"]


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("shards", 2, "the format 'shards' of package shards cannot be loaded: ModuleNotFoundErr"),
        ("ribon", 2, "there is no format named 'ribon'"),
        ("hollow", 1, "the format 'hollow' cannot load hollow_maker:Hollow: ModuleNotFoundErr"),
    ],
)
def test_a_format_that_is_broken_or_unknown_costs_its_run_one_line(
    vrmatte: Callable[..., subprocess.CompletedProcess[str]],
    videos: Path,
    tmp_path: Path,
    name: str,
    status: int,
    said: str,
) -> None:
    done = vrmatte(*job(videos, tmp_path / "out", "--format", name))
    words = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode, said in words) == (status, True), words
    assert "Traceback" not in words


def test_the_gates_make_it_and_the_doctor_reports_what_is_broken(
    packages: Path, tmp_path: Path
) -> None:
    clip = make_clips(tmp_path, ("h264",))["h264"]
    software = EncodingSettings(encoder="software")
    with installed(packages):
        trial = FormatTrial(str(clip), "ribbon", software, str(tmp_path / "made"), 6)
        tried = try_format(trial, torch.device("cpu"))
        assert (tried.outcome, tried.said) == ("works", "")
        assert tried.figures["frames"] == tried.figures["decoded"] == 6
        assert tried.figures["alpha_error"] < 0.02
        found: dict[str, Any] = {finding.name: finding for finding in plugin_findings()}
        levels = {name: finding.level for name, finding in found.items()}
        assert levels == {"format hollow": "ok", "format ribbon": "ok", "format shards": "warning"}
        assert "ModuleNotFoundError" in found["format shards"].said
        assert is_output_name("talk_LR_180_ribbon.webm")
    assert not is_output_name("talk_LR_180_ribbon.webm")
