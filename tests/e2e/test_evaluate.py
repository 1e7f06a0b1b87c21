"""Evaluations as users run them: in processes, killed, continued, on real photos."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from tests.builds import build_folder
from tests.data import data
from tests.sim.coco import write_dataset
from tests.sim.squares import quantized_model

pytestmark = pytest.mark.e2e
pytest.importorskip("pycocotools", reason="needs the extra evaluate")
pytest.importorskip("distributed", reason="needs the extra evaluate")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With build/, images/ and instances.json."""
    onnx.save(quantized_model(), tmp_path / "int8.onnx")
    build_folder(tmp_path / "int8.onnx", tmp_path / "build", "test-4x4")
    write_dataset(tmp_path, 200)
    return tmp_path


def command(folder: Path, results: str, jobs: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "sim", "evaluate", str(folder / "build"), "--images",
            str(folder / "images"), "--annotations", str(folder / "instances.json"), "--results",
            str(folder / results), "--jobs", str(jobs), "--json", str(folder / f"{results}.json"),
            *options]


def run(folder: Path, results: str, jobs: int, *options: str) -> dict:
    subprocess.run(command(folder, results, jobs, *options), cwd=ROOT, check=True)
    return json.loads((folder / f"{results}.json").read_text())


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda s: s.name)
def test_what_was_ended_continues(folder: Path, jobs: int, end: signal.Signals) -> None:
    whole = run(folder, "whole", 1)["engines"]["iss"]
    # What runs in the background of a shell, as CI may, ignores SIGINT, and so would the child.
    child = subprocess.Popen(command(folder, "parts", jobs), cwd=ROOT, start_new_session=True,
                             stderr=subprocess.PIPE, text=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    kept = 0
    while kept < 20:
        assert child.poll() is None, "ended before it was stopped"
        kept = sum(path.read_bytes().count(b"\n") for path in (folder / "parts").glob("*.jsonl"))
        time.sleep(0.01)
    os.killpg(child.pid, end) if end == signal.SIGINT else child.kill()
    _, error = child.communicate(timeout=60)
    if end == signal.SIGINT:
        assert child.returncode == 1
        assert error == ("error: interrupted; what was done is kept: run the same command again to "
                         "continue.\n")
    rest = run(folder, "parts", jobs)["engines"]["iss"]
    assert 0 < rest["computed"] < 200 - 10
    assert rest["pictures"] == 200
    for key in ("ap", "ap50", "ap75", "small", "medium", "large"):
        assert rest[key] == whole[key]


def test_workers_end_with_the_command_that_is_killed(folder: Path) -> None:
    child = subprocess.Popen(command(folder, "results", 2), cwd=ROOT, start_new_session=True,
                             stderr=subprocess.DEVNULL)
    while not list((folder / "results").glob("*.jsonl")) or len(processes(child.pid)) < 3:
        assert child.poll() is None, "ended before it was stopped"
        time.sleep(0.05)
    child.kill()
    child.wait()
    for _ in range(600):
        if not processes(child.pid):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {processes(child.pid)}")


def processes(session: int) -> list[int]:
    """Processes of a session that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_other_machines_compute_the_same(folder: Path) -> None:
    """A scheduler with workers that know neither the build nor the pictures' folder."""
    import distributed
    here = run(folder, "here", 1)["engines"]["iss"]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None,
                                  scheduler_port=0) as cluster:
        there = run(folder, "there", 1, "--scheduler", cluster.scheduler_address)
    there = there["engines"]["iss"]
    assert there["computed"] == 200
    assert [there[key] for key in ("ap", "ap50", "small")] == [here[key] for key in (
        "ap", "ap50", "small")]


def test_engines_agree_on_photos(tmp_path: Path) -> None:
    build_folder(data("models/yolov4-tiny-voc/yolov4-tiny-416_int8_qop.onnx"), tmp_path / "build",
                 "ulx3s-85f")
    photos = data("images/coco_val2017")
    (tmp_path / "images").symlink_to(photos)
    marks = json.loads((photos / "instances.json").read_text())
    marks["images"] = marks["images"][:16]
    chosen = {image["id"] for image in marks["images"]}
    marks["annotations"] = [m for m in marks["annotations"] if m["image_id"] in chosen]
    (tmp_path / "instances.json").write_text(json.dumps(marks))
    result = run(tmp_path, "results", 1, "--engine", "ort", "--engine", "iss", "--heads",
                 str(data("models/yolov4-tiny-voc/meta.json")))
    ort, iss = result["engines"].values()
    assert result["differing"] == {} and iss["pictures"] == ort["pictures"] == 16
    assert iss["ap"] == ort["ap"] and iss["ap50"] == ort["ap50"]
    assert 0.05 < iss["ap"] < 0.2
