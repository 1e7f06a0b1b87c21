"""Bookkeeping of the on-chip memories while instructions are written."""

from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["Cache", "Ring"]


class Ring:
    """Hands out regions of a memory one after another, from the start again when it is full.

    What a step needs at the same time must be taken as one region: two could overlap after the
    end. Regions are never given back: whoever writes a region waits until its last reader is done,
    which :mod:`codegen.passes.synchronize` arranges.

    Attributes
    ----------
    taken : int
        Units handed out so far.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0
        self._next = 0

    def take(self, units: int) -> int:
        """First unit of a region of `units`."""
        assert 0 < units <= self.size, f"{units} units of {self.size}"
        if self._next + units > self.size:
            self._next = 0
        start = self._next
        self._next += units
        self.taken += units
        return start


class Cache:
    """A ring that remembers what it holds: weights, parameters, tables."""

    def __init__(self, size: int) -> None:
        self._ring = Ring(size)
        self._held: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def get(self, key: Hashable, units: int) -> tuple[int, bool]:
        """Where `key` is, and whether it is already there; if not, the caller must load it."""
        if key in self._held:
            return self._held[key][0], True
        start = self._ring.take(units)
        for other, (s, n) in list(self._held.items()):
            if s < start + units and start < s + n:
                del self._held[other]
        self._held[key] = start, units
        return start, False
