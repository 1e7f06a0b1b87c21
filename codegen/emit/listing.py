"""The program as text: one line per instruction, with the ONNX node it serves."""

from collections.abc import Iterator

from hw.spec.config import ArrayConfig
from hw.spec.isa import QUEUE_OF, Isa, LinearTarget, Opcode, Queue, Window

__all__ = ["disassemble", "listing"]


def listing(program: bytes, kernels: list[str], config: ArrayConfig) -> str:
    """Disassembly of the *encoded* `program`; `kernels` names what each instruction serves."""
    size = Isa(config).instruction_bytes
    lines = [f"; {len(kernels)} instructions of {size} bytes for {config.rows}x{config.columns}",
             f"; {'index':>5}  {'queue':5}  {'wait':9}  {'signal':9}  instruction"]
    current = None
    for index, (text, queue, wait, signal) in enumerate(disassemble(program, config)):
        if kernels[index] != current and kernels[index]:
            current = kernels[index]
            lines.append(f"\n; {current}")
        lines.append(f"{index:7d}  {queue:5}  {wait:9}  {signal:9}  {text}")
    return "\n".join(lines) + "\n"


def disassemble(program: bytes, config: ArrayConfig) -> Iterator[tuple[str, str, str, str]]:
    """Text, queue, queues waited for and queues signalled, of each instruction."""
    isa = Isa(config)
    step = isa.instruction_bytes
    for at in range(0, len(program), step):
        opcode, fields = isa.decode(program[at:at + step])
        queue = QUEUE_OF[opcode].name if opcode in QUEUE_OF else ""
        yield (" ".join((opcode.name, *_operands(opcode, dict(fields)))), queue,
               _queues(fields.get("wait", 0)), _queues(fields.get("signal", 0)))


def _queues(mask: int) -> str:
    return ",".join(q.name for q in Queue if mask >> q & 1)


def _operands(opcode: Opcode, f: dict[str, int]) -> Iterator[str]:
    f.pop("wait", None)
    f.pop("signal", None)
    for prefix in ("src", "a", "b", "dst"):
        if f"{prefix}_base" in f:
            base, plane, row, ring, first = (
                f.pop(f"{prefix}_{n}") for n in ("base", "plane_stride", "row_stride",
                                                 "ring_words", "ring_start"))
            yield f"{prefix}=@{base}+{plane}p+{row}y%{ring}" + (f"~{first}" if first else "")
    if "window" in f:
        yield f"from={Window(f.pop('window')).name.lower()}"
    if opcode == Opcode.LOAD_LINEAR:
        yield f"to={LinearTarget(f.pop('target')).name.lower()}"
    if "address" in f:
        yield f"address={f.pop('address'):#x}"
    yield from (f"{name}={value}" for name, value in f.items())
