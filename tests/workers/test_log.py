from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
