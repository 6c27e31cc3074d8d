"""The reward for verl: point ``reward.custom_reward_function`` at this module.

    reward.custom_reward_function.path=pkg://dart_tasks.rewards.verl
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.hedge_penalty=0.5

A sample, and what it earns (the same keys for every sample, as verl makes one array of each)::

    >>> compute_score("openai/gsm8k", "The answer is 4.", "4")["score"]
    1.0

verl knows no missing reward: a sample that cannot be judged has ``score`` 0 and ``judged`` 0, so that its share is seen
in the logs. verl runs ``compute_score`` in a thread, and awaits ``compute_score_async``; its batch reward manager calls
with plurals, as ``compute_score_batch`` takes. Source: verl 0.9, ``verl/trainer/ppo/reward.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dart_tasks.rewards.core import Reward, RewardOptions, judge, judge_async, sample

__all__ = ["compute_score", "compute_score_async", "compute_score_batch"]

VERLS_OWN = {"reward_router_address", "reward_model_tokenizer", "sandbox_fusion_url", "concurrent_semaphore"}


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """The score of one response, and what is worth logging.

    Args:
        data_source: names the grading policy where it is a benchmark's name or hub id.
        extra_info: ``question``, ``tolerance``, ``finish_reason`` and ``prompt`` are used where present.
        kwargs: fields of :class:`~dart_tasks.rewards.RewardOptions`, as ``reward_kwargs`` gives them.

    Returns:
        ``score`` (1, 0, or the negative hedge penalty), ``acc`` (1 or 0), ``judged``, ``explicit``, ``truncated``,
        ``unreadable``, ``hedged`` (each 1 or 0) and ``pred`` (the answer's text, on which verl votes).

    Raises:
        ValueError: an option has a value that it cannot have.
    """
    options = _options(kwargs)
    return _scored(judge([_case(data_source, solution_str, ground_truth, extra_info, options)], options)[0])


async def compute_score_async(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """:func:`compute_score` as a coroutine."""
    options = _options(kwargs)
    case = _case(data_source, solution_str, ground_truth, extra_info, options)
    return _scored((await judge_async([case], options))[0])


def compute_score_batch(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],
    extra_infos: Iterable[Mapping[str, Any] | None] | None = None,
    **kwargs: Any,
) -> list[dict[str, Any]]:
    """:func:`compute_score` of a whole batch, for ``reward.reward_manager.name=batch``; the fastest of the three."""
    options = _options(kwargs)
    infos = [None] * len(solution_strs) if extra_infos is None else extra_infos
    rows = zip(data_sources, solution_strs, ground_truths, infos, strict=True)
    return [_scored(reward) for reward in judge([_case(*row, options) for row in rows], options)]


def _case(
    source: str, response: str, reference: Any, extra_info: Mapping[str, Any] | None, options: RewardOptions
) -> Any:
    info = extra_info if isinstance(extra_info, Mapping) else {}
    return sample(
        response,
        reference,
        prompt=info.get("prompt"),
        question=info.get("question"),
        benchmark=source,
        tolerance=info.get("tolerance"),
        finish_reason=info.get("finish_reason"),
        options=options,
    )


def _options(kwargs: Mapping[str, Any]) -> RewardOptions:
    known = RewardOptions.names()
    if unknown := kwargs.keys() - known - VERLS_OWN:
        warnings.warn(f"not an option of this reward: {', '.join(sorted(unknown))}", stacklevel=3)
    return RewardOptions(**{name: value for name, value in kwargs.items() if name in known})


def _scored(reward: Reward) -> dict[str, Any]:
    return {
        "score": reward.value or 0.0,
        "acc": float(reward.value == 1.0),
        **{name: float(hit) for name, hit in reward.signals.items()},
        "pred": reward.verdict.answer,
    }
