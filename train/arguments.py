"""The command line of ``train/sft.py``: our flags, every name of ``transformers.TrainingArguments``, and nothing else.

An unknown flag is an error (the reference's ``--n_epochs 1`` was ignored without a word and trained three epochs).
Order of precedence: flags, then the recipe, then transformers' defaults.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from dart_tasks.prompts import get_template
from train.chat import is_known
from train.data import TrainingSet, default_cache_dir
from train.divergence import ON_DIVERGENCE, OnDivergence
from train.errors import UsageError, UserError
from train.lora import Lora
from train.packing import pack_sizes
from train.recipe import DATASETS, Recipe, load_recipe, recipe_names

__all__ = ["ATTENTIONS", "DistributedName", "Options", "own_parser", "parse", "training_arguments", "training_set"]

ATTENTIONS = ("auto", "flash_attention_3", "flash_attention_2", "varlen", "packed_sdpa", "sdpa", "eager")
DEFAULT_RECIPE = "mistral-7b"
DistributedName = Literal["no", "ddp", "fsdp", "deepspeed"]

_OURS = "the order of packs is a function of the seed and the epoch"
_NO_EVALUATION = "there is no evaluation during training without --eval-data or --eval-split"
_IF_EVALUATED = ("eval_on_start", "eval_strategy")
_LAUNCHED = "FSDP is asked for by accelerate launch --config_file train/launch/fsdp2-8gpu.yaml"
_EXPORT_ALONE = "only the finished model is uploaded, never a checkpoint"
_IMPOSSIBLE: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "auto_find_batch_size": (
        (False,),
        "the batch is the recipe's; use --per_device_train_batch_size for a smaller part",
    ),
    "average_tokens_across_devices": ((True,), "the loss is a mean over the target tokens of all processes"),
    "eval_on_start": ((False,), _NO_EVALUATION),
    "eval_strategy": (("no",), _NO_EVALUATION),
    "fsdp": ((None, "", [], False), _LAUNCHED),
    "fsdp_config": ((None, {}), _LAUNCHED),
    "hub_always_push": ((False,), _EXPORT_ALONE),
    "hub_strategy": (("end",), _EXPORT_ALONE),
    "ignore_data_skip": ((False,), "a resumed run would train samples of the epoch twice"),
    "label_smoothing_factor": ((0, None), "the loss is plain cross-entropy"),
    "load_best_model_at_end": ((False,), "--keep-best exports the weights of the lowest held-out loss"),
    "save_strategy": (("no", "epoch", "steps"), "--keep-best keeps the checkpoint of the lowest held-out loss"),
    "save_only_model": ((False,), "a checkpoint without optimizer could not be resumed"),
    "train_sampling_strategy": (("random",), _OURS),
    "use_liger_kernel": ((False,), "it replaces the loss, which is ours"),
}
"""``TrainingArguments`` that this trainer could only ignore, or would train wrongly with: what is harmless, and why."""

_POSITIVE, _NOT_NEGATIVE, _SHARE = "above 0", "0 or more", "from 0 to below 1"
_BOUNDS = {
    **dict.fromkeys(
        ("learning_rate", "num_train_epochs", "adam_epsilon", "logging_steps", "save_steps", "eval_steps"), _POSITIVE
    ),
    **dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps"), _POSITIVE),
    **dict.fromkeys(("weight_decay", "warmup_steps", "max_grad_norm", "seed", "data_seed"), _NOT_NEGATIVE),
    **dict.fromkeys(("save_total_limit", "dataloader_num_workers"), _NOT_NEGATIVE),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), _SHARE),
}
"""Numbers among ``TrainingArguments`` that transformers takes at any value, and where they make sense."""

_EPILOG = """\
Every name of transformers.TrainingArguments is a flag too (--learning_rate, --bf16, ...): see --help-all.

examples:
  accelerate launch train/sft.py --recipe demo --data runs/demo/dataset --output_dir runs/demo/model
  accelerate launch --config_file train/launch/fsdp2-8gpu.yaml train/sft.py --recipe mistral-7b --output_dir OUT
  accelerate launch train/sft.py --recipe llama3-8b --data uniform --dry-run
  accelerate launch train/sft.py --recipe llama3-8b --lora r=64,alpha=128,targets=all-linear --load-in-4bit
  accelerate launch train/sft.py --data chats.jsonl,messages=messages --chat-template own --model DIR
  accelerate launch train/sft.py --data mine.jsonl,query=problem,response=solution --data more/ --model DIR
