"""``python -m hw generate``: the ports that other tools expect, and whole files or none."""

import re
from pathlib import Path

import pytest

from hw.__main__ import main

AXI = {f"m_axi_{name}" for name in (
    "awid", "awaddr", "awlen", "awsize", "awburst", "awvalid", "awready", "wdata", "wstrb", "wlast",
    "wvalid", "wready", "bid", "bresp", "bvalid", "bready", "arid", "araddr", "arlen", "arsize",
    "arburst", "arvalid", "arready", "rid", "rdata", "rresp", "rlast", "rvalid", "rready")}
AXI_LITE = {f"s_axil_{name}" for name in (
    "awaddr", "awprot", "awvalid", "awready", "wdata", "wstrb", "wvalid", "wready", "bresp",
    "bvalid", "bready", "araddr", "arprot", "arvalid", "arready", "rdata", "rresp", "rvalid",
    "rready")}


@pytest.fixture(scope="module")
def verilog(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("generate") / "new" / "core.v"
    assert main(["generate", "--target", "test-4x4", "--rows", "2", "--columns", "2",
                 "-o", str(file)]) == 0
    return file.read_text()


def test_ports_have_the_names_of_their_standards(verilog: str) -> None:
    header = re.search(r"^module macrame\((.*?)\);", verilog, re.M | re.S)
    assert header
    ports = {name.strip() for name in header[1].split(",")}
    assert ports == {"clk", "rst", "irq"} | AXI | AXI_LITE


def test_memories_are_not_initialized(verilog: str) -> None:
    assert "initial begin" not in verilog


def test_unknown_sizes_are_refused_in_one_paragraph(tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--rows", "48", "-o", str(tmp_path / "core.v")]) == 1
    assert capsys.readouterr().err == (
        "error: rows must be a power of two in 2..64, not 48.\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["0", "-4", "x"])
def test_sizes_must_be_numbers(value: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        main(["generate", "--rows", value, "-o", str(tmp_path / "core.v")])
    assert error.value.code == 2


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["generate", "--target", "test-4x4", "--rows", "2", "--columns", "2",
                 "-o", str(tmp_path / "file" / "core.v")]) == 1
    assert capsys.readouterr().err.startswith(
        f"error: file {str(tmp_path / 'file' / 'core.v')!r} must be writable; ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
