"""A graded item: the verdicts on the k responses to one problem, and its form in lm-eval's sample logs.

lm-eval logs what a filter returns through ``str()``, so that is JSON text, one object per item::

    {"verdicts": [{"correct": true, "answer": "5", "source": "boxed", "explicit": true, "reason": "...", "flags": []}]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dart_tasks.grading import Verdict
from dart_tasks.harness.protocols import Majority
from dart_tasks.harness.served import Beside, ServedText

__all__ = ["FILTER", "GradedItem"]

_LISTED = {"truncated": bool, "finish_reasons": str, "thoughts": str, "thought_tokens": int, "answer_tokens": int}
FILTER = "graded"
"""The name of the filter whose results these are, in YAMLs and logs."""


@dataclass(frozen=True)
class GradedItem:
    """The verdicts on an item's responses, in their order.

    Attributes:
        loose: whether each is correct under the benchmark's relative tolerance, where it has one.
        majority: the vote, where there are several responses.
        identical: whether several responses are all the same text.
        truncated: which responses were cut off: where the server told how they ended, else probably.
        finish_reasons: how each response ended, as the server told (``length`` is cut off; None: it did not tell).
        thoughts: the thought of each response, where the server gave it apart (None: it gave none).
        thought_tokens, answer_tokens: the lengths of each response's two parts, under the reasoning protocol.
    """

    verdicts: tuple[Verdict, ...]
    loose: tuple[bool, ...] | None = None
    majority: Majority | None = None
    identical: bool | None = None
    truncated: tuple[bool, ...] | None = None
    finish_reasons: tuple[str | None, ...] | None = None
    thoughts: tuple[str | None, ...] | None = None
    thought_tokens: tuple[int, ...] | None = None
    answer_tokens: tuple[int, ...] | None = None

    def to_json(self) -> str:
        """The text that is logged; what is None is left out."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None}, ensure_ascii=False)

    def with_told(self, what: Sequence[Beside]) -> GradedItem:
        """With what a server told beside the responses, if it told anything."""
        reasons, thoughts = tuple(each.finish_reason for each in what), tuple(each.thought for each in what)
        if not any(reasons) and not any(thoughts):
            return self
        return replace(self, finish_reasons=reasons, thoughts=thoughts if any(thoughts) else None)

    def told(self, responses: Sequence[str]) -> tuple[str, ...]:
        """The responses with what the server told beside them, the inverse of :meth:`with_told`."""
        if self.finish_reasons is None:
            return tuple(responses)
        thoughts = self.thoughts or (None,) * len(responses)
        parts = zip(responses, self.finish_reasons, thoughts, strict=True)
        return tuple(ServedText.of(text, Beside(reason, thought)) for text, reason, thought in parts)

    @classmethod
    def from_json(cls, text: str) -> GradedItem:
        """The item of a logged text.

        Raises:
            ValueError: it is no such text.
        """
        try:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()}
            verdicts = tuple(map(Verdict.from_json, values.pop("verdicts")))
            for name, kind in _LISTED.items():
                listed = values.get(name)
                if listed is not None and not all(isinstance(value, kind | None) for value in listed):
                    raise ValueError
                if listed is not None and verdicts and len(listed) != len(verdicts):
                    raise ValueError
            if vote := values.pop("majority", None):
                values["majority"] = Majority(**vote)
            return cls(verdicts, **values)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError("not a graded item") from None
