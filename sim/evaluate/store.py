"""Results picture by picture on disk, so that an evaluation that was killed continues.

A file of JSON lines for each combination of network, engine, settings and releases: the settings,
then a record a line. Its name contains a hash of the settings, so nothing else is ever reused.
"""

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from sim.errors import SimError
from sim.evaluate.work import Record

__all__ = ["Store", "open_store"]


class Store:
    """Records that are there, and the file that further ones are added to.

    Parameters
    ----------
    path
        The file.
    records
        By name of the picture's file.
    """

    def __init__(self, path: Path, file: IO[bytes], records: dict[str, Record]) -> None:
        self.path, self.records = path, records
        self._file = file

    def add(self, record: Record) -> None:
        """Keep a record; it is in the file when this returns."""
        self.records[record.image] = record
        self._file.write(json.dumps(asdict(record)).encode() + b"\n")
        self._file.flush()


@contextmanager
def open_store(folder: Path, settings: dict[str, Any]) -> Iterator[Store]:
    """Open the results of these settings, or begin them.

    A last line that is not complete is dropped.

    Parameters
    ----------
    folder
        Made if needed.
    settings
        JSON values.

    Raises
    ------
    SimError
        The file cannot be written, is damaged, or is in use.
    """
    text = json.dumps(settings, sort_keys=True)
    name = re.sub(r"[^\w.-]", "_", f"{settings['network']}-{settings['engine']}")
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = folder / f"{name}-{key}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise SimError(f"results file {str(path)!r} must be writable; {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SimError(f"results file {str(path)!r} must be used by one evaluation at a time; "
                           "another one is running.") from error
        file.seek(0)
        content = file.read()
        complete = content[:content.rfind(b"\n") + 1]
        file.truncate(len(complete))
        if not complete:
            file.write(text.encode() + b"\n")
            file.flush()
        yield Store(path, file, _records(path, complete))


def _records(path: Path, content: bytes) -> dict[str, Record]:
    try:
        records = [Record(**json.loads(line)) for line in content.splitlines()[1:]]
    except (ValueError, TypeError) as error:
        raise SimError(f"results file {str(path)!r} must be as it was written; it is damaged "
                       f"({error}). Delete it.") from error
    return {record.image: record for record in records}
