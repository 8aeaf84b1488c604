"""Damaged and lying files: a sound clip, changed in one way each, always in the same order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

#: Numbers that lie best where a length, a count, a size or a time is read.
_EXTREMES = (0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

#: Boxes of MP4 whose numbers matter: durations, time stamps, sizes, places, codecs, pictures.
_MP4_FIELDS = b"mvhd tkhd mdhd elst stsd stts ctts stss stsc stsz stco avc1 hvc1 av01 mp4a".split()
#: Elements of Matroska: segment, info, time scale, duration, tracks, size, cluster, block, lacing.
_MKV_NAMES = "18538067 1549a966 2ad7b1 4489 1654ae6b b0 ba 1f43b675 e7 a3 a0 9b 63a2"
_MKV_FIELDS = [bytes.fromhex(name) for name in _MKV_NAMES.split()]
_AVI_FIELDS = b"avih strh strf strl movi idx1 00dc 01wb LIST".split()
_TS_FIELDS = [b"G"]

Mutation = Callable[[bytearray, random.Random], None]


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def cut_near_the_end(data: bytearray, chance: random.Random) -> None:
    del data[-chance.randrange(1, len(data) // 4) :]


def behead(data: bytearray, chance: random.Random) -> None:
    del data[: chance.randrange(1, 2000)]


def flip_a_few_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def flip_many_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(len(data) // 100):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def flip_in_the_head(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 6)):
        data[chance.randrange(8, min(len(data), 700))] ^= 1 << chance.randrange(8)


def flip_in_the_tail(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 6)):
        data[-chance.randrange(1, min(len(data), 2200))] ^= 1 << chance.randrange(8)


def blank(data: bytearray, chance: random.Random) -> None:
    begin, length = chance.randrange(len(data)), chance.randrange(1, 4000)
    data[begin : begin + length] = bytes(len(data[begin : begin + length]))


def scramble(data: bytearray, chance: random.Random) -> None:
    begin, length = chance.randrange(16, len(data)), chance.randrange(1, 1000)
    data[begin : begin + length] = chance.randbytes(len(data[begin : begin + length]))


def lose_a_piece(data: bytearray, chance: random.Random) -> None:
    begin = chance.randrange(16, len(data))
    del data[begin : begin + chance.randrange(1, 2000)]


def double_a_piece(data: bytearray, chance: random.Random) -> None:
    begin = chance.randrange(16, len(data))
    piece = data[begin : begin + chance.randrange(1, 4000)]
    data[begin:begin] = piece


def add_rubbish(data: bytearray, chance: random.Random) -> None:
    data += chance.randbytes(chance.randrange(1, 5000))


def lie(data: bytearray, chance: random.Random) -> None:
    """Put an extreme number into some field behind one of the container's own names."""
    names = _fields(bytes(data[:12]))
    places = [at for name in names for at in _places(data, name)]
    for _ in range(chance.randrange(1, 3)):
        at = chance.choice(places) + chance.randrange(0, 48)
        size = chance.choice((1, 2, 4, 4, 8))
        number = chance.choice(_EXTREMES) if size >= 4 else chance.choice((0, 1, 0x7F, 0xFF))
        data[at : at + size] = number.to_bytes(size, chance.choice(("big", "little")))


MUTATIONS: dict[Mutation, int] = {  # how often in a round
    cut: 2,
    cut_near_the_end: 1,
    behead: 1,
    flip_a_few_bits: 3,
    flip_many_bits: 1,
    flip_in_the_head: 3,
    flip_in_the_tail: 3,
    blank: 2,
    scramble: 2,
    lose_a_piece: 1,
    double_a_piece: 1,
    add_rubbish: 1,
    lie: 8,
}


def mutants(sound: bytes, seed: int, rounds: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, the file), the same ones for the same `sound` and `seed`."""
    chance = random.Random(seed)
    for number in range(rounds):
        for mutation, times in MUTATIONS.items():
            for time in range(times):
                data = bytearray(sound)
                mutation(data, chance)
                yield f"{mutation.__name__}-{number}-{time}", bytes(data)


def _fields(head: bytes) -> list[bytes]:
    if head[4:8] == b"ftyp":
        return _MP4_FIELDS
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _MKV_FIELDS
    return _AVI_FIELDS if head[:4] == b"RIFF" else _TS_FIELDS


def _places(data: bytearray, name: bytes) -> list[int]:
    """Where the first few of these names end."""
    places: list[int] = []
    at = data.find(name)
    while at >= 0 and len(places) < 6:
        places.append(at + len(name))
        at = data.find(name, at + 1)
    return places
