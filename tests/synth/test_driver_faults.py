"""Whatever an engine does to its trials, the ledger has each one once and the same responses are kept."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_tasks.grading import Case, Verdict, grade
from dart_tasks.problems.record import Problem
from dart_tasks.prompts import PromptTemplate
from synth.driver import Driver, Progress
from synth.engines import EngineError, Health, SetAside
from synth.engines.tape import TapeEngine
from synth.ledger import Ledger
from synth.prompting import PromptMaker
from synth.records import Completion, Request
from synth.scheduler import ProbeOutcome, QuerySpec, Scheduler, Status, Target, TrialId


class InlineGrader:
    """Grades where it stands: the property needs no processes."""

    def submit(self, case: Case) -> Future[Verdict]:
        future: Future[Verdict] = Future()
        future.set_result(grade(case.response, case.reference, case.benchmark))
        return future


def say(request: Request) -> tuple[str, int]:
    """A tape: right with a chance that falls with the query's number, sometimes a repetition, of random length."""
    source = random.Random(f"{request.id.query}/{request.id.trial}")
    right = source.random() < 1.0 / (1 + request.id.query % 5)
    words = " ".join("so" for _ in range(source.randrange(12)))
    return f"{words} The answer is \\boxed{{{request.id.query if right else -1}}}.", 1 + source.randrange(60)


class FaultyEngine:
    """Passes trials on to a tape and then loses, repeats, delays, reorders and forges what comes back."""

    def __init__(self, seed: int, chance: float) -> None:
        self._inner = TapeEngine(say, n_slots=24, jitter_seed=seed)
        self._random = random.Random(seed)
        self._chance = chance
        self._late: list[Completion] = []
        self._echoes: list[Completion] = []
        self._lost: list[TrialId] = []
        self.n_completed = 0

    @property
    def description(self) -> str:
        return "faulty"

    @property
    def capacity(self) -> int:
        return self._random.randrange(1, 24)  # replicas come and go

    def submit(self, requests: Sequence[Request]) -> None:
        self._inner.submit(requests)

    def poll(self, timeout_s: float) -> list[Completion]:
        come: list[Completion] = []
        for _ in range(self._random.randrange(1, 5)):
            come += self._inner.poll(timeout_s)
        self.n_completed += len(come)
        out, self._echoes = self._echoes, []
        for completion in come:
            fate = self._random.random() / self._chance if self._chance else 9.0
            if fate < 1:  # dropped, and noticed
                self._lost.append(completion.id)
            elif fate < 2:  # reported lost, yet it arrives later
                self._lost.append(completion.id)
                self._late.append(completion)
            elif fate < 3:  # delayed
                self._late.append(completion)
            elif fate < 4:  # twice, the second time with another text
                out.append(completion)
                self._echoes.append(Completion(completion.id, "The answer is \\boxed{0}.", 5, "stop"))
            elif fate < 5:  # under identities that nobody asked for, too
                wrong = [TrialId(completion.id.query, completion.id.trial + 1000), TrialId(10**6, 0), TrialId(-1, -1)]
                out += [completion, *(Completion(identity, completion.text, 5, "stop") for identity in wrong)]
            else:
                out.append(completion)
        if (self._late and self._random.random() < 0.5) or not come:
            out += self._late
            self._late = []
        self._random.shuffle(out)
        return out

    def abort(self, trials: Iterable[TrialId]) -> None:
        self._inner.abort(trials)

    def health(self) -> Health:
        lost, self._lost = tuple(self._lost), []
        doubled = lost if self._random.random() < 0.3 else ()
        return Health(True, 1, lost + doubled + ((TrialId(0, 10**6),) if lost else ()))

    def close(self) -> None:
        self._inner.close()


N_QUERIES = 40
QUERIES = [Problem(f"q{i}", f"What is {i}?", i, "generic", "own") for i in range(N_QUERIES)]


def make_scheduler() -> Scheduler:
    def freeze(index: int, probe: ProbeOutcome) -> Target:
        return Target(1 + probe.n_trials - probe.n_correct, 60)

    return Scheduler([QuerySpec(probe_trials=8)] * N_QUERIES, 60, freeze, futility=0.01)


def run(run_dir: Path, engine: FaultyEngine) -> tuple[Driver, Scheduler, dict[TrialId, str]]:
    scheduler = make_scheduler()
    with Ledger(run_dir) as ledger:
        ledger.add_queries(QUERIES)
        prompts = PromptMaker(PromptTemplate("bare", "{query}"))
        driver = Driver(QUERIES, scheduler, engine, InlineGrader(), ledger, prompts, attempt=0, lenient=False)
        driver.run()
        pool = {TrialId(row.query, row.trial): row.response for row in ledger.pool()}
        assert len(pool) == ledger.n_trials() == driver.progress.n_trials
    return driver, scheduler, pool


def kept(scheduler: Scheduler) -> list[tuple[Status, tuple[int, ...]]]:
    return [(scheduler.state(i).status, scheduler.accepted(i)) for i in range(N_QUERIES)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Status, tuple[int, ...]]]:
    driver, scheduler, pool = run(tmp_path_factory.mktemp("undisturbed"), FaultyEngine(0, 0.0))
    assert driver.progress.n_unexpected == driver.progress.n_lost == 0
    assert len(pool) > 500
    return kept(scheduler)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), chance=st.sampled_from([0.02, 0.1, 0.18]))
