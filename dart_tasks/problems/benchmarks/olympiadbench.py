r"""OlympiadBench: open-ended English maths competition problems without pictures. https://arxiv.org/abs/2402.14008

A row of https://huggingface.co/datasets/Hothan/OlympiadBench, configuration ``OE_TO_maths_en_COMP``::

    {"question": "Let $x$ and $y$ be real numbers with $x+y=10$ and $xy=7$. Determine $x^3+y^3$.",
     "final_answer": ["790"], "answer_type": "Numerical", "is_multiple_answer": false, "unit": null, "error": null,
     "subfield": "Algebra"}

The query is the official instruction, which depends on the row, and the question.
"""

from __future__ import annotations

from dart_tasks.files import DataError
from dart_tasks.problems.record import Benchmark, Exemplar, HubSource, Parsed, Policy, Row, Split

_TEST = HubSource("Hothan/OlympiadBench", "91184b52131e7fc9455fef848035173aea8cc01a", "train", ("OE_TO_maths_en_COMP",))


def olympiad_instruction(answer_type: str, multiple: bool, unit: str | None) -> str:
    r"""OlympiadBench's official instruction line for an English maths competition problem.

    It names the answer's type (not for tuples, which the authors found confusing to name), asks for several answers
    separated by commas where there are several, and keeps the unit outside the box where there is one.
    Source: https://github.com/OpenBMB/OlympiadBench (``make_prompt``), as DART-Math uses it.
    """
    kinds = {"Numerical": "a numerical value", "Expression": "an expression", "Interval": "an interval"}
    kinds["Equation"] = "an equation"
    if answer_type == "Tuple":
        type_text = ""
    elif answer_type not in kinds:
        raise DataError(f"OlympiadBench: unknown answer type {answer_type!r}")
    elif multiple:
        type_text = f"The problem has multiple answers, each of them should be {kinds[answer_type]}. "
    else:
        type_text = f"The answer of The problem should be {kinds[answer_type]}. "
    box = r"\boxed{multiple answers connected with commas}" if multiple else r"\boxed{answer}"
    unit_text = r", note that the unit of the answer should not be included in \boxed{}" if unit else ""
    return (
        f"The following is an open-ended problem from an International Math competition. {type_text}"
        "Please calculate the answer according to the given requirements and the information provided. "
        "Please use LaTeX format to represent the variables and formulas used in the solution process and results. "
        f'Please end your solution with "So the final answer is {box}{"(unit)" if unit else ""}." '
        f"and give the result explicitly{unit_text}."
    )


def _parse(row: Row) -> Parsed:
    instruction = olympiad_instruction(row["answer_type"], row["is_multiple_answer"], row["unit"])
    metadata = {
        "answer_type": row["answer_type"],
        "subfield": row["subfield"],
        "multiple": bool(row["is_multiple_answer"]),
        "unit": row["unit"],
    }
    # Every item has one string; those with several answers hold them separated by commas.
    reference = ", ".join(row["final_answer"])
    return f"{instruction}\n{row['question']}", reference, float(row["error"]) if row["error"] else None, metadata


_CLOSING = "So the final answer is"  # as the instruction demands

_EXEMPLARS = (
    Exemplar(
        f"{olympiad_instruction('Numerical', False, None)}\n"
        r"Find the largest integer $n$ such that $2^n$ divides $20!$.",
        r"The exponent of 2 in $20!$ is $\lfloor 20/2\rfloor+\lfloor 20/4\rfloor+\lfloor 20/8\rfloor"
        r"+\lfloor 20/16\rfloor=10+5+2+1=18$.",
        "18",
        _CLOSING,
    ),
    Exemplar(
        f"{olympiad_instruction('Expression', False, None)}\n"
        r"A convex polygon has $n \ge 4$ sides. Determine, in terms of $n$, its number of diagonals.",
        r"Each of the $n$ vertices is joined by a diagonal to the $n-3$ vertices that are neither itself nor its "
        r"neighbours, and each diagonal is counted twice.",
        r"\frac{n(n-3)}{2}",
        _CLOSING,
    ),
    Exemplar(
        f"{olympiad_instruction('Numerical', True, None)}\n"
        r"Find all primes $p$ such that $p^2 - 12$ is a prime less than 50.",
        r"For $p=5$ we get $13$ and for $p=7$ we get $37$, both prime; $p=2,3$ give negative numbers and $p\ge 11$ "
        r"gives at least $109$.",
        "5,7",
        _CLOSING,
    ),
    Exemplar(
        f"{olympiad_instruction('Interval', False, None)}\n"
        r"Determine all real values of $c$ for which $x^2+cx+1=0$ has no real root.",
        r"There is no real root exactly when the discriminant $c^2-4$ is negative, that is when $-2<c<2$.",
        "(-2,2)",
        _CLOSING,
    ),
)

BENCHMARK = Benchmark(
    name="olympiadbench",
    title="OlympiadBench-Math",
    place=5,
    groups=("out_of_domain",),
    splits={
        # The hub's copy has one row fewer than the authors' repository.
        "test": Split("olympiadbench_oe_to_maths_en_comp.json", (675, 674), _TEST)
    },
    columns=("question", "final_answer", "answer_type", "is_multiple_answer", "unit", "error", "subfield"),
    parse=_parse,
    licence="Apache-2.0",
    paper="https://arxiv.org/abs/2402.14008",
    policy=Policy(absolute_tolerance=True),  # its column ``error``
    facets=("answer_type", "subfield"),
    instructs=True,
    exemplars=_EXEMPLARS,
)
