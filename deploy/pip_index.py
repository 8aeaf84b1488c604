"""Prints the package index that pip is set to use, if it is set; reads pip's settings, not pip."""

import configparser
import os
from pathlib import Path


def pip_index() -> str:
    """The index-url by pip's order of precedence: environment, user's file, machine's file."""
    if index := os.environ.get("PIP_INDEX_URL"):
        return index
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    settings = configparser.RawConfigParser()
    settings.read(
        [
            "/etc/pip.conf",
            Path.home() / ".pip" / "pip.conf",
            config_home / "pip" / "pip.conf",
            os.environ.get("PIP_CONFIG_FILE") or os.devnull,
        ],
        encoding="utf-8",
    )
    return settings.get("global", "index-url", fallback="")


if __name__ == "__main__":
    print(pip_index())  # noqa: T201
