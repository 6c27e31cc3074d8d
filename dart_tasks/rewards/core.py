"""Responses -> rewards: the shared core of the adapters.

    >>> from dart_tasks.rewards import judge, sample
    >>> [reward.value for reward in judge([sample("So it is $\\\\boxed{4}$.", "4"), sample("Well ...", None)])]
    [1.0, None]

Cases are graded in worker processes that this process starts once and shares among its threads and event loops
(:class:`~dart_tasks.grading.GradingPool`). No signal is used, so it works off the main thread, in forked and spawned
processes and in Ray actors. A response that takes too long or too much memory is wrong; a reference that cannot be
judged, and a case lost through no fault of its own, has no reward at all (``None``).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import os
import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from dart_tasks.grading import BENCHMARKS, Case, GradingPool, Reference, Verdict, grade, readable
from dart_tasks.grading.extract.visible import opens_thought
from dart_tasks.grading.verdict import Reasoning

__all__ = ["Reward", "RewardOptions", "judge", "judge_async", "question_of", "sample"]

MAX_RESPONSE = 2_000_000  # characters; the longest contexts of today's models are a quarter of it
CHUNK = 1 << 25  # characters handed to the pool at a time, so that a batch's memory has a bound
MAX_BITS = 14_000  # of an integer reference; longer ones Python does not write
ATTEMPTS = 3  # workers that may die of a case, or stand still on it


@dataclass(frozen=True, slots=True)
class RewardOptions:
    """How verdicts become rewards; the same for every adapter.

    Attributes:
        benchmark: whose grading policy applies where the data name none.
        reasoning: tags around a thought, which is no answer: "auto" knows ``<think>`` and its like; else (opening,
            closing), or None where responses have no thoughts. An unfinished thought is wrong.
        thought_opened: the chat template has opened the thought, so that a response without a closing tag is
            unfinished. Not needed where the prompt itself is at hand and ends with the opening tag.
        zero_truncated: a response that was cut at the token limit is wrong, also if it had stated its answer.
        require_explicit: an answer counts only if the response states it as such (a box, "the answer is", ...); without
            it the last formula or number counts, which a policy under optimisation learns to exploit.
        symbolic: ask computer algebra where the fast comparison leaves a pair undecided (an integral, an inequality to
            be solved); such a case may take 0.8 seconds of a processor.
        hedge_penalty: subtracted where several answers are given and one is asked ("5 or 6"); not negative.
        workers: grading processes of this process; None for one per available core, at most 4.
        timeout_s: seconds of a processor after which a response is given up, and wrong.
        batch_timeout_s: seconds after which the rest of a batch is given up, without a reward.
        memory_mb: address space of a worker in MiB; a response that needs more is wrong.

    Raises:
        ValueError: a value outside of these bounds.
    """

    benchmark: str = "generic"
    reasoning: Reasoning = "auto"
    thought_opened: bool = False
    zero_truncated: bool = True
    require_explicit: bool = True
    symbolic: bool = True
    hedge_penalty: float = 0.0
    workers: int | None = None
    timeout_s: float = 5.0
    batch_timeout_s: float = 120.0
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            raise ValueError(f"unknown benchmark {self.benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
        tags: Any = self.reasoning
        if isinstance(tags, Sequence) and not isinstance(tags, str):  # YAML and JSON have lists
            object.__setattr__(self, "reasoning", tuple(tags))
            if len(tags) != 2 or not all(isinstance(tag, str) and tag for tag in tags):
                raise ValueError(f"reasoning must be (opening tag, closing tag) (got {tags!r})")
        elif tags not in ("auto", None):
            raise ValueError(f'reasoning must be "auto", None or (opening tag, closing tag) (got {tags!r})')
        if not (math.isfinite(self.hedge_penalty) and self.hedge_penalty >= 0):
            raise ValueError(f"hedge_penalty must not be negative (got {self.hedge_penalty})")
        for name in ("workers", "timeout_s", "batch_timeout_s", "memory_mb"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive (got {value})")

    @classmethod
    def names(cls) -> frozenset[str]:
        """The options' names."""
        return frozenset(field.name for field in fields(cls))


@dataclass(frozen=True, slots=True)
class Reward:
    """What one response earns.

    Attributes:
        value: 1 for a right answer, 0 for a wrong one, below 0 for a penalised hedge; None if it cannot be judged.
        verdict: the grader's, with its reason and flags.
        hedged: several answers were given where one was asked.
    """

    value: float | None
    verdict: Verdict
    hedged: bool = False

    @property
    def signals(self) -> dict[str, bool]:
        """What is worth logging: ``judged`` (there is a reward), ``explicit`` (the answer is stated), ``truncated`` (or
        its thought is unfinished), ``unreadable`` (no answer was found), ``hedged``.
        """
        judged = self.value is not None
        return {
            "judged": judged,
            "explicit": self.verdict.explicit,
            "truncated": bool({"truncated", "unfinished_thinking"} & set(self.verdict.flags)),
            "unreadable": judged and self.verdict.source == "none",
            "hedged": self.hedged,
        }


