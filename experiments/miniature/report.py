"""Write docs/miniature.md and its plots from what the grid left: every number and verdict is computed here."""

from __future__ import annotations

import shlex
import statistics as stats
from collections.abc import Callable, Sequence
from pathlib import Path

from dart_tasks.embedded.problems import LEVELS
from experiments.miniature import plots
from experiments.miniature.claims import claims_table
from experiments.miniature.design import ABLATIONS, EQUAL_TRIALS, MAIN_ARMS, UNIFORM_TOKENS, Arm, Grid
from experiments.miniature.regimes import (
    by_strength,
    changes,
    explanation,
    parts_table,
    regime_table,
    strength,
    studies_by_strength,
)
from experiments.miniature.results import Run, fail_rates, read_results
from experiments.miniature.stages import read_record
from experiments.miniature.statistics import Estimate
from experiments.miniature.study import (
    COLUMNS,
    EASY,
    GROUPS,
    HARD,
    LEVEL_NAMES,
    Study,
    n_trials,
    percent,
    points,
    table,
)

__all__ = ["write_report"]

HERE = Path(__file__).resolve().parent
REGIME_GROUPS = {"all levels": LEVEL_NAMES, "levels 1 to 3": EASY, "levels 4 and 5": HARD}


# ---------------------------------------------------------------------- sections
def headline(study: Study, arms: Sequence[Arm]) -> str:
    """One row for each arm: data, cost, accuracy, difference to vanilla."""
    rows = []
    for arm in arms:
        vanilla = arm.name == "vanilla"
        n_seeds, n_all = len(study.runs(arm.name)), len(study.results.seeds)
        cells = [
            arm.label + (f" ({n_seeds} of {n_all} seeds)" if n_seeds < n_all else ""),
            f"{study.mean(arm.name, lambda run: run.data.n_responses):,.0f}",
            f"{study.mean(arm.name, lambda run: run.data.n_available):,.0f}",
            f"{study.mean(arm.name, lambda run: run.data.n_tokens) / 1000:,.0f}k",
            f"{study.mean(arm.name, n_trials):,.0f}",
        ]
        for group in GROUPS.values():
            cells += [
                percent(study.accuracy(arm.name, group)),
                "" if vanilla else points(study.difference("vanilla", arm.name, group)),
            ]
        rows.append(cells)
    for name in study.results.references:
        cells = [{"student": "*Student before*", "synthesiser": "*Synthesiser*"}[name], "", "", "", ""]
        for group in GROUPS.values():
            cells += [percent(study.reference(name, group)), ""]
        rows.append(cells)
    headings = ["", "responses", "available", "tokens", "trials"]
    for group_name in GROUPS:
        headings += [f"accuracy, {group_name}", "above vanilla"]
    return table(headings, rows)


def by_level(study: Study, arms: Sequence[Arm]) -> str:
    """Accuracy on every level and variation."""
    rows = []
    for name in study.results.references:
        cells = [percent(study.reference(name, group)) for group in COLUMNS.values()]
        rows.append([{"student": "*Student before*", "synthesiser": "*Synthesiser*"}[name], *cells])
    for arm in arms:
        rows.append([arm.label, *(percent(study.accuracy(arm.name, group)) for group in COLUMNS.values())])
    for arm in arms:
        if arm.name != "vanilla":
            cells = [points(study.difference("vanilla", arm.name, group)) for group in COLUMNS.values()]
            rows.append([f"{arm.label}, above vanilla", *cells])
    return table(["accuracy, %", *COLUMNS], rows)


def by_seed(study: Study, arms: Sequence[Arm]) -> str:
    """Difference to vanilla, seed by seed: five numbers say more about five seeds than an interval."""
    rows = []
    strata = study.results.strata()
    for arm in arms:
        if arm.name == "vanilla":
            continue
        for group_name, group in GROUPS.items():
            values = [
                100 * stats.fmean(float(row[strata[name]].mean()) for name in group) for row in study.effect(arm.name)
            ]
            spread = f"{stats.stdev(values):.1f}" if len(values) > 1 else ""
            rows.append([f"{arm.label}, {group_name}", *(f"{value:+.1f}" for value in values),
                         f"{stats.fmean(values):+.1f}", spread])  # fmt: skip
    return table(["points above vanilla", *(f"seed {s}" for s in study.results.seeds), "mean", "deviation"], rows)


_OF_LEVEL: dict[str, Callable[[Run, int], float]] = {
    "responses per query": lambda run, level: run.data.responses_by_level.get(str(level), 0),
    "queries with a response, %": lambda run, level: 100 * run.data.queries_by_level.get(str(level), 0),
    "... before the cut to size, %": lambda run, level: (
        100 * sum(query.n_correct > 0 for query in run.pool if query.level == level)
    ),
    "trials per query": lambda run, level: sum(query.n_trials for query in run.pool if query.level == level),
}


