"""All proofs, and how to choose among them."""

from collections.abc import Sequence

from hw.formal import (
    axi_read,
    axi_write,
    bursts,
    control,
    core,
    fifos,
    queue,
    requantizer,
    tokens,
    windows,
)
from hw.formal.errors import FormalError
from hw.formal.proof import Proof

__all__ = ["PROOFS", "select"]

#: In the order of docs/formal.md.
PROOFS: dict[str, Proof] = {
    proof.name: proof
    for module in (fifos, queue, tokens, control, bursts, axi_read, axi_write, windows, core,
                   requantizer)
    for proof in module.PROOFS}


def select(names: Sequence[str] = (), *, fast: bool = False) -> list[Proof]:
    """Return the proofs that are named, or are of a component that is named; all without names.

    Parameters
    ----------
    fast
        Of these, only those that CI runs.

    Raises
    ------
    FormalError
        If a name is neither, or nothing is left.
    """
    components = {name: name.partition(".")[0] for name in PROOFS}
    for name in names:
        if name not in PROOFS and name not in components.values():
            raise FormalError(f"proof must be one of {', '.join(PROOFS)}, or a component "
                              f"({', '.join(dict.fromkeys(components.values()))}), not {name!r}")
    chosen = [proof for name, proof in PROOFS.items()
              if (not names or name in names or components[name] in names)
              and (proof.fast or not fast)]
    if not chosen:
        raise FormalError("proofs must include a fast one, not only "
                          f"{', '.join(map(repr, names))}; leave out --fast")
    return chosen
