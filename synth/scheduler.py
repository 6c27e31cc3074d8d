"""Which trial to sample next: a pure state machine without I/O or clock, shared by the simulator and every engine.

A query's trials are numbered from 0 and **accepted in trial order**: the kept responses are the first ``quota``
correct, non-duplicate trials by number, whatever order they finish in. (Keeping whichever finish first would
favour short responses.) A query is filled once every trial up to its last accepted one has finished;
trials beyond are surplus.

Feeding is continuous, hardest query first. A query normally has no more trials in flight than it still needs, which
makes surplus impossible. Only where a slot would idle are more started, up to need / estimated pass rate.

    >>> from synth.strategy import STRATEGIES
    >>> scheduler = Scheduler([QuerySpec(quota=1), QuerySpec(quota=1)], max_trials=8)
    >>> scheduler.next_requests(2)
    [TrialId(query=0, trial=0), TrialId(query=1, trial=0)]
    >>> scheduler.on_result(TrialId(0, 0), TrialResult(correct=True, text_key=1))
    []
    >>> scheduler.state(0).status, scheduler.accepted(0)
    (<Status.FILLED: 'filled'>, (0,))
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "ProbeOutcome",
    "QuerySpec",
    "QueryState",
    "Scheduler",
    "Status",
    "Target",
    "TrialId",
    "TrialResult",
    "chance_to_fill",
]

_SCOUT_TRIALS = 8  # without a probe: trials of every query before hardness decides the order (they count as usual)


class TrialId(NamedTuple):
    """The identity of a trial: the query's position in the run, and the trial's number within the query (from 0)."""

    query: int
    trial: int


class TrialResult(NamedTuple):
    """What the scheduler needs to know of a finished trial. ``graded`` is False after a grader time-out."""

    correct: bool
    text_key: int
    """Equal for two responses of one query exactly if their normalised texts are equal."""
    graded: bool = True


class ProbeOutcome(NamedTuple):
    """Counts over a query's first ``probe_trials`` trials."""

    n_trials: int
    n_correct: int
    n_graded: int


class Target(NamedTuple):
    """What a query is to reach: correct, non-duplicate responses, within a number of trials."""

    quota: int
    max_trials: int


class Status(StrEnum):
    """Where a query stands; all but the first two are final. Set aside: no engine can sample it."""

    PROBING = "probing"
    SAMPLING = "sampling"
    FILLED = "filled"
    EXHAUSTED = "exhausted"
    FUTILE = "futile"
    SET_ASIDE = "set_aside"


_OPEN = (Status.PROBING, Status.SAMPLING)


class QuerySpec(NamedTuple):
    """A query at the start: its quota if that is known, else the number of trials that will tell."""

    quota: int | None = None
    probe_trials: int = 0
    max_trials: int | None = None


@dataclass(frozen=True, slots=True)
class QueryState:
    """A snapshot of one query. Counts cover finished trials, surplus ones too.

    ``n_distinct`` counts correct ones without duplicates, ``n_kept`` those of them that are accepted.
    """

    status: Status
    quota: int | None
    n_finished: int
    n_correct: int
    n_distinct: int
    n_kept: int
    n_ungraded: int
    n_in_flight: int
    n_decided: int
    """Trials 0..n_decided-1 have all finished; for a final status, the trials that the decision rests on."""
    n_correct_decided: int
    """Correct ones (duplicates included) among those."""
    n_graded_decided: int
    """Those among them that the grader could judge."""

    @property
    def n_graded(self) -> int:
        """Finished trials that the grader could judge."""
        return self.n_finished - self.n_ungraded


def chance_to_fill(n_trials: int, n_correct: int, need: int, remaining: int) -> float:
    """Posterior chance of at least ``need`` more correct responses in ``remaining`` trials (Jeffreys prior).

    The upper tail of a beta-binomial distribution, after ``n_correct`` of ``n_trials``.
    """
    if need <= 0:
        return 1.0
    if remaining < need:
        return 0.0
    a, b = n_correct + 0.5, n_trials - n_correct + 0.5
    log_pmf = math.lgamma(b + remaining) - math.lgamma(b) + math.lgamma(a + b) - math.lgamma(a + b + remaining)
    log_terms = [log_pmf]
    for j in range(need - 1):
        log_pmf += math.log((remaining - j) * (a + j) / ((j + 1) * (remaining - j - 1 + b)))
        log_terms.append(log_pmf)
    top = max(log_terms)
    return max(0.0, 1.0 - math.exp(top) * math.fsum(math.exp(term - top) for term in log_terms))


