"""What the size of a pipe to an encoder does: CPU time and throughput of frames of 8192x4096.

    python benchmarks/pipe.py [ROUNDS]

A child reads whole planes, as `pipeline/encode/pyav_pipe.py` does, or is ffmpeg, which throws the
frames away; so that nothing but the pipe costs. The sizes take turns; medians are printed.
"""

from __future__ import annotations

import fcntl
import os
import resource
import statistics
import subprocess
import sys
import time

from pipeline.encode.ffmpeg_pipe import ffmpeg_path

WIDTH, HEIGHT, FRAMES = 8192, 4096, 24
FRAME_BYTES = WIDTH * HEIGHT * 3 // 2
SIZES = (1 << 16, 1 << 18, 1 << 20)
READER = f"""
import sys
room = memoryview(bytearray({FRAME_BYTES}))
while sys.stdin.buffer.readinto(room):
    pass
"""
CHILDREN = {
    "python": [sys.executable, "-c", READER],
    "ffmpeg": [
        *(ffmpeg_path(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"),
        *("-video_size", f"{WIDTH}x{HEIGHT}", "-framerate", "30", "-i", "pipe:0"),
        *("-c", "copy", "-f", "null", "-"),
    ],
}


def measured(command: list[str], size: int, frame: bytes) -> tuple[float, float, float]:
    """GB/s, CPU seconds of both ends and switches of the writer, per GB."""
    before = [resource.getrusage(k) for k in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        fcntl.fcntl(child.stdin.fileno(), fcntl.F_SETPIPE_SZ, size)
        for _ in range(FRAMES):
            child.stdin.write(frame)
    seconds = time.perf_counter() - began
    after = [resource.getrusage(k) for k in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    pairs = list(zip(before, after, strict=True))
    cpu = sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in pairs)
    switches = sum(b.ru_nvcsw - a.ru_nvcsw for a, b in pairs)
    moved = FRAMES * FRAME_BYTES / 1e9
    return moved / seconds, cpu / moved, switches / moved


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    frame = os.urandom(1 << 20) * (FRAME_BYTES >> 20)
    for name, command in CHILDREN.items():
        found: dict[int, list[tuple[float, float, float]]] = {size: [] for size in SIZES}
        for _ in range(rounds):
            for size in SIZES:
                found[size].append(measured(command, size, frame))
        for size, figures in found.items():
            rate, cpu, switches = (statistics.median(f[k] for f in figures) for k in range(3))
            best = max(f[0] for f in figures)
            print(
                f"{name:7} {size >> 10:5} KiB: {rate:.2f} GB/s (best {best:.2f}), {cpu:.3f} CPU s"
                f" and {switches:.0f} switches a GB"
            )


if __name__ == "__main__":
    main()
