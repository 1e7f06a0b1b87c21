"""Errors a user of the compiler can cause."""

__all__ = ["BuildError", "CodegenError", "ModelFileError", "QuantizeError",
           "UnsupportedModelError"]


class CodegenError(Exception):
    """Base of every error the compiler raises on purpose.

    ``python -m codegen`` prints one of these as a message and exits with status 1; any other
    exception is a bug in the compiler and is shown with its traceback.
    """


class ModelFileError(CodegenError):
    """The file is not a model that can be read: truncated, not ONNX, external data outside."""


class BuildError(CodegenError):
    """The model is supported, but not with this configuration, or the output cannot be written."""


class QuantizeError(CodegenError):
    """The float model cannot be calibrated with these pictures, or not be quantized."""


class UnsupportedModelError(CodegenError):
    """The model uses something the array cannot run.

    Parameters
    ----------
    node : str
        Name of the ONNX node; of its first output if it has none.
    op : str
        Operator type of the node.
    rule : str
        The rule that was broken, as it reads in the manual.
    found : str
        What the node has instead.
    hint : str
        What the user can do about it; empty if nothing.
    """

    def __init__(self, *, node: str, op: str, rule: str, found: str, hint: str = "") -> None:
        self.node, self.op, self.rule, self.found, self.hint = node, op, rule, found, hint
        lines = [f"node {node!r} ({op}) cannot run on the array", f"  rule:  {rule}",
                 f"  found: {found}"]
        if hint:
            lines.append(f"  hint:  {hint}")
        super().__init__("\n".join(lines))
