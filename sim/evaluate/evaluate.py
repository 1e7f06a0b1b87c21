"""An evaluation from beginning to end: find what is missing, compute it, compare, count."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from hw.spec.heads import Heads
from sim.detect.network import Network
from sim.errors import SimError
from sim.evaluate.annotations import Annotations, Picture
from sim.evaluate.metrics import Metrics, average_precision, require_pycocotools
from sim.evaluate.spread import spread
from sim.evaluate.store import open_store
from sim.evaluate.work import Record, Work

__all__ = ["Evaluation", "EngineResult", "evaluate"]


@dataclass(frozen=True)
class EngineResult:
    """What one engine found.

    Parameters
    ----------
    records
        By name of the picture's file; readable pictures only.
    metrics
        Average precision over these pictures.
    computed
        How many records are new; the others were there already.
    results
        File where they are kept.
    """

    records: dict[str, Record]
    metrics: Metrics
    computed: int
    results: Path

    @property
    def images_per_second(self) -> float:
        """Pictures for each second of CPU time."""
        seconds = sum(record.cpu_seconds for record in self.records.values())
        return len(self.records) / seconds if seconds else 0.0


@dataclass
class Evaluation:
    """All results.

    Parameters
    ----------
    engines
        By name.
    absent
        Annotated pictures without a file, by name.
    unreadable
        Why pictures could not be used, by name.
    differing
        Pictures for which engines differ, and in what.
    """

    engines: dict[str, EngineResult] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    differing: dict[str, str] = field(default_factory=dict)


def evaluate(network: Network, engines: list[str], heads: Heads, annotations: Annotations, *,
             images: Path, results: Path, jobs: int = 1, scheduler: str | None = None,
             progress: Callable[[str, int, int], None] = lambda *_: None) -> Evaluation:
    """Find the objects in all annotated pictures, and compare with the annotations.

    Parameters
    ----------
    network, engines, heads
        What runs.
    annotations
        As many categories as the network has classes.
    images
        Folder of the pictures.
    results
        Folder where results for each picture are kept; see ``open_store``.
    jobs, scheduler
        See ``spread``.
    progress
        Called with stage, done, total.

    Raises
    ------
    SimError
        Annotations do not fit the network, there is no picture, or the network fails.
    """
    require_pycocotools()
    if len(annotations.categories) != heads.classes:
        raise SimError(f"annotations {str(annotations.path)!r} must have a category for each of "
                       f"the {heads.classes} classes of {network.name!r}, not "
                       f"{len(annotations.categories)}.")
    whole = Evaluation()
    present = _present(annotations, images, whole.absent)
    for engine in engines:
        work = Work(network, engine, heads)
        work.start()  # here too, so that what is wrong with the network is known before pictures
        whole.engines[engine] = _run(work, present, annotations, whole.unreadable, images=images,
                                     results=results, jobs=jobs, scheduler=scheduler,
                                     progress=progress)
    first, *others = whole.engines
    for other in others:
        whole.differing |= _compare(first, whole.engines[first].records,
                                    other, whole.engines[other].records)
    return whole


def _present(annotations: Annotations, images: Path, absent: list[str]) -> list[Picture]:
    """Annotated pictures that are in the folder; the names of the others go to `absent`."""
    if not images.is_dir():
        raise SimError(f"images {str(images)!r} must be a folder.")
    present = list[Picture]()
    for picture in annotations.pictures:
        if (images / picture.file_name).is_file():
            present.append(picture)
        else:
            absent.append(picture.file_name)
    if not present:
        raise SimError(f"images {str(images)!r} must hold pictures that "
                       f"{str(annotations.path)!r} names, and there is none of its "
                       f"{len(absent)}{f', such as {absent[0]!r}' if absent else ''}.")
    return present


def _run(work: Work, present: list[Picture], annotations: Annotations,
         unreadable: dict[str, str], *, images: Path, results: Path, jobs: int,
         scheduler: str | None, progress: Callable[[str, int, int], None]) -> EngineResult:
    """One engine."""
    usable = set[str]()
    computed = done = 0
    with open_store(results, work.settings) as store:
        def missing() -> Iterator[tuple[Picture, bytes]]:
            nonlocal done
            for picture in present:
                name = picture.file_name
                try:
                    content = (images / name).read_bytes()
                except OSError as error:
                    unreadable[name] = f"picture {name!r} must be readable; {error.strerror}."
                    continue
                known = store.records.get(name)
                if known is None or known.sha256 != hashlib.sha256(content).hexdigest():
                    yield picture, content
                else:
                    usable.add(name)
                    done += 1

        items = missing()
        progress(work.engine, 0, len(present))
        # Workers are started only if there is something to do.
        if (first := next(items, None)) is not None:
            with spread(work, jobs=jobs, scheduler=scheduler) as run:
                for record in run(chain([first], items)):
                    done += 1
                    progress(work.engine, done, len(present))
                    if record.error is not None:
                        unreadable[record.image] = record.error
                        continue
                    store.add(record)
                    usable.add(record.image)
                    computed += 1
        path, kept = store.path, store.records
    if not usable:
        raise SimError(f"images {str(images)!r} must hold pictures that can be used; none of "
                       f"{len(present)} can, such as: {next(iter(unreadable.values()))}")
    records = {picture.file_name: kept[picture.file_name] for picture in present
               if picture.file_name in usable}
    found = {picture.id: records[picture.file_name].detections for picture in present
             if picture.file_name in records}
    progress(f"{work.engine}: average precision", 0, 1)
    return EngineResult(records, average_precision(annotations, found), computed, path)


def _compare(name_a: str, a: dict[str, Record], name_b: str, b: dict[str, Record]
             ) -> dict[str, str]:
    """Pictures for which two engines differ in any element of a head or in any box."""
    differing = dict[str, str]()
    for image in sorted(a.keys() | b.keys()):
        if image not in a or image not in b:
            differing[image] = f"{name_a if image in a else name_b} alone has a result"
            continue
        heads = [name for name in a[image].heads if a[image].heads[name] != b[image].heads[name]]
        if heads or a[image].boxes != b[image].boxes:
            differing[image] = (f"{name_a} and {name_b} differ in "
                                f"{', '.join(heads) or 'boxes of equal heads'}")
    return differing
