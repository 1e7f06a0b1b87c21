"""Errors a user of the simulator and of its references can cause."""

__all__ = ["SimError"]


class SimError(Exception):
    """A file, a model or an input cannot be used.

    The message is one paragraph: which file or node, the rule, what was found, what to do.
    ``python -m sim`` prints it and exits with status 1; any other exception is a bug and is shown
    with its traceback.
    """
