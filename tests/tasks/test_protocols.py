"""mean@k, pass@k and maj@k from verdicts."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dart_tasks.harness.protocols import majority, pass_at_k, pass_ks


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_k_subsets_with_a_right_one(correct: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(correct)))
    subsets = list(combinations(correct, k))
    assert pass_at_k(len(correct), sum(correct), k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("n", "ks"), [(1, ()), (2, (2,)), (4, (2, 4)), (6, (2, 4, 6)), (8, (2, 4, 8))])
def test_the_ks_reported(n: int, ks: tuple[int, ...]) -> None:
    assert pass_ks(n) == ks


@pytest.mark.parametrize(
    ("classes", "correct", "credit"),
    [
        ([[0, 1], [2]], [True, True, False], 1.0),
        ([[0, 1], [2]], [False, False, True], 0.0),
        ([[0], [1]], [True, False], 0.5),  # a tie of two, the right one among them
        ([[0], [1], [2]], [False, False, True], 1 / 3),
        ([], [False, False], 0.0),  # no response gave an answer
    ],
)
def test_majority_credit(classes: list[list[int]], correct: list[bool], credit: float) -> None:
    assert majority(classes, ["a", "b", "c"], correct).credit == pytest.approx(credit)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 3), st.integers(0, 1000))
def test_credit_does_not_depend_on_the_order_of_samples(answers: list[int], right: int, seed: int) -> None:
    def credit(sequence: list[int]) -> float:
        groups = [[i for i, a in enumerate(sequence) if a == value] for value in sorted(set(sequence))]
        return majority(groups, [str(a) for a in sequence], [a == right for a in sequence]).credit

    shuffled = answers.copy()
    Random(seed).shuffle(shuffled)
    assert credit(answers) == credit(shuffled)


@pytest.mark.parametrize(
    ("module", "said", "then"),
    [
        ("lm_eval.models.vllm_causallms", None, True),
        ("lm_eval.models.vllm_causallms", False, False),
        ("lm_eval.models.huggingface", None, None),
    ],
)
def test_thinking_is_on_where_vllm_would_tell_the_template_none(
    module: str, said: bool | None, then: bool | None
) -> None:
    pytest.importorskip("lm_eval")
    from dart_tasks.harness.task import _let_think

    class Model:
        enable_thinking = said

        def apply_chat_template(self) -> None: ...

    Model.__module__ = module
    model = Model()
    _let_think(model.apply_chat_template)
    assert model.enable_thinking is then
