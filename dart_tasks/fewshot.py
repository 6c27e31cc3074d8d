r"""Few-shot exemplars for base models, and the prompts and messages made of them.

Every exemplar was written for this project, in the style of its benchmark; none is a benchmark item. Solutions end with
``The answer is \boxed{...}.``, which is how a base model learns where to put its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dart_tasks.parse_rows import olympiad_instruction
from dart_tasks.prompts import PromptTemplate

__all__ = ["EXEMPLARS", "Exemplar", "exemplars", "messages", "prompt"]

_BOXED_INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."


@dataclass(frozen=True)
class Exemplar:
    """A query, its worked solution without the closing sentence, and the answer."""

    query: str
    solution: str
    answer: str

    @property
    def response(self) -> str:
        """The solution with its answer stated."""
        return f"{self.solution} The answer is \\boxed{{{self.answer}}}."


_MATH = (
    Exemplar(
        r"What is the sum of the solutions of $x^2 - 7x + 10 = 0$?",
        r"The left side factors as $(x-2)(x-5)$, so the solutions are $x=2$ and $x=5$. Their sum is $2+5=7$.",
        "7",
    ),
    Exemplar(
        "A bag holds 3 red and 5 blue balls. Two balls are drawn without replacement. What is the probability that "
        "both are red? Express your answer as a common fraction.",
        r"The first ball is red with probability $\frac{3}{8}$, and then the second with probability $\frac{2}{7}$. "
        r"The product is $\frac{3}{8}\cdot\frac{2}{7}=\frac{6}{56}=\frac{3}{28}$.",
        r"\frac{3}{28}",
    ),
    Exemplar(
        r"Find all real $x$ for which $|2x-3| \le 5$. Express your answer in interval notation.",
        r"The inequality means $-5 \le 2x-3 \le 5$. Adding 3 gives $-2 \le 2x \le 8$, so $-1 \le x \le 4$.",
        "[-1,4]",
    ),
    Exemplar(
        "A right triangle has legs of length 6 and 9. What is the length of its hypotenuse, in simplest radical form?",
        r"By the Pythagorean theorem the hypotenuse is $\sqrt{6^2+9^2}=\sqrt{36+81}=\sqrt{117}=3\sqrt{13}$.",
        r"3\sqrt{13}",
    ),
)
_GSM8K = (
    Exemplar(
        "A baker makes 12 trays of rolls with 15 rolls on each tray. She sells 140 rolls. How many are left?",
        "She makes 12 * 15 = 180 rolls. After selling 140, she has 180 - 140 = 40 left.",
        "40",
    ),
    Exemplar(
        "Omar earns $18 an hour and works 6 hours a day for 5 days. He spends a third of his pay on rent. "
        "How many dollars remain?",
        "He works 6 * 5 = 30 hours and earns 30 * 18 = 540 dollars. A third is 540 / 3 = 180 dollars, so "
        "540 - 180 = 360 dollars remain.",
        "360",
    ),
    Exemplar(
        "A pool holds 2,400 litres. One pipe fills it at 30 litres a minute while a leak loses 6 litres a minute. "
        "How many minutes does it take to fill the empty pool?",
        "The pool gains 30 - 6 = 24 litres a minute. It takes 2400 / 24 = 100 minutes.",
        "100",
    ),
    Exemplar(
        "Rosa is twice as old as her brother. In 4 years their ages will add up to 35. How old is Rosa now?",
        "In 4 years their ages add up to 35, so now they add up to 35 - 2 * 4 = 27. Her brother is 27 / 3 = 9 and "
        "Rosa is 2 * 9 = 18.",
        "18",
    ),
)
_COLLEGE = (
    Exemplar(
        r"Differentiate: $f(x) = x^2 e^{3x}$",
        r"By the product rule, $f'(x) = 2x e^{3x} + x^2\cdot 3e^{3x} = (3x^2+2x)e^{3x}$.",
        r"(3x^2+2x)e^{3x}",
    ),
    Exemplar(
        r"Simplify: $5 - 2(3 - 4m)$",
        r"Distribute: $5 - 6 + 8m = 8m - 1$.",
        "8m-1",
    ),
    Exemplar(
        r"Find the determinant of $\begin{bmatrix} 2 & 7 \\ 1 & 5 \end{bmatrix}$.",
        r"The determinant is $2\cdot 5 - 7\cdot 1 = 3$.",
        "3",
    ),
    Exemplar(
        r"Solve $y' = 4y$, $y(0) = 3$.",
        r"The general solution is $y = Ce^{4x}$, and $y(0)=C=3$.",
        "y=3e^{4x}",
    ),
)
_DEEPMIND = (
    Exemplar(
        "Solve -5*x + 3 = -17 for x.",
        "Subtracting 3 gives -5*x = -20, so x = -20/(-5) = 4.",
        "4",
    ),
    Exemplar(
        "Let f(n) = 2*n**2 - n. Calculate f(-3).",
        "f(-3) = 2*9 - (-3) = 18 + 3 = 21.",
        "21",
    ),
    Exemplar(
        "Is 91 a prime number?",
        "91 = 7*13, so it is composite.",
        "False",
    ),
    Exemplar(
        "Sort 4, -2, 0, 9 in decreasing order.",
        "The largest is 9, then 4, then 0, and the smallest is -2.",
        "9 4 0 -2",
    ),
)
_OLYMPIAD = (
    Exemplar(
        f"{olympiad_instruction('Numerical', False, None)}\n"
        r"Find the largest integer $n$ such that $2^n$ divides $20!$.",
        r"The exponent of 2 in $20!$ is $\lfloor 20/2\rfloor+\lfloor 20/4\rfloor+\lfloor 20/8\rfloor"
        r"+\lfloor 20/16\rfloor=10+5+2+1=18$.",
        "18",
    ),
    Exemplar(
        f"{olympiad_instruction('Expression', False, None)}\n"
        r"A convex polygon has $n \ge 4$ sides. Determine, in terms of $n$, its number of diagonals.",
        r"Each of the $n$ vertices is joined by a diagonal to the $n-3$ vertices that are neither itself nor its "
        r"neighbours, and each diagonal is counted twice.",
        r"\frac{n(n-3)}{2}",
    ),
    Exemplar(
        f"{olympiad_instruction('Numerical', True, None)}\n"
        r"Find all primes $p$ such that $p^2 - 12$ is a prime less than 50.",
        r"For $p=5$ we get $13$ and for $p=7$ we get $37$, both prime; $p=2,3$ give negative numbers and $p\ge 11$ "
        r"gives at least $109$.",
        "5,7",
    ),
    Exemplar(
        f"{olympiad_instruction('Interval', False, None)}\n"
        r"Determine all real values of $c$ for which $x^2+cx+1=0$ has no real root.",
        r"There is no real root exactly when the discriminant $c^2-4$ is negative, that is when $-2<c<2$.",
        "(-2,2)",
    ),
)
_THEOREMQA = (
    Exemplar(
        "How many edges does the complete graph on 9 vertices have?",
        "Every pair of vertices is joined by one edge, so there are 9*8/2 = 36 edges.",
        "36",
    ),
    Exemplar(
        "What is the entropy, in bits, of a coin that shows heads with probability 0.25?",
        "H = -0.25*log2(0.25) - 0.75*log2(0.75) = 0.5 + 0.3113 = 0.8113.",
        "0.8113",
    ),
    Exemplar(
        "Is the set of all polynomials of degree exactly 3 a vector space under the usual operations? True or False?",
        "The sum of x^3 and -x^3 is the zero polynomial, which does not have degree 3, so the set is not closed.",
        "False",
    ),
    Exemplar(
        "What are the eigenvalues of [[2, 1], [1, 2]]? Give them as a list in ascending order.",
        "The characteristic polynomial is (2 - t)^2 - 1 = (t - 1)(t - 3), so the eigenvalues are 1 and 3.",
        "[1, 3]",
    ),
    Exemplar(
        "Which of these series converges? (a) the sum of 1/n. (b) the sum of 1/n^2. (c) the sum of 1/sqrt(n).",
        "The sum of 1/n^p converges exactly for p > 1, which holds for p = 2 only.",
        "(b)",
    ),
)

EXEMPLARS = MappingProxyType(
    {
        "math": _MATH,
        "gsm8k": _GSM8K,
        "college_math": _COLLEGE,
        "deepmind_mathematics": _DEEPMIND,
        "olympiadbench": _OLYMPIAD,
        "theoremqa": _THEOREMQA,
        "generic": _GSM8K,
    }
)


def exemplars(benchmark: str, shots: int) -> tuple[Exemplar, ...]:
    """The first ``shots`` exemplars of a benchmark.

    Raises:
        ValueError: there are not that many.
    """
    available = EXEMPLARS[benchmark]
    if not 0 <= shots <= len(available):
        most = len(available)
        raise ValueError(
            f"{benchmark} has {most} exemplars, {shots} were asked for: pass --num_fewshot {most}, or fewer"
        )
    return available[:shots]


def prompt(template: PromptTemplate, shots: Sequence[Exemplar], query: str) -> str:
    """The exemplars and the query, each in the template, with a blank line between."""
    parts = []
    for exemplar in shots:
        head = template.render(exemplar.query)
        parts.append(f"{head}{'' if head[-1].isspace() else ' '}{exemplar.response}\n\n")
    return "".join(parts) + template.render(query)


def messages(shots: Sequence[Exemplar], query: str, system: str | None = None) -> list[dict[str, str]]:
    r"""The exemplars and the query as chat turns; a query that does not say how to answer is told ``\boxed``."""
    turns = [{"role": "system", "content": system}] if system else []
    for exemplar in shots:
        turns.append({"role": "user", "content": _asked(exemplar.query)})
        turns.append({"role": "assistant", "content": exemplar.response})
    return [*turns, {"role": "user", "content": _asked(query)}]


def _asked(query: str) -> str:
    return query if r"\boxed" in query else f"{query}\n{_BOXED_INSTRUCTION}"
