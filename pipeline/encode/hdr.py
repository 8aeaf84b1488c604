"""HDR10's static data as encoders take them. Loads no torch."""

from __future__ import annotations

from pipeline.contract import MasteringData

_PER_COLOUR, _PER_LIGHT = 50_000, 10_000  # of `MasteringData`


def x265_parameters(data: MasteringData | None) -> str:
    """What follows other parameters of x265; it takes the units of H.265."""
    if data is None:
        return ""
    said = ""
    if data.display is not None:
        gx, gy, bx, by, rx, ry, wx, wy, most, least = data.display
        said += (
            f":master-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"
        )
    return said + _light(data, "max-cll")


def svt_parameters(data: MasteringData | None) -> str:
    """What follows other parameters of SVT-AV1; it takes fractions, and cd/m2."""
    if data is None:
        return ""
    said = ""
    if data.display is not None:
        gx, gy, bx, by, rx, ry, wx, wy = (f"{n / _PER_COLOUR:.5f}" for n in data.display[:8])
        most, least = (f"{n / _PER_LIGHT:.4f}" for n in data.display[8:])
        said += (
            f":mastering-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"
        )
    return said + _light(data, "content-light")


def _light(data: MasteringData, name: str) -> str:
    if not (data.max_cll or data.max_fall):
        return ""
    return f":{name}={data.max_cll},{data.max_fall}"