"""


@dataclass(frozen=True)
class Options:
    """What the command line and the recipe ask for."""

    recipe: Recipe
    data: tuple[TrainingSet, ...]
    eval_data: tuple[TrainingSet, ...]
    """Data to measure the held-out loss on."""
    eval_split: float
    """Share of the queries of ``data`` that is held out instead."""
    keep_best: bool
    model: str
    max_length: int
    """Tokens of a sample at most."""
    pack_sizes: tuple[int, ...]
    """Tokens of a pack, and of those that longer samples open."""
    max_length_policy: Literal["error", "drop"]
    attention: str
    lora: Lora | None
    load_in_4bit: bool
    on_divergence: OnDivergence
    save_minutes: float
    """Minutes from one checkpoint to the next at most; 0: no limit."""
    global_batch: int
    export_dtype: str
    licence: str
    scores: Path | None
    cache_dir: Path
    dry_run: bool
    utilisation: float
    expect_processes: int | None
    expect_distributed: DistributedName | None
    output_dir: str
    push_to_hub: bool
    """Whether the export is uploaded, to the repository that ``training`` tells."""
    training: Mapping[str, Any]
    """``TrainingArguments`` by name: the recipe's, overridden by flags."""
    export_checkpoint: Path | None
    command: tuple[str, ...]
    """The flags as they were given."""
    given: frozenset[str]
    """Names of ``training`` that were flags."""


_AS_GIVEN = (
    "eval_split",
    "keep_best",
    "max_length_policy",
    "attention",
    "load_in_4bit",
    "on_divergence",
    "export_dtype",
    "export_checkpoint",
    "scores",
    "dry_run",
    "utilisation",
    "expect_processes",
    "expect_distributed",
)
"""Options that are flags alone, with their own defaults."""


