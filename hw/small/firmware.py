"""Compiles the firmware of the small system: the engine in C, with the headers of a build."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.small.headers import HEADER, SCRIPT, small_header, small_script
from hw.soc.elf import Elf, read_elf
from hw.soc.firmware import FLAGS, SOURCES, compilers, image_source, link
from hw.spec.small import ACTIVATIONS_OFFSET, FIRMWARE_OFFSET

__all__ = ["SmallFirmware", "build_small_firmware"]

_PROGRAM = ("small/start.S", "small/main.c", "small/array.c", "small/uart.c", "console.c",
            "tensor.c", "yolo.c", "reference/engine.c", "reference/post.c", "reference/transfer.c")


@dataclass(frozen=True)
class SmallFirmware:
    """What was built.

    Parameters
    ----------
    program
        For the flash, from :data:`hw.spec.small.FIRMWARE_OFFSET` on.
    elf
        The same as the linker wrote it.
    """

    program: Elf
    elf: bytes

    @property
    def image(self) -> bytes:
        """The model's image, as it is in the program."""
        address, size = self.program.symbols["macrame_image"]
        return self.program.binary[address - self.program.start:][:size]

    def places(self) -> dict[str, int | str]:
        """Where things go in the flash, and whose image it is: ``firmware.json``."""
        _, size = self.program.symbols["activations"]
        return {"firmware": FIRMWARE_OFFSET, "activations": ACTIVATIONS_OFFSET,
                "activation_bytes": size,
                "image_sha256": hashlib.sha256(self.image).hexdigest()}

    def table(self) -> list[tuple[str, int]]:
        """What takes how many bytes."""
        sections, image = self.program.sections, len(self.image)
        return [("start", sections[".start"]), ("code", sections[".text"]),
                ("constants and variables in RAM", sections[".data"] + sections[".bss"]),
                ("image: program and weights", image),
                ("description of the model, in flash", sections[".image"] - image),
                ("activations", sections[".activations"])]


def build_small_firmware(headers: Path, *, clock_hz: int, definitions: Sequence[str] = (),
                         compiler: Sequence[str] | None = None) -> SmallFirmware:
    """Compile and link.

    Parameters
    ----------
    headers
        Folder made by ``python -m codegen header``.
    clock_hz
        Of the system.
    definitions
        Macros of firmware/small/main.c.
    compiler
        A command, if not the first of :func:`hw.soc.firmware.compilers`.

    Raises
    ------
    FirmwareError
        A header or a compiler is missing, or something does not fit the memory.
    """
    image = image_source(headers)
    command = tuple(compiler or next(iter(compilers(multiplies=False).values()), ()))
    with tempfile.TemporaryDirectory(prefix="macrame-") as name:
        work = Path(name)
        (work / HEADER).write_text(small_header(clock_hz))
        (work / SCRIPT).write_text(small_script())
        flags = [*FLAGS, *(f"-D{definition}" for definition in definitions), f"-I{SOURCES}",
                 f"-I{SOURCES / 'reference'}", f"-I{headers.absolute()}", f"-I{work}",
                 f"-Wa,-I,{headers.absolute()}"]
        program = link(command, flags, [*(SOURCES / file for file in _PROGRAM),
                                        headers.absolute() / "macrame_model.c", image],
                       SOURCES / "small" / "firmware.ld", work)
        return SmallFirmware(read_elf(program), program)