def _unjudged(reason: str) -> Reward:
    return Reward(None, Verdict(False, "", "none", False, reason, ("unjudged",)))


NO_REFERENCE = _unjudged("the reference cannot be judged")
OVERDUE = Verdict(False, "", "none", False, "the batch ran out of time", ("overdue",))
LOST = Verdict(False, "", "none", False, f"{ATTEMPTS} workers were lost with it", ("crashed",))
TOO_LONG = Verdict(False, "", "none", False, f"longer than {MAX_RESPONSE:,} characters", ("too_long",))


def sample(
    response: str | None,
    reference: object,
    *,
    prompt: object = None,
    question: str | None = None,
    benchmark: str | None = None,
    tolerance: float | str | None = None,
    finish_reason: str | None = None,
    options: RewardOptions | None = None,
) -> Case | None:
    """The case to judge; None if the reference cannot be judged.

    Args:
        response: None, which some servers give for no content, is no answer.
        reference: the answer in its native type, or a worked solution that states it (``\\\\boxed``, ``####``).
        prompt: text or messages; it gives the question where ``question`` does not, and may have opened the thought.
        benchmark: its name, also as a hub id (``openai/gsm8k``); other names mean the options' own.
    """
    options = options or RewardOptions()
    if not isinstance(response, str | None):
        raise TypeError(f"a response must be text (got {type(response).__name__})")
    expected = _reference(reference)
    if expected is None:
        return None
    return Case(
        response or "",
        expected,
        _benchmark(benchmark, options),
        question if isinstance(question, str) else question_of(prompt),
        tolerance if tolerance == tolerance else None,  # a table's missing value is NaN
        finish_reason,
        options.symbolic,
        options.reasoning,
        options.thought_opened or opens_thought(_end_of(prompt), options.reasoning),
    )


def judge(cases: Sequence[Case | None], options: RewardOptions | None = None) -> list[Reward]:
    """Rewards in the order of the cases, within ``batch_timeout_s`` (and the start of the workers, once a process).

    Args:
        cases: from :func:`sample`; None for one that cannot be judged.
    """
    options = options or RewardOptions()
    steps = _steps(cases, options)
    try:
        while True:
            futures, timeout_s = next(steps)
            concurrent.futures.wait(futures, timeout_s)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def judge_async(cases: Sequence[Case | None], options: RewardOptions | None = None) -> list[Reward]:
    """:func:`judge` for event loops: the loop goes on while workers grade."""
    options = options or RewardOptions()
    await asyncio.to_thread(_pool, options)
    steps = _steps(cases, options)
    try:
        while True:
            futures, timeout_s = next(steps)
            await asyncio.wait([asyncio.wrap_future(future) for future in futures], timeout=timeout_s)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()  # a cancelled task cancels its cases


# -- cases --------------------------------------------------------------------------------------------------------

_USER = re.compile(
    r"<\|im_start\|>user\n(.*?)<\|im_end\|>|<\|start_header_id\|>user<\|end_header_id\|>\s*(.*?)<\|eot_id\|>"
    r"|### Instruction:\n(.*?)\n+### Response:|(?:^|\n)User: (.*?)\n+Assistant:",
    re.DOTALL,
)


def question_of(prompt: object) -> str | None:
    """The question that a prompt asks: the last user turn of messages or of a known chat text, else the whole text."""
    if isinstance(prompt, str):
        turns = [next(filter(None, groups), "") for groups in _USER.findall(prompt)]
        return turns[-1].strip() if turns else prompt
    if isinstance(prompt, Sequence):
        asked = [message for message in prompt if isinstance(message, Mapping) and message.get("role") == "user"]
        return message_text(asked[-1]) if asked else None
    return None


def message_text(message: Mapping[str, Any]) -> str:
    """The text of a chat message whose content is a text, a list of typed parts, or missing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else ()
    return "".join(part.get("text") or "" for part in parts if isinstance(part, Mapping))


def _end_of(prompt: object) -> str:
    """The text with which a prompt ends, as far as it is known: of messages, that of a prefilled turn."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Sequence) and prompt and isinstance(prompt[-1], Mapping):
        return message_text(prompt[-1]) if prompt[-1].get("role") == "assistant" else ""
    return ""


def _benchmark(name: object, options: RewardOptions) -> str:
    plain = (name if isinstance(name, str) else "").rsplit("/", 1)[-1].lower().replace("-", "_")
    return plain if plain in BENCHMARKS else options.benchmark


_WORKED = re.compile(r"\\boxed|\\fbox|####|<answer>|\n|.{200}", re.DOTALL)


def _reference(reference: Any) -> Reference | None:
    """A reference as the grader takes it; None if it cannot be judged."""
    if hasattr(reference, "tolist"):  # NumPy, as parquet files give it
        reference = reference.tolist()
    if isinstance(reference, str):
        return _text_reference(reference)
    if isinstance(reference, Decimal | Fraction):
        return _text_reference(str(reference))
    if isinstance(reference, float) and not math.isfinite(reference):
        return None
    if isinstance(reference, int) and reference.bit_length() > MAX_BITS:
        return None
    if isinstance(reference, bool | int | float):
        return reference
    if isinstance(reference, list | tuple) and reference and all(_reference(item) is not None for item in reference):
        return reference
    return None