def test_faults_change_nothing(seed: int, chance: float, undisturbed: list[tuple[Status, tuple[int, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        driver, scheduler, pool = run(Path(folder), FaultyEngine(seed, chance))
    assert kept(scheduler) == undisturbed
    for index, (_, accepted) in enumerate(kept(scheduler)):
        for number in accepted:
            assert pool[TrialId(index, number)] == say(Request(TrialId(index, number), ""))[0]
    assert driver.progress.n_lost > 0
    assert driver.progress.n_unexpected > 0


class KilledByQuery(FaultyEngine):
    """Query 3 kills whatever runs it; after three times the engine says so."""

    def __init__(self) -> None:
        super().__init__(0, 0.0)
        self._kills = 0

    def submit(self, requests: Sequence[Request]) -> None:
        killers = [request.id for request in requests if request.id.query == 3]
        self._kills += bool(killers)
        self._lost += killers
        super().submit([request for request in requests if request.id.query != 3])

    def health(self) -> Health:
        lost, self._lost = tuple(self._lost), []
        return Health(True, 1, lost, (SetAside(3, "killed three replicas"),) if self._kills >= 3 and lost else ())


def test_a_query_set_aside_does_not_hold_up_the_others(
    tmp_path: Path, undisturbed: list[tuple[Status, tuple[int, ...]]]
) -> None:
    driver, scheduler, pool = run(tmp_path, KilledByQuery())
    assert driver.progress.set_aside == [SetAside(3, "killed three replicas")]
    assert kept(scheduler)[3] == (Status.SET_ASIDE, ())
    assert not [trial for trial in pool if trial.query == 3]
    others = [i for i in range(N_QUERIES) if i != 3]
    assert [kept(scheduler)[i] for i in others] == [undisturbed[i] for i in others]


class Dies(FaultyEngine):
    """Ends for good after some polls."""

    def health(self) -> Health:
        return Health(self.n_completed < 50, 0, message="no server answers")


def test_an_engine_that_ends_is_reported_and_loses_nothing_graded(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add_queries(QUERIES)
        prompts = PromptMaker(PromptTemplate("bare", "{query}"))
        driver = Driver(
            QUERIES, make_scheduler(), Dies(0, 0.0), InlineGrader(), ledger, prompts, attempt=0, lenient=False
        )
        with pytest.raises(EngineError, match="no server answers: give the same command again to resume"):
            driver.run()
        assert ledger.n_trials() == driver.progress.n_trials >= 50


class SlowGrader(InlineGrader):
    """Holds verdicts back until many wait."""

    def __init__(self) -> None:
        self._held: list[tuple[Future[Verdict], Case]] = []

    def submit(self, case: Case) -> Future[Verdict]:
        future: Future[Verdict] = Future()
        self._held.append((future, case))
        return future

    def update(self, progress: Progress, scheduler: Scheduler, n_running: int, n_grading: int) -> None:
        """As the driver's observer: what is in memory is bounded, however slow the graders are."""
        assert n_running <= 24
        assert n_running + n_grading <= 4 * 24
        if n_grading >= 70 or not n_running:
            held, self._held = self._held, []
            for future, case in held:
                future.set_result(grade(case.response, case.reference, case.benchmark))


def test_sampling_waits_for_slow_graders(tmp_path: Path, undisturbed: list[tuple[Status, tuple[int, ...]]]) -> None:
    scheduler, grader = make_scheduler(), SlowGrader()
    with Ledger(tmp_path) as ledger:
        ledger.add_queries(QUERIES)
        engine = TapeEngine(say, n_slots=24, jitter_seed=0)
        prompts = PromptMaker(PromptTemplate("bare", "{query}"))
        Driver(
            QUERIES, scheduler, engine, grader, ledger, prompts, attempt=0, lenient=False, observer=grader
        ).run()  # fmt: skip
    assert kept(scheduler) == undisturbed


class Interrupted(SlowGrader):
    """Ctrl-C while verdicts are out, which are cancelled then."""

    def update(self, progress: Progress, scheduler: Scheduler, n_running: int, n_grading: int) -> None:
        if n_grading > 20:
            raise KeyboardInterrupt

    def cancel(self) -> int:
        return sum(future.cancel() for future, _ in self._held)


def test_verdicts_that_are_cancelled_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    grader = Interrupted()
    with Ledger(tmp_path) as ledger:
        ledger.add_queries(QUERIES)
        prompts = PromptMaker(PromptTemplate("bare", "{query}"))
        engine = TapeEngine(say, n_slots=24, jitter_seed=0)
        driver = Driver(
            QUERIES, make_scheduler(), engine, grader, ledger, prompts, attempt=0, lenient=False, observer=grader
        )
        with pytest.raises(KeyboardInterrupt):
            driver.run()
        assert grader.cancel() > 20
    assert caplog.text == ""
