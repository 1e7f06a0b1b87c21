"""Converted copies of on-chip words, kept while the words stay as they are.

A compiler reuses an input tile for many groups of output channels and a weight tile for many
input tiles; gathering and converting them once each is most of the simulator's speed.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from sim.machine.state import Indices

__all__ = ["ConvertedWords"]

T = TypeVar("T")


class ConvertedWords(Generic[T]):
    """What was made of some words of a memory, least recently used entries dropped first.

    Parameters
    ----------
    stamps : int64[words]
        Serial number of the last write of each word; see :class:`sim.machine.state.State`.
    capacity_bytes : int
        How much to keep.
    """

    def __init__(self, stamps: Indices, capacity_bytes: int) -> None:
        self.stamps = stamps
        self.capacity_bytes = capacity_bytes
        self._entries: OrderedDict[Hashable, tuple[int, int, T]] = OrderedDict()
        self._used_bytes = 0

    def get(self, key: Hashable, words: Indices | slice, clock: int,
            make: Callable[[], tuple[T, int]]) -> T:
        """Return the entry of `key`, made again if one of `words` was written since.

        Parameters
        ----------
        key : Hashable
            Determines the value, given the contents of `words`.
        words : int64[*] or slice
            Everything that `make` reads.
        clock : int
            Serial number of the latest write.
        make : Callable
            Returns the value and its size in bytes.
        """
        entry = self._entries.get(key)
        if entry is not None:
            stamp, size, value = entry
            if stamp == clock or int(self.stamps[words].max(initial=0)) <= stamp:
                # Nothing was written since, so the copy is as good as one made now.
                self._entries[key] = (clock, size, value)
                self._entries.move_to_end(key)
                return value
            del self._entries[key]
            self._used_bytes -= size
        value, size = make()
        self._entries[key] = (clock, size, value)
        self._used_bytes += size
        while self._used_bytes > self.capacity_bytes and len(self._entries) > 1:
            _, (_, dropped, _) = self._entries.popitem(last=False)
            self._used_bytes -= dropped
        return value
