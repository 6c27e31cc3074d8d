"""Sample logs: the form of a graded item is read as it was written, and other tasks' samples are read as cases."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dart_tasks.cases import read_cases
from dart_tasks.grading import Case, Verdict, grade
from dart_tasks.harness.filters import grade_responses
from dart_tasks.harness.graded import GradedItem
from dart_tasks.harness.protocols import Majority
from dart_tasks.harness.samples import read_samples
from dart_tasks.harness.served import Beside, ServedText, beside_of, whole
from dart_tasks.harness.thoughts import lengths
from dart_tasks.report.regrade import regrade

RIGHT, WRONG = (grade(f"So it is \\boxed{{{answer}}}.", "½", "math") for answer in ("0.5", "\\text{é\u2028}"))


@pytest.mark.parametrize(
    "item",
    [
        GradedItem((RIGHT,)),
        GradedItem((WRONG,), loose=(True,), truncated=(False,)),
        GradedItem((RIGHT, WRONG), (True, False), Majority(0.5, "0.5", 1), False, (True, True)),
        GradedItem((Verdict(False, "", "none", False, "no answer found", ("timeout", "truncated")),)),
        GradedItem(
            (RIGHT, WRONG), finish_reasons=("stop", None), thoughts=(None, "\ud7ff <think>"), truncated=(True, False)
        ),
        GradedItem((), finish_reasons=("length",)),  # --predict_only
    ],
)
def test_what_is_written_is_read_again(item: GradedItem) -> None:
    assert GradedItem.from_json(item.to_json()) == item
    assert set(json.loads(item.to_json())) == {name for name, value in vars(item).items() if value is not None}


def test_the_log_of_an_earlier_version_is_read() -> None:
    verdict = (
        '{"correct": true, "answer": "5", "source": "boxed", "explicit": true, "reason": "same text", "flags": ["a"]}'
    )
    item = GradedItem.from_json(f'{{"verdicts": [{verdict}], "truncated": [false]}}')
    assert item == GradedItem((Verdict(True, "5", "boxed", True, "same text", ("a",)),), truncated=(False,))


@pytest.mark.parametrize("text", ["lol", "7", "[]", "{}", '{"verdicts": 1}', '{"verdicts": [{"correct": true}]}'])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a graded item"):
        GradedItem.from_json(text)


def test_another_task_s_sample_is_a_case_with_the_answer_of_its_target(tmp_path: Path) -> None:
    row = {"doc_id": 3, "doc": {"question": "2+3?"}, "target": "2+3 is 5.\n#### 5", "resps": [["5"], ["6"]]}
    path = tmp_path / "samples.jsonl"
    path.write_text(
        "".join(json.dumps({**row, "filter": name}) + "\n" for name in ("strict-match", "flexible-extract"))
    )
    cases = [Case(text, "5", "gsm8k", "2+3?") for text in ("5", "6")]
    assert list(read_cases(path, "gsm8k")) == [("3/0", cases[0]), ("3/1", cases[1])]
    (sample,) = read_samples(path)
    assert (sample.filter, sample.doc["reference"], sample.responses) == ("strict-match", '"5"', ("5", "6"))


def served(text: str, reason: str | None = "stop", thought: str | None = None, **counts: int) -> ServedText:
    return ServedText.of(text, Beside(reason, thought, **counts))


def test_what_a_server_told_survives_lm_eval_s_cache_and_its_log(tmp_path: Path) -> None:
    texts = (served("It is 5.", "length"), served("", "length", "5? No"), served("6"))
    assert [beside_of(text) for text in copy.deepcopy(texts)] == [text.beside for text in texts]
    doc = {"id": "a", "query": "2+3?", "reference": '"5"'}
    (item,) = grade_responses([texts], [doc])
    row = {"doc": doc, "resps": [list(texts)], "filter": "graded", "filtered_resps": [item.to_json()]}
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (sample,) = read_samples(path)
    assert [(text, beside_of(text)) for text in sample.responses] == [(text, text.beside) for text in texts]
    assert regrade(path).changes == ()
    told = [(case.response, case.finish_reason, case.thought_opened) for _, case in read_cases(path)]
    assert told == [("It is 5.", "length", False), ("", "length", True), ("6", "stop", False)]


@pytest.mark.parametrize(
    ("response", "correct", "flags"),
    [
        (served("So \\boxed{5}."), True, ()),
        (served("So \\boxed{5}.", "length"), True, ("truncated",)),
        (served("2 + 3 = 5, and 5", "length"), False, ("truncated",)),
        (served("So 6.", thought="\\boxed{5}"), False, ()),  # a thought is never graded
        (served("", "length", "\\boxed{5}"), False, ("truncated", "unfinished_thinking")),
        (served(" ", "stop", "</think> \\boxed{5}"), False, ("unfinished_thinking",)),
        (served("\\boxed{5}", thought="6 <think> <|im_end|>"), True, ()),
    ],
)
def test_the_thought_that_a_server_gives_apart_is_not_graded(
    response: ServedText, correct: bool, flags: tuple[str, ...]
) -> None:
    ((verdict,),) = (item.verdicts for item in grade_responses([[response]], [{"query": "2+3?", "reference": '"5"'}]))
    assert (verdict.correct, verdict.flags) == (correct, flags)


def test_responses_that_differ_in_their_thoughts_alone_are_not_identical() -> None:
    texts = [served("", "length", thought) for thought in ("a", "b")]
    (item,) = grade_responses([texts], [{"query": "2+3?", "reference": '"5"'}])
    assert item.identical is False


@pytest.mark.parametrize(
    ("response", "count", "expected"),
    [
        (served("abc", n_tokens=7), None, (0, 7)),
        (served("abc", thought="ab cd", n_tokens=9, n_thought_tokens=4), None, (4, 5)),
        (served("abc", thought="abc", n_tokens=9), len, (3, 3)),
        (served("abc", thought="abc", n_tokens=9), None, (4, 5)),  # shared out by characters
        (served("<think>a</think>b", n_tokens=9), len, (8, 1)),
        (served("", "length", "abc", n_tokens=9), None, (9, 0)),
        ("abc", None, None),
        ("abc", len, (0, 3)),
    ],
)
def test_lengths(response: str, count: Callable[[str], int] | None, expected: tuple[int, int] | None) -> None:
    assert lengths(response, count) == expected


def test_reports_show_the_thought_before_the_response() -> None:
    assert whole(served("5", thought="2+3")) == "<think>2+3</think>5"
    assert whole(served("", "length", "2+3")) == "<think>2+3"
    assert whole(served("5")) == whole("5") == "5"
