"""Fixtures of several files here."""

from pathlib import Path

import pytest

import hw.bitstream.flow
from hw.bitstream import tools
from hw.spec.config import ArrayConfig
from tests.hw.played_tools import Tools


@pytest.fixture()
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tools, "_BIN", tmp_path)
    monkeypatch.setattr(tools, "_POLL", 0.005)

    def sources(board: str, config: ArrayConfig, *, clock_hz: int, sdram_rate: int,
                boot: bytes) -> dict[str, str]:
        return {"macrame.il": f"{config}", "soc.v": "", "soc.lpf": "", "soc_rom.init": f"{boot}"}

    monkeypatch.setattr(hw.bitstream.flow, "sources", sources)
    return Tools(folder)
