"""Threads that keep to one core, beside others that do not."""

from __future__ import annotations

import threading

import torch

from pipeline.threads import keep_to_one_core


def test_only_the_thread_that_asks_is_changed() -> None:
    here = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found: list[int] = []

        def ask(*calls: object) -> None:
            found.append(torch.get_num_threads())

        def kept() -> None:
            keep_to_one_core()
            torch.ones(1 << 20).mul_(2)
            ask()

        for work in (kept, ask):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert found == [1, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(here)
