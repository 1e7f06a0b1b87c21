"""``python -m sim``: the command line in :mod:`sim.cli`, with one thread for linear algebra.

The simulator's matrix products are too small for a second thread, which would only burn its core.
OpenBLAS reads the variable when NumPy is loaded, hence the late import.
"""

import os
import sys


def main() -> int:
    """Run one command; returns the exit status."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from sim.cli import main as run
    return run()


if __name__ == "__main__":
    sys.exit(main())
