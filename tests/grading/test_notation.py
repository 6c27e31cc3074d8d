"""Rewrites that real responses use, and near misses beside them; all items are written for these tests."""

from __future__ import annotations

import pytest

from dart_tasks.grading import equal, grade

SAME: dict[str, list[str]] = {  # reference: other ways of writing it
    "14": ["exactly 14", "approximately 14", r"\color{red}{14}", "14\\ ", r"14 \checkmark", "14 ✓", "14 (not 15)"],
    "9": ["9 (approximately)", r"9 \text{ (since } 3^2 = 9)", r"\text{(B) } 9", "B. 9", r"\textbf{(B)}\ 9", "9 or 9.0"],
    "2000000": ["two million", "2 million"],
    "100": ["a hundred"],
    r"\frac{3}{5}": ["three fifths", "3/5 (or 0.6)", r"\frac35, or 60%", "3 in 5", r"\frac{3}{5} (60\%)"],
    r"\frac{7}{2}": ["three and a half"],
    "-9": ["negative nine", "minus 9"],
    r"\frac{1}{3}": [r"33\frac{1}{3}\%", "0.333..."],
    "45": [r"_{10}C_2", "C(10,2)", "10C2"],
    "$7.25": ["7 dollars and 25 cents", "USD 7.25", r"7.25\$", r"\text{\$}7.25"],
    "31": ["€31", "31€", "US$31", "Rs. 31", "31 sq ft"],
    r"15\text{ cm}": ["150 mm", "0.15 m"],
    r"3\text{ hours}": ["180 minutes"],
    r"40\text{ miles per hour}": [r"40\frac{\text{miles}}{\text{hour}}", r"40 \frac{\mathrm{mi}}{\mathrm{h}}"],
    r"45^\circ": [r"\frac{\pi}{4}\text{ radians}"],
    r"22.5^\circ": [r"22\frac12^\circ"],
    r"\log_2 7": ["log2(7)"],
    r"\cos\theta": ["cos(theta)"],
    r"3e^{i\pi/6}": [r"3\operatorname{cis} 30^\circ"],
    "1021_3": ["1021_{(3)}", "1021 (base 3)", r"1021\text{ in base }3", r"\text{1021}_3"],
    r"\frac{x}{x-4}": [r"\frac{x}{x-4}, x \neq 4", r"\frac{x}{x-4} \text{ for } x \ne 4"],
    "(4,-1)": [
        "the point (4,-1)", r"\{(4,-1)\}", "A(4,-1)", r"\begin{cases}x=4\\y=-1\end{cases}",
        r"\left\{\begin{array}{l}x=4\\y=-1\end{array}\right.",
    ],
    "A, C": ["(A), (C)", r"\text{(A), (C)}", "C and A", r"\text{A and C}"],
    "[1,6)": [r"\{x | 1 \le x < 6\}", "x in [1, 6)"],
    r"(-\infty,-2]\cup(5,\infty)": [r"\mathbb{R}\setminus(-2,5]", r"\{x: x\le -2 \text{ or } x>5\}"],
    r"$t>5$ or $t \leqslant-2:(-\infty,-2] \cup(5, \infty)$": [r"t \le -2 \text{ or } t > 5"],
    r"(-\infty,\infty)": ["every real number", r"\{x|x\in\mathbb{R}\}"],
    r"x \neq 6": [r"\mathbb{R} - \{6\}", r"x \in \mathbb{R}, x \ne 6", r"\{x|x\neq 6\}"],
    r"\infty": ["infinite", r"\text{infinity}", r"diverges to \infty"],
    r"-\infty": ["negative infinity"],
    "no solution": ["The system has no solution"],
    "DNE": ["The limit does not exist"],
    "diverges": ["diverges by the ratio test"],
    "parallel": ["The lines are parallel"],
    r"\begin{pmatrix} 5 & 6 \\ 7 & 8 \end{pmatrix}": [
        r"\begin{pmatrix} 5 & 6 \\[2pt] 7 & 8 \end{pmatrix}",
        r"\mathbf{A}^{-1} = \begin{bmatrix} 5 & 6 \\ 7 & 8 \end{bmatrix}",
        r"\begin{pmatrix} 5 & 7 \\ 6 & 8 \end{pmatrix}^T",
    ],
    r"\langle 5,-6 \rangle": [r"5\mathbf{i}-6\mathbf{j}", "[5,-6]", "<5,-6>", "(5,-6)^T"],
    "4": [r"4 \pmod{9}", r"x \equiv 4 \pmod{9}", "4 (mod 9)"],
    "2:5:7": ["4:10:14"],
    r"49\pi\text{ square inches}": [r"49\pi\,\mathrm{in}^2"],
    "f(x) = 3x": ["f(x) = 3x for all x", r"f(x) = 3x, \forall x \in \mathbb{R}"],
}  # fmt: skip
DIFFERENT: dict[str, list[str]] = {
    "14": ["> 14", "15 (not 14)", "14 or 14.5", r"\text{(B) } 15", r"\text{(14) } 15"],
    r"20^\circ C": [r"20^\circ F"],
    r"\log_2 6": [r"\log_{26}"],
    r"\lfloor\log_2 n\rfloor": [r"\lfloor \log_2 (n+1) \rfloor"],
    "(3,-2)": ["(3,-2]"],
    "A, C": ["A or D", "(A), (D)", "A", "A, B, C"],
    r"\text{(C)}": ["(C) or (D)"],
    "[2,8]": ["2,8"],
    "2, 8": ["[2,8]"],
    "2:5:7": ["2:7:5", "2:5"],
    r"\frac{c}{a}": [r"\frac{d}{a}"],
    r"15\text{ cm}": ["15 mm", "150 m"],
    r"3\text{ hours}": ["180"],
    r"x \equiv 4 \pmod{9}": [r"4 \pmod{7}"],
    r"\langle 5,-6 \rangle": [r"5\mathbf{i}+6\mathbf{j}"],
    r"\frac{x}{x-4}, x \neq 4": [r"\frac{x}{x+4}", r"\frac{x}{x-4}, x \ne 5"],
    r"\frac{x^3}{3}-\sin x+C": [
        r"\frac{x^3}{3}+\sin x+C", r"\frac{x^3}{3}-2\sin x+C", r"\frac{x^3}{3}-\sin x+2C", r"\frac{x^3}{3}-\sin x+C+x",
        r"\frac{x^3}{3}-\sin x", r"\frac{x^2}{3}-\sin x+C", r"\frac{x^3}{3}-\sin x+1",
    ],
    "y = x^3+C": ["y = 2x^3+C", "y = Cx^3", "y = x^3", "y = x^3+1", "x = y^3+C"],
    "xe^y+y^2=C": ["xe^y+2y^2=C", "xe^y-y^2=C", "xe^y+y^2=1"],
}  # fmt: skip


