"""Where the answer is found in a response, and how: (response, answer, source)."""

from __future__ import annotations

import pytest

from dart_tasks.grading import extract, grade
from dart_tasks.grading.extract.cues import find
from dart_tasks.grading.parse.readings import is_value
from dart_tasks.grading.verdict import Reasoning

CASES = [
    # boxes
    (r"Thus the answer is $\boxed{4}$.", "4", "boxed"),
    (r"Thus \[ \boxed{\frac{1}{2}} \]", r"\frac{1}{2}", "boxed"),
    (r"We get $\boxed{7}$ first. Then $\boxed{9}$.", "9", "boxed"),
    (r"so $x = \boxed{1}$ and $y = \boxed{2}$", "1, 2", "boxed"),
    (r"The solutions are $\boxed{1}$ and $\boxed{2}$.", "1, 2", "boxed"),
    (r"$\boxed{1}, \boxed{2}, \boxed{3}$", "1, 2, 3", "boxed"),
    (r"$\boxed{5}$. I repeat: $\boxed{5}$", "5", "boxed"),
    (r"$\boxed{x \in \{1, 2\}}$", r"x \in \{1, 2\}", "boxed"),
    (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}", "boxed"),
    (r"\boxed 5", "5", "boxed"),
    (r"\boxed5", "5", "boxed"),
    (r"\fbox{5}", "5", "boxed"),
    (r"\boxed{5", "5", "boxed"),
    (r"the answer is $\boxed{\frac{1}{2}$.", r"\frac{1}{2}", "boxed"),
    (r"\boxed{} The answer is 6.", "6", "answer_is"),
    (r"\boxed{\boxed{3}}", "3", "boxed"),
    (r"\boxed{\text{The answer is } 5}", "5", "boxed"),
    (r"**Final Answer:** $\boxed{12}$", "12", "boxed"),
    # hashes
    ("2 + 2 = 4\n#### 4", "4", "hashes"),
    ("So 4.\n#### $1,000", "$1,000", "hashes"),
    ("#### The answer is 42", "42", "hashes"),
    ("<think>7?</think> So <answer> 42 </answer>", "42", "answer_tag"),
    ("<answer></answer> The answer is 42.", "42", "answer_is"),
    # final answer
    ("Final Answer: The final answer is $5$. I hope it is correct.", "5", "final_answer"),
    ("Final Answer: The final answer is 5. I hope it is correct.", "5", "final_answer"),
    ("**Final Answer**\n\n5", "5", "final_answer"),
    ("The final answer is: $\\frac{3}{4}$", r"\frac{3}{4}", "final_answer"),
    # the answer is
    ("The answer is 5.", "5", "answer_is"),
    ("The answer is 3.5.", "3.5", "answer_is"),
    ("The answer is: 5", "5", "answer_is"),
    ("The answer is $x = 5$.", "x = 5", "answer_is"),
    ("The answer is **5**.", "5", "answer_is"),
    ("**Answer:** 5", "5", "answer_is"),
    ("**Answer: 5**", "5", "answer_is"),
    ("Answer: 5 apples", "5 apples", "answer_is"),
    ("Answer: (B)", "(B)", "answer_is"),
    ("The correct answer is (B) 12.", "(B) 12", "answer_is"),
    ("The answer is (B), because 3 > 2.", "(B)", "answer_is"),
    ("The answer is 5, which was checked twice.", "5", "answer_is"),
    ("The answer is 5 because 2 + 3 = 5.", "5", "answer_is"),
    ("The answer to the question is 5.", "5", "answer_is"),
    ("The answer is \\[ x^2 + 1 \\]", "x^2 + 1", "answer_is"),
    ("The answer is\n\n$$\\frac{1}{2}$$\n", r"\frac{1}{2}", "answer_is"),
    ("The answer is 4:30 p.m. They left then.", "4:30 p.m", "answer_is"),
    ("The answer is True.", "True", "answer_is"),
    ("Therefore, the answer is that there are $7$ ways to do it.", "7", "answer_is"),
    ("The answer is 4. But wait, that is wrong. The answer is 5.", "5", "answer_is"),
    ("One may think that the answer is 3, but the answer is not 3. The answer is 5.", "5", "answer_is"),
    ("the solution is $x=3$.", "x=3", "answer_is"),
    # text that runs on
    ("The answer is 5.\n\n### Instruction:\nWhat is 2+2?\n\n### Response:\nThe answer is 4.", "5", "answer_is"),
    ("#### 5\n\nQuestion: What is 2+2?\nAnswer: 4\n#### 4", "5", "hashes"),
    ("The answer is $\\boxed{5}$.\nUser: and 2+2?\nAssistant: $\\boxed{4}$", "5", "boxed"),
    ("The answer is 5.<|im_end|>\nThe answer is 6.", "5", "answer_is"),
    (
        "The answer is $\\begin{pmatrix} 1 & 2 \\\\\n3 & 4\n\\end{pmatrix}$. Done.",
        "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
        "answer_is",
    ),
    ("The answer is $\\frac{1}{2}$.\nThe cost was $5$ then.", "\\frac{1}{2}", "answer_is"),
    ("The answer is 11,\\! 111.", "11,\\! 111", "answer_is"),
    (
        "The answer is \\begin{pmatrix}\n1 & 2 \\\\\n3 & 4\n\\end{pmatrix}. Done.",
        "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
        "answer_is",
    ),
    (
        "#### 2 \\begin{pmatrix}\n1 \\\\\n3\n\\end{pmatrix} + C\nDone.",
        "2 \\begin{pmatrix} 1 \\\\ 3 \\end{pmatrix} + C",
        "hashes",
    ),
    ("#### $$\nx = 5\n$$\nDone.", "x = 5", "hashes"),
    ("#### \\begin{pmatrix} 1 &\nis left open", "\\begin{pmatrix} 1 &", "hashes"),
    # words that deny something may be the answer
    ("The answer is not a prime.", "not a prime", "answer_is"),
    ("The answer is not 5.", "The answer is not 5", "whole"),
    ("**Final Answer:** Not invertible", "Not invertible", "final_answer"),
    # what is merely last
    ("\\boxed{12}\n\nActually, I made a mistake. The correct answer is 15.", "15", "answer_is"),
    ("#### 12\n\nWait, the correct answer is 15.", "15", "answer_is"),
    ("\\boxed{12}. This is the number of ways.", "12", "boxed"),
    ("Let us see.\nProblem: find x.\nSolution: we add. The answer is 12", "12", "answer_is"),
    ("I give up.</s>\nThe answer is 12.", "I give up", "whole"),
    ("The answer is 5 apples, so Tom is happy.", "5 apples", "answer_is"),
    ("If the answer is 7 then we get a contradiction.\nSo it must be\n$8$", "8", "last_formula"),
    ("x = 5", "x = 5", "whole"),
    ("5", "5", "whole"),
    ("We add and get $2+3=5$.\nThat is all that we need to know here.", "5", "last_formula"),
    ("First we add 2 and 3.\nThen there are 5 apples left in the basket on the table.", "5", "last_number"),
    ("I do not know.\nI really do not know what to say about this.", "", "none"),
    ("", "", "none"),
]


