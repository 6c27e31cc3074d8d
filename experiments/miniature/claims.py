"""The paper's claims, each with the number that this experiment has for it, and what that says."""

from __future__ import annotations

import statistics as stats

from experiments.miniature.design import EQUAL_TRIALS
from experiments.miniature.statistics import Estimate
from experiments.miniature.study import EASY, HARD, LEVEL_NAMES, Study, points, table

__all__ = ["claims_table", "word_of"]

_HARDEST = "5"


def word_of(estimate: Estimate) -> str:
    """What an interval says of "it is higher"."""
    return {"higher": "yes", "lower": "**no, the opposite**", "unresolved": "not resolved"}[estimate.verdict]


def claims_table(study: Study) -> str:
    """A Markdown table, a row for each claim."""

    def compare(claim: str, first: str, second: str, group: tuple[str, ...]) -> list[str]:
        difference = study.difference(first, second, group)
        return [claim, f"{points(difference)} points", word_of(difference)]

    rows = [
        compare("Prop2Diff beats vanilla at equal size", "vanilla", "prop2diff", LEVEL_NAMES),
        compare("... on hard problems", "vanilla", "prop2diff", HARD),
        compare("... also at equal tokens (ours)", "vanilla", "prop2diff-tokens", LEVEL_NAMES),
        compare("... on hard problems at equal tokens (ours)", "vanilla", "prop2diff-tokens", HARD),
        compare("... without loss on easy problems, levels 1 to 3 (ours)", "vanilla", "prop2diff", EASY),
        compare("... on longer chains than its training queries have (ours)", "vanilla", "prop2diff", ("longer",)),
        compare("... on other wording (ours)", "vanilla", "prop2diff", ("wording",)),
        compare("Uniform beats vanilla at equal size", "vanilla", "uniform", LEVEL_NAMES),
        compare("... on hard problems", "vanilla", "uniform", HARD),
        compare("Prop2Diff beats Uniform", "uniform", "prop2diff", LEVEL_NAMES),
        compare("... on hard problems", "uniform", "prop2diff", HARD),
        *_equal_trials(study),
        _hardest_gain(study),
        _coverage(study),
        _length(study),
        _cost(study),
    ]
    return table(["claim", "here", "shown?"], rows)


def _equal_trials(study: Study) -> list[list[str]]:
    """What the paper does not compare: vanilla's larger data set for as many trials, where that has been run."""
    if not study.present([EQUAL_TRIALS]):
        return []
    seeds = f"{len(study.runs(EQUAL_TRIALS.name))} of {len(study.results.seeds)} seeds"
    claim = f"Prop2Diff beats vanilla at equal trials (ours), {seeds}"
    rows = []
    for name, group in ((claim, LEVEL_NAMES), ("... on hard problems (ours)", HARD)):
        difference = study.difference(EQUAL_TRIALS.name, "prop2diff", group)
        rows.append([name, f"{points(difference)} points", word_of(difference)])
    return rows


def _hardest_gain(study: Study) -> list[str]:
    """Whether the advantage is larger on hard than on easy problems, by whether the intervals overlap."""
    easy = study.difference("vanilla", "prop2diff", EASY)
    hard = study.difference("vanilla", "prop2diff", HARD)
    number = f"{100 * hard.mean:+.1f} points on levels 4 and 5, {100 * easy.mean:+.1f} on levels 1 to 3"
    apart = hard.low > easy.high
    opposite = hard.high < easy.low
    return [
        "Prop2Diff's advantage is largest on hard problems",
        number,
        "yes" if apart else "**no, the opposite**" if opposite else "not resolved (the intervals overlap)",
    ]


def _coverage(study: Study) -> list[str]:
    n_queries = study.grid.settings.queries_per_level
    share = {
        arm: study.mean(arm, lambda run: run.data.queries_by_level.get(_HARDEST, 0) / n_queries)
        for arm in ("vanilla", "uniform", "prop2diff")
    }
    number = ", ".join(f"{arm} {value:.0%}" for arm, value in share.items())
    shown = share["prop2diff"] > share["vanilla"]
    return ["Vanilla leaves many hard queries without a response (level 5 covered)", number, "yes" if shown else "no"]


def _length(study: Study) -> list[str]:
    length = {
        arm: study.mean(arm, lambda run: run.data.n_response_tokens / run.data.n_responses)
        for arm in ("vanilla", "uniform", "prop2diff")
    }
    number = ", ".join(f"{arm} {value:.1f}" for arm, value in length.items())
    shown = length["vanilla"] < length["uniform"] < length["prop2diff"]
    return ["Responses become longer (tokens, mean)", number, "yes" if shown else "no"]


def _cost(study: Study) -> list[str]:
    trials = {
        arm: stats.fmean(sum(query.n_trials for query in run.pool) for run in study.runs(arm))
        for arm in ("vanilla", "uniform", "prop2diff")
    }
    number = ", ".join(f"{arm} {value:,.0f}" for arm, value in trials.items())
    shown = trials["vanilla"] < trials["uniform"] < trials["prop2diff"]
    return ["The price is trials", number, "yes" if shown else "no"]
