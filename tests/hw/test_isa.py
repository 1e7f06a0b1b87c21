"""Instruction formats: encoding is exact or refused, decoding is its inverse."""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hw.spec.config import PRESETS, ArrayConfig
from hw.spec.isa import QUEUE_OF, EncodingError, Field, Format, Isa, Opcode, Queue
from tests.sim.program_builder import CONFIG, DEFAULTS

ISAS = {name: Isa(config) for name, config in PRESETS.items()}
LARGEST = Isa(ArrayConfig(rows=64, columns=64, scratchpad_words=1 << 20, weight_words=1 << 20,
                          accumulator_words=1 << 16, parameter_entries=1 << 12, table_slots=64,
                          add_table_slots=16, post_lanes=64))


@st.composite
def instructions(draw: Any) -> tuple[Isa, Opcode, dict[str, int]]:
    isa = draw(st.sampled_from([*ISAS.values(), LARGEST]))
    opcode = draw(st.sampled_from(list(Opcode)))
    values = {f.name: draw(st.one_of(st.integers(f.lowest, f.highest),
                                     st.sampled_from([f.lowest, f.highest])))
              for f in isa.formats[opcode].fields[1:]}
    return isa, opcode, values


@given(instructions())
@settings(max_examples=300, deadline=None)
def test_decoding_inverts_encoding(case: tuple[Isa, Opcode, dict[str, int]]) -> None:
    isa, opcode, values = case
    data = isa.encode(opcode, values)
    assert len(data) == isa.instruction_bytes
    assert isa.decode(data) == (opcode, values)


@given(st.sampled_from(list(ISAS.values())), st.data())
@settings(max_examples=300, deadline=None)
def test_encoding_inverts_decoding(isa: Isa, data: Any) -> None:
    """Any bytes are refused, or are what their decoded fields encode to."""
    raw = bytearray(data.draw(st.binary(min_size=isa.instruction_bytes,
                                        max_size=isa.instruction_bytes)))
    opcode = data.draw(st.sampled_from(list(Opcode)))
    word = int.from_bytes(raw, "little") & (1 << isa.formats[opcode].bits) - 1
    word = word & ~15 | opcode
    whole = word.to_bytes(isa.instruction_bytes, "little")
    assert isa.encode(*isa.decode(whole)) == whole
    try:
        assert isa.encode(*isa.decode(bytes(raw))) == bytes(raw)
    except EncodingError:
        pass


@pytest.mark.parametrize("name", ISAS)
def test_every_field_refuses_what_does_not_fit(name: str) -> None:
    isa = ISAS[name]
    for opcode, fmt in isa.formats.items():
        zeros = {f.name: 0 for f in fmt.fields[1:]}
        for field in fmt.fields[1:]:
            for value in (field.lowest - 1, field.highest + 1):
                with pytest.raises(EncodingError) as caught:
                    isa.encode(opcode, zeros | {field.name: value})
                assert str(caught.value) == (
                    f"{opcode.name}: field {field.name!r} must be in {field.lowest}.."
                    f"{field.highest} {field.unit}, not {value}")


@pytest.mark.parametrize("name", ISAS)
def test_every_reserved_bit_is_refused(name: str) -> None:
    isa = ISAS[name]
    for opcode, fmt in isa.formats.items():
        good = int.from_bytes(isa.encode(opcode, {f.name: 0 for f in fmt.fields[1:]}), "little")
        for bit in range(fmt.bits, 8 * isa.instruction_bytes):
            data = (good | 1 << bit).to_bytes(isa.instruction_bytes, "little")
            with pytest.raises(EncodingError) as caught:
                isa.decode(data)
            assert str(caught.value) == f"{data.hex()} sets reserved bits of {opcode.name}"


def test_unknown_opcodes_are_refused() -> None:
    isa = ISAS["test-4x4"]
    for raw in set(range(16)) - set(Opcode):
        data = bytes([raw]) + bytes(isa.instruction_bytes - 1)
        with pytest.raises(EncodingError) as caught:
            isa.decode(data)
        assert str(caught.value) == f"{data.hex()} has unknown opcode {raw}"


def test_cleared_memory_is_no_instruction() -> None:
    isa = ISAS["test-4x4"]
    with pytest.raises(EncodingError, match="has unknown opcode 0$"):
        isa.decode(bytes(isa.instruction_bytes))


def test_other_lengths_are_refused() -> None:
    isa = ISAS["test-4x4"]
    with pytest.raises(EncodingError) as caught:
        isa.decode(bytes(5))
    assert str(caught.value) == f"an instruction must have {isa.instruction_bytes} bytes, not 5"


def test_missing_and_unknown_fields_are_refused() -> None:
    isa = ISAS["test-4x4"]
    with pytest.raises(EncodingError) as caught:
        isa.encode(Opcode.LOAD_LINEAR, {"wait": 0, "typo": 1})
    assert str(caught.value) == (
        "LOAD_LINEAR takes ['address', 'count', 'dst', 'signal', 'target', 'wait'], "
        "not ['typo', 'wait']")


def test_all_defaults_of_the_tests_are_complete() -> None:
    for opcode, fields in DEFAULTS.items():
        tokens = {} if opcode == Opcode.END else {"wait": 0, "signal": 0}
        Isa(CONFIG).encode(opcode, fields | tokens)


@pytest.mark.parametrize("name", ISAS)
def test_fields_hold_every_place_on_chip(name: str) -> None:
    """The last word of each memory, and its size as a count, can be written down."""
    c, formats = PRESETS[name], ISAS[name].formats
    for opcode, field, largest in (
            (Opcode.MAC, "src_base", c.scratchpad_words - 1),
            (Opcode.MAC, "src_plane_stride", c.scratchpad_words),
            (Opcode.MAC, "weights", c.weight_words - 1),
            (Opcode.MAC, "accumulator", c.accumulator_words - 1),
            (Opcode.DRAIN, "parameter", c.parameter_entries - 1),
            (Opcode.DRAIN, "table", c.table_slots - 1),
            (Opcode.DRAIN, "lane_group", c.lane_groups - 1),
            (Opcode.LOAD_LINEAR, "count", c.weight_words),
            (Opcode.LOAD, "lane_count", c.rows),
            (Opcode.LOAD, "word_step", 2 * c.rows),
            (Opcode.ELEMENTWISE, "add_tables", c.add_table_slots - 1)):
        found = next(f for f in formats[opcode].fields if f.name == field)
        assert found.highest >= largest, (opcode, field)


def test_every_opcode_but_end_has_a_queue() -> None:
    assert set(QUEUE_OF) == set(Opcode) - {Opcode.END}
    assert set(QUEUE_OF.values()) == set(Queue)


def _field(name: str, lsb: int, width: int) -> Field:
    return Field(name=name, lsb=lsb, width=width, unit="-", doc="")


def test_overlapping_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="^MAC.b overlaps another field$"):
        Format(Opcode.MAC, "", (_field("a", 0, 4), _field("b", 3, 2)))


def test_two_fields_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="^MAC has two fields of the same name$"):
        Format(Opcode.MAC, "", (_field("a", 0, 4), _field("a", 4, 2)))


@given(st.integers(1, 40), st.booleans(), st.integers(0, 50), st.data())
def test_fields_keep_their_values(width: int, signed: bool, lsb: int, data: Any) -> None:
    field = Field(name="f", lsb=lsb, width=width, unit="-", doc="", signed=signed)
    value = data.draw(st.integers(field.lowest, field.highest))
    assert field.insert(value) & ~field.mask == 0
    assert field.extract(field.insert(value) | ~field.mask & (1 << 100) - 1) == value
