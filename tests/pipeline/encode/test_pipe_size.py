"""The pipe to an encoder is wide, where that is allowed."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.encode import pipe_size
from pipeline.encode.ffmpeg_pipe import PipeEncoder

MOST = int(Path("/proc/sys/fs/pipe-max-size").read_text(encoding="ascii"))


def sink(target: Path) -> PipeEncoder:
    return PipeEncoder(["/bin/sh", "-c", 'cat >"${0#file:}"', f"file:{target}"])


def test_a_pipe_takes_a_megabyte_at_once(tmp_path: Path) -> None:
    encoder = sink(tmp_path / "x")
    assert encoder._process.stdin is not None
    size = fcntl.fcntl(encoder._process.stdin.fileno(), fcntl.F_GETPIPE_SZ)
    encoder.abort()
    assert size == min(pipe_size.PIPE_BYTES, MOST) or size == 65536


@pytest.mark.parametrize("number", [errno.EPERM, errno.EBUSY])
def test_one_that_may_not_grow_works_as_it_is(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.fcntl

    def refuse(file: int, command: int, *rest: Any) -> Any:
        if command == fcntl.F_SETPIPE_SZ:
            raise OSError(number, "refused")
        return real(file, command, *rest)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    encoder = sink(tmp_path / "x")
    encoder.write(torch.arange(200_000, dtype=torch.int32).view(1, -1).view(torch.uint8))
    encoder.close()
    assert (tmp_path / "x").stat().st_size == 800_000
