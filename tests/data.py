"""Where real models and photos lie that are not part of the repository."""

import os
from pathlib import Path

import pytest

__all__ = ["data", "data_folder"]

ROOT = Path(__file__).resolve().parent.parent


def data_folder() -> Path:
    """``MACRAME_DATA``, or ``../shared/data`` relative to the repository."""
    return Path(os.environ.get("MACRAME_DATA") or ROOT.parent / "shared" / "data")


def data(path: str) -> Path:
    """Return ``path`` below the folder of test data.

    Where it is missing the test is skipped, or fails if the environment variable ``CI`` is set.
    """
    folder = data_folder()
    found = folder / path
    if not found.exists():
        message = f"needs {path!r} below MACRAME_DATA, which is {str(folder)!r}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
