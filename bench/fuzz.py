"""Random and mutated texts through the grader: none may raise or take over a second (two with computer algebra).

    python bench/fuzz.py 1000000
    python bench/fuzz.py 10000 --symbolic

A text is made of fragments of notation and of pieces of the shipped cases, cut, doubled and spliced. The seed is fixed,
so that what is found can be found again.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from functools import partial
from pathlib import Path

from labelled import load

from dart_tasks.grading import BENCHMARKS, Case
from dart_tasks.grading.grader import judge, settled
from dart_tasks.grading.run.worker import _within_cpu_time

CASES = Path(__file__).resolve().parents[1] / "tests" / "grading" / "cases"
FRAGMENTS = [
    *(
        r"\frac \sqrt \boxed{ { } ( ) [ ] \left \right \pm \cup , ; = < \le \infty \pi ^ _ ! % $ \$ | \text{ and or 1"
        r" 23 4.5 x y \begin{pmatrix} \end{pmatrix} \begin{cases} \end{cases} & \\ \sin \log_2 \sum_{k=1}^ \int_0^1 dx"
        r" \lim_{x\to0} \circ ' : #### answer is: \{ \} \in - + * / e i \overline{3} 0. \binom \lfloor \rfloor \ne yes"
        r" (A) cm 1,000 1e400 \pmod{7} \equiv <answer> </answer> <think> </think> {\"answer\": ``` 答案是 。 √2 ½ ²"
        r" A^{-1}B \setminus \det \over"
    ).split(),
    "\n",
    "\n\n",
    " ",
]


def texts() -> list[str]:
    """What is mutated: responses, references and questions of the shipped cases."""
    cases = [item.case for path in sorted(CASES.glob("*.jsonl")) for item in load(path)]
    return [str(text) for case in cases for text in (case.response, case.reference, case.question) if text]


def mutated(random: random.Random, pool: list[str]) -> str:
    """A text: of fragments only, or pieces of two texts with a few fragments between them."""
    if random.random() < 0.4:
        return random.choice(("", " ")).join(random.choices(FRAGMENTS, k=random.randrange(30)))
    parts = []
    for text in random.choices(pool, k=random.randrange(1, 4)):
        start = random.randrange(len(text) + 1) if random.random() < 0.5 else 0
        parts += [text[start : start + random.randrange(1, 400)] * random.choice((1, 1, 1, 1, 2, 9))]
        parts += random.choices(FRAGMENTS, k=random.randrange(3))
    return "".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=int, help="how many")
    parser.add_argument("--symbolic", action="store_true", help="with computer algebra, in this process")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, pool = random.Random(options.seed), texts()
    limit_s, slowest, found, asked = 2.5 if options.symbolic else 1.0, 0.0, 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(options.inputs):
        response, reference, question = (mutated(chance, pool) for _ in range(3))
        if chance.random() < 0.5:
            response = f"So it is $\\boxed{{{response}}}$."
        case = Case(response, reference, chance.choice(BENCHMARKS), question, symbolic=options.symbolic)
        started = time.process_time()
        try:
            verdict = judge(case)
            if "undecided" in verdict.flags:
                asked += 1
                verdict = _within_cpu_time(partial(settled, case, verdict), verdict)
            problem = ", ".join(flag for flag in verdict.flags if flag == "error")
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        seconds = time.process_time() - started
        slowest = max(slowest, seconds)
        if problem or seconds > limit_s:
            found += 1
            print(f"{number}: {problem or f'{seconds:.2f} s'}: {case!r}", flush=True)
        if number % 50_000 == 49_999:
            print(f"{number + 1:,} inputs, slowest {slowest:.2f} s", file=sys.stderr, flush=True)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{options.inputs:,} inputs ({asked:,} to computer algebra): {found} found, slowest {slowest:.2f} s, "
          f"memory +{grown:.0f} MB")  # fmt: skip
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
