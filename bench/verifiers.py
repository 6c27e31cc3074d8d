"""Our grader beside others on labelled sets: precision, recall and accuracy by source, speed, and what they differ in.

    python bench/verifiers.py tests/grading/cases/*.jsonl --by kind
    python bench/verifiers.py REAL.jsonl opencompass/VerifierBench --page disagreements.html

A set is a file (JSON Lines or a JSON list) or a dataset on the hub, in our layouts, VerifierBench's, VerifyBench's or
that of hkust-nlp/rl-verifier-pitfalls_hacking_data, whose rows are all attacks. Graders that are not installed are left
out with a line that says so. ``verl-prime`` runs text of the responses as Python code: leave it out for data that you
do not trust (``--graders ours math-verify``).
"""

from __future__ import annotations

import argparse
import html
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from labelled import GRADERS, Labelled, Outcome, Showing, build, judge_all, load, showing, verdict_of

from dart_tasks.console import printable
from dart_tasks.files import DataError, write_atomically
from dart_tasks.grading import GRADER_VERSION

SHOWN_CHARS = 3_000  # of a response, its end: there the answer stands


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="FILE", help="labelled file, or owner/name of a dataset on the hub")
    parser.add_argument(
        "--graders", nargs="+", default=["ours", "math-verify", "verl-dapo", "verl-prime"], choices=GRADERS
    )
    parser.add_argument(
        "--by", choices=("source", "kind", "benchmark"), default="source", help="what a row of the table is"
    )
    parser.add_argument("--page", type=Path, help="write the cases in which a grader and the label differ, as HTML")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    try:
        cases = [case for name in options.sets for case in load(name)]
    except DataError as error:
        print(f"verifiers.py: {error}", file=sys.stderr)
        return 1
    results: dict[str, list[Outcome]] = {}
    for name in dict.fromkeys(options.graders):
        grader = build(name)
        if grader:
            title, judge = grader
            print(f"{title}: {len(cases):,} cases ...", file=sys.stderr)
            results[title] = judge_all(judge, cases)
    if not results:
        print("verifiers.py: none of the graders is usable here", file=sys.stderr)
        return 1
    groups = {
        value: [i for i, case in enumerate(cases) if getattr(case, options.by) == value]
        for value in sorted({getattr(case, options.by) for case in cases})
    }
    if options.json:
        print(json.dumps(as_json(cases, results, groups), indent=2))
    else:
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, grader {GRADER_VERSION}"
        )
        print(table(cases, results, groups))
    if options.page:
        write_atomically(options.page, page(cases, results))
        print(f"disagreements: {options.page}", file=sys.stderr)
    return 0


def part(indices: Sequence[int], cases: Sequence[Labelled], outcomes: Sequence[Outcome]) -> Showing:
    return showing([cases[i] for i in indices], [outcomes[i] for i in indices])


def table(cases: Sequence[Labelled], results: dict[str, list[Outcome]], groups: dict[str, list[int]]) -> str:
    """A row per group, for each grader accuracy, precision and recall in percent; then totals and times."""
    everything = list(range(len(cases)))
    first = max(len(name) for name in [*groups, "cases per CPU second"])
    lines = [f"{'':{first}}  {'cases':>6}" + "".join(f"  {title[:24]:>24}" for title in results)]
    lines.append(f"{'':{first}}  {'':>6}" + f"  {'accur. / prec. / recall':>24}" * len(results))
    for name, indices in [*groups.items(), ("all", everything)]:
        cells = [_cell(part(indices, cases, outcomes)) for outcomes in results.values()]
        lines.append(f"{name:{first}}  {len(indices):>6,}" + "".join(f"  {cell:>24}" for cell in cells))
    totals: list[tuple[str, Callable[[list[Outcome]], str]]] = [
        ("false accepts", lambda outcomes: f"{showing(cases, outcomes).false_accepts:,}"),
        ("false rejects", lambda outcomes: f"{showing(cases, outcomes).false_rejects:,}"),
        ("cases per CPU second", lambda outcomes: f"{rate(outcomes):,.0f}"),
        ("median, ms", lambda outcomes: f"{1e3 * statistics.median(o.cpu_s for o in outcomes):,.2f}"),
        (
            "99th percentile, ms",
            lambda outcomes: f"{1e3 * sorted(o.cpu_s for o in outcomes)[len(outcomes) * 99 // 100]:,.1f}",
        ),
        ("worst case, ms", lambda outcomes: f"{1e3 * worst(outcomes).cpu_s:,.1f}"),
        ("  its id", lambda outcomes: cases[outcomes.index(worst(outcomes))].id[:24]),
    ]
    for name, figure in totals:
        lines.append(f"{name:{first}}  {'':>6}" + "".join(f"  {figure(outcomes):>24}" for outcomes in results.values()))
    return "\n".join(lines)


