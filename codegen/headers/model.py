"""``macrame_model.h`` and ``.c``: what is in the image, and what its memory means."""

import zlib

from codegen.errors import BuildError
from codegen.headers import heads, tensors
from codegen.headers.c_text import MADE_BY, c_string, defines, guarded, identifiers
from codegen.headers.isa import config_crc
from codegen.headers.source import Source
from hw.spec.image import ALIGNMENT, INTERFACE_VERSION, section_offsets

__all__ = ["model_files"]

_CHECKS = """\
MACRAME_STATIC_ASSERT(MACRAME_MODEL_INTERFACE_VERSION == MACRAME_INTERFACE_VERSION,
                      "macrame_regs.h is of another interface version than the model");
MACRAME_STATIC_ASSERT(MACRAME_MODEL_CONFIG_CRC32 == MACRAME_CONFIG_CRC32,
                      "macrame_isa.h is of another configuration than the model");
MACRAME_STATIC_ASSERT(MACRAME_PROGRAM_BYTES == MACRAME_INSTRUCTIONS * MACRAME_INSTRUCTION_BYTES,
                      "the program must consist of whole instructions");
MACRAME_STATIC_ASSERT(MACRAME_PROGRAM_OFFSET % MACRAME_IMAGE_ALIGNMENT == 0
                      && MACRAME_PROGRAM_OFFSET + MACRAME_PROGRAM_BYTES <= MACRAME_IMAGE_BYTES,
                      "the program must be inside the image, and aligned");
MACRAME_STATIC_ASSERT(MACRAME_CONSTANTS_OFFSET % MACRAME_IMAGE_ALIGNMENT == 0
                      && MACRAME_CONSTANTS_OFFSET + MACRAME_CONSTANTS_BYTES <= MACRAME_IMAGE_BYTES,
                      "the constants must be inside the image, and aligned");
MACRAME_STATIC_ASSERT(MACRAME_IMAGE_ALIGNMENT % MACRAME_WINDOW_ALIGNMENT == 0,
                      "windows in the image must begin at multiples of the bus width");"""


def model_files(source: Source) -> dict[str, str]:
    """The header and the source file.

    Raises
    ------
    BuildError
        The manifest is damaged, or the heads are not those of the model.
    """
    inputs = tensors.descriptors(source, "inputs", "quantize")
    outputs = tensors.descriptors(source, "outputs", "dequantize")
    if not inputs or not outputs:
        raise BuildError(f"model of {str(source.folder)!r} must have inputs and outputs, not "
                         f"{len(inputs)} and {len(outputs)}.")
    matches = heads.match_heads(source.heads, inputs, outputs) if source.heads else []
    image, config = source.image, source.image.config
    program_at, constants_at = section_offsets(source.data)
    body = [
        *defines([
            ("MACRAME_MODEL_NAME", c_string(str(source.manifest.get("name", "")))),
            ("MACRAME_MODEL_TARGET", c_string(str(source.manifest.get("target", "")))),
            ("MACRAME_MODEL_INTERFACE_VERSION", INTERFACE_VERSION),
            ("MACRAME_MODEL_CONFIG_CRC32", f"0x{config_crc(config):08x}u")]), "",
        "/* The image: offsets and sizes in bytes. */",
        *defines([
            ("MACRAME_IMAGE_BYTES", len(source.data)),
            ("MACRAME_IMAGE_CRC32", _crc(source.data)),
            ("MACRAME_IMAGE_ALIGNMENT", ALIGNMENT),
            ("MACRAME_PROGRAM_OFFSET", program_at),
            ("MACRAME_PROGRAM_BYTES", len(image.program)),
            ("MACRAME_PROGRAM_CRC32", _crc(image.program)),
            ("MACRAME_CONSTANTS_OFFSET", constants_at),
            ("MACRAME_CONSTANTS_BYTES", len(image.constants)),
            ("MACRAME_CONSTANTS_CRC32", _crc(image.constants)),
            ("MACRAME_ACTIVATION_BYTES", image.activation_bytes),
            ("MACRAME_WINDOW_ALIGNMENT", config.bus_bytes),
            ("MACRAME_INSTRUCTIONS", image.instructions)]), "",
        _CHECKS, "", "/* Inputs, outputs, and heads if the outputs are known to be some. */",
        *defines([
            ("MACRAME_INPUTS", len(inputs)), ("MACRAME_OUTPUTS", len(outputs)),
            ("MACRAME_HEADS", len(matches)),
            ("MACRAME_LETTERBOX", int(source.heads is None or source.heads.fit == "letterbox"))]),
        "", *_indices("MACRAME_INPUT_", inputs), *_indices("MACRAME_OUTPUT_", outputs), "",
        tensors.TENSOR_TYPES, heads.HEAD_TYPES,
        "extern const struct macrame_tensor macrame_inputs[MACRAME_INPUTS];",
        "extern const struct macrame_tensor macrame_outputs[MACRAME_OUTPUTS];"]
    if matches:
        body.append("extern const struct macrame_head macrame_heads[MACRAME_HEADS];")
    code = [f"/* Inputs, outputs and heads. {MADE_BY} */", "#include <stddef.h>",
            '#include "macrame_model.h"', "",
            *tensors.definitions("input", inputs), "",
            *tensors.definitions("output", outputs)]
    if matches:
        code += ["", *heads.definitions(matches)]
    return {"macrame_model.h": guarded(
                "macrame_model.h", "The model.", body,
                includes=("macrame_regs.h", "macrame_isa.h")),
            "macrame_model.c": "\n".join(code) + "\n"}


def _crc(data: bytes) -> str:
    return f"0x{zlib.crc32(data):08x}u"


def _indices(prefix: str, items: list[tensors.Descriptor]) -> list[str]:
    names = identifiers(prefix, [item.name for item in items])
    return ["enum {", ",\n".join(f"    {name} = {n}" for n, name in enumerate(names)), "};"]
