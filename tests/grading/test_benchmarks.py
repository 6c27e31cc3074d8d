"""The grader on real references and on labelled cases, where those files are at hand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from dart_tasks.grading import equal, grade
from dart_tasks.problems import load as load_problems
from dart_tasks.problems.benchmarks import SUITE

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

# Neighbours in a test set that are written differently and are the same answer, by a hash of the two, reviewed by hand.
SAME_ANSWER = {
    "46551b4b": "a fraction and its shorthand",
    "4da5e064": "an angle with and without its degree mark",
    "8d766657": "a percentage with and without its sign, where the question asks for one",
    "0cb06157": "an evaluated logarithm and a named solution of the same value",
    "973366c7": "both answer No, with different explanations",
}


def _is_same_number(left: object, right: object) -> bool:
    try:
        return float(str(left)) == float(str(right))
    except ValueError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SUITE))
def test_references_equal_themselves_and_not_their_neighbours(name: str, shared_data: Path) -> None:
    problems = load_problems(name, data_dir=shared_data / "benchmarks")
    wrong: list[str] = []
    for position, problem in enumerate(problems):
        text = problem.reference if isinstance(problem.reference, str) else str(problem.reference)
        if not equal(problem.reference, text, name, problem.query, problem.tolerance):
            wrong.append(f"{position} is not itself")
        if not grade(f"The answer is $\\boxed{{{text}}}$.", problem.reference, name, problem.query).correct:
            wrong.append(f"{position} is not itself in a box")
        other = problems[(position + 1) % len(problems)].reference
        pair = hashlib.sha256(f"{problem.reference}|{other}".encode()).hexdigest()[:8]
        is_other = str(other) != text and not _is_same_number(text, other) and pair not in SAME_ANSWER
        if is_other and equal(problem.reference, str(other), name, problem.query, problem.tolerance):
            wrong.append(f"{position} equals the next ({pair})")
    assert not wrong


PHRASINGS = (
    "Therefore, the answer is {}.",
    "So the answer is ${}$.",
    "Steps.\n#### {}",
    "**Final Answer:** {}",
    "Final answer: ${}$. I hope it is correct.",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SUITE))
def test_references_are_right_in_every_phrasing(name: str, shared_data: Path) -> None:
    """All of them, with many that are several sentences or lines, matrices, and words."""
    wrong: list[str] = []
    for position, problem in enumerate(load_problems(name, data_dir=shared_data / "benchmarks")):
        text = str(problem.reference)
        for phrasing in PHRASINGS:
            in_dollars = "${}$" in phrasing
            if in_dollars and (text.count("$") % 2 or "$" in text.strip("$")):
                continue  # several formulas, or a stray sign
            response = phrasing.format(text.strip("$") if in_dollars else text)
            verdict = grade(response, problem.reference, name, problem.query, problem.tolerance)
            if not (verdict.correct and verdict.explicit):
                wrong.append(f"{position}: {phrasing!r}")
    assert not wrong


@pytest.mark.slow
def test_every_benchmark_is_complete(shared_data: Path) -> None:
    sizes = {name: len(load_problems(name, data_dir=shared_data / "benchmarks")) for name in SUITE}
    assert sum(sizes.values()) == 11_612


@pytest.mark.slow
def test_labelled_cases(shared_data: Path) -> None:
    from labelled import load, ours

    right: dict[str, list[bool]] = defaultdict(list)
    false_accepts = 0
    for item in load(shared_data / "grading" / "dev.jsonl"):
        verdict = ours(item.case)
        right[item.case.benchmark].append(verdict == item.expected)
        false_accepts += verdict and not item.expected
    total = sum(len(values) for values in right.values())
    shares = {name: sum(values) / len(values) for name, values in right.items()}
    assert sum(sum(values) for values in right.values()) / total >= 0.995
    assert min(shares.values()) >= 0.99, shares
    assert false_accepts / total <= 0.002


@pytest.mark.slow
def test_labelled_cases_are_the_same_under_another_hash_seed(shared_data: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from labelled import load; "
        "from dart_tasks.grading import grade\n"
        "for case in (item.case for item in load(Path(sys.argv[2]))):\n"
        "    print(grade(case.response, case.reference, case.benchmark, case.question, case.tolerance))"
    )
    bench = str(Path(__file__).resolve().parents[2] / "bench")
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, bench, str(shared_data / "grading" / "dev.jsonl")],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert json.dumps(outputs.pop())
