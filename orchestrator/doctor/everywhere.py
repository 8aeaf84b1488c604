"""`vrmatte doctor --backend ray`: examine each node of a cluster, and compare it with this one.

Ray itself is behind `orchestrator/backends/ray.py`; it is imported when a cluster is asked for.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.node_check import Node, difference, package_versions
from orchestrator.backends.ray_session import connected
from orchestrator.doctor.doctor import Surroundings, examine, here
from orchestrator.doctor.findings import SCHEMA, Finding, as_record, worst
from orchestrator.machine.devices import usable_cores, usable_memory
from orchestrator.words import counted
from pipeline.contract import MattingSettings
from pipeline.text import printable

GROUP = "cluster"

#: How long the nodes' doctors may take together: each runs dozens of trials with deadlines.
NODES_S = 600.0

#: How long a node may take to say whether a file is there.
FILE_S = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What each node's doctor examines; see `orchestrator.doctor.doctor.examine`."""

    out: Path | None
    matting: MattingSettings
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """A node as its own doctor describes it."""

    node: Node
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The findings on one node.

    Attributes:
        name: its host name.
        here: it is this machine.
    """

    name: str
    address: str
    here: bool
    findings: tuple[Finding, ...]


#: (nodes, function, seconds) -> for each node what the function returned there, or in words why it
#: did not.
Ask = Callable[[Sequence[str], Callable[[], Any], float], Mapping[str, Any]]


def examine_cluster(
    address: str, wanted: Wanted, examine: Callable[[Wanted], Said] | None = None
) -> list[NodeReport]:
    """A report on every node of the Ray cluster at `address` ("auto": this machine's cluster).

    Raises:
        MachineError: Ray is not installed, or there is no cluster.
    """
    with connected(address):
        import ray

        from orchestrator.backends.ray import alive_nodes, look_everywhere

        ended = threading.Event()
        return examine_nodes(
            alive_nodes(),
            ray.get_runtime_context().get_node_id(),
            wanted,
            lambda nodes, look, limit_s: look_everywhere(nodes, look, limit_s, ended),
            examine or examine_here,
        )


def examine_here(wanted: Wanted, around: Surroundings | None = None) -> Said:
    """Examine this machine, a node of a cluster."""
    # Older versions of Ray hide all GPUs from a task that asks for none.
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        del os.environ["CUDA_VISIBLE_DEVICES"]
    if around is None:
        os.chdir(Path.home())  # the current folder is Ray's, and its disk does not matter
        around = here()
    driver = around.asked.driver
    node = Node(
        host=socket.gethostname(),
        gpus=tuple(around.gpus),
        cores=usable_cores(),
        memory_bytes=usable_memory(),
        versions=package_versions() | ({"driver": driver.version} if driver else {}),
    )
    return Said(node, tuple(examine(around, wanted.out, wanted.matting, fresh=wanted.fresh)))


def examine_nodes(
    nodes: Mapping[str, Mapping[str, Any]],
    leader: str,
    wanted: Wanted,
    ask: Ask,
    examine: Callable[[Wanted], Said] = examine_here,
) -> list[NodeReport]:
    """A report on each node, this machine's first.

    Args:
        nodes: what Ray knows of each, by its name in Ray.
        leader: this machine, with which the others are compared.
    """
    order = sorted(nodes, key=lambda node: (node != leader, nodes[node]["NodeManagerAddress"]))
    answers = ask(order, lambda: examine(wanted), NODES_S)
    said = {node: answer for node, answer in answers.items() if isinstance(answer, Said)}
    seen = _out_seen(wanted.out, leader, list(said), ask)
    on_gpu = any(nodes[node]["Resources"].get("GPU", 0) for node in nodes)
    reports = []
    for node in order:
        known, answer = nodes[node], answers[node]
        found = [_address(known["NodeManagerAddress"])]
        if isinstance(answer, Said):
            found.append(_workers(known["Resources"], len(answer.node.gpus), on_gpu=on_gpu))
            if node != leader and leader in said:
                found.append(_versions(said[leader].node, answer.node))
            found += [seen[node]] if node in seen else []
            found += answer.findings
        else:
            advice = (
                "see `ray status` and that machine; `ray stop` there removes it from the cluster"
            )
            found.append(Finding(GROUP, "answer", "broken", str(answer), advice))
        name, address = known["NodeManagerHostname"], known["NodeManagerAddress"]
        reports.append(NodeReport(name, address, node == leader, tuple(found)))
    return reports


def _address(address: str) -> Finding:
    """Anyone who reaches Ray's ports can run programs on the node."""
    try:
        public = ipaddress.ip_address(address).is_global
    except ValueError:  # a host name, which is not resolved
        public = False
    if not public:
        return Finding(GROUP, "address", "ok", f"{address} is not a public address")
    return Finding(
        GROUP,
        "address",
        "warning",
        f"{address} is a public address: anyone who reaches its ports can run programs there",
        "give the private address to `ray start --node-ip-address`, or block others by a firewall",
    )


def _workers(resources: Mapping[str, float], usable: int, *, on_gpu: bool) -> Finding:
    """The workers that a run would start on the node.

    Args:
        resources: of the node, as Ray counts them.
        usable: GPUs that the driver shows.
        on_gpu: some node of the cluster has a GPU, so that runs use GPUs.
    """
    name, given = "workers", int(resources.get("GPU", 0))
    if given > usable:
        said = f"Ray counts {counted(given, 'GPU')}, and {usable} can be seen there"
        advice = f"start Ray there with --num-gpus={usable}; the lines below say what is wrong"
        return Finding(GROUP, name, "broken", said, advice)
    if given < usable:
        said = f"Ray has {given} of its {counted(usable, 'GPU')}: the others get no work"
        return Finding(GROUP, name, "warning", said, "run `ray start` there without --num-gpus")
    if on_gpu and not given:
        said = "no GPU, but others have one: it gets work only in a run with --gpus none"
        return Finding(GROUP, name, "warning", said, "remove it, unless it only leads the run")
    if on_gpu:
        return Finding(GROUP, name, "ok", f"one for each of {counted(given, 'GPU')}")
    if not resources.get("CPU", 0):
        said = "no GPU, and Ray has none of its CPUs: it gets no work"
        return Finding(GROUP, name, "warning", said, "run `ray start` there without --num-cpus=0")
    return Finding(GROUP, name, "ok", "on the CPU: no node has a GPU")


def _versions(leader: Node, there: Node) -> Finding:
    found = difference(leader, there)
    if found is None:
        return Finding(GROUP, "versions", "ok", "the same as on this machine")
    advice = "a run leaves the node out: install the same there (same checkout, `make setup`)"
    return Finding(GROUP, "versions", "broken", found, advice)


def _out_seen(out: Path | None, leader: str, nodes: Iterable[str], ask: Ask) -> dict[str, Finding]:
    """Whether the nodes see the same output folder as this machine."""
    name = "output folder"
    if out is None:
        said = "not given: whether all nodes see the same folder was not checked"
        return {leader: Finding(GROUP, name, "skipped", said, "name OUT with --out")}
    place, token = os.path.abspath(out), f".vrmatte-doctor-{secrets.token_hex(8)}.part"  # noqa: PTH100
    left = ask([leader], lambda: _leave(place, token), FILE_S)[leader]
    if not isinstance(left, Path):
        said = f"{printable(place)} cannot be written from this machine: {left}"
        return {leader: Finding(GROUP, name, "broken", said, "choose another folder with --out")}
    file = left
    try:
        answers = ask(list(nodes), lambda: file.is_file(), FILE_S)
    finally:
        ask([leader], lambda: file.unlink(missing_ok=True), FILE_S)
    return {node: _folder(file.parent, answer) for node, answer in answers.items()}


def _leave(place: str, token: str) -> Path | str:
    """Leave a file in a folder, or in its nearest parent that exists."""
    folder = next(parent for parent in (Path(place), *Path(place).parents) if parent.is_dir())
    try:
        (folder / token).touch()
    except OSError as error:
        return error.strerror or str(error)
    return folder / token


def _folder(folder: Path, seen: object) -> Finding:
    name, shown = "output folder", printable(str(folder))
    if seen is True:
        return Finding(GROUP, name, "ok", f"it sees {shown} as this machine does")
    why = "it does not see the files that are there" if seen is False else str(seen)
    advice = "mount the same volume at the same place on all nodes (DEPLOYMENT_GUIDE.md)"
    return Finding(GROUP, name, "broken", f"{shown}: {why}", advice)


def cluster_record(reports: Sequence[NodeReport]) -> dict[str, Any]:
    """The JSON form: a list of nodes, each with the fields of `findings.as_record`."""
    return {
        "schema": SCHEMA,
        "level": worst(finding for report in reports for finding in report.findings),
        "nodes": [
            {"name": report.name, "address": report.address, "here": report.here}
            | as_record(report.findings)
            for report in reports
        ],
    }
