"""The command line: what can be typed, and the one place where errors become one line.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from pipeline.errors import SettingsError, VrmatteError

if TYPE_CHECKING:
    from rich.console import Console

#: Exit status by kind of error; every other error ends with FAILED.
STATUS = {"settings": 2, "input": 2, "machine": 3, "resource": 3, "disk": 130}
FAILED, USAGE, INTERRUPTED = 1, 2, 130

_PATH = click.Path(path_type=Path)

#: Written out, because what knows them is slow to load; tests compare.
FORMATS = ["webm", "greenscreen", "alphapack", "matte", "prores", "hevc-alpha", "tiff"]
SPHERES = ["equirect180", "equirect360", "fisheye180", "fisheye190", "fisheye200", "fisheye220"]
PROJECTIONS = ["auto", *SPHERES, "flat"]
QUALITIES = ["draft", "balanced", "best"]


class Commands(click.Group):
    """Commands that give an exit status; their errors are one line and one of advice."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            status = super().main(*args, **kwargs)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "vrmatte"
            _complain(error.format_message(), f"`{command} --help` shows what there is")
            status = USAGE
        except click.ClickException as error:
            _complain(error.format_message(), "")
            status = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            _complain("stopped", "the same command goes on from here")
            status = INTERRUPTED
        except VrmatteError as error:
            _complain(error.message, error.advice)
            status = STATUS.get(error.kind, FAILED)
        except BrokenPipeError:  # whoever read our output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = FAILED
        except Exception as error:  # the boundary of this process
            if os.environ.get("VRMATTE_TRACEBACK"):
                raise
            # `run` notes where it logged the error.
            notes = getattr(error, "__notes__", ["VRMATTE_TRACEBACK=1 shows where it happened"])
            first_line = (str(error).splitlines() or [""])[0]
            _complain(f"{type(error).__name__}: {first_line}", notes[0])
            status = FAILED
        sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str, advice: str) -> None:
    from orchestrator.words import printable

    with contextlib.suppress(OSError):  # the terminal may be closed; the exit status says it too
        click.echo(f"error: {printable(message)}", err=True)
        if advice:
            click.echo(printable(advice), err=True)


class _Gpus(click.ParamType[Any]):
    name = "all|none|0,1"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | list[int]:
        if value in ("all", "none"):
            return str(value)
        numbers = str(value).split(",")
        if not all(number.strip().isdecimal() for number in numbers):
            self.fail(f"{value!r} is neither all, none nor a list like 0,1", param, ctx)
        return [int(number) for number in numbers]


class _Names(click.ParamType[Any]):
    name = "NAME,NAME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        return [name.strip() for name in str(value).split(",") if name.strip()]


