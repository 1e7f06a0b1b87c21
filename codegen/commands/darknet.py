"""``python -m codegen darknet CFG WEIGHTS``."""

import argparse
from pathlib import Path
from typing import Any

from codegen.commands.shared import check_output, make_console, write_model
from codegen.darknet.cfg import read_cfg
from codegen.darknet.graph import float_model
from codegen.darknet.layers import Convolution
from codegen.darknet.network import network
from codegen.darknet.weights import float_count, read_weights

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    d = commands.add_parser("darknet", help="convert a darknet network to a float ONNX model")
    d.add_argument("cfg", type=Path, metavar="CFG", help="description of the network")
    d.add_argument("weights", type=Path, metavar="WEIGHTS", help="its weights")
    d.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.onnx",
                   help="float model to write")
    d.add_argument("--fit", choices=("letterbox", "stretch"), default="letterbox",
                   help="how pictures filled the input in training (default: letterbox)")
    d.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_output(args.output, args.cfg, args.weights)
    net = network(read_cfg(args.cfg))
    convolutions = tuple(layer for layer in net.layers if isinstance(layer, Convolution))
    header, parameters = read_weights(args.weights, convolutions)
    write_model(float_model(net, parameters, name=args.cfg.stem, fit=args.fit), args.output)
    console = make_console()
    console.print(f"{args.cfg.name}: {len(convolutions)} convolutions, "
                  f"{sum(map(float_count, convolutions))} floats, darknet "
                  f"{header.major}.{header.minor}.{header.revision}, "
                  f"{header.seen} pictures seen in training")
    console.print(f"input  images: {net.input.channels}x{net.input.height}x{net.input.width}, "
                  "0..1, red first")
    for head in net.heads:
        out = head.output
        anchors = " ".join(f"{w:g}x{h:g}" for w, h in head.anchors)
        console.print(f"output {out.name}: {out.channels}x{out.height}x{out.width}, stride "
                      f"{head.stride}, {head.classes} classes, anchors {anchors}, scale_x_y "
                      f"{head.scale_x_y:g}")
    console.print(f"written to {args.output}", soft_wrap=True)
