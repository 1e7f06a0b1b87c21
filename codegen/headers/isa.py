"""``macrame_isa.h``: configuration and instructions, from :mod:`hw.spec.isa`."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import fields

from codegen.headers.c_text import defines, guarded, x_list
from hw.spec import numerics
from hw.spec.config import MAX_STRIDE, ArrayConfig
from hw.spec.isa import (
    QUEUE_OF,
    SURFACE_FIELDS,
    TOKEN_BITS,
    Elementwise,
    Field,
    Format,
    Isa,
    LinearTarget,
    Queue,
    Window,
)

__all__ = ["config_crc", "isa_header"]

_BITS = """\
/* An unsigned field of at most 32 bits. */
static inline uint32_t macrame_bits(const uint8_t *instruction, uint32_t lsb, uint32_t width)
{
    uint64_t value = 0;
    for (uint32_t byte = (lsb + width - 1u) / 8u + 1u; byte-- > lsb / 8u;)
        value = value << 8 | instruction[byte];
    return (uint32_t)(value >> lsb % 8u & ((UINT64_C(1) << width) - 1u));
}

/* A signed field of at most 31 bits. */
static inline int32_t macrame_signed_bits(const uint8_t *instruction, uint32_t lsb, uint32_t width)
{
    const uint32_t sign = UINT32_C(1) << (width - 1u);
    return (int32_t)(macrame_bits(instruction, lsb, width) ^ sign) - (int32_t)sign;
}

/* Whether all bits from `first` to the end of an instruction are 0. */
static inline int macrame_bits_are_zero(const uint8_t *instruction, uint32_t first)
{
    uint32_t rest = 0, shift = first % 8u;
    for (uint32_t byte = first / 8u; byte < MACRAME_INSTRUCTION_BYTES; byte++, shift = 0)
        rest |= (uint32_t)instruction[byte] >> shift;
    return rest == 0;
}"""


def config_crc(config: ArrayConfig) -> int:
    """Tell configurations apart: CRC-32 of the words, as the image's header has them."""
    words = config.words()
    return zlib.crc32(struct.pack(f"<{len(words)}i", *words))


def isa_header(config: ArrayConfig) -> str:
    """The text of the header."""
    isa = Isa(config)
    names = [f.name.upper() for f in fields(config)]
    derived = [(name.upper(), getattr(config, name)) for name, value in vars(ArrayConfig).items()
               if isinstance(value, property)]
    constants = [name for name in numerics.__all__ if isinstance(getattr(numerics, name), int)]
    body = [
        "/* The configuration, and what follows from it. */",
        *defines((f"MACRAME_{name}", value) for name, value in
                 [*zip(names, config.words()), *derived]), "",
        "/* X(name, value) for every configuration word, in the order of CONFIG. */",
        *defines([("MACRAME_CONFIG_WORDS", len(names)),
                  ("MACRAME_CONFIG_CRC32", f"0x{config_crc(config):08x}u")]),
        *x_list("MACRAME_CONFIG_WORD_LIST", ((n, f"MACRAME_{n}") for n in names)), "",
        "/* Limits and arithmetic. */",
        *defines([("MACRAME_MAX_STRIDE", MAX_STRIDE),
                  *((f"MACRAME_{name}", _signed(getattr(numerics, name)))
                    for name in constants)]), "",
        "/* Queues, tokens, values of fields. */",
        *defines([("MACRAME_QUEUES", len(Queue)), ("MACRAME_TOKEN_BITS", TOKEN_BITS),
                  *((f"MACRAME_QUEUE_{q.name}", q) for q in Queue),
                  *((f"MACRAME_WINDOW_{w.name}", w) for w in Window),
                  *((f"MACRAME_TARGET_{t.name}", t) for t in LinearTarget),
                  *((f"MACRAME_OPERATION_{e.name}", e) for e in Elementwise)]), "",
        *defines([("MACRAME_INSTRUCTION_BYTES", isa.instruction_bytes),
                  *((f"MACRAME_OPCODE_{o.name}", o) for o in isa.formats)]), "",
        "/* X(NAME, name) for every opcode. */",
        *x_list("MACRAME_OPCODE_LIST", ((o.name, o.name.lower()) for o in isa.formats)), "",
        _BITS, "",
        "/* A tensor's place in the scratchpad, in words. */", "struct macrame_surface {",
        *(f"    uint32_t {part};" for part in SURFACE_FIELDS), "};"]
    for fmt in isa.formats.values():
        body += ["", *_format(fmt)]
    doc = f"Instructions of a {config.rows}x{config.columns} array."
    return guarded("macrame_isa.h", doc, body)


def _signed(value: int) -> str | int:
    """INT32_MIN cannot be written as a literal."""
    return f"({value + 1} - 1)" if value == numerics.INT32_MIN else value


def _format(fmt: Format) -> Iterator[str]:
    """One instruction: positions, structure, decoder."""
    upper, lower = fmt.opcode.name, fmt.opcode.name.lower()
    assert sum(f.width for f in fmt.fields) == fmt.bits, "fields must follow one another"
    yield f"/* {upper}: {fmt.doc} */"
    pairs: list[tuple[str, object]] = [(f"MACRAME_{upper}_BITS", fmt.bits)]
    if fmt.opcode in QUEUE_OF:
        pairs.append((f"MACRAME_{upper}_QUEUE", f"MACRAME_QUEUE_{QUEUE_OF[fmt.opcode].name}"))
    for f in fmt.fields:
        pairs += [(f"MACRAME_{upper}_{f.name.upper()}_LSB", f.lsb),
                  (f"MACRAME_{upper}_{f.name.upper()}_WIDTH", f.width)]
    yield from defines(pairs)
    known = fmt.fields[1:]
    if not known:
        return
    surfaces = [f.name.removesuffix("_base") for f in known if f.name.endswith("_base")]
    yield ""
    yield f"struct macrame_{lower}_fields {{"
    for f in known:
        owner = _surface(f, surfaces)
        if owner is None:
            yield f"    {'int32_t' if f.signed else 'uint32_t'} {f.name};"
        elif f.name == f"{owner}_base":
            yield f"    struct macrame_surface {owner};"
    yield "};"
    yield ""
    yield (f"static inline void macrame_decode_{lower}(const uint8_t *instruction, "
           f"struct macrame_{lower}_fields *fields)")
    yield "{"
    for f in known:
        owner = _surface(f, surfaces)
        target = f.name if owner is None else f"{owner}.{f.name.removeprefix(owner + '_')}"
        read = "macrame_signed_bits" if f.signed else "macrame_bits"
        yield f"    fields->{target} = {read}(instruction, {f.lsb}u, {f.width}u);"
    yield "}"


def _surface(field: Field, surfaces: list[str]) -> str | None:
    """The surface that a field belongs to, if any."""
    return next((s for s in surfaces if field.name in {f"{s}_{part}" for part in SURFACE_FIELDS}),
                None)