@pytest.mark.parametrize(("response", "answer", "source"), CASES)
def test_found(response: str, answer: str, source: str) -> None:
    found = find(response, is_value, None, "auto", False)
    assert (found.answer, found.source) == (answer, source)
    assert extract(response) == answer
    assert found.explicit == (source in ("boxed", "hashes", "answer_tag", "final_answer", "answer_is"))


PROSE = "They are independent, as $ad - bc = 3$. The rank\nis thus $2$, and a basis is\n\n$$\n\\{u, v\\}\n$$"


@pytest.mark.parametrize(
    ("response", "correct"),
    [
        (f"We see the following.\nThe answer is {PROSE}.", True),
        (f"**Final Answer:** {PROSE}. I hope it is correct.", True),
        (f"#### {PROSE}", True),
        (f"#### {PROSE}\n\n### Instruction:\nWhat is 2+2?", True),
        (f"If the answer is {PROSE}", False),
        (f"The answer is not {PROSE}", False),
        (f"The answer is 3. It is false that {PROSE}", False),
        (f"The answer is {PROSE} No, it is another.", False),
        (f"$\\boxed{{7}}$ The answer is {PROSE}", False),
        ("The answer is They are independent, as $ad - bc = 3$.", False),
    ],
)
def test_a_reference_of_several_sentences_is_found_word_for_word_behind_a_cue(response: str, correct: bool) -> None:
    assert grade(response, PROSE).correct is correct


def test_truncated_response_is_wrong_unless_it_states_its_answer() -> None:
    stated = grade("The answer is $\\boxed{5}$. Also note that", "5", finish_reason="length")
    unstated = grade("We add and get\n$2+3=5$", "5", finish_reason="length")
    assert stated.correct and stated.flags == ("truncated",)
    assert not unstated.correct and unstated.flags == ("truncated",)
    assert grade("We add and get\n$2+3=5$", "5", finish_reason="stop").correct


@pytest.mark.parametrize(
    "opening",
    [
        "<think>",
        "<thinking>",
        "<Thought>",
        "<reasoning>",
        '<think type="long">',
        "[THINK]",
        "◁think▷",
        "<seed:think>",
        "< think>",
        "<longcat_think>",
        "<think_fast>",
        "<|thinking|>",
    ],
)
def test_a_thought_that_never_closes_is_no_answer(opening: str) -> None:
    verdict = grade(f"{opening}So \\boxed{{7}}? check n=", "7")
    assert (verdict.correct, verdict.explicit, verdict.flags) == (False, False, ("unfinished_thinking",))


