"""Reports on results that lm-eval wrote: tables, page, comparison, card, regrade, agreement."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dart_tasks.files import DataError
from dart_tasks.grading import GRADER_VERSION, Verdict
from dart_tasks.problems.benchmarks import SUITE
from dart_tasks.report.browse import browser_data, choose
from dart_tasks.report.cli import command
from dart_tasks.report.data import as_csv
from dart_tasks.report.mathml import as_formula, mathml, split
from dart_tasks.report.page import html_page
from dart_tasks.report.published import published_table
from dart_tasks.report.results import Graded, Item, Run, Score, TaskResult, read_runs, told_apart
from dart_tasks.report.significance import compare, holm, mcnemar_p, sign_flip_p, wilson
from dart_tasks.report.summary import LENGTHS, by_length, differences, notes, pairs, score_table, summarise
from dart_tasks.report.text import markdown, pair_line, pairs_note, print_terminal

TASKS = ["dart_math_mini_math", "dart_math_mini_gsm8k"]
NASTY = "<script>alert(1)</script> [red]text[/red] \x1b[31m"


@pytest.fixture(scope="session")
def runs(
    evaluate: Callable[..., dict[str, Any]],
    save_run: Callable[[dict[str, Any], Path, str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    """Two runs: one that solves levels 1 to 3 and no GSM8K, and one that solves everything; with nasty texts."""

    def weak(doc: dict[str, Any], trial: int) -> str:
        solved = json.loads(doc["metadata"]).get("level", 9) <= 3
        value = json.loads(doc["reference"])
        return f"{NASTY}\nThe answer is $\\boxed{{{value if solved else '-77'}}}$."

    def strong(doc: dict[str, Any], trial: int) -> str:
        return f"The answer is $\\boxed{{{json.loads(doc['reference'])}}}$."

    folder = tmp_path_factory.mktemp("runs")
    return (
        save_run(evaluate(TASKS, weak), folder / "weak", "org/weak-[red]<b>"),
        save_run(evaluate(TASKS, strong), folder / "strong", "org/strong"),
    )


def report(*arguments: object) -> Any:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_run_is_read_back(runs: tuple[Path, Path]) -> None:
    (run,) = read_runs(runs[0])
    math = run.task("MATH (mini)")
    assert math is not None and math.n_items == math.n_available == len(math.items) == 26
    assert math.accuracy.value == pytest.approx(sum(item.accuracy for item in math.items) / 26)
    assert run.label == "weak-[red]<b>"
    assert math.items[0].responses[0].source == "boxed"
    assert math.grader_version == GRADER_VERSION


def test_terminal_shows_scores_comparisons_and_escaped_text(runs: tuple[Path, Path]) -> None:
    output = report(*runs).stdout
    assert "weak-[red]<b>" in output and "strong" in output
    assert "100.0" in output
    assert "GSM8K (mini): strong vs weak-[red]<b>: +100.0 points" in output
    assert "Comparisons: 3 tests, judged by p-values corrected for all of them together (Holm)" in output
    assert "McNemar p = 6e-08, corrected 1.8e-07" in output
    assert "McNemar p = 6e-08" in output and ": significant at 5%" in output
    assert "\x1b" not in output


class _Page(HTMLParser):
    """Counts elements, collects addresses that a page would load and the text of its data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self._data: list[str] | None = None
        self.data: dict[str, Any] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.ids += [str(value) for name, value in attrs if name == "id"]
        self._data = [] if ("type", "application/json") in attrs else None

    def handle_data(self, data: str) -> None:
        if self._data is not None:
            self._data.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._data:
            self.data = json.loads("".join(self._data))
        self._data = None


def plain(parts: list[str]) -> str:
    return "".join(parts)


