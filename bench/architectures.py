"""Decoder architectures of the installed transformers: packed training against float64, or why each is refused.

    python bench/architectures.py [--only llama,gemma3_text] [--markdown]

Each is built tiny, with random weights, and checked as `train/sft.py` checks a model before its first step. One that
passes is trained for one step on a pack of four samples in float32; loss and gradients are compared with those of its
own forward pass in float64, one sample at a time. Differences are shares: of the loss, and of the largest gradient.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import sys
import time
import warnings
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from dart_tasks.console import first_line
from train.attention import choose_attention, register
from train.collate import IGNORE
from train.errors import UserError
from train.loss import install
from train.preflight import check_model

VOCABULARY, LENGTHS, PROMPT, LARGEST = 128, (17, 9, 30, 5), 3, 20_000_000

# What makes a model small, whatever it is called; each value is set where a configuration has one of that name.
SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embedding_size", "dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner", "block_ff_dim"), 96),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"), 32),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(
        ("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "head_dim"), 16
    ),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 128),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "hidden_dropout", "dropout"), 0.0),
    **dict.fromkeys(("activation_dropout", "layerdrop", "embedding_dropout", "resid_dropout", "residual_dropout"), 0.0),
    "rotary_dim": 8,
    "sliding_window": 8,
    "hidden_size_per_layer_input": 16,
}
"""Nothing else is changed: caps and scales of logits are the architecture's own."""

OWN: dict[str, dict[str, Any]] = {
    **{name: {"num_key_value_heads": 4, "num_experts_per_tok": 2} for name in ("deepseek_v2", "deepseek_v3")},
    "granite": {"logits_scaling": 8.0},  # as its published models
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"head_dim": 32, "n_groups": 1},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"], "head_dim": 32, "mamba_ngroups": 1, "n_mamba_heads": 4},
}
"""What single architectures need beside, to be built or to be what their published models are."""

OFTEN_NONE = ("num_key_value_heads", "head_dim")
"""Left to be derived from other sizes, with which they would not fit."""

ARCHITECTURES = """
apertus arcee bitnet bloom codegen cohere cohere2 deepseek_v2 deepseek_v3 ernie4_5 ernie4_5_moe exaone4 falcon
falcon_h1 falcon_mamba flex_olmo gemma gemma2 gemma3_text glm glm4 glm4_moe gpt2 gpt_bigcode gpt_neo gpt_neox
gpt_oss gptj granite granitemoe granitemoehybrid helium hunyuan_v1_dense hunyuan_v1_moe internlm3 jamba jetmoe
lfm2 llama mamba mamba2 minimax minimax_m2 ministral ministral3 mistral mixtral mpt nemotron nemotron_h olmo
olmo2 olmo3 olmoe opt persimmon phi phi3 phimoe qwen2 qwen2_moe qwen3 qwen3_5_text qwen3_moe qwen3_next
recurrent_gemma rwkv seed_oss smollm3 stablelm starcoder2 xglm xlstm zamba2
""".split()
"""Decoders of text alone; names that the installed transformers does not have are left out."""

UNKNOWN = "refused: it does not know the attention"

LISTS = ("layer_types", "mlp_layer_types", "layers_block_type", "no_rope_layers", "attention_types")
"""Settings that follow from the number of layers."""


@dataclass(frozen=True)
class Row:
    """What became of one architecture."""

    name: str
    result: str
    loss: float | None = None
    gradient: float | None = None


def configuration(name: str) -> Any:
    """The architecture's own configuration, made small."""
    kind = CONFIG_MAPPING[name]
    known = {**kind().to_dict()}
    small = {
        key: value for key, value in SMALL.items() if key in known and (known[key] is not None or key in OFTEN_NONE)
    }
    small |= dict.fromkeys((key for key in LISTS if key in known), None)
    return kind(**{**small, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1, **OWN.get(name, {})})


def rows() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(2, VOCABULARY, (1, length), generator=generator) for length in LENGTHS]


