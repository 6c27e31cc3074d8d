"""Which of several answers are the same, for voting (self-consistency, maj@k).

>>> equivalence_classes(["1/2", "0.5", "2"])
[[0, 1], [2]]
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from dart_tasks.grading.grader import equal
from dart_tasks.grading.read import read

__all__ = ["equivalence_classes"]

MAX_COMPARED = 256  # different texts compared as mathematics; the rarest beyond that stand for themselves


def equivalence_classes(
    answers: Sequence[str], benchmark: str = "generic", question: str | None = None
) -> list[list[int]]:
    """Positions of the answers, grouped by mathematical equality.

    Answers are equal if a chain of equal pairs joins them, so the classes do not depend on the order of the answers;
    within and among classes, positions are ascending. Empty answers equal nothing, themselves included: each of them is
    left out. At most MAX_COMPARED different texts are compared.
    """
    positions: dict[str, list[int]] = {}
    for position, answer in enumerate(answers):
        if answer.strip():
            positions.setdefault(answer.strip(), []).append(position)
    texts = sorted(positions, key=lambda text: (-len(positions[text]), text))
    leader = {text: text for text in texts}

    def find(text: str) -> str:
        while leader[text] != text:
            text = leader[text]
        return text

    by_key: dict[str, str] = {}
    for text in texts:  # the same words or the same tree need no arithmetic
        key = read(text).key
        leader[text] = find(by_key.setdefault(key, text)) if key and not read(text).nodes else text
    compared = [text for text in texts if leader[text] == text][:MAX_COMPARED]
    for first, second in combinations(compared, 2):
        if find(first) != find(second) and (
            equal(first, second, benchmark, question) or equal(second, first, benchmark, question)
        ):
            leader[find(second)] = find(first)
    classes: dict[str, list[int]] = {}
    for text in texts:
        classes.setdefault(find(text), []).extend(positions[text])
    return sorted(sorted(members) for members in classes.values())
