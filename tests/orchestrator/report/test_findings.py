"""Findings as the report shows them: flags and figures that it knows, and notes of all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest

import orchestrator.report.findings
from orchestrator.fleet.jobs import VideoJob
from orchestrator.report.findings import (
    FindingsReader,
    VideoFindings,
    in_words,
    read_findings,
    timed,
)
from pipeline.contract import Finding
from pipeline.judge.findings import Judged, MatteFlag
from pipeline.stages.stereo.findings import StereoSummary, as_findings
from tests.orchestrator.worlds import make_job

RATE = Fraction(30)
JOB = make_job("a", segments=10, frames=600)


def test_times_are_those_of_the_source() -> None:
    flag = timed(MatteFlag("empty", 30, 59, None, 1.0), Fraction(30000, 1001))
    assert (flag.start_s, flag.end_s) == (1.001, 2.002)


def test_the_line_names_the_worst_by_time() -> None:
    flags = [
        timed(MatteFlag("empty", 360, 360, None, 1.0), RATE),
        timed(MatteFlag("touches_edge", 600, 639, 1, 0.5, "left"), RATE),
        timed(MatteFlag("eyes_disagree", 1200, 1299, None, 0.5), RATE),
    ]
    assert in_words(flags) == (
        "0:12 matte empty, 0:20 subject cut off at the left edge, 0:40-0:43 eyes disagree"
    )
    assert in_words(flags, 7).endswith("eyes disagree and 7 more")
    crowd = [timed(MatteFlag("jump", 30 * n, 30 * n, 0, 0.3), RATE) for n in range(9)]
    assert in_words([*crowd, *flags]).endswith(" and 8 more")
    assert "0:12 matte empty" in in_words([*crowd, *flags])


def test_segments_together_have_their_mended_frames_and_the_middle_distance() -> None:
    findings: list[Finding] = []
    for segment, depth in enumerate((None, 2.0, 0.5, 9.0)):
        first = 600 * segment
        mended = (first, first + 1, first + 7)
        findings += as_findings(StereoSummary(600, mended, 0.99, depth), first, first + 600)
    found = read_findings(JOB, findings)
    assert found == VideoFindings(mended_frames=12, subject_depth_m=2.0), "and nothing else"


def test_frames_that_follow_each_other_are_one_finding() -> None:
    found = as_findings(StereoSummary(10, (3, 4, 5, 8), None, None), 0, 10)
    assert found == (Finding("stereo", "mended", 3, 5), Finding("stereo", "mended", 8, 8))


def test_findings_that_nothing_here_knows_are_notes_of_one_line_a_kind() -> None:
    findings = [
        *(Finding("denoise", "ghost", 60 * n, 60 * n + 9) for n in range(6)),
        Finding("upscale", "tiled", 1200, 1499, values=(4.0,), detail="left"),
        Finding("judge", "blurred", 30, 30),
        *Judged([MatteFlag("empty", 90, 95, None, 1.0)]).findings(0, 600),
    ]
    found = read_findings(JOB, findings)
    assert found.notes == (
        "denoise: ghost at 0:00, 0:02, 0:04, 0:06 and 2 more",
        "upscale: tiled at 0:40-0:50 (left)",
        "judge: blurred at 0:01",
    )
    assert [flag.kind for flag in found.flags] == ["empty"]


def test_a_video_is_read_again_only_when_it_has_new_findings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    def counted(job: VideoJob, findings: Sequence[Finding]) -> VideoFindings:
        read.append(job.id)
        return read_findings(job, findings)

    monkeypatch.setattr(orchestrator.report.findings, "read_findings", counted)
    reader = FindingsReader()
    one = (Finding("stereo", "mended", 1, 2),)
    other = replace(JOB, id="b")
    assert reader(JOB, one) == reader(JOB, one) == reader(other, one)
    assert reader(JOB, (*one, *one)).mended_frames == 4
    assert read == ["a", "b", "a"]
