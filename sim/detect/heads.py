"""What the outputs of a YOLO network mean: where it is looked for. What is written there is read by
:mod:`hw.spec.heads`.
"""

from pathlib import Path

import onnx

from hw.spec.heads import METADATA_KEY, SIDECAR, Heads, HeadsError, parse_heads
from sim.errors import SimError

__all__ = ["find_heads"]


def find_heads(model: onnx.ModelProto, beside: Path, file: Path | None) -> Heads | None:
    """Look for a network's heads: in ``file``, else in the model, else in a file beside it.

    Parameters
    ----------
    model
        Where the metadata are looked for.
    beside
        Folder where ``meta.json`` is looked for.
    file
        What the user named, if anything; nothing else is looked at then.

    Returns
    -------
    None if there is nothing.

    Raises
    ------
    SimError
        What is there cannot be read.
    """
    if file is None:
        for item in model.metadata_props:
            if item.key == METADATA_KEY:
                return _parse(str(item.value), f"metadata {METADATA_KEY!r} of the model in "
                                              f"{str(beside)!r}")
        file = beside / SIDECAR
        if not file.exists():
            return None
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SimError(f"heads file {str(file)!r} must be a text file that can be read; "
                       f"{error}.") from error
    return _parse(text, f"heads file {str(file)!r}")


def _parse(text: str, where: str) -> Heads:
    try:
        return parse_heads(text, where)
    except HeadsError as error:
        raise SimError(str(error)) from error