def data_by_level(study: Study, arms: Sequence[Arm]) -> str:
    """Where the responses and the trials went."""
    rows = []
    n_queries = study.grid.settings.queries_per_level
    for arm in arms:
        runs = study.runs(arm.name)
        for what, value in _OF_LEVEL.items():
            cells = [f"{stats.fmean(value(run, level) for run in runs) / n_queries:.1f}" for level in LEVELS]
            rows.append([f"{arm.label}: {what}", *cells])
    return table(["", *LEVEL_NAMES], rows)


def times(study: Study) -> str:
    """Minutes of wall time by kind of stage."""
    kinds = {"pool": "a pool (dart-synth)", "train": "a fine-tuning", "evaluate": "an evaluation (lm_eval)"}
    rows = []
    for kind, label in kinds.items():
        arms = [arm for arm in MAIN_ARMS if kind != "pool" or arm.cut == "size"]  # arms of another cut share a pool
        seconds = [run.seconds[kind] for arm in arms for run in study.runs(arm.name)]
        rows.append([label, f"{stats.fmean(seconds):.0f}", f"{min(seconds):.0f}", f"{max(seconds):.0f}"])
    student = study.grid.student().folder(study.grid.root)
    if student.is_dir():
        seconds = [read_record(student).seconds]
        rows.append(["the student's training", f"{seconds[0]:.0f}", "", ""])
    return table(["seconds of wall time", "mean", "least", "most"], rows)


def sizes_present(study: Study) -> list[int]:
    """The sizes at which all arms of the default grid are there."""
    return [size for size in study.grid.settings.sizes if len(study.present(MAIN_ARMS, size)) == len(MAIN_ARMS)]


def scaling(study: Study) -> str:
    """Accuracy against data set size, where there are several."""
    rows = []
    for size in sizes_present(study):
        for arm in MAIN_ARMS:
            cells = [
                f"{arm.label}, {size:,}",
                str(len(study.runs(arm.name, size))),
                f"{study.mean(arm.name, lambda run: run.data.n_responses, size):,.0f}",
                f"{study.mean(arm.name, n_trials, size):,.0f}",
            ]
            for group in GROUPS.values():
                difference = study.difference("vanilla", arm.name, group, size)
                cells += [
                    percent(study.accuracy(arm.name, group, size)),
                    "" if arm.name == "vanilla" else points(difference),
                ]
            rows.append(cells)
    headings = ["", "seeds", "responses", "trials"]
    for group_name in GROUPS:
        headings += [f"accuracy, {group_name}", "above vanilla"]
    return table(headings, rows)


# ---------------------------------------------------------------------- pictures
def responses_curves(study: Study, arms: Sequence[Arm]) -> list[plots.Curve]:
    """Mean responses per query in ten bins of fail rate, the same fail rates for all arms of a seed."""
    n_bins = 10
    by_arm: dict[str, list[list[int]]] = {arm.name: [[] for _ in range(n_bins)] for arm in arms}
    middles: list[list[float]] = [[] for _ in range(n_bins)]
    for index in range(len(study.results.seeds)):
        rates = fail_rates(study.runs(arm.name)[index].pool for arm in arms)
        for query_id, rate in rates.items():
            place = min(int(rate * n_bins), n_bins - 1)
            middles[place].append(rate)
            for arm in arms:
                by_arm[arm.name][place].append(study.runs(arm.name)[index].data.responses_by_query.get(query_id, 0))
    filled = [i for i in range(n_bins) if len(middles[i]) >= 5]
    x = [stats.fmean(middles[i]) for i in filled]
    return [plots.Curve(arm.name, arm.label, x, [stats.fmean(by_arm[arm.name][i]) for i in filled]) for arm in arms]


