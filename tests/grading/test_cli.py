"""``dart-grade`` as a person or a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def dart_grade(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dart_tasks.cli", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_an_equal_answer() -> None:
    done = dart_grade("1/2", "The answer is 0.5.", "--explain")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "correct")
    assert "found by:  answer_is" in done.stdout and "equal in value" in done.stdout


def test_an_unequal_answer_that_begins_with_a_minus() -> None:
    done = dart_grade("-5", "-6")
    assert (done.returncode, done.stdout) == (3, "wrong\n")


def test_native_references_and_json() -> None:
    verdict = json.loads(dart_grade("--native", "[1, 2]", "(1, 2)", "-b", "theoremqa", "--json").stdout)
    assert verdict["correct"] and verdict["source"] == "whole"


def test_computer_algebra_can_be_left_out() -> None:
    pair = ("1/3", r"\boxed{\int_0^1 x^2\,dx}")
    assert dart_grade(*pair).returncode == 0
    assert dart_grade(*pair, "--no-symbolic").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["5"], "Missing argument 'ANSWER'"),
        (["5", "5", "-b", "maths"], "'maths' is not one of"),
        (["--native", "{", "5"], "REF is not JSON"),
        (["--explian", "5"], "No such option '--explian'. Did you mean '--explain'?"),
        (["file", "absent.jsonl"], "does not exist"),
        (["file", __file__, "--workers", "99999999"], "is not in the range 1<=x<=1024"),
    ],
)
def test_mistakes_are_one_line_with_status_2(arguments: list[str], message: str) -> None:
    done = dart_grade(*arguments)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_pool_file_and_its_verdicts(tmp_path: Path) -> None:
    rows = [
        {
            "query_id": "a",
            "trial": 0,
            "query": "2+3?",
            "reference": "5",
            "benchmark": "gsm8k",
            "response": "The answer is 5.",
        },
        {
            "query_id": "a",
            "trial": 1,
            "query": "2+3?",
            "reference": "5",
            "benchmark": "gsm8k",
            "response": "The answer is 6.",
        },
        {"reference": True, "response": "yes"},
    ]
    path, verdicts = tmp_path / "pool.jsonl", tmp_path / "verdicts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    summary = json.loads(dart_grade("file", str(path), "--workers", "1", "--verdicts", str(verdicts), "--json").stdout)
    assert (summary["total"], summary["correct"]) == (3, 2)
    assert summary["benchmarks"]["gsm8k"] == {"total": 2, "correct": 1, "explicit": 2}
    written = {row["id"]: row["correct"] for row in map(json.loads, verdicts.read_text().splitlines())}
    assert written == {"a/0": True, "a/1": False, "3": True}


def test_samples_of_lm_eval_are_taken_once_per_document(tmp_path: Path) -> None:
    doc = {"query": "2+3?", "reference": '"5"', "benchmark": "gsm8k"}
    sample = {"doc_id": 0, "doc": doc, "target": "5", "resps": [["It is 5.", "It is 6."]]}
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(json.dumps({**sample, "filter": name}) for name in ("first", "second")))
    done = dart_grade("file", str(path), "--workers", "1")
    assert done.returncode == 0
    assert "gsm8k                          2        1     50.0%" in done.stdout
    runs = [{**sample, "doc_hash": name, "filter": "first"} for name in ("a", "b", "a")]  # several logs in one file
    path.write_text("\n".join(map(json.dumps, runs)))
    assert "gsm8k                          6        3     50.0%" in dart_grade("file", str(path)).stdout


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"response": "5"}\n')
    done = dart_grade("file", str(path), "--workers", "1")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("line 1: no reference in the row (it has: response)")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([], 0),
        (["--no-reasoning"], 0),
        (["--reasoning", "<r>", "</r>"], 3),
        (["--thought-opened"], 3),
        (["--reasoning", "<r>"], 2),
    ],
)
def test_reasoning_is_an_option(options: list[str], status: int, tmp_path: Path) -> None:
    response = "The answer is 5. <r>But perhaps"
    assert dart_grade("5", response, *options).returncode == status
    pool = tmp_path / "pool.jsonl"
    pool.write_text(json.dumps({"response": response, "reference": "5"}) + "\n")
    done = dart_grade("file", str(pool), "--json", *options)
    assert done.returncode == (status if status == 2 else 0)
    assert status == 2 or json.loads(done.stdout)["correct"] == (status == 0)
