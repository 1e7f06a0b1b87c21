"""Every fault that can arise in the simulator, with its whole message."""

from dataclasses import replace

import numpy as np
import pytest

from hw.spec.config import PRESETS
from hw.spec.image import Image
from hw.spec.isa import TOKEN_BITS, Isa, LinearTarget, Opcode, Queue
from hw.spec.regs import Fault
from sim.errors import SimError
from sim.machine.program import Instruction
from sim.machine.schedule import in_program_order
from sim.model import Machine, MachineFault
from tests.sim.faulty_instructions import ALIGNMENT, ILLEGAL, RANGE, WINDOWS
from tests.sim.program_builder import CONFIG, drain, image, instruction, load, mac, mask, store

LOAD, LINEAR, MAC, DRAIN, POOL, ELEMENTWISE, STORE = (o for o in Opcode if o != Opcode.END)


def fault_of(program: Image) -> MachineFault:
    """Run, expecting a fault in program order and with every queue order."""
    with pytest.raises(MachineFault) as caught:
        Machine(program).run()
    with pytest.raises(MachineFault) as shuffled:
        Machine(program).run(order=1)
    assert shuffled.value.cause == caught.value.cause
    assert shuffled.value.instruction == caught.value.instruction
    assert isinstance(caught.value, SimError)
    return caught.value


def check(program: Image, cause: Fault, at: int, address: int, detail: str) -> None:
    fault = fault_of(program)
    assert (fault.cause, fault.instruction, fault.address) == (cause, at, address)
    assert fault.detail == detail
    assert str(fault) == f"{cause.name} at instruction {at}: {detail}"


@pytest.mark.parametrize(("opcode", "changes", "detail"), ILLEGAL)
def test_illegal_fields_are_refused(opcode: Opcode, changes: dict[str, int],
                                    detail: str) -> None:
    check(image(load(), instruction(opcode, **changes)), Fault.ILLEGAL_INSTRUCTION, 1, 0,
          f"{opcode.name}: {detail}")


@pytest.mark.parametrize(("opcode", "changes", "address", "detail"), RANGE)
def test_words_outside_a_memory_are_refused(opcode: Opcode, changes: dict[str, int],
                                            address: int, detail: str) -> None:
    check(image(instruction(opcode, **changes)), Fault.ON_CHIP_RANGE, 0, address,
          f"{opcode.name}: {detail}")


def test_planes_of_a_drain_are_written_in_turns() -> None:
    config = PRESETS["test-4x8"]
    check(image(instruction(DRAIN, dst_base=config.scratchpad_words - 3), config=config),
          Fault.ON_CHIP_RANGE, 0, config.scratchpad_words + 1,
          f"DRAIN: every word of the scratchpad must be below {config.scratchpad_words}, not "
          f"{config.scratchpad_words + 1}")


def test_a_table_slot_outside_is_refused_only_if_used() -> None:
    config = replace(CONFIG, table_slots=3, add_table_slots=3)
    for opcode in (DRAIN, POOL, ELEMENTWISE):
        Machine(image(instruction(opcode, table=3), config=config)).run()
        check(image(instruction(opcode, table=3, use_table=1), config=config),
              Fault.ON_CHIP_RANGE, 0, 3,
              f"{opcode.name}: last word of the tables must be below 3, not 3")
    Machine(image(instruction(ELEMENTWISE, operation=2, add_tables=3), config=config)).run()
    check(image(instruction(ELEMENTWISE, operation=1, add_tables=3), config=config),
          Fault.ON_CHIP_RANGE, 0, 3,
          "ELEMENTWISE: last word of the add tables must be below 3, not 3")
    config = replace(CONFIG, parameter_entries=5)
    check(image(instruction(DRAIN, parameter=5), config=config), Fault.ON_CHIP_RANGE, 0, 5,
          "DRAIN: last word of the parameters must be below 5, not 5")