@pytest.mark.parametrize(("reference", "answer"), [(one, other) for one, others in SAME.items() for other in others])
def test_same(reference: str, answer: str) -> None:
    assert equal(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"), [(one, other) for one, others in DIFFERENT.items() for other in others]
)
def test_different(reference: str, answer: str) -> None:
    assert not equal(reference, answer)


def test_the_question_decides_about_bases_choices_and_order() -> None:
    assert equal("33", "33_5", question="Write 18 in base 5.")
    assert not equal("33", "33_5", question="How many are there?")
    assert equal("b", "(b) 4", "deepmind_mathematics", question="Which is smallest? (a) 7 (b) 4")
    assert equal("-1, 3", "3, -1", "deepmind_mathematics", question="Solve for x.")
    assert equal("-1, 3", "[3, -1]", "deepmind_mathematics", question="Solve for x.")
    assert not equal("-1 3", "3 -1", "deepmind_mathematics", question="Sort 3, -1.")
    assert equal(True, "T", "theoremqa") and not equal(True, "F", "theoremqa")


@pytest.mark.parametrize(
    ("response", "reference", "correct"),
    [
        (r"<think>maybe \boxed{3}</think> The answer is 4.", "4", True),
        (r"so $x = -\boxed{6}$", "-6", True),
        (r"so $x = -\boxed{6}$", "6", False),
        (r"\[ \boxed{1} \quad \text{and} \quad \boxed{2} \]", "1, 2", True),
        (r"\boxed{12}. Common mistake: the answer is 15 if one forgets to halve.", "12", True),
        (r"\boxed{12}. The incorrect answers are due to signs.", "12", True),
        ("So the answer is clearly 5.", "5", True),
        ("Therefore, the series diverges.", "diverges", True),
        ("Hence, x = 2 and y = 3.", "(2,3)", True),
        (r"The answer is $14$ $\blacksquare$", "14", True),
    ],
)
def test_what_a_response_states(response: str, reference: str, correct: bool) -> None:
    assert grade(response, reference).correct == correct
