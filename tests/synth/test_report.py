"""The page about a run and ``status``: what they say of it, and that nothing of models and data is markup there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest
from click.testing import CliRunner

from synth.cli import command
from synth.config import RunConfig
from synth.data import DatasetSpec
from synth.display import snapshot
from synth.engines import Health, SetAside
from synth.engines.tape import TapeEngine
from synth.records import Completion, thought_apart
from synth.run import load_run_queries, open_run, synthesise
from synth.scheduler import TrialId

HOSTILE = "<script>alert(1)</script> \x1b[31m"


class HostileEngine(TapeEngine):
    """Everything it says is markup; query 1 is set aside."""

    description = f"engine {HOSTILE}"
    _told = False

    def health(self) -> Health:
        refused = () if self._told else (SetAside(1, f"refused {HOSTILE}"),)
        self._told = True
        return Health(True, 1, set_aside=refused)


def page_of(run_dir: Path) -> str:
    result = CliRunner().invoke(command, ["report", str(run_dir)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return (run_dir / "report.html").read_text()


@pytest.fixture
def hostile(configuration: Callable[..., RunConfig], tmp_path: Path, grader: object) -> Path:
    """A run whose model, queries, responses and refusals are hostile, with thoughts and a truncated response."""
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"query": f"{HOSTILE} {i}", "answer": "1"}) + "\n" for i in range(3)))
    config = configuration(datasets=(DatasetSpec(str(problems)),), model=f"m {HOSTILE}")

    def tape(request: object) -> tuple[str, int]:
        number = request.id.trial  # type: ignore[attr-defined]
        return f"<think>{'x' * 30}</think>{number:04} <b> \\boxed{{{number % 2}}}", 40

    engine = HostileEngine(tape)
    synthesise(config, tmp_path / "run", load_run_queries(config), lambda c, s: engine, grader, "1")  # type: ignore[arg-type]
    return tmp_path / "run"


def test_everything_is_escaped(hostile: Path) -> None:
    page = page_of(hostile)
    assert "<script" not in page and "<b>" not in page and "\x1b" not in page
    words = escape("<script>alert(1)</script> \\x1b[31m")
    for said in (f"engine {words}", f"refused {words}", f"m {words}", f"{words} 0"):
        assert said in page, said
    assert 'name="viewport"' in page and "http" not in page


def test_it_says_what_the_run_was(hostile: Path) -> None:
    page, run = page_of(hostile), open_run(hostile)
    pass_rate = snapshot(run.plan.scheduler, run.plan.queries).total.pass_rate()  # surplus trials depend on timing
    for said in (
        "max(1, ceil(6 * fail rate))", "temperature 1.6", "dart_tasks.grading 1", "2 filled, 1 set aside",
        f"{pass_rate} of them correct", "cut at the limit: 0.0%", "Of these, thought: mean 25",
        "Of these, answer: mean 15",
        "Responses per query against fail rate of the probe",
    ):  # fmt: skip
        assert said in page, said
    attempts = re.search(r"<td>0</td><td>[\dT:Z-]+</td><td>.*?</td><td>\d+</td><td>(\d+)</td>", page)
    assert attempts and int(attempts[1]) == run.n_trials


def test_status_says_the_same(hostile: Path) -> None:
    told = CliRunner().invoke(command, ["status", str(hostile)], catch_exceptions=False).output
    assert "set aside: query problems/1: refused" in told and "\x1b" not in told
    assert "of these, thought: mean 25" in told and "of these, answer: mean 15" in told
    told = CliRunner().invoke(command, ["status", str(hostile), "--json"], catch_exceptions=False).output
    state = json.loads(told)
    assert list(state["set_aside"]) == ["problems/1"]
    assert round(state["lengths"]["mean_thought_tokens"]) == 25


@pytest.mark.parametrize("strategy", ["uniform", "vanilla", "prop2diff"])
def test_a_run_without_a_trial_has_a_page(
    configuration: Callable[..., RunConfig], tmp_path: Path, grader: object, strategy: str
) -> None:
    def no_engine(config: RunConfig, seed: int) -> TapeEngine:
        raise OSError("no engine")

    config = configuration(strategy=strategy)
    with pytest.raises(OSError, match="no engine"):
        synthesise(config, tmp_path / "run", load_run_queries(config), no_engine, grader, "1")  # type: ignore[arg-type]
    assert "from 0 trials" in page_of(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "reasoning", "counted", "expected"),
    [
        ("<think>aa</think>bb", None, None, ("aa", "bb", 5)),
        ("aa</think>bb", None, None, ("aa", "bb", 5)),
        ("<think>aaaa", None, None, ("aaaa", "", 10)),
        ("", "aaaa", None, ("aaaa", "", 10)),
        ("bb", "aa", 7, ("aa", "bb", 7)),
        ("</think>\n\nbb", "aa", 7, ("aa", "bb", 7)),
        ("<think>bb</think>cc", "aa", None, ("aa\nbb", "cc", 7)),
        ("no thought, but <think> is a tag", None, None, (None, "no thought, but <think> is a tag", None)),
    ],
)
def test_a_thought_lands_apart_however_it_comes(
    text: str, reasoning: str | None, counted: int | None, expected: tuple[str | None, str, int | None]
) -> None:
    done = thought_apart(Completion(TrialId(0, 0), text, 10, "stop", 0, reasoning, counted))
    assert (done.reasoning, done.text, done.n_thought_tokens) == expected
