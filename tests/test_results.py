"""Recorded bitstreams: the page says whether they belong to the present hardware."""

import json
from pathlib import Path
from typing import Any

import pytest

import docs.results
import hw.bitstream.flow
from docs import generate
from hw.bitstream.flow import sources_digest
from hw.spec.config import PRESETS, ArrayConfig

SOURCES = {"macrame.il": "core", "soc.v": "system", "soc_rom.init": "boot"}
RESULT: dict[str, Any] = {
    "made": {"by": "python -m hw bitstream", "on": "2026-11-21", "from": "0123abc"},
    "board": "ulx3s-85f", "device": "LFE5U-85F", "config": vars(PRESETS["test-4x4"]),
    "clock_hz": 50_000_000, "sdram_rate": 2, "reached_hz": 57_000_000, "frames": None,
    "sources_sha256": sources_digest(SOURCES), "tools": ["yosys 1", "nextpnr 2"],
    "resources": {"LUT4": {"used": 30, "available": 40}},
    "components": {"array": {"LUT4": 1, "FF": 2, "DSP": 3, "EBR": 4},
                   "mac": {"LUT4": 0, "FF": 0, "DSP": 0, "EBR": 0}},
    "paths": [{"start": "a", "end": "b", "asked_mhz": 100, "reached_mhz": 114.0}],
    "seeds": [{"seed": 3, "reached": 1.14}],
    "took": {"synthesis": {"seconds": 1.0, "megabytes": 2.0}},
}


def page(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> str:
    """The page about one result, as if the hardware were `SOURCES`."""
    asked = []

    def sources(board: str, config: ArrayConfig, *, clock_hz: int, sdram_rate: int,
                boot: bytes) -> dict[str, str]:
        asked.append((board, config, clock_hz, sdram_rate))
        return SOURCES | {"soc_rom.init": "another one"}

    monkeypatch.setattr(hw.bitstream.flow, "sources", sources)
    monkeypatch.setattr(docs.results, "FOLDER", folder)
    docs.results._digest.cache_clear()
    (folder / "big.json").write_text(json.dumps(RESULT | changes))
    try:
        text = generate.results()
    finally:
        docs.results._digest.cache_clear()
    assert asked in ([], [("ulx3s-85f", PRESETS["test-4x4"], 50_000_000, 2)])
    return text


def test_a_present_result_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(tmp_path, monkeypatch)
    assert ("4x4 system on LFE5U-85F, made on 2026-11-21 from commit 0123abc by `python -m hw "
            "bitstream`. It is what the present sources give.") in text
    for row in ("| LUT4 | 30 | 40 | 75% |", "| array | 1 | 2 | 3 | 4 |", "| a to b | 100 | 114.0 |",
                "| 3 | 114.0% |", "- timing: asked for 50 MHz, reaches 57.0 MHz"):
        assert row in text
    assert "| mac |" not in text


@pytest.mark.parametrize("changes", [
    {"sources_sha256": 64 * "0"},
    {"config": {**vars(PRESETS["test-4x4"]), "rows": 3}},
    {"config": {**vars(PRESETS["test-4x4"]), "unknown": 3}},
])
def test_an_older_result_is_called_that(changes: dict[str, Any], tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(tmp_path, monkeypatch, **changes)
    assert ("made on 2026-11-21 from commit 0123abc by `python -m hw bitstream`. **The hardware "
            "has changed since:** these figures are of that commit") in text
    assert "present sources give" not in text


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_but_the_boot_code_counts(name: str) -> None:
    changed = sources_digest(SOURCES | {name: "other"}) != sources_digest(SOURCES)
    assert changed == (name != "soc_rom.init")


def test_without_results_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs.results, "FOLDER", tmp_path)
    assert "Nothing is recorded yet." in generate.results()
