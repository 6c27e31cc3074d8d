"""The paper's learning-rate search: one epoch each, judged by lm-eval accuracy; the best becomes a recipe.

    python -m train.lr_search --recipe demo --data runs/demo/dataset --tasks dart_math_demo --output_dir runs/lr-search

Each rate is one ``accelerate launch train/sft.py`` and one ``lm_eval``; finished ones are not repeated, so the same
command resumes. Flags that are not the search's own go to ``train/sft.py``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from dart_tasks.console import printable
from dart_tasks.files import write_atomically
from train.card import read_scores
from train.errors import UsageError, UserError
from train.recipe import load_recipe

__all__ = ["PAPER_RATES", "Trial", "best", "main", "read_accuracy", "search_parser"]

PAPER_RATES = (1e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4)
"""DART-Math, arXiv 2407.13690, Appendix A.1."""


@dataclass(frozen=True)
class Trial:
    """One rate, and the mean accuracy of its model over the tasks (0 to 1)."""

    learning_rate: float
    accuracy: float


def best(trials: Sequence[Trial]) -> Trial:
    """The most accurate trial; of equals, the one with the smaller rate."""
    return min(trials, key=lambda trial: (-trial.accuracy, trial.learning_rate))


def read_accuracy(folder: Path, tasks: Sequence[str]) -> float:
    """The mean accuracy over ``tasks`` in the newest results of lm-eval under ``folder``.

    Raises:
        UserError: there are no results, or a task has no accuracy.
    """
    found = sorted(folder.rglob("results_*.json"))
    if not found:
        raise UserError(f"lm_eval wrote no results to {folder}")
    accuracies = {result.dataset: result.value for result in read_scores(found[-1])}
    if lacking := [task for task in tasks if task not in accuracies]:
        raise UserError(f"{found[-1]}: task {lacking[0]} has no accuracy (acc or exact_match)")
    return sum(accuracies[task] for task in tasks) / len(tasks)


def _run(command: Sequence[str], log: Path) -> None:
    with log.open("ab") as file:
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        raise UserError(f"{shlex.join(command[:6])} ... failed with exit code {code}: see {log}")


def _trial(rate: float, options: argparse.Namespace, rest: Sequence[str], folder: Path) -> Trial:
    record = folder / "trial.json"
    if record.is_file():
        return Trial(**json.loads(record.read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    log, model = folder / "log.txt", folder / "model"
    launch = [sys.executable, "-m", "accelerate.commands.launch", *shlex.split(options.launch_args)]
    flags = ["--recipe", options.recipe, "--learning_rate", str(rate), "--num_train_epochs", "1"]
    _run([*launch, "-m", "train.sft", *flags, "--output_dir", str(model), *rest], log)
    judge = [sys.executable, "-m", "lm_eval", "--model", options.eval_model, "--tasks", ",".join(options.tasks)]
    model_args = f"pretrained={model}" + (f",{options.eval_model_args}" if options.eval_model_args else "")
    judge += ["--model_args", model_args, "--output_path", str(folder / "eval"), *shlex.split(options.eval_args)]
    _run(judge, log)
    trial = Trial(rate, read_accuracy(folder / "eval", options.tasks))
    write_atomically(record, json.dumps(asdict(trial)))
    return trial


def _plot(trials: Sequence[Trial], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    axes.semilogx([t.learning_rate for t in trials], [100 * t.accuracy for t in trials], marker="o")
    axes.set(xlabel="learning rate", ylabel="accuracy after one epoch (%)", title="Learning-rate search")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _write_recipe(name: str, rate: float, path: Path) -> None:
    recipe = asdict(load_recipe(name))
    del recipe["name"]
    recipe["description"] = f"{recipe['description'] or name}; learning rate from train.lr_search on {name}"
    recipe["training"] = {**recipe["training"], "learning_rate": rate}
    path.write_text(yaml.safe_dump({k: v for k, v in recipe.items() if v or v == 0}, sort_keys=False), encoding="utf-8")


def search_parser() -> argparse.ArgumentParser:
    """The options of ``python -m train.lr_search``."""
    parser = argparse.ArgumentParser(prog="train.lr_search", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--recipe", default="demo", help="recipe to search for (%(default)s)")
    parser.add_argument("--rates", type=float, nargs="+", default=list(PAPER_RATES), help="default: the paper's six")
    parser.add_argument("--tasks", nargs="+", required=True, help="lm-eval tasks; their mean accuracy decides")
    parser.add_argument("--output_dir", "--output-dir", type=Path, required=True)
    parser.add_argument("--eval-model", default="vllm", help="lm-eval backend (%(default)s)")
    parser.add_argument("--eval-model-args", default="", help="further model_args of lm-eval, as dtype=bfloat16")
    parser.add_argument("--eval-args", default="", help='further flags of lm-eval, as "--batch_size auto"')
    parser.add_argument("--launch-args", default="", help='flags of accelerate launch, as "--config_file FILE"')
    return parser


def _check_same_search(record: Path, options: argparse.Namespace, rest: Sequence[str]) -> None:
    """Accuracies of another model, dataset or task must not be compared with this search's.

    Raises:
        UserError: the output folder holds another search. Other rates are the same search.
    """
    names = ("recipe", "tasks", "eval_model", "eval_model_args", "eval_args")
    search = {**{name: getattr(options, name) for name in names}, "flags": list(rest)}
    if record.is_file() and (found := json.loads(record.read_text(encoding="utf-8"))) != search:
        different = ", ".join(sorted(name for name in search if found.get(name) != search[name]))
        raise UserError(f"{record.parent} holds another search ({different} differ): choose another --output_dir")
    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(record, json.dumps(search, indent=2))


def _search(arguments: Sequence[str]) -> int:
    options, rest = search_parser().parse_known_args(list(arguments))
    output: Path = options.output_dir
    load_recipe(options.recipe)
    _check_same_search(output / "search.json", options, rest)
    trials = []
    for rate in sorted(set(options.rates)):
        print(f"learning rate {rate:g} ...", flush=True)
        trials.append(_trial(rate, options, rest, output / f"lr-{rate:g}"))
        print(f"learning rate {rate:g}: accuracy {trials[-1].accuracy:.1%}", flush=True)
    chosen = best(trials)
    _plot(trials, output / "learning-rates.png")
    _write_recipe(options.recipe, chosen.learning_rate, output / "best.yaml")
    print("\nlearning rate  accuracy")
    for trial in trials:
        print(f"{trial.learning_rate:<13g}  {trial.accuracy:.1%}{'  <- best' if trial == chosen else ''}")
    print(f"recipe: {output / 'best.yaml'}   plot: {output / 'learning-rates.png'}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search; its exit code."""
    try:
        return _search(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        print(f"train.lr_search: {' '.join(printable(str(error)).split())}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
