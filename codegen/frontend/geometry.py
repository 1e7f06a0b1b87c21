"""Sizes of windows that slide over an image: kernels, strides, padding."""

from dataclasses import dataclass

from codegen.frontend.site import MissingInput, Site

__all__ = ["Window", "window_of"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window that slides over an image.

    Parameters
    ----------
    size : (int, int)
        Rows and columns of the image.
    kernel, strides : (int, int)
    pads : (int, int, int, int)
        Top, left, bottom, right.
    """

    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def output(self) -> tuple[int, int]:
        """Rows and columns of the result; not positive if the window does not fit."""
        rows, columns = ((self.size[i] + self.pads[i] + self.pads[i + 2] - self.kernel[i])
                         // self.strides[i] + 1 for i in (0, 1))
        return rows, columns

    @property
    def is_whole(self) -> bool:
        """The window is the whole image."""
        return self.kernel == self.size and not any(self.pads)

    def padded(self, more: tuple[int, int, int, int]) -> "Window":
        """Return the same window on the image inside a border that is padding, too."""
        rows, columns = (self.size[i] - more[i] - more[i + 2] for i in (0, 1))
        top, left, bottom, right = (p + m for p, m in zip(self.pads, more))
        return Window(size=(rows, columns), kernel=self.kernel, strides=self.strides,
                      pads=(top, left, bottom, right))


def window_of(site: Site, size: tuple[int, int],
              kernel: tuple[int, int] | None = None) -> Window:
    """Read the window of a convolution or a pooling from the attributes of its node.

    With ``ceil_mode``, padding at the bottom and right makes the last, incomplete window complete.

    Parameters
    ----------
    site : Site
    size : (int, int)
        Rows and columns of the image.
    kernel : (int, int) or None
        Where the operator does not take it from ``kernel_shape``.
    """
    if kernel is None:
        kernel = _pair(site, "kernel_shape", ())
    strides = _pair(site, "strides", (1, 1))
    if min(*kernel, *strides) < 1:
        raise MissingInput(f"kernel {kernel}, strides {strides}")
    auto = site.string("auto_pad", "NOTSET")
    pads = site.integers("pads", (0, 0, 0, 0))
    if len(pads) != 4:
        raise MissingInput(f"attribute pads = {pads!r}")
    before, after = [pads[0], pads[1]], [pads[2], pads[3]]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for i in (0, 1):
            total = max((-(-size[i] // strides[i]) - 1) * strides[i] + kernel[i] - size[i], 0)
            small, large = total // 2, total - total // 2
            before[i], after[i] = (small, large) if auto == "SAME_UPPER" else (large, small)
    elif auto == "VALID":
        before, after = [0, 0], [0, 0]
    elif auto != "NOTSET":
        raise MissingInput(f"attribute auto_pad = {auto!r}")
    if site.integer("ceil_mode", 0):
        for i in (0, 1):
            room = size[i] + before[i] + after[i] - kernel[i]
            windows = -(-room // strides[i]) + 1
            if (windows - 1) * strides[i] >= size[i] + before[i]:
                windows -= 1  # it would begin in the padding
            after[i] = max(after[i],
                           (windows - 1) * strides[i] + kernel[i] - size[i] - before[i])
    return Window(size=size, kernel=kernel, strides=strides,
                  pads=(before[0], before[1], after[0], after[1]))


def _pair(site: Site, name: str, default: tuple[int, ...]) -> tuple[int, int]:
    values = site.integers(name, default)
    if len(values) != 2:
        raise MissingInput(f"attribute {name} = {values!r}")
    return values[0], values[1]
