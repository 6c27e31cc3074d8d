"""The design: what is compared, with which settings, as commands of the product.

The default grid was fixed before it was run (docs/miniature.md has the log of pilots); the stronger students were added
when its result was known. For every seed there are
other training queries, other samples and another order of training; the synthesiser, the student and the test problems
are the same. Every arm's pool comes from a run of its own, so that trials spent are those of the strategy alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dart_tasks.embedded import MODEL_DIR
from dart_tasks.embedded import problems as embedded_problems
from dart_tasks.embedded import train_tiny as embedded_training
from dart_tasks.grading import GRADER_VERSION
from experiments.miniature import cut, outcomes, problems
from experiments.miniature.plugin import dart_miniature
from experiments.miniature.stages import OUTPUT, Stage
from synth.strategy import STRATEGIES, QueryStats, Strategy

__all__ = ["ABLATIONS", "MAIN_ARMS", "Arm", "Grid", "Settings", "expected_yield", "k_for"]

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "recipe.yaml"
PLUGIN = HERE / "plugin"

PILOT_PASS_RATES = {1: 0.89, 2: 0.80, 3: 0.73, 4: 0.37, 5: 0.19}
"""The synthesiser's share of correct responses by level, at temperature 0.8, on 250 queries a level (a pilot)."""
_MAX_K = 2_000
PILOT_CONCENTRATION = 2.0
"""Pass rates of a level's queries are spread as a Beta distribution: alpha + beta that fits the pilot's yields."""


@dataclass(frozen=True)
class Settings:
    """Numbers of the experiment. Sizes are responses in a data set; ``probe`` and ``max_trials`` count trials."""

    seeds: int = 5
    queries_per_level: int = 200
    sizes: tuple[int, ...] = (2640,)
    main_size: int = 2640
    test_per_level: int = 400
    test_per_variation: int = 300
    epochs: int = 2
    temperature: float = 0.8
    probe: int = 8
    max_trials: int = 64
    student_at: float = 0.6
    student_steps: int = 2200
    stronger_at: tuple[float, ...] = (0.75, 0.9)
    """Where stronger students are taken (``--full``)."""


@dataclass(frozen=True)
class Arm:
    """One way to make a data set.

    Attributes:
        cut: ``size`` to the equal number of responses, ``tokens`` to the tokens of vanilla's data set of that size and
            seed, ``none`` to leave it as it is (``k`` is then set so that the trials are equal).
        max_trials: the cap on trials of a query where it is not the settings'.
    """

    name: str
    label: str
    strategy: str
    cut: Literal["size", "tokens", "none"] = "size"
    keep_duplicates: bool = False
    max_trials: int | None = None


VANILLA = Arm("vanilla", "Vanilla", "vanilla")
PROP2DIFF = Arm("prop2diff", "Prop2Diff", "prop2diff")
MAIN_ARMS = (
    VANILLA,
    Arm("uniform", "Uniform", "uniform"),
    PROP2DIFF,
    Arm("prop2diff-tokens", "Prop2Diff, equal tokens", "prop2diff", cut="tokens"),
)
UNIFORM_TOKENS = Arm("uniform-tokens", "Uniform, equal tokens", "uniform", cut="tokens")
EQUAL_TRIALS = Arm("vanilla-trials", "Vanilla, equal trials (as Prop2Diff)", "vanilla", cut="none")
ABLATIONS = (
    Arm("log-odds", "Quota by log-odds of failing", "miniature-log-odds"),
    Arm("per-level", "Fixed quota per level, no probe", "miniature-per-level"),
    Arm("or-none", "Prop2Diff, no response guaranteed", "miniature-or-none"),
    Arm("cap-16", "Prop2Diff, at most 16 trials", "prop2diff", max_trials=16),
    Arm("cap-256", "Prop2Diff, at most 256 trials", "prop2diff", max_trials=256),
    Arm("duplicates", "Prop2Diff, duplicates kept", "prop2diff", keep_duplicates=True),
)

_STRATEGIES = STRATEGIES | {
    strategy.name: strategy
    for strategy in (dart_miniature.log_odds, dart_miniature.per_level, dart_miniature.prop2diff_or_none)
}


# ---------------------------------------------------------------------- how many responses to ask for
@functools.cache
def expected_yield(strategy: Strategy, k: int, probe: int, max_trials: int) -> float:
    """Responses per query to expect of a strategy, over the five levels, from the pilot's pass rates."""
    total = 0.0
    for level, mean in PILOT_PASS_RATES.items():
        if strategy.fixed_trials:
            total += k * mean
            continue
        quotas = [
            strategy.quota(QueryStats(1 - n_correct / probe, probe, n_correct, level), k)
            for n_correct in range(probe + 1)
        ]
        for pass_rate, weight in _pass_rates(mean):
            for n_correct, quota in enumerate(quotas):
                chance = math.comb(probe, n_correct) * pass_rate**n_correct * (1 - pass_rate) ** (probe - n_correct)
                total += weight * chance * min(quota, max_trials * pass_rate)
    return total / len(PILOT_PASS_RATES)


