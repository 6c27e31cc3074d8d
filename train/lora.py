"""LoRA and QLoRA, through peft: small trained matrices beside frozen weights, which may be kept in 4 bits.

    train/sft.py --lora r=64,alpha=128,targets=all-linear [--load-in-4bit]

The adapted model goes through the same checks, loss, checkpoints and resume as any other. A checkpoint holds the
adapter alone. The export is both: the plain folder with the adapter merged into the weights, and the adapter in
``adapter/``.
"""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dart_tasks.console import first_line
from train.errors import UsageError, UserError

if TYPE_CHECKING:
    import torch

__all__ = [
    "ADAPTER",
    "Lora",
    "add_adapter",
    "empty_plain_model",
    "first_weights",
    "in_memory",
    "keep_in",
    "keep_trainable",
    "merged_state",
    "plain",
    "plain_name",
    "quantization",
    "save_adapter",
    "trained_share",
]

ADAPTER = "adapter"
"""Folder of the adapter in the output folder."""

ALL_LINEAR = "all-linear"
_PREFIX = "base_model.model."  # of every name in a peft model
_NAME = "default"


@dataclass(frozen=True)
class Lora:
    """What to train: matrices of rank ``r`` beside each layer of ``targets``, scaled by ``alpha / r``."""

    r: int = 64
    alpha: float = 128
    targets: tuple[str, ...] = (ALL_LINEAR,)
    """Names of layers, as ``q_proj``; or ``all-linear``: every linear layer but the vocabulary projection."""
    dropout: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Lora:
        """From ``key=value,...``, as in ``r=64,alpha=128,targets=q_proj+v_proj``; ``alpha`` is twice ``r`` by default.

        Raises:
            UsageError: a key is unknown, or a value impossible.
        """
        given = {}
        for pair in filter(None, text.split(",")):
            key, _, value = pair.partition("=")
            if key not in ("r", "alpha", "targets", "dropout") or not value:
                hint = "" if "=" in pair or "targets" not in given else " (several targets: q_proj+v_proj)"
                raise UsageError(f"--lora {text}: {pair!r} is not one of r, alpha, targets, dropout=VALUE{hint}")
            given[key] = value
        try:
            r = int(given.get("r", cls.r))
            alpha, dropout = float(given.get("alpha", 2 * r)), float(given.get("dropout", 0))
        except ValueError:
            raise UsageError(f"--lora {text}: r is a whole number, alpha and dropout are numbers") from None
        if r < 1 or not 0 < alpha < float("inf") or not 0 <= dropout < 1:
            raise UsageError(f"--lora {text}: r and alpha must be above 0, dropout at least 0 and below 1")
        targets = tuple(filter(None, given.get("targets", ALL_LINEAR).split("+")))
        if not targets or (ALL_LINEAR in targets and len(targets) > 1):
            raise UsageError(f"--lora {text}: targets are all-linear, or names as q_proj+v_proj, not both")
        return cls(r, alpha, targets, dropout)

    def __str__(self) -> str:
        text = f"r={self.r},alpha={self.alpha:g},targets={'+'.join(self.targets)}"
        return f"{text},dropout={self.dropout:g}" if self.dropout else text


def plain(model: Any) -> Any:
    """The transformers model, without peft's wrapper where it has one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def quantization(dtype: torch.dtype) -> Any:
    """How the frozen weights are kept in 4 bits: NF4 with quantised scales, as QLoRA (arXiv 2305.14314).

    Raises:
        UserError: bitsandbytes is not installed.
    """
    import importlib.util

    from transformers import BitsAndBytesConfig

    if not importlib.util.find_spec("bitsandbytes"):
        raise UserError("--load-in-4bit needs bitsandbytes: pip install bitsandbytes")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_trainable(model: Any) -> Any:
    """Keep bitsandbytes from packing weights for inference at the first forward pass in evaluation mode.

    On CPUs with AVX512-BF16 it does so for good, and through packed weights there is no gradient, without an error.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def keep_in(dtype: torch.dtype, model: Any) -> Any:
    """``model``, checked in float32, with its weights in ``dtype``. Buffers, as of rotary embeddings, stay exact."""
    for parameter in model.parameters():
        if parameter.is_floating_point():  # not what is kept in 4 bits
            parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype
    return model


def add_adapter(model: Any, lora: Lora, seed: int) -> Any:
    """``model`` with an adapter that changes nothing yet; its weights (float32) are all that trains.

    Raises:
        UserError: peft is not installed, the targets are not layers of the model, or not ones that can be merged.
    """
    import torch

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise UserError("--lora needs peft: pip install peft") from error
    names = [f".{name}" for name, _ in model.named_modules()]
    found = {target for target in lora.targets if any(name.endswith(f".{target}") for name in names)}
    if absent := set(lora.targets) - found - {ALL_LINEAR}:  # peft is content with one that is there
        raise UserError(f"--lora {lora}: Target modules {absent} not found in the base model")
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # a fraction works as well
        lora_dropout=lora.dropout,
        target_modules=ALL_LINEAR if lora.targets == (ALL_LINEAR,) else list(lora.targets),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(enabled=True):
        torch.manual_seed(seed)
        try:
            adapted = get_peft_model(model, config, adapter_name=_NAME)
        except ValueError as error:
            raise UserError(f"--lora {lora}: {first_line(error).split('. ')[0]}") from error
    for name, layer in _layers(adapted).items():
        if _NAME not in layer.lora_A:
            raise UserError(f"--lora {lora}: {name.removeprefix(_PREFIX)} is not a linear layer")
        if f"{plain_name(name)}.weight" in (plain(adapted).all_tied_weights_keys or {}):
            raise UserError(
                f"--lora {lora}: {plain_name(name)} shares its weights with the embeddings and cannot have an adapter"
            )
    return adapted


