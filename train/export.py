"""The result: a plain Hugging Face folder that vLLM, lm-eval and transformers load as it is.

bf16 safetensors, tokenizer, ``use_cache`` on, a generation config with the right EOS, and a chat template that renders
the training prompt token for token.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dart_tasks.files import write_atomically

__all__ = ["export_model"]

_ASIDE = ".export"


def _cast(state: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Floating-point tensors in ``dtype``, on the CPU; tied ones stay tied."""
    done: dict[tuple[int, tuple[int, ...]], torch.Tensor] = {}
    result = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tuple(tensor.shape))
        if key not in done:
            done[key] = tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        result[name] = done[key]
    return result


def export_model(
    model: Any,
    state: dict[str, torch.Tensor],
    tokenizer: Any,
    chat_template: str,
    output_dir: Path,
    dtype: str,
    end_tokens: Sequence[int] = (),
) -> list[str]:
    """Write ``model`` with the weights ``state`` and its tokenizer to ``output_dir``; the names of the files.

    Files are written aside and moved in, ``config.json`` last: without it the folder is no model.

    Args:
        chat_template: Jinja, for the tokenizer.
        end_tokens: what ended responses in training, where generation is to stop beside EOS.
    """
    from transformers import GenerationConfig

    aside = output_dir / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    torch_dtype = getattr(torch, dtype)

    config, generation = model.config, model.generation_config
    # Gathered from shards, tied weights no longer share memory: by their names, one of them is written.
    state = {name: tensor for name, tensor in state.items() if name not in model.all_tied_weights_keys}
    model.config = copy.deepcopy(config)
    model.config.use_cache = True
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ends = [tokenizer.eos_token_id, *(token for token in end_tokens if token != tokenizer.eos_token_id)]
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends if len(ends) > 1 else ends[0], pad_token_id=pad
    )
    try:
        model.save_pretrained(aside, state_dict=_cast(state, torch_dtype))
    finally:
        model.config, model.generation_config = config, generation
    # save_pretrained records the dtype of the model in memory, which is not that of the state it was given.
    record = json.loads((aside / "config.json").read_text(encoding="utf-8"))
    write_atomically(aside / "config.json", json.dumps({**record, "dtype": dtype}, indent=2) + "\n")

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(aside)

    (output_dir / "config.json").unlink(missing_ok=True)
    for stale in output_dir.glob("model*.safetensors*"):  # an earlier export in other parts would be read instead
        stale.unlink()
    files = sorted(aside.iterdir(), key=lambda path: path.name == "config.json")
    for path in files:
        shutil.copymode(aside / "config.json", path)  # safetensors makes files that only their owner can read
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(output_dir / path.name)
    aside.rmdir()
    return [path.name for path in files]
