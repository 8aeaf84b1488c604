"""Estimates the sizes of a video's outputs, from a trial's pictures or else by a guess.

A trial is short, and begins with a keyframe, which is many times larger than the frames after it;
the two are told apart, and multiplied by how many there will be of each.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.estimate.trial import CodedBytes, Stages
from orchestrator.fleet.jobs import VideoJob
from orchestrator.out.room import output_bytes
from pipeline.deliverables.format import of_object, parted
from pipeline.deliverables.formats import FORMATS
from pipeline.deliverables.sound.plan import plan_sound
from pipeline.encode.keyframes import count_keyframes, keyframe_interval


@dataclass(frozen=True, slots=True)
class Size:
    """What one video will take, in bytes.

    Attributes:
        pictures: of all formats; as much lies under ``work/`` until they are joined.
        sound: what joining adds.
        by_trial: whether the pictures' part was found out by a trial.
    """

    pictures: int
    sound: int
    by_trial: bool

    @property
    def output(self) -> int:
        return self.pictures + self.sound


def foretold(job: VideoJob, stages: Stages | None) -> Size:
    """How large the outputs of a video will be.

    Args:
        stages: of a trial of it, or of one like it; None where there was none.
    """
    sound = sum(sound_bytes(job, name) for name in job.settings.deliverables)
    coded = {} if stages is None else {each.format: each for each in stages.coded}
    names = [_tried_as(name) for name in job.settings.deliverables]
    if all(name in coded for name in names):
        pictures = sum(picture_bytes(job, coded[name]) for name in names)
        return Size(pictures, sound, by_trial=True)
    settings = job.settings
    guess = output_bytes(job.shown, job.num_frames, settings.deliverables, settings.encoding)
    return Size(guess, sound, by_trial=False)


def _tried_as(name: str) -> str:
    """The format of a trial that tells the size of a format.

    A trial has no prompts: object 1 is all of the subject there, and the others are nowhere.
    """
    whole, number = parted(name)
    return name if number is None else of_object(whole, 1)


def picture_bytes(job: VideoJob, coded: CodedBytes) -> int:
    """What the pictures of one format will take, if they are like those of a trial."""
    interval = keyframe_interval(job.info, job.settings)
    keyframes = sum(count_keyframes(stop - start, interval) for start, stop in job.segments)
    one = (coded.keyframe_bytes + coded.other_bytes) / (coded.keyframes + coded.others)
    keyframe = coded.keyframe_bytes / coded.keyframes if coded.keyframes else one
    other = coded.other_bytes / coded.others if coded.others else one
    return round(keyframes * keyframe + (job.num_frames - keyframes) * other)


def sound_bytes(job: VideoJob, name: str) -> int:
    """What the sound of one format will take; a track that is copied counts as if it were not."""
    form = FORMATS[name].sound
    if form is None:
        return 0
    plan = plan_sound(job.info, job.settings, job.num_frames, form)
    channels = sum(track.channels for track in plan.tracks)
    seconds = float(job.num_frames / job.info.frame_rate)
    return round(seconds * channels * form.kbps_per_channel(job.settings.encoding) * 125)
