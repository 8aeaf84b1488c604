"""Steps that run vrmatte's own commands: `enhance`, `engines`, `two-gpus`, `gates`, `bench`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from orchestrator.gpu_check.clips import scene
from orchestrator.gpu_check.results import Result, passed
from orchestrator.gpu_check.site import Site, Tell
from pipeline.files.child import own_module, tied
from pipeline.files.child_failure import telling_line


def vrmatte(*words: str) -> tuple[int, str]:
    """Run a command to its end: its exit status, and all that it printed."""
    command, environment = own_module("orchestrator.cli", *words)
    done = subprocess.run(
        tied(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def ended(what: str, ran: tuple[int, str]) -> Result:
    """A command must end with 0; else its own line says why."""
    status, said = ran
    if status == 0:
        return Result(what, "exit status 0", "0", "ok", said=said)
    found = f"{status}: {telling_line(said.encode())}"
    return Result(what, "exit status 0", found, "FAILED", said=said)


def _options(site: Site) -> list[str]:
    return ["--gpus", site.gpus, "--fresh"]


def enhance(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    source, out = scene(site), site.work_folder("enhance")
    words = ["--upscaler", "span", "--quality", "fast", *_options(site)]
    tell(
        ended(
            "vrmatte enhance --upscaler span",
            vrmatte("enhance", str(source), "-o", str(out), *words),
        )
    )
    found = [_size(path) for path in sorted(out.glob("*.mp4"))]
    before = _size(source)
    wanted = 2 * before[0], 2 * before[1]
    said = ", ".join(f"{width}x{height}" for width, height in found) or "no file"
    tell(passed("its pictures", f"{wanted[0]}x{wanted[1]}", said, found == [wanted]))


def _size(path: Path) -> tuple[int, int]:
    import av

    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        return codec.width, codec.height


def engines(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    listed = vrmatte("engines", "list")
    tell(ended("vrmatte engines list", listed))
    lacking = [line for line in listed[1].splitlines() if "tensorrt" in line and "not inst" in line]
    if lacking or site.rehearsal:
        why = " ".join(lacking[0].split()) if lacking else "a rehearsal builds none"
        tell(Result("vrmatte engines build", "a package that builds", why, "absent"))
        return
    source = scene(site)
    words = ["--model", "rvm", "--gpus", site.gpus]
    built = vrmatte("engines", "build", str(source), *words)
    tell(ended("vrmatte engines build", built))
    tell(ended("vrmatte engines list, with it", vrmatte("engines", "list")))


def two_gpus(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`: two workers at once, and the file of one alone."""
    source, files = scene(site), []
    both = ["--gpus", "none", "--cpu-workers", "2"] if site.rehearsal else ["--gpus", "0,1"]
    for name, gpus in (("one", ["--gpus", site.gpus]), ("two", both)):
        out = site.work_folder(f"{name}-gpus")
        words = ["--model", "chroma", "--segment-frames", "10", "--fresh", *gpus]
        tell(ended(f"a run on {name}", vrmatte("run", str(source), "-o", str(out), *words)))
        files.append([path.read_bytes() for path in sorted(out.glob("*.webm"))])
        workers = {log.stem for log in (out / ".vrmatte/logs").glob("*.jsonl")} - {"orchestrator"}
        wanted = 1 if name == "one" else 2
        found = ", ".join(sorted(workers))
        tell(passed(f"workers of {name}", f"{wanted}", found or "none", len(workers) == wanted))
    if len({card.name for card in site.machine.cards[:2]}) > 1:
        tell(Result("the files", "GPUs of one kind, to compare them", "of two kinds", "absent"))
        return
    same = len(files[0]) == 1 and files[0] == files[1]
    tell(passed("the files", "the same bytes", "the same" if same else "they differ", same))


def gates(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    tell(ended("vrmatte gates", vrmatte("gates", "--through", "4", "--model", "rvm", "--fresh")))


def bench(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    for size in ("1080p",) if site.rehearsal else ("4k", "8k"):
        words: Sequence[str] = ("--model", site.rvm().model, "--size", size, "--gpus", site.gpus)
        to = str(site.folder / f"bench-{size}.json")
        tell(ended(f"vrmatte bench at {size}", vrmatte("bench", *words, "--json", to)))