def _cell(figures: Showing) -> str:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    return f"{share(figures.accuracy):>5} / {share(figures.precision):>5} / {share(figures.recall):>5}"


def rate(outcomes: Sequence[Outcome]) -> float:
    return len(outcomes) / max(sum(outcome.cpu_s for outcome in outcomes), 1e-9)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: outcome.cpu_s)


def as_json(
    cases: Sequence[Labelled], results: dict[str, list[Outcome]], groups: dict[str, list[int]]
) -> dict[str, object]:
    everything = list(range(len(cases)))
    return {
        title: {
            "groups": {
                name: asdict(part(indices, cases, outcomes)) for name, indices in [*groups.items(), ("all", everything)]
            },
            "cases_per_cpu_s": rate(outcomes),
            "worst_s": worst(outcomes).cpu_s,
        }
        for title, outcomes in results.items()
    }


def page(cases: Sequence[Labelled], results: dict[str, list[Outcome]]) -> str:
    """The cases that some grader judges otherwise than labelled, ours first; every text is escaped."""
    ours = results.get("ours")
    differing = [
        i for i, case in enumerate(cases) if any(outcomes[i].accepted != case.expected for outcomes in results.values())
    ]
    if ours:
        differing.sort(key=lambda i: ours[i].accepted == cases[i].expected)
    items = "".join(
        _item(cases[i], {title: outcomes[i].accepted for title, outcomes in results.items()}) for i in differing
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Disagreements</title><style>'
        "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
        "details{border:1px solid #d5dce3;border-radius:4px;margin:.35rem 0;padding:.3rem .7rem}"
        "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f5f7f9;padding:.6rem}"
        ".wrong{color:#a8321f}.right{color:#1f7a44}</style>"
        f"<h1>Disagreements</h1><p>{len(differing):,} of {len(cases):,} cases in which a grader and the label differ"
        f"{', those of ours first' if ours else ''}. Grader {_escape(GRADER_VERSION)}.</p>{items}</html>\n"
    )


def _escape(text: object) -> str:
    return html.escape(printable(str(text)), quote=True)


def _item(item: Labelled, verdicts: dict[str, bool]) -> str:
    marks = ", ".join(
        f'<span class="{"right" if accepted == item.expected else "wrong"}">{_escape(title)} '
        f"{'accepts' if accepted else 'refuses'}</span>"
        for title, accepted in verdicts.items()
    )
    verdict = verdict_of(item.case)
    head = f"{item.id} ({item.source}): {'right' if item.expected else 'wrong'}"
    found = f"ours found {verdict.answer!r} by {verdict.source}: {verdict.reason} {' '.join(verdict.flags)}"
    texts = (f"reference: {item.case.reference}", found, item.case.question or "", item.case.response[-SHOWN_CHARS:])
    shown = "".join(f"<pre>{_escape(text)}</pre>" for text in texts if text)
    return f"<details><summary>{_escape(head)}; {marks}</summary>{shown}</details>"


if __name__ == "__main__":
    sys.exit(main())
