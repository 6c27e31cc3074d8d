"""A graded item: the verdicts on the k responses to one problem, and its form in lm-eval's sample logs.

lm-eval logs what a filter returns through ``str()``, so that is JSON text, one object per item::

    {"verdicts": [{"correct": true, "answer": "5", "source": "boxed", "explicit": true, "reason": "...", "flags": []}]}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from dart_tasks.grading import Verdict
from dart_tasks.harness.protocols import Majority

__all__ = ["FILTER", "GradedItem"]

FILTER = "graded"
"""The name of the filter whose results these are, in YAMLs and logs."""


@dataclass(frozen=True)
class GradedItem:
    """The verdicts on an item's responses, in their order.

    Attributes:
        loose: whether each is correct under the benchmark's relative tolerance, where it has one.
        majority: the vote, where there are several responses.
        identical: whether several responses are all the same text.
        truncated: which responses were probably cut off, where that was judged.
        thought_tokens, answer_tokens: the lengths of each response's two parts, under the reasoning protocol.
    """

    verdicts: tuple[Verdict, ...]
    loose: tuple[bool, ...] | None = None
    majority: Majority | None = None
    identical: bool | None = None
    truncated: tuple[bool, ...] | None = None
    thought_tokens: tuple[int, ...] | None = None
    answer_tokens: tuple[int, ...] | None = None

    def to_json(self) -> str:
        """The text that is logged; what is None is left out."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> GradedItem:
        """The item of a logged text.

        Raises:
            ValueError: it is no such text.
        """
        try:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()}
            verdicts = tuple(map(Verdict.from_json, values.pop("verdicts")))
            if vote := values.pop("majority", None):
                values["majority"] = Majority(**vote)
            return cls(verdicts, **values)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError("not a graded item") from None
