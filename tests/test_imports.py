"""The arrows in docs/architecture.md, checked."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# folder: what its files may import of this project; the longest matching folder counts
ALLOWED = {
    "hw": {"hw.spec", "hw.rtl", "hw"},
    "hw/spec": {"hw.spec"},
    "hw/rtl": {"hw.spec", "hw.rtl"},
    "hw/formal": {"hw.spec", "hw.rtl", "hw.formal"},
    "codegen": {"hw.spec", "codegen"},
    # calibration sees pictures as the verifier does; the compiler sees none
    "codegen/quantize": {"hw.spec", "sim.pictures", "codegen"},
    "sim": {"hw.spec", "sim"},
    "sim/pictures": {"sim.pictures"},
    "sim/tb": {"hw.spec", "hw.rtl", "hw", "sim"},
}
#: The contract is plain Python: other languages' users must be able to follow it.
PLAIN = "hw/spec"
HEAVY = {"numpy", "amaranth", "onnx", "onnxruntime"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: use absolute imports"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


PACKAGES = ("hw", "codegen", "sim")
FILES = [path for package in PACKAGES
         for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_one_way(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    folder = max((f for f in ALLOWED if where.startswith(f"{f}/")), key=len, default=None)
    allowed = ALLOWED.get(folder, set()) if folder else set()
    for name in imports(path):
        top = name.split(".")[0]
        if top in (*PACKAGES, "tests"):
            assert any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed), \
                f"{where} imports {name}; {folder}/ may import only {sorted(allowed)}"
        if where.startswith(f"{PLAIN}/"):
            assert top not in HEAVY, f"{where} imports {name}; {PLAIN}/ is plain Python"


def test_packages_do_nothing_on_import() -> None:
    for path in FILES:
        if path.name == "__init__.py":
            assert not path.read_text().strip(), f"{path} must be empty"
