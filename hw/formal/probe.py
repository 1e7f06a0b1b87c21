"""A view into a component: what an induction needs to say about its registers and memories."""

from amaranth import Cat, Const, Elaboratable, Module, Signal, Value
from amaranth.asserts import AnySeq
from amaranth.hdl import Fragment, MemoryInstance
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

__all__ = ["Probe", "free_inputs"]


class Probe(Elaboratable):
    """A component, elaborated, with its insides in reach. Add it as a submodule in its place.

    Names are those that the component's `elaborate` gives; ``a.b.c`` is signal ``c`` of submodule
    ``b`` of submodule ``a``; a number stands for a submodule without a name. Amaranth's FIFOs come
    with assertions of their own, about their levels.

    Parameters
    ----------
    component
        What is to be proved; not changed, but for :meth:`cut`.
    """

    def __init__(self, component) -> None:
        self.fragment = Fragment.get(component, "formal")

    def part(self, path: str) -> Fragment:
        """Return a submodule; the component itself for an empty path."""
        fragment = self.fragment
        for name in path.split(".") if path else ():
            fragment = fragment.find_subfragment(int(name) if name.isdecimal() else name)
        return fragment

    def component(self, path: str):
        """Return the object that a submodule was made from."""
        return self.part(path).origins[0]

    def signal(self, path: str) -> Signal:
        """Return a signal inside a submodule that it drives; not one of its ports.

        Raises
        ------
        KeyError
            If it drives none or several of that name.
        """
        where, _, name = path.rpartition(".")
        part = self.part(where)
        ports = {id(Value.cast(value)) for origin in part.origins or ()
                 if isinstance(origin, wiring.Component)
                 for _, _, value in origin.signature.flatten(origin)}
        found = [signal for signal in _driven(part)
                 if signal.name == name and id(signal) not in ports]
        if len(found) != 1:
            raise KeyError(f"{path!r} must name one signal, not {len(found)}")
        return found[0]

    def view(self, path: str, shape) -> data.View:
        """Return such a signal as what it was declared to be."""
        return data.View(shape, self.signal(path))

    def in_state(self, path: str, *states: str) -> Value:
        """Whether the state machine of a submodule is in one of `states`, or in any at all."""
        encoding = self.part(path).generated["fsm"].encoding
        now = self.signal(f"{path}.fsm_state".lstrip("."))
        return Cat(now == encoding[state] for state in states or encoding).any()

    def word(self, path: str, address) -> Signal:
        """Return the word of a memory at `address`, in this cycle.

        Of those memories only that a submodule consists of, as in ``lib.memory``.
        """
        memory = self.part(path)
        if not isinstance(memory, MemoryInstance):
            raise KeyError(f"{path!r} must be a memory, not {type(memory).__name__}")
        word = Signal(memory._data.shape, name=f"{path.rpartition('.')[-1]}_word")
        memory.read_port(domain="comb", addr=address, data=word, en=Const(1), transparent_for=())
        return word

    def cut(self, path: str) -> None:
        """Let a submodule do anything at any time: what is proved holds whatever it does."""
        where, _, name = path.rpartition(".")
        parent = self.part(where)
        at = next(i for i, (_, n, _) in enumerate(parent.subfragments) if n == name)
        old, _, location = parent.subfragments[at]
        free = Fragment()
        free.origins = old.origins
        for signal in _all_driven(old):
            free.add_statements("comb", signal.eq(AnySeq(signal.shape())))
        parent.subfragments[at] = (free, name, location)

    def elaborate(self, platform):
        return self.fragment


def free_inputs(m: Module, component: wiring.Component, *, but: tuple[str, ...] = ()) -> None:
    """Let the inputs of a component be anything in every cycle, except members named in `but`."""
    for path, member, value in component.signature.flatten(component):
        if member.flow is In and path[0] not in but:
            target = Value.cast(value)
            m.d.comb += target.eq(AnySeq(target.shape()))


def _driven(fragment: Fragment) -> list[Signal]:
    """Signals that the fragment assigns, each once."""
    return list({id(signal): signal for statements in fragment.statements.values()
                 for statement in statements for signal in statement._lhs_signals()}.values())


def _all_driven(fragment: Fragment) -> list[Signal]:
    """Signals that the fragment or anything in it drives."""
    if isinstance(fragment, MemoryInstance):
        return [port._data for port in fragment._read_ports]
    return _driven(fragment) + [signal for part, _, _ in fragment.subfragments
                                for signal in _all_driven(part)]
