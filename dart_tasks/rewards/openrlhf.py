"""The reward for OpenRLHF: give its ``--remote_rm_url`` (``reward.remote_url``) the path of this file.

    >>> reward_func(["User: 2+2?\\nAssistant: It is \\\\boxed{4}.</s>"], ["User: 2+2?\\nAssistant:"], ["4"])["rewards"]
    tensor([1.])

For other options, write a file of two lines and give its path instead::

    from dart_tasks.rewards import RewardOptions, openrlhf
    reward_func = openrlhf.RewardFunc(RewardOptions(hedge_penalty=0.5))

A query is the prompt and the response with special tokens; both are taken off. OpenRLHF knows no missing reward: what
cannot be judged has reward 0 and ``judged`` 0. Source: OpenRLHF 0.11, ``openrlhf/utils/agent.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dart_tasks.rewards.core import RewardOptions, judge, sample

__all__ = ["RewardFunc", "reward_func"]

TAIL = 200  # characters of a prompt, without spaces, by which a prompt that was cut on the left is found
_SPECIAL = re.compile(r"(?:<\|[^|<>]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</s>|<(?:pad|eos|end_of_turn|unk)>|\[PAD\])\Z")


class RewardFunc:
    """A reward with options of its own; see the module."""

    def __init__(self, options: RewardOptions | None = None) -> None:
        self.options = options or RewardOptions()

    def __call__(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Rewards of the responses within ``queries``.

        Returns:
            ``rewards`` and ``scores`` (the same) and ``extra_logs``: ``judged``, ``explicit``, ``truncated``,
            ``unreadable`` and ``hedged``. Each a float tensor of one value a query (a list where torch is missing).
        """
        cases = []
        for query, prompt, label in zip(queries, prompts, labels, strict=True):
            response = response_of(query, prompt)
            cases.append(None if response is None else sample(response, label, prompt=prompt, options=self.options))
        rewards = judge(cases, self.options)
        values = [reward.value or 0.0 for reward in rewards]
        names = rewards[0].signals if rewards else ()
        logs = {name: _tensor([float(reward.signals[name]) for reward in rewards]) for name in names}
        return {"rewards": _tensor(values), "scores": _tensor(values), "extra_logs": logs}


def _tensor(values: list[float]) -> Any:
    try:
        import torch
    except ImportError:  # beside the grader alone, without OpenRLHF
        return values
    return torch.tensor(values)


reward_func = RewardFunc()


def response_of(query: str, prompt: str) -> str | None:
    """What a query holds after its prompt, without the special tokens at its end; None if the prompt is not in it.

    Spaces may differ, since the query has been through the tokenizer; special tokens may stand before the prompt, and
    its beginning may be cut off.
    """
    prompt = prompt.strip()
    if query.startswith(prompt):
        end = len(prompt)
    else:
        places = [index for index, char in enumerate(query) if not char.isspace()]
        squeezed, wanted = "".join(query.split()), "".join(prompt.split())
        found = squeezed.find(wanted)
        if found < 0:
            wanted = wanted[-TAIL:]
            found = squeezed.find(wanted)
        if found < 0:
            return None
        end = places[found + len(wanted) - 1] + 1
    return _without_special(query[end:])


def _without_special(text: str) -> str:
    """A text without the special tokens (and spaces) at its end, in linear time however many there are."""
    end = len(text)
    while end:
        tail = text[max(0, end - 64) : end]
        special = _SPECIAL.search(tail)
        left = len(tail.rstrip()) if special is None else special.start()
        if left == len(tail):
            break
        end -= len(tail) - left
    return text[:end]
