"""The base model: where it is, its configuration, tokenizer and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dart_tasks.console import first_line
from train.arguments import Options
from train.data import can_only_be_a_path, similar
from train.errors import UsageError, UserError

__all__ = ["load_config", "load_model", "load_tokenizer", "missing", "resolve_model", "set_attention"]


def resolve_model(name: str) -> str:
    """The folder of the embedded base model for ``embedded``; any other name as it is."""
    if name != "embedded":
        return name
    from dart_tasks import embedded

    return str(embedded.BASE_MODEL_DIR)


def missing(options: Options, model: str) -> str:
    """What keeps this run from starting without a download, on a machine without an accelerator; empty if nothing.

    Raises:
        UsageError: a flag names a file or folder that does not exist, and that the hub cannot have.
    """
    import torch

    named = [("--model", model), *(("--data", training_set.source) for training_set in options.data)]
    named += [("--eval-data", training_set.source) for training_set in options.eval_data]
    for flag, name in named:
        of_recipe = name in (options.recipe.model, options.recipe.data)
        if not of_recipe and can_only_be_a_path(name) and not Path(name).exists():
            raise UsageError(f"{flag} {name}: no such file or folder{similar(Path(name))}")
    if torch.cuda.is_available() or options.dry_run or options.export_checkpoint:
        return ""
    for flag, name in named:
        if flag == "--model" and Path(name).is_file():
            return f"{flag} {name} is no folder, and without a GPU nothing is downloaded"
        if not Path(name).exists():
            hint = similar(Path(name))
            return f"{flag} {name}: no such file or folder{hint}, and without a GPU nothing is downloaded"
    return ""


def load_tokenizer(model: str) -> Any:
    """The model's tokenizer.

    Raises:
        UserError: there is none, or it cannot be had.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except Exception as error:
        raise UserError(f"cannot load the tokenizer of --model {model}: {first_line(error)}") from error


def load_config(model: str) -> Any:
    """The model's configuration, with sliding-window attention off for Mistral, as the paper trained.

    Raises:
        UserError: there is none, or it cannot be had.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model)
    except Exception as error:
        raise UserError(f"cannot load --model {model}: {first_line(error)}") from error
    if getattr(config.get_text_config(), "output_router_logits", False):
        raise UserError(
            f"--model {model}: its config.json asks for the routers' auxiliary loss (output_router_logits), which this "
            "loss does not have: set it to false there to train without"
        )
    if config.model_type == "mistral":
        config.sliding_window = None
    return config


def load_model(model: str, config: Any, attention: str | None, dtype: Any = None, **options: Any) -> Any:
    """The model with float32 master weights, or in ``dtype``, and its own choice of attention where none is named.

    Args:
        options: for ``from_pretrained``.

    Raises:
        UserError: it cannot be had, or does not know the attention.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            model, config=config, dtype=dtype or torch.float32, attn_implementation=attention, **options
        )
    except Exception as error:  # transformers, safetensors and torch raise a dozen kinds
        kind = f" with {attention} attention" if attention else ""
        raise UserError(f"cannot load --model {model}{kind}: {first_line(error)}") from error
    try:
        loaded.generation_config.validate(strict=True)
    except ValueError:  # many models have such a one, and no checkpoint could be saved with it
        loaded.generation_config = GenerationConfig.from_model_config(config)
    return loaded


def set_attention(model: Any, attention: str) -> None:
    """Change the attention of a loaded model.

    Raises:
        UserError: it does not know the attention, or that cannot run here.
    """
    reason = "it cannot change its attention"
    try:
        model.set_attn_implementation(attention)  # only warns where it cannot
    except (ValueError, ImportError) as error:
        reason = first_line(error)
    if model.config._attn_implementation != attention:
        raise UserError(f"{type(model).__name__} cannot use {attention} attention: {reason}")
