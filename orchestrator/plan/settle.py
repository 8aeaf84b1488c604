"""Replace everything that settings leave open ("auto", null, a file's name) by values, in order.

Only this file does it, and it does nothing else. Devices are chosen before it, because engine and
encoder depend on them; layout and projection are answers of the probe. Lengths of segments and
chunks that are left open are functions of the video alone (`pipeline/contract/streaming.py`).

Each set of settings (`settle_settings`), before any video is read:

1. The files that are named become their digests. First, because everything below trusts them.
2. Prompts get whole paths and are read once, after models that follow none were refused: a mistake
   for all videos ends the command before hours of probing.
3. Where a model's code and weights are from, if several sources have them. It may ask the network.
4. The engine follows from the model and the kind of device, and so does the precision in which
   pictures are made larger.
5. What adaptive scaling needs is checked when all that contradicts it is known.
6. The quality becomes the encoders' numbers. It changes no other decision.
7. The chain of stages is checked: each stage, and each format, finds the layers that it needs.

Each video, after its probe:

8. Its range: times become frame numbers (`plan/part.py`), of which all that follows is a function.
9. Its model, where the settings leave that to the video (`plan/choose_model.py`).

Each video (`VideoSettler.settle`), with its range and its model:

10. How much its frames are calmed before they are made larger, by what they cost in its file.
11. The formats that can be made of it, and the encoder, by a trial with the size of its pictures; a
   video that no encoder takes is refused before costlier questions.
12. Chunks that fit into a memory limit, which depend on the encoders' memory.
13. The network's size. Last, because its trial runs with all of the above, and its record in OUT is
   named by their fingerprint.

The run (`settle_lanes`), after its plan: the lanes of each worker, by a trial of the video with
most work. Lanes never change a frame, so nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.estimate.choose_lanes import Lanes, choose_lanes
from orchestrator.estimate.network_scale import Measure, Scaler, require_scalable
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.devices import Devices, usable_cores
from orchestrator.machine.nvenc import most_lanes
from orchestrator.machine.segment_memory import Share, fitted
from orchestrator.plan.layers import require_layers
from orchestrator.plan.per_object import require_objects
from orchestrator.plan.prompts_for import require_follower, settled_prompts
from orchestrator.settings.file_digests import pin_files
from orchestrator.settings.settings import Settings, spelled_out, video_settings
from pipeline.contract import MattingSettings, VideoInfo, VideoSettings
from pipeline.deliverables.fit import possible_formats, why_software, with_encoder
from pipeline.encode.choice import software_words
from pipeline.encode.nvenc_trial import Nvenc
from pipeline.engines.choice import settled_engine
from pipeline.errors import InputError
from pipeline.stages.catalogue import output_video
from pipeline.stages.enhance.choice import settled_denoise, settled_enhancement
from pipeline.stages.matting.catalogue import AUTO, facts_of

#: Decides what is open in the options of models.
SettleModel = Callable[[MattingSettings], MattingSettings]


def settle_settings(
    settings: Settings,
    device_kind: str,
    digests: dict[str, str] | None = None,
    settle_model: SettleModel = lambda matting: matting,
) -> Settings:
    """Settings without overrides, with all decided that needs no video.

    Args:
        device_kind: ``"cpu"`` or ``"cuda"``, the kind that the workers have.
        digests: sha256 of files by name, used and added to, so that each file is read once.
        settle_model: `pipeline.stages.matting.fetch.settle_model`, or a double.

    Raises:
        SettingsError: a file cannot be read, or the settings contradict each other.
        MachineError: the engine that is asked for is not installed.
    """
    settings = pin_files(settings, digests)
    require_follower(settings.matting)
    matting = settle_model(settled_prompts(settings.matting))
    processing = settings.processing
    if matting.model != AUTO:
        processing = settled_engine(processing, facts_of(matting).engines, device_kind)
    require_scalable(settings)
    enhance = settled_enhancement(settings.enhance, device_kind)
    settings = settings.model_copy(
        update={"matting": matting, "processing": processing, "enhance": enhance}
    )
    settings = spelled_out(settings)
    require_layers(video_settings(settings))
    require_objects(video_settings(settings))
    return settings


@dataclass(frozen=True, slots=True)
class VideoSettler:
    """Decides what depends on the video.

    Attributes:
        nvenc: tells whether a way to NVENC works on the GPUs of the workers.
        limit: memory that the settings allow a worker.
        scaler: chooses the network's size.
    """

    nvenc: Nvenc
    limit: Share
    on_gpu: bool
    scaler: Scaler

    def fit(
        self, info: VideoInfo, settings: VideoSettings
    ) -> tuple[VideoSettings, Mapping[str, InputError]]:
        """See `possible_formats`."""
        shown = output_video(info, settings)
        return possible_formats(shown, settings, self.nvenc)

    def encoder_note(self, info: VideoInfo, settings: VideoSettings) -> str | None:
        """Why the CPU encodes a video of a run on GPUs; None where nothing is to be said.

        Args:
            settings: as `settle` was given them.
        """
        if not self.on_gpu:
            return None
        why = why_software(output_video(info, settings), settings, self.nvenc)
        if why is None:
            return None
        return f"{software_words(settings.encoding)} encodes on the CPU: {why}"

    def settle(self, info: VideoInfo, settings: VideoSettings, index_path: Path) -> VideoSettings:
        """The settings of one video, with nothing left open.

        Raises:
            InputError: no encoder takes this video.
            MachineError: the trial of the network failed.
            DiskError: the network's size cannot be recorded.
        """
        settings = replace(settings, enhance=settled_denoise(settings.enhance, info))
        shown = output_video(info, settings)
        settings = with_encoder(shown, settings, self.nvenc)
        settings = fitted(info, settings, self.limit, self.on_gpu)
        return self.scaler.scaled(info, settings, index_path)


def settle_lanes(
    settings: Settings,
    unfinished: Sequence[VideoJob],
    devices: Devices,
    measure: Measure,
    on_trial: Callable[[str], None],
) -> Lanes:
    """How many segments each worker has in flight.

    Args:
        measure: a trial of the stages on a worker's device.
        on_trial: told what is tried, in words.
    """
    return choose_lanes(
        settings.streaming.lanes,
        unfinished,
        len(devices.devices),
        usable_cores(),
        devices.on_gpu,
        measure,
        on_trial,
        most_lanes(devices, unfinished),
    )
