"""Instruction formats as Amaranth layouts, derived from :mod:`hw.spec.isa`."""

from amaranth import Shape, signed, unsigned
from amaranth.lib import data

from hw.spec.config import ArrayConfig
from hw.spec.isa import Isa, Opcode

__all__ = ["instruction_bits", "instruction_layout"]


def instruction_bits(config: ArrayConfig) -> int:
    """Width of every instruction, in bits."""
    return Isa(config).instruction_bytes * 8


def instruction_layout(config: ArrayConfig, opcode: Opcode) -> data.FlexibleLayout:
    """Layout of a whole instruction of `opcode`: its fields, by name, at their bit positions."""
    def shape(width: int, is_signed: bool) -> Shape:
        return signed(width) if is_signed else unsigned(width)
    fields = Isa(config).formats[opcode].fields
    return data.FlexibleLayout(instruction_bits(config), {
        f.name: data.Field(shape(f.width, f.signed), f.lsb) for f in fields})
