"""What is needed of an ELF file: its loaded bytes, sizes of sections, values of symbols.

Ref: Tool Interface Standard, Executable and Linking Format, version 1.2.
"""

import struct
from dataclasses import dataclass

__all__ = ["Elf", "read_elf"]

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<IIIIIIII")
_SECTION = struct.Struct("<IIIIIIIIII")
_SYMBOL = struct.Struct("<IIIBBH")
_LOAD, _SYMBOLS = 1, 2


@dataclass(frozen=True)
class Elf:
    """A 32-bit little-endian executable.

    Parameters
    ----------
    binary
        What is loaded, from `start` on; gaps are zero.
    start
        Its address.
    sections
        Size of each section that has a place in memory, by name.
    symbols
        Value and size of each named symbol.
    """

    binary: bytes
    start: int
    sections: dict[str, int]
    symbols: dict[str, tuple[int, int]]


def read_elf(data: bytes) -> Elf:
    """Parse what a linker of ours has written."""
    header = _HEADER.unpack_from(data)
    assert header[0][:6] == b"\x7fELF\x01\x01", "a 32-bit little-endian ELF file"
    _, _, _, _, _, segments_at, sections_at, _, _, _, n_segments, _, n_sections, names = header

    loaded = []
    for n in range(n_segments):
        kind, offset, _, address, size, *_ = _SEGMENT.unpack_from(
            data, segments_at + n * _SEGMENT.size)
        if kind == _LOAD and size:
            loaded.append((address, data[offset:offset + size]))
    start = min(address for address, _ in loaded)
    binary = bytearray(max(address + len(body) for address, body in loaded) - start)
    for address, body in loaded:
        binary[address - start:address - start + len(body)] = body

    rows = [_SECTION.unpack_from(data, sections_at + n * _SECTION.size) for n in range(n_sections)]
    sections, symbols = {}, {}
    for name, kind, flags, _, offset, size, link, *_ in rows:
        if flags & 2:
            sections[_text(data, rows[names][4] + name)] = size
        if kind == _SYMBOLS:
            for at in range(offset, offset + size, _SYMBOL.size):
                symbol, value, extent, *_ = _SYMBOL.unpack_from(data, at)
                if symbol:
                    symbols[_text(data, rows[link][4] + symbol)] = (value, extent)
    return Elf(bytes(binary), start, sections, symbols)


def _text(data: bytes, at: int) -> str:
    return data[at:data.index(b"\0", at)].decode()