def draw(study: Study, studies: Sequence[Study], folder: Path, stem: str) -> dict[str, str]:
    """Write the plots; returns their file names."""
    arms = study.present(MAIN_ARMS)
    names = {"figure": f"{stem}_figure1.png", "levels": f"{stem}_levels.png"}

    def curve(arm: Arm, x: Sequence[float], estimates: Sequence[Estimate]) -> plots.Curve:
        return plots.Curve(arm.name, arm.label, x, [estimate.mean for estimate in estimates], estimates)

    accuracy = {
        name: [curve(arm, [0], [study.accuracy(arm.name, group)]) for arm in arms]
        for name, group in {**GROUPS, "longer chains": ("longer",), "other wording": ("wording",)}.items()
    }
    baseline = {
        name: study.reference("student", group).mean
        for name, group in {**GROUPS, "longer chains": ("longer",), "other wording": ("wording",)}.items()
    }
    curves = responses_curves(study, [arm for arm in arms if arm.cut == "size"])
    plots.figure_one(accuracy, curves, baseline, folder / names["figure"])
    differences = [
        curve(arm, range(len(COLUMNS)), [study.difference("vanilla", arm.name, group) for group in COLUMNS.values()])
        for arm in arms
        if arm.name != "vanilla"
    ]
    plots.levels_plot(differences, list(COLUMNS), folder / names["levels"])
    if len(studies) > 1:
        names["regimes"] = f"{stem}_regimes.png"
        strengths = [strength(other) for other in studies]
        panels = {
            name: [curve(arm, strengths, [other.difference("vanilla", arm.name, group) for other in studies])
                   for arm in arms[1:]]
            for name, group in REGIME_GROUPS.items()
        }  # fmt: skip
        plots.regimes_plot(panels, folder / names["regimes"])
    if len(sizes := sizes_present(study)) > 1:
        names["scaling"] = f"{stem}_scaling.png"
        panels = {
            name: [
                curve(
                    arm,
                    [study.mean(arm.name, lambda run: run.data.n_responses, size) for size in sizes],
                    [study.accuracy(arm.name, group, size) for size in sizes],
                )
                for arm in MAIN_ARMS
            ]
            for name, group in GROUPS.items()
        }
        plots.scaling_plot(panels, folder / names["scaling"])
    return names


# ---------------------------------------------------------------------- the page
def commands(study: Study) -> str:
    """The commands of one cell, as they were run."""
    arm, seed = MAIN_ARMS[2], study.results.seeds[0]
    grid, lines = study.grid, []
    for stage in (grid.pool(arm, study.size, seed), grid.data(arm, study.size, seed), grid.model(arm, study.size, seed),
                  grid.result(arm, study.size, seed)):  # fmt: skip
        lines += [f"$ {shlex.join(command)}" for command in read_record(stage.folder(grid.root)).commands]
    return "\n".join(lines)


def regimes(studies: Sequence[Study], picture: str) -> list[str]:
    """The sections on students of different strength."""
    steps = "; ".join(f"from {name}: {points(estimate)}" for name, estimate in changes(studies))
    return [
        "## Where the line runs",
        "The same data sets, given to students taken at different points of one training (`make miniature-full`). This "
        "was added when the result above was known: read it as exploration.",
        regime_table(studies),
        f"![Difference to vanilla against the student's accuracy before]({picture})",
        "How much more Prop2Diff brings over all levels, above vanilla, to a student than to the next weaker one, in "
        f"points: {steps}.",
        "## Why",
        "Prop2Diff moves responses from the easy levels to the hard ones. The difference over all levels is the sum of "
        "what that costs on the easy levels and what it brings on the hard ones. *Room*: how far a student was from "
        "the synthesiser before, and the share of it that lay on the hard levels; it depends on no strategy. Few "
        "students establish no law.",
        parts_table(studies),
        explanation(studies),
    ]


def answer(study: Study) -> str:
    """The result in two sentences."""
    words = {"higher": "beat", "lower": "lost to", "unresolved": "could not be told apart from"}
    parts = []
    for arm in study.present(MAIN_ARMS)[1:]:
        hard, overall = (study.difference("vanilla", arm.name, group) for group in (HARD, LEVEL_NAMES))
        parts.append(
            f"- **{arm.label}** {words[hard.verdict]} vanilla on the hard levels (4 and 5): {points(hard)} points; "
            f"over all levels it {words[overall.verdict]} vanilla: {points(overall)} points."
        )
    return "\n".join(parts)


