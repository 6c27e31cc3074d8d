"""The result: a plain Hugging Face folder that vLLM, lm-eval and transformers load as it is.

bf16 safetensors, tokenizer, ``use_cache`` on, a generation config with the right EOS, and a chat template that renders
the training prompt token for token.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, logging

from dart_tasks.files import write_atomically

__all__ = ["Fetch", "by_layer", "export_model"]

_ASIDE = ".export"


Fetch = Callable[[Sequence[str]], Mapping[str, torch.Tensor]]
"""Whole tensors by their names, from wherever they are."""

FILE_BYTES = 5_000_000_000
"""The most bytes of a file of weights, but for a single layer: what an export holds at a time."""


def by_layer(names: Iterable[str]) -> list[list[str]]:
    """Names in their order, those of a layer together: formats and adapters join tensors of one layer, never of two."""

    def layer(name: str) -> str:
        numbered = re.match(r".*?\.\d+\.", name)
        return numbered[0] if numbered else re.sub(r"\.(base_layer|lora_[AB]\.[^.]+)\.", ".", name)

    return [list(group) for _, group in itertools.groupby(names, layer)]


def _parts(
    names: Iterable[str], fetch: Fetch, dtype: torch.dtype, most_bytes: int
) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors on the CPU, floating-point ones in ``dtype``, in as many as fit into ``most_bytes``."""
    part: dict[str, torch.Tensor] = {}
    for group in by_layer(names):
        layer = {
            name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
            for name, tensor in fetch(group).items()
        }
        if part and sum(tensor.nbytes for tensor in [*part.values(), *layer.values()]) > most_bytes:
            yield part
            part = {}
        part.update(layer)
    yield part


def _save(model: Any, parts: Iterable[dict[str, torch.Tensor]], folder: Path) -> None:
    """Write the weights and the configurations, one part after another, with an index where there are several."""
    written: list[Path] = []
    total = 0
    for part in parts:
        total += sum(tensor.nbytes for tensor in part.values())
        aside = folder / f"part-{len(written)}"
        model.save_pretrained(aside, state_dict=part, max_shard_size=1 << 60)
        part.clear()  # before the next is gathered
        for path in aside.iterdir():
            path.replace(folder / (f"{aside.name}.safetensors" if path.suffix == ".safetensors" else path.name))
        aside.rmdir()
        written.append(folder / f"{aside.name}.safetensors")
    if len(written) == 1:
        written[0].rename(folder / SAFE_WEIGHTS_NAME)
        return
    index = {}
    for number, path in enumerate(written, 1):
        name = f"model-{number:05}-of-{len(written):05}.safetensors"
        with safe_open(path.rename(folder / name), "pt") as file:
            index.update(dict.fromkeys(file.keys(), name))
    content = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / SAFE_WEIGHTS_INDEX_NAME).write_text(
        json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )


def export_model(
    model: Any,
    names: Iterable[str],
    fetch: Fetch,
    tokenizer: Any,
    chat_template: str,
    output_dir: Path,
    dtype: str,
    end_tokens: Sequence[int] = (),
    file_bytes: int = FILE_BYTES,
) -> list[str]:
    """Write ``model``, which needs no weights of its own, and its tokenizer to ``output_dir``; the names of the files.

    Files are written aside and moved in, ``config.json`` last: without it the folder is no model.

    Args:
        names: of the weights to write, tied ones once.
        fetch: gives them, as many at a time as ``file_bytes`` hold.
        chat_template: Jinja, for the tokenizer.
        end_tokens: what ended responses in training, where generation is to stop beside EOS.
    """
    from transformers import GenerationConfig

    logging.disable_progress_bar()  # of each file
    aside = output_dir / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    torch_dtype = getattr(torch, dtype)

    config, generation = model.config, model.generation_config
    model.config = copy.deepcopy(config)
    model.config.use_cache = True
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ends = [tokenizer.eos_token_id, *(token for token in end_tokens if token != tokenizer.eos_token_id)]
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends if len(ends) > 1 else ends[0], pad_token_id=pad
    )
    try:
        _save(model, _parts(names, fetch, torch_dtype, file_bytes), aside)
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
