"""Errors of proofs. Alone, because the command line needs them and not Amaranth."""

__all__ = ["FormalError"]


class FormalError(Exception):
    """No such proof, or a tool did not work; the message says which, and where its output is."""
