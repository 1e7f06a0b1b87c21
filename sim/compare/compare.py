"""A comparison from beginning to end: run both networks on every picture, and sum up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hw.spec.heads import Heads
from sim.compare.boxes import Agreement, Match, agreement, match
from sim.compare.layers import Layers, Likeness
from sim.compare.tensors import dropped_activations, real_tensors, scales
from sim.detect.decode import Detections
from sim.detect.detector import Detector, Runner
from sim.detect.network import Network
from sim.errors import SimError
from sim.inputs import read_picture
from sim.pictures.fit import Fit

__all__ = ["Comparison", "PicturePair", "compare"]


@dataclass(frozen=True)
class PicturePair:
    """What both networks found in one picture, and which of it is the same."""

    path: Path
    a: Detections
    b: Detections
    matches: list[Match]

    @property
    def difference(self) -> float:
        """How much they differ: 1 for each box without a match, the scores' difference else."""
        lonely = len(self.a) + len(self.b) - 2 * len(self.matches)
        return lonely + sum(abs(m.score_a - m.score_b) for m in self.matches)


@dataclass
class Comparison:
    """All results.

    Parameters
    ----------
    a, b
        Names of the networks.
    layers
        In the order of the first network.
    pictures
        Empty without heads.
    agreement
        Of the boxes; None without heads.
    unreadable
        Why pictures could not be used, by path.
    """

    a: str
    b: str
    layers: list[Likeness] = field(default_factory=list)
    pictures: list[PicturePair] = field(default_factory=list)
    agreement: Agreement | None = None
    unreadable: dict[Path, str] = field(default_factory=dict)


def compare(a: Network, b: Network, heads: Heads | None, files: list[Path], *, fit: Fit,
            score: float, progress: Callable[[str, int, int], None] = lambda *_: None,
            ) -> Comparison:
    """Run two networks in ONNX Runtime on the same pictures.

    Parameters
    ----------
    a, b
        The reference, and what is measured against it.
    heads
        Of both; None if they find no boxes.
    files
        The pictures.
    fit
        How they fill the input.
    score
        What the score of a box must exceed.
    progress
        Called with stage, done, total.

    Raises
    ------
    SimError
        The networks have nothing in common, or none of the pictures can be read.
    """
    runners = Runner(a, "ort"), Runner(b, "ort")
    shapes = [runner.input.shape for runner in runners]
    if shapes[0] != shapes[1]:
        raise SimError(f"both networks must have inputs of the same shape, not {list(shapes[0])} "
                       f"and {list(shapes[1])}.")
    detectors = [Detector(runner, heads, score=score) for runner in runners] if heads else []
    known = scales(a.model), scales(b.model)
    layers, whole = Layers(), Comparison(a.name, b.name)
    read = 0
    for done, path in enumerate(files):
        progress("pictures", done, len(files))
        try:
            image = read_picture(path)
        except SimError as error:
            whole.unreadable[path] = str(error)
            continue
        read += 1
        results = [runner.run(image, fit) for runner in runners]
        real_a, real_b = (real_tensors(result.tensors, one) for result, one in zip(results, known))
        for behind, name in dropped_activations(a.model, real_b.keys()).items():
            real_b[name] = real_b.pop(behind)
        layers.add(real_a, real_b)
        if detectors:
            found = [detector.locate(result, image.size)
                     for detector, result in zip(detectors, results)]
            whole.pictures.append(PicturePair(path, found[0], found[1], match(*found)))
    if not read:
        raise SimError(f"at least one of {len(files)} pictures must be one that can be read; such "
                       f"as: {next(iter(whole.unreadable.values()), 'none was given')}")
    whole.layers = layers.results()
    if detectors:
        whole.agreement = agreement((p.a, p.b, p.matches) for p in whole.pictures)
    return whole

