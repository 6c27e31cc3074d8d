"""One synthesis from configuration to data set: load, resume, sample, export. The command line is in ``synth.cli``."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from dart_tasks.console import counted
from dart_tasks.files import DataError
from dart_tasks.problems.record import Problem
from synth.card import run_card
from synth.config import MODEL_TEMPLATE, RunConfig
from synth.curate import RunPool, read_trials
from synth.data import dataset_fingerprint, dataset_name, load_queries
from synth.difficulty import sampled_by
from synth.display import group_name
from synth.driver import Driver, Grader, Observer, Progress
from synth.engines import Engine, SetAside
from synth.export import ExportCounts, Layout, configs_block, count_exported_trials, export_run
from synth.forecast import Probe
from synth.ledger import Ledger, LedgerError, StoredResult, damaged, trial_id
from synth.lengths import Lengths
from synth.manifest import Manifest, adapter_fingerprint, config_of_manifest, manifest_lost
from synth.prompting import PromptMaker, prompt_maker
from synth.scheduler import ProbeOutcome, QuerySpec, Scheduler, Target
from synth.strategy import QueryStats, Strategy, get_strategy
from synth.usage import Usage, usage_of

__all__ = [
    "KnownDifficulty",
    "OpenedRun",
    "Plan",
    "RunReport",
    "build_plan",
    "check_dataset_names",
    "load_run_queries",
    "manifest_of",
    "restore",
    "synthesise",
]

EngineFactory = Callable[[RunConfig, int], Engine]
"""From the configuration and this attempt's seed to an engine."""


@dataclass
class Plan:
    """Queries and their scheduler; ``fail_rates`` are filled in as quotas are frozen."""

    queries: list[Problem]
    scheduler: Scheduler
    fail_rates: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class RunReport:
    """What an attempt did. ``exported`` is None where the run was stopped before its end."""

    plan: Plan
    progress: Progress
    resumed_trials: int
    exported: ExportCounts | None
    usage: dict[str, Usage]


def load_run_queries(config: RunConfig, say: Callable[[str], None] = lambda line: None) -> list[Problem]:
    """The queries that a configuration names.

    Raises:
        DataError: they cannot be had, or ``check_dataset_names`` finds fault.
    """
    check_dataset_names(config, map(dataset_name, config.datasets))
    where = {column: frozenset(values) for column, values in config.where}
    return load_queries(config.datasets, where, config.limit, config.balance_levels, config.skip_bad_rows, say)


def check_dataset_names(config: RunConfig, names: Iterable[str]) -> None:
    """See that data sets with a k or a cap of their own are among those of a run.

    Raises:
        DataError: one is not.
    """
    known = set(names)
    for name, _ in (*config.dataset_k, *config.dataset_max_trials):
        if name not in known:
            raise DataError(f"no data set is called {name} here, but {', '.join(sorted(known))}")


def build_plan(config: RunConfig, queries: list[Problem], strategy: Strategy | None = None) -> Plan:
    """The scheduler of a run, nothing sampled yet."""
    strategy = strategy or get_strategy(config.strategy)
    plan = Plan(queries, Scheduler([], 1), [query.fail_rate for query in queries])

    def target(index: int, stats: QueryStats) -> Target:
        dataset = queries[index].dataset
        quota = strategy.quota(stats, config.k_of(dataset))
        return Target(quota, quota if strategy.fixed_trials else config.cap_of(dataset))

    def freeze(index: int, probe: ProbeOutcome) -> Target:
        fail_rate = 1.0 - probe.n_correct / probe.n_graded if probe.n_graded else 1.0
        plan.fail_rates[index] = fail_rate
        query = queries[index]
        return target(index, QueryStats(fail_rate, probe.n_trials, probe.n_correct, query.level, query.domain))

    def spec(index: int, query: Problem) -> QuerySpec:
        if strategy.needs_difficulty and query.fail_rate is None:
            return QuerySpec(probe_trials=max(1, config.probe))
        fail_rate = query.fail_rate if query.fail_rate is not None else float("nan")
        quota, cap = target(index, QueryStats(fail_rate, 0, 0, query.level, query.domain))
        return QuerySpec(quota=quota, max_trials=cap)

    plan.scheduler = Scheduler(
        [spec(index, query) for index, query in enumerate(queries)],
        config.most_trials,
        freeze,
        futility=config.futility,
        fixed_trials=strategy.fixed_trials,
    )
    return plan


