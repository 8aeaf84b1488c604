"""Texts that somebody else may have written: sound ones with a few words exchanged for others."""

from __future__ import annotations

from hypothesis import strategies as st

#: Where parsers of text go wrong: marks, brackets, numbers, tags, encodings.
_WORDS = (
    *(b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\n", b"\r", b"\t", b'"', b"'", b","),
    *(b";", b"[", b"]", b"{", b"}", b": ", b"- ", b"? ", b"[[[[[[[[[[[[[[[[[[[[", b"#", b"|", b"%"),
    *(b"&a ", b"*a", b"!!int ''", b"!!bool x", b"!!set", b"<<: ", b"---\n", b"null", b"true"),
    *(b".inf", b".nan", b"NaN", b"1e999", b"1.0e+308", b"-1", b"0x" + b"f" * 50, b"9" * 50),
    *(b"1:2:3", b"2026-13-45", b'"\\ud800"', b"\\u0000", b"\xe2\x80\xa8", b"0", b"{}", b"[]"),
)


@st.composite
def mutated(draw: st.DrawFn, sound: bytes) -> bytes:
    """`sound` with up to three pieces exchanged."""
    content = sound
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 12))
        word = draw(st.sampled_from(_WORDS) | st.binary(max_size=6))
        content = content[:begin] + word + content[begin + length :]
    return content
