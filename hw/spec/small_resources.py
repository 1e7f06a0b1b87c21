"""What the array of a small system takes of an iCE40UP5K: DSP blocks, block RAMs and large RAMs
exactly, logic cells and registers as placed.

Systems of both widths that an array can have were synthesized and placed, with the memories of the
preset; smaller memories take some logic cells less. tests/rtl/test_small.py compares.
"""

from hw.spec.config import ArrayConfig
from hw.spec.resources import Resources

__all__ = ["SMALL_SYSTEM", "small_blocks", "small_core"]

#: Depth and width of a block RAM, in each of its ways to be read and written.
_SHAPES = ((256, 16), (512, 8), (1024, 4), (2048, 2))

#: Everything but the array: processor, RAM, flash, UART.
SMALL_SYSTEM = Resources(lut4=1944, ff=615, dsp=0, ebr=4, spram=2)


def small_blocks(words: int, bits: int) -> int:
    """Block RAMs of a memory of that many words."""
    return min(-(-words // depth) * -(-bits // width) for depth, width in _SHAPES)


def small_core(config: ArrayConfig) -> Resources:
    """What an array takes, with MAC unit, registers and scratchpad, of those that
    :func:`hw.spec.small.check_small` lets pass.
    """
    half = -(-config.accumulator_words // 2)
    return Resources(
        lut4=2223 + 292 * (config.columns - 2), ff=1278 + 182 * (config.columns - 2),
        dsp=config.rows * config.columns // 2, spram=2,
        ebr=config.columns * (small_blocks(config.weight_words, 8) + 2 * small_blocks(half, 32)))