def test_page_is_self_contained_and_escaped(runs: tuple[Path, Path], tmp_path: Path) -> None:
    report(*runs, "--html", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = _Page(text)
    assert page.elements["script"] == 2  # the data and ours
    assert all(address.startswith("#") for address in page.addresses) and not page.handlers
    assert NASTY.split()[0] not in text and "\x1b" not in text
    response = next(row for row in page.data["responses"] if row["run"] == 0)
    assert "<script>alert(1)</script> [red]text[/red] \\x1b[31m" in plain(response["text"])
    assert "Comparisons: 3 tests, judged by p-values corrected for all of them together (Holm)" in text
    assert page.elements["svg"] == 2 and "95% intervals over items" in text  # a chart of lengths per benchmark
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


def test_every_link_of_the_page_leads_somewhere(runs: tuple[Path, Path], tmp_path: Path) -> None:
    report(*runs, "--html", tmp_path / "report.html")
    page = _Page((tmp_path / "report.html").read_text())
    assert {address[1:].split("?")[0] for address in page.addresses} <= set(page.ids)
    assert {"scores", "comparisons", "differences", "lengths", "run-0", "run-1-1", "responses"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_responses_shown_are_limited(runs: tuple[Path, Path], tmp_path: Path) -> None:
    report(*runs, "--html", tmp_path / "r.html", "--max-responses", 20)
    text = (tmp_path / "r.html").read_text()
    responses = _Page(text).data["responses"]
    assert [row["correct"] for row in responses] == [False] * 18 + [True] * 2  # a tenth is kept for right ones
    assert {row["run"] for row in responses[18:]} == {1}  # the other's answers to items that runs differ in
    shown = " ".join(text.split("Responses <a")[1].split())
    wrong = sum(item.accuracy < 1 for path in runs for run in read_runs(path) for t in run.tasks for item in t.items)
    assert f"20 of 102 responses are on this page: of {wrong} wrong ones 18, of {102 - wrong} right ones 2." in shown


def test_markdown_has_groups_and_inert_text(runs: tuple[Path, Path], tmp_path: Path) -> None:
    report(*runs, "--markdown", tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    assert "| MATH (mini) | level | 1 | 100.0 |" in text
    assert "| MATH (mini) | level | 5 | 0.0 |" in text
    assert "| MATH (mini) | level | 1 | 100.0 | 51.0 to 100.0 | 4 |" in text
    assert "Comparisons: 3 tests, judged by p-values corrected for all of them together (Holm)" in text
    assert "weak-\\[red\\]&lt;b&gt;" in text
    assert "responses were likely truncated" in text


def test_model_card_from_a_run(runs: tuple[Path, Path], tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    path = tmp_path / "README.md"
    base = ("--base", "mistralai/Mistral-7B-v0.1", "--synthesiser", "deepseek-ai/deepseek-math-7b-rl")
    report(runs[1], "--model-card", path, *base)
    data = ModelCard(path.read_text()).data
    assert {(result.dataset_name, result.metric_value) for result in data.eval_results} == {
        ("MATH (mini)", 100.0),
        ("GSM8K (mini)", 100.0),
    }
    assert data.license_name == "deepseek"


def test_a_card_whose_training_data_are_not_named_has_no_licence(runs: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    report(runs[1], "--model-card", path, "--base", "mistralai/Mistral-7B-v0.1")
    assert "\nlicense:" not in path.read_text()
    report(runs[1], "--model-card", path, "--base", "mistralai/Mistral-7B-v0.1", "--data", "openai/gsm8k")
    assert "\nlicense: apache-2.0" in path.read_text()


@pytest.mark.parametrize(
    ("models", "labels"),
    [
        (["org/one", "org/two"], ["one", "two"]),
        (["runs/a/export", "runs/b/export", "org/two"], ["a/export", "b/export", "two"]),
        (["x/a/export", "y/a/export"], ["x/a/export", "y/a/export"]),
        (["org/one", "org/one"], ["one #1", "one #2"]),
    ],
)
def test_models_of_one_name_are_told_apart_by_their_paths(models: list[str], labels: list[str]) -> None:
    runs = [Run(Path(model).name, model, Path("results.json"), "today", ()) for model in models]
    assert told_apart(runs) == labels
    chat = [replace(run, label=f"{run.label} (chat)") for run in runs]
    assert told_apart(chat)[0].startswith(f"{labels[0].removesuffix(' #1')} (chat)")


def test_predictions_without_verdicts_are_sent_to_regrade(
    evaluate: Callable[..., dict[str, Any]], save_run: Callable[..., Path], tmp_path: Path
) -> None:
    results = evaluate(["dart_math_mini_gsm8k"], lambda doc, _: "7", limit=2, predict_only=True)
    result = report(save_run(results, tmp_path, "m"))
    assert result.exit_code == 1 and "was made with --predict_only: dart-report --regrade" in result.output


def test_labels_name_the_runs(runs: tuple[Path, Path]) -> None:
    output = report(*runs, "--label", "before", "--label", "after").stdout
    assert "after vs before" in output
    result = report(runs[0], "--label", "a", "--label", "b")
    assert result.exit_code == 2 and "--label: 2 labels for 1 runs" in result.output


def test_results_away_from_their_samples_say_what_is_missing(runs: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "before.json"
    copy.write_bytes(runs[0].read_bytes())
    output = " ".join(report(copy).stdout.split())
    assert "no samples of MATH (mini), GSM8K (mini) beside before.json" in output
    assert "Likely truncated: MATH (mini) 0.0%" in output
    report(copy, "--html", tmp_path / "r.html")
    assert "acc_level_3" in (tmp_path / "r.html").read_text()


def _changed(path: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    data = json.loads(path.read_text())
    change(data)
    to.write_text(json.dumps(data))
    return to


def test_part_of_a_benchmark_is_not_complete_whatever_lm_eval_counts(runs: tuple[Path, Path], tmp_path: Path) -> None:
    text = runs[0].read_text().replace("dart_math_mini_math", "dart_math_math")
    (tmp_path / "results_x.json").write_text(text)
    (run,) = read_runs(tmp_path / "results_x.json")
    math = run.task("MATH")
    assert math is not None and (math.n_items, math.n_available, math.complete) == (26, 5000, False)
    assert "MATH 26 of 5,000" in " ".join(report(tmp_path / "results_x.json").stdout.split())


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(configs=None),
        lambda data: data["results"].update(dart_math_mini_math=None),
        lambda data: data["results"]["dart_math_mini_math"].update({"acc,graded": "N/A"}),
        lambda data: data["n-samples"].update(dart_math_mini_math=[]),
    ],
)
def test_damaged_results_are_refused_in_a_line(
    change: Callable[[dict[str, Any]], None], runs: tuple[Path, Path], tmp_path: Path
) -> None:
    result = report(_changed(runs[0], tmp_path / "results_x.json", change))
    assert result.exit_code == 1
    assert "is not a results file of lm-eval" in result.output


def test_regrade_lists_the_verdicts_that_changed(runs: tuple[Path, Path], tmp_path: Path) -> None:
    samples = next(runs[1].parent.glob("samples_dart_math_mini_gsm8k_*.jsonl"))
    rows = [json.loads(line) for line in samples.read_text().split("\n") if line]
    assert "0 verdicts changed" in report("--regrade", samples).stdout
    payload = json.loads(rows[0]["filtered_resps"][0])
    payload["verdicts"][0]["correct"] = False  # as an older grader may have found
    rows[0]["filtered_resps"] = [json.dumps(payload)]
    old = tmp_path / "samples_old.jsonl"
    old.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = report("--regrade", old).stdout
    assert "accuracy 96.00 -> 100.00" in output and "1 verdict changed" in output
    assert f"{rows[0]['doc']['id']} #0: wrong -> right" in output


def test_any_sample_log_can_be_graded_again(runs: tuple[Path, Path], tmp_path: Path) -> None:
    foreign = [
        {"doc_id": n, "doc": {"question": "2+3?", "answer": "2+3\n#### 5"}, "target": "2+3\n#### 5",
         "resps": [["The answer is 5."]], "filtered_resps": ["5"], "filter": name, "metrics": ["exact_match"],
         "exact_match": met}
        for n in range(2) for name, met in (("strict-match", float(n)), ("flexible-extract", 1.0))
    ]  # fmt: skip
    log = tmp_path / "samples_gsm8k_x.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in foreign))
    output = report("--regrade", log).stdout
    assert "2 responses, accuracy 50.00 -> 100.00" in output and "0 #0: wrong -> right" in output

    samples = next(runs[1].parent.glob("samples_dart_math_mini_gsm8k_*.jsonl"))
    rows = [json.loads(line) for line in samples.read_text().split("\n") if line]
    predicted = [{**row, "filtered_resps": row["resps"]} for row in rows]  # as --predict_only logs them
    log.write_text("".join(json.dumps(row) + "\n" for row in predicted))
    assert "25 responses, accuracy not graded before -> 100.00" in report("--regrade", log).stdout
    assert "truncated" not in report(log).stdout  # which nobody knows
    told = json.dumps({"verdicts": [], "finish_reasons": ["length"]})
    log.write_text("".join(json.dumps({**row, "filtered_resps": [told]}) + "\n" for row in rows))
    assert "25 of 25 responses were truncated." in report(log).stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc": None}, "line 2: not a sample of lm-eval"),
        ({"doc": {"question": "?"}}, "line 2: no reference answer"),
        ({"doc": {"query": "?", "reference": "not JSON"}}, "line 2: not a sample of lm-eval"),
        ({"doc": {"query": "?", "reference": "1", "benchmark": "other"}}, "line 2: unknown benchmark 'other'"),
        ({"doc": {"query": "?", "reference": "null"}}, "line 2: no reference answer"),
        ({"doc": {"query": None, "reference": "1"}}, "line 2: not a sample of lm-eval"),
        ({"doc": {"query": "?", "reference": "1", "metadata": "[1]"}}, "line 2: not a sample of lm-eval"),
        ({"doc": {"query": "?", "reference": "1", "tolerance": "x"}}, "line 2: tolerance must be a number (got 'x')"),
        ({"resps": None}, "line 2: not a sample of lm-eval"),
        ({"resps": []}, "line 2: no response in the sample"),
        ({"resps": [[[-3.5, False]]]}, "line 2: the sample's responses are no texts"),
    ],
)
def test_a_log_that_cannot_be_graded_says_where(
    change: dict[str, Any], message: str, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    samples = next(runs[1].parent.glob("samples_dart_math_mini_gsm8k_*.jsonl"))
    row = json.loads(samples.read_text().split("\n")[0])
    row.pop("target", None)
    log = tmp_path / "samples_x.jsonl"
    log.write_text(json.dumps(row) + "\n" + json.dumps({**row, **change}) + "\n")
    result = report("--regrade", log)
    assert result.exit_code == 1 and message in result.output
    assert message in report(log).output


def test_samples_that_are_not_those_of_the_results_are_told(runs: tuple[Path, Path], tmp_path: Path) -> None:
    results = Path(shutil.copytree(runs[1].parent, tmp_path / "edited")) / runs[1].name
    log = next(results.parent.glob("samples_dart_math_mini_gsm8k_*.jsonl"))
    rows = log.read_text().split("\n")[:-1]

    def told(lines: list[str]) -> str:
        log.write_text("".join(line + "\n" for line in lines))
        return " ".join(report(results).output.split())

    assert "GSM8K (mini) has 20 samples of 25 evaluated items; comparisons and groups are of these" in told(rows[5:])
    wrong = json.loads(rows[0])
    wrong["filtered_resps"] = [wrong["filtered_resps"][0].replace('"correct": true', '"correct": false')]
    assert "samples of GSM8K (mini) have an accuracy of 96.0%, the results say 100.0%" in told(
        [json.dumps(wrong), *rows[1:]]
    )
    assert f"has 2 samples of {wrong['doc']['id']}: a log of several runs?" in told(rows + rows)
    old = _changed(runs[0], tmp_path / "old.json", lambda data: _old_grader(data))
    output = " ".join(report(old, runs[1]).output.split())
    assert f"GSM8K (mini) was judged by graders 1.0 and {GRADER_VERSION}, whose verdicts do not compare" in output
    assert "MATH (mini) was judged" not in output


def _old_grader(data: dict[str, Any]) -> None:
    data["configs"]["dart_math_mini_gsm8k"]["metadata"]["grader_version"] = "1.0"


def test_a_log_alone_is_judged_as_of_now(runs: tuple[Path, Path], tmp_path: Path) -> None:
    log = next(runs[1].parent.glob("samples_dart_math_mini_gsm8k_*.jsonl"))
    old = tmp_path / f"{log.name}.gz"
    old.write_bytes(gzip.compress(log.read_bytes().replace(b'\\"correct\\": true', b'\\"correct\\": false')))
    report(old, "--json", tmp_path / "r.json")
    (task,) = json.loads((tmp_path / "r.json").read_text())["runs"][0]["tasks"]
    assert (task["task"], task["benchmark"]) == ("dart_math_mini_gsm8k", "GSM8K (mini)")
    assert [task["scores"][name]["value"] for name in ("acc", "acc as logged")] == [1.0, 0.0]
    assert task["responses"]["likely truncated"] == 0


def test_logs_of_two_variants_are_two_runs_and_of_other_items_are_not_compared(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    log = next(runs[1].parent.glob("samples_dart_math_mini_gsm8k_*.jsonl"))
    rows = log.read_text().split("\n")[:-1]
    plain, chat = (tmp_path / f"samples_dart_math_mini_gsm8k{end}_today.jsonl" for end in ("", "_chat"))
    plain.write_text("".join(row + "\n" for row in rows[:10]))
    chat.write_text("".join(row + "\n" for row in rows[10:]))
    output = " ".join(report(plain, chat, plain, "--label", "a\nb", "--label", "c").output.split())
    assert "| a b | 100.0 ±0.0 |" in output and "| c | 100.0 ±0.0 |" in output
    assert "a b and c have no item of GSM8K (mini) in common: not compared." in output


def test_a_second_judge_lists_what_the_two_differ_in_everywhere(
    evaluate: Callable[..., dict[str, Any]], save_run: Callable[..., Path], tmp_path: Path
) -> None:
    """Some responses to "7 items" say it in words, which Math-Verify does not read."""

    def answer(doc: dict[str, Any], trial: int) -> str:
        value = json.loads(doc["reference"])
        return f"The answer is {value}." if int(doc["id"][-1], 16) % 2 else f"So it is {NASTY} \\boxed{{\\text{{-77}}}}"

    results = save_run(evaluate(["dart_math_mini_gsm8k"], answer), tmp_path, "m")
    page, log, table, text = (tmp_path / f"r.{end}" for end in ("html", "json", "csv", "md"))
    log_path = next(results.parent.glob("samples_*.jsonl"))
    rows = [json.loads(line) for line in log_path.read_text().split("\n") if line]
    graded = json.loads(rows[0]["filtered_resps"][0])
    graded["verdicts"][0] |= {"correct": not graded["verdicts"][0]["correct"], "reason": "as an older grader found"}
    rows[0]["filtered_resps"] = [json.dumps(graded)]
    log_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    terminal = report(
        results, "--judge", "math-verify", "--html", page, "--json", log, "--csv", table, "--markdown", text
    )
    ours = graded["verdicts"][0]["correct"]
    line = "m, GSM8K (mini): Math-Verify agrees on 96.0% of 25 responses (right by both"
    assert line in terminal.stdout
    (listed,) = [line for line in terminal.stdout.splitlines() if line.startswith("  ")]
    assert listed.startswith(f"  {rows[0]['doc']['id']} #0, reference")
    assert f"ours {'right' if ours else 'wrong'}" in listed and "(as an older grader found); Math-Verify" in listed
    assert "equal to the reference, read as" in listed and "\x1b" not in listed
    assert line in text.read_text() and "as an older grader found" in text.read_text()
    data = json.loads(log.read_text())
    (found,) = data["disagreements"]
    assert (found["item"], found["ours"]["correct"], found["judge"]["correct"]) == (
        rows[0]["doc"]["id"],
        ours,
        not ours,
    )
    counts = data["runs"][0]["tasks"][0]["agreement"]
    assert (counts["n"], counts["only_ours"] + counts["only_theirs"], counts["share"]) == (25, 1, 0.96)
    cells = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["item"] for row in cells if row["correct"] != row["judge_correct"]] == [rows[0]["doc"]["id"]]
    shown = _Page(page.read_text()).data["responses"]
    assert shown[0]["judge"]["correct"] is not shown[0]["correct"] and "judges=differ" in page.read_text()


def other_tasks_log(folder: Path, kind: str, correct: bool = True) -> Path:
    """A sample log as lm-eval's own tasks write it."""
    value = 18 if correct else 19
    if kind == "gsm8k":
        doc = {"question": "Eggs?", "answer": "16 - 3 = <<16-3=13>>13\n#### 18"}
        row = {"doc": doc, "target": doc["answer"], "resps": [[f"So it is 18... no, the answer is {value}."]],
               "filter": "strict-match", "metrics": ["exact_match"], "exact_match": 0.0}  # fmt: skip
        rows = [row, {**row, "filter": "flexible-extract", "exact_match": 1.0}]
    elif kind == "minerva_math_algebra":
        doc = {
            "problem": "Eggs?",
            "level": "Level 2",
            "type": "Algebra",
            "solution": "It is $\\boxed{18}$.",
            "answer": "18",
        }
        text = f"Final Answer: The final answer is ${value}$. I hope it is correct."
        rows = [{"doc": doc, "target": "18", "resps": [[text]], "filter": "none",
                 "metrics": ["exact_match", "math_verify"], "exact_match": 1, "math_verify": 1}]  # fmt: skip
    else:  # several responses, as gsm8k_cot_self_consistency has them
        doc = {"question": "Eggs?", "answer": "#### 18"}
        rows = [{"doc": doc, "target": "18", "resps": [[f"#### {value}", "#### 1", f"\\boxed{{{value}}}"]],
                 "filter": "score-first", "metrics": ["exact_match"], "exact_match": 1.0}]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{kind}_2026-01-01T00-00-00.000000.jsonl"
    with path.open("w") as file:
        for n in range(3):
            for row in rows:
                doc = {**row["doc"], "n": n}
                file.write(json.dumps({"doc_id": n, "doc_hash": f"{n}abcdef12345", **row, "doc": doc}) + "\n")
    return path


@pytest.mark.parametrize("kind", ["gsm8k", "minerva_math_algebra", "gsm8k_cot_self_consistency"])
def test_sample_logs_of_other_tasks_are_judged_twice(kind: str, tmp_path: Path) -> None:
    """The first judge is our grader, as of now."""
    path, out = other_tasks_log(tmp_path / "org__model", kind), tmp_path / "out.json"
    text = report(path, "--judge", "math-verify", "--json", out, "--html", tmp_path / "r.html").stdout
    n = 9 if kind.endswith("consistency") else 3
    assert f"model, {kind}: Math-Verify agrees on 100.0% of {n} responses" in text
    (task,) = json.loads(out.read_text())["runs"][0]["tasks"]
    assert (task["k"], task["scores"]["acc"]["value"]) == (n // 3, 1.0 if n == 3 else pytest.approx(2 / 3))
    assert ("acc as logged" in task["scores"]) == (n == 3)


def test_two_logs_of_another_task_are_compared_by_document(tmp_path: Path) -> None:
    logs = [other_tasks_log(tmp_path / f"org__{name}", "gsm8k", name == "good") for name in ("good", "bad")]
    logs[1].write_text("".join(f"{line}\n" for line in reversed(logs[1].read_text().split("\n")) if line))
    report(*logs, "--json", tmp_path / "out.json")
    data = json.loads((tmp_path / "out.json").read_text())
    assert [run["label"] for run in data["runs"]] == ["good", "bad"]
    (found,) = data["differences"]
    assert found["first_better"] == ["0-0abcdef1", "1-1abcdef1", "2-2abcdef1"] and not found["second_better"]


def test_a_judge_that_is_not_there_or_has_nothing_to_judge(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "results_x.json"
    copy.write_bytes(runs[0].read_bytes())
    result = report(copy, "--judge", "math-verify")
    assert result.exit_code == 1 and "--judge needs the samples of MATH (mini), GSM8K (mini)" in result.output
    monkeypatch.setattr("dart_tasks.report.judges.find_spec", lambda name: None)
    result = report(runs[0], "--judge", "math-verify")
    assert result.exit_code == 1 and result.output.splitlines() == [
        "Error: --judge math-verify needs the package math-verify: pip install math-verify"
    ]
    assert report(runs[0], "--judge", "other").exit_code == 2


@pytest.mark.slow
def test_a_response_on_which_the_second_judge_hangs_costs_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power tower, with our limit before Math-Verify's own, as where its alarm does not help; then the other way."""
    path = other_tasks_log(tmp_path / "m", "gsm8k")
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    for row in rows[2:4]:
        row["resps"] = [["So it is $\\boxed{9^{9^{9^9}}}$."]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for limit_s, reason in ((3.0, "gave up after 3 s"), (60.0, "timeout during comparison; not equal to")):
        monkeypatch.setattr("dart_tasks.report.judges.TIMEOUT_S", limit_s)
        report(path, "--judge", "math-verify", "--csv", tmp_path / "r.csv")
        cells = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
        assert [row["judge_correct"] for row in cells] == ["True", "False", "True"]
        assert cells[1]["judge_reason"].startswith(reason)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["/nowhere/results.json"], 1, "cannot read /nowhere/results.json: No such file"),
        (["--model-card", "x.md", "results.json"], 2, "--model-card needs --base"),
        (["--regrade", "results.json"], 2, "--regrade takes sample logs (samples_*.jsonl), not results"),
        (["--regrade", "--html", "x.html", "samples.jsonl"], 2, "--regrade only lists differences"),
        (["--regrade", "/nowhere/samples.jsonl"], 1, "cannot read /nowhere/samples.jsonl"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], code: int, message: str) -> None:
    result = report(*arguments)
    assert result.exit_code == code
    assert message in result.output


@pytest.mark.parametrize("content", ["[]", "{}", '{"results": {}, "configs": {}}', "nonsense", '{"results": 1}'])
def test_files_that_are_no_results(content: str, tmp_path: Path) -> None:
    path = tmp_path / "results_x.json"
    path.write_text(content)
    with pytest.raises(DataError):
        read_runs(path)


# -- published table and statistics ------------------------------------------------------------------------------------


def test_published_rows_are_the_eight_models_and_their_baselines() -> None:
    table = published_table()
    assert len(table.rows) == 14
    assert sum(row.model.startswith("DART-Math-") for row in table.rows) == 8
    assert all(set(row.scores) <= set(SUITE) for row in table.rows)
    assert table.source.startswith("https://") and table.retrieved


def suite_run(label: str = "ours", n_items: int = 100, variant: str = "") -> Run:
    """A run of the whole suite, without samples: accuracies 10% to 60%."""
    tasks = tuple(
        TaskResult(
            record.task + variant,
            record.name,
            "1",
            "1.0",
            "alpaca",
            0,
            1,
            n_items,
            100,
            {"acc": Score(0.1 * place, 0.03)},
            items=(),
        )
        for place, record in enumerate(SUITE.values(), 1)
    )
    return Run(label, f"org/{label}", Path("results.json"), "today", tasks)


def test_the_suite_stands_beside_the_published_table() -> None:
    table = score_table([suite_run()])
    assert table.columns[-3:] == ("in-domain", "out-of-domain", "average")
    (name, cells), *_ = table.ours
    assert (name, [cell.text for cell in cells[-3:]]) == ("ours", ["15.0", "45.0", "35.0"])
    assert cells[-1].detail == "±1.2"  # 3 points / sqrt(6)
    published = dict(table.published)
    assert len(published) == 14
    assert published["DART-Math-Mistral-7B (Uniform)"][-1].text == "37.4"  # not the 27.4 that the source prints
    assert published["GPT-4 (0314)"][-1].text == ""
    text = " ".join(notes([suite_run()], table))
    assert "judged by DART-Math's own evaluator" in text and "prints 27.4" in text


def test_variants_of_the_prompt_share_the_columns() -> None:
    """A base model few-shot beside its fine-tuned one 0-shot, and a task of another kind."""
    other = TaskResult("dart_math_demo", "generic", "1", "1", "alpaca", 0, 1, 9, 9, {"acc": Score(0.5, None)}, ())
    runs = [suite_run("base (fewshot)", variant="_fewshot"), suite_run("tuned"), Run("x", "x", Path("x"), "", (other,))]
    table = score_table(runs)
    assert len(table.columns) == 6 + 1 + 3
    assert [cells[-1].text for _, cells in table.ours] == ["35.0", "35.0", ""]
    assert len(table.published) == 14 and table.published[0][1][6].text == ""


def test_variants_in_one_file_are_runs_of_their_own(runs: tuple[Path, Path], tmp_path: Path) -> None:
    text = runs[0].read_text().replace("dart_math_mini_gsm8k", "dart_math_gsm8k_fewshot")
    text = text.replace("dart_math_mini_math", "dart_math_math")
    (tmp_path / "results_x.json").write_text(text)
    found = read_runs(tmp_path / "results_x.json")
    assert [(run.label.removeprefix("weak-[red]<b>"), [task.title for task in run.tasks]) for run in found] == [
        ("", ["MATH"]),
        (" (fewshot)", ["GSM8K"]),
    ]


def test_partial_runs_are_marked() -> None:
    run = suite_run(n_items=20)
    assert "only part of the items (MATH 20 of 100" in " ".join(notes([run], score_table([run])))


def test_the_two_slips_of_the_published_card_are_caught() -> None:
    average, index = published_table().slips
    assert average == (
        "The source prints 27.4 as the average of DART-Math-Mistral-7B (Uniform); its six scores average 37.4."
    )
    assert "is named dart-math-dsmath-7b-prop2diff but carries the row of DART-Math-DSMath-7B (Uniform)" in index


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_the_share_of_sign_patterns_at_least_as_extreme(only_first: int, only_second: int) -> None:
    n = only_first + only_second
    if n > 10:
        n, only_first = 10, min(only_first, 10)
        only_second = n - only_first
    extreme = abs(only_first - only_second)
    patterns = [sum(signs) for signs in product((-1, 1), repeat=n)]
    expected = sum(abs(total) >= extreme for total in patterns) / len(patterns)
    assert mcnemar_p(only_first, only_second) == pytest.approx(expected)


def test_comparison_is_paired_by_item() -> None:
    before = {str(i): float(i % 2) for i in range(100)}
    after = {**before, "0": 1.0, "2": 1.0, "other": 0.0}
    result = compare([before], [after])
    assert result is not None
    assert (result.n_items, result.only_first, result.only_second) == (100, 0, 2)
    assert result.difference == pytest.approx(0.02)
    assert result.p_value == 0.5 and not result.significant
    assert compare([before], [{"x": 1.0}]) is None


def test_several_responses_are_compared_by_bootstrap() -> None:
    before = {str(i): 0.25 for i in range(50)}
    after = {str(i): 0.75 if i % 5 else 0.25 for i in range(50)}
    result = compare([before], [after])
    assert result is not None and (result.test, result.p_value) == ("sign-flip", pytest.approx(1 / 50_001))
    assert 0 < result.low < result.difference < result.high and result.significant


def test_holm_by_hand() -> None:
    """The smallest is multiplied by 4, the next by 3 (3 x 0.02), ...; never below one before it, never above 1."""
    assert holm([0.04, 0.01, 0.02, 0.9]) == pytest.approx([0.08, 0.04, 0.06, 0.9])
    assert holm([0.03, 0.02, 0.6]) == pytest.approx([0.06, 0.06, 0.6])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_wilson_by_hand() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def sampled_run(label: str, accuracies: dict[str, list[float]], k: int) -> Run:
    """A run with ``round(accuracy * k)`` right ones of k responses to each item of each task."""
    verdict: dict[str, Any] = {"answer": "1", "source": "boxed", "explicit": True, "reason": "same", "flags": ()}
    tasks = []
    for name, values in accuracies.items():
        items = tuple(
            Item(f"{n:03}", "?", "1", {}, tuple(
                Graded(**verdict, correct=trial < round(value * k), response="1", truncated=False) for trial in range(k)
            ))
            for n, value in enumerate(values)
        )  # fmt: skip
        score = {"acc": Score(sum(values) / len(values), None)}
        size = len(values)
        tasks.append(TaskResult(name, "generic", "1", "1", "alpaca", 0, k, size, size, score, items))
    return Run(label, label, Path("results.json"), "today", tuple(tasks))


def test_runs_of_different_k_have_a_p_value() -> None:
    one = sampled_run("one", {"a": [1.0, 0.0, 0.0, 0.0] * 10}, 1)
    four = sampled_run("four", {"a": [1.0, 0.5, 0.25, 0.0] * 10}, 4)
    (pair,) = pairs([one, four])
    assert pair.result.test == "sign-flip" and pair.result.p_value < 0.001 and pair.result.significant
    assert "sign-flip p = " in pair_line(pair)
    assert pairs([one, four]) == pairs([one, four])  # a fixed seed
    (equal,) = pairs([one, sampled_run("same", {"a": [1.0, 0.0, 0.0, 0.0] * 10}, 4)])
    assert equal.result.p_value == 1.0 and not equal.result.significant


@given(st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=8))
def test_sign_flip_is_the_share_of_sign_patterns_at_least_as_extreme(differences: list[float]) -> None:
    observed = abs(sum(differences))
    patterns = [abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
                for signs in product((-1, 1), repeat=len(differences))]  # fmt: skip
    exact = sum(total >= observed - 1e-9 for total in patterns) / len(patterns)
    assert sign_flip_p([np.array(differences)]) == pytest.approx(exact, abs=0.012)


def test_comparisons_are_corrected_for_all_that_are_shown() -> None:
    """On one of seven benchmarks, nine items to one speak for the second run: p = 0.021 alone, chance in 8 tests."""
    names = "abcdefg"
    equal = [1.0, 0.0] * 5
    first = sampled_run("first", dict.fromkeys(names, equal) | {"a": [0.0] * 9 + [1.0]}, 1)
    second = sampled_run("second", dict.fromkeys(names, equal) | {"a": [1.0] * 9 + [0.0]}, 1)
    found = pairs([first, second])
    assert [pair.title for pair in found] == [*names, "mean of 7"]
    alone = found[0].result
    assert alone.p_value == pytest.approx(22 / 1024)
    # the mean is the same ten items, so its p is much the same: 8 x the smaller, then 7 x the larger or the same again
    assert alone.corrected_p == pytest.approx(8 * min(pair.result.p_value for pair in found), rel=0.2)
    assert not any(pair.result.significant for pair in found)
    assert pairs_note(found).startswith("Comparisons: 8 tests, judged by p-values corrected for all of them")


def test_right_ones_are_a_fixed_sample() -> None:
    run = sampled_run("r", {"a": [1.0] * 50 + [0.0] * 5}, 1)

    def shown(run: Run, limit: int) -> list[str]:
        return [chosen.item.id for chosen in choose([run], limit).shown if chosen.graded.correct]

    assert len(shown(run, 15)) == 10 and shown(run, 15) != [f"{n:03}" for n in range(10)]
    (task,) = run.tasks
    assert shown(run, 15) == shown(replace(run, tasks=(replace(task, items=task.items[::-1]),)), 15)
    assert set(shown(run, 15)) < set(shown(run, 25))
    assert len(shown(run, 100)) == 50


def test_a_small_benchmark_is_not_crowded_out() -> None:
    run = sampled_run("r", {"big": [0.0] * 500, "small": [0.0] * 10}, 1)
    shown = Counter(chosen.task for chosen in choose([run], 40).shown)
    assert shown == {0: 30, 1: 10}


def test_disputed_ones_come_first() -> None:
    run = sampled_run("r", {"a": [1.0] * 30 + [0.0] * 30}, 1)
    (task,) = run.tasks
    other = Verdict(False, "2", "math-verify", True, "not equal")
    items = [replace(item, responses=(replace(item.responses[0], judged=other),)) if n == 7 else item
             for n, item in enumerate(task.items)]  # fmt: skip
    chosen = choose([replace(run, tasks=(replace(task, items=tuple(items)),))], 5)
    assert chosen.shown[0].item.id == "007" and chosen.n_first == 31
    assert [one.graded.correct for one in chosen.shown] == [True] + [False] * 4


def test_runs_are_compared_item_by_item_whatever_their_order() -> None:
    first = sampled_run("first", {"a": [1.0, 1.0, 0.0, 0.5], "b": [1.0]}, 4)
    (task, _) = first.tasks
    second = replace(
        first, tasks=(replace(task, items=sampled_run("", {"a": [1.0, 0.0, 1.0, 1.0, 1.0]}, 4).tasks[0].items[::-1]),)
    )
    (found,) = differences([first, second])
    assert (found.title, found.first_better, found.second_better, found.equal) == ("a", ("001",), ("002", "003"), 1)
    data = browser_data([first, second], choose([first, second], 100))
    scores = {item["id"]: item["scores"] for item in data["items"] if data["tasks"][item["task"]] == "a"}
    assert scores["000"] == [[4, 4], [4, 4]] and scores["001"] == [[4, 4], [0, 4]]
    assert scores["003"] == [[2, 4], [4, 4]] and scores["004"] == [None, [4, 4]]


def test_both_sides_of_a_difference_are_on_the_page() -> None:
    """The right answer to an item that the other run gets wrong comes before a sample of right ones."""
    first = sampled_run("first", {"a": [1.0] * 200}, 1)
    second = sampled_run("second", {"a": [1.0] * 190 + [0.0] * 10}, 1)
    shown = choose([first, second], 20).shown
    assert {one.item.id for one in shown if one.run == 0} == {one.item.id for one in shown if one.run == 1}


def test_lengths_are_binned_by_doubling() -> None:
    run = sampled_run("r", {"a": [1.0, 0.0]}, 2)
    (task,) = run.tasks
    texts = iter(["x" * 100, "x" * 127, "x" * 128, "x" * 255])
    items = tuple(
        replace(item, responses=tuple(replace(one, response=next(texts), thought_tokens=9) for one in item.responses))
        for item in task.items
    )
    task = replace(task, items=items)
    assert [
        (found.low, found.high, found.n, found.accuracy)
        for found in by_length(task, lambda graded: len(graded.response))
    ] == [
        (64, 128, 2, 1.0),
        (128, 256, 2, 0.0),
    ]
    assert [(found.low, found.n) for found in by_length(task, LENGTHS["tokens of thought"])] == [(8, 4)]
    assert by_length(task, LENGTHS["characters of thought"]) == []  # as they were counted in tokens


def test_thoughts_and_finish_reasons_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A thought is apart from the answer, with its tags, finished or not."""
    run = sampled_run("served", {"a": [1.0, 0.0]}, 1)
    (task,) = run.tasks
    told = [
        {"finish_reason": "stop", "response": "<think>let me $x^2$ see</think>It is 1."},
        {"finish_reason": "length", "truncated": True, "response": "<think>hm, $y$"},
    ]
    items = tuple(
        replace(item, responses=(replace(item.responses[0], **fields),))
        for item, fields in zip(task.items, told, strict=True)
    )
    scores = task.scores | {"thought_tokens": Score(1234.56, 7.89), "unfinished_thinking": Score(0.5, 0.25)}
    scores |= {"truncated": Score(0.5, 0.5), "acc_level_3": Score(1.0, None)}
    run = replace(run, tasks=(replace(task, items=items, scores=scores),))
    print_terminal(summarise([run]))
    shown = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in shown[-3]] == ["benchmark", "thought_tokens", "unfinished_thinking", "truncated"]
    assert [cell.strip() for cell in shown[-1]] == ["a", "1,234.6 ±7.9", "50.0 ±25.0", "50.0 ±50.0"]
    assert [found.n for found in by_length(run.tasks[0], LENGTHS["characters of thought"])] == [1, 1]
    page = html_page(summarise([run]), 10)
    assert "1,234.6 ±7.9" in page  # a mean length, no percentage
    second, first = _Page(page).data["responses"]
    assert plain(first["thought"]["text"]) == "<think>let me $x^2$ see</think>" and plain(first["text"]) == "It is 1."
    assert plain(second["thought"]["text"]) == "<think>hm, $y$" and plain(second["text"]) == ""
    assert second["finish_reason"] == "length" and second["truncated"]
    row = list(csv.DictReader(as_csv([run]).splitlines()))[1]
    assert (row["finish_reason"], row["thought_characters"]) == ("length", "14")


def test_no_cell_of_the_csv_is_a_formula_and_numbers_are_numbers() -> None:
    run = sampled_run('=HYPERLINK("http://x")', {"a": [1.0] * 5}, 1)
    (task,) = run.tasks
    answers = ["=1+1", "-\\frac12", "@SUM(A1)", "-12.5", "\t=1"]
    items = tuple(
        replace(item, responses=(replace(item.responses[0], answer=answer),))
        for item, answer in zip(task.items, answers, strict=True)
    )
    rows = list(csv.DictReader(as_csv([replace(run, tasks=(replace(task, items=items),))]).splitlines()))
    assert [row["answer"] for row in rows] == ["'=1+1", "'-\\frac12", "'@SUM(A1)", "-12.5", "'\t=1"]
    assert {row["run"] for row in rows} == {'\'=HYPERLINK("http://x")'}


def test_long_texts_are_cut_in_the_middle_so_that_the_page_stays_small() -> None:
    run = sampled_run("r", {"a": [0.0] * 300}, 1)
    (task,) = run.tasks
    long = "start <" + "& $x^2$ " * 12_500 + "end"
    items = tuple(
        replace(item, responses=(replace(item.responses[0], response=long if n % 2 else "short"),))
        for n, item in enumerate(task.items)
    )
    run = replace(run, tasks=(replace(task, items=items),))
    page = html_page(summarise([run]), 5000)
    assert len(page.encode()) < 20e6
    responses = _Page(page).data["responses"]
    assert [plain(row["text"]) for row in responses[::2]] == ["short"] * 150
    for row in responses[1::2]:
        assert row["text"][1::2].count("") == 1  # the gap
        assert plain(row["text"]).startswith("start <& ") and plain(row["text"]).endswith("$x^2$ end")
        assert len(plain(row["text"])) + row["left"] == row["chars"] == len(long)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("so $x=4$.", ["so ", "$x=4$", "."]),
        ("It costs $5, or $7 more.", ["It costs $5, or $7 more."]),
        (r"\[a\] and \(b\)", ["", r"\[a\]", " and ", r"\(b\)", ""]),
        ("", [""]),
    ],
)
def test_text_is_parted_into_formulas_and_the_rest(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize(
    ("answer", "is_formula"),
    [(r"\frac{1}{2}", True), ("x^2", True), ("42", False), ("the value of a_b", False), (r"5 \text{ cm}", True)],
)
def test_an_answer_without_delimiters_may_be_a_formula(answer: str, is_formula: bool) -> None:
    assert as_formula(answer) == (["", answer, ""] if is_formula else [answer])


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("$x=4$", "<mrow><mi>x</mi><mo>=</mo><mn>4</mn></mrow>"),
        (r"\(\frac12\)", "<mrow><mfrac><mn>1</mn><mn>2</mn></mfrac></mrow>"),
        (r"$\text{<img src=x onerror=alert(1)>}$", "&lt;img"),
        (r"$\text{&lt;script&gt;}$", "&lt;script&gt;"),
        (r"$a<b$", "<mo>&lt;</mo>"),
        (r"$\begin{matrix}1&2\\3&4\end{matrix}$", "<mtable>"),
    ],
)
def test_formulas_become_mathml(formula: str, expected: str) -> None:
    found = mathml(formula)
    assert found is not None and expected in found


@pytest.mark.parametrize(
    "formula",
    [
        r"$\href{javascript:alert(1)}{x}$",
        r"$\style{background:url(http://x)}{x}$",
        r"$\class{a" + '" onclick="alert(1)' + r"}{x}$",
        r"$\def\a{\a\a}\a$",
        r"$\newcommand{\a}{\b\b}\a$",
        r"$\unknown$",
        r"$\left( 1$",
        "$" + "{" * 400 + "$",
        "$" + "x" * 1001 + "$",
        "$x\x1b[31m$",
    ],
)
def test_what_cannot_be_converted_stays_text(formula: str) -> None:
    assert mathml(formula) is None


@given(st.lists(st.sampled_from([*"{}^_&$%~#'\"<>=()[]| x1", *(rf"\{name}" for name in
    "frac sqrt left right begin{array} end{array} text{ color{ href{ style{ class{ tag{ over choose limits big def "
    "operatorname mathbf verb".split()), "onclick=", "javascript:"]), max_size=60))  # fmt: skip
def test_mathml_has_no_attribute_that_acts(parts: list[str]) -> None:
    found = mathml("".join(parts))
    if found is not None:
        page = _Page(found)
        assert (
            not page.addresses
            and not page.handlers
            and not page.ids
            and "style" not in found.replace("mstyle", "").replace("displaystyle", "")
        )


def test_hostile_answers_references_and_labels_are_escaped_everywhere() -> None:
    run = sampled_run(NASTY, {NASTY: [1.0, 0.0]}, 2)
    (task,) = run.tasks
    graded = {"answer": NASTY, "reason": NASTY, "source": NASTY, "response": NASTY, "flags": (NASTY,)}
    items = tuple(
        replace(item, id=f"{NASTY}{n}", query=NASTY, reference=json.dumps(NASTY), metadata={"level": NASTY},
                responses=tuple(replace(response, **graded) for response in item.responses))
        for n, item in enumerate(task.items)
    )  # fmt: skip
    run = replace(run, tasks=(replace(task, items=items),))
    summary = summarise([run, replace(run, label="<img src=x onerror=alert(2)>")])
    text = html_page(replace(summary, notes=(*summary.notes, NASTY)), 10)
    page = _Page(text)
    assert page.elements["script"] == 2 and page.elements["img"] == 0 and not page.handlers
    assert all(address.startswith("#") for address in page.addresses)
    assert "<script>alert(1)" not in text and "\x1b" not in text
    text = markdown(summarise([run, replace(run, label="other")]))
    assert "<script>" not in text
    assert "\x1b" not in text


def test_the_average_comes_first_on_the_page() -> None:
    page = html_page(summarise([suite_run()]), 1)
    header, ours = page.split("<thead>")[1].split("</thead>")[0], page.split(">ours</a></td>")[1]
    assert re.findall(r"<th>(.*?)</th>", header)[:5] == ["model", "average", "in-domain", "out-of-domain", "MATH"]
    assert re.findall(r"<td>([\d.]+) ", ours)[:4] == ["35.0", "15.0", "45.0", "10.0"]
    assert "@media (prefers-color-scheme: dark)" in page
    assert 'class="scroll" tabindex="0"><table class="scores">' in page
