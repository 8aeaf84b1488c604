"""`vrmatte preview --compare`: several models side by side; one that fails costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.plan.per_file import with_matting
from orchestrator.preview.at_hand import Ready, ShownModel, VideoAtHand
from orchestrator.preview.drawn import Lacking, compared_sheet, write_sheet
from orchestrator.preview.frames import chosen_frames
from orchestrator.preview.request import Preview
from orchestrator.settings.settings import Settings
from pipeline.contract import NO_MODEL
from pipeline.errors import MachineError, SettingsError, VrmatteError
from pipeline.stages.matting.catalogue import AUTO, MODELS, facts_of, model_problems


def require_models(names: Sequence[str], settings: Settings) -> None:
    """Check the names of models to compare, before anything is read.

    Raises:
        SettingsError: there is none of that name, one is named twice, or the settings hold prompts
            and no model follows them.
    """
    for number, name in enumerate(names):
        if name in (AUTO, NO_MODEL):
            raise SettingsError(
                f"--compare: {name} is no model",
                f"name models: {', '.join(MODELS.names())}",
            )
        if name in names[:number]:
            raise SettingsError(f"--compare names {name} twice", "name each model once")
        if name not in MODELS:
            near = _refusal(name)
            raise SettingsError(f"--compare: {near.message}", near.advice)
    told = next((key for key in ("prompts", "dlc_csv") if getattr(settings.matting, key)), None)
    rows = [row for name in names if (row := MODELS.get(name)) is not None]
    if told is not None and not any(row.follows_prompts for row in rows):
        followers = [row.name for row in MODELS if row.follows_prompts]
        raise SettingsError(
            f"matting.{told}: none of the models {', '.join(names)} follows prompts",
            f"compare one that does, too: {', '.join(followers)}",
        )


def _refusal(name: str) -> SettingsError:
    try:
        MODELS[name]
    except SettingsError as error:
        return error
    raise AssertionError(f"{name} is a model")


def compare(video: VideoAtHand, settle: Callable[[Settings], Settings]) -> Preview:
    """Write the sheet of the models that the request names.

    Args:
        settle: settles the settings with one model.

    Raises:
        VrmatteError: no model can be shown, or the sheet cannot be written.
    """
    request = video.request
    ready: dict[str, Ready | Lacking] = {}
    for name in request.compare:
        video.on_step(f"looking for the model {name}")
        try:
            ready[name] = video.ready(settle(_with_model(request.settings, name)))
        except VrmatteError as error:
            ready[name] = Lacking(name, str(error))
    can = [each for each in ready.values() if isinstance(each, Ready)]
    if not can:
        raise _nothing_to_show([each for each in ready.values() if isinstance(each, Lacking)])
    prompts = next((each.prompts for each in can if each.prompts is not None), None)
    frames = chosen_frames(can[0].info, request.at, prompts)

    columns: list[ShownModel | Lacking] = []
    place = None
    for number, each in enumerate(ready.values(), 1):
        if isinstance(each, Ready):
            turn = f" ({number} of {len(ready)})"
            try:
                shown = video.show(each, frames, prompts, place, turn)
            except VrmatteError as error:
                columns.append(Lacking(each.model, str(error)))
            else:
                columns.append(shown)
                place = shown.column.place
        else:
            columns.append(each)
    models = [each for each in columns if isinstance(each, ShownModel)]
    if not models:
        raise _nothing_to_show([each for each in columns if isinstance(each, Lacking)])
    write_sheet(compared_sheet(columns, models[0], frames, request.width), request.sheet)
    numbers = tuple(frame * models[0].ready.info.every for frame in frames)
    return Preview(numbers, tuple(each.verdict for each in columns))


def _with_model(settings: Settings, name: str) -> Settings:
    """The settings for one of the models. Raises SettingsError: they cannot be for it."""
    matting = replace(settings.matting, model=name)
    if not facts_of(matting).follows_prompts:  # they are for those of the others that do
        matting = replace(matting, prompts=None, dlc_csv=None)
    for _, error in model_problems(matting):
        raise error
    return with_matting(settings, matting)


def _nothing_to_show(columns: Sequence[Lacking]) -> MachineError:
    whys = "; ".join(f"{each.model}: {each.why}" for each in columns)
    return MachineError(f"no model can be shown: {whys}")