@functools.cache
def _pass_rates(mean: float, n_points: int = 50) -> list[tuple[float, float]]:
    """Pass rates of a level's queries, with their weights."""
    alpha, beta = mean * PILOT_CONCENTRATION, (1 - mean) * PILOT_CONCENTRATION
    points = [(i + 0.5) / n_points for i in range(n_points)]
    weights = [x ** (alpha - 1) * (1 - x) ** (beta - 1) for x in points]
    return [(x, weight / sum(weights)) for x, weight in zip(points, weights, strict=True)]


def k_for(strategy: Strategy, per_query: float, probe: int, max_trials: int, margin: float = 1.05) -> int:
    """The smallest k that is expected to give ``per_query`` responses, and a little more to cut to size.

    Raises:
        ValueError: none does.
    """
    wanted = margin * per_query
    if expected_yield(strategy, _MAX_K, probe, max_trials) < wanted:
        raise ValueError(
            f"{strategy.name} cannot give {per_query:g} responses a query within {max_trials} trials: "
            "fewer responses (--size), or more queries"
        )
    k = 1
    while expected_yield(strategy, k, probe, max_trials) < wanted:
        k += 1
    return k


# ---------------------------------------------------------------------- the grid as stages
@dataclass(frozen=True)
class Grid:
    """The stages of one setting."""

    settings: Settings
    root: Path = Path("miniature")

    def folder(self, stage: Stage) -> str:
        return str(stage.folder(self.root))

    def test_problems(self) -> Stage:
        """The held-out problems of all three sets, in one file."""
        return Stage(
            "problems/test",
            (
                (
                    "python", "-m", problems.__name__, "test", "--per-level", str(self.settings.test_per_level),
                    "--per-variation", str(self.settings.test_per_variation), "--output", f"{OUTPUT}/problems.jsonl",
                ),
            ),
            files=(_source(problems), _source(embedded_problems)),
        )  # fmt: skip

    def train_problems(self, seed: int) -> Stage:
        """The queries of one seed."""
        test = self.test_problems()
        return Stage(
            f"problems/train-s{seed}",
            (
                (
                    "python", "-m", problems.__name__, "train", "--per-level", str(self.settings.queries_per_level),
                    "--seed", str(seed), "--exclude", f"{self.folder(test)}/problems.jsonl",
                    "--output", f"{OUTPUT}/problems.jsonl",
                ),
            ),
            after=(test,),
            files=(_source(problems), _source(embedded_problems)),
        )  # fmt: skip

    def student(self) -> Stage:
        """The weaker model: an earlier checkpoint of the training that ended in the synthesiser."""
        return Stage(
            "student",
            (
                (
                    "python", "-m", embedded_training.__name__, "--steps", str(self.settings.student_steps),
                    "--base-at", f"{self.settings.student_at:g}", "--only-base", "--output", OUTPUT,
                ),
            ),
            files=(_source(embedded_training), _source(embedded_problems)),
        )  # fmt: skip

    def pool(self, arm: Arm, size: int, seed: int, k: int | None = None) -> Stage:
        """A synthesis run."""
        queries, settings = self.train_problems(seed), self.settings
        strategy = _STRATEGIES[arm.strategy]
        # A larger k needs more trials of the same queries: the cap grows with it, as the paper's does.
        cap = arm.max_trials or round(settings.max_trials * max(1.0, size / settings.main_size))
        if k is None:
            k = k_for(strategy, size / (5 * settings.queries_per_level), settings.probe, cap)
        limits = () if strategy.fixed_trials else ("--max-trials", str(cap))
        probe = ("--probe", str(settings.probe)) if strategy.needs_difficulty else ()
        plugin = () if arm.strategy in STRATEGIES else ("env", f"PYTHONPATH={_relative(PLUGIN)}")
        command = (
            *plugin, "dart-synth", "--preset", "demo", "--strategy", arm.strategy, "-k", str(k), *limits, *probe,
            "--futility", "0", "--dataset", f"{self.folder(queries)}/problems.jsonl",
            "--limit", str(5 * settings.queries_per_level), "--temperature", f"{settings.temperature:g}",
            "--seed", str(seed), "--grade-workers", "1", "--output", OUTPUT,
        )  # fmt: skip
        # Arms that differ in the cut only share the run: the name is that of what the command says.
        cap_name = f"-cap{arm.max_trials}" if arm.max_trials else ""
        name = f"pools/{arm.strategy.removeprefix('miniature-')}{cap_name}-k{k}-s{seed}"
        files = (MODEL_DIR, *((PLUGIN,) if plugin else ()))
        return Stage(
            name, (command,), after=(queries,), files=files, versions=(f"grader {GRADER_VERSION}",), resumes=True
        )

    def data(self, arm: Arm, size: int, seed: int, k: int | None = None) -> Stage:
        """The data set that is trained on."""
        pool = self.pool(arm, size, seed, k)
        after = [pool]
        amount: tuple[str, ...] = ()
        if arm.cut == "size":
            amount = ("--size", str(size))
        elif arm.cut == "tokens":
            after.append(self.data(VANILLA, size, seed))
            amount = ("--tokens-of", self.folder(after[-1]))
        command = (
            "python", "-m", cut.__name__, self.folder(pool), *amount,
            *(("--keep-duplicates",) if arm.keep_duplicates else ()), "--seed", str(seed),
            "--tokenizer", _relative(MODEL_DIR), "--output", OUTPUT,
        )  # fmt: skip
        return Stage(f"data/{arm.name}-{size}-s{seed}", (command,), after=tuple(after), files=(_source(cut),))

    def model(self, arm: Arm, size: int, seed: int, k: int | None = None) -> Stage:
        """The student after fine-tuning."""
        data, student = self.data(arm, size, seed, k), self.student()
        command = (
            "accelerate", "launch", "--cpu", "--num_processes", "1", "train/sft.py", "--recipe", _relative(RECIPE),
            "--model", f"{self.folder(student)}/base_model", "--data", f"{self.folder(data)}/train.jsonl",
            "--num_train_epochs", str(self.settings.epochs), "--seed", str(seed), "--output_dir", OUTPUT,
        )  # fmt: skip
        return Stage(f"models/{arm.name}-{size}-s{seed}", (command,), after=(data, student), files=(RECIPE,))

    def evaluation(self, name: str, model: str, after: Sequence[Stage]) -> Stage:
        """A model's answers to the held-out problems; needs no settings but the problems'."""
        test = self.test_problems()
        metadata = f'{{"problems": "{self.folder(test)}/problems.jsonl"}}'
        evaluate = (
            "lm_eval", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--tasks",
            "dart_math_demo", "--metadata", metadata, "--gen_kwargs", "max_gen_toks=192", "--batch_size", "200",
            "--device", "cpu", "--log_samples", "--output_path", OUTPUT,
        )  # fmt: skip
        condense = ("python", "-m", outcomes.__name__, OUTPUT)
        return Stage(
            f"results/{name}", (evaluate, condense), after=(*after, test), files=(_source(outcomes),),
            versions=(f"grader {GRADER_VERSION}",),
        )  # fmt: skip

    def result(self, arm: Arm, size: int, seed: int, k: int | None = None) -> Stage:
        """The evaluation of an arm's fine-tuned student."""
        model = self.model(arm, size, seed, k)
        return self.evaluation(f"{arm.name}-{size}-s{seed}", self.folder(model), (model,))

    def references(self) -> dict[str, Stage]:
        """The evaluations of the student before fine-tuning and of the synthesiser."""
        student = self.student()
        return {
            "student": self.evaluation("student", f"{self.folder(student)}/base_model", (student,)),
            "synthesiser": self.evaluation("synthesiser", _relative(MODEL_DIR), ()),
        }

    def stronger(self) -> list[Grid]:
        """The default grid with stronger students, which shares all pools and data sets with this one."""
        shares = [share for share in self.settings.stronger_at if share != self.settings.student_at]
        return [replace(self, settings=replace(self.settings, student_at=share)) for share in shares]

    def cells(self) -> list[tuple[Arm, int, int]]:
        """(arm, size, seed) of the default grid's fine-tuned students, seeds last: the first are complete early."""
        return [(arm, self.settings.main_size, seed) for seed in range(self.settings.seeds) for arm in MAIN_ARMS]

    def extra_cells(self) -> list[tuple[Arm, int, int]]:
        """The ablations and other sizes of the full grid, in the same order.

        Vanilla at equal trials is not among them: its k is known only when Prop2Diff has run.
        """
        settings = self.settings
        other_sizes = [size for size in settings.sizes if size != settings.main_size]
        kinds = [(arm, settings.main_size) for arm in (UNIFORM_TOKENS, *ABLATIONS)]
        kinds += [(arm, size) for size in other_sizes for arm in MAIN_ARMS]
        return [(arm, size, seed) for seed in range(settings.seeds) for arm, size in kinds]


def _source(module: object) -> Path:
    file = getattr(module, "__file__", None)
    assert isinstance(file, str)
    return Path(file)


def _relative(path: Path) -> str:
    """Relative to the checkout, from which the commands run: keys must not depend on where it lies."""
    return str(path.relative_to(HERE.parent.parent))
