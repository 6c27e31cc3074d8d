"""Which of several answers are the same, given a relation of equality, for voting (self-consistency, maj@k)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

__all__ = ["MAX_COMPARED", "classes"]

MAX_COMPARED = 256  # different texts compared as mathematics; the rarest beyond that stand for themselves


def classes(
    answers: Sequence[str], words_of: Callable[[str], str], same: Callable[[str, str], bool]
) -> list[list[int]]:
    """Positions of the answers, grouped by equality: those that a chain of equal pairs joins are in one class.

    Args:
        words_of: the words of an answer that is no mathematics: equal words need no comparison; else an empty text.
        same: whether two answers are equal.
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

    by_words: dict[str, str] = {}
    for text in texts:
        words = words_of(text)
        leader[text] = find(by_words.setdefault(words, text)) if words else text
    compared = [text for text in texts if leader[text] == text][:MAX_COMPARED]
    for first, second in combinations(compared, 2):
        if find(first) != find(second) and same(first, second):
            leader[find(second)] = find(first)
    grouped: dict[str, list[int]] = {}
    for text in texts:
        grouped.setdefault(find(text), []).extend(positions[text])
    return sorted(sorted(members) for members in grouped.values())
