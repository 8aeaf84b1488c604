"""A finished OUT as a run leaves it, small, for the last gate to look at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from orchestrator.fleet.journal_entries import SegmentCommitted, VideoDone, VideoSetAside
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from orchestrator.plan.kept_probes import write_info
from pipeline.contract import PIXEL_VERSION, AudioTrack, OutputFile, SegmentResult
from pipeline.errors import ErrorRecord
from pipeline.judge.findings import Judged
from pipeline.judge.sums import MatteSums
from tests.orchestrator.snapshots import video_info

SETTINGS = "5e77" * 4
SEGMENT_BYTES = 1000


def finished_out(
    path: Path,
    videos: int = 4,
    *,
    failed: Sequence[int] = (),
    empty: Sequence[int] = (),
    scratch_gb: float = 10.0,
) -> OutFolder:
    """Two segments a video, one after the other; those in `failed` were set aside.

    Each source had one track of sound. The mattes of those in `empty` hold nothing.
    """
    sound = AudioTrack(1, "aac", 2, 48_000, 0.0, 3.0)
    out = OutFolder(path)
    out.create()
    names = [f"talk{number:02}.mp4" for number in range(videos)]
    with closing(Journal.open(out.journal)) as journal:
        for number, name in enumerate(names):
            video = _id(number)
            info = replace(video_info(Path(__file__), 100), path=f"/in/{name}", audio=(sound,))
            write_info(out.state / f"probed/{video}-v{PIXEL_VERSION}.json", info)
            if number in failed:
                error = ErrorRecord("decode", "is damaged", "try to remux it")
                journal.append(VideoSetAside(video, SETTINGS, error))
                continue
            for segment in (0, 1):
                start = 50 * segment
                judged = Judged(sums=MatteSums(frames=50, empty=50 if number in empty else 0))
                findings = judged.findings(start, start + 50)
                result = SegmentResult((f"webm-{segment}.webm",), 50, findings=findings)
                journal.append(
                    SegmentCommitted(
                        video, SETTINGS, segment, start, start + 50, result, (SEGMENT_BYTES,)
                    )
                )
            output = _output(path, name)
            output.write_bytes(bytes(100 + number))
            published = OutputFile("webm", str(output), 100 + number, 100)
            journal.append(VideoDone(video, SETTINGS, (published,)))
    out.write_run_file(
        {
            "fingerprint": SETTINGS,
            "started": "2026-11-21T20:00:00+00:00",
            "settings": {
                "limits": {"scratch_gb": scratch_gb},
                "matting": {"model": "rvm"},
            },
            "videos": [
                {
                    "id": _id(number),
                    "name": name,
                    "settings": SETTINGS,
                    "frames": 100,
                    "segments": [[0, 50], [50, 100]],
                    "outputs": [str(_output(path, name))],
                }
                for number, name in enumerate(names)
            ],
            "set_aside": [],
        }
    )
    return out


def _id(number: int) -> str:
    return f"{number:016x}"


def _output(out: Path, name: str) -> Path:
    return out / f"{Path(name).stem}_LR_180_matte.webm"