@pytest.mark.parametrize(("opcode", "changes", "cause", "window", "last"), WINDOWS)
def test_bytes_outside_a_window_are_refused(opcode: Opcode, changes: dict[str, int],
                                            cause: Fault, window: str, last: int) -> None:
    check(image(instruction(opcode, **changes), constants=bytes(64), activation_bytes=64),
          cause, 0, 64, f"{opcode.name}: last byte in {window} must be below 64, not {last}")


def test_skipped_bytes_are_not_read() -> None:
    """Bytes 8..16 of a row at 48: the last 8 of the window; one byte later is outside."""
    machine = Machine(image(load(address=48, rows=1, head=-8, row_bytes=16), activation_bytes=64))
    machine.activations[:] = np.arange(64)
    machine.run()
    assert machine.state.scratchpad[:2].reshape(-1).tolist() == list(range(56, 64))
    check(image(load(address=48, rows=1, head=-9, row_bytes=17), activation_bytes=64),
          Fault.ACTIVATIONS_WINDOW, 0, 64,
          "LOAD: last byte in ACTIVATIONS must be below 64, not 64")


def test_fill_beyond_the_window_is_not_read() -> None:
    program = image(load(address=60, rows=1, row_bytes=4, fill=-3),
                    load(address=64, rows=1, row_bytes=0, dst_base=8, fill=7),
                    load(address=64, rows=1, head=8, dst_base=12, fill=9), activation_bytes=64)
    machine = Machine(program)
    machine.activations[:] = 1
    machine.run()
    assert machine.state.scratchpad[:2].tolist() == [[1] * 4, [-3] * 4]
    assert np.all(machine.state.scratchpad[8:10] == 7)
    assert np.all(machine.state.scratchpad[12:14] == 9)


@pytest.mark.parametrize(("opcode", "name"), ALIGNMENT)
def test_unaligned_addresses_and_strides_are_refused(opcode: Opcode, name: str) -> None:
    check(image(instruction(opcode, **{name: 10})), Fault.ALIGNMENT, 0, 10,
          f"{opcode.name}: {name} must be a multiple of 4, not 10")


def test_the_end_of_the_window_without_end_is_refused() -> None:
    size = Isa(CONFIG).instruction_bytes
    check(image(load(), end=False), Fault.PROGRAM_WINDOW, 1, size,
          f"program must end with END within its {size} bytes, not run past them")


def test_an_empty_program_is_refused() -> None:
    check(image(end=False), Fault.PROGRAM_WINDOW, 0, 0,
          "program must end with END within its 0 bytes, not run past them")


def test_nothing_behind_end_is_executed() -> None:
    Machine(image(instruction(Opcode.END), load(rows=0))).run()


@pytest.mark.parametrize("damage", [0x09, 0x00])
def test_unknown_opcodes_are_refused(damage: int) -> None:
    good = image(load())
    size = Isa(CONFIG).instruction_bytes
    bad = bytes([damage]) + bytes(size - 1)
    check(replace(good, program=good.program[:size] + bad), Fault.ILLEGAL_INSTRUCTION, 1, 0,
          f"{bad.hex()} has unknown opcode {damage}")


def test_reserved_bits_are_refused() -> None:
    good = image(load())
    bad = good.program[:-1] + b"\x80"
    size = Isa(CONFIG).instruction_bytes
    check(replace(good, program=bad), Fault.ILLEGAL_INSTRUCTION, 1, 0,
          f"{bad[size:].hex()} sets reserved bits of END")


@pytest.mark.parametrize("name", ["wait", "signal"])
def test_tokens_of_the_own_queue_are_refused(name: str) -> None:
    check(image(load(), drain(**{name: "P"})), Fault.ILLEGAL_INSTRUCTION, 1, 0,
          f"{name} of a POST instruction must not name its own queue, not 0b0100")


def test_reserved_bits_of_parameters_are_refused() -> None:
    constants = bytearray(64)
    constants[23] = 0x20
    check(image(instruction(LINEAR, target=LinearTarget.PARAMETERS, count=1),
                constants=bytes(constants)), Fault.ILLEGAL_INSTRUCTION, 0, 16,
          "LOAD_LINEAR: upper 3 bits of the parameter at constants byte 16 must be 0, not 1")


