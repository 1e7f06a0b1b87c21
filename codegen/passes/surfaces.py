"""Fields of instructions that say where in the scratchpad a tensor stands."""

from hw.spec.config import MAX_IMAGE_SIDE

__all__ = ["named", "surface", "window"]


def surface(base: int, *, rows: int, columns: int, first: int = 0) -> dict[str, int]:
    """Surface of planes of rows x columns words, one after another from word `base`."""
    return {"base": base, "plane_stride": rows * columns, "row_stride": columns,
            "ring_words": rows * columns, "ring_start": first % rows * columns}


def window(src: dict[str, int], *, src_rows: int, src_columns: int, y0: int, x0: int,
           up: tuple[int, int] = (0, 0)) -> dict[str, int]:
    """Fields of a kernel window over `src` whose first tap is at row `y0`, column `x0`; rows and
    columns of `src` count ``2**up`` times.

    Instructions start windows inside of row 0 and column 0, or before, so the surface is moved
    there.
    """
    down, right = max(0, y0) >> up[0], max(0, x0) >> up[1]
    if down >= src_rows or right >= src_columns:
        # nothing but padding: a window that ends before row 0
        return named("src", src) | {"src_rows": 1, "src_columns": 1, "y0": -MAX_IMAGE_SIDE,
                                    "x0": 0}
    moved = src | {"base": src["base"] + right,
                   "ring_start": (src["ring_start"] + down * src["row_stride"])
                   % src["ring_words"]}
    return named("src", moved) | {"src_rows": src_rows - down, "src_columns": src_columns - right,
                                  "y0": y0 - (down << up[0]), "x0": x0 - (right << up[1])}


def named(prefix: str, values: dict[str, int]) -> dict[str, int]:
    """Surface fields under the names that an instruction gives them."""
    return {f"{prefix}_{name}": value for name, value in values.items()}
