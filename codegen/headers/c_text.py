"""Pieces of C: guards, names, strings, numbers. Text of a model goes into the headers only through
these.
"""

import re
import struct
from collections.abc import Iterable, Sequence

from codegen.errors import BuildError

__all__ = ["MADE_BY", "c_float", "c_string", "defines", "guarded", "identifiers", "rows",
           "x_list"]

MADE_BY = "Made by `python -m codegen header`; do not edit."

_LONGEST_NAME = 40
_LONGEST_STRING = 1000


def guarded(name: str, doc: str, body: Iterable[str], *, includes: Sequence[str] = ()) -> str:
    """Wrap `body` as the header file `name`: guard, includes, ``extern "C"``."""
    guard = re.sub(r"\W", "_", name).upper()
    own = [f'#include "{i}"' for i in includes]
    return "\n".join((
        f"/* {doc} {MADE_BY} */", f"#ifndef {guard}", f"#define {guard}", "",
        "#include <stdint.h>", *own, "", "#ifdef __cplusplus", 'extern "C" {', "#endif", "",
        *body, "", "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {guard} */")) + "\n"


def defines(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """Lines that define macros, their values aligned. An int becomes unsigned if it can."""
    known = [(name, _value(value)) for name, value in pairs]
    width = max((len(name) for name, _ in known), default=0)
    return [f"#define {name:{width}} {value}" for name, value in known]


def _value(value: object) -> str:
    if isinstance(value, int):
        return f"{int(value)}u" if value >= 0 else f"({int(value)})"
    return str(value)


def x_list(name: str, entries: Iterable[Sequence[object]]) -> list[str]:
    """A macro that applies X to every entry."""
    items = [f"    X({', '.join(map(_value, entry))})" for entry in entries]
    return [" \\\n".join((f"#define {name}(X)", *items))]


def rows(items: Iterable[str], *, width: int = 96) -> list[str]:
    """Items with commas behind them, as many in a line as fit."""
    lines, line = list[str](), "   "
    for item in items:
        if len(line) + len(item) + 2 > width:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return [*lines, line]


def c_string(text: str) -> str:
    """A string literal of `text` in UTF-8. Whatever is not plain becomes an octal escape.

    Raises
    ------
    BuildError
        It is longer than compilers take.
    """
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > _LONGEST_STRING:
        raise BuildError(f"name must have at most {_LONGEST_STRING} bytes for a C header, not "
                         f"{len(data)} ({text[:40]!r}...); rename it in the model.")
    # "?" could begin a trigraph
    return '"' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}"
                         for b in data) + '"'


def c_float(value: float) -> str:
    """A float literal that reads back as `value`, which must be a float32."""
    assert struct.unpack("f", struct.pack("f", value))[0] == value, "must be a float32"
    text = f"{value:.9g}"
    return (text if set(text) & set(".e") else f"{text}.0") + "f"


def identifiers(prefix: str, names: Sequence[str]) -> list[str]:
    """A C identifier for every name: `prefix` and the name with ``_`` for whatever C does not take.

    Identifiers are cut to a length that all compilers tell apart; where two would be equal, also
    but for upper and lower case, the later one gets its index.
    """
    taken, result = set[str](), list[str]()
    for index, name in enumerate(names):
        base = prefix + re.sub(r"[^A-Za-z0-9_]", "_", name)[:_LONGEST_NAME]
        found = base
        while found.lower() in taken:
            found = f"{base}_{index}" if found == base else f"{found}_"
        taken.add(found.lower())
        result.append(found)
    return result
