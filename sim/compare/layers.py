"""How far the tensors of two models are from each other, over many pictures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.errors import SimError

__all__ = ["Layers", "Likeness"]


@dataclass(frozen=True)
class Likeness:
    """One tensor of both models.

    Parameters
    ----------
    name, shape
        As in the float model.
    sqnr
        Ratio of signal to quantization noise in decibel, 10 log10(sum a^2 / sum (a - b)^2), over
        all pictures; infinite if there is no difference.
    cosine
        Of the angle between both, -1..1, over all pictures.
    """

    name: str
    shape: tuple[int, ...]
    sqnr: float
    cosine: float

    @property
    def decibels(self) -> str:
        """``sqnr`` for tables."""
        return "equal" if self.sqnr == math.inf else f"{self.sqnr:.1f}"


class Layers:
    """Sums for each tensor that both models have, picture by picture."""

    def __init__(self) -> None:
        self._shapes = dict[str, tuple[int, ...]]()
        self._sums = dict[str, npt.NDArray[np.float64]]()  # a^2, b^2, a b, (a - b)^2

    def add(self, a: Mapping[str, npt.NDArray[Any]], b: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add one picture.

        Parameters
        ----------
        a, b
            Real tensors by name; those of the reference first.

        Raises
        ------
        SimError
            No tensor has the same name and shape in both.
        """
        for name in a:
            if name not in b or a[name].shape != b[name].shape:
                continue
            x, y = (t[name].astype(np.float64).reshape(-1) for t in (a, b))
            sums = np.array([x @ x, y @ y, x @ y, (x - y) @ (x - y)])
            self._shapes[name] = tuple(a[name].shape)
            self._sums[name] = self._sums.get(name, 0) + sums
        if not self._sums:
            raise SimError("both networks must have tensors of the same names and shapes (x, and "
                           f"x_quantized for its codes), not {', '.join(sorted(a)[:5])} ... and "
                           f"{', '.join(sorted(b)[:5])} ...")

    def results(self) -> list[Likeness]:
        """For each tensor, in the order of the reference."""
        return [Likeness(name, self._shapes[name], _decibel(aa, noise), _cosine(aa, bb, ab))
                for name, (aa, bb, ab, noise) in self._sums.items()]


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _cosine(aa: float, bb: float, ab: float) -> float:
    """Of zero with zero 1, of zero with anything else 0."""
    if aa == 0 or bb == 0:
        return float(aa == bb)
    return min(max(float(ab / math.sqrt(aa * bb)), -1.0), 1.0)
