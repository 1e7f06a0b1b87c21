"""Read as much of a waveform file as tests need. Ref: GTKWave User Guide, appendix F (FST)."""

import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Waveforms", "read_fst"]

_HEADER, _HIERARCHY_LZ4 = 0, 6
_ATTRIBUTE_BEGIN, _ATTRIBUTE_END, _SCOPE_BEGIN, _SCOPE_END = 252, 253, 254, 255


@dataclass(frozen=True)
class Waveforms:
    """First and last moment in picoseconds, and the signals by full name."""

    start: int
    end: int
    names: list[str]


def read_fst(path: Path) -> Waveforms:
    data = path.read_bytes()
    at, start, end, count, names = 0, 0, 0, 0, list[str]()
    while at < len(data):
        kind, size = struct.unpack_from(">BQ", data, at)
        body = data[at + 9:at + 1 + size]
        if kind == _HEADER:
            start, end, _, _, _, count = struct.unpack_from(">QQdQQQ", body)
        elif kind == _HIERARCHY_LZ4:
            (length,) = struct.unpack_from(">Q", body)
            names = _names(_decompressed(body[8:]))
            assert len(_decompressed(body[8:])) == length
        at += 1 + size
    assert at == len(data) and len(names) == count
    return Waveforms(start, end, names)


def _decompressed(block: bytes) -> bytes:
    # Ref: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
    out, at = bytearray(), 0

    def length(nibble: int) -> int:
        nonlocal at
        total = nibble
        while nibble == 15:
            total += block[at]
            at += 1
            if block[at - 1] < 255:
                break
        return total
    while True:
        token = block[at]
        at += 1
        literals = length(token >> 4)
        out += block[at:at + literals]
        at += literals
        if at == len(block):
            return bytes(out)
        offset = int.from_bytes(block[at:at + 2], "little")
        at += 2
        assert 0 < offset <= len(out)
        for _ in range(length(token & 15) + 4):
            out.append(out[-offset])


def _names(hierarchy: bytes) -> list[str]:
    at, scopes, names = 0, list[str](), list[str]()

    def text() -> str:
        nonlocal at
        start, at = at, hierarchy.index(0, at) + 1
        return hierarchy[start:at - 1].decode()

    def skip_number() -> None:
        nonlocal at
        while hierarchy[at] & 128:
            at += 1
        at += 1
    while at < len(hierarchy):
        kind = hierarchy[at]
        at += 1
        if kind == _SCOPE_END:
            scopes.pop()
        elif kind == _SCOPE_BEGIN:
            at += 1
            scopes.append(text())
            text()
        elif kind == _ATTRIBUTE_BEGIN:
            at += 2
            text()
            skip_number()
        elif kind != _ATTRIBUTE_END:
            at += 1
            names.append(".".join((*scopes, text().split(" ")[0])))
            skip_number()
            skip_number()
    return names
