from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import logging, sys, warnings
from pathlib import Path
import structlog
from workers.log import log_to
log = log_to(Path(sys.argv[1]), worker=2)
log.info("began", path=Path("/a"), text="zwei\\nZeilen")
log.debug("not wanted")
structlog.get_logger("elsewhere").warning("by name", n=1)
logging.getLogger("library").error("by the %s library", "standard")
warnings.warn("take care")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def test_every_way_of_logging_ends_in_one_file_a_json_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "gpu2.jsonl"
    for _ in range(2):  # a second life goes on in the same file
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("", "")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 10
    began, by_name, standard, warning, failed = lines[:5]
    assert (began["event"], began["level"], began["worker"], began["path"], began["text"]) == (
        "began",
        "info",
        2,
        "/a",
        "zwei\nZeilen",
    )
    assert (by_name["event"], by_name["n"]) == ("by name", 1)
    assert (standard["event"], standard["level"]) == ("by the standard library", "error")
    assert "take care" in warning["event"]
    assert "ZeroDivisionError" in failed["exception"]
    assert all("timestamp" in line for line in lines)


FULL = """
import logging, os, sys, warnings
from pathlib import Path
from workers.log import log_to, silence_terminal
log = log_to(Path(sys.argv[1]))
said = os.dup(2)
silence_terminal(Path(sys.argv[1]))
for number in range(3):
    log.info("lost", number=number)
    logging.getLogger("library").error("lost too %s", "but not", "in order")
    warnings.warn("take care")
    print("a library prints", number, flush=True)
    print("to the other one", file=sys.stderr, flush=True)
os.write(said, b"alive")
"""


@pytest.mark.parametrize("place", ["/dev/full", "/proc/no/such/folder/gpu0.jsonl"])
def test_a_log_that_cannot_be_written_is_no_error_and_says_nothing(place: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, place], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "alive")


TORN = """
import resource, signal, sys
from pathlib import Path
from workers.log import log_to
path = Path(sys.argv[1])
log = log_to(path)
log.info("whole")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
log.info("torn")
log.info("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.info("whole again")
"""


def test_a_line_that_fitted_in_part_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "gpu0.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", TORN, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, torn, last = path.read_text().splitlines()
    assert json.loads(first)["event"] == "whole"
    assert len(torn) == 10
    assert json.loads(last)["event"] == "whole again"


SECOND_FILE = """
import sys
from pathlib import Path
import structlog
from structlog.testing import capture_logs
from workers.log import log_to, stop_logging
log = structlog.get_logger()  # as modules have theirs
for path in sys.argv[1:]:
    log_to(Path(path), name=path)
    log.info("here")
stop_logging()
with capture_logs() as caught:
    log.info("caught")
assert [line["event"] for line in caught] == ["caught"], caught
"""


def test_a_logger_that_has_spoken_follows_to_where_its_process_logs_next(tmp_path: Path) -> None:
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    subprocess.run([sys.executable, "-c", SECOND_FILE, *map(str, paths)], cwd=ROOT, check=True)
    for path in paths:
        assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["here"]
