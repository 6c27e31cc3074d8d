"""The loop that joins scheduler, engine, grader and ledger. Runs until every query is settled."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from dart_tasks.console import printable
from dart_tasks.grading import Case, Verdict
from dart_tasks.problems.record import Problem
from synth.engines import Engine, EngineError, SetAside
from synth.ledger import Ledger
from synth.prompting import PromptMaker
from synth.records import Completion, Trial, text_key, thought_apart
from synth.scheduler import Scheduler, TrialId

__all__ = ["Driver", "Grader", "Observer", "Progress", "flags_of", "was_graded"]

_UNGRADED = frozenset({"timeout", "memory", "crashed"})
_UNFINISHED = "unfinished_thinking"
_POLL_S = 0.05
_ALIKE = 8  # responses to a query that are no chance if they are all the same
_PATIENCE_S = 4.0  # with an engine that does not answer, once the run is to stop


def was_graded(verdict: Verdict) -> bool:
    """False where the grader ran out of time or memory: that is not "wrong"."""
    return not _UNGRADED.intersection(verdict.flags)


def flags_of(verdict: Verdict, response: str, reasoning: str | None) -> tuple[str, ...]:
    """The verdict's flags, and what the grader does not see: that a thought has no response after it."""
    unfinished = reasoning is not None and not response.strip()
    return tuple(dict.fromkeys((*verdict.flags, *((_UNFINISHED,) if unfinished else ()))))


class Grader(Protocol):
    """What the driver needs of :class:`dart_tasks.grading.GradingPool`."""

    def submit(self, case: Case) -> Future[Verdict]:
        """Grade a case elsewhere; the future never raises from the case itself."""


@dataclass(slots=True)
class Progress:
    """Counts over this process's attempt (trials of earlier attempts are in the scheduler)."""

    n_trials: int = 0
    n_tokens: int = 0
    n_correct: int = 0
    n_ungraded: int = 0
    n_surplus_tokens: int = 0
    """Tokens of trials that finished after their query was settled."""
    n_aborted: int = 0
    n_lost: int = 0
    """Trials whose replica died; they are sampled again under the same numbers."""
    n_unexpected: int = 0
    """Completions dropped because nothing of that identity was running: doubles, wrong ids, late ones."""
    set_aside: list[SetAside] = field(default_factory=list)
    draining: bool = False
    trouble: str = ""
    """What keeps the engine from answering now."""


class Observer(Protocol):
    """Sees progress now and then, between engine steps."""

    def update(self, progress: Progress, scheduler: Scheduler, n_running: int, n_grading: int) -> None:
        """Show something; must be quick."""