@pytest.mark.parametrize(
    "response",
    [
        "<think>7?</think>The answer is 7.",
        "<think>6?</think><think>7?</think>The answer is 7.",
        "<thinking>6?</thinking>\n7",
        "◁think▷6?◁/think▷\\boxed{7}",
        "Thus \\boxed{7}.<|im_end|>\n<|im_start|>assistant\n<think>Next",
    ],
)
def test_a_closed_thought_is_finished(response: str) -> None:
    verdict = grade(response, "7")
    assert (verdict.correct, verdict.flags) == (True, ())


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("He sold pens.\nIn all the total was $204 + $160 + $330 = $694.", "$694"),
        ("The cost is $3 for pens and $4 for paper, so he spends $7 in all.", "$7"),
        ("It costs $30-$20=$10.\nSo he still has the ten that he needs.", "$10"),
        ("He has $1,200 and pays $200.\nHe keeps $1,000 of it in the bank.", "$1,000"),
        ("They cost 5$ and 6$ each.\nSo the two of them cost 11$ together.", "11$"),
        # beside formulas
        ("Pens cost $3 and pads $4, so $x = 3 + 4$.\nThat is all we need to know here, is it not?", "7"),
        ("He pays $20 for $5$ pens.\nSo each of them costs him $4$ in the end, not more.", "4"),
        ("A pen costs $\\$3$ and a pad $\\$4$.\nSo they cost $\\$7$ together, and no more.", "\\$7"),
        ("We are given $a, b, c$ and $2 \\times 3 = 6$.\nSo we see that\n$6 - 2 = 4 $", "4"),
    ],
)
def test_a_dollar_sign_before_an_amount_is_money(response: str, answer: str) -> None:
    assert grade(response, answer).correct
    assert not grade(response, "3").correct


# What stands in a longer text is found as it is alone: (response, question, answer, explicit)
LONGER = (
    "Let us see what is given.\nThere are 7 boxes of $a = 3$ pens, so there are $7 \\cdot 3 = 21$ to begin with.\n\n"
)
OPTIONS = "Which one? (A) 3 (B) 4 (C) 5 (D) 6"
KINDS = [
    ("He has $50 and pays $20, so $50 - $20 = $30 is left.\nA: 30", None, "30", True),
    ("Therefore, 120 - 80 = 40 girls are not in it.", "How many girls are not in it?", "40", False),
    ("So 40 girls are in none of the 3 clubs.", "How many girls are in none?", "40", False),
    ("So 80 of the 200 girls are not in it.", "How many girls are not in it?", "80", False),
    ("So he ran 4 + 5 = 9 miles in the 40 minutes.", "How far did he run?", "9", False),
    ("That leaves her with $60 at the end.", "How much is left?", "60", False),
    ("395 * 66 = <<395*66=26070>>26070 bottles", None, "26070", False),
    ("✅ **42**", None, "42", False),
    ("Answer: Joan gave Tim 13 shells.", None, "13", True),
    ("Answer: The price of a bag after 36 months is $92.", "What is its price?", "92", True),
    ("Thus $x <= 2$ is our answer.", None, "x \\le 2", True),
    ("Multiplying by $6$ gives $5x=30$ and $x=6$.", None, "6", False),
    ("The answer is:\n\n- 42", None, "42", True),
    ("The answers are:\n- $x=2$\n- $x=5$", None, "2, 5", True),
    ("Hence the statement is True.", "Is it true or false?", "True", False),
    ("It is not true.", "Is it true or false?", "False", False),
    ("That corresponds to option B.", OPTIONS, "B", False),
    ("\\boxed{4}. **Answer: B**", OPTIONS, "B", True),
    ("\\boxed{4}. **Answer: B**", OPTIONS, "4", True),
    ("So she makes #### 18 dollars every day at the market.", None, "18", True),
    ("#### Step 3: Add them\nSo that is 12.", None, "12", False),
    ('{"answer": 18, "reasoning": "9 * 2 = 18 of 20"}', None, "18", True),
    ('{"reasoning": "so it is $\\frac{1}{2}$", "answer": "\\frac{1}{2}"}', None, "1/2", True),
    ('```json\n{"answer": [2, 5]}\n```', None, "2, 5", True),
    ("<answer>Joan gave Tim 13 shells.</answer>", None, "13", True),
    ("<solution>9 * 2 = 18, so she makes $18 of it.</solution>", None, "18", True),
    ("<answer>13<answer>", None, "13", True),
    ("答案：2根号3", None, "2\\sqrt{3}", True),
    ("【答案】13", None, "13", True),
    ("$\\boxed{10^n=10^{60}\\text{, so }n=60.}$", None, "60", True),
    ("So $x=\\boxed{3}$ or $x=\\boxed{-3}$.", None, "3, -3", True),
    ("\\boxed{B, D}", OPTIONS, "BD", True),
    ("The answer is -36.\nThis answer is correct.", None, "-36", True),
    ("$\\boxed{5}$\n\n**Problem 2.** What is $2+2$? It is $\\boxed{4}$.", None, "5", True),
    ("$\\boxed{5}$, and with the last one it is $\\boxed{4}$.", None, "4", True),
    ("```python\nprint(17 + 4)\n```\n```output\n21\n```", None, "21", False),
    ("$\\boxed{5}$, not \\boxed{4}", None, "5", True),
    ("It is not 4 but \\boxed{5}.", None, "5", True),
    ("\\boxed{\\frac12} or 0.5", None, "1/2", True),
    ("x = 3 or x = \\boxed{4}", None, "3, 4", True),
    ("The answer is half of 8, which is 4.", None, "4", True),
    ("The answer is 8, a multiple of 4.", None, "8", True),
    ("Some people think it is 5, but the answer is 4.", None, "4", True),
    ("~~5~~ The answer is 4.", None, "4", True),
    (
        "Answer: Ann has 12 pens and buys 7 more, so 19 are there.",
        "Ann has 12 pens and buys 7 more. How many?",
        "19",
        True,
    ),
]


