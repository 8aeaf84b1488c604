"""What the formats of a video give up of its sound, as far as its plan shows."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.fleet.jobs import VideoJob
from pipeline.deliverables.format import parted
from pipeline.deliverables.formats import FORMATS
from pipeline.deliverables.sound.plan import plan_sound


def sound_notes(job: VideoJob) -> Iterator[str]:
    """One line each; it names the formats where others of the video give up less."""
    names = dict.fromkeys(parted(name)[0] for name in job.settings.deliverables)
    forms = {name: FORMATS[name].sound for name in names}
    heard = [name for name, form in forms.items() if form is not None]
    formats_of: dict[str, list[str]] = {}
    for name in heard:
        for note in plan_sound(job.info, job.settings, job.num_frames, forms[name]).notes:
            formats_of.setdefault(note, []).append(name)
    for note, losing in formats_of.items():
        yield note if losing == heard else f"{', '.join(losing)}: {note}"
