"""How many cores PyTorch's operations take, thread by thread."""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_limits


def keep_to_one_core() -> None:
    """Let PyTorch's operations run in the calling thread alone; other threads stay as they are.

    For stages of many small operations beside the network's: sharing each out costs more than it
    takes (converting a frame of 1280x720 by strips: 22 ms with two threads, 3.6 with one). Only for
    what is the same bit for bit with any number of threads, as all is that has no sums over pixels:
    the number for sums comes from the settings.

    `torch.set_num_threads` would change what other threads do, too.
    """
    torch.get_num_threads()  # a thread takes the process's number at its first operation, not later
    threadpool_limits(1, user_api="openmp")  # OpenMP keeps it for each thread
