"""The doctor on a cluster: what is said of each node, by doubles of Ray and of the machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import orchestrator.doctor.everywhere
from orchestrator.cli import main
from orchestrator.doctor.everywhere import (
    NodeReport,
    Said,
    Wanted,
    cluster_record,
    examine_here,
    examine_nodes,
)
from orchestrator.doctor.findings import Finding
from pipeline.contract import MattingSettings
from tests.orchestrator.machines import L4, Machine

CHROMA = MattingSettings(model="chroma")


@dataclass
class Nodes:
    """A cluster of machines that are asked in this process; the first is this one.

    Attributes:
        gpus: how many Ray counts on each.
        silent: machines that say nothing.
        blind: machines on which the file that is left in OUT is not there.
    """

    machines: list[Machine]
    gpus: list[int]
    addresses: list[str] = field(default_factory=lambda: ["10.0.0.1", "10.0.0.2"])
    silent: tuple[int, ...] = ()
    blind: tuple[int, ...] = ()

    def reports(self, out: Path | None = None, cpus: int = 8) -> list[NodeReport]:
        known = {
            str(number): {
                "NodeManagerHostname": f"pod-{number}",
                "NodeManagerAddress": self.addresses[number],
                "Resources": {"GPU": float(self.gpus[number]), "CPU": float(cpus)},
            }
            for number in range(len(self.machines))
        }
        return examine_nodes(known, "0", Wanted(out, CHROMA), self._ask, self._examine)

    def _ask(
        self, nodes: Sequence[str], look: Callable[[], Any], limit_s: float
    ) -> Mapping[str, Any]:
        answers: dict[str, Any] = {}
        for node in nodes:
            self._asked = int(node)
            said = f"it said nothing for {limit_s:g} s"
            answers[node] = said if self._asked in self.silent else look()
            if answers[node] is True and self._asked in self.blind:
                answers[node] = False
        return answers

    def _examine(self, wanted: Wanted) -> Said:
        return examine_here(wanted, self.machines[self._asked].around())


@pytest.fixture
def cluster(tmp_path: Path) -> Nodes:
    """Two good machines, each with a GPU."""
    return Nodes([Machine(tmp_path / name).with_gpu() for name in "ab"], [1, 1])


def the(report: NodeReport, name: str) -> Finding:
    [finding] = [finding for finding in report.findings if finding.name == name]
    return finding


def test_a_good_cluster_is_called_good_and_each_node_has_its_own_lines(
    cluster: Nodes, tmp_path: Path
) -> None:
    reports = cluster.reports(tmp_path)
    assert cluster_record(reports)["level"] == "ok"
    assert [(r.name, r.address, r.here) for r in reports] == [
        ("pod-0", "10.0.0.1", True),
        ("pod-1", "10.0.0.2", False),
    ]
    for report in reports:
        assert the(report, "workers").said == "one for each of 1 GPU"
        assert the(report, "output folder").level == "ok"
        assert the(report, "CUDA").level == "ok", "its own doctor's"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_node_that_says_nothing_is_broken(cluster: Nodes) -> None:
    cluster.silent = (1,)
    leader, silent = cluster.reports()
    answer = the(silent, "answer")
    assert (answer.level, answer.said) == ("broken", "it said nothing for 600 s")
    assert answer.advice
    assert leader.findings[-1].level == "ok"
    cluster.silent = (0,)
    assert the(cluster.reports()[0], "answer").level == "broken"


def test_what_a_nodes_own_doctor_finds_is_told_of_that_node(cluster: Nodes) -> None:
    cluster.machines[1].unmade = ("hevc",)
    good, bad = cluster_record(cluster.reports())["nodes"]
    assert (good["level"], bad["level"]) == ("ok", "broken")


def test_versions_that_differ_are_broken(cluster: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = iter([{"torch": "2"}, {"torch": "1"}])
    monkeypatch.setattr(orchestrator.doctor.everywhere, "package_versions", lambda: next(versions))
    driver = cluster.machines[1].driver
    assert driver is not None
    cluster.machines[1].driver = replace(driver, version="590.1")
    finding = the(cluster.reports()[1], "versions")
    assert finding.level == "broken"
    assert finding.said == "torch 1 there, 2 here; driver 590.1 there, 580.65 here"


def test_a_node_with_another_folder_of_that_name(cluster: Nodes, tmp_path: Path) -> None:
    cluster.blind = (1,)
    leader, blind = cluster.reports(tmp_path / "not" / "yet")
    assert the(leader, "output folder").level == "ok"
    assert the(blind, "output folder").level == "broken"
    assert f"{tmp_path}: it does not see" in the(blind, "output folder").said
    leader, _ = cluster.reports(None)
    assert the(leader, "output folder").level == "skipped"


def test_an_out_that_this_machine_cannot_write(
    cluster: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    finding = the(cluster.reports(tmp_path)[0], "output folder")
    assert finding.level == "broken"
    assert finding.said.endswith("Permission denied")


def test_a_public_address_is_a_warning(cluster: Nodes) -> None:
    cluster.addresses = ["203.1.2.3", "100.64.0.2"]
    public, private = sorted(cluster.reports(), key=lambda report: report.name)
    assert the(public, "address").level == "warning"
    assert "anyone who reaches its ports" in the(public, "address").said
    assert the(private, "address").level == "ok"


@pytest.mark.parametrize(
    ("counted", "there", "level", "said"),
    [
        (0, 0, "warning", "no GPU, but others have one"),
        (0, 1, "warning", "Ray has 0 of its 1 GPU"),
        (2, 1, "broken", "Ray counts 2 GPUs, and 1 can be seen"),
    ],
)
def test_gpus_that_ray_and_the_driver_do_not_agree_on(
    cluster: Nodes, counted: int, there: int, level: str, said: str
) -> None:
    cluster.gpus[1] = counted
    cluster.machines[1].gpus = (L4,) * there
    finding = the(cluster.reports()[1], "workers")
    assert finding.level == level
    assert said in finding.said
    assert finding.advice


def test_a_cluster_without_gpus_works_on_its_cpus(cluster: Nodes) -> None:
    for machine in cluster.machines:
        machine.gpus, machine.driver = (), None
    cluster.gpus = [0, 0]
    assert {the(report, "workers").level for report in cluster.reports()} == {"ok"}
    assert {the(report, "workers").level for report in cluster.reports(cpus=0)} == {"warning"}


def test_it_is_shown_node_by_node_and_the_exit_status_is_that_of_all(
    cluster: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def typed(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["doctor", "--backend", "ray", "--model", "chroma", *words])
        return done.exit_code, done.stdout

    monkeypatch.setattr(
        orchestrator.doctor.everywhere,
        "examine_cluster",
        lambda address, wanted: cluster.reports(wanted.out),
    )
    status, said = typed()
    assert status == 0
    assert said.index("node pod-0 (10.0.0.1), this machine") < said.index("node pod-1 (10.0.0.2)")
    assert "this cluster is ready" in said
    cluster.silent = (1,)
    status, said = typed()
    assert status == 3
    assert "it said nothing for 600 s" in said
    assert "this cluster is not ready: 1 thing to repair" in said
    status, said = typed("--json")
    record = json.loads(said)
    assert (status, record["level"], record["schema"]) == (3, "broken", 2)
    assert [node["name"] for node in record["nodes"]] == ["pod-0", "pod-1"]


def test_without_ray_one_line_says_so() -> None:
    program = "import sys; sys.modules['ray'] = None; from orchestrator.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--backend", "ray"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "needs Ray, which is not installed here" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
