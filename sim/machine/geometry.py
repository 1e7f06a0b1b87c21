"""Which scratchpad words an instruction means: surfaces, and windows that slide over them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hw.spec.config import MAX_STRIDE
from hw.spec.regs import Fault
from sim.machine.faults import Refusal
from sim.machine.state import Indices

__all__ = ["SlidingWindow", "Surface", "check", "check_range", "check_words", "sliding_window"]

#: More than any word index: marks positions outside the input.
_OUTSIDE = 1 << 40


def check(condition: bool, rule: str, value: object) -> None:
    """Refuse the instruction as ILLEGAL_INSTRUCTION unless `condition` holds."""
    if not condition:
        raise Refusal(Fault.ILLEGAL_INSTRUCTION, f"{rule}, not {value}")


def check_range(memory: str, last: int, size: int) -> None:
    """Refuse the instruction as ON_CHIP_RANGE if word `last` is not in a memory of `size`."""
    if last >= size:
        raise Refusal(Fault.ON_CHIP_RANGE,
                      f"last word of {memory} must be below {size}, not {last}", last)


def check_words(memory: str, words: Indices, size: int) -> None:
    """Refuse the instruction as ON_CHIP_RANGE unless all `words` are in a memory of `size`.

    They are in the order in which the instruction comes to them: the first one outside is the
    fault's address.
    """
    outside = words[words >= size]
    if len(outside):
        first = int(outside[0])
        raise Refusal(Fault.ON_CHIP_RANGE,
                      f"every word of {memory} must be below {size}, not {first}", first)


@dataclass(frozen=True)
class Surface:
    """A tensor's place in the scratchpad; the fields are those of ``hw.spec.isa``.

    Word (plane p, row y, column x) is at ``base + p * plane_stride
    + (ring_start + y * row_stride) % ring_words + x``.
    """

    base: int
    plane_stride: int
    row_stride: int
    ring_words: int
    ring_start: int

    @classmethod
    def of(cls, fields: Mapping[str, int], prefix: str) -> "Surface":
        """Take the surface `prefix` out of an instruction and check its ring."""
        surface = cls(fields[f"{prefix}_base"], fields[f"{prefix}_plane_stride"],
                      fields[f"{prefix}_row_stride"], fields[f"{prefix}_ring_words"],
                      fields[f"{prefix}_ring_start"])
        check(surface.ring_words > 0, f"{prefix}_ring_words must be positive", surface.ring_words)
        check(surface.row_stride <= surface.ring_words,
              f"{prefix}_row_stride must be at most {prefix}_ring_words = {surface.ring_words}",
              surface.row_stride)
        check(surface.ring_start < surface.ring_words,
              f"{prefix}_ring_start must be below {prefix}_ring_words = {surface.ring_words}",
              surface.ring_start)
        return surface

    def written(self, prefix: str, rows: int) -> "Surface":
        """Check that `rows` rows can be written without overwriting each other."""
        check(rows * self.row_stride <= self.ring_words,
              f"words of the rows written must be at most {prefix}_ring_words = "
              f"{self.ring_words}", rows * self.row_stride)
        return self

    def words(self, planes: int, rows: int, columns: int, *, repeat_y: int = 1,
              repeat_x: int = 1) -> Indices:
        """Indices of the words of the upper left corner, int64[planes, rows, columns].

        Row y is the surface's row ``y // repeat_y``, columns likewise. They may be outside the
        scratchpad.
        """
        return self.base + _corner(self.plane_stride, self.row_stride, self.ring_words,
                                   self.ring_start, planes, rows, columns, repeat_y, repeat_x)


@lru_cache(maxsize=1024)
def _corner(plane_stride: int, row_stride: int, ring_words: int, ring_start: int, planes: int,
            rows: int, columns: int, repeat_y: int, repeat_x: int) -> Indices:
    row = (ring_start + np.arange(rows) // repeat_y * row_stride) % ring_words
    plane = np.arange(planes) * plane_stride
    offsets: Indices = (plane[:, None, None] + row[:, None]
                        + (np.arange(columns) // repeat_x))
    return offsets


@dataclass(frozen=True, eq=False)
class SlidingWindow:
    """Input positions of a kernel window that slides over a surface, relative to its base.

    P = rows * columns positions of the window, T = kernel_rows * kernel_columns taps.

    Members
    -------
    touched : int64[N]
        The words that lie inside the input.
    highest : int
        The largest of them; if there are none, less than minus any base.
    """

    row_offsets: Indices     # [rows, kernel_rows]
    column_offsets: Indices  # [columns, kernel_columns]
    plane_offsets: Indices   # [planes]
    touched: Indices
    highest: int

    def words(self, base: int, spare: int) -> Indices:
        """Indices int64[P, planes, T] into the scratchpad; positions outside are `spare`."""
        words = self._positions(base)
        np.minimum(words, spare, out=words)
        return words

    def check(self, base: int, size: int, order: tuple[int, int, int]) -> None:
        """Refuse the instruction as ON_CHIP_RANGE if it touches a word that is not below `size`.

        It comes to the positions in the `order` of the axes of :meth:`words`, outermost first.
        """
        if base + self.highest >= size:
            words = self._positions(base).transpose(order).reshape(-1)
            check_words("the scratchpad", words[words < _OUTSIDE], size)

    def _positions(self, base: int) -> Indices:
        taps = (base + self.row_offsets[:, None, :, None]
                + self.column_offsets[None, :, None, :])
        positions = self.row_offsets.shape[0] * self.column_offsets.shape[0]
        words: Indices = taps.reshape(positions, 1, -1) + self.plane_offsets[:, None]
        return words


def sliding_window(fields: Mapping[str, int], surface: Surface) -> SlidingWindow:
    """Check the window of a MAC or POOL (without ``up_y``, ``up_x``: 0) and resolve it."""
    f = fields
    for name in ("src_rows", "src_columns", "rows", "columns", "planes", "kernel_rows",
                 "kernel_columns"):
        check(f[name] > 0, f"{name} must be positive", f[name])
    for name in ("stride_y", "stride_x"):
        check(0 < f[name] <= MAX_STRIDE, f"{name} must be in 1..{MAX_STRIDE}", f[name])
    for name, up in (("y0", "up_y"), ("x0", "up_x")):
        check(f[name] < 1 << f.get(up, 0), f"{name} must be below {1 << f.get(up, 0)}", f[name])
    return _sliding_window(
        surface.plane_stride, surface.row_stride, surface.ring_words, surface.ring_start,
        f["planes"], f["src_rows"], f["src_columns"], f["y0"], f["x0"], f["kernel_rows"],
        f["kernel_columns"], f["stride_y"], f["stride_x"], f["rows"], f["columns"],
        f.get("up_y", 0), f.get("up_x", 0))


@lru_cache(maxsize=1024)
def _sliding_window(
        plane_stride: int, row_stride: int, ring_words: int, ring_start: int, planes: int,
        src_rows: int, src_columns: int, y0: int, x0: int, kernel_rows: int,
        kernel_columns: int, stride_y: int, stride_x: int, rows: int, columns: int,
        up_y: int, up_x: int) -> SlidingWindow:
    iy = y0 + np.arange(rows)[:, None] * stride_y + np.arange(kernel_rows)
    ix = x0 + np.arange(columns)[:, None] * stride_x + np.arange(kernel_columns)
    inside_y = (iy >= 0) & (iy < src_rows << up_y)
    inside_x = (ix >= 0) & (ix < src_columns << up_x)
    row = (ring_start + (iy >> up_y) * row_stride) % ring_words
    column = ix >> up_x
    plane = np.arange(planes) * plane_stride
    touched = (plane[:, None, None] + np.unique(row[inside_y])[:, None]
               + np.unique(column[inside_x])).reshape(-1)
    return SlidingWindow(
        np.where(inside_y, row, _OUTSIDE), np.where(inside_x, column, _OUTSIDE), plane,
        touched, int(touched.max()) if len(touched) else -_OUTSIDE)
