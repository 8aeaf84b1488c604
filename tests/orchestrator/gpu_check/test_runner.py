"""A step that hangs, crashes or raises is one line, fails the check and costs itself alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pydantic import TypeAdapter

from orchestrator.gpu_check.__main__ import check
from orchestrator.gpu_check.catalogue import STEPS, TOTAL_S, Step, chosen, two_cards
from orchestrator.gpu_check.child import run
from orchestrator.gpu_check.results import Check, Result, StepRecord, line, passed
from orchestrator.gpu_check.runner import concluded, run_step
from orchestrator.gpu_check.site import Site
from pipeline.contract.nvenc_ways import named
from tests.orchestrator.gpu_check import step_doubles
from tests.orchestrator.gpu_check.step_doubles import ADA, step

#: How a step's process ends, and the line of it.
ENDS = {
    "raises": "FAILED  raises: the step: expected no error; found ValueError: a line",
    "crashes": "FAILED  crashes: the step: expected no error; found its process failed (killed by"
    " SIGKILL): double free or corruption",
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(ADA, tmp_path, rehearsal=True)


@pytest.mark.parametrize("name", ENDS)
def test_a_step_that_goes_wrong_is_told_in_one_line(name: str, site: Site) -> None:
    before, end = run_step(step(name), site).results
    assert (before.what, before.outcome) == ("first", "ok")
    assert line(name, end) == ENDS[name]
    if name == "raises":  # where it happened is in the log and in the file
        assert "Traceback" in end.said
        assert "Traceback" in (site.folder / "steps/raises.log").read_text()


def test_results_are_judged_by_what_was_written_down(site: Site) -> None:
    path = site.folder / "results.jsonl"
    assert [result.found for result in concluded(path, None)] == [
        "its process ended before its last result"
    ]
    run(step_doubles.silent, site, path)
    assert [result.found for result in concluded(path, None)] == ["it gave none"]
    run(step_doubles.wrong, site, path)
    assert [result.outcome for result in concluded(path, None)] == ["ok", "FAILED"]
    whole = path.read_text()
    for length in range(len(whole) - 1):  # ended anywhere
        path.write_text(whole[:length])
        assert concluded(path, None)[-1].outcome == "FAILED"
        assert len(concluded(path, None)) <= 3


def test_what_hangs_is_ended_with_all_that_it_started(site: Site) -> None:
    record = run_step(step("hangs", limit_s=5), site)
    assert [result.outcome for result in record.results] == ["ok", "FAILED"]
    said = "it was ended after 5 s, with all that it had started"
    assert record.results[-1].found == said
    assert record.wall_s < 20
    orphan = int((site.folder / "orphan").read_text())
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie"


def test_the_others_run_after_one_that_failed_and_the_file_is_whole(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = step("crashes"), step("right")
    assert check(steps, site, run_step) == 1
    out = capsys.readouterr().out
    assert "2 ok, 1 FAILED, 0 absent" in out
    found = json.loads((site.folder / "check.json").read_text(), parse_constant=pytest.fail)
    assert (found["complete"], found["right"], found["rehearsal"]) == (True, False, True)
    assert (found["card"], found["driver"]) == (ADA.card, ADA.driver)
    assert found["at"].startswith("20")
    assert [each["name"] for each in found["steps"]] == ["crashes", "right"]
    assert found["steps"][1]["results"][0]["figures"] == {"frames": 3.0}
    made = TypeAdapter(Check).validate_python(found)
    assert [line("x", r).splitlines() for s in made.steps for r in s.results]


@pytest.mark.parametrize("failing", STEPS, ids=lambda step: step.name)
def test_whichever_step_fails_the_status_is_1(failing: Step, site: Site) -> None:
    def run_one(step: Step, site: Site) -> StepRecord:
        result = passed("it", "1", "1", step is not failing)
        return StepRecord(step.name, step.limit_s, 0.0, (result,))

    other = STEPS[STEPS.index(failing) - 1]
    assert check((other, failing), site, run_one) == 1
    assert check((other,), site, run_one) == 0


def test_a_check_that_is_stopped_leaves_what_was_found_and_says_that_it_is_not_whole(
    site: Site,
) -> None:
    def run_one(step: Step, site: Site) -> StepRecord:
        if step.name == "nvdec":
            raise KeyboardInterrupt
        return StepRecord(step.name, step.limit_s, 0.0, (passed("it", "1", "1"),))

    with pytest.raises(KeyboardInterrupt):
        check(STEPS, site, run_one)
    found = json.loads((site.folder / "check.json").read_text())
    assert (found["complete"], found["right"]) == (False, False)
    assert [each["name"] for each in found["steps"]] == ["machine", "nvenc"]


def test_what_the_machine_need_not_have_is_absent_and_no_failure(site: Site) -> None:
    lacking = replace(step("raises"), needs=two_cards)
    record = run_step(lacking, site)
    said = Result("the step", "nothing", "there is 1 GPU here", "absent")
    assert record.results == (said,)
    assert check((lacking,), site, run_step) == 0


def test_the_steps_that_run_by_themselves_fit_into_fifteen_minutes() -> None:
    assert sum(each.limit_s for each in chosen(())) <= TOTAL_S == 15 * 60


def test_every_row_names_a_function_and_has_a_name_of_its_own() -> None:
    assert len({each.name for each in STEPS}) == len(STEPS)
    assert all(callable(named(each.run)) for each in STEPS)
    assert [each.name for each in chosen(("gates", "nvenc"))] == ["nvenc", "gates"]
    with pytest.raises(KeyError):
        chosen(("nvenc", "nothing"))
