"""Names beside an answer: what the question asks for is no part of the value, what it calls something else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dart_tasks.grading import equal, grade
from dart_tasks.grading.question import asked_of
from dart_tasks.problems import load

COPRIME = r"Let $m$ and $n$ be coprime with $\frac mn = \frac{12}{30}$. Find $m+n$."
CIRCLE = r"The chord $AB$ and the tangent $CD$ meet. Find the lengths of $AB$ and $CD$."
SYSTEM = r"Solve the system for the ordered pair $(x,y)$."
LINE = r"The line $y=2x+b$ passes through $(h,10)$ and $(0,-4)$. Solve for $h$."

QUESTIONS: dict[str, tuple[str, ...]] = {  # what is asked for
    COPRIME: ("m+n",),
    CIRCLE: ("AB", "CD"),
    SYSTEM: ("(x,y)",),
    LINE: ("h",),
    "What is $P(X=2)$?": ("P(X=2)",),
    "Find the smallest possible value of $k$ for which it holds.": ("k",),
    r"Compute \[\sum_{k=1}^{9} k.\]": (r"\sum_{k=1}^{9} k",),
    "Find the constants $a$, $b$, and $c$.": ("a", "b", "c"),
    "Find the area of triangle $ABC$.": (),
    "How many integers $n$ are there?": (),
    "Find the sum of the values of $k$.": (),
    "In what ratio $a:b$ are they mixed?": ("a:b",),
    "Solve $2x = 4$.": (),
}

SAME = [  # question, reference, answer
    (COPRIME, "7", "m+n=7"),
    (COPRIME, "7", "n + m = 7"),
    (COPRIME, "7", "m+n = 2+5 = 7"),
    (COPRIME, "7", "7 = m + n"),
    (COPRIME, "7", "S = 7"),
    (COPRIME, "7", "x = 7"),
    ("What is $P(X=2)$?", "0.3", "P(X = 2) = 0.3"),
    ("What is $P(X=2)$?", "0.3", r"\Pr(X=2)=\frac{3}{10}"),
    ("Find $f(3)$.", "10", "f(3) = 10"),
    ("Find $f(3)$.", "10", "f(3) = 3^2+1 = 10"),
    (r"Compute $\dfrac{a}{b}$.", "7/3", r"\frac ab = \frac73"),
    (r"Find $\angle ABC$.", "40", r"\angle ABC = 40^\circ"),
    (r"Compute $\det(\mathbf{A})$.", "5", r"\det(\mathbf{A}) = 5"),
    (r"Compute \[\sum_{k=1}^{999} k.\]", "499500", r"\sum_{k=1}^{999} k = 499500"),
    (CIRCLE, "4, 5", "AB=4, CD=5"),
    (CIRCLE, "4, 5", "CD = 5, AB = 4"),
    (CIRCLE, "4, 5", r"AB=4\text{ and }CD=5"),
    (CIRCLE, "(4, 5)", "AB=4, CD=5"),
    (SYSTEM, "(1,2)", "x=1, y=2"),
    (SYSTEM, "(1,2)", "y=2, x=1"),
    (SYSTEM, "(1,2)", "(y,x) = (2,1)"),
    (SYSTEM, "(1,2)", r"\begin{aligned}x&=1\\y&=2\end{aligned}"),
    (SYSTEM, "(1,2)", r"\begin{cases} x = 1, \\ y = 2. \end{cases}"),
    (LINE, "7", "(h = 7, b = -4)"),
    (LINE, "7", "b = -4, h = 7"),
    ("In what ratio $a:b$ are they mixed?", "7:32", r"\frac{a}{b} = \frac{7}{32}"),
    ("In what ratio $a:b$ are they mixed?", "7:32", "a:b = 14:64"),
    ("In what ratio $a:b$ are they mixed?", "7:32", "a : b = 7 : 32"),
    ("Find the maximum and the minimum.", r"\text{max } 9, \text{min } -7", "maximum 9, minimum -7"),
    ("Find the maximum and the minimum.", r"\text{max } 9, \text{min } -7", r"\min = -7, \max = 9"),
    ("Find the maximum and the minimum.", r"\text{max } 9, \text{min } -7", "9, -7"),
    ("Find the maximum.", "2", r"\max\{1, 2\}"),
    ("For which $a$ is it degenerate?", "1, -2", r"a = 1 \text{ or } a = -2"),
    ("Find the area of triangle $ABC$.", "6", "A = 6"),
    ("Find $AB$.", "6", "x = 6"),
    ("Find $AB$.", "6", "|AB| = 6"),
    (r"Find $\theta$ and $f(2)$.", "3, 1", r"\theta = 3, f(2) = 1"),
    ("Find both.", "3, 1", r"\theta = 3,\quad f(2) = 1"),
    ("Find both.", r"$\alpha=1$ and $\beta=4$.", "alpha = 1, beta = 4"),
    ("Find the length of segment $AB$.", "6", r"\overline{AB} = 6\text{ cm}"),
    ("Find $p+q$.", "11", "p = 4, q = 7, p+q = 11"),
    ("Find the probability $P(A)$.", "1/3", r"P(A) = \frac13"),
    ("Find $P(A|B)$.", "1/3", r"P(A|B) = \frac13"),
    (r"Find $\frac{dy}{dx}$.", "2x", "y' = 2x"),
    ("Find the inverse $f^{-1}(x)$.", "3x", "f^{-1}(x) = 3x"),
    ("Find the coordinates of $P$.", "(1,2)", "P(1,2)"),
    ("Find the coordinates of $P$.", "(1,2)", "P = (1,2)"),
    ("Find the vertex.", "(1,2)", "V(1,2)"),
    ("Find the area of the triangle.", "12", "[ABC] = 12"),
    (r"Evaluate $\int_0^1 x\,dx$.", "1/2", r"\int_0^1 x\,dx = \frac12"),
    ("Find $S_{10}$.", "12", "S_{10} = 12"),
    (r"Find $\angle ABC$.", "40", r"\angle B = 40^\circ"),
]  # fmt: skip

DIFFERENT = [
    (COPRIME, "7", "m=7"),
    (COPRIME, "7", "m-n=7"),
    (COPRIME, "7", "m+n=8"),
    (COPRIME, "7", "m+2n=7"),
    (COPRIME, "7", "m = 2, n = 5"),
    ("What is $P(X=2)$?", "0.3", "P(X=1) = 0.3"),
    ("What is $P(X=2)$?", "0.3", "P(X=2) = 0.4"),
    ("Find $f(3)$.", "10", "f(2) = 10"),
    ("Let $f(x)=x^2+c$. Find $f(3)$.", "10", "c = 10"),
    ("Let $z=5-12i$. Find $|z|$.", "13", "z = 13"),
    (r"Find $\sin\theta$.", "4/5", r"\cos\theta = \frac45"),
    (r"Compute $\det(\mathbf{A})$.", "5", r"\det(\mathbf{B}) = 5"),
    (CIRCLE, "4, 5", "AB=5, CD=4"),
    (CIRCLE, "4, 5", "CD=4, AB=5"),
    (SYSTEM, "(1,2)", "x=2, y=1"),
    (SYSTEM, "(1,2)", "(y,x) = (1,2)"),
    (SYSTEM, "(1,2)", r"\begin{aligned}x&=2\\y&=1\end{aligned}"),
    (LINE, "7", "b = 7"),
    (LINE, "7", "(h = -4, b = 7)"),
    ("In what ratio $a:b$ are they mixed?", "7:32", "b:a = 7:32"),
    ("In what ratio $a:b$ are they mixed?", "7:32", r"\frac{b}{a} = \frac{7}{32}"),
    ("Solve $x^2-x-20=0$ for $x$.", "x=-4,5", "y=-4,5"),
    ("Find the maximum and the minimum.", r"\text{max } 9, \text{min } -7", r"\text{max } -7, \text{min } 9"),
    ("For which $x$ is it defined?", r"x\ge 6", r"y\ge 6"),
    ("Find $AB$.", "6", "BC = 6"),
    ("Find both.", "3, 1", r"\theta = 1, f(2) = 3"),
    ("Find both.", r"$\alpha=1$ and $\beta=4$.", "alpha = 4, beta = 1"),
    (r"Find $\angle A$.", "40", r"\angle B = 40^\circ"),
    ("Find $p+q$.", "11", "p = 11, q = 7, p+q = 18"),
    ("Find the probability $P(A)$.", "1/3", r"P(B) = \frac13"),
    ("Find the probability $P(A)$.", "1/3", r"P(\overline{A}) = \frac13"),
    ("Find $P(A|B)$.", "1/3", r"P(B|A) = \frac13"),
    (r"Find $\frac{dy}{dx}$.", "2x", r"\frac{d^2y}{dx^2} = 2x"),
    ("Find $y''$.", "2", "y' = 2"),
    ("Find the inverse $f^{-1}(x)$.", "3x", "f(x) = 3x"),
    ("Find the coordinates of $P$.", "(1,2)", "Q = (1,2)"),
    ("Find $S_{10}$.", "12", "S_9 = 12"),
    ("Find $a_5$.", "12", "a_4 = 12"),
    (r"Evaluate $\int_0^1 x\,dx$.", "1/2", r"\int_0^1 x\,dx = \frac13"),
]  # fmt: skip

OPTIONS = "Which hold?\nA. $p$\nB. $q$\nC. $r$\nD. $s$"
CHOICES = [  # reference, right answers, wrong answers, where the question lists options
    ("B", ("B", "(B)", r"\text{B }(a=1)", "B. 25", "B) 25"), ("C", r"\text{C }(a=1)", "AB", "A, B")),
    ("ACD", ("A, C, D", "A, C and D", "D, C, A", "A、C、D", "(A), (C), (D)", "ACD"), ("A, C", "ABCD", "A, B, D")),
]  # fmt: skip

ROUNDED = [  # question, reference, right answers, wrong answers
    ("What charge? Give three significant figures.", "1.3051382506761463e-14",
     ("1.31e-14", r"1.31\times10^{-14}", r"1.31\cdot10^{-14}\text{ C}"), ("1.30e-14", "1.3e-14", "1.31e-13")),
    (r"Compute $\sqrt{55}$ to two decimal places.", "7.416198", ("7.42", r"\approx 7.42"), ("7.41", "7.4", "7.43")),
    ("Round the mean to the nearest integer.", "18.897", ("19", "18.897"), ("18", "18.9", "20")),
    ("How high, to the nearest tenth of a metre?", r"\sqrt{152.4}", ("12.3", r"12.3\text{ m}"), ("12.4", "12")),
    ("What does it cost, to the nearest cent?", "4.1666", ("4.17", "$4.17"), ("4.16", "4.2")),
    ("What is the height?", "12.3456", ("12.3456",), ("12.3", "12.35")),
]  # fmt: skip


@pytest.mark.parametrize(("question", "asked"), QUESTIONS.items())
def test_what_a_question_asks_for(question: str, asked: tuple[str, ...]) -> None:
    assert asked_of(question) == asked


@pytest.mark.parametrize(("question", "reference", "answer"), SAME)
def test_the_asked_name_means_nothing(question: str, reference: str, answer: str) -> None:
    assert equal(reference, answer, "math", question)


@pytest.mark.parametrize(("question", "reference", "answer"), DIFFERENT)
def test_another_name_or_value_is_another_answer(question: str, reference: str, answer: str) -> None:
    assert not equal(reference, answer, "math", question)


@pytest.mark.parametrize(("reference", "right", "wrong"), CHOICES)
def test_choices_with_their_values_and_several(reference: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    assert [answer for answer in right if not equal(reference, answer, "math", OPTIONS)] == []
    assert [answer for answer in wrong if equal(reference, answer, "math", OPTIONS)] == []


@pytest.mark.parametrize(("question", "reference", "right", "wrong"), ROUNDED)
def test_an_ordered_rounding(question: str, reference: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    assert [answer for answer in right if not equal(reference, answer, "math", question)] == []
    assert [answer for answer in wrong if equal(reference, answer, "math", question)] == []


ENDS_IN_E = re.compile(
    r"\b(?:find|compute|what is|determine|evaluate|calculate)(?: the value of)?\s*"
    r"(?:\$\$?([^$]+)\$\$?|\\\[(.+?)\\\])[.?\s]*$",
    re.DOTALL | re.IGNORECASE,
)


@pytest.mark.slow
def test_the_asked_expression_before_its_value_in_a_box(shared_data: Path) -> None:
    """MATH items that end "Find $E$", "Compute $E$", "What is $E$" (or another such verb), with E no equation."""
    verdicts, twins = [], []
    for problem in load("math", data_dir=shared_data / "benchmarks"):
        question = re.sub(r"\[asy\].*?\[/asy\]", "", problem.query, flags=re.DOTALL).strip()
        match = ENDS_IN_E.search(question)
        asked = (match[1] or match[2]).strip(" \n.,;?") if match else ""
        if match and "=" not in re.sub(r"\([^()]*\)|\{[^{}]*\}", "", asked):
            reference = str(problem.reference)
            verdicts.append(grade(rf"$\boxed{{{asked} = {reference}}}$", reference, "math", problem.query).correct)
            twins.append(grade(rf"$\boxed{{{asked} = {reference} + 1}}$", reference, "math", problem.query).correct)
            twins.append(grade(rf"$\boxed{{{asked} - 7 = {reference}}}$", reference, "math", problem.query).correct)
    assert len(verdicts) > 1_000
    assert sum(verdicts) / len(verdicts) >= 0.98
    assert sum(twins) / len(twins) <= 0.002
