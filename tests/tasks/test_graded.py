"""Sample logs: the form of a graded item is read as it was written, and other tasks' samples are read as cases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dart_tasks.cases import read_cases
from dart_tasks.grading import Case, Verdict, grade
from dart_tasks.harness.graded import GradedItem
from dart_tasks.harness.protocols import Majority
from dart_tasks.harness.samples import read_samples

RIGHT, WRONG = (grade(f"So it is \\boxed{{{answer}}}.", "½", "math") for answer in ("0.5", "\\text{é\u2028}"))


@pytest.mark.parametrize(
    "item",
    [
        GradedItem((RIGHT,)),
        GradedItem((WRONG,), loose=(True,), truncated=(False,)),
        GradedItem((RIGHT, WRONG), (True, False), Majority(0.5, "0.5", 1), False, (True, True)),
        GradedItem((Verdict(False, "", "none", False, "no answer found", ("timeout", "truncated")),)),
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