class _Query:
    """Mutable book-keeping of one query."""

    __slots__ = (
        "accepted", "beyond", "cap", "first_by_key", "gaps", "in_flight", "issued", "n_correct", "n_finished",
        "n_ungraded", "prefix", "prefix_correct", "prefix_graded", "probe", "probe_correct", "probe_graded", "queued",
        "quota", "status",
    )  # fmt: skip

    def __init__(self, spec: QuerySpec, cap: int) -> None:
        self.quota = spec.quota
        self.probe = spec.probe_trials if spec.quota is None else 0
        self.cap = cap
        self.status = Status.PROBING if spec.quota is None else Status.SAMPLING
        self.issued = 0
        self.gaps: list[int] = []  # numbers below `issued` to be sampled again after a restart, descending
        self.in_flight: set[int] = set()
        self.first_by_key: dict[int, int] = {}  # correct texts -> lowest trial number
        self.prefix = 0  # trials 0..prefix-1 have finished
        self.prefix_correct = self.prefix_graded = 0
        self.beyond: dict[int, tuple[bool, bool]] = {}  # finished trials >= prefix -> correct, graded
        self.n_finished = self.n_correct = self.n_ungraded = 0
        self.probe_correct = self.probe_graded = 0
        self.accepted: tuple[int, ...] | None = None
        self.queued = False

    def pass_rate(self) -> float:
        return (len(self.first_by_key) + 0.5) / (self.n_finished + 1.0)

    def load(self) -> float:
        """Trials in flight over the number expected to be needed; a cautious (high) pass rate while little is known."""
        return len(self.in_flight) * (len(self.first_by_key) + 1.0) / ((self.n_finished + 1.0) * self.need())

    def need(self) -> int:
        assert self.quota is not None
        return self.quota - len(self.first_by_key)

    def allowance(self) -> int:
        """Trials that may start now without any possibility of surplus."""
        if self.status is Status.PROBING:
            return sum(gap < self.probe for gap in self.gaps) + max(0, self.probe - self.issued)
        need = self.need()
        if need <= 0:  # what is accepted depends on these alone
            return len(self.gaps)
        end = self.cap if self.n_finished >= _SCOUT_TRIALS else min(self.cap, _SCOUT_TRIALS)
        return min(need - len(self.in_flight), len(self.gaps) + max(0, end - self.issued))

    def start(self) -> int:
        """The lowest number that is neither finished nor in flight."""
        if self.gaps:
            number = self.gaps.pop()
        else:
            number = self.issued
            self.issued += 1
        self.in_flight.add(number)
        return number

    def rounds_left(self) -> float:
        """Expected number of further trials one after the other, when as many run as are needed: the critical path."""
        left = self.cap - self.issued
        return min(1.0 / self.pass_rate(), left / max(1, self.need()))


