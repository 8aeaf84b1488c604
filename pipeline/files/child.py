"""Child processes that end with the thread that started them, however it ends.

An encoder that outlived its worker would go on writing a draft that the next run writes too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# Run in the child before the program itself. Python's own `preexec_fn` may deadlock in a process
# that has threads; a small interpreter in between costs some 20 ms and cannot.
# 1 is PR_SET_PDEATHSIG (linux/prctl.h). It outlives exec; a parent that was gone before it was
# asked for sends no signal, so that is looked at afterwards. Python ignores SIGPIPE, which the
# program shall see as usual; SIGXFSZ stays ignored, so that a file that grows beyond a limit is an
# error that the program can tell.
_FIRST_STEPS = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2]
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != parent:
    os._exit(1)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
try:
    os.execv(program, sys.argv[2:])
except OSError as error:
    sys.stderr.write(f"cannot start {program}: {error.strerror}\\n")
    os._exit(127)
"""


def tied(command: Sequence[str]) -> list[str]:
    """`command`, so started that the kernel kills it when the calling *thread* ends.

    The process keeps its number through all of it: killing and waiting work as ever.

    Args:
        command: the program's absolute path, and its arguments.
    """
    # -I and -S: nothing of the person's Python set-up is read, which also makes it quick.
    return [sys.executable, "-I", "-S", "-c", _FIRST_STEPS, str(os.getpid()), *command]
