"""What a proof is: a harness around a component, and how far it is taken."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from amaranth import Elaboratable, Value

__all__ = ["Method", "Proof", "implies"]


class Method(Enum):
    """How assertions are shown to hold."""

    #: In the first `depth` cycles; and whenever they held in `depth` cycles, in the next: always.
    INDUCTION = "induction"
    #: In the first `depth` cycles after reset; nothing is said about later ones.
    BOUNDED = "bounded"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A property and how to prove it.

    Parameters
    ----------
    name
        ``component.property``.
    claim
        What is proved, in a sentence; how the configuration is bounded, if it is.
    harness
        Makes a module that contains the component, assumptions on what surrounds it, assertions,
        and a Cover for every situation that must be possible. Its inputs are free in every cycle.
    method, depth
        See :class:`Method`.
    cover_depth
        Every Cover must be reached in so many cycles after reset, under the same assumptions:
        otherwise the assertions may hold because nothing happens.
    fast
        Part of the subset that CI runs.
    """

    name: str
    claim: str
    harness: Callable[[], Elaboratable]
    method: Method = Method.INDUCTION
    depth: int = 1
    cover_depth: int = 20
    fast: bool = True


def implies(premise, conclusion) -> Value:
    """`premise` is 0, or `conclusion` is not."""
    return ~Value.cast(premise).any() | Value.cast(conclusion).any()
