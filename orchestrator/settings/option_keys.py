"""The setting behind each option of `vrmatte run`. Loads nothing else, so the command line can."""

from __future__ import annotations

from collections.abc import Mapping

#: Name of the option, as Python's, -> group and key.
OPTION_KEYS: Mapping[str, tuple[str, str]] = {
    "model": ("matting", "model"),
    "prompts": ("matting", "prompts"),
    "dlc_csv": ("matting", "dlc_csv"),
    "dlc_parts": ("matting", "dlc_bodyparts"),
    "dlc_likelihood": ("matting", "dlc_likelihood"),
    "formats": ("output", "formats"),
    "enhance": ("enhance", "scale"),
    "name": ("output", "name"),
    "sidecar": ("output", "sidecar"),
    "local_folder": ("output", "local_folder"),
    "layout": ("input", "layout"),
    "projection": ("input", "projection"),
    "quality": ("encoding", "quality"),
    "gpus": ("workers", "gpus"),
    "cpu_workers": ("workers", "cpu_workers"),
    "start_frame": ("input", "start_frame"),
    "max_frames": ("input", "max_frames"),
    "start": ("input", "start"),
    "end": ("input", "end"),
    "every": ("input", "every"),
    "scale": ("processing", "scale_factor"),
    "segment_frames": ("streaming", "segment_frames"),
    "lanes": ("streaming", "lanes"),
    "grace": ("limits", "grace_s"),
    "notify": ("notify", "to"),
}

#: The same by the names of the options (`--dlc-csv`, and `--format` for `formats`).
SHORT_KEYS: Mapping[str, tuple[str, str]] = {
    **OPTION_KEYS,
    **{name.replace("_", "-"): key for name, key in OPTION_KEYS.items()},
    "format": OPTION_KEYS["formats"],
}

#: Old name of an option -> its name now.
OLD_OPTIONS: Mapping[str, str] = {"scratch": "local_folder"}
