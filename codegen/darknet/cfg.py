"""Read darknet's description of a network: sections of ``key=value`` lines.

Ref: AlexeyAB/darknet, src/parser.c and src/option_list.c.
"""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from codegen.errors import ModelFileError

__all__ = ["Section", "read_cfg"]

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the file.

    Parameters
    ----------
    file : str
        Its file, for messages.
    index : int
        Number of the layer as darknet counts, from 0; -1 for ``[net]``, which is none.
    type : str
        What stands in the brackets.
    line : int
        Where, from 1.
    options : dict of str to str
        Keys and values.
    """

    file: str
    index: int
    type: str
    line: int
    options: dict[str, str]

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"[{self.type}]" if self.index < 0 else f"section {self.index} [{self.type}]"

    def error(self, text: str) -> ModelFileError:
        """An error that names the file, the line and the section."""
        return ModelFileError(f"cfg file {self.file!r}, line {self.line}: {self.title} {text}")

    def check_keys(self, known: Set[str]) -> None:
        """Refuse keys that are not known, since they might change what the layer computes."""
        for key in self.options:
            if key not in known:
                raise self.error(f"must have only the keys {', '.join(sorted(known))}, not {key!r}")

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """An integer of at least `least`."""
        numbers = self.integers(key, None if default is None else (default,))
        if len(numbers) != 1 or numbers[0] < least:
            raise self.error(f"must have an integer of at least {least} as {key!r}, "
                             f"not {self.options[key]!r}")
        return numbers[0]

    def integers(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Integers, separated by commas."""
        try:
            return tuple(int(word) for word in self._words(key, default))
        except ValueError as error:
            raise self.error(f"must have integers as {key!r}, not {self.options[key]!r}"
                             ) from error

    def number(self, key: str, default: float) -> float:
        """A positive number."""
        numbers = self.numbers(key, (default,))
        if len(numbers) != 1:
            raise self.error(f"must have one number as {key!r}, not {self.options[key]!r}")
        return numbers[0]

    def numbers(self, key: str, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        """Positive numbers, separated by commas."""
        try:
            found = tuple(float(word) for word in self._words(key, default))
        except ValueError:
            found = (-1,)
        if not all(0 < number < 1e9 for number in found):
            raise self.error(f"must have positive numbers as {key!r}, not {self.options[key]!r}")
        return found

    def word(self, key: str, default: str, *, choices: Set[str]) -> str:
        """One of several words."""
        found = self.options.get(key, default)
        if found not in choices:
            raise self.error(f"must have one of {', '.join(sorted(choices))} as {key!r}, "
                             f"not {found!r}")
        return found

    def _words(self, key: str, default: tuple[object, ...] | None) -> list[str]:
        if key in self.options:
            return self.options[key].strip(",").split(",")
        if default is None:
            raise self.error(f"must have the key {key!r}")
        return [str(value) for value in default]


def read_cfg(path: Path) -> tuple[Section, ...]:
    """Read a file; the first section is ``[net]``, all others are layers.

    Blanks do not count; what follows ``#`` or ``;`` is a comment.

    Raises
    ------
    ModelFileError
        The file cannot be read, or is no such description.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelFileError(f"cfg file {str(path)!r} must have at most {_MAX_BYTES} bytes, "
                                 f"not {path.stat().st_size}; is it the weights?")
        text = path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cfg file {str(path)!r} must be a text file that can be read; "
                             f"{error}") from error
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = "".join(raw.replace(";", "#").split("#")[0].split())
        if not line:
            continue
        if line.startswith("["):
            sections.append(Section(file=str(path), index=len(sections) - 1,
                                    type=line.strip("[]"), line=number, options={}))
            continue
        key, equals, value = line.partition("=")
        if not sections or not key or not equals or not value:
            raise ModelFileError(f"cfg file {str(path)!r}, line {number}: must be [type], or "
                                 f"key=value in a section, not {raw.strip()[:80]!r}")
        if key in sections[-1].options:
            raise sections[-1].error(f"must have the key {key!r} once; line {number} repeats it")
        sections[-1].options[key] = value
    if not sections or sections[0].type not in ("net", "network"):
        found = f"[{sections[0].type}]" if sections else "nothing"
        raise ModelFileError(f"cfg file {str(path)!r} must begin with the section [net], "
                             f"not with {found}")
    return tuple(sections)
