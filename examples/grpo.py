"""Reinforcement learning with our verifier, end to end on two CPU cores in under 10 minutes.

    pip install ".[cpu,train,trl]"
    python examples/grpo.py --output runs/grpo

TRL's GRPOTrainer tunes the embedded model (0.9M parameters) on problems of middle pass rate, which ``dart-synth`` found
by sampling each problem eight times; ``dart_tasks.rewards.trl`` is the reward. It prints the accuracy on held-out
problems before and after, level by level, and draws the reward curve. A loss is reported as a loss.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dart_tasks.embedded import BASE_MODEL_DIR, HELDOUT_PROBLEMS
from dart_tasks.prompts import get_template
from dart_tasks.rewards import judge, sample
from dart_tasks.rewards.trl import AccuracyReward

MAX_NEW_TOKENS = 128
LEVELS = range(1, 6)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/grpo"), help="folder of the run [%(default)s]")
    parser.add_argument("--pool", type=Path, help="a finished dart-synth run; without it one is made (about a minute)")
    parser.add_argument("--min-pass-rate", type=float, default=0.1, help="of the problems trained on [%(default)s]")
    parser.add_argument("--max-pass-rate", type=float, default=0.9, help="of the problems trained on [%(default)s]")
    parser.add_argument("--steps", type=int, default=50, help="optimizer steps [%(default)s]")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="[%(default)s]")
    return parser.parse_args()


def synthesised_pool(output: Path) -> Path:
    """A ``dart-synth`` run: eight trials of each of 300 training problems by the model that is to be tuned."""
    command = ["dart-synth", "--preset", "demo", "--strategy", "vanilla", "-k", "8", "--limit", "300"]
    command += ["--model", str(BASE_MODEL_DIR), "--output", str(output)]
    print("$", *command, flush=True)
    command[0] = str(Path(sys.executable).with_name(command[0]))  # of this environment, activated or not
    if subprocess.run(command, check=False).returncode:
        sys.exit("examples/grpo.py: dart-synth failed; its message stands above")
    return output


def middle_problems(pool: Path, low: float, high: float) -> list[dict[str, Any]]:
    """Query, reference and level of the problems whose pass rate lies within the bounds."""
    import pyarrow.parquet as pq

    rows = pq.read_table(pool / "dataset" / "queries" / "train.parquet").to_pylist()
    middle = [row for row in rows if low <= row["n_correct"] / row["n_trials"] <= high]
    levels = ", ".join(f"{sum(row['level'] == level for row in middle)} of level {level}" for level in LEVELS)
    print(f"{len(middle):,} of {len(rows):,} problems have a pass rate of {low} to {high}: {levels}", flush=True)
    if not middle:
        sys.exit("examples/grpo.py: no problem is left; widen --min-pass-rate and --max-pass-rate")
    return [
        {"prompt": get_template("alpaca").render(row["query"]), "question": row["query"], "reference": row["reference"]}
        for row in middle
    ]


def accuracy(model: Any, tokenizer: Any) -> dict[int, float]:
    """Greedy accuracy on the held-out problems, by level; 0 stands for all."""
    import torch

    problems = [json.loads(line) for line in HELDOUT_PROBLEMS.read_text(encoding="utf-8").splitlines()]
    responses: list[str] = []
    for start in range(0, len(problems), 250):
        prompts = [get_template("alpaca").render(row["query"]) for row in problems[start : start + 250]]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
        with torch.inference_mode():
            tokens = model.generate(
                input_ids=inputs.input_ids,
                attention_mask=inputs.attention_mask,
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
            )
        responses += tokenizer.batch_decode(tokens[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    cases = [sample(text, row["answer"], question=row["query"]) for text, row in zip(responses, problems, strict=True)]
    right = [reward.value == 1.0 for reward in judge(cases)]
    return {
        level: sum(hits) / len(hits)
        for level in (0, *LEVELS)
        if (hits := [hit for hit, row in zip(right, problems, strict=True) if level in (0, row["level"])])
    }


def draw(history: list[dict[str, Any]], path: Path) -> None:
    """The mean reward of each step, and its running mean."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    steps = [row["step"] for row in history if "reward" in row]
    rewards = [row["reward"] for row in history if "reward" in row]
    smooth = [sum(part) / len(part) for end in range(len(rewards)) if (part := rewards[max(0, end - 9) : end + 1])]
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(steps, rewards, ".", alpha=0.5, label="mean reward of the step")
    axes.plot(steps, smooth, label="mean of the last 10 steps")
    axes.set(xlabel="step", ylabel="reward", title="GRPO on problems of middle pass rate")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Sample, choose problems, measure, train, measure again."""
    given = arguments()
    started_s = time.monotonic()
    given.output.mkdir(parents=True, exist_ok=True)
    problems = middle_problems(
        given.pool or synthesised_pool(given.output / "pool"), given.min_pass_rate, given.max_pass_rate
    )

    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    torch.manual_seed(given.seed)
    torch.set_num_threads(1)  # more make so small a model slower; the other core judges
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL_DIR)
    model = AutoModelForCausalLM.from_pretrained(BASE_MODEL_DIR, dtype=torch.float32)
    before = accuracy(model, tokenizer)
    print("accuracy before: " + ", ".join(f"{share:.1%}" for share in before.values()), flush=True)
    reward = AccuracyReward(max_completion_length=MAX_NEW_TOKENS, eos_token_ids=[tokenizer.eos_token_id])
    config = GRPOConfig(
        output_dir=str(given.output / "trainer"),
        seed=given.seed,
        max_steps=given.steps,
        learning_rate=given.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        per_device_train_batch_size=128,
        num_generations=8,
        max_completion_length=MAX_NEW_TOKENS,
        temperature=1.0,
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        gradient_checkpointing=False,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list(problems),
        processing_class=tokenizer,
    )
    trainer.train()
    after = accuracy(model, tokenizer)
    draw(trainer.state.log_history, given.output / "reward.png")
    shutil.rmtree(given.output / "trainer", ignore_errors=True)
    trainer.save_model(str(given.output / "model"))

    print(f"\n{'level':>6}{'before':>9}{'after':>9}{'change':>9}")
    for level in (*LEVELS, 0):
        change = 100 * (after[level] - before[level])
        print(f"{level or 'all':>6}{before[level]:>9.1%}{after[level]:>9.1%}{change:>+9.1f}")
    gain = 100 * (after[0] - before[0])
    verdict = f"gained {gain:.1f}" if gain > 0 else f"lost {-gain:.1f}" if gain < 0 else "gained 0.0"
    print(
        f"GRPO {verdict} points of accuracy in {given.steps} steps. Curve: {given.output / 'reward.png'}; "
        f"{(time.monotonic() - started_s) / 60:.1f} minutes, {sum(os.times()[:4]) / 60:.1f} of CPU time"
    )


if __name__ == "__main__":
    main()
