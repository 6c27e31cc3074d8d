"""The training loss: cross-entropy summed over target tokens, divided by the target tokens of the whole optimizer step.

``install`` gives a causal language model a forward pass that takes a packed row and returns only this loss. The
vocabulary projection runs on target positions alone, in chunks that are recomputed in the backward pass, so full logits
(17 GB for eight Llama-3 packs of 4,096) are never held.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from train.lora import plain
from train.sharding import is_sharded

__all__ = ["IGNORE", "boundaries", "chunked_cross_entropy", "install", "packed_logits", "projects_plainly"]

IGNORE = -100
"""Label of a token whose loss does not count."""

CHUNK_ELEMENTS = 1 << 26
"""Logits held at a time: 256 MiB in float32."""


def _projected_cross_entropy(head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="sum")
    return loss


def chunked_cross_entropy(
    head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor, chunk_tokens: int, least_chunks: int = 1
) -> torch.Tensor:
    """Sum of cross-entropy over ``targets`` (tokens,) given ``hidden`` (tokens, size), by ``chunk_tokens`` at most.

    No targets give a zero that still has a gradient, so that every rank takes part in the backward pass.

    Args:
        least_chunks: the fewest chunks to make, also of few targets: ranks that share ``head`` must all call it equally
            often.
    """
    chunks = max(-(-len(targets) // chunk_tokens), least_chunks)
    if chunks == 1:
        return _projected_cross_entropy(head, hidden, targets)
    total = hidden.new_zeros((), dtype=torch.float32)
    for h, t in zip(hidden.tensor_split(chunks), targets.tensor_split(chunks), strict=True):
        total = total + checkpoint(_projected_cross_entropy, head, h, t, use_reentrant=False)
    return total


def boundaries(lengths: Sequence[int]) -> dict[str, Any]:
    """Where the samples of a row of these ``lengths`` end, in every form that an attention asks for.

    Made where the row is made, on the CPU: to find it in ``position_ids`` on a GPU makes the host wait.
    """
    ends = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
    return {"segment_lengths": tuple(lengths), "cu_seq_lens": ends, "max_length": max(lengths)}


def _boundaries(position_ids: torch.Tensor) -> dict[str, Any]:
    """:func:`boundaries` of a row known by its positions alone, which restart at 0."""
    row = position_ids[0].cpu()
    starts = (row == 0).nonzero()[:, 0].tolist()
    lengths = [end - start for start, end in itertools.pairwise([*starts, len(row)])]
    found = boundaries(lengths)
    return {**found, "cu_seq_lens": found["cu_seq_lens"].to(position_ids.device)}


def _for_attention(bounds: Mapping[str, Any], attention: str) -> dict[str, Any]:
    """What the attention needs of them to keep samples apart."""
    if attention in ("sdpa", "eager"):  # transformers reads the restarts itself
        return {}
    if attention == "packed_sdpa":
        return {"segment_lengths": bounds["segment_lengths"]}
    cumulative, longest = bounds["cu_seq_lens"], bounds["max_length"]
    return {
        "cu_seq_lens_q": cumulative,
        "cu_seq_lens_k": cumulative,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def _hidden_states(
    model: Any, input_ids: torch.Tensor, position_ids: torch.Tensor, bounds: Mapping[str, Any] | None = None
) -> torch.Tensor:
    """Last hidden states of one packed row. No mask and no cache: with either, samples would see each other."""
    options = _for_attention(bounds or _boundaries(position_ids), model.config._attn_implementation)
    decoder = plain(model).base_model
    output = decoder(input_ids=input_ids, position_ids=position_ids, use_cache=False, **options)
    hidden: torch.Tensor = output[0]
    return hidden


@torch.no_grad()
def packed_logits(model: Any, input_ids: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
    """Logits (tokens, vocabulary) of one packed row, through the very path that training takes.

    Of a sharded model, which must have been given its loss, every rank must ask at once.
    """
    if is_sharded(model):
        gathered: torch.Tensor = model(input_ids, position_ids).logits[0].float()
        return gathered
    head = model.get_output_embeddings()
    logits: torch.Tensor = head(_hidden_states(model, input_ids, position_ids))[0].float()
    return logits


@torch.no_grad()
def projects_plainly(model: Any, input_ids: torch.Tensor, position_ids: torch.Tensor) -> float:
    """Largest difference between the model's own logits and its head applied to its hidden states.

    Not zero where the model scales, caps or biases its logits: such a model cannot be trained by this loss.
    """
    own = model(input_ids, position_ids, own=True) if is_sharded(model) else _own(model, input_ids, position_ids)
    return float((own.logits[0].float() - packed_logits(model, input_ids, position_ids)).abs().max())


def _own(model: Any, input_ids: torch.Tensor, position_ids: torch.Tensor) -> Any:
    """What the model's own forward pass makes of a packed row."""
    options = _for_attention(_boundaries(position_ids), model.config._attn_implementation)
    return type(model).forward(model, input_ids=input_ids, position_ids=position_ids, use_cache=False, **options)


def install(model: Any, row_tokens: int = 0, chunk_elements: int = CHUNK_ELEMENTS) -> None:
    """Give ``model`` the forward pass ``(input_ids, position_ids, labels, num_items_in_batch) -> loss``.

    It replaces ``forward`` on this one object, so that DDP, FSDP2 and ZeRO-3, which hook the module's call, still work.
    ``num_items_in_batch`` is the number of target tokens in the whole optimizer step, across micro-batches and ranks.
    Without labels it gives logits, or with ``own`` those of the model's own forward pass: only within the call of a
    sharded model are its weights all there.
    ``target_positions`` (of the tokens that predict a target) and :func:`boundaries` are found in the row where they
    are not given; on a GPU the host then waits for it.

    Args:
        row_tokens: the most tokens of a row. Every rank then projects in the same number of chunks, whatever its row
            holds: ZeRO-3 gathers the projection's weights at each call, and would wait for a rank with fewer for ever.
    """
    from transformers.modeling_outputs import CausalLMOutput

    def forward(
        self: Any,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        target_positions: torch.Tensor | None = None,
        segment_lengths: tuple[int, ...] | None = None,
        cu_seq_lens: torch.Tensor | None = None,
        max_length: int | None = None,
        own: bool = False,
        **_: Any,
    ) -> Any:
        if own:
            return _own(self, input_ids, position_ids)
        bounds = {"segment_lengths": segment_lengths, "cu_seq_lens": cu_seq_lens, "max_length": max_length}
        hidden = _hidden_states(self, input_ids, position_ids, bounds if segment_lengths else None)[0]
        head = self.get_output_embeddings()
        if labels is None:
            return CausalLMOutput(logits=head(hidden)[None])
        if target_positions is None:  # position i predicts token i + 1; each sample's first label is masked
            target_positions = (labels[0, 1:] != IGNORE).nonzero()[:, 0]
        targets = labels[0].index_select(0, target_positions + 1)
        chunk_tokens = max(1, chunk_elements // self.config.get_text_config().vocab_size)
        least_chunks = max(1, -(-row_tokens // chunk_tokens))
        chosen = hidden.index_select(0, target_positions)
        total = chunked_cross_entropy(head, chosen, targets, chunk_tokens, least_chunks)
        items = len(targets) if num_items_in_batch is None else num_items_in_batch
        return CausalLMOutput(loss=total / (items.clamp(min=1) if isinstance(items, torch.Tensor) else max(items, 1)))

    model.forward = types.MethodType(forward, model)
    model.accepts_loss_kwargs = True