@lru_cache(maxsize=8192)
def _text_reference(text: str) -> str | None:
    text = text.strip()
    if _WORKED.search(text):
        found = grade(text, "0", symbolic=False)
        text = found.answer if found.explicit else text
    return text if text and readable(text) else None


# -- judging ------------------------------------------------------------------------------------------------------


def _steps(
    cases: Sequence[Case | None], options: RewardOptions
) -> Generator[tuple[list[Future[Verdict]], float], None, list[Reward]]:
    """Yields (futures to wait for, seconds to wait at most); returns the rewards. It never waits itself."""
    deadline_s = time.monotonic() + options.batch_timeout_s
    rewards: list[Reward] = [NO_REFERENCE] * len(cases)
    started: list[Future[Verdict]] = []
    try:
        for chunk in _chunks(cases):
            verdicts = {index: TOO_LONG for index, case in chunk if len(case.response) > MAX_RESPONSE}
            waiting = {index: case for index, case in chunk if index not in verdicts}
            for _ in range(ATTEMPTS):  # a case whose worker died, or stood still, gets another: whose fault was it?
                left_s = deadline_s - time.monotonic()
                if not waiting or left_s <= 0:
                    break
                futures = {index: _submit(case, options) for index, case in waiting.items()}
                started += futures.values()
                yield list(futures.values()), left_s
                verdicts |= {index: _outcome(future) for index, future in futures.items()}
                waiting = {index: case for index, case in waiting.items() if verdicts[index] is LOST}
            for index, case in chunk:
                rewards[index] = _reward(case, verdicts.get(index, OVERDUE), options)
        return rewards
    finally:
        for future in started:  # what is done cannot be cancelled; what is not must not keep the workers busy
            future.cancel()


def _chunks(cases: Sequence[Case | None]) -> Iterator[list[tuple[int, Case]]]:
    chunk: list[tuple[int, Case]] = []
    size = 0
    for index, case in enumerate(cases):
        if case is not None:
            chunk.append((index, case))
            size += len(case.response)
            if size >= CHUNK:
                yield chunk
                chunk, size = [], 0
    if chunk:
        yield chunk


def _outcome(future: Future[Verdict]) -> Verdict:
    if not future.done():
        return OVERDUE
    try:
        verdict = future.result()
    except (Exception, concurrent.futures.CancelledError):  # the pool ended under it
        return LOST
    return LOST if {"crashed", "stalled"} & set(verdict.flags) else verdict


def _reward(case: Case, verdict: Verdict, options: RewardOptions) -> Reward:
    if verdict is LOST or verdict is OVERDUE:
        return Reward(None, verdict)
    hedged = not verdict.correct and _is_hedge(verdict.answer, case.reference)
    right = verdict.correct and (verdict.explicit or not options.require_explicit)
    if right and not (options.zero_truncated and case.finish_reason == "length"):
        return Reward(1.0, verdict)
    return Reward(-options.hedge_penalty if hedged and options.hedge_penalty else 0.0, verdict, hedged)


_SEPARATOR = re.compile(r"[;,]|\\pm\b|±|\b(?:or|and|either)\b|或|或者", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,|\\!,)(?=\d{3}(?!\d))")
_BRACKETS = re.compile(r"[\[({][^\[\](){}]*[\])}]")
_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}")


def _is_hedge(answer: str, reference: Reference) -> bool:
    """Whether an answer lists several values and the reference is one."""
    return not isinstance(reference, list | tuple) and _is_list(answer[:1000]) and not _is_list(str(reference))


def _is_list(text: str) -> bool:
    text, before = _THOUSANDS.sub("", _WRAPPED.sub(r"\1", text)), ""
    while text != before:  # what stands in brackets is one thing
        text, before = _BRACKETS.sub(" ", text), text
    return bool(_SEPARATOR.search(text))


# -- the process's pools ------------------------------------------------------------------------------------------

_pools: dict[tuple[int, float, int], GradingPool] = {}
_lock = threading.Lock()


def _forget() -> None:
    """In a forked child: its parent's workers are not its own, and a lock may have been held by a thread not copied."""
    global _lock, _pools
    _lock, _pools = threading.Lock(), {}


os.register_at_fork(after_in_child=_forget)


def _key(options: RewardOptions) -> tuple[int, float, int]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return options.workers or min(cores, 4), options.timeout_s, options.memory_mb


def _pool(options: RewardOptions) -> GradingPool:
    key = _key(options)
    with _lock:
        if key not in _pools:
            _pools[key] = GradingPool(*key)
        return _pools[key]


def _submit(case: Case, options: RewardOptions) -> Future[Verdict]:
    pool = _pool(options)
    try:
        return pool.submit(case)
    except RuntimeError:  # it closed: a worker could not be replaced (no memory, no process left)
        with _lock:
            if _pools.get(_key(options)) is pool:
                del _pools[_key(options)]
        return _pool(options).submit(case)
