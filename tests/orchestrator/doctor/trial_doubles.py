"""A child of `TrialProcess` that answers, hangs or crashes as its trials say; loads no torch.

Run as a module, like the real one.
"""

from __future__ import annotations

import os
import signal
import sys

from orchestrator.doctor import trial_child
from orchestrator.doctor.trials import DecodeTrial, Trial, Tried


def do(trial: Trial, device_name: str) -> Tried:
    """The path of a decode trial is what to do."""
    assert isinstance(trial, DecodeTrial)
    if trial.path == "hang":
        signal.pause()
    if trial.path == "crash":
        sys.stderr.write("double free or corruption\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    if trial.path == "leave":
        os._exit(7)
    if trial.path == "fail":
        return Tried("failed", "it should, and does not")
    print("what a library prints is no answer")  # noqa: T201
    return Tried("works", figures={"pid": os.getpid()}, words={"device": device_name})


if __name__ == "__main__":
    trial_child.do = do
    trial_child.main(sys.argv[1])
