"""The book-keeping of replicas: no trial in two places, and only the guilty are set aside."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from synth.engines.dispatch import DEATHS, Dispatcher
from synth.records import Request
from synth.scheduler import TrialId


def requests(*trials: tuple[int, int]) -> list[Request]:
    return [Request(TrialId(*trial), "") for trial in trials]


def ids(found: list[Request]) -> list[TrialId]:
    return [request.id for request in found]


def test_trials_are_shared_out_evenly() -> None:
    dispatcher = Dispatcher()
    dispatcher.submit(requests(*((i, 0) for i in range(10))))
    for replica in range(4):
        dispatcher.join(replica, 8)
    assert [len(dispatcher.take(replica).start) for replica in range(4)] == [3, 3, 3, 1]


def test_a_replica_takes_no_more_than_it_has_room_for() -> None:
    dispatcher = Dispatcher()
    dispatcher.join(0, 3)
    dispatcher.submit(requests(*((i, 0) for i in range(10))))
    assert ids(dispatcher.take(0).start) == [(0, 0), (1, 0), (2, 0)]
    assert dispatcher.take(0).start == []
    assert dispatcher.finished(0, TrialId(1, 0))
    assert ids(dispatcher.take(0).start) == [(3, 0)]


def test_an_aborted_trial_leaves_and_its_replica_is_told() -> None:
    dispatcher = Dispatcher()
    dispatcher.join(0, 2)
    dispatcher.submit(requests((0, 0), (1, 0), (2, 0)))
    dispatcher.take(0)
    dispatcher.abort([TrialId(0, 0), TrialId(2, 0), TrialId(9, 9)])
    assert dispatcher.take(0) == ([], [TrialId(0, 0)])
    assert not dispatcher.finished(0, TrialId(0, 0))
    assert len(dispatcher) == 1


def test_a_late_report_of_a_lost_trial_does_not_end_its_second_run() -> None:
    dispatcher = Dispatcher()
    dispatcher.join(0, 1)
    dispatcher.submit(requests((0, 0)))
    dispatcher.take(0)
    assert dispatcher.died(0) == ([TrialId(0, 0)], [])
    dispatcher.join(1, 1)
    dispatcher.submit(requests((0, 0)))
    dispatcher.take(1)
    assert not dispatcher.finished(0, TrialId(0, 0))
    assert dispatcher.finished(1, TrialId(0, 0))


def test_nodes_that_are_taken_away_blame_no_query() -> None:
    """Everything runs on both replicas of a node that dies again and again; trials then finish one by one."""
    dispatcher = Dispatcher()
    everything = requests(*((i, j) for i in range(8) for j in range(2)))
    for death in range(DEATHS - 1):
        dispatcher.join(2 * death, 8)
        dispatcher.join(2 * death + 1, 8)
        dispatcher.submit(everything)
        dispatcher.take(2 * death), dispatcher.take(2 * death + 1)
        assert dispatcher.died(2 * death)[1] == dispatcher.died(2 * death + 1)[1] == []
    dispatcher.submit(everything)
    dispatcher.join(9, 8)
    n_done = 0
    while len(dispatcher):
        (only,) = dispatcher.take(9).start
        assert dispatcher.finished(9, only.id)
        n_done += 1
    assert n_done == 16


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_replicas=st.integers(1, 5), killers=st.sets(st.integers(0, 11), max_size=2))
def test_every_trial_ends_and_only_killers_are_set_aside(seed: int, n_replicas: int, killers: set[int]) -> None:
    """A replica dies when it runs a killer. Lost trials come back, as from the scheduler."""
    chance = random.Random(seed)
    dispatcher = Dispatcher()
    n_started = 0
    done: set[TrialId] = set()
    aside: set[int] = set()
    wanted = [(query, trial) for query in range(12) for trial in range(3)]
    dispatcher.submit(requests(*wanted))
    for _ in range(2000):
        while len(dispatcher.replicas()) < n_replicas:
            dispatcher.join(n_started, chance.randrange(1, 9))
            n_started += 1
        replica = chance.choice(dispatcher.replicas())
        dispatcher.take(replica)
        here = sorted(trial for trial in dispatcher._replicas[replica].in_flight)
        if any(trial.query in killers for trial in here):
            lost, guilty = dispatcher.died(replica)
            assert lost == here
            aside.update(guilty)
            dispatcher.abort(TrialId(query, trial) for query, trial in wanted if query in aside)
            dispatcher.submit(requests(*(trial for trial in lost if trial.query not in aside)))
        elif here:
            trial = chance.choice(here)
            assert dispatcher.finished(replica, trial)
            assert trial not in done
            done.add(trial)
        if not len(dispatcher):
            break
    assert aside == killers
    assert done >= {TrialId(query, trial) for query, trial in wanted if query not in killers}
    assert n_started <= n_replicas + 3 * len(killers) * DEATHS  # three trials of each killer
