r"""A benchmark's row, as its source publishes it, into (query, reference, tolerance, metadata): a function for each.

The lines of OlympiadBench's official instruction are here too, as they depend on the row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dart_tasks.files import DataError

__all__ = [
    "Parsed",
    "Reference",
    "Row",
    "college_math",
    "deepmind",
    "gsm8k",
    "last_boxed",
    "math",
    "olympiad",
    "olympiad_instruction",
    "reference_of",
    "theoremqa",
]

Row = Mapping[str, Any]
Reference = str | bool | int | float | list[int] | list[float] | list[str]
Parsed = tuple[str, Reference, float | None, dict[str, str | int | bool | None]]


def last_boxed(text: str) -> str | None:
    r"""The content of the last balanced ``\boxed{...}`` (or ``\boxed 5``) of a reference solution."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        return None
    brace = re.match(r"\\(?:boxed|fbox)\s*(\{)?", text[start:])
    assert brace is not None
    if brace.group(1) is None:
        bare = re.match(r"[^\s$.]+", text[start + brace.end() :])
        return bare.group() if bare else None
    depth, begin = 1, start + brace.end()
    for index in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0) if text[index - 1] != "\\" else 0
        if depth == 0:
            return text[begin:index]
    return None


def reference_of(value: Any) -> Any:
    """The reference answer in an answer or solution column's value."""
    if not isinstance(value, str):
        return value
    if (hashes := value.rfind("\n#### ")) >= 0:
        return value[hashes + 6 :].strip().replace(",", "")
    boxed = last_boxed(value)
    return (boxed if boxed is not None else value).strip()


def math(row: Row) -> Parsed:
    answer = last_boxed(row["solution"])
    if answer is None:
        raise DataError(f"MATH: a solution without \\boxed{{}}: {row['problem'][:60]!r}")
    level = re.fullmatch(r"Level (\d)", row["level"])  # two training problems have "Level ?"
    return row["problem"], answer, None, {"level": int(level[1]) if level else None, "subject": row["type"]}


def gsm8k(row: Row) -> Parsed:
    _, mark, answer = row["answer"].rpartition("####")
    if not mark:
        raise DataError(f"GSM8K: an answer without ####: {row['question'][:60]!r}")
    return row["question"], answer.strip().replace(",", ""), None, {}


def college_math(row: Row) -> Parsed:
    topic = row["data_topic"].removeprefix("college_math.").replace("_", " ").capitalize()
    return row["question"], row["answer"], None, {"topic": topic, "licence": row["license"]}


def deepmind(row: Row) -> Parsed:
    return row["question"], row["answer"], None, {}


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


def olympiad(row: Row) -> Parsed:
    instruction = olympiad_instruction(row["answer_type"], row["is_multiple_answer"], row["unit"])
    # Every item has one string; those with several answers hold them separated by commas.
    reference = ", ".join(row["final_answer"])
    return (
        f"{instruction}\n{row['question']}",
        reference,
        float(row["error"]) if row["error"] else None,
        {
            "answer_type": row["answer_type"],
            "subfield": row["subfield"],
            "multiple": bool(row["is_multiple_answer"]),
            "unit": row["unit"],
        },
    )


def theoremqa(row: Row) -> Parsed:
    answer, kind = row["Answer"], row["Answer_type"]
    if isinstance(answer, str) and kind != "option":  # the hub stores every answer as text
        answer = json.loads(answer.lower() if kind == "bool" else answer)
    return row["Question"], answer, None, {"answer_type": kind, "picture": row["Picture"] is not None}
