"""A picture for a board: what ``litex_term --images`` sends over the serial line, or what goes into
the flash of a small system.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sim.build import BuildFolder
from sim.errors import SimError
from sim.tensors import Array, write_inputs

__all__ = ["ALL", "NEXT", "WINDOW", "make_upload"]

#: Lists of files for ``litex_term``: with the program, and without it for the next picture.
ALL, NEXT = "images.json", "next.json"
#: The whole activations window, for a flash.
WINDOW = "activations.bin"
#: The program's first bytes, which say that it is there and which it clears when it is done.
_START, _START_BYTES = "start.bin", 16


def make_upload(build: BuildFolder, firmware: Path, feeds: Mapping[str, Array],
                folder: Path) -> dict[str, bytes]:
    """Make the files of an upload: inputs, and lists of files with their addresses.

    The inputs are the bytes that ``sim soc`` puts into its SDRAM. The last file of a list is the
    one that is started. For a small system there is one file, the window that ``sim soc`` puts
    into its flash.

    Parameters
    ----------
    firmware
        Folder made by ``python -m hw firmware``.
    feeds
        One array per graph input, as ONNX Runtime takes it.
    folder
        Where the files will be; lists name the program relative to it.

    Raises
    ------
    SimError
        The folder has no firmware, or that of another build.
    """
    places = _read_places(firmware)
    image = (build.path / "program.bin").read_bytes()
    if places["image_sha256"] != hashlib.sha256(image).hexdigest():
        raise SimError(f"firmware {str(firmware)!r} must be made of the build "
                       f"{str(build.path)!r}, not of another one; run `python -m codegen header` "
                       f"and `python -m hw firmware` again.")
    activations = np.zeros(build.image.activation_bytes, np.uint8)
    write_inputs(build, activations, feeds)
    if "program" not in places:
        return {WINDOW: activations.tobytes()}
    files, listed = dict[str, bytes](), dict[str, str]()
    for n, entry in enumerate(build.manifest["inputs"], 1):
        place = build.tensors[entry["tensor"]]
        name = "input.bin" if n == 1 else f"input-{n}.bin"
        begin = int(place.entry["address"])
        files[name] = activations[begin:place.stop].tobytes()
        listed[name] = f"{places['activations'] + begin:#010x}"
    program = firmware / "firmware.bin"
    start = f"{places['program']:#010x}"
    files[_START] = program.read_bytes()[:_START_BYTES]
    files[ALL] = _json(listed | {os.path.relpath(program, folder): start})
    files[NEXT] = _json(listed | {_START: start})
    return files


def _read_places(firmware: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((firmware / "firmware.json").read_text())
    except (OSError, ValueError) as error:
        raise SimError(f"firmware {str(firmware)!r} must be a folder made by `python -m hw "
                       f"firmware`; its firmware.json cannot be read.") from error
    return found


def _json(listed: Mapping[str, str]) -> bytes:
    return (json.dumps(listed, indent=1) + "\n").encode()
