"""A run on a Ray cluster of two nodes, and back: law 1, and what the end of nodes or driver costs.

One cluster serves the whole module; its nodes have room for one worker each.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGINT, SIGKILL, Signals
from typing import Any

import pytest
import yaml

from tests.clips import X264, ClipSpec
from tests.ray_cluster import QUIET, RayCluster, ray_cluster
from tests.runs import environment, files_left, journal, outputs
from tests.shared_runs import UndisturbedRun, VideosOf
from workers.local_folder import sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CLIPS = (
    ClipSpec("one_LR.mp4", X264, num_frames=36, audio=("aac",)),
    ClipSpec("two_LR.mp4", X264, num_frames=26),
)
SEGMENTS = 9 + 7
SETTINGS = (
    "input: {follow_links: true}\nmatting: {model: chroma}\nstereo: {mode: independent}\n"
    "streaming: {segment_frames: 4, lanes: 1}\nworkers: {gpus: none}\n"
)


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of(CLIPS, links=True)


@pytest.fixture(scope="module")
def mark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mark")


@pytest.fixture(scope="module")
def cluster(mark: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """Of a head without work and two nodes; nothing of it or of the runs is left in the end."""
    with ray_cluster(mark, tmp_path_factory.mktemp("cluster"), nodes=2) as cluster:
        yield cluster


def start(
    videos: Path, out: Path, mark: Path, cluster: RayCluster | None = None
) -> subprocess.Popen[str]:
    config = out.with_suffix(".yaml")
    config.write_text(SETTINGS)
    where: list[str] = []
    if cluster is not None:
        scratch = str(scratch_of(out))
        where = ["--backend", "ray", "--address", cluster.address, "--local-folder", scratch]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "orchestrator.cli", "run", str(videos), "-o", str(out)),
            *("--config", str(config), *where),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(mark), **QUIET},
    )


def scratch_of(out: Path) -> Path:
    """A folder that all nodes take for a local one of their own."""
    folder = out.with_name("nvme")
    folder.mkdir(exist_ok=True)
    return folder


def watched(process: subprocess.Popen[str], on_line: Callable[[str], object]) -> str:
    """Its words to the end, each line shown to `on_line` as it comes."""
    assert process.stderr is not None
    said = []
    with process.stderr:
        for line in process.stderr:
            said.append(line)
            on_line(line)
    process.wait()
    return "".join(said)


def entries(out: Path, kind: str) -> list[dict[str, Any]]:
    found = [line["entry"] for line in journal(out)]
    return [entry for entry in found if entry["kind"] == kind]


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: UndisturbedRun) -> dict[str, str]:
    """Of the local backend."""
    return undisturbed_run(CLIPS, yaml.safe_load(SETTINGS), links=True).outputs


#: `vrmatte doctor`, where each node says which it is instead of trying dozens of things.
DOCTOR = """
import orchestrator.doctor.everywhere as everywhere
from orchestrator.cli import main
from orchestrator.doctor.findings import Finding
from orchestrator.backends.node_check import this_node

def examine(wanted):
    import ray
    own = Finding("who", "node", "ok", ray.get_runtime_context().get_node_id())
    return everywhere.Said(this_node(), (own,))

