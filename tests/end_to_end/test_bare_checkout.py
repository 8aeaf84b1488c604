"""Every process of ours starts from a checkout that is not installed, in a hostile folder.

The checkout is a copy, run by a Python that knows the libraries but not our packages. Commands are
typed in a folder whose ``json.py`` and others are traps. A person's PYTHONPATH holds another
package named ``pipeline``, and a ``sitecustomize.py`` by which each new Python bears witness.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clips import X264, ClipSpec

ROOT = Path(__file__).resolve().parents[2]
TRAPS = ("json", "multiprocessing", "subprocess", "av", "numpy", "torch", "pydantic", "pipeline")
CLIP = ClipSpec("bare_LR_180.mp4", X264, num_frames=20)

WITNESS = """
import importlib.util, json, os, sys
words = sys.orig_argv
module = words[words.index("-m") + 1] if "-m" in words else ""
found = importlib.util.find_spec("pipeline") if module else None
with open(os.environ["WITNESS"], "a") as file:
    file.write(json.dumps([module, found.origin if found else None]) + "\\n")
"""

#: Starts our packages from the checkout without telling children where it is.
BEGIN = "import sys; sys.path.insert(0, {checkout!r}); from pathlib import Path\n"

DEVICE_TRIAL = """
from pipeline.contract.nvenc_ways import nvenc_way
from pipeline.encode.nvenc_trial import Asked, NvencTrials
print(NvencTrials([""])(nvenc_way("gpu"), Asked(("-c:v", "h264_nvenc"), 640, 320)))
"""

DOCTOR = """
from orchestrator.doctor.trial_process import TrialProcess
from orchestrator.doctor.trials import DiskTrial
trials = TrialProcess("cpu")
print(trials.run(DiskTrial(".", 1 << 20), 60).outcome)
trials.close()
"""

OWN_COMMAND = """
from orchestrator.child_module import run_module
run_module("orchestrator.cli", ["--version"])
print("works")
"""

#: Probe, workers, the encoder of WebM, the page's keeper, and its pictures.
WHOLE_RUN = """
from orchestrator.gates.real_run import RunAsked, real_run
end = real_run(RunAsked(Path({videos!r}), Path({out!r}), "none"))
print("works" if end.status == 0 else end)
"""


@dataclass(frozen=True, slots=True)
class Bare:
    """A checkout that is not installed.

    Attributes:
        python: knows the libraries only.
    """

    checkout: Path
    python: Path
    hostile: Path
    theirs: Path

    def run(self, program: str, tmp_path: Path) -> tuple[str, dict[str, str | None]]:
        """The last line that `program` prints; the modules of ours that began in a process of
        their own, each with the file of its package `pipeline`."""
        witness = tmp_path / "witness"
        done = subprocess.run(
            [self.python, "-P", "-c", BEGIN.format(checkout=str(self.checkout)) + program],
            cwd=self.hostile,
            env=os.environ | {"PYTHONPATH": str(self.theirs), "WITNESS": str(witness)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = map(json.loads, witness.read_text().splitlines())
        return done.stdout.splitlines()[-1], {module: found for module, found in lines if module}

    @property
    def package(self) -> str:
        return str(self.checkout / "pipeline" / "__init__.py")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    folder = tmp_path_factory.mktemp("bare")
    place = Bare(*(folder / name for name in ("checkout", "venv/bin/python", "hostile", "theirs")))
    for package in ("pipeline", "workers", "orchestrator"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, place.checkout / package, ignore=ignored)
    venv.create(folder / "venv", symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder / "venv")})
    # Of site-packages that are only named there the .pth files are not read: ours is one of them.
    Path(paths["purelib"], "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    place.hostile.mkdir()
    for trap in TRAPS:
        (place.hostile / f"{trap}.py").write_text("raise SystemExit('the trap has closed')")
    (place.theirs / "pipeline").mkdir(parents=True)
    (place.theirs / "pipeline/__init__.py").write_text("raise SystemExit('not ours')")
    (place.theirs / "sitecustomize.py").write_text(WITNESS)
    return place


def test_that_python_does_not_know_our_packages(bare: Bare) -> None:
    command: list[str | Path] = [bare.python, "-P", "-c", "import torch, pipeline"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "No module named 'pipeline'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "module"),
    [
        (DEVICE_TRIAL, "pipeline.deliverables.device_trial"),
        (DOCTOR, "orchestrator.doctor.trial_child"),
        (OWN_COMMAND, "orchestrator.cli"),
    ],
)
def test_a_module_of_ours_starts(program: str, module: str, bare: Bare, tmp_path: Path) -> None:
    said, began = bare.run(program, tmp_path)
    assert began == {module: bare.package}
    # Without a GPU the trial of NVENC says that it cannot encode; it must have come so far.
    works = "TorchCodec" in said if program == DEVICE_TRIAL else said == "works"
    assert works or said == "None", said


@pytest.mark.slow
def test_a_whole_run_starts(bare: Bare, clip: Callable[[ClipSpec], Path], tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    shutil.copy(clip(CLIP), videos / CLIP.name)
    said, began = bare.run(WHOLE_RUN.format(videos=str(videos), out=str(out)), tmp_path)
    assert said == "works"
    assert began == dict.fromkeys(
        (
            "orchestrator.cli",
            "pipeline.source.probe_server",
            "pipeline.encode.vp9_alpha",
            "orchestrator.report.keeper",
            "orchestrator.report.stills.draw",
        ),
        bare.package,
    )
    assert "data:image/webp" in (out / "report.html").read_text()
