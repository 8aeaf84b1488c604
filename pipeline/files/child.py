"""Start child processes: commands that die with their thread, and modules of ours in a new Python.

An encoder that outlived its worker would go on writing a draft that the next run writes too.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Sequence
from pathlib import Path

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

#: The folder of our packages: a checkout, or the site-packages in which they are installed.
_HOME = Path(__file__).resolve().parents[2]


def tied(command: Sequence[str]) -> list[str]:
    """`command`, so started that the kernel kills it when the calling *thread* ends.

    The process keeps its number through all of it: killing and waiting work as ever.

    Args:
        command: the program's absolute path, and its arguments.
    """
    # -I and -S: nothing of the person's Python set-up is read, which also makes it quick.
    return [sys.executable, "-I", "-S", "-c", _FIRST_STEPS, str(os.getpid()), *command]


def own_module(module: str, *words: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment that run one of our modules in a new Python.

    Modules are never taken from the folder in which the person typed the command (``-P``): a folder
    of downloads may hold a ``json.py``.

    Args:
        words: the module's arguments.
    """
    return [sys.executable, "-P", "-m", module, *words], own_environment()


def own_environment() -> dict[str, str]:
    """The environment of this process, with a PYTHONPATH that leads a new Python to our packages.

    A new Python searches in the order of this one, without the current folder. A checkout comes
    first: the person's places may hold another package named ``pipeline`` or ``workers``. The
    person's places follow. Installed packages get no entry, because Python searches site-packages
    anyway, after the person's places; an entry would put it before them and before the standard
    library. An empty entry is dropped: Python reads it as the current folder. An empty
    PYTHONSAFEPATH counts as none, so that it is always set: it keeps that folder out of what the
    child starts in turn, too.
    """
    given = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    places = given if _installed() else [str(_HOME), *(p for p in given if p != str(_HOME))]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONSAFEPATH"] = "1"
    return environment | ({"PYTHONPATH": os.pathsep.join(places)} if places else {})


def _installed() -> bool:
    searched = (*site.getsitepackages(), site.getusersitepackages())
    return _HOME in (Path(place).resolve() for place in searched)