def in_memory(name: str) -> str:
    """The name in an adapted model of a tensor of an adapter's file; any other name as it is."""
    for part in ("lora_A", "lora_B"):
        name = name.replace(f".{part}.weight", f".{part}.{_NAME}.weight")
    return name


def first_weights(model: Any, seed: int) -> dict[str, Callable[[], torch.Tensor]]:
    """How to make the first weights of an adapter that was added to a model without weights: it changes nothing yet."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def drawn(shape: torch.Size) -> torch.Tensor:  # as peft draws them
        return torch.nn.init.kaiming_uniform_(torch.empty(shape), a=math.sqrt(5), generator=generator)

    found: dict[str, Callable[[], torch.Tensor]] = {}
    for name, layer in _layers(model).items():
        a, b = layer.lora_A[_NAME].weight.shape, layer.lora_B[_NAME].weight.shape
        found[f"{name}.lora_A.{_NAME}.weight"] = functools.partial(drawn, a)
        found[f"{name}.lora_B.{_NAME}.weight"] = functools.partial(torch.zeros, b)
    return found


def plain_name(name: str) -> str:
    """The name in the plain model of a frozen weight of an adapted one; any other name as it is."""
    return name.removeprefix(_PREFIX).replace(".base_layer.", ".")


def _layers(model: Any) -> dict[str, Any]:
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def trained_share(model: Any) -> str:
    """How much of an adapted model trains, and in which layers, in words."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(_elements(p) for p in model.parameters() if not p.requires_grad)
    kinds = ", ".join(dict.fromkeys(name.rsplit(".", 1)[-1] for name in _layers(model)))
    return f"{trained:,} parameters train, {trained / frozen:.2%} of the frozen ones, beside {kinds}"


def _elements(parameter: Any) -> int:
    state = getattr(parameter, "quant_state", None)  # of weights in 4 bits, two of which are one element
    return int(parameter.numel() if state is None else state.shape.numel())


def _dequantised(layer: Any) -> torch.Tensor | None:
    """The weights of a layer that keeps them in 4 bits, as it computes with them; None if it does not."""
    weight = layer.get_base_layer().weight
    if getattr(weight, "quant_state", None) is None:
        return None
    from bitsandbytes.functional import dequantize_4bit

    exact: torch.Tensor = dequantize_4bit(weight.data, weight.quant_state)
    return exact


def merged_state(model: Any, state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The state of the plain model with the adapter added to its weights: in float32, then once rounded to ``dtype``.

    Args:
        model: an adapted model; of it only names and scales are used, and weights kept in 4 bits.
        state: all its weights by name, gathered from the ranks.
    """
    layers = _layers(model)
    merged = {}
    for name, tensor in state.items():
        owner = next(
            (owner for owner in (name.rsplit(".", depth)[0] for depth in (1, 2, 3, 4)) if owner in layers), None
        )
        if owner is None:
            merged[name.removeprefix(_PREFIX)] = tensor
        elif name == f"{owner}.base_layer.weight":
            layer = layers[owner]
            a, b = (state[f"{owner}.lora_{part}.{_NAME}.weight"].float() for part in "AB")
            change = (b @ a) * layer.scaling[_NAME]
            exact = _dequantised(layer)
            base = tensor if exact is None else exact
            whole = base.float() + (change.T if layer.fan_in_fan_out else change).to(base.device)
            merged[f"{owner.removeprefix(_PREFIX)}.weight"] = whole.to(dtype)
        elif name == f"{owner}.base_layer.bias":
            merged[f"{owner.removeprefix(_PREFIX)}.bias"] = tensor
    return merged


def empty_plain_model(model: Any) -> Any:
    """The adapted model's plain kind without weights, to save a merged state with."""
    import torch

    base = plain(model)
    with torch.device("meta"):
        empty = type(base)(base.config)
    empty.generation_config = base.generation_config
    if hasattr(empty.config, "quantization_config"):
        del empty.config.quantization_config
    return empty


def save_adapter(model: Any, state: dict[str, torch.Tensor], output_dir: Path, card: str) -> list[str]:
    """Write the adapter alone to ``output_dir/adapter``, as peft, lm-eval and vLLM read it, whole or not at all.

    Returns:
        The files, relative to the output folder.
    """
    aside, folder = output_dir / f".{ADAPTER}", output_dir / ADAPTER
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside, state_dict=state, save_embedding_layers=False)
    (aside / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return [f"{ADAPTER}/{path.name}" for path in sorted(folder.iterdir())]
