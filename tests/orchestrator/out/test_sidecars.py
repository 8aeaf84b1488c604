"""JSON files beside outputs: one for each that players can show, and none in another's place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from orchestrator.fleet.jobs import VideoJob
from orchestrator.out.output_names import output_name
from orchestrator.out.sidecars import sidecar_path, write_sidecars
from tests.orchestrator.worlds import make_job

FORMATS = ("webm", "greenscreen", "alphapack", "tiff")


def job_in(out: Path) -> VideoJob:
    job = make_job()
    info = replace(job.info, width=5760, height=2880)
    outputs = tuple(str(out / output_name("talk", name, info)) for name in FORMATS)
    settings = replace(job.settings, deliverables=FORMATS)
    return replace(job, info=info, settings=settings, outputs=outputs)


def test_every_output_that_is_played_has_one(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    assert write_sidecars([job]) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "talk_LR_180_matte.webm.json",
        "talk_LR_180_matte_green.mp4.json",
        "talk_matte_LR_180_FISHEYE_F180_alpha.mp4.json",
    ]
    packed = json.loads(sidecar_path(Path(job.outputs[2])).read_text())
    assert packed["screenType"] == packed["projection"] == "fisheye"
    assert packed["alphaPackedSettings"]
    source = packed["encodings"][0]["videoSources"][0]
    assert (source["width"], source["height"]) == (5760, 2880)
    assert source["url"] == Path(job.outputs[2]).name


def test_what_others_wrote_stays(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    ours, theirs, folder = (sidecar_path(Path(output)) for output in job.outputs[:3])
    write_sidecars([job])
    ours.write_text(json.dumps({"generator": "vrmatte", "title": "an older one"}))
    theirs.write_text('{"title": "mine"}')
    folder.unlink()
    folder.mkdir()
    assert write_sidecars([job]) == [theirs.name, folder.name]
    assert json.loads(ours.read_text())["title"] != "an older one"
    assert theirs.read_text() == '{"title": "mine"}'
