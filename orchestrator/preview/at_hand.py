"""A video that was probed, of which models make columns of a sheet, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.machine.devices import usable_cores, usable_memory
from orchestrator.machine.segment_memory import segment_bytes, share
from orchestrator.plan.keep_out_for import with_keep_out
from orchestrator.plan.prompts_for import on_frames_taken, prompts_for
from orchestrator.preview.column import CellsFile, Column, ColumnRequest
from orchestrator.preview.request import PreviewRequest, Verdict
from orchestrator.settings.settings import Settings, video_settings
from orchestrator.words import counted
from pipeline.contact_sheet.edge import Place
from pipeline.contract import MattingSettings, SegmentJob, VideoInfo, VideoSettings
from pipeline.deliverables.kept import with_fields
from pipeline.judge.doubt import doubts_of
from pipeline.prompts.prompts import Prompts
from pipeline.prompts.store import digest_of, keep_prompts, pack


@dataclass(frozen=True, slots=True)
class Ready:
    """A model that can be shown.

    Attributes:
        info: the video with the frames that are taken.
        prompts: of these frames, or None.
        work_dir: what the model prepares of the video is left there, so it has its own.
    """

    settings: VideoSettings
    matting: MattingSettings
    info: VideoInfo
    prompts: Prompts | None
    work_dir: Path

    @property
    def model(self) -> str:
        return self.matting.model


@dataclass(frozen=True, slots=True)
class ShownModel:
    """A model that was shown."""

    ready: Ready
    column: Column
    cells: CellsFile

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.ready.model, doubts_of(self.column.findings, self.ready.model))


@dataclass(frozen=True, slots=True)
class VideoAtHand:
    """The video, and what models need to show it.

    Attributes:
        info: of the whole video.
        index_path: its frame index.
        folder: for all that lasts as long as the preview.
        device: a GPU's number, or ``"cpu"``.
        make_column: `orchestrator.preview.column.column_by_child`, or a double.
        on_step: told what is done, in words.
    """

    request: PreviewRequest
    info: VideoInfo
    index_path: Path
    folder: Path
    device: int | str
    fetch_model: Callable[[MattingSettings], object]
    make_column: Callable[[ColumnRequest], Column]
    on_step: Callable[[str], None]

    def ready(self, settings: Settings) -> Ready:
        """A model's settings, which are settled, made ready for its frames.

        Raises:
            SettingsError: its prompts are wrong, or do not fit the video.
            DiskError: they cannot be kept.
        """
        source = self.request.video
        prompts = prompts_for(settings.matting, source, self.info, self.index_path)
        chosen = replace(video_settings(settings), start_frame=0)  # any frame may be asked for
        chosen, _ = with_keep_out(chosen, source, self.info)
        info = with_fields(self.info.every_nth(chosen.every), chosen)
        work_dir = Path(tempfile.mkdtemp(dir=self.folder))
        if prompts is not None:
            prompts = on_frames_taken(prompts, info)
            packed = pack(prompts)
            keep_prompts(work_dir, packed)
            chosen = replace(chosen, prompts_sha256=digest_of(packed))
        return Ready(chosen, settings.matting, info, prompts, work_dir)

    def show(
        self,
        ready: Ready,
        frames: tuple[int, ...],
        prompts: Prompts | None,
        place: Place | None = None,
        turn: str = "",
    ) -> ShownModel:
        """Matte the frames with one model.

        Args:
            prompts: are drawn on the source.
            place: of the cut at 1:1; None: it is chosen by these mattes.
            turn: which model it is of how many, in words.

        Raises:
            VrmatteError: the model cannot be had, or fails.
        """
        self.on_step(f"looking for the model {ready.model}{turn}")
        self.fetch_model(ready.matting)
        self.on_step(f"matting {counted(len(frames), 'frame')} with {ready.model}{turn}")
        info, on_cpu = ready.info, self.device == "cpu"
        places = str(self.index_path), str(ready.work_dir)
        cells = CellsFile(ready.work_dir / "cells.npz")
        request = ColumnRequest(
            SegmentJob(info, ready.settings, 0, 0, info.num_frames, *places),
            frames,
            prompts,
            self.request.width,
            "cpu" if on_cpu else f"cuda:{self.device}",
            _at_once(info, ready.settings, len(frames)) if on_cpu else 1,
            place,
            str(cells.path),
        )
        return ShownModel(ready, self.make_column(request), cells)


def _at_once(info: VideoInfo, settings: VideoSettings, frames: int) -> int:
    """How many frames the cores and the memory of this machine allow at a time."""
    room = share(1, usable_memory(), None, None, None).ram_for_segments or 0
    each, _ = segment_bytes(info, settings, 1, on_gpu=False)
    return max(1, min(frames, usable_cores(), room // each))