def write_report(grid: Grid, page: Path) -> None:
    """Write the page, and its plots beside it."""
    study = Study(grid, read_results(grid))
    settings, results = grid.settings, study.results
    page.parent.mkdir(parents=True, exist_ok=True)
    studies = studies_by_strength(study)
    names = draw(study, studies, page.parent, page.stem)
    arms = study.present(MAIN_ARMS)
    n_test = len(results.strata()["level 1"])
    n_varied = len(results.strata()["longer"])
    seeds = f"{len(results.seeds)} seed{'s' if len(results.seeds) > 1 else ''}"
    parts = [
        "# The paper's claim, in miniature",
        "DART-Math claims that at equal data set size, training on more responses to hard queries (Uniform, and more "
        "so Prop2Diff) beats vanilla rejection sampling, most on hard problems. Here the claim is put to the test with "
        "models of 0.9M parameters on generated word problems, on two CPU cores: `make miniature`. This page is "
        f"generated from the results of {seeds}. Numbers in brackets are 95% intervals by a bootstrap over seeds "
        "(where they differ: the student before and the synthesiser are one model each) and, "
        f"within each level, over the {n_test} held-out problems. Bold: the interval leaves zero out.",
        f"At {study.size:,} responses:\n\n{answer(study)}",
        *([by_strength(studies)] if len(studies) > 1 else []),
        f"![Accuracy by strategy; responses per query against difficulty]({names['figure']})",
        f"Right: the cap of {settings.max_trials} trials bends the curves down at the end. Fail rates are those of all "
        "pools of a seed together, which are not independent of the responses.",
        "## Headline",
        headline(study, arms),
        "*Responses* are chosen by chance from those *available*; *tokens* are prompts and responses of the training "
        f"data (each seen {settings.epochs} times); *trials* is "
        'what the pool cost. Rows without "equal tokens" have equal numbers of responses and epochs, as in the paper: '
        'data with longer responses then trains for more tokens and steps. "Equal tokens" is the same data cut by '
        "chance to the tokens of vanilla's data set of that seed, and so to fewer responses.",
        "## By level",
        by_level(study, arms),
        f"*Longer chains*: {n_varied} problems of 6 steps, where training queries have at most 5. *Other wording*: "
        f"{n_varied} problems of 3 steps in sentences whose order or mixture no training query has. (The student's "
        "own earlier training had some chains of 6 and 7 steps.)",
        f"![Difference to vanilla by level]({names['levels']})",
        "## Seed by seed",
        by_seed(study, arms),
        "## Where responses and trials went",
        data_by_level(study, [arm for arm in arms if arm.cut == "size"]),
        "The cut to equal size is by chance, and so takes from some queries the only response that Prop2Diff had "
        "guaranteed them.",
        "## What of the paper showed here, and what did not",
        claims_table(study),
        "With the default student. *(ours)*: questions that the paper does not ask in this form.",
    ]
    if "regimes" in names:
        parts += regimes(studies, names["regimes"])
    if "scaling" in names:
        parts += ["## Scaling", scaling(study), f"![Accuracy against data set size]({names['scaling']})"]
    ablations = study.present((UNIFORM_TOKENS, EQUAL_TRIALS, *ABLATIONS))
    if ablations:
        parts += [
            "## Ablations",
            headline(study, [*study.present(MAIN_ARMS), *ablations]),
            "Where not all seeds are finished, the difference to vanilla is over those that are; of one seed, the "
            "interval is over problems only.",
        ]
    if results.missing:
        parts.append(f"Not finished in all seeds when this page was written: {', '.join(results.missing)}.")
    parts += [
        "## Design",
        design(study),
        "## Commands of one cell",
        f"```text\n{commands(study)}\n```",
        "## Time",
        times(study),
        "## Log of pilots",
        (HERE / "pilots.md").read_text(encoding="utf-8").strip(),
    ]
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def design(study: Study) -> str:
    """The settings in words, from the settings."""
    s = study.grid.settings
    return "\n".join(
        (
            f"- **Problems**: generated; level = number of steps, 1 to 5; stories and bare chains. "
            f"{s.queries_per_level} training queries a level, other ones for every seed; {s.test_per_level} test "
            "problems a level. No test problem is among the training queries.",
            "- **Synthesiser**: the embedded model. **Student**: the same training after "
            f"{s.student_at:.0%} of its steps, run anew by `make miniature` (the same bits only on the same machine).",
            f"- **Pools**: a run of its own for every strategy and seed, at temperature {s.temperature:g}; Prop2Diff "
            f"probes with {s.probe} trials; at most {s.max_trials} trials a query (at larger sizes more, in "
            "proportion); duplicates do not count. k is the smallest that is expected to give the wanted size, by the "
            "pass rates of a pilot, so that little is left to cut.",
            "- **Data sets**: cut by chance to exactly the size, every response with the same chance to stay.",
            f"- **Training**: `train/sft.py`, {s.epochs} epochs, packs of 1,024 tokens, 4 packs a step, learning rate "
            "1e-3, cosine; seeds differ in queries, samples and order of training.",
            "- **Judged by** `lm_eval`, greedy, by the same grader for all.",
            "- **Limits**: test problems come from the generator that the models were trained on, where the easiest "
            "may have occurred (for all arms alike); one synthesiser, students of one training and one "
            "family of problems; a "
            "bootstrap over so few seeds is rough, so see the seeds themselves; none of the page's many intervals is "
            "adjusted for their number (an end that rounds to zero counts as zero); queries are few and much "
            "alike, and a student this small is far from one that knows its mathematics from pretraining.",
        )
    )