everywhere.examine_here = examine
main()
"""


def test_the_doctor_goes_to_every_node(cluster: RayCluster, mark: Path, tmp_path: Path) -> None:
    words = ("--backend", "ray", "--address", cluster.address, "--out", str(tmp_path), "--json")
    done = subprocess.run(
        [sys.executable, "-c", DOCTOR, "doctor", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(mark), **QUIET},
    )
    assert done.returncode == 0, done.stderr
    leader, *others = json.loads(done.stdout)["nodes"]
    found = [{f["name"]: f for f in node["findings"]} for node in (leader, *others)]
    assert others  # both, or the one that a test before this one left
    assert [node["here"] for node in (leader, *others)] == [True] + [False] * len(others)
    assert len({each["node"]["said"] for each in found}) == len(found), "each was asked itself"
    assert found[0]["workers"]["said"] == "no GPU, and Ray has none of its CPUs: it gets no work"
    for each in found[1:]:
        levels = [each[name]["level"] for name in ("versions", "output folder", "workers")]
        assert levels == ["ok", "ok", "ok"]
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_wants_another_token_is_told_in_a_line(
    cluster: RayCluster, mark: Path
) -> None:
    shown = {"RAY_AUTH_TOKEN": "another", "RAY_NUM_REDIS_GET_RETRIES": "2"}
    done = subprocess.run(
        [sys.executable, "-c", DOCTOR, "doctor", "--backend", "ray", "--address", cluster.address],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(mark), **QUIET, **shown},
    )
    what, advice = done.stderr.splitlines()
    assert (done.returncode, "asks for a token" in what) == (3, True)
    assert "RAY_AUTH_MODE=token" in advice


def test_nodes_that_end_cost_their_attempts_and_one_that_comes_after_all_does_the_rest(
    videos: Path, undisturbed: dict[str, str], cluster: RayCluster, mark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ways: list[tuple[str, Callable[[], None]]] = [
        ("segments done", lambda: cluster.kill(0)),
        ("ended without being asked to", lambda: cluster.kill(1)),
        ("no worker is left: waiting about 5 min for a node", cluster.add),
    ]

    def change(line: str) -> None:
        if ways and ways[0][0] in line:
            ways.pop(0)[1]()

    process = start(videos, out, mark, cluster)
    said = watched(process, change)
    assert process.returncode == 0, said
    assert ways == []
    assert f"worker 2: ready on cpu on {socket.gethostname()}" in said
    assert outputs(out) == undisturbed
    assert files_left(out) == set()
    sweep(scratch_of(out))  # of those that were killed last
    assert list(scratch_of(out).iterdir()) == []
    # One lane: no more than the segment, or the joining, that each node had in hand.
    assert len(entries(out, "task-lost")) <= 2
    assert {entry["worker"] for entry in entries(out, "worker-lost")} == {0, 1}
    segments = [(e["video"], e["segment"]) for e in entries(out, "segment")]
    assert len(segments) == len(set(segments)) == SEGMENTS
    log = (out / ".vrmatte/logs/orchestrator.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in log]
    assert 2 in {event["worker"] for event in events if event["event"] == "assigned"}
    load = json.loads((out / "report.json").read_text())["load"]
    told = [device for point in load for device in point["devices"]]
    assert {device["worker"] for device in told} >= {2}
    assert {device["node"] for device in told} == {socket.gethostname()}
    assert all(device["rss_bytes"] for device in told if device["worker"] == 2)


def test_a_run_goes_on_from_one_backend_to_the_other_and_after_its_driver_ended(
    videos: Path, undisturbed: dict[str, str], cluster: RayCluster, mark: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = 0
    ways = ((None, SIGKILL, -9), (cluster, SIGKILL, -9), (cluster, SIGINT, 130), (None, None, 0))
    for where, number, status in ways:
        process = start(videos, out, mark, where)
        wanted = [] if number is None else [number]

        def stop(
            line: str,
            process: subprocess.Popen[str] = process,
            wanted: list[Signals] = wanted,
            at: int = done + 2,
        ) -> None:
            begun = (out / ".vrmatte/journal.jsonl").exists()
            if wanted and begun and len(entries(out, "segment")) >= at:
                process.send_signal(wanted.pop())

        said = watched(process, stop)
        assert process.returncode == status, said
        assert len(entries(out, "segment")) >= done + 2
        done = len(entries(out, "segment"))
    assert entries(out, "task-lost") == []
    segments = [(e["video"], e["segment"]) for e in entries(out, "segment")]
    assert len(segments) == len(set(segments)) == SEGMENTS, "something was made again"
    assert outputs(out) == undisturbed
    assert files_left(out) == set()
    sweep(scratch_of(out))  # of those that were killed last
    assert list(scratch_of(out).iterdir()) == []
