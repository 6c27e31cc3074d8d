"""The scheduler's promises, whatever order results come in."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.scheduler import (
    ProbeOutcome,
    QuerySpec,
    Scheduler,
    Status,
    Target,
    TrialId,
    TrialResult,
    chance_to_fill,
)

Tape = list[list[TrialResult]]


def in_trial_order(tape: list[TrialResult], quota: int, cap: int) -> tuple[int, ...]:
    """The specification: the first ``quota`` correct, distinct trials by number."""
    seen: set[int] = set()
    accepted = []
    for number, result in enumerate(tape[:cap]):
        if len(accepted) < quota and result.correct and result.text_key not in seen:
            seen.add(result.text_key)
            accepted.append(number)
    return tuple(accepted)


def play(scheduler: Scheduler, tape: Tape, slots: int, rng: random.Random, lose: float = 0.0) -> list[TrialId]:
    """Run to the end, finishing trials in random order; returns the trials that finished."""
    running: list[TrialId] = []
    finished: list[TrialId] = []
    while not scheduler.done:
        running += scheduler.next_requests(slots - len(running))
        assert running, "nothing runs although queries are open"
        assert len(set(running)) == len(running)
        trial = running.pop(rng.randrange(len(running)))
        if rng.random() < lose:
            scheduler.on_lost(trial)
            continue
        finished.append(trial)
        for unwanted in scheduler.on_result(trial, tape[trial.query][trial.trial]):
            running.remove(unwanted)
    return finished


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    n_queries, n_texts = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    rng = random.Random(draw(st.integers()))
    rates = [draw(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0])) for _ in range(n_queries)]
    return [[TrialResult(rng.random() < p, rng.randrange(n_texts)) for _ in range(40)] for p in rates]


@given(tapes(), st.integers(1, 6), st.integers(1, 40), st.integers(1, 20), st.integers(), st.booleans())
def test_no_order_of_results_changes_what_is_accepted(
    tape: Tape, quota: int, cap: int, slots: int, seed: int, speculate: bool
) -> None:
    scheduler = Scheduler([QuerySpec(quota=quota)] * len(tape), cap, speculate=speculate)
    finished = play(scheduler, tape, slots, random.Random(seed), lose=0.1)
    assert len(set(finished)) == len(finished)
    for index, results in enumerate(tape):
        expected = in_trial_order(results, quota, cap)
        assert scheduler.accepted(index) == expected
        assert scheduler.state(index).status is (Status.FILLED if len(expected) == quota else Status.EXHAUSTED)


@given(tapes(), st.integers(1, 6), st.integers(1, 20), st.integers())
def test_without_speculation_no_trial_is_surplus_unless_texts_repeat(
    tape: Tape, quota: int, slots: int, seed: int
) -> None:
    distinct = [[TrialResult(r.correct, i) for i, r in enumerate(results)] for results in tape]
    scheduler = Scheduler([QuerySpec(quota=quota)] * len(tape), 40, speculate=False)
    finished = play(scheduler, distinct, slots, random.Random(seed))
    for index in range(len(tape)):
        accepted = scheduler.accepted(index)
        needed = accepted[-1] + 1 if len(accepted) == quota else 40
        assert sum(trial.query == index for trial in finished) == needed


@given(tapes(), st.integers(1, 8), st.integers(1, 20), st.integers(), st.integers())
def test_quota_is_frozen_by_the_first_trials_alone(tape: Tape, probe: int, slots: int, seed: int, other: int) -> None:
    def freeze(index: int, outcome: ProbeOutcome) -> Target:
        return Target(1 + outcome.n_trials - outcome.n_correct, 40)

    for order in (seed, other):
        scheduler = Scheduler([QuerySpec(probe_trials=probe)] * len(tape), 40, freeze)
        play(scheduler, tape, slots, random.Random(order))
        for index, results in enumerate(tape):
            quota = 1 + sum(not result.correct for result in results[:probe])
            assert scheduler.state(index).quota == quota
            assert scheduler.accepted(index) == in_trial_order(results, quota, 40)


@given(
    tapes(), st.integers(1, 6), st.integers(1, 20), st.integers(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 8)
)
def test_a_restart_anywhere_ends_the_same(
    tape: Tape, quota: int, slots: int, seed: int, kept: float, sound: float, probe: int
) -> None:
    """Also of a repaired ledger, in which any trials may be missing, and with a probe instead of known quotas."""

    def freeze(index: int, outcome: ProbeOutcome) -> Target:
        return Target(1 + outcome.n_trials - outcome.n_correct, 40)

    rng = random.Random(seed)
    specs = [QuerySpec(probe_trials=probe) if probe else QuerySpec(quota=quota)] * len(tape)
    first = Scheduler(specs, 40, freeze, futility=0.2)
    finished = play(first, tape, slots, rng)
    recorded = [trial for trial in finished[: int(len(finished) * kept)] if rng.random() < sound]
    second = Scheduler(specs, 40, freeze, futility=0.2)
    for trial in sorted(recorded):
        second.restore(trial, tape[trial.query][trial.trial])
    again = play(second, tape, slots, rng)
    assert not set(again) & set(recorded)
    for index in range(len(tape)):
        assert second.accepted(index) == first.accepted(index)
        assert second.state(index).status is first.state(index).status


@given(tapes(), st.integers(1, 20), st.integers())
def test_vanilla_spends_exactly_its_trials(tape: Tape, trials: int, seed: int) -> None:
    distinct = [[TrialResult(r.correct, i) for i, r in enumerate(results)] for results in tape]
    scheduler = Scheduler([QuerySpec(quota=trials, max_trials=trials)] * len(tape), 40)
    finished = play(scheduler, distinct, 16, random.Random(seed))
    assert sorted(finished) == [TrialId(q, t) for q in range(len(tape)) for t in range(trials)]


def test_hardest_query_first() -> None:
    scheduler = Scheduler([QuerySpec(quota=20)] * 3, 2000, speculate=False)
    rates = [1.0, 0.1, 0.5]
    for trial in scheduler.next_requests(24):
        scheduler.on_result(trial, TrialResult(trial.trial < 8 * rates[trial.query], trial.trial))
    order = list(dict.fromkeys(trial.query for trial in scheduler.next_requests(100)))
    assert order == [1, 2, 0]


def test_a_duplicate_counts_as_a_trial_not_toward_the_quota() -> None:
    scheduler = Scheduler([QuerySpec(quota=2)], 10)
    same = [TrialResult(True, 7)] * 3 + [TrialResult(True, 8)] * 7
    play(scheduler, [same], 1, random.Random(0))
    assert scheduler.accepted(0) == (0, 3)
    assert scheduler.state(0).n_decided == 4


def test_a_time_out_is_not_wrong_in_the_probe() -> None:
    outcomes = []

    def freeze(index: int, outcome: ProbeOutcome) -> Target:
        outcomes.append(outcome)
        return Target(1, 10)

    scheduler = Scheduler([QuerySpec(probe_trials=3)], 10, freeze)
    tape = [TrialResult(True, 1), TrialResult(False, 2, graded=False), TrialResult(False, 3)]
    play(scheduler, [tape], 4, random.Random(0))
    assert outcomes == [ProbeOutcome(3, 1, 2)]
    assert scheduler.state(0).n_ungraded == 1


def test_trials_beyond_the_accepted_prefix_are_aborted_only_then() -> None:
    scheduler = Scheduler([QuerySpec(quota=1)], 100)
    for _ in range(8):  # eight wrong ones: slots would idle, so more run than needed
        (trial,) = scheduler.next_requests(1)
        scheduler.on_result(trial, TrialResult(False, trial.trial))
    running = scheduler.next_requests(4)
    assert [trial.trial for trial in running] == [8, 9, 10, 11]
    assert scheduler.on_result(running[2], TrialResult(True, 50)) == [running[3]]  # 8 and 9 may still be the first
    assert not scheduler.done
    assert scheduler.on_result(running[0], TrialResult(True, 51)) == [running[1]]
    assert scheduler.accepted(0) == (8,)


def test_futility_stops_at_powers_of_two() -> None:
    scheduler = Scheduler([QuerySpec(quota=40)], 2048, futility=0.01)
    play(scheduler, [[TrialResult(False, i) for i in range(2048)]], 8, random.Random(0))
    state = scheduler.state(0)
    assert state.status is Status.FUTILE
    assert state.n_decided & (state.n_decided - 1) == 0
    assert chance_to_fill(state.n_decided, 0, 40, 2048 - state.n_decided) < 0.01


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(1, 30), st.integers(0, 100), st.data())
def test_chance_to_fill_is_the_beta_binomial_tail(n: int, need: int, remaining: int, data: st.DataObject) -> None:
    from scipy.stats import betabinom

    k = data.draw(st.integers(0, n))
    expected = betabinom.sf(need - 1, remaining, k + 0.5, n - k + 0.5)
    assert chance_to_fill(n, k, need, remaining) == pytest.approx(expected, abs=1e-9)


def test_a_query_that_needs_nothing_is_done_at_once() -> None:
    assert Scheduler([QuerySpec(quota=0)], 10).done


def test_a_query_without_quota_needs_a_probe() -> None:
    with pytest.raises(ValueError, match="probe_trials"):
        Scheduler([QuerySpec()], 10)


def test_surplus_is_counted_as_what_it_is() -> None:
    """Four trials in flight for a quota of one: three are surplus, of which one repeats the first."""
    scheduler = Scheduler([QuerySpec(quota=2)], 8)
    first, second = scheduler.next_requests(2)
    scheduler.on_result(first, TrialResult(True, 1))
    scheduler.on_result(second, TrialResult(True, 2))
    for number, key in ((2, 1), (3, 7), (4, 8)):
        scheduler.on_result(TrialId(0, number), TrialResult(True, key))
    restored = Scheduler([QuerySpec(quota=2)], 8)
    for number, key in enumerate((1, 2, 1, 7, 8)):
        restored.restore(TrialId(0, number), TrialResult(True, key))
    for state in (scheduler.state(0), restored.state(0)):
        assert (state.n_finished, state.n_correct, state.n_correct - state.n_distinct, state.n_kept) == (5, 5, 1, 2)
