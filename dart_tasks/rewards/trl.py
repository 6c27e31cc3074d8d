"""The reward for TRL (GRPOTrainer, RLOOTrainer): ``reward_funcs=accuracy_reward``.

    >>> accuracy_reward(completions=["It is $\\\\boxed{4}$."], solution=["4"])
    [1.0]

TRL calls a reward with keywords: ``prompts``, ``completions``, ``completion_ids``, every column of the data set as a
list, and ``log_extra`` and ``log_metric`` for what is worth seeing. ``None`` leaves a sample out of the loss.
Source: https://huggingface.co/docs/trl/grpo_trainer#using-a-custom-reward-function
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dart_tasks.grading import Case
from dart_tasks.problems.references import QUESTION_COLUMNS
from dart_tasks.rewards.core import Reward, RewardOptions, judge, judge_async, message_text, sample

__all__ = ["AccuracyReward", "accuracy_reward", "async_accuracy_reward"]

REFERENCE_COLUMNS = ("reference", "answer", "solution")  # the first that a row fills and that can be judged


class AccuracyReward:
    """A reward with options of its own: ``AccuracyReward(RewardOptions(hedge_penalty=0.5))``. It can be pickled.

    Args:
        options: see :class:`~dart_tasks.rewards.RewardOptions`.
        max_completion_length: the trainer's limit in tokens: a completion of so many tokens is truncated, unless its
            last one is in ``eos_token_ids``. TRL tells a reward no finish reason, so without it (and without a column
            ``finish_reason``) only an unfinished thought shows that a completion was cut.
    """

    __name__ = "accuracy_reward"  # what TRL logs it under

    def __init__(
        self,
        options: RewardOptions | None = None,
        max_completion_length: int | None = None,
        eos_token_ids: Collection[int] = (),
    ) -> None:
        self.options = options or RewardOptions()
        self.max_completion_length = max_completion_length
        self.eos_token_ids = frozenset(eos_token_ids)

    def __call__(
        self,
        completions: Sequence[Any],
        *,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Rewards of the completions (texts, or ``[[{"role", "content"}]]``); see :func:`accuracy_reward`.

        Raises:
            ValueError: no column holds the references, or a column has another length.
        """
        cases = self._cases(completions, columns)
        return _logged(judge(cases, self.options), log_extra, log_metric)

    def _cases(self, completions: Sequence[Any], columns: Mapping[str, Any]) -> list[Case | None]:
        references = [columns[name] for name in REFERENCE_COLUMNS if columns.get(name) is not None]
        if not references:
            raise ValueError(
                f"the data set has none of the columns {', '.join(REFERENCE_COLUMNS)} "
                f"(it has: {', '.join(sorted(columns)) or 'nothing'})"
            )
        questions = [columns[name] for name in QUESTION_COLUMNS if columns.get(name) is not None]
        for name, column in columns.items():
            if isinstance(column, str) and name in REFERENCE_COLUMNS:
                raise ValueError(f"column {name!r} must be a list with a value for each completion (got a text)")
            if isinstance(column, list | tuple) and len(column) != len(completions):
                raise ValueError(f"column {name!r} has {len(column)} rows for {len(completions)} completions")
        return [
            next(
                filter(None, (self._case(index, completion, given[index], questions, columns) for given in references)),
                None,
            )
            for index, completion in enumerate(completions)
        ]

    def _case(
        self, index: int, completion: Any, reference: Any, questions: list[Any], columns: Mapping[str, Any]
    ) -> Any:
        def value(name: str) -> Any:
            column = columns.get(name)
            return None if column is None else column[index]

        return sample(
            _text(completion),
            reference,
            prompt=value("prompts"),
            question=next((column[index] for column in questions if isinstance(column[index], str)), None),
            benchmark=value("benchmark"),
            tolerance=value("tolerance"),
            finish_reason=value("finish_reason") or self._finish_reason(value("completion_ids")),
            options=self.options,
        )

    def _finish_reason(self, completion_ids: Sequence[int] | None) -> str | None:
        if completion_ids is None or self.max_completion_length is None:
            return None
        cut = len(completion_ids) >= self.max_completion_length and completion_ids[-1] not in self.eos_token_ids
        return "length" if cut else "stop"


_default = AccuracyReward()


def accuracy_reward(
    completions: Sequence[Any],
    *,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    log_metric: Callable[[str, float], None] | None = None,
    **columns: Any,
) -> list[float | None]:
    """1 for a completion whose stated answer equals the reference, 0 for another, None where that cannot be judged.

    Args:
        completions: texts, or lists of chat messages, of which the assistant's count.
        columns: lists with a value for each completion. The reference is in ``reference``, ``answer`` or ``solution``
            (a worked solution will do), the question in ``question``, ``query`` or ``problem``, else in ``prompts``;
            ``benchmark``, ``tolerance``, ``finish_reason`` and ``completion_ids`` are used, others are not.
        log_extra: takes the columns ``extracted_answer`` and ``verdict`` for the table of completions.
        log_metric: takes the shares ``verifier/judged``, ``/explicit``, ``/truncated``, ``/unreadable``, ``/hedged``.

    Raises:
        ValueError: no column holds the references, or a column has another length.
    """
    return _default(completions, log_extra=log_extra, log_metric=log_metric, **columns)


async def async_accuracy_reward(
    completions: Sequence[Any],
    *,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    log_metric: Callable[[str, float], None] | None = None,
    **columns: Any,
) -> list[float | None]:
    """:func:`accuracy_reward` as a coroutine: TRL awaits such rewards together."""
    rewards = await judge_async(_default._cases(completions, columns), _default.options)
    return _logged(rewards, log_extra, log_metric)


def _text(completion: Any) -> str:
    if isinstance(completion, str | None):
        return completion or ""
    if isinstance(completion, Mapping):
        completion = [completion]
    if not isinstance(completion, list | tuple) or not all(isinstance(message, Mapping) for message in completion):
        raise ValueError(f"a completion is neither text nor a list of messages: {str(completion)[:80]!r}")
    return "\n".join(message_text(message) for message in completion if message.get("role", "assistant") == "assistant")


def _logged(
    rewards: list[Reward],
    log_extra: Callable[[str, list[Any]], None] | None,
    log_metric: Callable[[str, float], None] | None,
) -> list[float | None]:
    if log_extra is not None:
        log_extra("extracted_answer", [reward.verdict.answer for reward in rewards])
        log_extra("verdict", [reward.verdict.reason for reward in rewards])
    if log_metric is not None and rewards:
        for name in rewards[0].signals:
            log_metric(f"verifier/{name}", sum(reward.signals[name] for reward in rewards) / len(rewards))
    return [reward.value for reward in rewards]
