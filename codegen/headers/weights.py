"""The image as C: an array that the compiler reads, or a file that the assembler includes."""

import zlib

from codegen.headers.c_text import MADE_BY, guarded
from hw.spec.image import ALIGNMENT

__all__ = ["ARRAY_FILES", "FORMATS", "INCBIN_FILES", "weight_files"]

FORMATS = ("array", "incbin")

ARRAY_FILES = ("macrame_weights.c",)
INCBIN_FILES = ("macrame_weights.S", "macrame_image.bin")

_LARGEST_ARRAY = 1 << 20
"""Larger images are included by the assembler: a compiler takes a second per megabyte of array."""

_FIRST_LINE = f"/* The image. {MADE_BY} */"


def weight_files(data: bytes, form: str | None = None) -> dict[str, bytes]:
    """Declaration and definition of ``macrame_image``; `form` of `FORMATS`, or by size."""
    header = guarded("macrame_weights.h", "The image: program and constants.", (
        f"/* program.bin, at a multiple of {ALIGNMENT} bytes. */",
        "extern const uint8_t macrame_image[MACRAME_IMAGE_BYTES];"), includes=("macrame_model.h",))
    files = {"macrame_weights.h": header.encode()}
    if (form or ("array" if len(data) <= _LARGEST_ARRAY else "incbin")) == "incbin":
        return files | {"macrame_weights.S": _assembly(data).encode(), "macrame_image.bin": data}
    return files | {"macrame_weights.c": _array(data)}


def _array(data: bytes) -> bytes:
    head = f"""{_FIRST_LINE}
#include "macrame_weights.h"

MACRAME_STATIC_ASSERT(MACRAME_IMAGE_CRC32 == 0x{zlib.crc32(data):08x}u,
                      "macrame_model.h is of another image");

_Alignas(MACRAME_IMAGE_ALIGNMENT) const uint8_t macrame_image[] = {{
"""
    lines = [",".join(map(str, data[at:at + 24])) for at in range(0, len(data), 24)]
    tail = """
};

MACRAME_STATIC_ASSERT(sizeof macrame_image == MACRAME_IMAGE_BYTES,
                      "the image must have the size that macrame_model.h states");
"""
    return (head + ",\n".join(lines) + tail).encode()


def _assembly(data: bytes) -> str:
    return f"""{_FIRST_LINE}
#ifndef MACRAME_IMAGE_FILE
#define MACRAME_IMAGE_FILE "macrame_image.bin"
#endif

    .section .rodata.macrame_image, "a"
    .balign {ALIGNMENT}
    .global macrame_image
    .type macrame_image, %object
macrame_image:
    .incbin MACRAME_IMAGE_FILE, 0, {len(data)}
    .size macrame_image, . - macrame_image

#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
"""
