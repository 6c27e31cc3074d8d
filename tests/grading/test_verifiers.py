"""bench/verifiers.py: every layout is read, figures and page say what is in them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dart_tasks.files import DataError

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

RIGHT, WRONG = "So \\boxed{\\frac{1}{2}}.", "So \\boxed{2}."
LAYOUTS: dict[str, list[dict[str, Any]]] = {
    "dev.jsonl": [
        {"id": "a", "source": "s", "benchmark": "math", "kind": "pair", "ref": "1/2", "pred_or_response": "0.5"}
        | {"expected": True, "question": None},
        {"id": "b", "source": "s", "benchmark": "rg_lcm", "kind": "response", "ref": "1/2", "pred_or_response": WRONG}
        | {"expected": False, "question": None},
        {"id": "c", "source": "s", "benchmark": "math", "kind": "pair", "ref": "1/2", "pred_or_response": "0.5"}
        | {"expected": False, "debatable": True},
    ],
    "shipped.jsonl": [
        {"id": "a", "kind": "k", "benchmark": "math", "reference": "1/2", "answer": "0.5", "expected": True},
        {"id": "b", "kind": "k", "benchmark": "math", "reference": "1/2", "response": WRONG, "expected": False},
    ],
    "verifierbench.json": [
        {"question": "?", "gold_answer": "\\frac12", "llm_response": RIGHT, "gold_judgment": "A", "data_source": "m"},
        {"question": "?", "gold_answer": "['3']", "llm_response": WRONG, "gold_judgment": "C", "data_source": "m"},
    ],
    "verify_bench.jsonl": [
        {"question_id": "1", "completion_id": "a", "question": "?", "answer": "0.5", "completion": RIGHT}
        | {"gold_correct": True, "answer_type": "numeric", "source": "x"},
        {"question_id": "1", "completion_id": "b", "question": "?", "answer": "0.5", "completion": WRONG}
        | {"gold_correct": False, "answer_type": "numeric", "source": "x"},
    ],
}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    as_list = path.suffix == ".json"
    path.write_text(json.dumps(rows) if as_list else "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_read(name: str, tmp_path: Path) -> None:
    from labelled import judge_all, load, ours, showing

    cases = load(written(tmp_path / name, LAYOUTS[name]))
    figures = showing(cases, judge_all(ours, cases))
    assert [case.expected for case in cases] == [True, False]
    assert (figures.n, figures.accuracy, figures.precision, figures.recall) == (2, 1.0, 1.0, 1.0)


def test_a_dataset_is_read_with_its_splits_as_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labelled import load

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"gold_answer": "5", "llm_response": "\\boxed{5}", "gold_judgment": "A", "question": "2 + 3?"}]
    written(folder / "test.jsonl", rows)
    assert [(case.source, case.expected) for case in load(folder)] == [("test", True)]


def test_attacks_are_all_wrong(tmp_path: Path) -> None:
    from labelled import load

    rows = [{"question": "?", "ground_truth": "5", "response": "<answer></answer>"}]
    assert [case.expected for case in load(written(tmp_path / "hacking_data.jsonl", rows))] == [False]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"gold_correct": True, "answer": "1"}, r"no response \(looked for completion; found gold_correct, answer\)"),
        ({"gold_judgment": "D", "gold_answer": "1", "llm_response": "1"}, "gold_judgment is 'D'"),
        ({"text": "1", "target": "1"}, "no column of labels"),
    ],
)
def test_a_missing_column_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    from labelled import load

    with pytest.raises(DataError, match=message):
        load(written(tmp_path / "x.jsonl", [row]))


def test_figures_count_both_kinds_of_error(tmp_path: Path) -> None:
    from labelled import Outcome, load, showing

    rows = [
        {"id": str(i), "kind": "k", "benchmark": "math", "reference": "1", "answer": "1", "expected": expected}
        for i, expected in enumerate((True, True, True, False, False))
    ]
    outcomes = [Outcome(accepted, 0.001) for accepted in (True, True, False, True, False)]
    figures = showing(load(written(tmp_path / "x.jsonl", rows)), outcomes)
    assert (figures.false_accepts, figures.false_rejects, figures.accuracy) == (1, 1, 0.6)
    assert figures.precision == figures.recall == pytest.approx(2 / 3)


def test_the_command_prints_a_table_and_escapes_its_page(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script> \\boxed{7}"
    rows = [
        {"id": "a", "kind": "sum", "benchmark": "math", "reference": "5", "response": "\\boxed{5}", "expected": True},
        {"id": "b", "kind": "tag", "benchmark": "math", "reference": "7", "response": attack, "expected": False},
    ]
    page = tmp_path / "page.html"
    command = [sys.executable, str(BENCH / "verifiers.py"), str(written(tmp_path / "x.jsonl", rows))]
    options = ["--graders", "ours", "--by", "kind", "--page", str(page)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert lines["sum"] == "1 100.0 / 100.0 / 100.0".split()
    assert lines["tag"] == "1 0.0 / 0.0 / -".split()
    assert lines["all"] == "2 50.0 / 50.0 / 100.0".split()
    assert "&lt;script&gt;" in page.read_text(encoding="utf-8") and "<script" not in page.read_text(encoding="utf-8")


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "verifiers.py"), str(tmp_path / "none.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "none.jsonl" in done.stderr
