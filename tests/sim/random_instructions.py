"""Random legal instructions of small size, for comparisons with the slow machine."""

from random import Random

from hw.spec.config import ArrayConfig
from hw.spec.isa import LinearTarget, Opcode

__all__ = ["Fields", "OPCODES", "random_instruction", "surface"]

Fields = dict[str, int]

#: Every opcode that does something.
OPCODES = tuple(o for o in Opcode if o != Opcode.END)


def surface(prefix: str, base: int = 0, plane_stride: int = 0, row_stride: int = 0,
            ring_rows: int = 1, ring_first: int = 0) -> Fields:
    """The five fields of a surface whose ring has whole rows."""
    return {f"{prefix}_base": base, f"{prefix}_plane_stride": plane_stride,
            f"{prefix}_row_stride": row_stride, f"{prefix}_ring_words": ring_rows * row_stride,
            f"{prefix}_ring_start": ring_first * row_stride}


def random_instruction(rng: Random, config: ArrayConfig, opcode: Opcode, constants_bytes: int,
                       activations_bytes: int) -> Fields:
    """Legal fields for `opcode`. Sources and destinations are in separate quarters and halves of
    the scratchpad, so that they never overlap.
    """
    fields: Fields = {"wait": 0, "signal": 0}
    match opcode:
        case Opcode.LOAD:
            fields |= _load(rng, config, constants_bytes, activations_bytes)
        case Opcode.LOAD_LINEAR:
            fields |= _load_linear(rng, config, constants_bytes)
        case Opcode.MAC:
            fields |= _mac(rng, config)
        case Opcode.DRAIN:
            fields |= _drain(rng, config)
        case Opcode.POOL:
            fields |= _pool(rng, config)
        case Opcode.ELEMENTWISE:
            fields |= _elementwise(rng, config)
        case Opcode.STORE:
            fields |= _store(rng, config, activations_bytes)
    return fields


def _surface(rng: Random, config: ArrayConfig, prefix: str, quarters: tuple[int, int],
             planes: int, rows: int, columns: int, *, written: bool) -> Fields:
    ring_rows = rng.randint(rows if written else 1, rows + 2)
    row_stride = columns + rng.randint(0, 2)
    plane_stride = ring_rows * row_stride + rng.randint(0, 3)
    quarter = config.scratchpad_words // 4
    low, high = quarters[0] * quarter, quarters[1] * quarter - planes * plane_stride
    return surface(prefix, rng.choice((low, high, rng.randint(low, high))), plane_stride,
                   row_stride, ring_rows, rng.randrange(ring_rows))


