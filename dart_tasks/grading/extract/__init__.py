"""Response -> answer text, in two steps: text -> blocks, then ranked cues over the blocks.

``... so $x=4$. The answer is $\\boxed{4}$.`` gives ``4``, found as "boxed".

1. `visible` takes out thoughts, `document` parts the text into blocks (with `dollars`: is ``$`` money?).
2. `cues` ranks them, and cuts what runs on into an invented next problem. What they find is read by `prose`: of a
   sentence, the value that is `asked` for.

Linear in the response's length.
"""

from __future__ import annotations

from dart_tasks.grading.extract.cues import find
from dart_tasks.grading.extract.prose import Extraction
from dart_tasks.grading.parse.readings import is_value
from dart_tasks.grading.verdict import Reasoning

__all__ = ["Extraction", "find_answer"]


def find_answer(
    response: str, question: str | None = None, reasoning: Reasoning = "auto", thought_opened: bool = False
) -> Extraction:
    """The answer that a response states, or the best guess at it; see :func:`~dart_tasks.grading.extract.cues.find`."""
    return find(response, is_value, question, reasoning, thought_opened)
