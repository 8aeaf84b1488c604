"""The names of output files: the source's name, the tags that players look for, and an ending.

``talk_3dh_180x180.mp4`` becomes ``talk_LR_180_matte.webm``: old tags are replaced, not doubled. A
person's template may put more in front of the tags; the ending is always the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from orchestrator.settings.name_template import DEFAULT_TEMPLATE, NameTemplate, name_template
from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.format import parted
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import InputError
from pipeline.vr_tags.in_names import tags_for

#: Bytes that a name grows by, at the most.
LONGEST_ENDING_BYTES = 48

#: Longest output name in bytes; file systems allow 255, and temporary names are longer.
LONGEST_NAME_BYTES = 220


@dataclass(frozen=True, slots=True)
class OutputNames:
    """The names that a template gives."""

    template: NameTemplate = field(default_factory=partial(name_template, DEFAULT_TEMPLATE))

    def of(
        self, stem: str, video: VideoInfo, settings: VideoSettings, objects: Sequence[str] = ()
    ) -> list[str]:
        """The file names of a video, in the order of its formats.

        Args:
            stem: the source's name without suffix and tags.
            video: as formats see it.
            objects: `objects[i]` is what object i+1 is called in the names of its own files.

        Raises:
            InputError: a format cannot hold that video; a name is too long, or that of two formats.
        """
        base = self.template.filled(stem, settings.matting.model)
        tagged = self.template.tagged
        names = []
        for each in settings.deliverables:
            number = parted(each)[1]
            own = base if number is None else f"{base}_{objects[number - 1]}"
            names.append(output_name(own, each, video, tagged=tagged))
        for name in names:
            if len(name.encode()) > LONGEST_NAME_BYTES:
                raise InputError(
                    f"the name of an output would have more than {LONGEST_NAME_BYTES} bytes:"
                    f" {name[:40]}...",
                    "shorten output.name (--name)",
                )
            if names.count(name) > 1:
                raise InputError(
                    f"two formats would make the file {name}", "add {tags} to output.name (--name)"
                )
        return names

    def notes(self, video: VideoInfo, settings: VideoSettings) -> Iterator[str]:
        """What a person should know of them, one line each."""
        if self.template.tagged:
            return
        for tags in dict.fromkeys(_tags(each, video) for each in settings.deliverables):
            if tags:
                yield (
                    f"its name has no {tags!r} (output.name is without {{tags}}): players that go"
                    " by names must be told by hand what it shows"
                )


def output_name(base: str, name: str, video: VideoInfo, *, tagged: bool = True) -> str:
    """The file name of one format.

    Args:
        base: what comes before the tags.
        name: of the format.
        tagged: with the tags that players look for.

    Raises:
        InputError: the format cannot hold that video.
    """
    row = FORMATS[name]
    tags = _tags(name, video)
    return base + row.before_tags + (tags if tagged else "") + row.ending


def _tags(name: str, video: VideoInfo) -> str:
    row = FORMATS[name]
    shown = row.picture(video)
    packed = row.alpha == "packed"
    return tags_for(shown.layout, shown.right_first, shown.projection, alpha=packed)


def is_output_name(name: str) -> bool:
    """Whether a file is named like an output; it is then not taken for a source."""
    return _output_names(tuple(FORMATS.names())).search(name) is not None


@cache
def _output_names(formats: tuple[str, ...]) -> re.Pattern[str]:
    """Matches the ends of the names of all formats that can be had."""
    ends = []
    for row in filter(None, map(FORMATS.get, formats)):
        tags = r"_\w+_alpha" if row.alpha == "packed" else r"(_\w+)?" if row.before_tags else ""
        ends.append(re.escape(row.before_tags) + tags + re.escape(row.ending))
    return re.compile(rf"({'|'.join(ends)})\Z", re.IGNORECASE)