def _attention(name: str) -> str:
    if name not in ATTENTIONS and "/" not in name:
        raise argparse.ArgumentTypeError(f"invalid choice: {name!r} (choose from {', '.join(ATTENTIONS)})")
    return name


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def own_parser() -> argparse.ArgumentParser:
    """The options of ``train/sft.py`` that transformers' trainer does not have."""
    parser = _Parser(
        prog="train/sft.py",
        description="Fine-tune a causal language model on (query, response) pairs: packed, exact, resumable.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def add(name: str, **options: Any) -> None:
        spellings = [f"--{name}"] + ([f"--{name.replace('-', '_')}"] if "-" in name else [])
        parser.add_argument(*spellings, **options)

    add(
        "recipe",
        default=DEFAULT_RECIPE,
        metavar="NAME",
        help=f"{', '.join(recipe_names())} or a YAML file (%(default)s)",
    )
    add(
        "data",
        action="append",
        metavar="SOURCE[,key=value...]",
        help="folder, file, hub id, or hard/uniform (the paper's); keys: query, response, template, messages, "
        "chat_template, split, weight (times in an epoch); repeatable",
    )
    add("eval-data", action="append", metavar="SOURCE[,key=value...]", help="measure the held-out loss on this")
    add("eval-split", type=float, default=0, metavar="SHARE", help="hold out this share of --data's queries for it")
    add("keep-best", action="store_true", help="keep the checkpoint with the lowest held-out loss, and export it")
    add("model", metavar="DIR_OR_ID", help="base model (default: the recipe's)")
    add("prompt-template", metavar="NAME_OR_FILE", help="template of sets that name none (default: the recipe's)")
    add(
        "chat-template",
        metavar="NAME_OR_FILE",
        help="for conversations, and then for pairs too: own (the tokenizer's; conversations' default), chatml, a "
        "prompt template's name, or a Jinja file",
    )
    add("split-turns", action="store_true", help="make every assistant turn of a conversation a sample of its own")
    add("max-length", type=int, metavar="TOKENS", help="tokens of a sample at most (default: the recipe's)")
    add(
        "pack-length",
        type=int,
        metavar="TOKENS",
        help="tokens of a pack; longer samples have packs of 2, 4, ... times that (default: the recipe's max_length)",
    )
    add(
        "max-length-policy",
        choices=["error", "drop"],
        default="error",
        help="what to do with longer samples (%(default)s)",
    )
    add(
        "global-batch",
        type=int,
        metavar="PACKS",
        help="packs per optimizer step, over all processes (default: the recipe's)",
    )
    add(
        "attention",
        type=_attention,
        default="auto",
        metavar="NAME",
        help=f"{', '.join(ATTENTIONS)}, or kernels of the hub as kernels-community/flash-attn2 (%(default)s)",
    )
    add(
        "on-divergence",
        choices=ON_DIVERGENCE,
        default="stop",
        help="what to do when the loss explodes; one that is not finite always stops the run (%(default)s)",
    )
    add(
        "save-minutes",
        type=float,
        metavar="M",
        help="save a checkpoint at least this often, beside what --save_strategy says; 0: never (the recipe's: 15)",
    )
    add(
        "lora",
        nargs="?",
        const="",
        metavar="key=value,...",
        help="train an adapter beside frozen weights; keys: r (64), alpha (2 r), targets (all-linear, or "
        "q_proj+v_proj), dropout (0)",
    )
    add("load-in-4bit", action="store_true", help="keep the frozen weights in 4 bits (QLoRA; needs bitsandbytes)")
    add("dry-run", action="store_true", help="print samples, packs, steps, memory and hours; load no weights")
    add("utilisation", type=float, default=0.4, help="model FLOPs utilisation that --dry-run assumes (%(default)s)")
    add("expect-processes", type=int, metavar="N", help="fail unless exactly N processes were started")
    add(
        "expect-distributed", choices=get_args(DistributedName), help="fail unless this is how the model is distributed"
    )
    add(
        "export-dtype",
        choices=["bfloat16", "float16", "float32"],
        default="bfloat16",
        help="of the exported weights (%(default)s)",
    )
    add(
        "export-checkpoint",
        type=Path,
        metavar="DIR",
        help="train no more: export this checkpoint of the run to --output_dir (or: python -m train export DIR)",
    )
    add("licence", metavar="ID", help="licence for the model card (default: inherited from base model and data)")
    add("scores", type=Path, metavar="FILE", help="lm-eval results to put on the model card")
    add(
        "cache-dir",
        type=Path,
        metavar="DIR",
        help="where tokenised data is kept (default: DART_MATH_CACHE or ~/.cache/dart-math)",
    )
    parser.add_argument("--help-all", action="store_true", help="also list the flags of TrainingArguments")
    return parser


def _transformers_parser() -> argparse.ArgumentParser:
    from transformers import HfArgumentParser, TrainingArguments

    parser: argparse.ArgumentParser = HfArgumentParser(TrainingArguments, add_help=False, allow_abbrev=False)
    return parser


def _training_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """The flags that are ``TrainingArguments``, and only those that were given."""
    if not arguments:
        return {}
    parser = _transformers_parser()
    known = [option for action in parser._actions for option in action.option_strings]
    for action in parser._actions:
        action.default = argparse.SUPPRESS
        action.required = False
    parser.error = _Parser.error.__get__(parser)  # type: ignore[method-assign]
    namespace, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        flag = unknown[0].split("=")[0]
        known += [option for action in own_parser()._actions for option in action.option_strings]
        spelt = (flag.replace("n_", "num_train_"), flag)
        close = [match for text in spelt for match in difflib.get_close_matches(text, known, 1, cutoff=0.75)]
        hint = f": did you mean {close[0]}?" if close else ""
        raise UsageError(f"unknown flag {flag}{hint}" if flag.startswith("-") else f"unexpected argument {flag!r}")
    return vars(namespace)


def _recipe_training(recipe: Recipe) -> dict[str, Any]:
    """The recipe's ``TrainingArguments``, read as flags are: YAML takes ``1e-3`` for a text.

    Raises:
        UsageError: a name or value is not one of theirs.
    """
    values = {}
    for name, value in recipe.training.items():
        words = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
        try:
            read = _training_flags([f"--{name}={words[0]}", *map(str, words[1:])]) if value is not None else {}
        except UsageError as error:
            raise UsageError(f"recipe {recipe.name}: training: {error}") from None
        values[name] = read[name] if isinstance(value, str | list) else value
    return values


def _check_numbers(training: Mapping[str, Any]) -> None:
    for name, bound in _BOUNDS.items():
        if (value := training.get(name)) is None:
            continue
        fits = {_POSITIVE: value > 0, _NOT_NEGATIVE: value >= 0, _SHARE: 0 <= value < 1}[bound]
        if not fits or not math.isfinite(value):
            raise UsageError(f"--{name} must be {bound} (got {value:g})")
    steps = training.get("max_steps", -1)
    if steps != -1 and steps < 1:
        raise UsageError(f"--max_steps must be at least 1, or -1 for whole epochs (got {steps})")


def training_set(
    text: str, template: str = "alpaca", chat_template: str = "", split_turns: bool = False
) -> TrainingSet:
    """One ``--data``: ``SOURCE[,key=value...]``, as in ``data/,query=problem,response=solution,template=plain``.

    A comma of the source's own name is no separator: what exists is taken whole, and a key is followed by ``=``.

    Raises:
        UsageError: a key is unknown, or a template is.
    """
    known = {field.name for field in fields(TrainingSet)} - {"source", "split_turns"}
    source, values = text, {}
    while not Path(source).exists() and "=" in (pair := source.rpartition(",")[2]) and "," in source:
        key, _, value = pair.partition("=")
        if key not in known or not value:
            raise UsageError(f"--data {text}: {pair!r} is not one of {', '.join(sorted(known))}=VALUE")
        values[key] = value
        source = source.rpartition(",")[0]
    if not source.strip():
        raise UsageError("--data needs a file, a folder or a data set of the hub")
    if "template" not in values:
        values = {"chat_template": chat_template, **values}
    elif "chat_template" in values:
        raise UsageError(f"--data {text}: give template (of queries and responses) or chat_template, not both")
    values = {"template": template, **values}
    try:
        get_template(values["template"])
    except ValueError as error:
        raise UsageError(f"--data {text}: {error}") from None
    if (name := values.get("chat_template")) and not is_known(name):
        raise UsageError(f"--data {text}: unknown chat template {name!r}: own, chatml, a prompt template, or a file")
    try:
        weight = float(values.pop("weight", 1))
    except ValueError:
        weight = math.nan
    if not 0 < weight <= 1000:
        raise UsageError(f"--data {text}: weight must be above 0, and 1000 at most: how often a sample is in an epoch")
    return TrainingSet(source, **values, split_turns=split_turns, weight=weight)


def _joined(arguments: Sequence[str]) -> list[str]:
    """``--flag -1e-3`` as ``--flag=-1e-3``: argparse takes a negative number with an exponent for a flag."""
    joined: list[str] = []
    for word in arguments:
        if joined and joined[-1].startswith("--") and re.fullmatch(r"-[\d.]+(e[-+]?\d+)?", word, re.IGNORECASE):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def parse(arguments: Sequence[str]) -> Options:
    """Options from the command line.

    Raises:
        UsageError: a flag is unknown or has an impossible value.
        UserError: no such recipe, or it is malformed.
        SystemExit: after --help or --help-all.
    """
    parser = own_parser()
    own, rest = parser.parse_known_args(_joined(arguments))
    if own.help_all:
        parser.print_help()
        _transformers_parser().print_help()
        raise SystemExit(0)
    recipe = load_recipe(own.recipe)
    flags = _training_flags(rest)
    if own.prompt_template and own.chat_template:
        raise UsageError("give --prompt-template or --chat-template, not both")
    forms = (own.prompt_template or recipe.prompt_template, own.chat_template or "", own.split_turns)
    sources = [DATASETS.get(source, source) for source in own.data or [recipe.data]]
    max_length = recipe.max_length if own.max_length is None else own.max_length
    global_batch = recipe.global_batch if own.global_batch is None else own.global_batch
    if max_length < 2 or global_batch < 1:
        raise UsageError("--max-length must be at least 2 and --global-batch at least 1")
    pack_length = min(recipe.max_length, max_length) if own.pack_length is None else own.pack_length
    if not 2 <= pack_length <= max_length:
        raise UsageError(f"--pack-length must be from 2 to --max-length, {max_length} (got {pack_length})")
    if not 0 < own.utilisation <= 1:
        raise UsageError(f"--utilisation must be above 0 and at most 1 (got {own.utilisation:g})")
    save_minutes = recipe.save_minutes if own.save_minutes is None else own.save_minutes
    if not 0 <= save_minutes < math.inf:
        raise UsageError(f"--save-minutes must be 0 or more (got {save_minutes:g})")
    if own.save_minutes is None and flags.get("save_strategy") == "no":
        save_minutes = 0
    if not 0 <= own.eval_split < 1:
        raise UsageError(f"--eval-split must be from 0 to below 1 (got {own.eval_split:g})")
    if own.eval_data and own.eval_split:
        raise UsageError("give --eval-data or --eval-split, not both")
    evaluated = bool(own.eval_data or own.eval_split)
    if own.keep_best and not evaluated:
        raise UsageError("--keep-best needs --eval-data or --eval-split")
    if any("weight=" in source for source in own.eval_data or ()):
        raise UsageError("--eval-data has no weight: every sample is measured once")
    lora = None if own.lora is None else Lora.parse(own.lora)
    if own.load_in_4bit and not lora:
        raise UsageError("--load-in-4bit is for --lora: weights in 4 bits cannot be trained")
    training = {**_recipe_training(recipe), **flags}
    _check_numbers(training)
    for name, (harmless, reason) in _IMPOSSIBLE.items():
        if name in training and training[name] not in harmless and not (evaluated and name in _IF_EVALUATED):
            raise UsageError(f"--{name} {getattr(training[name], 'value', training[name])}: {reason}")
    if evaluated and str(getattr(training.get("eval_strategy"), "value", training.get("eval_strategy"))) == "no":
        raise UsageError("--eval_strategy no: the held-out loss would never be measured")
    if own.export_checkpoint:
        training["resume_from_checkpoint"] = str(own.export_checkpoint)
    push_to_hub = bool(training.pop("push_to_hub", False))  # ours: the Trainer would push checkpoints
    return Options(
        recipe=recipe,
        data=tuple(training_set(source, *forms) for source in sources),
        eval_data=tuple(training_set(source, *forms) for source in own.eval_data or ()),
        model=own.model or recipe.model,
        max_length=max_length,
        pack_sizes=pack_sizes(pack_length, max_length),
        lora=lora,
        global_batch=global_batch,
        save_minutes=save_minutes,
        licence=own.licence or "",
        cache_dir=own.cache_dir or default_cache_dir(),
        output_dir=flags.get("output_dir") or f"runs/{recipe.name}",
        push_to_hub=push_to_hub,
        training=training,
        command=tuple(arguments),
        given=frozenset(flags),
        **{name: getattr(own, name) for name in _AS_GIVEN},
    )


def training_arguments(options: Options, micro_batch: int, accumulation: int) -> Any:
    """The ``transformers.TrainingArguments`` of a run.

    Raises:
        UserError: transformers refuses a value, or the recipe names an argument that does not exist.
    """
    import importlib.util

    import torch
    from transformers import TrainingArguments
    from transformers.integrations import get_available_reporting_integrations

    values = {
        "report_to": "tensorboard" if importlib.util.find_spec("tensorboard") else "none",
        "logging_steps": 10,
        "logging_nan_inf_filter": False,  # a NaN stops the run instead
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "eval_strategy": "epoch" if options.eval_data or options.eval_split else "no",
        **options.training,
        "output_dir": options.output_dir,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "average_tokens_across_devices": True,
    }
    # accelerate would train in its launcher's precision where no other is asked for, and the plan say float32.
    launched = os.environ.pop("ACCELERATE_MIXED_PRECISION", "no")
    asked = {name for name in ("bf16", "fp16") if name in options.given or values.get(name)}
    if launched in ("bf16", "fp16") and not asked:
        values[launched] = True
    elif launched not in ("no", "bf16", "fp16"):
        raise UserError(f"accelerate launch --mixed_precision {launched}: not supported, use bf16")
    if not torch.cuda.is_available():
        if "tf32" not in options.given:
            values.pop("tf32", None)
        if options.export_checkpoint:  # of a run on GPUs
            values["use_cpu"] = True
    try:
        training_arguments = TrainingArguments(**values)
    except (TypeError, ValueError, ImportError) as error:
        raise UserError(" ".join(str(error).split())) from error
    for name in set(training_arguments.report_to) - {"none", *get_available_reporting_integrations()}:
        raise UserError(f"--report_to {name}: it is not installed here (pip install {name})")
    return training_arguments