def restore(plan: Plan, ledger: Ledger, lenient: bool, look: Callable[[StoredResult], None] = lambda row: None) -> int:
    """Rebuild the scheduler's counters from the ledger. Returns the number of trials found; ``look`` sees each.

    Raises:
        LedgerError: the ledger is damaged.
    """
    count = 0
    for stored in ledger.results(plan.scheduler.max_trials):
        plan.scheduler.restore(trial_id(stored), stored.result(lenient))
        look(stored)
        count += 1
    return count


def synthesise(
    config: RunConfig,
    run_dir: Path,
    queries: list[Problem],
    make_engine: EngineFactory,
    grader: Grader,
    grader_version: str,
    *,
    observer: Observer | None = None,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> RunReport:
    """Start or resume the run in ``run_dir``; on completion its data set is in ``run_dir/dataset``.

    Raises:
        ManifestMismatchError, LedgerError, EngineError: see there. A killed or failed run resumes with the same call.
    """
    prompts = prompt_maker(config, (query.benchmark for query in queries))
    manifest = manifest_of(config, queries, prompts, grader_version)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(run_dir, create=Manifest.read(run_dir) is None))
        if ledger.notice:
            say(ledger.notice)
        _settle_identity(manifest, run_dir, ledger, queries)
        plan = build_plan(config, queries)
        resumed = restore(plan, ledger, config.lenient_extraction)
        if resumed < (exported_trials := count_exported_trials(run_dir / "dataset")):
            of_all = f"{resumed:,} of the {counted(exported_trials, 'trial')}"
            raise LedgerError(damaged(run_dir, f"{of_all} its data set was made from are left"))
        if resumed:
            n_open = sum(map(plan.scheduler.is_open, range(len(queries))))
            still_open = f"{n_open:,} of {counted(len(queries), 'query')} still open"
            say(f"resuming {run_dir}: {counted(resumed, 'trial')} recorded, {still_open}")
        progress = Progress()
        if not plan.scheduler.done:
            attempt, seed = ledger.begin_attempt(f"{config.engine} {config.model}", config.seed)
            engine = stack.enter_context(closing(make_engine(config, seed)))
            ledger.describe_attempt(attempt, engine.description)
            ledger.add_endpoints(attempt, config.priced_endpoints())
            driver = Driver(
                queries, plan.scheduler, engine, grader, ledger, prompts,
                attempt=attempt, lenient=config.lenient_extraction, keep_thinking=config.keep_thinking,
                observer=observer, say=say,
            )  # fmt: skip
            progress = driver.progress
            driver.run(stop)
            ledger.set_aside(progress.set_aside)
        exported = None
        if plan.scheduler.done:
            layout = Layout(config.dataset_format, config.keep_thinking, config.thinking_in)
            exported = export_run(
                ledger, plan.scheduler, queries, plan.fail_rates, [sampled_by(config, query) for query in queries],
                run_dir / "dataset", layout, config.system_message,
                lambda n_rows: run_card(
                    config, grader_version, n_rows, configs_block(run_dir / "dataset", layout.file_name)
                ),
            )  # fmt: skip
        return RunReport(plan, progress, resumed, exported, usage_of(ledger))


def manifest_of(config: RunConfig, queries: Sequence[Problem], prompts: PromptMaker, grader_version: str) -> Manifest:
    """What a run is whose trials this version of the grader judged."""
    identity = {**config.identity(), "prompt_text": prompts.template.text if prompts.template else MODEL_TEMPLATE}
    identity["adapter"] = adapter_fingerprint(config.adapter)
    if prompts.shots:
        identity["exemplar_texts"] = {name: [list(shot) for shot in shots] for name, shots in prompts.shots.items()}
    return Manifest(identity, dataset_fingerprint(queries), grader_version, len(queries))


