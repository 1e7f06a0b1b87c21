"""A network on an engine that takes pictures, and finds objects in them."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hw.spec.heads import METADATA_KEY, SIDECAR, Heads
from sim.detect.decode import Detections, locate
from sim.detect.engines import Progress, Tensors
from sim.detect.heads import find_heads
from sim.detect.network import Network
from sim.errors import SimError
from sim.pictures.fit import Fit, Placement, network_input, place_picture

__all__ = ["Detector", "Result", "Runner", "check_outputs", "network_heads"]


@dataclass(frozen=True)
class Result:
    """What a network computed from a picture.

    Parameters
    ----------
    tensors
        All that the engine gives, at least the graph's outputs.
    placement
        Where the picture lies in the input.
    """

    tensors: Tensors
    placement: Placement


class Runner:
    """Runs a network on pictures.

    Parameters
    ----------
    network, engine, progress
        See ``Network.start``.

    Raises
    ------
    SimError
        The network takes no pictures, or does not start.
    """

    def __init__(self, network: Network, engine: str, progress: Progress = lambda *_: None) -> None:
        self.network, self.engine, self.progress = network, engine, progress
        self.input = network.picture_input()
        self._engine = network.start(engine, progress)

    @property
    def greyscale(self) -> bool:
        """Whether the network takes pictures of one channel, mode "L", instead of "RGB"."""
        return self.input.shape[1] == 1

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the input."""
        _, _, height, width = self.input.shape
        assert height and width, "picture_input() sees to that"
        return height, width

    def run(self, image: Image.Image, fit: Fit) -> Result:
        """Run the network on one picture, in grey if it takes but that.

        Raises
        ------
        SimError
            The network stopped with an error.
        """
        planes, placement = place_picture(image.convert("L" if self.greyscale else "RGB"),
                                          self.input_size, fit)
        feeds = {self.input.name: network_input(planes, self.input.dtype)}
        return Result(self._engine.run(feeds), placement)


class Detector:
    """Finds objects in pictures.

    Parameters
    ----------
    runner
        The network.
    heads
        Of the network.
    score
        What the score of a box must exceed.
    limit
        Boxes for each picture, the best ones; None for all.
    """

    def __init__(self, runner: Runner, heads: Heads, *, score: float,
                 limit: int | None = None) -> None:
        self.runner, self.heads, self.score, self.limit = runner, heads, score, limit

    def detect(self, image: Image.Image) -> tuple[Detections, Tensors]:
        """Find objects in one picture.

        Returns
        -------
        The boxes, and all that the engine gives.

        Raises
        ------
        SimError
            The network stopped with an error, or its outputs do not fit its heads.
        """
        result = self.runner.run(image, self.heads.fit)
        return self.locate(result, image.size), result.tensors

    def locate(self, result: Result, picture_size: tuple[int, int]) -> Detections:
        """Find the objects in what the runner computed from a picture, of this width and height.

        Raises
        ------
        SimError
            The outputs do not fit the heads.
        """
        return locate(self.heads, result.tensors, input_size=self.runner.input_size,
                      placement=result.placement, picture_size=picture_size, score=self.score,
                      limit=self.limit)


def network_heads(network: Network, *, file: Path | None, fit: Fit | None) -> Heads:
    """The heads of a network; see ``find_heads``.

    Parameters
    ----------
    file, fit
        As the user wants it, which goes first.

    Raises
    ------
    SimError
        There are none, or they are not outputs of the model.
    """
    heads = find_heads(network.model, network.folder, file)
    if heads is None:
        raise SimError(f"{str(network.path)!r} must say what its outputs mean: in the model's "
                       f"metadata ({METADATA_KEY}), in a file {SIDECAR} beside it, or with --heads "
                       f"FILE. None of them is there; see docs/accuracy.md.")
    check_outputs(network, heads)
    return heads if fit is None else Heads(heads.heads, fit)


def check_outputs(network: Network, heads: Heads) -> None:
    """Refuse heads that are not outputs of a network.

    Raises
    ------
    SimError
        One is not.
    """
    outputs = [str(item.name) for item in network.model.graph.output]
    for head in heads.heads:
        if head.output not in outputs:
            raise SimError(f"head {head.output!r} must be an output of {str(network.path)!r}, "
                           f"which has {', '.join(map(repr, outputs))}; correct the heads.")
