"""The shared core: what earns what, from every context, within bounds, with one case's fate touching no other."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from dart_tasks.rewards import RewardOptions, core, judge, judge_async, sample
from dart_tasks.rewards.core import question_of
from dart_tasks.rewards.trl import AccuracyReward, accuracy_reward

TEXTS = [f"So it is $\\boxed{{{n}}}$." for n in range(60)]
REFERENCES = [str(n - n % 3) for n in range(60)]
REWARDS = [float(n % 3 == 0) for n in range(60)]
CASES = [sample(text, reference) for text, reference in zip(TEXTS, REFERENCES, strict=True)]
TWO = RewardOptions(workers=2)


def value(response: str, reference: object = "4", options: RewardOptions | None = None, **given: Any) -> float | None:
    return judge([sample(response, reference, options=options, **given)], options)[0].value


def values(cases: list[Any], options: RewardOptions = TWO) -> list[float | None]:
    return [reward.value for reward in judge(cases, options)]


# -- what earns what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "reference", "earned"),
    [
        (r"\boxed{4}", "4", 1.0),
        (r"\boxed{5}", "4", 0.0),
        ("The answer is 4.", 4, 1.0),
        ("", "4", 0.0),
        (r"\boxed{\frac12}", "0.5", 1.0),
        (r"\boxed{4}", r"Two and two is $\boxed{4}$.", 1.0),  # a worked solution
        ("#### 72", "48+24 = <<48+24=72>>72 clips.\n#### 72", 1.0),
        (r"\boxed{parallel}", "parallel", 1.0),
        (r"\boxed{1, 2}", [1, 2], 1.0),
        (r"\boxed{1, 2}", np.array([1, 2]), 1.0),
        (r"\boxed{True}", True, 1.0),
    ],
)
def test_right_earns_one_and_wrong_zero(response: str, reference: object, earned: float) -> None:
    assert value(response, reference) == earned


@pytest.mark.parametrize(
    "reference",
    [None, "", "  ", r"\frac{1}{", "}}{", "???", float("nan"), float("inf"), [], [None], {"answer": 4}, b"4"],
    ids=repr,
)
def test_a_reference_that_cannot_be_judged_gives_no_reward(reference: object) -> None:
    for response in ("", r"\boxed{4}", rf"\boxed{{{reference}}}", "The answer is " + str(reference)):
        assert value(response, reference) is None


@pytest.mark.parametrize(
    ("response", "options", "earned"),
    [
        (r"<think>It is \boxed{5}.</think>\boxed{4}", {}, 1.0),
        (r"<think>It is \boxed{4}.</think>I do not know.", {}, 0.0),
        (r"<think>It is \boxed{4}.", {}, 0.0),
        (r"<think>It is \boxed{4}.", {"reasoning": None}, 1.0),
        (r"<think>a</think><think>It is \boxed{4}.", {}, 0.0),
        (r"<think>a <think>b</think> c</think>\boxed{4}", {}, 1.0),
        (r"[T]\boxed{5}[/T]\boxed{4}", {"reasoning": ("[T]", "[/T]")}, 1.0),
        (r"[T]\boxed{4}", {"reasoning": ("[T]", "[/T]")}, 0.0),
        (r"It is \boxed{4}.", {"thought_opened": True}, 0.0),
        (r"It is 5.</thinking>\boxed{4}", {"thought_opened": True}, 1.0),
        (r"\boxed{\int_0^2 2x\,dx}", {}, 1.0),
        (r"\boxed{\int_0^2 2x\,dx}", {"symbolic": False}, 0.0),
        ("2 + 2 = 4", {}, 0.0),  # merely last
        ("2 + 2 = 4", {"require_explicit": False}, 1.0),
        (r"\boxed{5\text{ or }4}", {"hedge_penalty": 0.5}, -0.5),
        (r"\boxed{3, 4}", {"hedge_penalty": 0.5}, -0.5),
        (r"\boxed{\pm 4}", {"hedge_penalty": 0.5}, -0.5),
        (r"\boxed{3, 4}", {}, 0.0),
        (r"\boxed{5}", {"hedge_penalty": 0.5}, 0.0),
        (r"\boxed{1,004}", {"hedge_penalty": 0.5}, 0.0),
        (r"\boxed{(3, 4)}", {"hedge_penalty": 0.5}, 0.0),
    ],
)
def test_options(response: str, options: dict[str, Any], earned: float) -> None:
    assert value(response, options=RewardOptions(workers=2, **options)) == earned


def test_a_list_is_no_hedge_where_the_reference_is_one() -> None:
    assert value(r"\boxed{3, 5}", "3, 4", RewardOptions(workers=2, hedge_penalty=1)) == 0.0


@pytest.mark.parametrize("finish_reason", [None, "stop", "length"])
def test_truncated_is_wrong_unless_the_options_say_otherwise(finish_reason: str | None) -> None:
    cut = finish_reason == "length"
    assert value(r"\boxed{4}", finish_reason=finish_reason) == float(not cut)
    assert value(r"\boxed{4}", options=RewardOptions(zero_truncated=False), finish_reason=finish_reason) == 1.0


@pytest.mark.parametrize(
    "prompt",
    [
        "Two and two?\n<think>\n",
        [{"role": "user", "content": "Two and two?"}, {"role": "assistant", "content": "<think>"}],
    ],
)
def test_a_thought_that_the_prompt_opened_must_end(prompt: object) -> None:
    assert value(r"It is \boxed{4}.", prompt=prompt) == 0.0
    assert value(r"It is 5.</think>\boxed{4}", prompt=prompt) == 1.0


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        (None, None),
        ("Sort 3, 1, 2.", "Sort 3, 1, 2."),
        ([{"role": "system", "content": "Think."}, {"role": "user", "content": "Sort 3, 1, 2."}], "Sort 3, 1, 2."),
        ([{"role": "user", "content": [{"type": "text", "text": "Sort 3, 1, 2."}]}], "Sort 3, 1, 2."),
        ("Below is ...\n\n### Instruction:\nSort 3, 1, 2.\n\n### Response:\n", "Sort 3, 1, 2."),
        ("<|im_start|>user\nSort 3, 1, 2.<|im_end|>\n<|im_start|>assistant\n", "Sort 3, 1, 2."),
        ("User: Sort 3, 1, 2.\n\nAssistant:", "Sort 3, 1, 2."),
    ],
)
def test_the_question_is_read_from_the_prompt(prompt: object, question: str | None) -> None:
    assert question_of(prompt) == question


def test_the_question_decides_what_notation_leaves_open() -> None:
    assert value(r"\boxed{3, 2, 1}", "1, 2, 3", prompt="Find all roots.") == 1.0
    assert value(r"\boxed{3, 2, 1}", "1, 2, 3", prompt="Sort in ascending order: 3, 1, 2.") == 0.0


@pytest.mark.parametrize(
    ("benchmark", "earned"), [("olympiadbench", 1.0), ("Hothan/OlympiadBench", 1.0), ("gsm8k", 0.0), ("my_set", 0.0)]
)
def test_the_benchmark_sets_the_policy(benchmark: str, earned: float) -> None:
    assert value(r"\boxed{0.15}", "0.1", benchmark=benchmark, tolerance=0.1) == earned


@pytest.mark.parametrize(
    "options",
    [{"benchmark": "gsm"}, {"reasoning": "think"}, {"reasoning": ("a",)}, {"hedge_penalty": -1}, {"timeout_s": 0}],
)
def test_options_out_of_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        RewardOptions(**options)


# -- contexts -----------------------------------------------------------------------------------------------------


def test_order_is_kept_and_threads_share_a_pool() -> None:
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda _: values(CASES), range(16))) == [REWARDS] * 16


def test_event_loops_await_it() -> None:
    async def many() -> list[float | None]:
        return [batch[0].value for batch in await asyncio.gather(*(judge_async([case], TWO) for case in CASES))]

    assert asyncio.run(many()) == REWARDS


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_have_a_pool_of_their_own(method: str) -> None:
    values(CASES)  # the parent's pool runs
    with multiprocessing.get_context(method).Pool(2) as pool:  # its processes are daemons, which may have no children
        jobs = [pool.apply_async(accuracy_reward, (TEXTS,), {"solution": REFERENCES}) for _ in range(4)]
        assert [job.get(60) for job in jobs] == [REWARDS] * 4
    assert values(CASES) == REWARDS


def test_a_fork_while_the_pool_is_being_used_does_not_hang() -> None:
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            values(CASES)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            child = multiprocessing.get_context("fork").Process(target=_judge_or_fail)
            child.start()
            child.join(60)
            assert child.exitcode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _judge_or_fail() -> None:
    os._exit(0 if values(CASES) == REWARDS else 1)  # without pytest's own clean-up


@pytest.mark.slow
def test_a_ray_actor_judges() -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        reward = ray.remote(AccuracyReward).remote()
        assert ray.get(reward.__call__.remote(TEXTS, solution=REFERENCES), timeout=120) == REWARDS
    finally:
        ray.shutdown()


# -- bounds -------------------------------------------------------------------------------------------------------


def _worker_pids(options: RewardOptions) -> list[int]:
    return [process.pid for process in core._pool(options)._state.processes]


def test_a_worker_that_is_killed_costs_at_most_its_case_and_never_a_wrong_reward() -> None:
    options = RewardOptions(workers=2, timeout_s=7)
    values(CASES, options)
    killer = threading.Timer(0.02, lambda: [os.kill(pid, signal.SIGKILL) for pid in _worker_pids(options)])
    killer.start()
    given = values(CASES * 20, options)
    killer.join()
    assert sum(reward is None for reward in given) <= 2
    assert all(reward in (None, right) for reward, right in zip(given, REWARDS * 20, strict=True))


def test_a_batch_ends_in_time_and_what_is_left_has_no_reward() -> None:
    options = RewardOptions(workers=1, timeout_s=60, batch_timeout_s=1)
    values(CASES, options)
    (worker,) = _worker_pids(options)
    os.kill(worker, signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        assert values(CASES, options) == [None] * len(CASES)
        assert time.monotonic() - began_s < 3
    finally:
        os.kill(worker, signal.SIGCONT)
    assert values(CASES, options) == REWARDS  # the cases given up are not graded first


def test_a_response_that_takes_too_long_is_wrong_and_costs_no_other() -> None:
    options = RewardOptions(workers=1, timeout_s=0.15)  # computer algebra, which is loaded first, takes longer
    long = sample(r"\boxed{\int_0^1 e^{-x^2}\,dx}", r"\int_0^1 e^{-t^2}\,dt + \int_0^0 t\,dt")
    rewards = judge([long, *CASES], options)
    assert "timeout" in rewards[0].verdict.flags
    assert [reward.value for reward in rewards] == [0.0, *REWARDS]


def test_a_worker_that_stands_still_is_not_the_response_s_fault() -> None:
    options = RewardOptions(workers=1, timeout_s=0.16)
    values(CASES, options)
    os.kill(_worker_pids(options)[0], signal.SIGSTOP)
    assert values(CASES, options) == REWARDS


def test_a_pool_that_closed_is_replaced() -> None:
    options = RewardOptions(workers=1, timeout_s=9)
    values(CASES, options)
    core._pool(options).close()
    assert values(CASES, options) == REWARDS


def test_a_response_beyond_any_context_is_wrong_unread() -> None:
    assert value(r"\boxed{4}" + " " * core.MAX_RESPONSE) == 0.0


def test_a_batch_of_long_responses_is_handed_over_in_parts() -> None:
    long = sample("x" * 300_000 + r"\boxed{4}", "4")
    parts = [len(part) for part in core._chunks([long] * 300)]
    assert max(parts) * 300_000 < 2 * core.CHUNK and sum(parts) == 300


@pytest.mark.slow
def test_64_threads_times_1000_cases() -> None:
    batch = (CASES * 17)[:1000]
    right = (REWARDS * 17)[:1000]
    with ThreadPoolExecutor(64) as threads:
        began_s = time.monotonic()
        assert list(threads.map(lambda _: values(batch), range(64))) == [right] * 64
    assert time.monotonic() - began_s < 120


@pytest.mark.slow
def test_workers_killed_again_and_again_under_load() -> None:
    options = RewardOptions(workers=2, timeout_s=8)
    values(CASES, options)
    stop = threading.Event()
    killed = 0

    def kill() -> None:
        nonlocal killed
        while not stop.wait(0.3):
            with contextlib.suppress(ProcessLookupError, RuntimeError):  # just replaced
                os.kill(_worker_pids(options)[0], signal.SIGKILL)
                killed += 1

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(8) as threads:
        batches = list(threads.map(lambda _: values(CASES * 20, options), range(24)))
    stop.set()
    killer.join()
    given = [reward for batch in batches for reward in batch]
    assert killed >= 3
    assert sum(reward is None for reward in given) <= killed
    assert all(reward in (None, right) for reward, right in zip(given, REWARDS * 20 * 24, strict=True))
