"""File format of a compiled program: what the driver puts into memory and the simulator runs.

Little-endian. A fixed header, the configuration it was compiled for, a table of sections, the
sections. Every part is covered by a CRC-32 (``zlib.crc32``).

======  =====  ==========================================================
offset  bytes  header field
======  =====  ==========================================================
0       4      magic, ``"MACR"``
4       2      format version
6       2      interface version (instructions, registers, arithmetic)
8       4      bytes of the whole image
12      4      bytes of the activation window that the program needs
16      4      instructions
20      4      configuration words that follow the header
24      4      sections
28      4      CRC-32 of header (this field zero), configuration and table
======  =====  ==========================================================

A section's table entry is kind, offset, size, CRC-32, each uint32. Sections start at multiples of
16 bytes; gaps are zero.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, unique

from hw.spec.config import MEMORY_BYTES, ArrayConfig, ConfigError
from hw.spec.isa import Isa

__all__ = ["ALIGNMENT", "ENTRY_FIELDS", "FORMAT_VERSION", "HEADER_FIELDS", "INTERFACE_VERSION",
           "Image", "ImageError", "MAGIC", "MOST_CONFIG_WORDS", "Section", "field_offsets",
           "section_offsets"]

MAGIC = b"MACR"
FORMAT_VERSION = 1
#: Raised with every change of instructions, registers or arithmetic.
INTERFACE_VERSION = 1

#: Bytes of each field of the header, and of an entry of the table.
HEADER_FIELDS: Mapping[str, int] = {
    "magic": 4, "format_version": 2, "interface_version": 2, "image_bytes": 4,
    "activation_bytes": 4, "instructions": 4, "config_words": 4, "sections": 4, "crc32": 4}
ENTRY_FIELDS: Mapping[str, int] = {"kind": 4, "offset": 4, "bytes": 4, "crc32": 4}
#: More configuration words than that are a damaged header.
MOST_CONFIG_WORDS = 64

_HEADER = struct.Struct("<4s" + "".join(
    {2: "H", 4: "I"}[size] for name, size in HEADER_FIELDS.items() if name != "magic"))
_ENTRY = struct.Struct(f"<{len(ENTRY_FIELDS)}I")
#: Sections start at multiples of so many bytes.
ALIGNMENT = 16


class ImageError(ValueError):
    """The bytes are not an image that can run; the message says which check failed."""


@unique
class Section(IntEnum):
    """Parts of an image."""

    PROGRAM = 1     # instructions, the last one END
    CONSTANTS = 2   # weights, parameters, tables: the constants window


@dataclass(frozen=True, kw_only=True)
class Image:
    """A compiled program.

    Parameters
    ----------
    config : ArrayConfig
        What it was compiled for.
    program : bytes
        Whole instructions, the last one END.
    constants : bytes
        The constants window.
    activation_bytes : int
        Size of the activation window that the program needs.
    """

    config: ArrayConfig
    program: bytes
    constants: bytes
    activation_bytes: int

    @property
    def instructions(self) -> int:
        """How many instructions the program has."""
        return len(self.program) // Isa(self.config).instruction_bytes

    def to_bytes(self) -> bytes:
        """Serialize. Raises ImageError if a part is larger than a window."""
        for name, size in (("program", len(self.program)), ("constants", len(self.constants)),
                           ("activations", self.activation_bytes)):
            if size > MEMORY_BYTES:
                raise ImageError(f"{name} must fit {MEMORY_BYTES} bytes, not {size}")
        words = self.config.words()
        parts = ((Section.PROGRAM, self.program), (Section.CONSTANTS, self.constants))
        offset = _aligned(_HEADER.size + 4 * len(words) + _ENTRY.size * len(parts))
        table, body = b"", b""
        for kind, data in parts:
            table += _ENTRY.pack(kind, offset + len(body), len(data), zlib.crc32(data))
            body += data + bytes(_aligned(len(data)) - len(data))
        config = struct.pack(f"<{len(words)}i", *words)

        def header(crc: int) -> bytes:
            return _HEADER.pack(MAGIC, FORMAT_VERSION, INTERFACE_VERSION, offset + len(body),
                                self.activation_bytes, self.instructions, len(words), len(parts),
                                crc)
        head = header(zlib.crc32(header(0) + config + table)) + config + table
        return head + bytes(offset - len(head)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "Image":
        """Parse and check.

        Raises
        ------
        ImageError
            If anything is off: length, magic, versions, checksums, bounds, configuration.
        """
        if len(data) < _HEADER.size:
            raise ImageError(f"image must have at least {_HEADER.size} bytes, not {len(data)}")
        magic, fmt, interface, size, activations, count, n_words, n_sections, crc = \
            _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise ImageError(f"image must start with {MAGIC!r}, not {magic!r}")
        if fmt != FORMAT_VERSION:
            raise ImageError(f"image format version must be {FORMAT_VERSION}, not {fmt}")
        if interface != INTERFACE_VERSION:
            raise ImageError(f"image interface version must be {INTERFACE_VERSION}, "
                             f"not {interface}; build it again with this release")
        if size != len(data):
            raise ImageError(f"image must have the {size} bytes that its header states, "
                             f"not {len(data)}")
        table_at = _HEADER.size + 4 * n_words
        end = table_at + _ENTRY.size * n_sections
        if n_words > MOST_CONFIG_WORDS or n_sections > 16 or end > len(data):
            raise ImageError(f"image header states {n_words} configuration words and "
                             f"{n_sections} sections, more than it holds")
        blank = data[:_HEADER.size - 4] + bytes(4) + data[_HEADER.size:end]
        if zlib.crc32(blank) != crc:
            raise ImageError(f"image header checksum must be {crc:#010x}, "
                             f"not {zlib.crc32(blank):#010x}: the file was changed or damaged")
        try:
            config = ArrayConfig.from_words(struct.unpack_from(f"<{n_words}i", data,
                                                               _HEADER.size))
        except ConfigError as e:
            raise ImageError(f"image configuration is wrong: {e}") from e
        sections = dict(_section(data, table_at + i * _ENTRY.size) for i in range(n_sections))
        if sections.keys() != set(Section):
            raise ImageError(f"image must have the sections {[s.name for s in Section]}, "
                             f"not {[s.name for s in sections]}")
        _check_gaps(data, end, [_ENTRY.unpack_from(data, table_at + i * _ENTRY.size)[1:3]
                                for i in range(n_sections)])
        image = cls(config=config, program=sections[Section.PROGRAM],
                    constants=sections[Section.CONSTANTS], activation_bytes=activations)
        if activations > MEMORY_BYTES:
            raise ImageError(f"activations must fit {MEMORY_BYTES} bytes, not {activations}")
        step = Isa(config).instruction_bytes
        if len(image.program) != count * step:
            raise ImageError(f"program section must have {count} instructions of {step} bytes, "
                             f"not {len(image.program)} bytes")
        return image


def field_offsets(fields: Mapping[str, int]) -> dict[str, int]:
    """Where each field begins, and under ``"end"`` where the last one ends."""
    offsets, at = {}, 0
    for name, size in fields.items():
        offsets[name] = at
        at += size
    return offsets | {"end": at}


def section_offsets(data: bytes) -> tuple[int, int]:
    """Where program and constants begin in an image that :meth:`Image.from_bytes` takes."""
    *_, n_words, n_sections, _ = _HEADER.unpack_from(data)
    table_at = _HEADER.size + 4 * n_words
    at = dict(_ENTRY.unpack_from(data, table_at + i * _ENTRY.size)[:2] for i in range(n_sections))
    return at[Section.PROGRAM], at[Section.CONSTANTS]


def _section(data: bytes, at: int) -> tuple[Section, bytes]:
    kind, offset, size, crc = _ENTRY.unpack_from(data, at)
    try:
        section = Section(kind)
    except ValueError as e:
        raise ImageError(f"image has a section of unknown kind {kind}") from e
    if offset % ALIGNMENT or offset + size > len(data):
        raise ImageError(f"section {section.name} at {offset} of {size} bytes must start at a "
                         f"multiple of {ALIGNMENT} and end inside the image's {len(data)} bytes")
    body = data[offset:offset + size]
    if zlib.crc32(body) != crc:
        raise ImageError(f"section {section.name} checksum must be {crc:#010x}, "
                         f"not {zlib.crc32(body):#010x}: the file was changed or damaged")
    return section, body


def _check_gaps(data: bytes, position: int, sections: list[tuple[int, int]]) -> None:
    """Refuse bytes behind `position` that are not zero and in no section (offset, size)."""
    for offset, size in (*sorted(sections), (len(data), 0)):
        if any(data[position:offset]):
            raise ImageError(f"image bytes {position}..{offset - 1} between sections must be 0: "
                             f"the file was changed or damaged")
        position = max(position, offset + size)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
