"""All headers of a build."""

from pathlib import Path

from codegen.files import write_folder
from codegen.headers.isa import isa_header
from codegen.headers.model import model_files
from codegen.headers.regs import regs_header
from codegen.headers.source import read_source
from codegen.headers.weights import ARRAY_FILES, INCBIN_FILES, weight_files

__all__ = ["write_headers"]


def write_headers(build: Path, folder: Path, *, form: str | None = None,
                  heads: Path | None = None) -> list[str]:
    """Write the headers of a build into a folder, all or none; the same build gives the same bytes.

    Parameters
    ----------
    form
        Of the image, ``"array"`` or ``"incbin"``; by its size if not given.
    heads
        File that says what the outputs mean; see :func:`codegen.headers.source.read_source`.

    Returns
    -------
    The names of the files.

    Raises
    ------
    BuildError
        The build cannot be read, the heads do not fit it, or the folder cannot be written.
    """
    source = read_source(build, heads)
    texts = {"macrame_regs.h": regs_header(), "macrame_isa.h": isa_header(source.image.config),
             **model_files(source)}
    contents = {name: text.encode() for name, text in texts.items()}
    contents |= weight_files(source.data, form)
    write_folder(folder, contents,
                 remove=[name for name in (*ARRAY_FILES, *INCBIN_FILES) if name not in contents])
    return list(contents)
