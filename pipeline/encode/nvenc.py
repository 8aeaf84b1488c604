"""NVENC in this process, by TorchCodec: encodes pictures that are in the GPU's memory.

It is called with what ffmpeg would be called with (`pipeline/encode/choice.py`), so that both ways
give the same quality. On the CPU it runs any encoder of FFmpeg's, which is how it is tested.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import EncodeError, SessionRefused, VrmatteError
from pipeline.files.disk import disk_error, refusal

# TorchCodec wants numbers where an encoder's option is one by its type, and has names for them
# (`ffmpeg -h encoder=hevc_nvenc`); the preset has an argument of its own, which takes names.
_NUMBERS = {("tune", "hq"): "1", ("rc", "vbr"): "1"}

#: What TorchCodec says where `nvEncOpenEncodeSessionEx` is refused with 10 (out of memory: ENOMEM)
#: or 21 (incompatible client key: EINVAL): libavcodec's number is all it passes on. EINVAL might
#: mean a wrong option too, but those have passed the trial.
_SESSION_REFUSED = (
    "avcodec_open2 failed: Cannot allocate memory",
    "avcodec_open2 failed: Invalid argument",
)

#: Of ffmpeg's program, not of an encoder; segments are given their tag when they are joined.
_PROGRAMS_OWN = ("tag:v", "pix_fmt")


class DeviceEncoder:
    """See `pipeline.encode.ffmpeg_pipe.Encoder`; what it is given are RGB pictures, on its device
    or brought.

    Args:
        options: ffmpeg's for the picture and the container, in pairs: ``-g 60``.
        container: FFmpeg's name of it.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction,
        options: Sequence[str],
        *,
        container: str = "mp4",
        device: torch.device | None = None,
    ) -> None:
        from pipeline.torchcodec_import import encoders

        codec, preset, others = library_options(options)
        self._path = path
        self._width, self._height = size
        self._device = device or torch.device("cuda")
        try:
            self._file = _Draft(path)
        except OSError as error:
            raise disk_error(error, path) from error
        with self._named_errors():
            self._encoder: Any = encoders.Encoder()
            self._stream = self._encoder.add_video(
                height=self._height,
                width=self._width,
                frame_rate=float(rate),
                device=str(self._device),
                codec=codec,
                preset=preset,
                extra_options=others,
            )
            with _on_the_encoders_stream(self._device):
                self._encoder.open_file_like(self._file, format=container)

    def write(self, planes: Tensor) -> None:
        """Write frames, uint8 ``[T, 3*H*W]``: red, green and blue planes, complete."""
        with self._named_errors(), _on_the_encoders_stream(self._device):
            pictures = planes.view(len(planes), 3, self._height, self._width).to(self._device)
            if pictures.is_cuda:  # their memory is another stream's, which may take it back
                pictures.record_stream(torch.cuda.current_stream(self._device))
            self._stream.add_frames(pictures)

    def close(self) -> None:
        with self._named_errors(), _on_the_encoders_stream(self._device):
            self._encoder.close()
        error = self._file.close()
        if error is not None:
            raise disk_error(error, self._path) from error

    def abort(self) -> None:
        self._file.give_up()
        with contextlib.suppress(Exception), _on_the_encoders_stream(self._device):
            self._encoder.close()
        self._file.close()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            self._file.give_up()  # the device's, not the encoder's: whoever drives it names them
            raise
        except RuntimeError as error:
            self._file.give_up()
            raise self._failure(error) from error
        if (trouble := self._file.error) is not None:
            self._file.give_up()
            raise disk_error(trouble, self._path) from trouble

    def _failure(self, error: RuntimeError) -> VrmatteError:
        if (trouble := self._file.error or refusal(self._path.parent)) is not None:
            return disk_error(trouble, self._path)
        said = (str(error).splitlines() or ["no message"])[0]
        if any(refused in said for refused in _SESSION_REFUSED):
            return SessionRefused.of(f"TorchCodec: {said[:300]}")
        return EncodeError(
            f"TorchCodec's encoder failed: {said[:300]}", "set encoding.nvenc_input: pipe"
        )


def library_options(options: Sequence[str]) -> tuple[str, str | None, dict[str, str]]:
    """ffmpeg's options as TorchCodec takes them: codec, preset, and the others by name."""
    named: dict[str, str] = {}
    for name, value in zip(options[::2], options[1::2], strict=True):
        key = name.removeprefix("-")
        if key not in _PROGRAMS_OWN:
            key = key if key == "c:v" else key.removesuffix(":v")
            named[key] = _NUMBERS.get((key, value), value)
    return named.pop("c:v"), named.pop("preset", None), named


@contextlib.contextmanager
def _on_the_encoders_stream(device: torch.device) -> Iterator[None]:
    """TorchCodec converts on the current stream, and FFmpeg's NVENC reads on the default one.

    (FFmpeg's hwcontext_cuda.c; TorchCodec lets nobody wait.) So it must be the same.
    """
    if device.type != "cuda":
        yield
        return
    with torch.cuda.stream(torch.cuda.default_stream(device)):
        yield


class _Draft:
    """A file as TorchCodec writes it. FFmpeg's C code calls this, and no exception may cross it.

    Attributes:
        error: what the disk said first; from then on nothing is written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self.error: OSError | None = None
        self._given_up = False

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest and self.error is None and not self._given_up:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self.error = error
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return os.lseek(self._file, offset, whence)
        except OSError:  # FFmpeg also asks what no file knows, such as a size by a flag of its own
            return -1

    def give_up(self) -> None:
        self._given_up = True

    def close(self) -> OSError | None:
        if self._file >= 0:
            descriptor, self._file = self._file, -1
            try:
                os.close(descriptor)
            except OSError as error:
                self.error = self.error or error
        return self.error
