"""`vrmatte report OUT --serve`: shows the page and the outputs to browsers, until it is ended."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.out.folder import OutFolder
from orchestrator.report.again import write_again
from orchestrator.serve.addresses import page_addresses, parse_address
from orchestrator.serve.server import PageServer
from orchestrator.serve.shown_files import ShownFiles
from pipeline.errors import SettingsError
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import Console


def serve_report(
    path: Path,
    address: str,
    progress: Console,
    answers: Console,
    environment: Mapping[str, str],
    *,
    pictures: bool = True,
) -> None:
    """Serve OUT at `address` until KeyboardInterrupt; write the page first if there is none.

    Raises:
        SettingsError: the address cannot be had, or no run was started in `path`.
        MachineError, DiskError: the page cannot be written; see `write_again`.
    """
    out = OutFolder(path.absolute())
    host, port = parse_address(address)
    token = secrets.token_urlsafe()

    def tell(line: str) -> None:
        progress.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    with PageServer(host, port, ShownFiles(out), token, tell) as server:
        _require_page(out, progress, answers, pictures)
        for whose, found in page_addresses(server.bound, token, environment):
            answers.print(
                f"page{', ' if whose else ''}{whose}: {found}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        tell("whoever has the address can see the page and the outputs; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):  # the way to end it
            server.serve_forever()


def _require_page(out: OutFolder, progress: Console, answers: Console, pictures: bool) -> None:
    if out.in_use():  # the run writes it
        return
    if not out.page.exists():
        write_again(out.path, progress, answers, pictures=pictures)
    elif not (out.run_file.exists() or out.report.exists()):
        raise SettingsError(
            f"no run was started in {printable(str(out.path))}", "give the OUT of `vrmatte run`"
        )