def test_weights_below_the_smallest_are_refused() -> None:
    constants = bytes([127, 129, 128, 0]) * 4
    Machine(image(instruction(LINEAR), constants=constants)).run()
    check(image(instruction(LINEAR), constants=constants,
                config=replace(CONFIG, weight_min=-127)), Fault.ILLEGAL_INSTRUCTION, 0, 0,
          "LOAD_LINEAR: weights must be at least -127, not -128")


def test_too_many_tokens_are_refused() -> None:
    giver = Instruction(0, LOAD, Queue.LOAD, 0, mask("M"), {})
    program = [replace(giver, index=i) for i in range(1 << TOKEN_BITS)]
    executed = -1
    with pytest.raises(MachineFault) as caught:
        for instruction_ in in_program_order(program):
            executed = instruction_.index
    assert executed == (1 << TOKEN_BITS) - 1
    assert (caught.value.cause, caught.value.instruction) == (Fault.TOKEN_OVERFLOW, executed)
    assert caught.value.detail == "tokens from LOAD to MAC must be at most 65535, not 65536"


def test_a_missing_token_is_a_deadlock() -> None:
    program = image(load(signal="M"), mac("L", "P"), drain("M", "S"), store("P"), mac("LS"))
    fault = fault_of(program)
    assert str(fault) == ("WATCHDOG at instruction 4: MAC waits for a token of LOAD and STORE "
                          "that no earlier instruction gives; tokens: none")
    with pytest.raises(MachineFault) as caught:
        Machine(program).run(order=3)
    assert str(caught.value) == (
        "WATCHDOG at instruction 4: deadlock: MAC holds 1 and waits at instruction 4 (MAC) for "
        "LOAD and STORE; tokens: none")


def test_a_token_behind_a_full_queue_is_a_deadlock() -> None:
    """The dispatcher cannot pass a full queue: depth 4, and the fifth MAC blocks the LOAD."""
    fits = image(*[mac("L")] * 4, load(signal="M"))
    with pytest.raises(MachineFault, match="MAC holds 3 and waits at instruction 1"):
        Machine(fits).run(order=0)
    blocked = image(mac("L"), *[mac()] * 4, load(signal="M"))
    with pytest.raises(MachineFault, match="MAC holds 4 and waits at instruction 0"):
        Machine(blocked).run(order=0)
    Machine(image(mac("L"), *[mac()] * 3, load(signal="M"))).run(order=0)


def test_a_faulting_instruction_has_no_effect() -> None:
    machine = Machine(image(load(fill=3, row_bytes=0), load(fill=5, row_bytes=0, dst_base=1023)))
    with pytest.raises(MachineFault):
        machine.run()
    assert set(machine.state.scratchpad[:-1].reshape(-1).tolist()) == {0, 3}


@pytest.mark.parametrize(("opcode", "range_changes"), [
    (LOAD, {"dst_base": 1023}), (LINEAR, {"dst": 255}), (STORE, {"src_base": 1023})])
def test_checks_have_an_order(opcode: Opcode, range_changes: dict[str, int]) -> None:
    """Illegal fields, then alignment, then on-chip range, then the window."""
    name = "count" if opcode == LINEAR else "rows"
    steps = [({name: 0}, Fault.ILLEGAL_INSTRUCTION), ({"address": 65538}, Fault.ALIGNMENT),
             (range_changes, Fault.ON_CHIP_RANGE), ({}, None)]
    window = Fault.CONSTANTS_WINDOW if opcode == LINEAR else Fault.ACTIVATIONS_WINDOW
    for first, (_, cause) in enumerate(steps):
        changes = {"address": 65536}
        for more, _ in reversed(steps[first:]):
            changes |= more
        assert fault_of(image(instruction(opcode, **changes))).cause == (cause or window)