def _prompting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which a person says who the subject is."""
    for option in (
        click.option(
            "--dlc-likelihood",
            type=click.FloatRange(0, 1),
            help="Body parts less likely than this are left out; 0.6.",
        ),
        click.option("--dlc-parts", type=_Names(), help="Which body parts; all by default."),
        click.option(
            "--dlc-csv", type=_PATH, metavar="CSV", help="The same from a table of DeepLabCut's."
        ),
        click.option(
            "--prompts",
            type=_PATH,
            help="What tells sam2 who the subject is: a file, or a folder of STEM.prompts.yaml;"
            " by default the one beside the video.",
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vrmatte")
def main() -> None:
    """Cuts people out of VR180 video: transparent WebM, on all GPUs or on none."""


@main.command()
@click.argument("inputs", nargs=-1, required=True, type=_PATH, metavar="INPUT...")
@click.option("-o", "--out", required=True, type=_PATH, help="Folder for the outputs.")
@click.option("--config", type=_PATH, help="Settings file (`vrmatte config init` writes one).")
@click.option(
    "--model",
    help="What cuts the subject out: rvm (default), sam2, sam2+rvm, chroma, plate, depth.",
)
@_prompting
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="What to make; may be given several times.",
)
@click.option(
    "--layout", type=click.Choice(["auto", "sbs", "tb", "mono"]), help="Where the eyes are."
)
@click.option("--projection", type=click.Choice(PROJECTIONS), help="What each eye shows.")
@click.option(
    "--quality",
    type=click.Choice(QUALITIES),
    help="Of the encoding, not of the matte: draft is fast and coarse, best slow and fine;"
    " balanced by default. Numbers in the settings file go before it.",
)
@click.option(
    "--gpus", type=_Gpus(), metavar="all|none|0,1", help="Which GPUs work; all by default."
)
@click.option(
    "--cpu-workers", type=click.IntRange(1, 64), help="Workers where no GPU is used; 1 by default."
)
@click.option("--start-frame", type=click.IntRange(0), help="First frame of each video.")
@click.option("--max-frames", type=click.IntRange(1), help="Frames of each video, from there.")
@click.option("--scale", type=float, help="Network input as a share of an eye, 0 to 1; by size.")
@click.option("--segment-frames", type=click.IntRange(1), help="Frames in a segment; by length.")
@click.option("--lanes", type=click.IntRange(1, 64), help="Segments at once in a worker; by cores.")
@click.option(
    "--grace", type=click.FloatRange(0), help="Seconds for the work in hand after Ctrl-C; 120."
)
@click.option(
    "--sidecar/--no-sidecar",
    default=None,
    help="A JSON file beside each output, for DeoVR and HereSphere.",
)
@click.option("--fresh", is_flag=True, help="Forget what earlier runs left in OUT and start anew.")
@click.option(
    "--dry-run", is_flag=True, help="Show the plan, process nothing; OUT keeps what was learnt."
)
def run(
    inputs: tuple[Path, ...],
    out: Path,
    config: Path | None,
    fresh: bool,
    dry_run: bool,
    **options: Any,
) -> int:
    """Matte the videos in the folders or files INPUT.

    A run on an OUT that holds an unfinished run goes on with it. Options go before the settings
    file. Exit status: 0 all done, 1 some videos failed, 2 usage or settings, 3 this machine cannot
    do it, 130 stopped and resumable.
    """
    from orchestrator.config import load_settings
    from orchestrator.run import Request, Surroundings, fetch_model
    from orchestrator.run import run as run_job

    settings = load_settings(config, _overrides(options))
    around = Surroundings(_lasting_console(), _lasting_console(stderr=True), fetch_model)
    with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
        return run_job(Request(inputs, out, settings, fresh, dry_run), around)


#: Where in the settings an option's value goes.
_KEYS = {
    "model": ("matting", "model"),
    "prompts": ("matting", "prompts"),
    "dlc_csv": ("matting", "dlc_csv"),
    "dlc_parts": ("matting", "dlc_bodyparts"),
    "dlc_likelihood": ("matting", "dlc_likelihood"),
    "formats": ("output", "formats"),
    "sidecar": ("output", "sidecar"),
    "layout": ("input", "layout"),
    "projection": ("input", "projection"),
    "quality": ("encoding", "quality"),
    "gpus": ("workers", "gpus"),
    "cpu_workers": ("workers", "cpu_workers"),
    "start_frame": ("input", "start_frame"),
    "max_frames": ("input", "max_frames"),
    "scale": ("processing", "scale_factor"),
    "segment_frames": ("streaming", "segment_frames"),
    "lanes": ("streaming", "lanes"),
    "grace": ("limits", "grace_s"),
}


def _overrides(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options that were given, as settings."""
    found: dict[str, dict[str, Any]] = {}
    for option, value in options.items():
        if value is not None and value != ():
            group, key = _KEYS[option]
            found.setdefault(group, {})[key] = value
    return found


@main.command()
@click.argument("folder", type=_PATH, metavar="DIR")
def demo(folder: Path) -> None:
    """Make three short VR180 clips in DIR, to try things on."""
    from orchestrator.demo import make_demo

    for path in make_demo(folder):
        click.echo(path)


@main.command()
@click.argument("clip", required=False, type=_PATH, metavar="[CLIP]")
@click.option("--config", type=_PATH, help="Settings file (`vrmatte config init` writes one).")
@click.option("--model", help="As in `vrmatte run`.")
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS), help="Likewise.")
@click.option("--quality", type=click.Choice(QUALITIES), help="Likewise.")
@click.option(
    "--size",
    type=click.Choice(["1080p", "4k", "8k"], case_sensitive=False),
    default="1080p",
    help="Both eyes of the clip that is made where none is given: 1080p, 4k or 8k.",
)
@click.option("--frames", type=click.IntRange(2), help="How many frames; by the clip's size.")
@click.option("--segment-frames", type=click.IntRange(1), help="Frames in a segment at the most.")
@click.option("--gpus", type=_Gpus(), metavar="all|none|0,1", help="As in `vrmatte run`.")
@click.option("--lanes", type=click.IntRange(1, 64), help="Likewise.")
@click.option("--cpu-workers", type=click.IntRange(1, 64), help="Likewise.")
@click.option("--json", "json_path", type=_PATH, metavar="FILE", help="Write all figures there.")
@click.option("--compare", type=_PATH, metavar="OLD.json", help="Show ratios to that result.")
def bench(
    clip: Path | None,
    config: Path | None,
    size: str,
    frames: int | None,
    json_path: Path | None,
    compare: Path | None,
    **options: Any,
) -> None:
    """Measure the stages alone and a whole run, of CLIP or of a clip that is made for it."""
    from orchestrator.bench import BenchRequest
    from orchestrator.bench import bench as measure
    from orchestrator.bench_compare import change_table, differences
    from orchestrator.bench_result import headline, read_json, stage_table, write_json
    from orchestrator.config import load_settings

    old = read_json(compare) if compare else None
    if json_path and not json_path.absolute().parent.is_dir():
        raise SettingsError(f"there is no folder for {json_path}", "make it, or name another file")
    settings = load_settings(config, _overrides(options))
    errors = _console(stderr=True)
    with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
        found = measure(BenchRequest(settings, clip, size, frames), errors.print)
    answers = _console()
    answers.print(stage_table(found))
    for line in headline(found):
        answers.print(line, markup=False, soft_wrap=True)
    if json_path:
        write_json(found, json_path)
    if old:
        answers.print(change_table(old, found))
        for line in differences(old, found):
            answers.print(line, markup=False, soft_wrap=True)


