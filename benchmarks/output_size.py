"""How near what ``--dry-run`` says of the disk is to the truth, and what the guess alone would say.

    python benchmarks/output_size.py VIDEO... [-- OPTIONS OF vrmatte run]

For each video: foretold by ``vrmatte run --dry-run``, what was made by ``vrmatte run`` with the
same options, the two's ratio, and the same for the guess that is made where there was no trial. The
last columns are the pictures of each format alone, as bytes per pixel of the source, and as a share
of its size: what the guess's constants are made of.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.estimate.output_sizes import foretold, sound_bytes
from orchestrator.fleet.jobs import VideoJob
from orchestrator.out.folder import OutFolder
from pipeline.contract import EncodingSettings, VideoInfo, VideoSettings
from pipeline.source.probe import probe_video


def main(arguments: Sequence[str]) -> None:
    own, options = list(arguments), []
    if "--" in own:
        place = own.index("--")
        own, options = own[:place], own[place + 1 :]
    parser = argparse.ArgumentParser()
    parser.add_argument("videos", nargs="+", type=Path)
    videos = parser.parse_args(own).videos
    with tempfile.TemporaryDirectory(prefix="vrmatte-sizes-") as name:
        out, index = Path(name, "out"), Path(name, "index.json")
        command = [sys.executable, "-m", "orchestrator.cli", "run", *map(str, videos), "-o"]
        command += [str(out), *options, "--json"]
        *_, plan = said(subprocess.check_output([*command, "--dry-run"]))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report = json.loads((out / "report.json").read_text())
        record = OutFolder(out).read_run_file()
        made = {video["source"]: video for video in report["videos"]}
        for told in plan["videos"]:
            info = probe_video(Path(told["source"]), index)
            row(told, made[told["source"]]["outputs"], info, record["settings"])


def said(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def row(
    told: dict[str, Any], outputs: list[dict[str, Any]], info: VideoInfo, settings: dict[str, Any]
) -> None:
    encoding = EncodingSettings(quality=settings["encoding"]["quality"])
    formats = tuple(output["deliverable"] for output in outputs)
    frames = told["frames"]
    wanted = VideoSettings(deliverables=formats, encoding=encoding)
    job = VideoJob("", told["video"], info, wanted, (), ((0, frames),), "", "")
    true = sum(output["size_bytes"] for output in outputs)
    guess = foretold(job, None).output
    said_bytes = told["output_bytes"]
    parts = []
    for output in outputs:
        pictures = output["size_bytes"] - sound_bytes(job, output["deliverable"])
        per_pixel = pictures / (info.even_width * info.even_height * frames)
        share = pictures / (info.size_bytes * frames / info.num_frames)
        parts.append(f"{output['deliverable']} {per_pixel:.4f} {share:.2f}")
    print(
        f"{told['video']}: foretold {said_bytes} (by {told['output_bytes_by']}), true {true},"
        f" {said_bytes / true:.2f}; guess {guess}, {guess / true:.2f}; {', '.join(parts)}",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
