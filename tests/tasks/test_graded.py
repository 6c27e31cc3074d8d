"""The logged form of a graded item: what is written is read again, and what an earlier version wrote too."""

from __future__ import annotations

import json

import pytest

from dart_tasks.grading import Verdict, grade
from dart_tasks.harness.graded import GradedItem
from dart_tasks.harness.protocols import Majority

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
