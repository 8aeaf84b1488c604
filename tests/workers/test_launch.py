"""Real processes: what they are given, and how they end with all that they started."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

import pytest
import torch

from orchestrator.backends.local import LocalBackend
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.journal_entries import TaskLost, WorkerLost
from orchestrator.out.journal import Journal
from orchestrator.run.supervisor import run
from tests.orchestrator.worlds import make_job
from tests.workers.test_gpu_worker import job_in, segment_task, setup_for
from workers.launch import WorkerHandle, launch, visible_devices
from workers.messages import StopWorker, TaskProgress, WorkerReady, WorkerSetup
from workers.result_queue import LineGone

ROOT = Path(__file__).parents[2]


def reports(handle: WorkerHandle) -> Iterator[object]:
    while True:
        assert wait([handle.connection], 60), "the worker says nothing"
        for report in handle.receive():
            if not isinstance(report, TaskProgress):
                yield report


def test_the_parent_does_not_import_torch() -> None:
    code = (
        "import sys, orchestrator.cli, orchestrator.run.run, orchestrator.backends.local;"
        "import workers.launch;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("device", "environment", "expected"),
    [
        ("cpu", {}, ""),
        ("cpu", {"CUDA_VISIBLE_DEVICES": "0,1"}, ""),
        (2, {}, "2"),
        (1, {"CUDA_VISIBLE_DEVICES": "3, 5"}, "5"),
        (0, {"CUDA_VISIBLE_DEVICES": "GPU-12ab"}, "GPU-12ab"),
    ],
)
def test_a_worker_sees_its_own_gpu_and_no_other(
    device: int | str, environment: dict[str, str], expected: str
) -> None:
    assert visible_devices(device, environment) == expected


def test_a_process_serves_stops_and_keeps_its_noise_from_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    setup = dataclasses.replace(
        setup_for(tmp_path, "tests.workers.doubles:Noisy"), log_path=str(tmp_path / "gpu1.jsonl")
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handle = launch(1, 4, dataclasses.replace(setup, device=1))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    heard = reports(handle)
    assert next(heard) == WorkerReady(1, 4, "double 1, sees '1'")
    assert not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    handle.send(StopWorker())
    assert isinstance(next(heard), LineGone)
    assert wait([handle.sentinel], 60)
    assert handle.join() == "exit status 0"
    lines = [json.loads(line) for line in (tmp_path / "gpu1.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines if "worker" in line] == [
        "worker_started",
        "worker_ready",
        "worker_ended",
    ]
    assert {(line["worker"], line["life"]) for line in lines if "worker" in line} == {(1, 4)}
    assert any("a Python warning" in line["event"] for line in lines)
    noise = (tmp_path / "gpu1.err").read_text()
    assert "printed by Python" in noise
    assert "printed by a library" in noise
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "value"), [("PYTHONSAFEPATH", ""), ("PYTHONPATH", ":/none")])
def test_a_worker_runs_no_module_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Python takes either of these as that folder, which holds what somebody has downloaded."""
    canary = tmp_path / "canary"
    (tmp_path / "multiprocessing.py").write_text(f"open({str(canary)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    before = dict(os.environ)
    handle = launch(1, 4, setup_for(tmp_path, "tests.workers.doubles:Noisy"))
    assert dict(os.environ) == before
    heard = reports(handle)
    assert isinstance(next(heard), WorkerReady)
    handle.send(StopWorker())
    assert wait([handle.sentinel], 60)
    handle.join()
    assert not canary.exists()


def test_a_kill_takes_along_what_the_worker_started(tmp_path: Path) -> None:
    job = job_in(tmp_path, "hang")
    handle = launch(0, 1, setup_for(tmp_path))
    heard = reports(handle)
    assert isinstance(next(heard), WorkerReady)
    handle.send(segment_task(job, 0))
    grandchild = os.pidfd_open(wait_for_pids(handle, job.work_dir)[1])
    handle.kill()
    assert isinstance(next(heard), LineGone)
    assert wait([handle.sentinel], 60)
    assert handle.join() == "killed by SIGKILL"
    assert is_over(grandchild)


def test_what_is_left_behind_by_a_dead_worker_is_ended_with_it(tmp_path: Path) -> None:
    job = job_in(tmp_path, "hang")
    handle = launch(0, 1, setup_for(tmp_path))
    assert isinstance(next(reports(handle)), WorkerReady)
    handle.send(segment_task(job, 0))
    grandchild = os.pidfd_open(wait_for_pids(handle, job.work_dir)[1])
    os.kill(handle.pid, signal.SIGSEGV)
    assert wait([handle.sentinel], 60)
    assert handle.join() == "killed by SIGSEGV"
    assert is_over(grandchild)


def wait_for_pids(handle: WorkerHandle, work_dir: str) -> tuple[int, int]:
    """The worker's number and its child's: the double says progress after it wrote them."""
    path = Path(work_dir, "pids")
    while not path.exists():
        assert wait([handle.connection], 60), "the worker says nothing"
        handle.receive()
    worker, child = path.read_text().split()
    return int(worker), int(child)


def is_over(pidfd: int) -> bool:
    """Whether the process ends within a minute."""
    try:
        return bool(select.select([pidfd], [], [], 60)[0])
    finally:
        os.close(pidfd)


@pytest.mark.slow
def test_processes_that_die_cost_their_attempts_and_bad_files_only_themselves(
    tmp_path: Path,
) -> None:
    titles = ("die", "die once", "input", "decode")
    jobs = [*(job_in(tmp_path, title) for title in titles), make_job("v", 6, folder=str(tmp_path))]
    setups = {n: with_log(setup_for(tmp_path), f"cpu{n}") for n in range(2)}
    journal = Journal.open(tmp_path / "journal.jsonl")
    specs = [WorkerSpec(number, 2) for number in setups]
    outcome = run(jobs, LocalBackend(setups), specs, journal)
    journal.close()
    assert {video.id: video.status for video in outcome.snapshot.videos} == {
        "die": "failed",
        "die once": "done",
        "input": "failed",
        "decode": "done",
        "v": "done",
    }
    lost = [entry for entry in journal.entries if isinstance(entry, TaskLost)]
    assert sum(entry.video == "die" and entry.segment == 0 for entry in lost) <= 3
    assert {e.error.message for e in journal.entries if isinstance(e, WorkerLost)} == {
        "the worker's process ended: killed by SIGKILL"
    }
    text = Path(jobs[-1].outputs[0]).read_text()
    assert text == "".join(f"{n}..{n + 10} " for n in range(0, 60, 10))


def with_log(setup: WorkerSetup, name: str) -> WorkerSetup:
    return dataclasses.replace(setup, log_path=str(Path(setup.log_path).with_name(f"{name}.jsonl")))


RUNNER = """
import sys
from pathlib import Path
from orchestrator.backends.local import LocalBackend
from orchestrator.out.journal import Journal
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.run.supervisor import run
from tests.workers.test_gpu_worker import job_in, setup_for
from workers.log import log_to

def say(snapshot):
    if snapshot.stopping:
        print("stopping", flush=True)
    elif any(video.frames_done for video in snapshot.videos):
        print("working", flush=True)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    log_to(folder / "orchestrator.jsonl")
    journal = Journal.open(folder / "journal.jsonl")
    backend = LocalBackend({0: setup_for(folder)})
    jobs = [job_in(folder, "hang", segments=1)]
    outcome = run(jobs, backend, [WorkerSpec(0, 2)], journal, on_change=say)
    print("stopped" if outcome.stopped else "not stopped", flush=True)
"""


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A run with a worker that hangs, in a process group of its own; the worker and its child."""
    script = tmp_path / "runner.py"
    script.write_text(RUNNER)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "working\n"
            pids = Path(tmp_path, "work", "hang", "pids").read_text().split()
            yield process, [os.pidfd_open(int(pid)) for pid in pids]
        finally:
            process.kill()


@pytest.mark.slow
def test_when_the_parent_is_killed_its_workers_end(
    runner: tuple[subprocess.Popen[str], list[int]],
) -> None:
    process, (worker, child) = runner
    process.kill()
    assert is_over(worker)
    signal.pidfd_send_signal(child, signal.SIGKILL)  # the double's child is no child of ours
    os.close(child)


@pytest.mark.slow
def test_ctrl_c_on_the_terminal_reaches_the_parent_only_and_twice_ends_all(
    runner: tuple[subprocess.Popen[str], list[int]],
) -> None:
    process, pidfds = runner
    assert process.stdout is not None
    os.killpg(process.pid, signal.SIGINT)
    while process.stdout.readline() != "stopping\n":
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.read().splitlines()[-1] == "stopped"
    assert process.wait(60) == 0
    assert all(is_over(pidfd) for pidfd in pidfds)
