"""Files that want something other than to be watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.pipeline.canary import Canary


def hls(target: str) -> bytes:
    return (f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n").encode()


def concat(target: str) -> bytes:
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


def dash(target: str) -> bytes:
    return (
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"'
        ' profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static"'
        ' mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1" bandwidth="1" width="64" height="32">'
        f'<BaseURL>{target}</BaseURL><SegmentList><Initialization sourceURL="{target}"/>'
        f'<SegmentURL media="{target}"/></SegmentList></Representation></AdaptationSet></Period>'
        "</MPD>"
    ).encode()


def dash_that_begins_like_mp4(target: str) -> bytes:
    """An XML comment whose first eight bytes are a box of MP4, ``free``, a gigabyte long."""
    return b"<!--free-->" + dash(target)


def sdp(port: int) -> bytes:
    return (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=video {port} RTP/AVP/TCP 96\na=rtpmap:96 H264/90000\n"
    ).encode()


SCRIPTS: Mapping[str, Callable[[str], bytes]] = {
    "an HLS playlist": hls,
    "an FFmpeg concat script": concat,
    "a DASH playlist": dash,
    "a DASH playlist ": dash_that_begins_like_mp4,
    "an HLS playlist ": lambda target: b"\xef\xbb\xbf\r\n" + hls(target),
    "an SDP session description": lambda target: sdp(int(target.rpartition(":")[2] or 0)),
    "an SDP session description ": lambda target: (
        b"\x00\x00\x00\x18ftypisom\n" + sdp(int(target.rpartition(":")[2] or 0))
    ),
}


def targets(canary: Canary) -> dict[str, str]:
    """Ways to name the canary."""
    return {
        "path": str(canary.path),
        "file": f"file:{canary.path}",
        "http": f"http://{canary.address}/x.ts",
        "tcp": f"tcp://{canary.address}",
        "name": canary.path.name,
        "up": f"../{canary.path.parent.name}/{canary.path.name}",
    }


def with_external_data(mp4: bytes, target: Path) -> bytes:
    """An MP4 whose samples are said to lie in another file, by an alias as QuickTime writes it.

    The movie box must come last, so that its growth moves no sample.
    """
    dref = mp4.index(b"dref") - 4
    size = int.from_bytes(mp4[dref : dref + 4], "big")
    # Fields as FFmpeg reads them: volume, file name, levels up and down, then tagged records, of
    # which 2 is the absolute path.
    path = str(target).encode() + b"\0" * (len(str(target)) % 2)
    alias = bytes(10) + b"\x01X".ljust(28, b"\0") + bytes(12)
    alias += bytes([len(target.name)]) + target.name.encode().ljust(63, b"\0") + bytes(16)
    alias += (1).to_bytes(2, "big") + (1).to_bytes(2, "big") + bytes(16)
    alias += (2).to_bytes(2, "big") + len(path).to_bytes(2, "big") + path
    alias += b"\xff\xff\x00\x00"
    entry = box(b"alis", bytes(4) + alias)
    new = box(b"dref", bytes(4) + (1).to_bytes(4, "big") + entry)
    return replace_box(mp4, dref, size, new)


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def replace_box(mp4: bytes, at: int, size: int, new: bytes) -> bytes:
    """Put `new` in the place of the box at `at`, and let the boxes around it grow."""
    grown = bytearray(mp4)
    for start, length in _around(mp4, at):
        grown[start : start + 4] = (length + len(new) - size).to_bytes(4, "big")
    return bytes(grown[:at]) + new + bytes(grown[at + size :])


def _around(mp4: bytes, at: int) -> list[tuple[int, int]]:
    """(position, size) of each box that holds the one at `at`."""
    found = []
    position, end = 0, len(mp4)
    while position < at:
        size = int.from_bytes(mp4[position : position + 4], "big")
        if position < at < position + size:
            found.append((position, size))
            position, end = position + 8, position + size
        else:
            position += size
        assert size >= 8
        assert position < end
    return found
