"""What is told of a module of ours that was run in a process of its own and failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.child_module import run_module
from pipeline.errors import MachineError


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("sys.exit('error: this video has one eye (name another model)')", "this video has one"),
        (
            "print('a library warns', file=sys.stderr); sys.exit(4)",
            r"_fails failed \(exit status 4\): a li",
        ),
        ("sys.exit(5)", r"_fails failed \(exit status 5\)"),
    ],
)
def test_what_was_foreseen_is_told_as_it_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    (tmp_path / "a_child_that_fails.py").write_text(f"import sys\n{code}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MachineError, match=said) as failed:
        run_module("a_child_that_fails", [])
    assert ("exit status" in failed.value.message) is ("error: " not in code)
    assert "-m a_child_that_fails" in failed.value.__notes__[0]
