"""The image format: round trip, and refusal of everything that is not an image."""

import struct
import zlib

import pytest
from hypothesis import given, settings, strategies as st

from hw.spec.config import MEMORY_BYTES, PRESETS
from hw.spec.image import FORMAT_VERSION, INTERFACE_VERSION, MAGIC, Image, ImageError
from hw.spec.isa import Isa, Opcode

CONFIG = PRESETS["test-4x4"]
END = Isa(CONFIG).encode(Opcode.END, {})
IMAGE = Image(config=CONFIG, program=END * 2, constants=bytes(range(45)), activation_bytes=999)
DATA = IMAGE.to_bytes()


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        Image.from_bytes(data)
    return str(caught.value)


def patched(at: int, value: int, size: int = 4, data: bytes = DATA) -> bytes:
    """`data` with one little-endian number changed and the header's checksum made right."""
    raw = bytearray(data)
    raw[at:at + size] = value.to_bytes(size, "little")
    words, sections = struct.unpack_from("<II", raw, 20)
    raw[28:32] = bytes(4)
    raw[28:32] = zlib.crc32(bytes(raw[:32 + 4 * words + 16 * sections])).to_bytes(4, "little")
    return bytes(raw)


SECTION_TABLE = 32 + 4 * len(CONFIG.words())


@given(preset=st.sampled_from(list(PRESETS)), count=st.integers(0, 5),
       constants=st.binary(max_size=100), activations=st.integers(0, MEMORY_BYTES))
@settings(max_examples=60, deadline=None)
def test_parsing_inverts_serializing(preset: str, count: int, constants: bytes,
                                     activations: int) -> None:
    config = PRESETS[preset]
    program = Isa(config).encode(Opcode.END, {}) * count
    image = Image(config=config, program=program, constants=constants,
                  activation_bytes=activations)
    assert image.instructions == count
    data = image.to_bytes()
    assert Image.from_bytes(data) == image
    assert Image.from_bytes(data).to_bytes() == data


def test_every_changed_byte_is_refused() -> None:
    for at in range(len(DATA)):
        for flip in (0x01, 0x80, 0xFF):
            bad = bytearray(DATA)
            bad[at] ^= flip
            refusal(bytes(bad))


def test_gaps_between_sections_must_be_zero() -> None:
    bad = DATA[:-1] + b"\x01"
    assert refusal(bad) == (f"image bytes {len(DATA) - 3}..{len(DATA) - 1} between sections must "
                            f"be 0: the file was changed or damaged")


def test_every_truncation_is_refused() -> None:
    for size in range(len(DATA)):
        refusal(DATA[:size])
    assert refusal(DATA[:-1]) == (f"image must have the {len(DATA)} bytes that its header states, "
                                  f"not {len(DATA) - 1}")


def test_appended_bytes_are_refused() -> None:
    assert refusal(DATA + b"\0") == (f"image must have the {len(DATA)} bytes that its header "
                                     f"states, not {len(DATA) + 1}")


def test_other_files_and_versions_are_named() -> None:
    assert refusal(b"PK\3\4" + DATA[4:]) == (
        f"image must start with {MAGIC!r}, not b'PK\\x03\\x04'")
    assert refusal(patched(4, 7, 2)) == f"image format version must be {FORMAT_VERSION}, not 7"
    assert refusal(patched(6, 9, 2)) == (
        f"image interface version must be {INTERFACE_VERSION}, not 9; build it again with this "
        f"release")


def test_damage_names_the_checksum() -> None:
    bad = bytearray(DATA)
    bad[14] ^= 1
    assert "image header checksum must be 0x" in refusal(bytes(bad))
    bad = bytearray(DATA)
    bad[-4] ^= 1
    assert "section CONSTANTS checksum must be 0x" in refusal(bytes(bad))
    assert refusal(bytes(bad)).endswith(": the file was changed or damaged")


def test_wrong_contents_with_right_checksums_are_named() -> None:
    assert refusal(patched(32, 3)) == (
        "image configuration is wrong: rows must be a power of two in 2..64, not 3")
    assert refusal(patched(16, 3)) == (
        f"program section must have 3 instructions of {len(END)} bytes, not {2 * len(END)} bytes")
    assert refusal(patched(12, MEMORY_BYTES + 1)) == (
        f"activations must fit {MEMORY_BYTES} bytes, not {MEMORY_BYTES + 1}")
    assert refusal(patched(SECTION_TABLE, 5)) == "image has a section of unknown kind 5"
    assert refusal(patched(SECTION_TABLE, 2)).startswith(
        "image must have the sections ['PROGRAM', 'CONSTANTS'], not ['CONSTANTS']")
    assert refusal(patched(SECTION_TABLE + 4, 8)) == (
        f"section PROGRAM at 8 of {2 * len(END)} bytes must start at a multiple of 16 and end "
        f"inside the image's {len(DATA)} bytes")
    assert refusal(patched(SECTION_TABLE + 8, 1 << 20)).startswith("section PROGRAM at ")


@pytest.mark.parametrize("at", [20, 24])
def test_absurd_counts_are_refused(at: int) -> None:
    raw = bytearray(DATA)
    raw[at:at + 4] = (1 << 31).to_bytes(4, "little")
    assert "more than it holds" in refusal(bytes(raw))


def test_parts_larger_than_a_window_are_refused() -> None:
    image = Image(config=CONFIG, program=END, constants=b"", activation_bytes=MEMORY_BYTES + 1)
    with pytest.raises(ImageError) as caught:
        image.to_bytes()
    assert str(caught.value) == (f"activations must fit {MEMORY_BYTES} bytes, "
                                 f"not {MEMORY_BYTES + 1}")
