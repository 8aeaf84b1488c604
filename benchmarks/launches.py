"""Counts bytes of memory traffic, kernel launches and waits a frame, stage by stage, without a GPU.

    python benchmarks/launches.py [--size 8192x4096] [--chunk N] [--bits 8|10] [--no-graphs]
        [--torch]

The stages run on meta tensors, which take the ways of a GPU and have no data. Bytes are those that
each operation reads and writes, as if nothing stayed in a cache. `index_select` reads the rows that
it picks; to pick columns it reads everything. A launch is an operation that is no view. A wait is
data that the host asks for; it is given zeros, so nothing is mended. What is replayed as a CUDA
graph is one launch. RVM's network itself is left out, but for its states. A Triton kernel is one
launch, which reads and writes each byte once; `--torch` counts what does its work where it is not
used.
What is held is a stage's own work and results, without what it was given.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.contract import ColorTags, EncodingSettings, VideoInfo, VideoSettings
from pipeline.deliverables.base import make_deliverable
from pipeline.engines.by_torch import CudaGraphEngine, TorchEngine
from pipeline.engines.engine import Engine
from pipeline.flow.device_copies import Done, Transfer
from pipeline.judge.stage import Judge
from pipeline.kernels.by_triton import KernelWay
from pipeline.kernels.choice import keep, way_on
from pipeline.kernels.launch import watched
from pipeline.kernels.way import TORCH
from pipeline.pixels.color import YuvFormat, resolve_matrix
from pipeline.pixels.eyes import split
from pipeline.pixels.layers import Layers
from pipeline.stages.base import Stage
from pipeline.stages.matting.rvm.cuda import DeviceMatting
from pipeline.stages.matting.stage import Matting
from pipeline.stages.stereo.stage import Stereo

META = torch.device("meta")

_COMPOSITE = torch.DispatchKey.CompositeImplicitAutograd

#: Allocations, and one view whose schema does not say so.
_FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view"}
#: Several kernels by one name: a copy and then the change, or a value and then the inner part.
_TWO_KERNELS = {"constant_pad_nd", "masked_fill", "index_put", "scatter"}
#: The result's old content does not count.
_WRITE_ONLY = {"copy_", "fill_", "zero_", "random_", "uniform_", "normal_"}

#: Of RVM's states: channels of mobilenetv3 by the share of the network's size.
_STATES = ((16, 2), (20, 4), (40, 8), (64, 16))


@dataclass(slots=True)
class Counts:
    """What was counted.

    Attributes:
        read_bytes, written_bytes: of the device's memory.
        launches: kernels and copies.
        waits: how often the host waits for the device.
        peak_bytes: the most that was held at once of what was made meanwhile.
    """

    read_bytes: float = 0
    written_bytes: float = 0
    launches: float = 0
    waits: float = 0
    peak_bytes: int = 0

    @property
    def traffic_bytes(self) -> float:
        return self.read_bytes + self.written_bytes

    @classmethod
    def sum(cls, parts: list[Counts]) -> Counts:
        """All one after the other."""
        return cls(
            sum(part.read_bytes for part in parts),
            sum(part.written_bytes for part in parts),
            sum(part.launches for part in parts),
            sum(part.waits for part in parts),
            max(part.peak_bytes for part in parts),
        )

    def shared(self, frames: int) -> Counts:
        """Of one of so many frames; the peak is of all."""
        return Counts(
            self.read_bytes / frames,
            self.written_bytes / frames,
            self.launches / frames,
            self.waits / frames,
            self.peak_bytes,
        )


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is asked of meta tensors while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = Counts()
        self._in_graph = False
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE):
            with self:  # in inference mode operations arrive whole; by C++, for Python's are others
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        answered, answer = self._answer(name, given, kwargs)
        made = answer if answered else func(*args, **kwargs)
        on_device = any(x.is_meta for x in [*given, *tree_leaves(made)] if isinstance(x, Tensor))
        if on_device and name not in _FREE and not _is_view(func):
            self._count(func, name, args, kwargs, made)
        if on_device and not _is_view(func):
            self._hold(made)
        return made

    def _hold(self, made: Any) -> None:
        """Add what was made to what is held, without what is not any more."""
        gone = [key for key, (its, _) in self._held.items() if its.expired()]  # type: ignore[no-untyped-call]
        for key in gone:
            del self._held[key]
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._held.setdefault(storage._cdata, (reference, storage.nbytes()))
        held = sum(size for _, size in self._held.values())
        self.counts.peak_bytes = max(self.counts.peak_bytes, held)

    def kernel(self, name: str, read_bytes: int, written_bytes: int) -> None:
        """See `pipeline.kernels.launch.Watcher`."""
        self.counts.launches += 1
        self.counts.read_bytes += read_bytes
        self.counts.written_bytes += written_bytes

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """A double of `pipeline.engines.cuda_graph.cuda_capture`: a replay is one launch."""

        def replay() -> None:
            self.counts.launches += not self._in_graph
            before, self._in_graph = self._in_graph, True
            try:
                work()
            finally:
                self._in_graph = before

        return replay

    @property
    def transfer(self) -> Transfer:
        """Copies to the host that are waited for later, and hold zeros."""
        return _LateZeros(self)

    @contextmanager
    def of(self) -> Iterator[Counts]:
        """What is counted inside, beginning at nothing."""
        before, self.counts = self.counts, Counts()
        held, self._held = self._held, {}
        counts = self.counts
        try:
            with self:
                yield counts
        finally:
            self.counts, self._held = before, held

    def _answer(self, name: str, given: list[Tensor], kwargs: Any) -> tuple[bool, Any]:
        """Whether the host asks for data that there are not, and zeros in their place."""
        if not given or not any(x.is_meta for x in given):
            return False, None
        to = kwargs.get("device")
        if name == "_local_scalar_dense":
            answer: Any = torch.zeros((), dtype=given[0].dtype).item()
        elif name == "equal":
            answer = True
        elif name == "nonzero":
            answer = given[0].new_empty(0, given[0].ndim, dtype=torch.int64)
        elif name == "_to_copy" and to is not None and torch.device(to).type == "cpu":
            answer = torch.zeros(given[0].shape, dtype=kwargs.get("dtype") or given[0].dtype)
        elif name == "copy_" and not given[0].is_meta:
            answer = given[0].zero_()
        else:
            return False, None
        self.counts.waits += 1
        return True, answer

    def _count(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Any, made: Any) -> None:
        counts = self.counts
        if not self._in_graph:
            counts.launches += 2 if name in _TWO_KERNELS else 1
        written: set[int] = set()
        for place, argument in enumerate(func._schema.arguments):
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            is_out = argument.alias_info is not None and argument.alias_info.is_write
            for tensor in tree_leaves(value):
                if not isinstance(tensor, Tensor):
                    continue
                if is_out:
                    written.add(id(tensor))
                    counts.written_bytes += _bytes(tensor)
                if not (is_out and (name in _WRITE_ONLY or argument.is_out)):
                    if name == "index_select" and tensor is args[0]:
                        counts.read_bytes += _picked_bytes(tensor, args[1], made)
                    else:
                        counts.read_bytes += _bytes(tensor)
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and id(tensor) not in written:
                counts.written_bytes += _bytes(tensor)


class _LateZeros:
    """See `pipeline.flow.device_copies.Transfer`."""

    def __init__(self, counter: Launches) -> None:
        self._counter = counter

    def is_needed(self, data: Tensor) -> bool:
        return data.is_meta

    def buffer(self, num_bytes: int) -> Tensor:
        return torch.zeros(num_bytes, dtype=torch.uint8)

    def begin(self, data: Tensor, target: Tensor) -> Done:
        self._counter.counts.launches += 1
        self._counter.counts.read_bytes += _bytes(data)
        return self.mark()

    def mark(self) -> Done:
        return _Done()


class _Done:
    def synchronize(self) -> None: ...


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return any(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _bytes(tensor: Tensor) -> int:
    """Of the memory that a tensor shows: what is repeated by a stride of 0 counts once."""
    if not tensor.is_meta:
        return 0
    count = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= length if stride or length == 0 else 1
    return count


def _picked_bytes(tensor: Tensor, dim: int, picked: Tensor) -> int:
    """Bytes read by `index_select` along `dim`: the picked rows, or everything for columns.

    Memory is read by 32 bytes, so the values between picked columns are read with them.
    """
    return _bytes(tensor) if tensor.stride(dim) == 1 else min(_bytes(picked), _bytes(tensor))


class _NoNetwork(nn.Module):
    """Stands for RVM's network: its answer and its states, and no work."""

    def __init__(self) -> None:
        super().__init__()
        self.refiner = nn.Identity()

    def coefficients(self, refine: bool) -> nn.Module:
        return self

    def forward(self, small: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        eyes, _, height, width = small.shape
        made = [
            small.new_empty(eyes, channels, -(-height // step), -(-width // step))
            for channels, step in _STATES
        ]
        slope = small.new_empty(eyes, 4, height, width, dtype=torch.float32)
        return slope, torch.empty_like(slope), *made


def made_video(width: int, height: int, bits: int) -> VideoInfo:
    return VideoInfo(
        path="/none_LR_180.mp4",
        size_bytes=1,
        mtime_ns=0,
        fingerprint="0",
        container="mp4",
        codec="hevc",
        width=width,
        height=height,
        pixel_format="yuv420p" if bits == 8 else "yuv420p10le",
        bit_depth=bits,
        frame_rate=Fraction(30),
        num_frames=100,
        source_frames=100,
        variable_rate=False,
        color=ColorTags("bt709", "bt709", "bt709"),
        rotation=0,
        audio=(),
        layout="sbs",
        layout_reason="",
        projection="equirect180",
    )


def measure(
    video: VideoInfo, *, chunk: int = 1, graphs: bool = True, kernels: bool = True
) -> dict[str, Counts]:
    """Counts of one frame in each stage, by the stage's name.

    Args:
        chunk: frames in a batch.
        graphs: whether CUDA graphs are used where they can be.
        kernels: whether Triton's kernels are.
    """
    counter = Launches()
    keep(META, KernelWay(strict=True) if kernels else TORCH)
    with watched(counter.kernel):
        return _measure(counter, video, chunk, graphs)


def _measure(counter: Launches, video: VideoInfo, chunk: int, graphs: bool) -> dict[str, Counts]:
    measured = {f"decode, {bits} bits": _decode(counter, video, bits) for bits in (8, 10)}
    settings = VideoSettings()
    capture = counter.capture if graphs else None
    engine: Engine = TorchEngine(1, META)
    if capture is not None:
        engine = CudaGraphEngine(1, META, capture)
    model = DeviceMatting(_NoNetwork(), None, torch.float16, META, engine, way_on(META))
    stereo = Stereo(
        settings.stereo,
        waits=True,
        capture=capture,
        transfer=counter.transfer,
        way=way_on(META),
    )
    stages: list[Stage] = [Matting(model), stereo, Judge()]
    eye, batches = video.eye_shape, [_layers(video, chunk, start * chunk) for start in range(4)]
    for stage in stages:
        with counter.of():
            state = stage.start(eye, {})
            stage.run(batches[0], state)  # takes what is taken at first
        with counter.of() as counts:
            for batch in batches[1:]:
                stage.run(batch, state)
        measured[stage.name] = counts.shared(3 * chunk)
        batches = [_with_matte(batch) for batch in batches]
    on_gpu = EncodingSettings(encoder="nvenc", nvenc_input="gpu")
    by_pipe = EncodingSettings(encoder="software", nvenc_input="pipe")
    for name, encoding in (("webm", by_pipe), ("greenscreen", by_pipe), ("greenscreen", on_gpu)):
        of_format = replace(settings, deliverables=(name,), encoding=encoding)
        deliverable = make_deliverable(name, video, of_format)
        with counter.of() as counts:
            deliverable.planes(batches[0])
        way = " from the GPU" if encoding is on_gpu else ""
        measured[f"planes: {name}{way}"] = counts.shared(chunk)
    return measured


def _decode(counter: Launches, video: VideoInfo, bits: int) -> Counts:
    """From the planes that NVDEC leaves (NV12, or P010) to RGB."""
    height, width = video.height, video.width
    kind = torch.uint8 if bits == 8 else torch.uint16
    y = torch.empty(height, width, dtype=kind, device=META)
    uv = torch.empty(height // 2, width // 2, 2, dtype=kind, device=META)
    form = YuvFormat(resolve_matrix(video), video.color.full_range, 8 if bits == 8 else 16)
    out = torch.empty(3, height, width, dtype=torch.uint8, device=META)
    with counter.of() as counts:
        way_on(META).yuv_to_rgb((y, uv[..., 0], uv[..., 1]), form, out)
    return counts


def _layers(video: VideoInfo, chunk: int, start: int) -> Layers:
    picture = torch.empty(
        chunk, 3, video.even_height, video.even_width, dtype=torch.uint8, device=META
    )
    return Layers(start, split(picture, video.layout))


def _with_matte(layers: Layers) -> Layers:
    """As RVM gives it on a GPU."""
    if layers.alpha is not None:
        return layers
    foreground = torch.empty(layers.rgb.shape, dtype=torch.float16, device=META)
    return replace(layers, alpha=torch.empty_like(foreground[:, :, :1]), foreground=foreground)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="8192x4096")
    parser.add_argument("--chunk", type=int, default=1)
    parser.add_argument("--bits", type=int, choices=(8, 10), default=8, help="of the source")
    parser.add_argument("--no-graphs", action="store_true")
    parser.add_argument("--torch", action="store_true", help="without Triton's kernels")
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    video = made_video(width, height, asked.bits)
    print(f"{asked.size}, {asked.chunk} frames a chunk; of one frame:")
    print(f"{'stage':<32}{'GB read':>9}{'written':>9}{'launches':>10}{'waits':>7}{'GB held':>9}")
    measured = measure(
        video, chunk=asked.chunk, graphs=not asked.no_graphs, kernels=not asked.torch
    )
    for name, counts in measured.items():
        show(name, counts)
    first = [f"decode, {asked.bits} bits", "matting", "stereo", "judge"]
    for name in measured:
        if name.startswith("planes"):
            whole = [measured[stage] for stage in (*first, name)]
            show(f"all of {name.removeprefix('planes: ')}", Counts.sum(whole))


def show(name: str, counts: Counts) -> None:
    read, written = counts.read_bytes / 1e9, counts.written_bytes / 1e9
    peak = f"{counts.peak_bytes / 1e9:>9.2f}"
    print(
        f"{name:<32}{read:>9.2f}{written:>9.2f}{counts.launches:>10.0f}{counts.waits:>7.1f}{peak}"
    )


if __name__ == "__main__":
    main()