def alone(model: Any) -> float:
    """The mean loss over target tokens by the model's own forward pass, a sample at a time; its gradients are kept."""
    targets = sum(length - PROMPT for length in LENGTHS)
    total = 0.0
    for row in rows():
        logits = model(input_ids=row, use_cache=False).logits[0, PROMPT - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits, row[0, PROMPT:], reduction="sum") / targets
        loss.backward()
        total += float(loss)
    return total


def packed(model: Any) -> float:
    """The same as training computes it."""
    samples = rows()
    labels = [row.clone() for row in samples]
    for label in labels:
        label[:, :PROMPT] = IGNORE
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    loss = model(input_ids=torch.cat(samples, 1), position_ids=positions, labels=torch.cat(labels, 1)).loss
    loss.backward()
    return float(loss)


def gradients(model: Any) -> torch.Tensor:
    return torch.cat(
        [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten().double() for p in model.parameters()]
    )


def examine(name: str) -> Row:
    """What becomes of an architecture with the attention that a run chooses; where refused, with transformers' own."""
    try:
        config = configuration(name)
        with torch.device("meta"):
            size = sum(weights.numel() for weights in AutoModelForCausalLM.from_config(config).parameters())
        if size > LARGEST:
            return Row(name, f"not built: {size / 1e6:,.0f} M parameters are not small")
    except Exception as error:  # whatever a configuration this small breaks
        return Row(name, f"not built: {type(error).__name__}: {first_line(error)}"[:150])
    chosen = choose_attention("auto", torch.device("cpu"), False, config).name
    first = with_attention(name, chosen)
    if not first.result.startswith("refused"):
        return first
    for attention in ("sdpa", "eager"):
        other = with_attention(name, attention)
        if other.result == "trains":
            return replace(other, result=f"trains with --attention {attention}")
    return other if first.result == UNKNOWN or "it is exact with" in first.result else first


def with_attention(name: str, attention: str) -> Row:
    torch.manual_seed(0)
    try:
        config = configuration(name)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
    except (ValueError, KeyError):
        return Row(name, UNKNOWN)
    with torch.no_grad():
        for parameter in model.parameters():  # as initialised, many a model hardly looks at other tokens
            parameter.normal_(0, 0.08) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.02)
    try:
        check_model(model, [attention, "sdpa" if model._supports_sdpa else "eager"])
        exact = copy.deepcopy(model).double()
        exact.set_attn_implementation("eager")
        if hasattr(exact, "set_experts_implementation"):
            exact.set_experts_implementation("eager")  # the grouped product has no float64
        install(model)
        own, reference = packed(model.train()), alone(exact.train())
    except UserError as error:
        return Row(name, "refused: " + (str(error).partition(" attention: ")[2] or str(error)))
    except Exception as error:
        return Row(name, f"fails: {type(error).__name__}: {first_line(error)}"[:150])
    true = gradients(exact)
    difference = float((gradients(model) - true).abs().max() / true.abs().max())
    return Row(name, "trains", abs(own - reference) / reference, difference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="model types, by commas")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    warnings.simplefilter("ignore")
    register()
    names = (
        arguments.only.split(",")
        if arguments.only
        else ([name for name in ARCHITECTURES if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES])
    )
    started = time.monotonic()
    found = []
    for name in names:
        found.append(examine(name))
        print(".", end="", file=sys.stderr, flush=True)
    print(
        f"{platform.machine()}, torch {torch.__version__}, transformers {transformers.__version__}; {len(found)} "
        f"architectures in {time.monotonic() - started:.0f} s"
    )
    cells = [
        (row.name, row.result, *("" if value is None else f"{value:.1e}" for value in (row.loss, row.gradient)))
        for row in sorted(found, key=lambda row: (row.result, row.name))
    ]
    headings = ("architecture", "result", "loss differs by", "gradient differs by")
    if arguments.markdown:
        print("\n".join(f"| {' | '.join(cell)} |" for cell in (headings, ("---",) * 4, *cells)))
        return
    table = Table(*headings, box=None)
    for cell in cells:
        table.add_row(*cell)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