@main.command()
@click.argument("video", type=_PATH, metavar="VIDEO")
@click.option("-o", "--out", "sheet", type=_PATH, metavar="SHEET", help="PNG or JPEG to write.")
@click.option("--at", multiple=True, metavar="TIME", help="12.5, 1:02 or 1:00:02; repeatable.")
@_prompting
@click.option("--config", type=_PATH, help="Settings file, as in `vrmatte run`.")
@click.option("--model", help="As in `vrmatte run`.")
@click.option("--layout", type=click.Choice(["auto", "sbs", "tb", "mono"]), help="Likewise.")
@click.option("--projection", type=click.Choice(PROJECTIONS), help="Likewise.")
@click.option("--scale", type=float, help="Likewise.")
@click.option("--gpus", type=_Gpus(), metavar="all|none|0,1", help="Likewise.")
@click.option(
    "--width", type=click.IntRange(64, 4096), default=640, help="Pixels of each picture; 640."
)
def preview(
    video: Path,
    sheet: Path | None,
    at: tuple[str, ...],
    config: Path | None,
    width: int,
    **options: Any,
) -> None:
    """Show some frames of VIDEO as a run would matte them, on one sheet.

    Each row is a frame: the source, the matte, the result over a checkerboard. Without --at, frames
    near the beginning, the middle and the end; with prompts, which are drawn, the frames that
    have some.
    """
    from orchestrator.config import load_settings
    from orchestrator.preview import PreviewRequest
    from orchestrator.preview import preview as make_preview
    from orchestrator.run import fetch_model

    settings = load_settings(config, _overrides(options))
    sheet = sheet or Path(f"{video.stem}_preview.png")
    with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
        make_preview(PreviewRequest(video, settings, sheet, at, width), fetch_model)
    click.echo(sheet)


@main.command()
@click.argument("out", type=_PATH, metavar="OUT")
def status(out: Path) -> None:
    """Show what is done in OUT, and what remains."""
    from orchestrator.status import show_status

    show_status(out, _console())


@main.group()
def models() -> None:
    """The models, and what they need from elsewhere."""


@models.command("list")
def list_models() -> None:
    """Name the models that can be chosen."""
    from pipeline.models.names import DESCRIPTIONS, model_names

    for name in model_names():
        click.echo(f"{name:8} {DESCRIPTIONS.get(name, 'installed by another package')}")


@models.command("fetch")
@click.option("--config", type=_PATH, help="Settings file that says which variant, from where.")
def fetch_models(config: Path | None) -> None:
    """Fetch code and weights to the cache, for machines that will have no network.

    Of RVM, or of SAM 2 and its seed model where FILE says so.
    """
    from orchestrator.config import load_settings
    from pipeline.models.sam2_weights import fetch_checkpoint
    from pipeline.models.weights import fetch_rvm

    matting = load_settings(config, {}).matting
    with_sam2 = matting.model in ("sam2", "sam2+rvm")
    if with_sam2:
        click.echo(fetch_checkpoint(matting))
    helpers = {matting.sam2_seed} | ({matting.sam2_edge} if matting.model == "sam2+rvm" else set())
    if not with_sam2 or "rvm" in helpers:
        for path in fetch_rvm(matting):
            click.echo(path)


@main.group()
def config() -> None:
    """Settings files."""


@config.command("init")
@click.argument("file", type=_PATH, metavar="FILE")
def init_config(file: Path) -> None:
    """Write every setting with its default and its meaning to FILE."""
    from orchestrator.config import default_text

    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(default_text())
    except FileExistsError:
        raise SettingsError(f"{file} is there already", "choose another name") from None
    except OSError as error:
        raise SettingsError(f"cannot write {file}: {error.strerror}", "check the path") from None
    click.echo(f"wrote {file}")


@config.command("check")
@click.argument("file", type=_PATH, metavar="FILE")
def check_config(file: Path) -> None:
    """Say whether FILE is right, or which line is not."""
    from orchestrator.config import load_settings

    load_settings(file, {})
    click.echo(f"{file} is right")


@contextlib.contextmanager
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """These signals are as good as Ctrl-C, but for those that are ignored (SIGHUP under nohup)."""
    old = {number: signal.getsignal(number) for number in numbers}
    changed = [number for number in numbers if old[number] == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _lasting_console(*, stderr: bool = False) -> Console:
    """One that takes no harm when whoever reads it goes away: the work goes on."""
    from rich.console import Console

    from orchestrator.terminal import LastingStream

    stream = LastingStream(sys.stderr if stderr else sys.stdout)
    return Console(file=cast("TextIO", stream), highlight=False)


if __name__ == "__main__":
    main()
