"""What the user names on the command line: a model file, or a build with its model."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import helper

from sim.build import BuildFolder, read_build
from sim.detect.engines import Engine, IssEngine, OrtEngine, Progress, RtlEngine
from sim.errors import SimError
from sim.golden import Input, read_model

__all__ = ["Network", "choose_engines", "open_network"]


@dataclass(frozen=True)
class Network:
    """A network that can be run.

    Parameters
    ----------
    path
        As the user named it.
    model
        The model, in both cases.
    build
        None for a model file.
    """

    path: Path
    model: onnx.ModelProto
    build: BuildFolder | None

    @property
    def name(self) -> str:
        """Short, for headings and file names."""
        return self.path.resolve().name if self.build else self.path.stem

    @property
    def folder(self) -> Path:
        """Where files beside the model are."""
        return self.path if self.build else self.path.parent

    def start(self, engine: str, progress: Progress = lambda *_: None) -> Engine:
        """Make an engine ready.

        Parameters
        ----------
        engine
            "ort"; with a build also "iss" or "rtl".
        progress
            Called by the RTL while it runs.
        """
        if engine == "ort":
            return OrtEngine(self.model)
        assert self.build is not None, "choose_engines() sees to that"
        return IssEngine(self.build) if engine == "iss" else RtlEngine(self.build, progress)

    def digest(self, engine: str) -> str:
        """SHA-256 of what the engine executes."""
        if engine != "ort" and self.build is not None:
            return hashlib.sha256((self.build.path / "manifest.json").read_bytes()).hexdigest()
        return hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest()

    def picture_input(self) -> Input:
        """The only input, float32 or uint8 of shape [1, 1 or 3, H, W].

        Raises
        ------
        SimError
            The model has others.
        """
        constant = {item.name for item in self.model.graph.initializer}
        inputs = [item for item in self.model.graph.input if item.name not in constant]
        found = []
        for item in inputs:
            kind = item.type.tensor_type
            shape = tuple(d.dim_value or None for d in kind.shape.dim)
            found.append(Input(str(item.name), helper.tensor_dtype_to_np_dtype(kind.elem_type),
                               shape))
        one = found[0] if len(found) == 1 else None
        if one is None or one.dtype not in ("float32", "uint8") or len(one.shape) != 4 \
                or one.shape[0] != 1 or one.shape[1] not in (1, 3) or None in one.shape:
            raise SimError(f"model of {str(self.path)!r} must have one input, float32 or uint8 of "
                           f"shape [1, 3, H, W] or [1, 1, H, W], not "
                           f"{[(i.name, str(i.dtype), list(i.shape)) for i in found]}.")
        return one


def open_network(path: Path) -> Network:
    """Read a build folder or a model file.

    Raises
    ------
    SimError
        It cannot be read.
    """
    if path.is_dir():
        build = read_build(path)
        return Network(path, read_model(build.model), build)
    return Network(path, read_model(path), None)


def choose_engines(network: Network, wanted: list[str] | None) -> list[str]:
    """The engines to run a network with: those wanted, by default the simulator for a build.

    Raises
    ------
    SimError
        A model file is to run on the array.
    """
    engines = list(dict.fromkeys(wanted or ["iss" if network.build else "ort"]))
    if network.build is None and engines != ["ort"]:
        raise SimError(f"engine must be ort for the model file {str(network.path)!r}, not "
                       f"{', '.join(engines)}; the array needs a build: python -m codegen build "
                       f"{network.path}.")
    return engines
