"""The line that says why ffmpeg failed, read off real failures and their messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.encode.ffmpeg_cause import cause_of
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import EncodeError

_DAMAGED = """\
[aac @ 0x5589171221c0] channel element 0.0 is not allocated
[aist#0:2/aac @ 0x55891] [dec:aac @ 0x5] Error submitting packet to decoder: Invalid data found
[aist#0:2/aac @ 0x55891] [dec:aac @ 0x5] Decode error rate 1 exceeds maximum 0.666667
[aist#0:2/aac @ 0x55891] [dec:aac @ 0x5] Task finished with error code: -1145393733 (Error number)
[aist#0:2/aac @ 0x55891] [dec:aac @ 0x5] Terminating thread with return code -1145393733
Conversion failed!
"""


@pytest.mark.parametrize(
    ("messages", "cause"),
    [
        (_DAMAGED, "dec:aac: Decode error rate 1 exceeds maximum 0.666667"),
        ("Conversion failed!", "Conversion failed!"),
        (
            "Error opening output file x.webm.\nConversion failed!",
            "Error opening output file x.webm.",
        ),
        ("cannot start /no/ffmpeg: No such file", "cannot start /no/ffmpeg: No such file"),
        ("", ""),
    ],
)
def test_the_cause_is_told_and_not_what_it_led_to(messages: str, cause: str) -> None:
    assert cause_of(messages) == cause


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (
            ("-f", "lavfi", "-i", "anullsrc=channel_layout=9C:d=0.1", "-c:a", "aac"),
            'aac: Unsupported channel layout "9 channels"',
        ),
        (("-i", "file:/no/such.mp4"), "Error opening input: No such file or directory"),
        (
            ("-f", "lavfi", "-i", "testsrc=d=0.1", "-c:v", "no-such-codec"),
            "Unknown encoder 'no-such-codec'",
        ),
    ],
)
def test_a_failure_says_its_cause(arguments: tuple[str, ...], cause: str, tmp_path: Path) -> None:
    with pytest.raises(EncodeError) as caught:
        run_ffmpeg(ffmpeg_command(*arguments, f"file:{tmp_path / 'x.mp4'}"))
    assert cause in caught.value.message
    assert "0x" not in caught.value.message
    assert any("messages: " in note for note in caught.value.__notes__)


def test_every_line_is_passed_on(tmp_path: Path) -> None:
    lines: list[str] = []
    command = ffmpeg_command("-i", "file:/no/such.mp4", f"file:{tmp_path / 'x.mp4'}")
    with pytest.raises(EncodeError):
        run_ffmpeg(command, on_message=lines.append)
    assert any("Error opening input: " in line for line in lines)
