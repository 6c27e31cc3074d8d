"""Problems of one's own as a named task: the YAMLs of examples/own_problems, and what is said of wrong files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dart_tasks.harness.task import TaskError

Answers = Callable[[dict[str, Any], int], str]
CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


@pytest.fixture
def folder(repo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repo / "examples" / "own_problems", tmp_path / "mine"))


@pytest.fixture
def run(folder: Path, evaluate_with: Callable[..., Any]) -> Callable[..., Any]:
    """lm-eval on tasks of that folder; the model knows every answer to level 1 and, at k > 1, half of the rest."""

    def answer(doc: dict[str, Any], trial: int) -> str:
        knows = json.loads(doc["metadata"]).get("level") == 1 or trial % 2
        reference = json.loads(doc["reference"])
        text = ", ".join(map(str, reference)) if isinstance(reference, list) else reference
        return rf"<think>\boxed{{0}}</think> It is \boxed{{{text}}}." if knows else "<think> well"

    def evaluate(task: str, metadata: dict[str, Any] | None = None, **options: Any) -> Any:
        return evaluate_with(folder, [task], answer, metadata, **options)

    return evaluate


@pytest.mark.parametrize("task", ["my_exam", "my_exam_fewshot"])
def test_the_example_is_a_task_with_levels(task: str, run: Callable[..., Any]) -> None:
    results = run(task)
    scores = results["results"][task]
    assert (scores["acc,graded"], scores["acc_level_1,graded"], scores["acc_level_3,graded"]) == (2 / 6, 1, 0)
    generation = results["configs"][task]["generation_kwargs"]
    assert (generation["do_sample"], generation["max_gen_toks"], len(generation["until"])) == (
        *(False, 2048),
        1 if "fewshot" in task else 2,
    )
    prompt = results["samples"][task][0]["arguments"][0][0]
    assert prompt.startswith("Question: A bus has 40 seats" if "fewshot" in task else "Below is an instruction")
    assert prompt.count("boxed") == (2 if "fewshot" in task else 0)


def test_k_responses_under_the_reasoning_protocol(run: Callable[..., Any]) -> None:
    scores = run("my_exam", {"k": 2, "protocol": "reasoning"})["results"]["my_exam"]
    assert (scores["mean@2,graded"], scores["pass@2,graded"]) == ((2 + 4 / 2) / 6, 1)
    assert scores["unfinished_thinking,graded"] == 4 / 12


def test_the_report_shows_it_by_its_name(
    run: Callable[..., Any], save_run: Callable[..., Path], tmp_path: Path
) -> None:
    path = save_run(run("my_exam"), tmp_path / "out", "some/model")
    code = "from dart_tasks.report.cli import main; main()"
    shown = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert "my_exam" in shown.stdout and "33.3" in shown.stdout


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("my_exam.jsonl", '{"task": "1+1?", "solution": "2"}', "no query and no answer as text (its columns: task,"),
        ("my_exam.jsonl", '{"query": "1+1?", "answer": ""}', "row 1: an empty answer"),
        ("my_exam.jsonl", '{"query": "1+1?", ', "line 1 of"),
        ("my_exam.jsonl", "", "holds no problems"),
        ("exemplars.jsonl", '{"query": "1+1?", "answer": "2"}', "line 1 of"),
        ("exemplars.jsonl", '{"query": "Find all real numbers $x$ with $|2x-3|=x+6$.", "response": "9"}\n'
                            '{"query": "1?", "response": "1"}', "an exemplar is one of the problems: 'Find all"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    name: str, content: str, told: str, folder: Path, run: Callable[..., Any]
) -> None:
    (folder / name).write_text(content)
    with pytest.raises(TaskError) as raised:
        run("my_exam_fewshot")
    assert told in str(raised.value) and "\n" not in str(raised.value)
    assert str(raised.value).startswith("my_exam_fewshot: ")


def test_a_task_without_a_file_and_a_file_that_is_not_there(folder: Path, run: Callable[..., Any]) -> None:
    yaml = folder / "my_exam.yaml"
    text = yaml.read_text()
    yaml.write_text("\n".join(line for line in text.splitlines() if "problems:" not in line))
    with pytest.raises(TaskError, match="my_exam: name a file of problems in metadata"):
        run("my_exam")
    yaml.write_text(text.replace("my_exam.jsonl", "other.jsonl"))
    with pytest.raises(TaskError, match=r"my_exam: no file other\.jsonl"):
        run("my_exam")


def test_a_file_named_on_the_command_line_takes_its_place(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    results = run("my_exam", {"problems": str(tmp_path / "other.jsonl")})
    assert results["n-samples"]["my_exam"]["original"] == 1


@pytest.mark.slow
def test_the_command_finds_it_by_its_name(
    folder: Path, lm_eval_command: Callable[..., Any], tiny_model: Path, tmp_path: Path
) -> None:
    result = lm_eval_command(
        *("--model", "hf", "--model_args", f"pretrained={tiny_model}", "--include_path", folder, "--tasks", "my_exam"),
        *("--limit", "2", "--gen_kwargs", "max_gen_toks=4", "--output_path", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    assert "my_exam" in result.stdout
