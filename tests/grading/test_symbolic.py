"""Computer algebra as the second opinion: what it decides, what bounds it, and that it is the same wherever it runs."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_tasks.grading import Case, GradingPool, equal, grade
from dart_tasks.grading.run.worker import SYMBOLIC_S

EQUAL = [
    (r"\frac{1}{3}", r"\int_0^1 x^2\,dx"),
    (r"\frac{1}{4}", r"\int_0^1\int_0^1 xy\,dx\,dy"),
    (r"\ln 2", r"\int_1^2 \frac{dx}{x}"),
    (r"\frac{\pi}{2}", r"\int_0^\infty \frac{\sin x}{x}\,dx"),
    ("e", r"\lim_{n\to\infty}\left(1+\frac{1}{n}\right)^n"),
    (r"\infty", r"\lim_{x\to 0^+}\frac{1}{x}"),
    ("3x^2", r"\frac{d}{dx}(x^3)"),
    (r"\frac{\pi^2}{6}", r"\sum_{n=1}^\infty \frac{1}{n^2}"),
    (r"\frac{1}{1-x}", r"\sum_{n=0}^\infty x^n"),
    (r"\frac{2}{\pi}", r"\prod_{k=1}^\infty\left(1-\frac{1}{4k^2}\right)"),
    (r"\begin{pmatrix}7&10\\15&22\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^2"),
    (r"\begin{pmatrix}-2&1\\3/2&-1/2\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^{-1}"),
    ("(3,7)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}1\\1\end{pmatrix}"),
    ("-2", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"),
    (r"[0,1)\cup(1,2]", r"[0,2]\setminus\{1\}"),
    (r"[0,1)\cup(1,2]", r"\{x : 0\le x\le 2, x\ne 1\}"),
    ("[1,3)", r"[0,3)\cap[1,5]"),
    ("(-1,3)", "x^2-2x-3<0"),
    (r"(-\infty,0)\cup(1,\infty)", r"\frac{1}{x}<1"),
    ("x<1", "-x>-1"),
    ("x<y", "y-x>0"),
    (r"A\cup B", r"B\cup A"),
    (r"B^{-1}A^{-1}", r"(AB)^{-1}"),
    (r"\vec{u}\times\vec{v}", r"-\vec{v}\times\vec{u}"),
    ("AB", "BA"),
    (r"l\times w", r"w\times l"),
    (r"\frac{\pi}{4}+k\pi", r"\frac{5\pi}{4}+n\pi"),
    (r"\frac{\pi}{4}+\frac{k\pi}{2}", r"\pm\frac{\pi}{4}+k\pi"),
    (r"\begin{cases}x^2&x<0\\2x&x\ge0\end{cases}", r"\begin{cases}2x,&\text{otherwise}\\x^2,&\text{if }x<0\end{cases}"),
    ("3", r"10\pmod 7"),
    ("10", "C_5^2"),
    ("20", "{}^5P_2"),
    ("15", "5!!"),
]
UNEQUAL = [
    (r"\frac{1}{2}", r"\int_0^1 x^2\,dx"),
    ("1", r"\lim_{x\to 0^-}\frac{|x|}{x}"),
    ("301", r"\lim_{x\to 0^+}\frac{1}{x}"),
    (r"\frac{\pi^2}{8}", r"\sum_{n=1}^\infty \frac{1}{n^2}"),
    (r"\frac{1-x^{12}}{1-x}", r"\sum_{n=0}^\infty x^n"),
    ("3x", r"\frac{d}{dx}(x^3)"),
    (r"\begin{pmatrix}1&4\\9&16\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^2"),
    (r"[0,2]", r"[0,2]\setminus\{1\}"),
    ("[-1,3]", "x^2-2x-3<0"),
    ("x<1", "-x<-1"),
    ("x<y", "y<x"),
    ("A^{-1}B", "BA^{-1}"),
    (r"\vec{u}\times\vec{v}", r"\vec{v}\times\vec{u}"),
    (r"\vec{u}\times\vec{v}", r"\vec{u}\cdot\vec{v}"),
    (r"\frac{\pi}{4}+k\pi", r"\frac{5\pi}{4}+2k\pi"),
    (r"2n+1", r"2n-1"),
    (r"n\pi", r"(n+1)\pi"),
    (r"\begin{cases}x^2&x<0\\2x&x\ge0\end{cases}", r"\begin{cases}2x&x<0\\x^2&x\ge0\end{cases}"),
    ("4", r"10\pmod 7"),
]
ENDLESS = Case(r"\boxed{\int_0^\infty \frac{\sin(x)^2\ln x}{x^2+1}\,dx}", "0.123456789")


@pytest.mark.parametrize(("reference", "answer"), EQUAL)
def test_equal_forms_are_accepted_either_way(reference: str, answer: str) -> None:
    assert equal(reference, answer)
    assert equal(answer, reference)


@pytest.mark.parametrize(("reference", "answer"), UNEQUAL)
def test_other_values_are_refused(reference: str, answer: str) -> None:
    assert not equal(reference, answer)


def test_a_question_about_matrices_keeps_their_order() -> None:
    question = "Let $A$ and $B$ be invertible matrices. Solve $AXB = I$ for $X$."
    assert not equal("AB", "BA", question=question)
    assert equal("(A+B)^2", "A^2+AB+BA+B^2", question=question)
    assert equal("2cd", "2dc", question=question)


def test_it_can_be_left_out() -> None:
    assert not equal("1/3", r"\int_0^1 x^2\,dx", symbolic=False)
    assert not grade(r"\boxed{\int_0^1 x^2\,dx}", "1/3", symbolic=False).correct
    assert grade(r"\boxed{\int_0^1 x^2\,dx}", "1/3").reason == "equal by computer algebra"


def test_a_pool_decides_as_a_call_does() -> None:
    cases = [Case(f"\\boxed{{{answer}}}", reference) for reference, answer in (*EQUAL[:8], *UNEQUAL[:4])]
    with GradingPool(workers=1) as pool:
        there = dict(pool.map(enumerate(cases)))
    assert [there[index] for index in range(len(cases))] == [grade(case.response, case.reference) for case in cases]


def test_what_does_not_end_is_wrong_and_says_so() -> None:
    with GradingPool(workers=1, timeout_s=60) as pool:
        pool.submit(Case(r"\boxed{\int_0^1 x\,dx}", "1/2")).result()  # SymPy is imported
        started_s = time.monotonic()
        verdict = pool.submit(ENDLESS).result()
        after = pool.submit(Case(r"\boxed{\int_0^1 x\,dx}", "1/2")).result()
    assert (verdict.correct, verdict.flags) == (False, ("undecided",))
    assert after.correct
    assert time.monotonic() - started_s > SYMBOLIC_S / 2


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9}}", r"\int_0^1 10^{10^{10^x}}dx", r"\begin{pmatrix}10^{300}&2\\3&4\end{pmatrix}^{60}",
        r"\sum_{n=1}^\infty (9!)^{n!}", r"x^{10^{9}}<1", r"\int_0^1 " + "(" * 12 + "x" + ")^{9}" * 12 + "dx",
    ],
)  # fmt: skip
def test_huge_values_are_refused_at_once(answer: str) -> None:
    started_s = time.process_time()
    assert not equal("(0,1)", answer)
    assert time.process_time() - started_s < 1  # of this process: the helper has a limit of its own


@settings(max_examples=25)
@given(
    st.fractions(min_value=-3, max_value=3, max_denominator=12),
    st.fractions(min_value=Fraction(1, 6), max_value=2, max_denominator=6),
    st.integers(-4, 4),
)
def test_a_family_may_start_at_any_of_its_members(start: Fraction, period: Fraction, shift: int) -> None:
    def family(first: Fraction) -> str:
        step = rf"\frac{{{period.numerator}}}{{{period.denominator}}}k\pi"
        return rf"\frac{{{first.numerator}}}{{{first.denominator}}}\pi + {step}"

    assert equal(family(start), family(start + shift * period), symbolic=False)
    assert not equal(family(start), family(start + (shift + Fraction(1, 3)) * period), symbolic=False)
