"""Random integers that are the same everywhere: the only source of randomness in the zoo.

NumPy promises the raw output of a bit generator forever, but not what its distributions make of
it, and those also call the C library. So everything here is integer arithmetic on raw words.
Ref: NumPy reference, "Compatibility policy" of numpy.random (NEP 19).
"""

import numpy as np
import numpy.typing as npt

__all__ = ["Draws"]


class Draws:
    """A stream of random integers; each call takes the next part of it.

    Parameters
    ----------
    seed : tuple[int, ...]
        Numbers >= 0 that select the stream. Streams of different seeds are independent.
    """

    def __init__(self, *seed: int) -> None:
        self.seed = seed
        self._bits = np.random.PCG64(list(seed))

    def octets(self, *shape: int) -> npt.NDArray[np.uint8]:
        """Draw an array of the given shape, uniform in 0..255."""
        count = int(np.prod(shape))
        words = self._bits.random_raw(-(-count // 8))
        return np.asarray(words).astype("<u8").view(np.uint8)[:count].reshape(shape)

    def integer(self, low: int, high: int) -> int:
        """Draw one number, uniform in low..high, both included; ``high - low`` below 2**32."""
        if not 0 <= high - low < 2**32:
            raise ValueError(f"high must be low..low + 2**32 - 1, not {high} for low {low}")
        return low + int(self._bits.random_raw()) % (high - low + 1)

    def bell(self, *shape: int) -> npt.NDArray[np.int32]:
        """Draw an array, nearly normal: mean 0, standard deviation 147.8, range -510..510."""
        octets = self.octets(4, *shape).astype(np.int32)
        difference: npt.NDArray[np.int32] = octets[0] + octets[1] - octets[2] - octets[3]
        return difference
