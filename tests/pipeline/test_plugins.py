"""A catalogue: its own rows, those that packages register, and what is wrong with either."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.plugins import Catalogue, nearest
from tests.packages import install, installed

GROUP = "vrmatte.test_rows"


@dataclass(frozen=True)
class Thing:
    name: str


CATALOGUE = Catalogue("thing", GROUP, Thing, (Thing("one"), Thing("another")))

ROWS = """
from tests.pipeline.test_plugins import Thing
zebra, mole, taken = Thing("zebra"), Thing("mole"), Thing("one")
misnamed, no_row = Thing("somebody"), "zebra"
"""


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "packages"
    own = {name: f"rows_of_a_test:{name}" for name in ("zebra", "mole", "misnamed", "no_row")}
    install(folder, "good-things", own, GROUP, rows_of_a_test=ROWS)
    install(folder, "thief", {"another": "rows_of_a_test:taken"}, GROUP)
    install(folder, "twin", {"mole": "rows_of_a_test:mole"}, GROUP)
    broken = {"broken": "broken_rows_of_a_test:row", "absent": "rows_of_a_test:absent"}
    text = "import a_module_that_nobody_has\n"
    install(folder, "broken-things", broken, GROUP, broken_rows_of_a_test=text)
    with installed(folder):
        yield


def test_built_in_rows_need_no_package() -> None:
    assert CATALOGUE.names() == ["one", "another"]
    assert [row.name for row in CATALOGUE] == CATALOGUE.names()
    assert CATALOGUE["one"] is CATALOGUE.get("one") is CATALOGUE.built_in["one"]
    assert "one" in CATALOGUE
    assert "zebra" not in CATALOGUE


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        CATALOGUE["anothr"]
    assert str(caught.value) == "there is no thing named 'anothr' (did you mean 'another'?)"
    assert CATALOGUE.get("anothr") is None
    assert nearest("quite different", ["a", "b"]) == "choose one of: a, b"


@pytest.mark.usefixtures("packages")
def test_rows_of_packages_are_listed_behind_ours_and_loaded_when_asked_for() -> None:
    names = ["one", "another", "absent", "broken", "misnamed", "mole", "no_row", "zebra"]
    assert CATALOGUE.names() == names
    assert "rows_of_a_test" not in sys.modules
    assert CATALOGUE["zebra"] == Thing("zebra")
    assert [row.name for row in CATALOGUE] == ["one", "zebra"]


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "another",
            "'another': those of vrmatte itself and package thief",
        ),
        ("mole", "several things are named 'mole': those of package good-things and package twin"),
        ("broken", "'broken' of package broken-things cannot be loaded: ModuleNotFoundError: No"),
        ("absent", "'absent' of package broken-things cannot be loaded: AttributeError: "),
        ("misnamed", "the thing 'misnamed' of package good-things calls itself 'somebody'"),
        ("no_row", "the thing 'no_row' of package good-things is a str, not a Thing"),
    ],
)
def test_a_package_that_is_wrong_costs_its_row_alone_and_one_line(name: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        CATALOGUE[name]
    assert said in caught.value.message
    assert "\n" not in str(caught.value)
    assert "uninstall" in caught.value.advice
    assert CATALOGUE["one"] == Thing("one")


@pytest.mark.usefixtures("packages")
def test_what_a_row_refers_to_is_loaded_by_name() -> None:
    assert CATALOGUE.load("zebra", "rows_of_a_test:mole") == Thing("mole")
    with pytest.raises(SettingsError, match="'zebra' cannot load rows_of_a_test:gone: Attrib"):
        CATALOGUE.load("zebra", "rows_of_a_test:gone")
