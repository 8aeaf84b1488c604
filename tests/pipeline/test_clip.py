"""What a stage prepares of a video: once for all lanes of a worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch

from pipeline.clip import prepared_data
from pipeline.contract import SegmentJob, VideoSettings
from pipeline.errors import InputError
from pipeline.stages.base import Prepared, Stage
from tests.orchestrator.worlds import make_job

LANES = 4


class Preparing(Stage):
    """A stage that counts how often it was asked; the first `failures` times it fails."""

    name = "counting"

    def __init__(self, failures: int = 0) -> None:
        self.asked = 0
        self._failures = failures

    def prepare(self, clip: Any) -> Prepared:
        self.asked += 1
        if self.asked <= self._failures:
            raise InputError("no screen found")
        return {"number": torch.tensor(self.asked)}


def ask(stage: Preparing, folder: Path) -> list[Prepared | BaseException | None]:
    """What each of some lanes gets that begin at once, or what it raised."""
    together = Barrier(LANES)
    job = SegmentJob(make_job().info, VideoSettings(), 0, 0, 10, "", str(folder))

    def lane(number: int) -> Prepared:
        together.wait(30)
        job_of_lane = replace(job, number=number)
        return prepared_data(job_of_lane, [stage], None)[stage.name]  # type: ignore[arg-type]

    with ThreadPoolExecutor(LANES) as pool:
        asked = [pool.submit(lane, number) for number in range(LANES)]
        return [each.exception() or each.result() for each in asked]


@pytest.mark.parametrize("failures", [0, 1])
def test_lanes_prepare_a_video_once_and_where_one_fails_the_next_tries(
    failures: int, tmp_path: Path
) -> None:
    model = Preparing(failures)
    got = ask(model, tmp_path)
    assert model.asked == failures + 1
    assert sum(isinstance(each, InputError) for each in got) == failures
    made = [each for each in got if isinstance(each, dict)]
    assert [int(each["number"]) for each in made] == [model.asked] * (LANES - failures)
    assert [path.name for path in tmp_path.iterdir()] == ["prepared-counting.pt"]
