"""The command line: recipes, overrides, every TrainingArguments name, and errors instead of silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.arguments import parse
from train.errors import UsageError
from train.prepare import seed_of_order
from train.recipe import Batching, load_recipe, recipe_names, split_batch

PAPER = {  # learning rate, epochs, GPUs (DART-Math, Appendix A.1)
    "mistral-7b": (1e-5, 3, 8),
    "llama3-8b": (5e-5, 1, 8),
    "llama3-70b": (2e-5, 1, 32),
    "deepseekmath-7b": (5e-5, 3, 8),
}


@pytest.mark.parametrize("name", PAPER)
def test_recipes_are_the_papers(name: str) -> None:
    recipe = load_recipe(name)
    training = recipe.training
    assert (training["learning_rate"], training["num_train_epochs"], recipe.gpus) == PAPER[name]
    assert (recipe.global_batch, recipe.max_length, recipe.prompt_template) == (64, 4096, "alpaca")
    assert (training["lr_scheduler_type"], training["warmup_steps"], training["weight_decay"]) == ("cosine", 0.03, 0.0)
    assert training["bf16"] is True


def test_the_published_accumulation_follows_from_the_recipe() -> None:
    accumulation = {
        name: split_batch(
            64, load_recipe(name).gpus, load_recipe(name).training["per_device_train_batch_size"]
        ).accumulation
        for name in PAPER
    }
    assert accumulation == {"mistral-7b": 1, "llama3-8b": 2, "llama3-70b": 1, "deepseekmath-7b": 1}


def test_all_recipes_are_listed() -> None:
    assert set(recipe_names()) == {*PAPER, "demo"}


@pytest.mark.parametrize("world_size", [1, 2, 4, 8, 16, 32, 64])
def test_the_global_batch_is_kept_at_any_number_of_ranks(world_size: int) -> None:
    assert split_batch(64, world_size, 8).global_batch == 64


@pytest.mark.parametrize(
    ("world_size", "micro", "accumulation", "message"),
    [
        (3, None, None, "cannot be spread over 3 processes"),
        (128, None, None, "cannot be spread over 128 processes"),
        (8, 3, None, "make 48 a step, not 64"),
        (8, 8, 2, "make 128 a step, not 64"),
    ],
)
def test_or_refused(world_size: int, micro: int | None, accumulation: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split_batch(64, world_size, 8, micro, accumulation)


def test_a_given_micro_batch_decides_the_accumulation() -> None:
    assert split_batch(64, 8, 8, micro=2) == Batching(8, 4, 2)
    assert split_batch(64, 8, 8, accumulation=4) == Batching(8, 4, 2)


def test_flags_override_the_recipe() -> None:
    options = parse(["--recipe", "mistral-7b", "--learning_rate", "2e-5", "--max-length", "2048", "--data", "uniform"])
    assert options.training["learning_rate"] == 2e-5
    assert options.training["num_train_epochs"] == 3
    assert options.max_length == 2048
    assert options.data[0].source == "hkust-nlp/dart-math-uniform"
    assert options.given == {"learning_rate"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--n_epochs", "1"], "unknown flag --n_epochs: did you mean --num_train_epochs?"),
        (["--learning_rat", "1"], "unknown flag --learning_rat: did you mean --learning_rate?"),
        (["--global_bach", "1"], "unknown flag --global_bach: did you mean --global_batch?"),
        (["stray"], "unexpected argument 'stray'"),
        (["--recipe", "nope"], "unknown recipe 'nope': choose one of"),
        (["--max-length", "1"], "--max-length must be at least 2"),
        (["--learning_rate", "fast"], "invalid float value"),
    ],
)
def test_what_is_not_understood_is_an_error(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(flags)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--global-batch", "0"], "--max-length must be at least 2 and --global-batch at least 1"),
        (["--max-length", "0"], "--max-length must be at least 2"),
        (["--save-minutes", "-1"], "--save-minutes must be 0 or more"),
        (["--utilisation", "0"], "--utilisation must be above 0"),
        (["--label_smoothing_factor", "0.1"], "--label_smoothing_factor 0.1: the loss is plain cross-entropy"),
        (["--save_only_model"], "could not be resumed"),
        (["--eval_strategy", "steps"], "--eval_strategy steps: there is no evaluation during training"),
        (["--average_tokens_across_devices", "false"], "a mean over the target tokens of all processes"),
        (["--train_sampling_strategy", "group_by_length"], "the order of packs is a function of the seed"),
    ],
)
def test_what_could_only_be_ignored_is_an_error(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(flags)
    assert message in str(error.value)


def test_the_same_flags_at_their_harmless_values_are_not() -> None:
    harmless = ["--eval_strategy", "no", "--label_smoothing_factor", "0", "--save_only_model", "false"]
    assert parse(harmless).training["label_smoothing_factor"] == 0


@pytest.mark.parametrize(
    ("flags", "minutes"),
    [
        (["--recipe", "mistral-7b"], 15),
        (["--recipe", "demo", "--save-minutes", "2.5"], 2.5),
        (["--save_strategy", "no"], 0),
        (["--save_strategy", "no", "--save-minutes", "5"], 5),
    ],
)
def test_checkpoints_are_saved_by_the_clock_unless_none_are_wanted(flags: list[str], minutes: float) -> None:
    assert parse(flags).save_minutes == minutes


@pytest.mark.parametrize(("flags", "seed"), [([], 42), (["--seed", "7"], 7), (["--seed", "7", "--data_seed", "0"], 0)])
def test_the_order_is_drawn_from_the_data_seed_also_where_it_is_zero(flags: list[str], seed: int) -> None:
    assert seed_of_order(parse(flags)) == seed


def test_every_name_of_training_arguments_is_a_flag() -> None:
    import dataclasses

    from transformers import TrainingArguments

    from train.arguments import _transformers_parser

    known = {option for action in _transformers_parser()._actions for option in action.option_strings}
    assert {f"--{field.name}" for field in dataclasses.fields(TrainingArguments) if field.init} <= known


def test_a_recipe_file_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: m\ndata: d\nepochs: 3\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"recipe mine\.yaml: unknown keys epochs"):
        load_recipe(str(path))