@pytest.mark.parametrize(("response", "question", "answer", "explicit"), KINDS)
def test_kinds_of_documents(response: str, question: str | None, answer: str, explicit: bool) -> None:
    for before in ("", LONGER):
        verdict = grade(before + response, answer, question=question)
        assert (verdict.correct, verdict.explicit) == (True, explicit), (before, verdict)


@pytest.mark.parametrize(
    "response",
    [
        "The answer is more than 18.",
        "The answer is between 15 and 18.",
        "The answer is 18 or 20.",
        "18 is not the answer.",
        "The answer is 20 because 18 + 2 = 20.",
        "\\boxed{\\text{not } 18}",
        "\\boxed{18, 20}",
        "Answer:\n- 18\n- 20",
        '{"answer": "20", "reasoning": "18 + 2"}',
        "<answer>20</answer> and not 18",
        "#### 20\nwhich is 2 more than 18",
        "So she makes 20 dollars out of 18 eggs.",
        "The student's answer is 18. It is 20 instead.",
        "Let us now work out what 18 is for.",
        "The answer is 20.\n\nQ: What is 9 * 2?\nA: The answer is 18.",
    ],
)
def test_a_value_in_passing_is_not_the_answer(response: str) -> None:
    for before in ("", LONGER):
        assert not grade(before + response, "18", question="How many dollars does she make?").correct


def test_a_text_that_breaks_off_at_a_cue_ends_in_no_reference() -> None:
    assert not grade("We think it over. " * 20 + "The answer is", "They are linearly independent, as $a = 0$.").correct


@pytest.mark.parametrize(
    ("response", "reasoning", "opened", "answer"),
    [
        ("<think>6</think> The answer is 7.", "auto", False, "7"),
        ("<think>6</think> The answer is 7.", None, False, "7"),
        ("The answer is 7. <r>The answer is 6.</r>", ("<r>", "</r>"), False, "7"),
        ("<r>The answer is 6", ("<r>", "</r>"), False, ""),
        ("<think>The answer is 6", ("<r>", "</r>"), False, "6"),
        ("<think>The answer is 6", None, False, "6"),
        ("The answer is 6, or not?</think> The answer is 7.", "auto", True, "7"),
        ("The answer is 6, or not?</think> The answer is 7.", "auto", False, "7"),
        ("The answer is 6", "auto", True, ""),
        ("The answer is 6", "auto", False, "6"),
        ("<think>\n<think>5</think>The answer is 7.", "auto", False, "7"),
        ("<think>5</think>So<think>6</think>The answer is 7.", "auto", False, "7"),
        ("The answer is 7.<think>6</think>", "auto", False, "7"),
        (
            "<|channel|>analysis<|message|>5?<|end|><|start|>assistant<|channel|>final<|message|>It is 7.",
            "auto",
            False,
            "7",
        ),
        ("<|channel|>analysis<|message|>The answer is 5", "auto", False, ""),
        ("analysisMaybe 5.assistantfinalIt is 7.", "auto", False, "7"),
        ("The tag `<think>` is not used. The answer is 7.", "auto", False, "7"),
    ],
)
def test_reasoning(response: str, reasoning: Reasoning, opened: bool, answer: str) -> None:
    found = find(response, is_value, None, reasoning, opened)
    assert (found.answer, found.unfinished) == (answer, not answer)
