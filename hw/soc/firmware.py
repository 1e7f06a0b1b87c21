"""Compiles the firmware for the system: boot ROM, and a program with the headers of a build."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hw.soc.elf import Elf, read_elf

__all__ = ["FLAGS", "Firmware", "FirmwareError", "HEADER_FILES", "SOURCES", "build_firmware",
           "compilers", "image_source", "link"]

SOURCES = Path(__file__).parents[2] / "firmware"
#: What a folder of headers must have; macrame_weights is a .c or a .S file.
HEADER_FILES = ("macrame_regs.h", "macrame_isa.h", "macrame_model.h", "macrame_model.c",
                "macrame_weights.h")

_BOOT = ("soc/boot.S", "soc/boot.c", "soc/loader.c", "soc/uart.c")
_PROGRAM = ("soc/crt0.S", "main.c", "macrame.c", "console.c", "tensor.c", "yolo.c", "soc/uart.c")
#: Of the compiler, whatever the processor.
FLAGS = ("-std=c11", "-Os", "-g", "-ffreestanding", "-ffunction-sections", "-fdata-sections",
         "-Wall", "-Wextra", "-Wpedantic", "-Werror")
_LINK = ("-static", "-Wl,--gc-sections")
_ZIG = ("-target", "riscv32-freestanding-none", "-fno-sanitize=all")


class FirmwareError(Exception):
    """The firmware cannot be built; the message says why, and what to do."""


@dataclass(frozen=True)
class Firmware:
    """What was built.

    Parameters
    ----------
    boot
        For the boot ROM.
    program
        For the SDRAM, from its first byte on.
    elf
        The program as the linker wrote it.
    """

    boot: Elf
    program: Elf
    elf: bytes

    @property
    def image(self) -> bytes:
        """The model's image, as it is in the program."""
        address, size = self.program.symbols["macrame_image"]
        return self.program.binary[address - self.program.start:][:size]

    @property
    def image_bytes(self) -> int:
        """Of the model's image, which is part of the program."""
        return self.program.symbols["macrame_image"][1]

    @property
    def code_bytes(self) -> int:
        """Code and constants without the image."""
        return sum(self.program.sections.get(name, 0)
                   for name in (".text", ".rodata", ".data")) - self.image_bytes

    def places(self) -> dict[str, int | str]:
        """Where pictures and the program go, and whose image it is: ``firmware.json``."""
        address, size = self.program.symbols["activations"]
        return {"program": self.program.start, "activations": address, "activation_bytes": size,
                "image_sha256": hashlib.sha256(self.image).hexdigest()}

    def table(self) -> list[tuple[str, int]]:
        """What takes how many bytes."""
        sections = self.program.sections
        return [("boot ROM", len(self.boot.binary)),
                ("code", sections[".text"]),
                ("constants without the image", self.code_bytes - sections[".text"]),
                ("image: program and weights", self.image_bytes),
                ("variables", sections.get(".bss", 0)),
                ("activations", sections.get(".activations", 0))]


def compilers(*, multiplies: bool = True) -> dict[str, tuple[str, ...]]:
    """Cross-compilers that are here, by name: clang of the ziglang wheel first.

    `multiplies`: the processor has instructions for products and quotients.
    """
    found = dict[str, tuple[str, ...]]()
    if find_spec("ziglang"):
        found["zig"] = (sys.executable, "-m", "ziglang", "cc", *_ZIG,
                        f"-mcpu=generic_rv32{'+m' if multiplies else ''}")
    if path := shutil.which("riscv64-unknown-elf-gcc"):
        found["gcc"] = (path, f"-march=rv32i{'m' if multiplies else ''}", "-mabi=ilp32")
    return found


def image_source(headers: Path) -> Path:
    """The file of a folder of headers that defines ``macrame_image``.

    Raises
    ------
    FirmwareError
        It is no folder of headers.
    """
    weights = [path for path in (headers / "macrame_weights.S", headers / "macrame_weights.c")
               if path.exists()]
    missing = [name for name in HEADER_FILES if not (headers / name).exists()]
    if missing or not weights:
        raise FirmwareError(
            f"headers {str(headers)!r} must be a folder made by `python -m codegen header`; there "
            f"is no {missing[0] if missing else 'macrame_weights.c or .S'}")
    return weights[0].absolute()


def build_firmware(headers: Path, system: dict[str, str], *, definitions: Sequence[str] = (),
                   compiler: Sequence[str] | None = None) -> Firmware:
    """Compile and link.

    Parameters
    ----------
    headers
        Folder made by ``python -m codegen header``.
    system
        ``soc.h`` and ``soc.ld`` of the system, :func:`hw.soc.write.soc_files`.
    definitions
        Macros of firmware/main.c.
    compiler
        A command, if not the first of :func:`compilers`.

    Raises
    ------
    FirmwareError
        A header or a compiler is missing, or something does not fit the memory.
    """
    image = image_source(headers)
    command = tuple(compiler or next(iter(compilers().values()), ()))
    with tempfile.TemporaryDirectory(prefix="macrame-") as name:
        work = Path(name)
        for file in ("soc.h", "soc.ld"):
            (work / file).write_text(system[file])
        flags = [*FLAGS, *(f"-D{definition}" for definition in definitions),
                 f"-I{SOURCES}", f"-I{headers.absolute()}", f"-I{work}",
                 f"-Wa,-I,{headers.absolute()}"]
        boot = link(command, flags, [SOURCES / file for file in _BOOT],
                    SOURCES / "soc" / "boot.ld", work)
        program = link(command, flags, [*(SOURCES / file for file in _PROGRAM),
                                        headers.absolute() / "macrame_model.c", image],
                       SOURCES / "soc" / "firmware.ld", work)
        return Firmware(read_elf(boot), read_elf(program), program)


def link(command: Sequence[str], flags: Sequence[str], sources: Sequence[Path], script: Path,
         work: Path) -> bytes:
    """Compile and link, in the folder `work`; returns the ELF file, which is named as the script.

    Raises
    ------
    FirmwareError
        There is no compiler, or something does not fit the memory.
    """
    if not command:
        raise FirmwareError("firmware needs a compiler for RISC-V, and there is none; "
                            "run `make setup`, or `pip install ziglang`")
    # zig brings its own arithmetic for what the processor lacks, and has no C library for it
    libraries = () if "ziglang" in command else ("-nostdlib", "-lgcc")
    made = work / f"{script.stem}.elf"
    done = subprocess.run(
        [*command, *flags, *map(str, sources), *_LINK, f"-Wl,-T,{script}", *libraries,
         "-o", made.name],
        cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        raise FirmwareError(f"{script.stem} must compile and fit its memory; {command[0]} said:\n"
                            + "\n".join(done.stdout.splitlines()[:20]))
    return made.read_bytes()