class Scheduler:
    """Decides which trials run. Call :meth:`restore` for trials of earlier runs, then feed engines from
    :meth:`next_requests` and report every finished trial to :meth:`on_result`.

    Args:
        queries: what is known of each query.
        max_trials: trials a query may use at most, unless its own specification says less.
        freeze: from a probe's outcome to the query's target; needed where a specification has no quota.
        futility: stop a query when the chance of filling its quota by the cap falls below this (0: never).
            Looked at only when 16, 32, 64, ... trials in a row have finished, so that it does not depend on timing.
        speculate: start trials beyond the need where a slot would idle.
        fixed_trials: quotas are numbers of trials, so that queries that have had theirs are filled.
    """

    def __init__(
        self,
        queries: Sequence[QuerySpec],
        max_trials: int,
        freeze: Callable[[int, ProbeOutcome], Target] | None = None,
        futility: float = 0.0,
        speculate: bool = True,
        fixed_trials: bool = False,
    ) -> None:
        self._freeze = freeze
        self._futility = futility
        self._speculate = speculate
        self.fixed_trials = fixed_trials
        self.max_trials = max_trials
        self._queries = [_Query(spec, min(max_trials, spec.max_trials or max_trials)) for spec in queries]
        self._heap: list[tuple[float, int]] = []
        self._restored = False
        self._open: dict[int, None] = {}
        for index, query in enumerate(self._queries):
            if query.quota is None and (freeze is None or not 0 < query.probe <= query.cap):
                raise ValueError("a query without a quota needs `freeze` and 1 <= probe_trials <= max_trials")
            self._open[index] = None
            if query.quota is not None and query.quota <= 0:
                self._close(index, query, Status.FILLED)
            else:
                self._enqueue(index, query)

    # ------------------------------------------------------------------ the three calls of a run
    def restore(self, trial: TrialId, result: TrialResult) -> None:
        """Take in a trial that an earlier run recorded. To be called before :meth:`next_requests`."""
        query = self._queries[trial.query]
        if trial.trial >= query.issued:
            query.gaps[:0] = range(trial.trial - 1, query.issued - 1, -1)
            query.issued = trial.trial + 1
        self._take(trial, query, result)
        self._restored = True

    def next_requests(self, n_slots: int) -> list[TrialId]:
        """Up to ``n_slots`` trials to start now; fewer where nothing is left to start."""
        if self._restored:
            self._rank_again()
        requests: list[TrialId] = []
        while len(requests) < n_slots and self._heap:
            _, index = heapq.heappop(self._heap)
            query = self._queries[index]
            query.queued = False
            if query.status not in _OPEN:
                continue  # closed while it waited in the heap
            count = min(query.allowance(), n_slots - len(requests))
            requests.extend(TrialId(index, query.start()) for _ in range(count))
            self._enqueue(index, query)
        if self._speculate and len(requests) < n_slots and self._open:
            self._start_speculative(n_slots, requests)
        return requests

    def on_result(self, trial: TrialId, result: TrialResult) -> list[TrialId]:
        """Take in a finished trial; returns trials in flight that are no longer wanted, to be aborted."""
        query = self._queries[trial.query]
        query.in_flight.discard(trial.trial)
        unwanted = self._take(trial, query, result)
        self._enqueue(trial.query, query)
        return unwanted

    def on_lost(self, trial: TrialId) -> None:
        """A trial in flight will never finish (its engine died): its number is to be sampled again."""
        query = self._queries[trial.query]
        if trial.trial in query.in_flight:
            query.in_flight.discard(trial.trial)
            query.gaps = sorted([*query.gaps, trial.trial], reverse=True)
            self._enqueue(trial.query, query)

    def set_aside(self, index: int) -> list[TrialId] | None:
        """Close a query that no engine can sample; returns its trials in flight, to be aborted. None: it was closed."""
        query = self._queries[index]
        if query.status not in _OPEN:
            return None
        self._close(index, query, Status.SET_ASIDE)
        return [TrialId(index, number) for number in self._drop_unneeded(query)]

    # ------------------------------------------------------------------ views
    @property
    def done(self) -> bool:
        """Whether every query is filled, exhausted or stopped."""
        return not self._open

    def __len__(self) -> int:
        return len(self._queries)

    def is_open(self, index: int) -> bool:
        """Whether a query still needs trials."""
        return index in self._open

    def wants(self, trial: TrialId) -> bool:
        """Whether a trial in flight can still be accepted or decide what is."""
        return trial.trial in self._queries[trial.query].in_flight

    def accepted(self, index: int) -> tuple[int, ...]:
        """Numbers of the accepted trials of a query so far, ascending (final once the query is)."""
        query = self._queries[index]
        return query.accepted if query.accepted is not None else self._select(query, query.issued)

    def expected_trials_left(self) -> float:
        """Trials still to finish, at the pass rates seen so far."""
        total = 0.0
        for index in self._open:
            query = self._queries[index]
            if query.status is Status.PROBING:
                total += query.probe - query.prefix
            else:
                total += min(query.cap - query.prefix, max(0, query.need()) / query.pass_rate())
        return total

    def state(self, index: int) -> QueryState:
        """A snapshot of one query."""
        query = self._queries[index]
        return QueryState(
            status=query.status,
            quota=query.quota,
            n_finished=query.n_finished,
            n_correct=query.n_correct,
            n_distinct=len(query.first_by_key),
            n_kept=len(query.accepted)
            if query.accepted is not None
            else min(len(query.first_by_key), query.quota or 0),
            n_ungraded=query.n_ungraded,
            n_in_flight=len(query.in_flight),
            n_decided=query.prefix,
            n_correct_decided=query.prefix_correct,
            n_graded_decided=query.prefix_graded,
        )

    # ------------------------------------------------------------------ inside
    def _rank_again(self) -> None:
        """Order the open queries by what restored trials tell."""
        self._restored = False
        self._heap = []
        for index in self._open:
            self._queries[index].queued = False
            self._enqueue(index, self._queries[index])

    def _enqueue(self, index: int, query: _Query) -> None:
        if query.queued or query.status not in _OPEN or query.allowance() <= 0:
            return
        query.queued = True
        unknown = query.status is Status.PROBING or query.n_finished < _SCOUT_TRIALS
        heapq.heappush(self._heap, (-math.inf if unknown else -query.rounds_left(), index))

    def _start_speculative(self, n_slots: int, requests: list[TrialId]) -> None:
        """Give idle slots to the trials least likely to be surplus: the queries furthest from their need."""
        ranked: list[tuple[float, int]] = []
        for index in self._open:
            query = self._queries[index]
            if query.status is Status.SAMPLING and query.need() > 0 and (query.gaps or query.issued < query.cap):
                ranked.append((query.load(), index))
        heapq.heapify(ranked)
        while ranked and len(requests) < n_slots:
            load, index = heapq.heappop(ranked)
            if load >= 1.0:
                return
            query = self._queries[index]
            requests.append(TrialId(index, query.start()))
            if query.gaps or query.issued < query.cap:
                heapq.heappush(ranked, (query.load(), index))

    def _take(self, trial: TrialId, query: _Query, result: TrialResult) -> list[TrialId]:
        number = trial.trial
        query.n_finished += 1
        query.n_correct += result.correct
        query.n_ungraded += not result.graded
        if result.correct:
            query.first_by_key[result.text_key] = min(number, query.first_by_key.get(result.text_key, number))
        if query.status not in _OPEN:
            return []  # surplus that finished before it could be aborted
        if number < query.probe:
            query.probe_correct += result.correct
            query.probe_graded += result.graded
        query.beyond[number] = result.correct, result.graded
        while query.status in _OPEN and query.prefix in query.beyond:
            correct, graded = query.beyond.pop(query.prefix)
            query.prefix_correct += correct
            query.prefix_graded += graded
            query.prefix += 1
            self._decide(trial.query, query)
        unwanted = self._drop_unneeded(query)
        return [TrialId(trial.query, number) for number in unwanted]

    def _decide(self, index: int, query: _Query) -> None:
        """Look at the trials 0..prefix-1, all finished: freeze the quota, or close the query."""
        if query.status is Status.PROBING and query.prefix >= query.probe:
            assert self._freeze is not None
            target = self._freeze(index, ProbeOutcome(query.probe, query.probe_correct, query.probe_graded))
            query.quota, query.cap = target.quota, min(query.cap, max(target.max_trials, query.probe))
            query.status = Status.SAMPLING
        if query.status is not Status.SAMPLING:
            return
        assert query.quota is not None
        if len(query.first_by_key) >= query.quota:
            chosen = self._select(query, query.prefix)
            if len(chosen) >= query.quota:
                self._close(index, query, Status.FILLED)
                return
        if query.prefix >= query.cap:
            self._close(index, query, Status.EXHAUSTED)
        elif self._futility > 0 and query.prefix >= 16 and query.prefix & (query.prefix - 1) == 0:
            n_distinct = len(self._select(query, query.prefix))
            chance = chance_to_fill(query.prefix, n_distinct, query.quota - n_distinct, query.cap - query.prefix)
            if chance < self._futility:
                self._close(index, query, Status.FUTILE)

    def _select(self, query: _Query, below: int) -> tuple[int, ...]:
        """The first ``quota`` distinct correct trials with numbers under ``below``."""
        if query.quota is None:
            return ()
        return tuple(sorted(trial for trial in query.first_by_key.values() if trial < below)[: max(0, query.quota)])

    def _drop_unneeded(self, query: _Query) -> list[int]:
        """Trials that can no longer be accepted leave the books; returns those in flight."""
        if query.status not in _OPEN:
            last = -1
        elif query.quota is not None and len(query.first_by_key) >= query.quota:
            last = self._select(query, query.issued)[-1]
            query.gaps = [gap for gap in query.gaps if gap < last]
        else:
            return []
        unwanted = sorted(number for number in query.in_flight if number > last)
        query.in_flight.difference_update(unwanted)
        return unwanted

    def _close(self, index: int, query: _Query, status: Status) -> None:
        query.accepted = self._select(query, query.prefix)
        query.status = status
        query.gaps = []
        query.beyond = {}
        del self._open[index]
