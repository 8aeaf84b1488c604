"""`vrmatte preview --compare`: models side by side, each of which fails alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import orchestrator.preview.preview as module
from orchestrator.cli import main
from orchestrator.preview.column import Column, ColumnRequest, make_column
from orchestrator.preview.drawn import write_sheet
from orchestrator.preview.preview import preview
from orchestrator.preview.request import Preview, PreviewRequest, Verdict
from orchestrator.settings.settings import load_settings
from pipeline.contact_sheet.edge import Place
from pipeline.contact_sheet.ruler import BESIDE
from pipeline.contact_sheet.sheet import GAP
from pipeline.contract import MattingSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.judge.doubt import Doubt
from tests.clips import X264, ClipSpec, read_eye, read_number
from tests.runs import probe_here

CLIP = ClipSpec("tiny_LR_180.mp4", X264)
WIDTH = 192


@dataclass
class Bench:
    """Previews in this process.

    Attributes:
        broken: models that fail on the video.
        gone: models that cannot be had.
        like_chroma: models that do what `chroma` does.
        blind: the same, but they find nobody.
        asked: the models in the order in which they worked, with the places they were given.
        steps: what was told.
    """

    video: Path
    sheet: Path
    broken: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    like_chroma: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    asked: list[tuple[str, Place | None]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def compare(self, *models: str, at: tuple[str, ...] = ("0", "0.1")) -> Preview:
        settings = load_settings(None, {"workers": {"gpus": "none"}})
        request = PreviewRequest(self.video, settings, self.sheet, at, WIDTH, models)
        return preview(
            request,
            self._fetch,
            gpus=lambda: [],
            on_step=self.steps.append,
            make_column=self._make_column,
        )

    def _fetch(self, matting: MattingSettings) -> None:
        if matting.model in self.gone:
            raise MachineError("no weights are to be had", "plug in the network")

    def _make_column(self, request: ColumnRequest) -> Column:
        model = request.job.settings.matting.model
        self.asked.append((model, request.place))
        if model in self.broken:
            raise MachineError("it fell over")
        if model not in self.like_chroma + self.blind:
            return make_column(request)
        settings = request.job.settings
        matting = replace(settings.matting, model="chroma")
        job = replace(request.job, settings=replace(settings, matting=matting))
        column = make_column(replace(request, job=job))
        return _without_cut(request, column) if model in self.blind else column

    def columns(self) -> list[NDArray[np.uint8]]:
        """The columns of the sheet, from left to right."""
        with Image.open(self.sheet) as picture:
            whole = np.asarray(picture)
        lefts = range(BESIDE + GAP, whole.shape[1] - GAP, WIDTH + GAP)
        return [whole[:, left : left + WIDTH] for left in lefts]


def _without_cut(request: ColumnRequest, column: Column) -> Column:
    path, cut = Path(request.cells), f"{len(request.frames)}-"
    with np.load(path) as cells:
        kept = {name: cells[name] for name in cells if not name.startswith(cut)}
    np.savez(path, **kept)
    return replace(column, place=None)


@pytest.fixture
def bench(
    clip: Callable[[ClipSpec], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    monkeypatch.setattr(module, "probe_video", probe_here)
    return Bench(clip(CLIP), tmp_path / "sheet.png")


def test_a_model_that_fails_or_cannot_be_had_costs_no_other_column(bench: Bench) -> None:
    bench.broken, bench.gone = ("plate",), ("rvm",)
    made = bench.compare("chroma", "rvm", "plate")
    assert [list(verdict.lines()) for verdict in made.verdicts] == [
        ["chroma: no doubt found"],
        ["rvm: not shown: no weights are to be had (plug in the network)"],
        ["plate: not shown: it fell over"],
    ]
    assert not made.is_doubtful
    assert made.frames == (0, 3)
    source, chroma, rvm, plate = bench.columns()
    assert {len(np.unique(column)) > 1 for column in (rvm, plate)} == {True}  # the reasons
    bench.sheet.unlink()
    bench.compare("chroma")
    alone = bench.columns()
    # What stands above differs by the length of the headings.
    height = alone[0].shape[0] - 60
    assert np.array_equal(source[-height:], alone[0][-height:])
    assert np.array_equal(chroma[-height:], alone[1][-height:])


def test_all_models_are_cut_at_the_place_of_the_first_that_found_somebody(bench: Bench) -> None:
    bench.gone, bench.blind, bench.like_chroma = ("sam2",), ("depth",), ("plate",)
    bench.compare("sam2", "depth", "chroma", "plate")
    place = Place(0, 0, 0, 192, 96)  # all of this eye
    assert bench.asked == [("depth", None), ("chroma", None), ("plate", place)]
    assert bench.steps[-2:] == [
        "looking for the model plate (4 of 4)",
        "matting 2 frames with plate (4 of 4)",
    ]
    source, _, depth, chroma, plate = (column[-GAP - 96 : -GAP] for column in bench.columns())
    assert read_number(source) == 0
    assert read_eye(source) == 0
    assert read_number(chroma) == 0
    assert np.array_equal(chroma, plate)
    assert (depth[30:] == depth[-1, -1]).all()  # words above, and no picture


def test_all_that_fail_are_one_error_that_names_each(bench: Bench) -> None:
    bench.broken, bench.gone = ("chroma",), ("rvm",)
    with pytest.raises(MachineError) as raised:
        bench.compare("rvm", "chroma")
    assert str(raised.value) == (
        "no model can be shown: rvm: no weights are to be had (plug in the network);"
        " chroma: it fell over"
    )
    assert not bench.sheet.exists()


def test_a_wrong_time_ends_the_comparison(bench: Bench) -> None:
    with pytest.raises(SettingsError, match="after the end"):
        bench.compare("chroma", at=("1:00:00",))
    assert bench.asked == []


def test_a_comparison_is_doubtful_where_each_model_is() -> None:
    doubt = Doubt("sky", "it is sky", "try rvm")
    sky, gone = Verdict("depth", (doubt,)), Verdict("rvm", lacking="it is gone")
    assert list(sky.lines()) == ["depth: sky: it is sky (try rvm)"]
    assert Preview((0,), (sky, gone)).is_doubtful
    assert not Preview((0,), (sky, gone, Verdict("chroma"))).is_doubtful


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "a.jpg"])
def test_a_sheet_that_cannot_be_written_is_one_error(name: str, tmp_path: Path) -> None:
    with pytest.raises((MachineError, SettingsError), match=r"cannot write|more than a JPEG holds"):
        write_sheet(Image.new("L", (1, 65501)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--compare", "rvm,rmv"], "error: --compare: there is no model named 'rmv'"),
        (["--compare", "rvm,depth,rvm"], "error: --compare names rvm twice"),
        (["--compare", "rvm,auto"], "error: --compare: auto is no model"),
        (["--compare", ","], "error: --compare names no model"),
        (["--compare", "rvm", "--model", "depth"], "error: --compare and --model are both given"),
        (["--compare", "rvm", "--prompts", "x"], "none of the models rvm follows prompts"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["preview", "no.mp4", *words])
    assert done.exit_code == 2
    assert told in done.output
    assert len(done.output.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []
