"""The catalogue of models: laws over every row, and rows that another package registers."""

from __future__ import annotations

import inspect
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.contract import (
    MattingSettings,
    ModelOptions,
    ProcessingSettings,
    VideoSettings,
)
from pipeline.contract.fingerprint import NO_PIXELS
from pipeline.errors import SettingsError
from pipeline.stages.matting import catalogue
from pipeline.stages.matting.catalogue import (
    JSON_CONTEXT,
    MODELS,
    facts_of,
    helper_names,
    may_help,
    model_problems,
    narrowed,
    option_classes,
    taking_part,
    usable,
    weights_used,
)
from pipeline.stages.matting.chroma_facts import ChromaOptions
from pipeline.stages.matting.facts import UNKNOWN, ModelBytes, ModelFacts
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.sam2.facts import Sam2Options
from tests.their_package import ENTRY_POINTS, theirs_installed
from workers.messages import ModelChoice

NAMES = list(MODELS.built_in)
MB = 1_000_000

every_row = pytest.mark.parametrize("row", MODELS.built_in.values(), ids=lambda row: row.name)


# -- every row -----------------------------------------------------------------------------------


@every_row
def test_what_a_row_refers_to_is_there(row: ModelFacts) -> None:
    references: list[tuple[object, int]] = [(row.load, 3)]
    if row.weights is not None:
        references += [(row.weights.fetch, 1), (row.weights.missing, 1)]
    for reference, parameters in references:
        assert isinstance(reference, str)  # or the catalogue would load torch
        assert len(inspect.signature(MODELS.load(row.name, reference)).parameters) == parameters


@every_row
def test_a_row_says_what_it_is_for_and_under_which_licence(row: ModelFacts) -> None:
    for text in (row.description, row.needs, row.licence):
        assert text
        assert "\n" not in text
    licence = row.licence.split(",")[0]
    page = Path(__file__).parents[4].joinpath("docs/which-model.md").read_text()
    [line] = [line for line in page.splitlines() if line.startswith(f"| `{row.name}`")]
    assert licence in line or "as both" in line


@every_row
def test_what_can_run_it_can_be_asked_for(row: ModelFacts) -> None:
    hint = get_type_hints(ProcessingSettings)["engine"]
    assert row.engines <= set(get_args(hint)) - {"auto"}
    assert "torch" in row.engines


@every_row
def test_helpers_are_models_that_ask_no_other(row: ModelFacts) -> None:
    for each in taking_part(MattingSettings(model=row.name))[1:]:
        assert may_help(facts_of(each))
    assert may_help(row) == (row.name in helper_names())


def test_what_is_written_in_a_settings_file_means_one_thing() -> None:
    keys = [each.name for each in fields(MattingSettings)]
    for kind in option_classes():
        keys += kind.fields_by_key()
        assert all(key.startswith(f"{kind.prefix}_") for key in kind.fields_by_key())
    assert len(keys) == len(set(keys))


def test_memory_is_as_it_was_measured() -> None:
    """By the figures of docs/decisions/015 and docs/benchmarks/006."""

    def memory(model: str, engine: str = "auto", *options: ModelOptions) -> ModelBytes:
        matting = MattingSettings(model=model, region="whole", options=options)
        return facts_of(matting).memory(matting, engine)

    for name in ("chroma", "plate", "depth"):
        assert memory(name) == ModelBytes(another=6 * MB)
    finer = RvmOptions(variant="resnet50")
    assert memory("rvm", "torch") == ModelBytes(another=19 * MB)
    assert memory("rvm", "torch", finer) == ModelBytes(another=111 * MB)
    for engine in ("openvino", "auto"):
        assert memory("rvm", engine) == ModelBytes(another=123 * MB)
        assert memory("rvm", engine, finer) == ModelBytes(another=393 * MB)
    by_boxes = MattingSettings(model="rvm")
    assert facts_of(by_boxes).memory(by_boxes, "openvino").segment == 500 * MB
    for name in ("sam2", "sam2+rvm"):
        for size, *sizes in (
            ("tiny", 191, 160, 870),
            ("small", 219, 190, 870),
            ("base_plus", 359, 325, 1075),
            ("large", 934, 900, 1090),
        ):
            found = memory(name, "auto", Sam2Options(size=size))  # type: ignore[arg-type]
            assert [found.another, found.weights, found.segment] == [mb * MB for mb in sizes]
    assert memory("sam2", "auto", Sam2Options(image_size=512)).segment == 870 * MB / 4
    assert UNKNOWN.another == 934 * MB


def test_the_catalogue_loads_no_torch() -> None:
    program = (
        "import sys\n"
        "import pipeline.stages.matting.catalogue as catalogue, orchestrator.settings.settings\n"
        "catalogue.usable()\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# -- options -------------------------------------------------------------------------------------


def of_video(matting: MattingSettings) -> VideoSettings:
    return VideoSettings(matting=narrowed(matting))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", option_classes())
def test_an_option_changes_the_frames_of_models_that_take_part_and_no_others(
    name: str, kind: type[ModelOptions]
) -> None:
    general = MattingSettings(model=name)
    takes_part = kind in {facts_of(each).options for each in taking_part(general)}
    altering_no_pixel = {each.name for each in fields(kind) if each.metadata == NO_PIXELS}
    for field in kind.fields_by_key().values():
        if field in ("seed", "edge") or field in altering_no_pixel:
            continue
        options: ModelOptions = replace(kind(), **{field: "changed"})
        changed = general.with_options(options)
        one, other = of_video(general), of_video(changed)
        assert (one.fingerprint() != other.fingerprint()) == takes_part, field
        assert (ModelChoice.of(one) != ModelChoice.of(other)) == takes_part, field


def test_a_helper_takes_part_with_its_options() -> None:
    blue = ChromaOptions(color="blue")
    for model, own, matters in (
        ("sam2", Sam2Options(seed="chroma"), True),
        ("sam2", Sam2Options(edge="chroma"), False),
        ("sam2+rvm", Sam2Options(edge="chroma"), True),
    ):
        general = MattingSettings(model=model, options=(own,))
        changed = of_video(general.with_options(blue)).fingerprint()
        assert (changed != of_video(general).fingerprint()) == matters
    by_depth = MattingSettings(model="sam2", options=(Sam2Options(seed="depth"),))
    assert set(weights_used(by_depth)) == {"sam2"}
    assert set(weights_used(MattingSettings(model="sam2"))) == {"sam2", "rvm"}


def test_corrections_mean_nothing_to_models_that_follow_no_prompts() -> None:
    for name in NAMES:
        one = MattingSettings(model=name)
        other = replace(one, continuous_correction=True, correction_interval=3)
        differs = of_video(one).fingerprint() != of_video(other).fingerprint()
        assert differs == MODELS[name].follows_prompts


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_a_job_come_through_pickle_and_json(name: str) -> None:
    settings = of_video(
        MattingSettings(
            model=name,
            options=(RvmOptions(variant="resnet50"), Sam2Options(size="large", compile=True)),
        )
    )
    form = TypeAdapter(VideoSettings)
    text = form.dump_json(settings)
    for back in (
        pickle.loads(pickle.dumps(settings)),
        form.validate_json(text, context=JSON_CONTEXT),
    ):
        assert back == settings
        assert back.fingerprint() == settings.fingerprint()
    if settings.matting.options:
        with pytest.raises(ValidationError, match="JSON_CONTEXT"):
            form.validate_json(text)


def test_options_that_json_brings_are_checked() -> None:
    form = TypeAdapter(MattingSettings)
    text = '{"options": {"sam2": {"size": "huge"}}}'
    with pytest.raises(ValidationError, match="'tiny', 'small', 'base_plus' or 'large'"):
        form.validate_json(text, context=JSON_CONTEXT)
    with pytest.raises(SettingsError, match="no model has options that begin with 'other'"):
        form.validate_json('{"options": {"other": {}}}', context=JSON_CONTEXT)


def test_options_are_found_by_their_class_and_replaced_in_place() -> None:
    matting = MattingSettings(options=(RvmOptions(variant="resnet50"), ChromaOptions()))
    assert matting.of(RvmOptions).variant == "resnet50"
    assert matting.of(Sam2Options) == Sam2Options()
    changed = matting.with_options(RvmOptions())
    assert changed.options == (RvmOptions(), ChromaOptions())
    assert changed.with_options(Sam2Options()).options[2] == Sam2Options()


def test_options_that_no_settings_file_can_hold_are_refused() -> None:
    class NoDataclass(ModelOptions):
        prefix = "theirs"

        def __init__(self, given: int) -> None: ...

    class NoPrefix(ModelOptions):
        prefix = "the irs"

    for options, words in ((NoDataclass, "plain values with defaults"), (NoPrefix, "identifier")):
        with pytest.raises(ValueError, match=words):
            ModelFacts(name="theirs", load="a:b", description="", options=options)
    with pytest.raises(ValueError, match="'seed' is no field"):
        ModelFacts(name="theirs", load="a:b", description="", helpers=("seed",))


# -- another package -----------------------------------------------------------------------------


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Any]:
    """Their package is installed; its module of rows."""
    with theirs_installed(tmp_path) as rows:
        yield rows


def test_their_rows_are_like_ours(theirs: Any) -> None:
    assert MODELS.names() == [*NAMES, *sorted(ENTRY_POINTS)]
    assert [row.name for row in usable()] == [*NAMES, "theirs", "theirs-bare", "theirs-clash"]
    assert theirs.TheirOptions in option_classes()
    matting = MattingSettings(model="theirs", options=(theirs.TheirOptions(level=0.25),))
    assert facts_of(matting) is theirs.THEIRS
    settings = of_video(matting.with_options(ChromaOptions(color="blue")))
    assert settings.matting == matting
    form = TypeAdapter(VideoSettings)
    assert form.validate_json(form.dump_json(settings), context=JSON_CONTEXT) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert list(model_problems(matting)) == []


def test_theirs_may_help_ours(theirs: Any) -> None:
    matting = MattingSettings(model="sam2", options=(Sam2Options(seed="theirs"),))
    assert list(model_problems(matting)) == []
    assert theirs.TheirOptions() in narrowed(matting).options
    for bad in ("sam2+rvm", "their", "theirs-gone"):
        wrong = matting.with_options(Sam2Options(edge=bad))
        [(key, error)] = model_problems(replace(wrong, model="rvm"))
        assert key == "sam2_edge"
        assert str(error).startswith("matting.sam2_edge: ")


@pytest.mark.usefixtures("theirs")
def test_a_bare_factory_is_a_row_of_which_little_is_known() -> None:
    row = MODELS["theirs-bare"]
    matting = MattingSettings(model="theirs-bare")
    assert row.load is pkgutil.resolve_name("their_model:load")
    assert (row.options, row.weights, row.memory(matting, "auto")) == (None, None, UNKNOWN)
    assert narrowed(matting) == matting


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("theirs-gone", "package their-models cannot be loaded: AttributeError"),
        ("theirs-odd", "package their-models is a str, not a ModelFacts"),
        ("theirs-raises", "package their-models cannot be loaded: RuntimeError: no such library"),
        ("theirs-clash", "names that others have already"),
        ("their", "there is no model named 'their'"),
    ],
)
def test_what_is_broken_costs_itself_in_one_line(name: str, words: str) -> None:
    [(key, error)] = model_problems(MattingSettings(model=name))
    assert key == "model"
    assert words in error.message
    assert "\n" not in str(error)
    assert list(model_problems(MattingSettings())) == []
    assert catalogue.MODELS["rvm"].options in option_classes()
