"""The gates' own checks on this very machine: ``pytest -m gate2`` is gate 2 of `vrmatte gates`.

The same functions, without doubles. What has no GPU here is skipped, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.doctor.doctor import here
from orchestrator.gates.checks import CheckSkipped
from orchestrator.gates.gates import GATES
from orchestrator.gates.site import Site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        made = Site(here(), tmp_path_factory.mktemp("site"))
        yield made
        made.close()


def pass_gate(site: Site, gate: int, subtests: pytest.Subtests) -> None:
    for check in GATES[gate][1](site):
        with subtests.test(check.name):
            try:
                check.run()
            except CheckSkipped as reason:
                if os.environ.get("VRMATTE_REQUIRE_GPU") == "1" and str(reason).startswith(
                    "no GPU"
                ):
                    pytest.fail("VRMATTE_REQUIRE_GPU=1, and there is no GPU")
                pytest.skip(str(reason))


@pytest.mark.gate1
def test_gate_1_environment(site: Site, subtests: pytest.Subtests) -> None:
    pass_gate(site, 1, subtests)


@pytest.mark.gate2
def test_gate_2_components(site: Site, subtests: pytest.Subtests) -> None:
    pass_gate(site, 2, subtests)


@pytest.mark.gate3
def test_gate_3_integration(site: Site, subtests: pytest.Subtests) -> None:
    pass_gate(site, 3, subtests)


@pytest.mark.gate4
def test_gate_4_batch(
    site: Site, subtests: pytest.Subtests, request: pytest.FixtureRequest
) -> None:
    if "gate4" not in request.config.getoption("markexpr"):
        pytest.skip("asked for by `pytest -m gate4`: other tests hold that law")
    pass_gate(site, 4, subtests)


@pytest.mark.gate5
def test_gate_5_production(site: Site, subtests: pytest.Subtests) -> None:
    """On what the run of gate 3 left."""
    site.out = Path(site.one_worker().out)
    pass_gate(site, 5, subtests)