def _settle_identity(manifest: Manifest, run_dir: Path, ledger: Ledger, queries: list[Problem]) -> None:
    """See that manifest, ledger and configuration tell of the same run; write what a new run lacks."""
    stored, held = Manifest.read(run_dir), ledger.queries()
    if stored is not None:
        manifest.check(stored, run_dir)
        stored.check_queries(held, run_dir)
        return
    if ledger.n_trials():
        raise LedgerError(manifest_lost(f"{run_dir} has a ledger but no manifest.json", run_dir))
    if held:  # killed before it wrote its manifest
        manifest.check_queries(held, run_dir)
    else:
        ledger.add_queries(queries)
    manifest.write(run_dir)


@dataclass(frozen=True)
class OpenedRun:
    """A run as its directory tells it, opened for reading."""

    config: RunConfig
    plan: Plan
    n_trials: int
    attempts: list[tuple[int, str, str, int]]
    trials_of_attempts: Counter[int]
    lengths: dict[str, Lengths]
    """By difficulty, as ``group_name`` says."""
    set_aside: list[SetAside]
    """Queries that the last attempt could not sample; they are open."""
    grader_version: str
    usage: dict[str, Usage]

    @property
    def all_lengths(self) -> Lengths:
        """Of all trials."""
        total = Lengths()
        for lengths in self.lengths.values():
            total.extend(lengths)
        return total


def open_run(run_dir: Path) -> OpenedRun:
    """Read a run, also while another process works on it.

    Raises:
        LedgerError: no run there, or it is damaged.
    """
    with Ledger(run_dir, read_only=True) as ledger:
        manifest, queries = Manifest.read(run_dir), ledger.queries()
        if manifest is None:
            raise LedgerError(f"no run in {run_dir} (manifest.json is missing)")
        manifest.check_queries(queries, run_dir)
        config = config_of_manifest(manifest)
        plan = build_plan(config, queries)
        of_attempts: Counter[int] = Counter()
        lengths: dict[str, Lengths] = defaultdict(Lengths)
        groups = [group_name(query) for query in queries]

        def look(row: StoredResult) -> None:
            of_attempts[row.attempt] += 1
            lengths[groups[row.query]].add(row)

        n_trials = restore(plan, ledger, config.lenient_extraction, look)
        set_aside = [SetAside(query, why) for query, why in ledger.queries_set_aside() if plan.scheduler.is_open(query)]
        return OpenedRun(
            config,
            plan,
            n_trials,
            ledger.attempts(),
            of_attempts,
            lengths,
            set_aside,
            manifest.grader_version,
            usage_of(ledger),
        )


@dataclass(frozen=True)
class KnownDifficulty:
    """What a forecast starts from. Mean tokens are 0 where nothing was sampled."""

    probes: list[Probe]
    tokens_correct: float
    tokens_wrong: float


def probes_of_run(run_dir: Path, config: RunConfig) -> KnownDifficulty:
    """The trials of a run as the probe of a plan."""
    strategy = get_strategy(config.strategy)
    found, _, _ = read_trials([RunPool(run_dir)], config.lenient_extraction, strategy.needs_difficulty)
    check_dataset_names(config, (told.query.dataset for told in found.values()))
    probes = []
    for told in found.values():
        stats = QueryStats(told.fail_rate, told.n_trials, told.n_correct, told.query.level, told.query.domain)
        probes.append(Probe(told.n_trials, told.n_correct, strategy.quota(stats, config.k_of(told.query.dataset))))
    tokens, counts = [0, 0], [0, 0]
    with Ledger(run_dir, read_only=True) as ledger:
        for row in ledger.results():
            correct = row.result(config.lenient_extraction).correct
            tokens[correct] += row.n_tokens
            counts[correct] += 1
    wrong, correct_mean = (tokens[side] / max(1, counts[side]) for side in (0, 1))
    return KnownDifficulty(probes, correct_mean or wrong, wrong or correct_mean)


def probes_of_queries(config: RunConfig) -> KnownDifficulty:
    """Known fail rates of the queries.

    Raises:
        ValueError: a query without a known fail rate.
    """
    strategy = get_strategy(config.strategy)
    probes = []
    for query in load_run_queries(config):
        if query.fail_rate is None:
            raise ValueError("a plan needs --run RUN (a probe) or --fail-rate-column (known fail rates)")
        quota = strategy.quota(QueryStats(query.fail_rate, 0, 0, query.level, query.domain), config.k_of(query.dataset))
        probes.append(Probe(0, 0, quota, 1.0 - query.fail_rate))
    return KnownDifficulty(probes, 0.0, 0.0)
