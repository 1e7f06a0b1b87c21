"""``python -m hw formal``: the fast proofs hold, and what is wrong is refuted."""

import fcntl
import json
from pathlib import Path

import pytest
from amaranth import Module, Mux, Signal
from amaranth.hdl import Assert, Cover
from amaranth.lib import wiring

from hw.__main__ import main
from hw.formal import catalogue
from hw.formal.catalogue import PROOFS
from hw.formal.errors import FormalError
from hw.formal.proof import Method, Proof
from hw.formal.runner import run_proof, run_proofs

FAST = [proof for proof in PROOFS.values() if proof.fast]


class CounterRules(wiring.Component):
    """A counter that starts again after `wraps` is never above `limit`, and comes to `reached`."""

    def __init__(self, *, wraps: int, limit: int, reached: int) -> None:
        self.wraps, self.limit, self.reached = wraps, limit, reached
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        value = Signal(4)
        m.d.sync += value.eq(Mux(value == self.wraps, 0, value + 1))
        m.d.comb += [Assert(value <= self.limit), Cover(value == self.reached)]
        return m


def counter(*, wraps: int = 5, limit: int = 5, reached: int = 5, method: Method = Method.INDUCTION,
            name: str = "counter.limit") -> Proof:
    return Proof(name=name, claim="the counter ends at five", method=method, depth=7, cover_depth=9,
                 harness=lambda: CounterRules(wraps=wraps, limit=limit, reached=reached))


@pytest.mark.rtl
@pytest.mark.parametrize("proof", FAST, ids=lambda proof: proof.name)
def test_fast_proofs_hold_and_their_covers_are_reached(proof: Proof, tmp_path: Path) -> None:
    assert run_proof(proof, folder=tmp_path).failures == ()


@pytest.mark.rtl
@pytest.mark.parametrize("method", Method)
def test_a_wrong_component_is_refuted_with_a_waveform(method: Method, tmp_path: Path) -> None:
    result = run_proof(counter(wraps=6, method=method), folder=tmp_path)
    assert any("tests/hw/test_formal.py:" in line and "fails in cycle 6" in line
               for line in result.failures), result.failures
    assert result.traces
    for trace in result.traces:
        assert trace.suffix == ".vcd"
        assert "$var" in trace.read_text()


@pytest.mark.rtl
def test_what_is_true_but_not_inductive_is_not_proved(tmp_path: Path) -> None:
    # 15 may come after seven cycles in 8 to 14, where the counter never is.
    result = run_proof(counter(limit=14), folder=tmp_path)
    assert len(result.failures) == 1
    assert "is not inductive" in result.failures[0]
    assert run_proof(counter(limit=14, method=Method.BOUNDED), folder=tmp_path).failures == ()


@pytest.mark.rtl
def test_a_situation_that_never_comes_is_reported(tmp_path: Path) -> None:
    result = run_proof(counter(reached=7), folder=tmp_path)
    assert len(result.failures) == 1
    assert "tests/hw/test_formal.py:" in result.failures[0]
    assert "cannot be reached" in result.failures[0]


def test_a_proof_without_a_cover_is_refused(tmp_path: Path) -> None:
    class Nothing(wiring.Component):
        def elaborate(self, platform):
            return Module()

    proof = Proof(name="x.y", claim="", harness=lambda: Nothing({}))
    with pytest.raises(AssertionError, match="proof 'x.y' must have a Cover"):
        run_proof(proof, folder=tmp_path)


def test_a_proof_that_runs_already_is_refused(tmp_path: Path) -> None:
    proof = counter(limit=14)
    with open(tmp_path / f"{proof.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FormalError, match="must not be run twice at the same time"):
            run_proof(proof, folder=tmp_path)


@pytest.mark.rtl
def test_results_keep_their_order(tmp_path: Path) -> None:
    proofs = [counter(name="b"), counter(name="a", wraps=6)]
    seen = []
    results = run_proofs(proofs, jobs=2, folder=tmp_path, finished=seen.append)
    assert [(result.proof.name, not result.failures) for result in results] == [
        ("b", True), ("a", False)]
    assert sorted(result.proof.name for result in seen) == ["a", "b"]


@pytest.mark.rtl
def test_exit_status_table_and_json_say_what_fails(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "PROOFS", {
        proof.name: proof for proof in (counter(name="counter.good"),
                                        counter(name="counter.bad", wraps=6))})
    assert main(["formal", "counter.good", "--json", "good.json"]) == 0
    assert "proofs: 1, failing: 0" in capsys.readouterr().out
    assert main(["formal", "--json", "all.json"]) == 1
    captured = capsys.readouterr()
    assert not captured.err
    assert "proofs: 2, failing: 1" in captured.out
    good, bad = json.loads(Path("all.json").read_text())
    assert (good["name"], good["proved"], good["traces"]) == ("counter.good", True, [])
    assert (bad["name"], bad["proved"], bad["method"]) == ("counter.bad", False, "induction")
    for trace in bad["traces"]:
        assert f"waveform: {trace}\n" in captured.out
        assert Path(trace).is_file()


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formal", "tokens.count"]) == 1
    assert capsys.readouterr().err == (
        f"error: proof must be one of {', '.join(PROOFS)}, or a component (fifo, queue, tokens, "
        "control, bursts, read, write, windows, requantizer), not 'tokens.count'.\n")


def test_no_proof_at_all_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formal", "read.rules_16", "--fast"]) == 1
    assert capsys.readouterr().err == ("error: proofs must include a fast one, not only "
                                       "'read.rules_16'; leave out --fast.\n")


def test_components_stand_for_their_proofs() -> None:
    names = [proof.name for proof in catalogue.select(["tokens", "fifo.order"])]
    assert names == ["fifo.order", "tokens.counts", "tokens.sequencer"]
    assert {proof.name for proof in catalogue.select(fast=True)} == {p.name for p in FAST}


def test_the_list_says_what_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formal", "--list"]) == 0
    printed = capsys.readouterr().out
    for proof in PROOFS.values():
        assert f" {proof.name} " in printed


def test_the_manual_lists_every_proof() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formal.md").read_text(encoding="utf-8")
    for name in PROOFS:
        assert f"`{name}`" in page
