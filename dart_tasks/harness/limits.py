"""What a model can hold: its tokenizer and length, found from lm-eval's model arguments.

lm-eval gives a task the model's arguments but not the model. Backends cut a prompt that does not fit from the left
without a word, and return text without a finish reason; both can only be noticed here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ModelLimits",
    "likely_truncated",
    "limits_from_model_args",
    "note_served",
    "room_beside",
    "too_long",
    "uncheckable",
]

_log = logging.getLogger(__name__)
_SERVED_LENGTH = 2048  # lm-eval's default max_length of an API model
_NO_LOCAL_TOKENIZER = ("none", "None", "remote", "tiktoken")  # tokenizer_backend of an API model
_SERVED: dict[object, int | None] = {}  # base_url of models of our own, which cut no prompt -> the server's context
_LENGTH_ATTRIBUTES = ("n_positions", "max_position_embeddings", "n_ctx")  # in lm-eval's order


@dataclass(frozen=True)
class ModelLimits:
    """A tokenizer and the most tokens (prompt and response together) that the model takes."""

    tokenizer: Any
    max_length: int | None

    def count(self, text: str) -> int:
        """Tokens of a prompt, with those special tokens (BOS) that the tokenizer adds."""
        return len(self.tokenizer(text).input_ids)

    def count_response(self, text: str) -> int:
        """Tokens of a response (no special tokens)."""
        return len(self.tokenizer(text, add_special_tokens=False).input_ids)


def note_served(base_url: str | None, max_length: int | None) -> None:
    """Remember the context that a server told one of our own models, as lm-eval shows a task no model."""
    _SERVED[base_url] = max_length


def limits_from_model_args(model_args: Mapping[str, Any]) -> ModelLimits | None:
    """The limits of the model that lm-eval was given, or None if its arguments name no loadable tokenizer."""
    name = model_args.get("tokenizer") or model_args.get("pretrained") or model_args.get("model")
    if not isinstance(name, str) or model_args.get("tokenizer_backend") in _NO_LOCAL_TOKENIZER:
        return None
    from transformers import AutoConfig, AutoTokenizer

    options = {key: model_args[key] for key in ("revision", "trust_remote_code", "subfolder") if key in model_args}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError) as error:
        _log.warning("no tokenizer for %s: prompt lengths are not checked (%s)", name, " ".join(str(error).split()))
        return None
    if (url := model_args.get("base_url")) in _SERVED:
        return ModelLimits(tokenizer, model_args.get("max_length") or _SERVED[url])
    if url is not None:
        return ModelLimits(tokenizer, int(model_args.get("max_length") or _SERVED_LENGTH) - 1)
    length = model_args.get("max_model_len") or model_args.get("max_length")
    if length is None:
        try:
            config = AutoConfig.from_pretrained(model_args.get("pretrained") or name, **options)
        except (OSError, ValueError, KeyError):
            return ModelLimits(tokenizer, None)
        length = next((getattr(config, key) for key in _LENGTH_ATTRIBUTES if getattr(config, key, None)), None)
    return ModelLimits(tokenizer, int(length) if length else None)


def uncheckable(model_args: Mapping[str, Any]) -> str | None:
    """A line that says what to do if lm-eval would cut prompts by a tokenizer that is not at hand here."""
    backend = model_args.get("tokenizer_backend")
    if backend not in ("remote", "tiktoken") or model_args.get("tokenized_requests") is False:
        return None  # prompts sent as text are not cut: the server refuses those that are too long
    return (
        f"with tokenizer_backend={backend} lm-eval would cut prompts that do not fit, unseen: add "
        "tokenizer=DIR,tokenizer_backend=huggingface (lengths are then checked), or tokenized_requests=False"
    )


def room_beside(prompts: Sequence[str], limits: ModelLimits) -> int | None:
    """How many new tokens the model takes beside the longest prompt; None where its length is not known."""
    return None if limits.max_length is None else limits.max_length - max(map(limits.count, prompts), default=0)


def too_long(prompts: Sequence[str], limits: ModelLimits, max_new_tokens: int) -> str | None:
    """None if every prompt fits beside ``max_new_tokens``; otherwise a line that names the lengths and what to do."""
    if limits.max_length is None:
        return None
    counts = [limits.count(prompt) for prompt in prompts]
    room = limits.max_length - max_new_tokens
    over = sum(count > room for count in counts)
    if not over:
        return None
    longest = max(counts)
    advice = (
        f"pass --gen_kwargs max_gen_toks={limits.max_length - longest}"
        if longest < limits.max_length
        else "use a model that takes longer inputs"
    )
    return (
        f"{over:,} of {len(counts):,} prompts do not fit: the longest has {longest:,} tokens, {max_new_tokens:,} are "
        f"to be generated, and the model takes {limits.max_length:,} in all; lm-eval would cut the prompts: {advice}"
    )


def likely_truncated(response: str, max_new_tokens: int, limits: ModelLimits | None) -> bool:
    """Whether a response probably ended because it ran out of tokens.

    Judged by its length re-tokenised (which may differ a little from the tokens generated), or, without a tokenizer,
    by a long text that stops in mid-sentence.
    """
    if limits is not None:
        return limits.count_response(response) >= 0.98 * max_new_tokens
    return len(response) >= 2 * max_new_tokens and not response.rstrip().endswith((".", "}", "$", "!", "?", ")", "]"))
