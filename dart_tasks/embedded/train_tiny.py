"""Train the embedded model from scratch on generated problems, and save it with an earlier checkpoint of the same run.

Usage::

    python -m dart_tasks.embedded.train_tiny [--steps 2200] [--base-at 0.8] [--only-base] [--output DIR]

Without ``--output`` it replaces the checked-in ``model`` and ``base_model`` folders. About 15 minutes on one core. What
made so small a model learn: Muon on the matrices with AdamW on the rest (AdamW alone stays near zero), single digits
as tokens, and rows of bare equations mixed in, 80% of all rows at first and 10% at the end.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import click

from dart_tasks.embedded import BASE_MODEL_DIR, HELDOUT_PROBLEMS, MODEL_DIR
from dart_tasks.embedded.problems import generate, random_equation, solution
from dart_tasks.prompts import QUERY_SLOT, get_template

TEMPLATE = get_template("alpaca")
VOCABULARY_SIZE = 512
TOKENS_PER_STEP = 2048
LEVEL_WEIGHTS = (1, 2, 3, 4, 4)
BASE_MODEL_AT = 0.8  # the share of all steps at which the demo's student is taken
MUON_LR, ADAMW_LR = 0.02, 3e-3
IGNORED = -100

Row = tuple[list[int], list[int]]  # token ids and labels


def make_tokenizer() -> Any:
    """Byte-level BPE with single digits, the template's fixed parts as tokens, BOS in front and a chat template."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    before, after = TEMPLATE.text.split(QUERY_SLOT)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d| ?[^\s\d]+|\s"), "isolated"),
            pre_tokenizers.Split(Regex(r"[.,?:}{\\]|[^.,?:}{\\]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    rng = Random(0)
    problems = [generate(level, rng) for level in (2, 3, 4, 5) for _ in range(500)]
    corpus = [text for problem in problems for text in (problem.query, solution(problem, rng))]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - 2,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_tokens([AddedToken(before, normalized=False), AddedToken(after, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )
    quoted = {name: text.replace("\n", "\\n") for name, text in (("before", before), ("after", after))}
    wrapped.chat_template = (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        f"{{{{ '{quoted['before']}' + message['content'] + '{quoted['after']}' }}}}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
    )
    return wrapped


def make_model(vocabulary_size: int) -> Any:
    """The untrained model (head size 32: vLLM's CPU attention refuses 16)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary_size,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=32,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def _equation_row(rng: Random) -> list[tuple[str, bool]]:
    """Pieces of a row of bare equations; only the results are to be learned."""
    pieces = []
    for _ in range(12):
        question, result = random_equation(rng).split("= ")
        pieces += [(f"{question}=", False), (f" {result}.", True)]
    return pieces


def rows(tokenizer: Any, rng: Random, heldout: frozenset[str], progress: list[float]) -> Iterator[Row]:
    """Endless training rows; ``progress[0]`` (0 to 1) sets the share of equation rows."""
    while True:
        if rng.random() < 0.8 - 0.7 * min(1.0, progress[0] / 0.5):
            pieces = _equation_row(rng)
        else:
            (level,) = rng.choices((1, 2, 3, 4, 5), LEVEL_WEIGHTS)
            problem = generate(level, rng)
            if problem.query in heldout:
                continue
            pieces = [(TEMPLATE.render(problem.query), False), (solution(problem, rng), True)]
        ids, labels = [tokenizer.bos_token_id], [IGNORED]
        for text, learned in pieces:
            piece = tokenizer.encode(text, add_special_tokens=False)
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        yield [*ids, tokenizer.eos_token_id], [*labels, tokenizer.eos_token_id]


def _batches(stream: Iterator[Row], rng: Random) -> Iterator[list[Row]]:
    """Groups of rows of similar length, each of about ``TOKENS_PER_STEP`` tokens with its padding."""
    while True:
        window = sorted((next(stream) for _ in range(192)), key=lambda row: len(row[0]))
        groups: list[list[Row]] = [[]]
        for row in window:
            if (len(groups[-1]) + 1) * len(row[0]) > TOKENS_PER_STEP:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        yield from groups


def _muon_step(matrices: list[Any], momenta: list[Any], lr: float, momentum: float = 0.95) -> None:
    """One Muon update in float32 (K. Jordan, https://kellerjordan.github.io/posts/muon/).

    ``torch.optim.Muon`` orthogonalises in bfloat16, which a CPU without bfloat16 arithmetic does ten times slower.
    """
    import torch

    with torch.no_grad():
        for matrix, average in zip(matrices, momenta, strict=True):
            average.mul_(momentum).add_(matrix.grad)
            x = matrix.grad + momentum * average
            x = (x.T if matrix.shape[0] > matrix.shape[1] else x) / (x.norm() + 1e-7)
            for _ in range(5):
                gram = x @ x.T
                x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
            x = x.T if matrix.shape[0] > matrix.shape[1] else x
            matrix.add_(x, alpha=-lr * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5)
            matrix.grad = None


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    import torch

    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    clone = make_model(model.config.vocab_size)
    clone.load_state_dict(model.state_dict())
    clone.to(torch.bfloat16).save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def train(steps: int, output: Path | None, base_output: Path, base_at: float = BASE_MODEL_AT, seed: int = 0) -> None:
    """Train for ``steps`` steps of about 2,048 tokens; write the final model and the earlier checkpoint.

    Without ``output`` the same run ends at that checkpoint, after the share ``base_at`` of its steps.
    """
    import torch
    from rich.progress import track

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens in the vocabulary")
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    momenta = [torch.zeros_like(matrix) for matrix in matrices]
    adamw = torch.optim.AdamW(others, lr=ADAMW_LR, betas=(0.9, 0.95), weight_decay=0.0)
    heldout = frozenset(json.loads(line)["query"] for line in HELDOUT_PROBLEMS.read_text().splitlines())
    progress = [0.0]
    batches = _batches(rows(tokenizer, Random(seed), heldout, progress), Random(seed))
    started, tokens, recent = time.monotonic(), 0, 0.0
    for step in track(range(1, steps + 1), description="training the embedded model"):
        progress[0] = step / steps
        batch = next(batches)
        width = max(len(ids) for ids, _ in batch)
        # Causal attention never looks at the padding on the right, so no mask is needed.
        ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in batch])
        labels = torch.tensor([row + [IGNORED] * (width - len(row)) for _, row in batch])
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scale = min(1.0, step / 50) * (0.5 + 0.5 * math.cos(math.pi * max(0.0, progress[0] - 0.3) / 0.7))
        scale = max(scale, 0.02)
        _muon_step(matrices, momenta, MUON_LR * scale)
        adamw.param_groups[0]["lr"] = ADAMW_LR * scale
        adamw.step()
        adamw.zero_grad()
        tokens += ids.numel()
        recent = loss.item() if step == 1 else 0.95 * recent + 0.05 * loss.item()
        if step % 50 == 0:
            print(f"step {step}: loss {recent:.4f}, {tokens / (time.monotonic() - started):,.0f} tokens/s", flush=True)
        if step == round(base_at * steps):
            _save(model, tokenizer, base_output)
            if output is None:
                return
    if output is not None:
        _save(model, tokenizer, output)


@click.command(help=__doc__.split("\n\n")[0] if __doc__ else None)
@click.option("--steps", default=2200, show_default=True, help="Optimizer steps of about 2,048 tokens.")
@click.option("--output", type=click.Path(path_type=Path), help="Write OUTPUT/model and OUTPUT/base_model instead.")
@click.option(
    "--base-at",
    type=click.FloatRange(0, 1, min_open=True),
    default=BASE_MODEL_AT,
    show_default=True,
    help="Share of the steps after which base_model is taken.",
)
@click.option("--only-base", is_flag=True, help="Stop there: write base_model alone.")
def main(steps: int, output: Path | None, base_at: float, only_base: bool) -> None:
    model, base = (output / "model", output / "base_model") if output else (MODEL_DIR, BASE_MODEL_DIR)
    model.parent.mkdir(parents=True, exist_ok=True)
    train(steps, None if only_base else model, base, base_at)


if __name__ == "__main__":
    main()