class Driver:
    """One attempt at a run. The scheduler must have been restored from the ledger already."""

    def __init__(
        self,
        queries: Sequence[Problem],
        scheduler: Scheduler,
        engine: Engine,
        grader: Grader,
        ledger: Ledger,
        prompts: PromptMaker,
        *,
        attempt: int,
        lenient: bool,
        keep_thinking: bool = False,
        observer: Observer | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._queries = queries
        self._scheduler = scheduler
        self._engine = engine
        self._grader = grader
        self._ledger = ledger
        self._prompts = prompts
        self._attempt = attempt
        self._lenient = lenient
        self._keep_thinking = keep_thinking
        self._observer = observer
        self._say = say
        # query -> text key of all its responses, how many, how many were cut while thinking
        self._alike: dict[int, tuple[int, int, int] | None] | None = {}
        self._running: dict[TrialId, int | None] = {}  # -> seed
        self._grading: set[TrialId] = set()
        # Not a SimpleQueue: its get(timeout) never ends where a slow signal handler outlasts the timeout.
        self._verdicts: queue.Queue[tuple[Completion, int | None, Verdict]] = queue.Queue()
        self.progress = Progress()
        self._answering_s = time.monotonic()

    def run(self, stop: threading.Event | None = None) -> None:
        """Until every query is settled; once ``stop`` is set, start nothing new and finish what is in flight.

        Raises:
            EngineError: the engine is no longer usable. LedgerError: trials can no longer be recorded.
        """
        while not self._scheduler.done:
            self.progress.draining = stop is not None and stop.is_set()
            if not self.progress.draining:
                self._feed()
            if not self._running and not self._grading:
                break
            if self._running:
                for completion in self._engine.poll(_POLL_S):
                    if completion.id in self._running:
                        self._grade(completion)
                    else:
                        self.progress.n_unexpected += 1
                self._check_health()
            self._take_verdicts(wait=not self._running)
            if self._observer is not None:
                self._observer.update(self.progress, self._scheduler, len(self._running), len(self._grading))
        self._take_all_verdicts()
        self._ledger.flush()

    def _feed(self) -> None:
        # The backlog of the graders is bounded too: sampling waits rather than filling memory with ungraded texts.
        capacity = self._engine.capacity
        free = min(capacity - len(self._running), 4 * capacity - len(self._running) - len(self._grading))
        if free <= 0:
            return
        requests = [
            self._prompts.request(trial, self._queries[trial.query]) for trial in self._scheduler.next_requests(free)
        ]
        self._running.update((request.id, request.seed) for request in requests)
        self._engine.submit(requests)

    def _grade(self, completion: Completion) -> None:
        seed = self._running.pop(completion.id)
        query = self._queries[completion.id.query]
        completion = thought_apart(completion)
        case = Case(
            response=completion.text,
            reference=query.reference,
            benchmark=query.benchmark,
            question=query.query,
            tolerance=None,
            finish_reason=completion.finish_reason,
        )
        self._grading.add(completion.id)
        future = self._grader.submit(case)
        future.add_done_callback(partial(self._on_verdict, completion, seed))

    def _on_verdict(self, completion: Completion, seed: int | None, done: Future[Verdict]) -> None:
        if not done.cancelled():  # the pool cancels what is left when the run ends by an error or Ctrl-C
            self._verdicts.put((completion, seed, done.result()))

    def _take_verdicts(self, wait: bool) -> None:
        if wait and self._grading:
            try:
                self._record(*self._verdicts.get(timeout=_POLL_S))
            except queue.Empty:
                return
        while True:
            try:
                self._record(*self._verdicts.get_nowait())
            except queue.Empty:
                return

    def _take_all_verdicts(self) -> None:
        while self._grading:
            self._record(*self._verdicts.get())

    def _record(self, completion: Completion, seed: int | None, verdict: Verdict) -> None:
        trial = Trial(
            id=completion.id,
            response=completion.text,
            n_tokens=completion.n_tokens,
            finish_reason=completion.finish_reason,
            answer=verdict.answer,
            correct=verdict.correct,
            explicit=verdict.explicit,
            graded=was_graded(verdict),
            source=verdict.source,
            reason=verdict.reason,
            flags=flags_of(verdict, completion.text, completion.reasoning),
            attempt=self._attempt,
            replica=completion.replica,
            seed=seed,
            reasoning=completion.reasoning,
            n_thought_tokens=completion.n_thought_tokens,
            n_prompt_tokens=completion.n_prompt_tokens,
            keep_thinking=self._keep_thinking,
        )
        self._grading.discard(completion.id)
        self._ledger.append(trial)
        self._look_for_sameness(trial)
        wanted = self._scheduler.wants(trial.id)
        result = trial.result(self._lenient)
        self._abort(self._scheduler.on_result(trial.id, result))
        self.progress.n_trials += 1
        self.progress.n_tokens += trial.n_tokens
        self.progress.n_correct += result.correct
        self.progress.n_ungraded += not trial.graded
        self.progress.n_surplus_tokens += 0 if wanted else trial.n_tokens

    def _look_for_sameness(self, trial: Trial) -> None:
        """Say once that a query gets the same response, or none, each time: such trials are wasted."""
        if self._alike is None:
            return
        key, name = text_key(trial.response), self._queries[trial.id.query].id
        alike = self._alike.setdefault(trial.id.query, (key, 0, 0))
        if alike is None:
            return
        count = alike[1] + 1
        n_cut = alike[2] + (_UNFINISHED in trial.flags and trial.finish_reason == "length")
        self._alike[trial.id.query] = (key, count, n_cut) if key == alike[0] else None
        if key == alike[0] and count == _ALIKE:
            self._alike = None
            what = "the same" if trial.response.strip() else "empty"
            look_at = "temperature, prompt template and stop strings"
            if n_cut == _ALIKE:
                look_at = f"--max-new-tokens: each was cut while it was still thinking, the last at {trial.n_tokens:,}"
            self._say(
                f"query {printable(name)}: its first {_ALIKE} responses are all {what}: more trials may be wasted; "
                f"look at {look_at}"
            )

    def _abort(self, unwanted: Sequence[TrialId]) -> None:
        running = [identity for identity in unwanted if identity in self._running]
        if running:
            self._engine.abort(running)
            self.progress.n_aborted += len(running)
            for identity in running:
                del self._running[identity]

    def _check_health(self) -> None:
        health = self._engine.health()
        self.progress.trouble = health.trouble
        if health.n_replicas or not self.progress.draining:
            self._answering_s = time.monotonic()
        elif time.monotonic() - self._answering_s > _PATIENCE_S:  # what is in flight will not come
            self._abort(list(self._running))
        if self.progress.draining:
            self._abort(health.waiting)
        for trial in health.lost:
            if trial in self._running:  # else it has finished, or is no longer wanted
                del self._running[trial]
                self.progress.n_lost += 1
                self._scheduler.on_lost(trial)
        for refused in health.set_aside:
            unwanted = self._scheduler.set_aside(refused.query)
            if unwanted is not None:  # else another of its trials has said so, or it is filled
                self.progress.set_aside.append(refused)
                self._abort(unwanted)
        if not health.ok:
            self._take_all_verdicts()
            self._ledger.flush()
            reason = health.message or "the engine stopped working"
            raise EngineError(f"{reason}: give the same command again to resume" if health.resumable else reason)
