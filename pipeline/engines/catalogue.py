"""The engines that can run a network: one row each. Loads no torch.

A row says what the rest of the program must know of an engine before it is loaded; `engine.py` says
what it is then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, get_args

EngineName = Literal["torch", "cuda_graph", "compile", "openvino", "tensorrt"]

_ANY = frozenset({"auto", "fp32", "fp16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One engine.

    Attributes:
        name: as `processing.engine` says it.
        description: one line of `vrmatte engines list`.
        make: ``module:attribute`` of what makes it, given ``(threads, device)``: a
            `pipeline.engines.engine.Engine`, or a `pipeline.engines.kept.Builder` if it `is_built`.
        packages: what it needs, as Python imports it.
        extra: of vrmatte, which brings them; empty where they always come along.
        in_setup: `make setup` installs them.
        libraries: distributions whose versions decide what a network compiles to.
        devices: kinds of device that it runs on.
        precisions: values of `processing.precision` that it obeys.
        automatic: whether "auto" may take it.
        is_built: what it makes of a network is kept in a file.
        in_background: that takes minutes, and does not give the same bits twice: torch serves
            meanwhile, and a video names the file that makes it.
    """

    name: EngineName
    description: str
    make: str
    packages: tuple[str, ...]
    extra: str = ""
    in_setup: bool = True
    libraries: tuple[str, ...] = ("torch",)
    devices: frozenset[str]
    precisions: frozenset[str]
    automatic: bool = True
    is_built: bool = False
    in_background: bool = False

    def lacking(self) -> str | None:
        """The first of its packages that is not installed; nothing is imported."""
        return next((each for each in self.packages if find_spec(each) is None), None)

    def how_to_have_it(self) -> str:
        """What a person does to have its packages."""
        ways = ["`make setup`"] if self.in_setup else []
        ways += [f"`uv pip install 'vrmatte[{self.extra}]'`"] if self.extra else []
        return f"run {' or '.join(ways)}"


#: The better one first: "auto" takes the first that suits and is installed.
ENGINES: Mapping[str, EngineRow] = {
    row.name: row
    for row in (
        EngineRow(
            name="openvino",
            description="compiled for this CPU in seconds",
            make="pipeline.engines.openvino:OpenVino",
            packages=("openvino",),
            extra="cpu",
            libraries=("torch", "openvino"),
            devices=frozenset({"cpu"}),
            precisions=frozenset({"auto", "fp32"}),
            is_built=True,
        ),
        EngineRow(
            name="cuda_graph",
            description="torch's calls, launched at once; the same frames as torch's",
            make="pipeline.engines.by_torch:CudaGraphEngine",
            packages=("torch",),
            devices=frozenset({"cuda"}),
            precisions=_ANY,
        ),
        EngineRow(
            name="torch",
            description="torch's calls, one by one",
            make="pipeline.engines.by_torch:TorchEngine",
            packages=("torch",),
            devices=frozenset({"cpu", "cuda"}),
            precisions=_ANY,
        ),
        EngineRow(
            name="compile",
            description="torch.compile; takes a minute at each start",
            make="pipeline.engines.by_torch:CompileEngine",
            packages=("torch",),
            devices=frozenset({"cpu", "cuda"}),
            precisions=_ANY,
            automatic=False,
        ),
        EngineRow(
            name="tensorrt",
            description="built for one GPU in minutes, in the background; not run on a GPU yet",
            make="pipeline.engines.tensorrt:TensorRt",
            packages=("tensorrt", "onnx", "onnxscript"),
            extra="tensorrt",
            in_setup=False,
            libraries=("torch", "tensorrt", "onnx", "onnxscript"),
            devices=frozenset({"cuda"}),
            precisions=_ANY,
            automatic=False,
            is_built=True,
            in_background=True,
        ),
    )
}

assert set(ENGINES) == set(get_args(EngineName))


def make_engine(name: str, threads: int, device: Any) -> Any:
    """The engine, or the builder, of a row.

    Args:
        threads: of one call, on the CPU.
        device: a `torch.device`.

    Raises:
        ImportError: its packages do not load.
    """
    module, _, attribute = ENGINES[name].make.partition(":")
    return getattr(import_module(module), attribute)(threads, device)