def _memory(rng: Random, config: ArrayConfig, window_bytes: int, planes: int, rows: int,
            span: int) -> Fields:
    step = config.alignment_bytes
    row_stride = -(-span // step) * step + step * rng.randint(0, 2)
    plane_stride = rows * row_stride + step * rng.randint(0, 2)
    last = window_bytes - planes * plane_stride
    return {"address": rng.choice((0, last // step * step,
                                   rng.randrange(0, last, step))),
            "memory_plane_stride": plane_stride, "memory_row_stride": row_stride}


def _load(rng: Random, config: ArrayConfig, constants: int, activations: int) -> Fields:
    r = config.rows
    planes, rows, columns = rng.randint(1, 2), rng.randint(1, 4), rng.randint(1, 6)
    lane_first = rng.choice((0, rng.randrange(r)))
    lane_count = rng.choice((r - lane_first, rng.randint(1, r - lane_first)))
    word_step = rng.choice((r, lane_count, rng.randint(0, 2 * r)))
    window = rng.randrange(2)
    span = columns * 2 * r + 3 * r
    return {"window": window, "planes": planes, "rows": rows, "columns": columns,
            "word_step": word_step, "lane_first": lane_first, "lane_count": lane_count,
            "head": rng.choice((0, 0, rng.randint(-3 * r, 3 * r), 20 * r)),
            "row_bytes": rng.choice((span, 0, rng.randint(0, span))),
            "fill": rng.randint(-128, 127),
            **_memory(rng, config, activations if window else constants, planes, rows, span),
            **_surface(rng, config, "dst", (2, 4), planes, rows, columns, written=True)}


def _load_linear(rng: Random, config: ArrayConfig, constants: int) -> Fields:
    target = rng.choice([t for t in LinearTarget if t != LinearTarget.PARAMETERS])
    size, unit = {LinearTarget.WEIGHTS: (config.weight_words, config.columns),
                  LinearTarget.TABLE: (config.table_slots, 256),
                  LinearTarget.ADD_TABLES: (config.add_table_slots, 2048)}[target]
    count = rng.randint(1, min(size, constants // unit))
    step = config.alignment_bytes
    return {"target": target, "count": count, "dst": rng.randint(0, size - count),
            "address": rng.randint(0, (constants - count * unit) // step) * step}


def _window(rng: Random, planes: int) -> Fields:
    return {"src_rows": rng.randint(1, 5), "src_columns": rng.randint(1, 6),
            "y0": rng.randint(-5, 0), "x0": rng.randint(-5, 0),
            "kernel_rows": rng.randint(1, 3), "kernel_columns": rng.randint(1, 3),
            "stride_y": rng.randint(1, 4), "stride_x": rng.randint(1, 4),
            "rows": rng.randint(1, 5), "columns": rng.randint(1, 5), "planes": planes}


def _mac(rng: Random, config: ArrayConfig) -> Fields:
    planes = rng.randint(1, 2)
    f = _window(rng, planes) | {"up_y": rng.randint(0, 2), "up_x": rng.randint(0, 2)}
    f |= {"y0": rng.randint(-5, (1 << f["up_y"]) - 1), "x0": rng.randint(-5, (1 << f["up_x"]) - 1)}
    passes = planes * f["kernel_rows"] * f["kernel_columns"]
    f["weights"] = rng.randint(0, config.weight_words - passes * config.rows)
    f["accumulator"] = rng.randint(0, config.accumulator_words - f["rows"] * f["columns"])
    return f | {"pad": rng.randint(-128, 127), "accumulate": rng.randrange(2),
                **_surface(rng, config, "src", (0, 2), planes, f["src_rows"], f["src_columns"],
                           written=False)}


def _table(rng: Random, config: ArrayConfig) -> Fields:
    return {"use_table": rng.randrange(2), "table": rng.randrange(config.table_slots)}


def _drain(rng: Random, config: ArrayConfig) -> Fields:
    pool = rng.randrange(2)
    rows, columns = rng.randint(1, 4) << pool, rng.randint(1, 4) << pool
    return {"rows": rows, "columns": columns, "pool": pool,
            "accumulator": rng.randint(0, config.accumulator_words - rows * columns),
            "parameter": rng.randrange(config.parameter_entries),
            "zero_point": rng.randint(-128, 127), "odd": rng.randrange(2),
            "lane_group": rng.randrange(config.lane_groups), **_table(rng, config),
            **_surface(rng, config, "dst", (2, 4), config.planes_per_drain, rows, columns,
                       written=True)}


def _pool(rng: Random, config: ArrayConfig) -> Fields:
    planes = rng.randint(1, 2)
    f = _window(rng, planes) | _table(rng, config)
    return f | {**_surface(rng, config, "src", (0, 2), planes, f["src_rows"], f["src_columns"],
                           written=False),
                **_surface(rng, config, "dst", (2, 4), planes, f["rows"], f["columns"],
                           written=True)}


def _elementwise(rng: Random, config: ArrayConfig) -> Fields:
    planes, rows, columns = rng.randint(1, 2), rng.randint(1, 4), rng.randint(1, 5)
    a = _surface(rng, config, "a", (0, 1), planes, rows, columns, written=True)
    repeat_y, repeat_x = rng.choice(((1, 1), (rng.randint(1, 15), rng.randint(1, 5))))
    dst = _surface(rng, config, "dst", (2, 4), planes, rows, columns, written=True)
    if rng.randrange(4) == 0 and repeat_y == repeat_x == 1:  # in place
        dst = {name.replace("a_", "dst_", 1): value for name, value in a.items()}
    return {"operation": rng.randrange(3), "rows": rows, "columns": columns, "planes": planes,
            "repeat_y": repeat_y, "repeat_x": repeat_x, "b_broadcast": rng.randrange(2),
            "a_zero_point": rng.randint(-128, 127), "b_zero_point": rng.randint(-128, 127),
            "multiplier": rng.randint(1 << 23, (1 << 24) - 1), "shift": rng.randint(0, 31),
            "zero_point": rng.randint(-128, 127), "odd": rng.randrange(2),
            "add_tables": rng.randrange(config.add_table_slots), **_table(rng, config),
            **a, **dst,
            **_surface(rng, config, "b", (1, 2), planes, rows, columns, written=False)}


def _store(rng: Random, config: ArrayConfig, activations: int) -> Fields:
    planes, rows, columns = rng.randint(1, 2), rng.randint(1, 4), rng.randint(1, 5)
    return {"planes": planes, "rows": rows, "columns": columns,
            **_memory(rng, config, activations, planes, rows, columns * config.rows),
            **_surface(rng, config, "src", (0, 4), planes, rows, columns, written=False)}
