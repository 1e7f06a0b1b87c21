"""``python -m sim verify BUILD``."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from sim.build import BuildFolder, read_build
from sim.commands.shared import (
    add_input,
    at_least_one,
    positive,
    progress_bar,
    read_feeds,
    seeds,
    write_whole,
)
from sim.commands.verify_tables import print_verification
from sim.errors import SimError
from sim.golden import Golden
from sim.slices.cut import read_layers
from sim.verify import Selection, verify

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    v = commands.add_parser("verify", help="run a build and compare every tensor with ONNX Runtime")
    v.add_argument("build", type=Path, metavar="BUILD", help="folder made by codegen build")
    add_input(v)
    v.add_argument("--json", type=Path, metavar="OUT", help="also write the results here")
    v.add_argument("--quiet", action="store_true", help="list only tensors that differ")
    v.add_argument("--shuffle", type=seeds, default=(), metavar="SEED|FIRST..LAST",
                   help="also run random legal interleavings of the queues")
    v.add_argument("--races", action="store_true",
                   help="prove that no interleaving can change the result")
    v.add_argument("--engine", choices=("iss", "rtl"), default="iss",
                   help="what is compared: the instruction-set simulator, or the generated Verilog "
                        "(default: iss)")
    v.add_argument("--layers", metavar="LAYER|FIRST..LAST",
                   help="rtl: run these layers, each by itself, instead of the whole frame; "
                        "numbers as in report.json, from 1, or the name of a node")
    v.add_argument("--jobs", type=at_least_one, default=1, metavar="N",
                   help="rtl: simulate N layers at a time; all layers if --layers is not given")
    v.add_argument("--waves", metavar="LAYER[/TILE]",
                   help="rtl: run this layer, or a tile of it, and write its waveforms to "
                        "BUILD/waves/LAYER-TILE.fst")
    v.add_argument("--stall-seed", type=int, metavar="SEED",
                   help="rtl: the memory pauses at random")
    v.add_argument("--dram-bytes-per-cycle", type=positive, metavar="B",
                   help="memory bandwidth for predicted cycles and rtl (default: bus width)")
    v.add_argument("--dram-latency", type=int, default=20, metavar="L",
                   help="memory latency in cycles (default: 20)")
    v.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    build = read_build(args.build)
    selection = _selection(args, build)
    feeds = read_feeds(Golden(build.model).inputs, args)
    with progress_bar() as progress:
        result = verify(build, feeds, shuffles=args.shuffle, races=args.races,
                        bytes_per_cycle=args.dram_bytes_per_cycle, latency=args.dram_latency,
                        engine=args.engine, selection=selection, stall_seed=args.stall_seed,
                        progress=progress)
    if args.json:
        write_whole(args.json, json.dumps(build.identity | result.to_json(), indent=1) + "\n")
    print_verification(result, build, quiet=args.quiet,
                       waves=lambda tile: _waves_command(args, tile))
    return 0 if result.passed else 1


def _selection(args: argparse.Namespace, build: BuildFolder) -> Selection | None:
    """What is to run by itself; None is the whole frame."""
    by_layer = [name for name, given in (
        ("--layers", args.layers is not None), ("--jobs", args.jobs > 1),
        ("--waves", args.waves is not None)) if given]
    for name in [*by_layer, *(["--stall-seed"] if args.stall_seed is not None else [])]:
        if args.engine != "rtl":
            raise SimError(f"{name} must be used with --engine rtl, not with --engine "
                           f"{args.engine}.")
    if by_layer and (args.shuffle or args.races):
        raise SimError(f"{by_layer[0]} must be used without --shuffle and --races, which are about "
                       f"the order of the whole program; run them with --engine iss.")
    if args.waves is not None:
        if len(by_layer) > 1:
            raise SimError(f"--waves must be used without --layers and --jobs, not with "
                           f"{by_layer[0]}: it runs the layer that it names.")
        (number, *_), tile = _layers(build, args.waves, tiled=True)
        name = f"{number}.fst" if tile is None else f"{number}-{tile}.fst"
        return Selection(layers=[number], tile=tile, waves=build.path / "waves" / name)
    if not by_layer:
        return None
    numbers, _ = _layers(build, args.layers or f"1..{len(build.manifest['layers'])}")
    return Selection(layers=numbers, jobs=args.jobs)


def _layers(build: BuildFolder, text: str, *, tiled: bool = False) -> tuple[list[int], int | None]:
    """Numbers of the layers, and the tile behind a slash if `tiled`. Names may have slashes."""
    layers = read_layers(build)
    named = [layer.number for layer in layers if text == layer.name] \
        or [layer.number for layer in layers if text in layer.nodes]
    if len(named) > 1 and tiled:
        raise SimError(f"--waves must name one layer, and {text!r} is part of layers {named}; say "
                       f"which by its number.")
    if named:
        return named, None
    first, dots, last = text.partition("..")
    if dots and not tiled and first.isdecimal() and last.isdecimal() and int(first) <= int(last):
        return list(range(int(first), int(last) + 1)), None
    if text.isdecimal():
        return [int(text)], None
    layer, slash, tile = text.rpartition("/")
    if tiled and slash and tile.isdecimal():
        return _layers(build, layer)[0], int(tile)
    rule = "--waves must be LAYER or LAYER/TILE" if tiled \
        else "--layers must be LAYER or FIRST..LAST"
    raise SimError(f"{rule}, with numbers from 1 or a "
                   f"node's name, not {text!r}; this build's layers are "
                   + ", ".join(f"{layer.number} {layer.name}" for layer in layers) + ".")


def _waves_command(args: argparse.Namespace, tile: str) -> str:
    """The command that writes the waveforms of `tile`, with the same input and memory."""
    command = ["python", "-m", "sim", "verify", str(args.build), "--engine", "rtl",
               "--waves", tile]
    for name in ("input", "seed", "fit", "stall_seed", "dram_bytes_per_cycle", "dram_latency"):
        value = getattr(args, name)
        if value is not None and value != {"fit": "letterbox", "dram_latency": 20}.get(name):
            command += [f"--{name.replace('_', '-')}",
                        f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(command)
