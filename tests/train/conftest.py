"""Tiny models, a byte-level tokenizer and a dataset of sums, all made here."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEXT_BYTES = 256


def make_tokenizer(folder: Path, *, bos: bool = True, pad_is_eos: bool = False) -> Any:
    """A byte-level tokenizer without merges, which adds BOS (as Llama's does) or not (as GPT-2's)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<s>", "</s>", "<pad>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>" if pad_is_eos else "<pad>",
    )
    fast.save_pretrained(folder)
    return fast


def tiny_config(kind: str = "llama", vocab_size: int = 3 + TEXT_BYTES, **overrides: Any) -> Any:
    """A configuration of a few tens of thousands of parameters, by model type."""
    from transformers import AutoConfig

    llama_like = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
    }
    gpt2_like = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 512}
    other = {
        "gpt2": gpt2_like,
        "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 2},
        "falcon": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        "opt": {
            "hidden_size": 64,
            "ffn_dim": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "word_embed_proj_dim": 64,
            "max_position_embeddings": 512,
        },
    }
    values = {
        "vocab_size": vocab_size,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        **other.get(kind, llama_like),
        **overrides,
    }
    return AutoConfig.for_model(kind, **values)


def make_model(folder: Path, kind: str = "llama", seed: int = 0, **overrides: Any) -> Path:
    """A random model of ``kind`` with its tokenizer, saved as a Hugging Face folder."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(kind, **overrides))
    model.save_pretrained(folder)
    make_tokenizer(folder)
    return folder


def make_dataset(folder: Path, rows: int = 60, seed: int = 0) -> Path:
    """A folder with sums written out, in the columns of our datasets."""
    generator = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(rows):
            terms = [generator.randrange(1, 50) for _ in range(generator.randrange(2, 7))]
            query = f"What is {' + '.join(map(str, terms))}?"
            steps = "\n".join(f"{sum(terms[:i])} + {terms[i]} = {sum(terms[: i + 1])}" for i in range(1, len(terms)))
            response = f"{steps}\nThe answer is \\boxed{{{sum(terms)}}}."
            file.write(json.dumps({"query": query, "response": response}) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny Llama with dropout in attention, and its tokenizer."""
    return make_model(tmp_path_factory.mktemp("llama"), attention_dropout=0.1)


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of 60 sums."""
    return make_dataset(tmp_path_factory.mktemp("sums"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenised data goes to a folder of the test session."""
    monkeypatch.setenv("DART_MATH_CACHE", str(tmp_path_factory.getbasetemp() / "dart-cache"))


@pytest.fixture(scope="session")
def build_model() -> Callable[..., Path]:
    """``make_model``, for tests in files that cannot import this one."""
    return make_model


@pytest.fixture(scope="session")
def build_config() -> Callable[..., Any]:
    """``tiny_config``."""
    return tiny_config


@pytest.fixture(scope="session")
def build_dataset() -> Callable[..., Path]:
    """``make_dataset``."""
    return make_dataset


@pytest.fixture(scope="session")
def build_tokenizer() -> Callable[..., Any]:
    """``make_tokenizer``."""
    return make_tokenizer


@pytest.fixture
def sft(tiny_llama: Path, sums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs ``train/sft.py`` to ``tmp_path / name``; its exit code, what it said of errors (``sft.out``: the rest)."""

    def run(name: str, *flags: str, model: Path = tiny_llama, data: Path = sums) -> tuple[int, str]:
        paths = ["--recipe", "demo", "--model", str(model), "--data", str(data), "--output_dir", str(tmp_path / name)]
        code = main([*paths, "--report_to", "none", "--logging_steps", "1", *flags])
        said = capsys.readouterr()
        run.out = said.out
        return code, said.err

    from train.sft import main

    return run
