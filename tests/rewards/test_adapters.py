"""The adapters as their trainers call them: the same arguments, the same loaders, the same kinds of result."""

from __future__ import annotations

import asyncio
import importlib.util
import pickle
import threading
import time
import warnings
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dart_tasks.embedded import MODEL_DIR
from dart_tasks.prompts import get_template
from dart_tasks.rewards import RewardOptions, openrlhf, trl, verl
from dart_tasks.rewards.openrlhf import RewardFunc, response_of, reward_func
from dart_tasks.rewards.trl import AccuracyReward, accuracy_reward, async_accuracy_reward
from dart_tasks.rewards.verl import compute_score, compute_score_async, compute_score_batch

RIGHT, WRONG, NOTHING = r"It is $\boxed{4}$.", r"It is $\boxed{5}$.", "I do not know."


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def loaded_by_path(module: ModuleType) -> ModuleType:
    """As verl and OpenRLHF load a reward's file: executed under another name, and not put into ``sys.modules``."""
    assert module.__file__
    spec = importlib.util.spec_from_file_location("custom_module", module.__file__)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


# -- TRL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["solution", "answer", "reference"])
def test_trl_texts_and_messages(column: str) -> None:
    given: dict[str, Any] = {"prompts": ["2+2?"] * 3, "completion_ids": [[1]] * 3, "trainer_state": object()}
    for completions in ([RIGHT, WRONG, NOTHING], [chat(RIGHT), chat(WRONG), chat(NOTHING)]):
        assert accuracy_reward(completions=completions, **{column: ["4", "4", "4"]}, **given) == [1.0, 0.0, 0.0]


def test_trl_none_where_the_reference_cannot_be_judged() -> None:
    assert accuracy_reward([RIGHT, RIGHT, RIGHT], solution=["4", None, r"\frac{"]) == [1.0, None, None]


def test_trl_the_first_column_that_can_be_judged_counts() -> None:
    solutions = [r"Because ... $\boxed{4}$", "Because.", r"$\boxed{9}$"]
    assert accuracy_reward([RIGHT] * 3, solution=solutions, answer=[None, "4", "4"]) == [1.0, 1.0, 1.0]


def test_trl_the_question_comes_from_the_prompt() -> None:
    prompts = ["Find all roots.", [{"role": "user", "content": "Sort in ascending order: 2, 1."}]]
    assert accuracy_reward([r"\boxed{2, 1}"] * 2, prompts=prompts, answer=["1, 2"] * 2) == [1.0, 0.0]


def test_trl_logs() -> None:
    extra: dict[str, list[Any]] = {}
    metrics: dict[str, float] = {}
    accuracy_reward(
        [RIGHT, WRONG, "", "<think>" + RIGHT],
        solution=["4", "4", "4", None],
        log_extra=extra.__setitem__,
        log_metric=metrics.__setitem__,
    )
    assert extra["extracted_answer"] == ["4", "5", "", ""]
    assert len(extra["verdict"]) == 4
    assert metrics == {
        "verifier/judged": 0.75,
        "verifier/explicit": 0.5,
        "verifier/truncated": 0.0,
        "verifier/unreadable": 0.25,
        "verifier/hedged": 0.0,
    }


def test_trl_a_completion_at_the_limit_is_truncated() -> None:
    reward = AccuracyReward(max_completion_length=3, eos_token_ids=[0])
    ids = [[5, 6], [5, 6, 7], [5, 6, 0]]
    assert reward([RIGHT] * 3, solution=["4"] * 3, completion_ids=ids) == [1.0, 0.0, 1.0]


def test_trl_a_column_missing_or_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of the columns reference, answer, solution"):
        accuracy_reward([RIGHT], prompts=["2+2?"])
    for column in (["4"], ("4",)):
        with pytest.raises(ValueError, match="'solution' has 1 rows for 2 completions"):
            accuracy_reward([RIGHT, WRONG], solution=column)
    with pytest.raises(ValueError, match="'solution' must be a list"):
        accuracy_reward([RIGHT, WRONG], solution="45")  # whose characters would be taken for references
    with pytest.raises(ValueError, match="neither text nor a list of messages: '5'"):
        accuracy_reward([5], solution=["4"])


def test_what_is_missing_ends_no_training() -> None:
    assert accuracy_reward([None, [{"role": "assistant", "content": None}], []], solution=["4"] * 3) == [0.0] * 3
    missing = {
        "tolerance": [float("nan"), None],
        "benchmark": [None, float("nan")],
        "prompts": [None, [{"content": 5}]],
    }
    assert accuracy_reward([RIGHT] * 2, solution=["4"] * 2, **missing) == [1.0, 1.0]
    assert compute_score("x", None, "4", "no mapping")["score"] == 0.0  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a response must be text \(got int\)"):
        compute_score("x", 4, "4")  # type: ignore[arg-type]


def test_references_that_are_numbers_of_any_kind() -> None:
    references = [4, 4.0, Decimal("4.0"), Fraction(8, 2), True, float("inf"), 10**5000, None, b"4"]
    assert accuracy_reward([RIGHT] * 9, solution=references) == [1.0, 1.0, 1.0, 1.0, 0.0, None, None, None, None]


def test_trl_coroutine_off_the_main_thread() -> None:
    given: list[Any] = []

    def run() -> None:
        given.extend(asyncio.run(async_accuracy_reward([RIGHT, WRONG], solution=["4", "4"])))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert given == [1.0, 0.0]


def test_trl_reward_is_pickled_for_a_rollout_worker() -> None:
    sent = pickle.dumps((AccuracyReward(RewardOptions(require_explicit=False)), accuracy_reward))
    reward, function = pickle.loads(sent)  # noqa: S301 - our own bytes
    assert reward(["2 + 2 = 4"], solution=["4"]) == [1.0]
    assert reward.__name__ == "accuracy_reward"
    assert function is accuracy_reward


# -- verl ---------------------------------------------------------------------------------------------------------


def test_verl_keys_are_the_same_and_numeric() -> None:
    scores = [compute_score("openai/gsm8k", RIGHT, truth) for truth in ("4", "5", None, r"\frac{")]
    assert [score["score"] for score in scores] == [1.0, 0.0, 0.0, 0.0]
    assert [score["judged"] for score in scores] == [1.0, 1.0, 0.0, 0.0]
    assert len({tuple(score) for score in scores}) == 1
    assert all(isinstance(value, float) for score in scores for name, value in score.items() if name != "pred")


def test_verl_three_forms_agree() -> None:
    rows = [("math", RIGHT, "4", {"question": "2+2?"}), ("math", WRONG, "4", None), ("math", NOTHING, None, {})]
    one_by_one = [compute_score(*row, reward_model_tokenizer=None, reward_router_address=None) for row in rows]
    columns = dict(
        zip(("data_sources", "solution_strs", "ground_truths", "extra_infos"), zip(*rows, strict=True), strict=True)
    )

    async def gathered() -> list[dict[str, Any]]:
        return await asyncio.gather(*(compute_score_async(*row) for row in rows))

    assert one_by_one == compute_score_batch(**columns) == asyncio.run(gathered())


def test_verl_options_come_as_reward_kwargs() -> None:
    assert compute_score("x", r"\boxed{3, 4}", "4", hedge_penalty=0.5)["score"] == -0.5
    assert compute_score("x", r"[T]\boxed{4}", "4", reasoning=["[T]", "[/T]"])["score"] == 0.0
    with pytest.warns(UserWarning, match="not an option of this reward: hedge_penaltie"):
        compute_score("x", RIGHT, "4", hedge_penaltie=0.5)


def test_verl_file_loads_by_path() -> None:
    assert loaded_by_path(verl).compute_score("math", RIGHT, "4")["score"] == 1.0


def test_verl_s_own_loader() -> None:
    pytest.importorskip("verl", reason="verl is not installed")
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import get_custom_reward_fn

    for path in ("pkg://dart_tasks.rewards.verl", str(Path(verl.__file__ or ""))):
        reward = {"path": path, "name": "compute_score", "reward_kwargs": {"hedge_penalty": 0.5}}
        compute = get_custom_reward_fn(OmegaConf.create({"reward": {"custom_reward_function": reward}}))
        given = {"data_source": "openai/gsm8k", "extra_info": {"num_turns": None, "rollout_reward_scores": {}}}
        assert compute(solution_str=RIGHT, ground_truth="4", **given)["score"] == 1.0
        assert compute(solution_str=r"\boxed{3, 4}", ground_truth="4", **given)["score"] == -0.5


# -- OpenRLHF -----------------------------------------------------------------------------------------------------

PROMPT = "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"


def test_openrlhf_call_in_a_thread() -> None:
    torch = pytest.importorskip("torch")
    queries, prompts = [PROMPT + RIGHT + "<|im_end|>", PROMPT + WRONG + "<|im_end|>"], [PROMPT, PROMPT]
    result = asyncio.run(asyncio.to_thread(reward_func, queries, prompts, ["4", "4"]))
    assert result["rewards"].tolist() == result["scores"].tolist() == [1.0, 0.0]
    assert set(result["extra_logs"]) == {"judged", "explicit", "truncated", "unreadable", "hedged"}
    assert all(isinstance(tensor, torch.Tensor) and tensor.shape == (2,) for tensor in result["extra_logs"].values())


def test_openrlhf_what_cannot_be_judged_is_zero_and_said_to_be() -> None:
    pytest.importorskip("torch")
    result = reward_func([PROMPT + RIGHT, "another text"], [PROMPT, PROMPT], ["", "4"])
    assert result["rewards"].tolist() == result["extra_logs"]["judged"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("query", "prompt", "response"),
    [
        (PROMPT + RIGHT, PROMPT, RIGHT),
        ("<s> " + PROMPT + RIGHT + "</s>", PROMPT, RIGHT),
        (PROMPT + RIGHT + "<|im_end|><|endoftext|><|endoftext|>\n", PROMPT, RIGHT),
        (PROMPT + RIGHT + "<｜end▁of▁sentence｜>", PROMPT, RIGHT),
        (PROMPT.replace("\n", " \n") + RIGHT, PROMPT, RIGHT),
        (("a long example. " * 40 + PROMPT)[-300:] + RIGHT, "a long example. " * 40 + PROMPT, RIGHT),
        ("another text", PROMPT, None),
        (PROMPT + "|x| < 3 and x > 1</s>", PROMPT, "|x| < 3 and x > 1"),
    ],
)
def test_openrlhf_prompt_and_special_tokens_are_taken_off(query: str, prompt: str, response: str | None) -> None:
    found = response_of(query, prompt)
    assert (found.strip() if found is not None else None) == response


def test_openrlhf_a_box_in_the_prompt_is_no_answer() -> None:
    pytest.importorskip("torch")
    prompt = "Put the answer into \\boxed{4}.\nAnswer: "
    assert reward_func([prompt + NOTHING], [prompt], ["4"])["rewards"].tolist() == [0.0]


def test_openrlhf_file_loads_by_path() -> None:
    loaded = loaded_by_path(openrlhf)
    assert [float(value) for value in loaded.reward_func([PROMPT + RIGHT], [PROMPT], ["4"])["rewards"]] == [1.0]
    strict = RewardFunc(RewardOptions(hedge_penalty=0.5))
    assert [float(value) for value in strict([r"\boxed{3, 4}"], [""], ["4"])["rewards"]] == [-0.5]


def test_openrlhf_s_own_executor() -> None:
    """With an engine that answers at once in the place of vLLM; all else is OpenRLHF's own."""
    agent = pytest.importorskip("openrlhf.utils.agent", reason="openrlhf is not installed", exc_type=ImportError)
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL_DIR)

    class Engine:
        def __init__(self, text: str) -> None:
            self.text = text

        async def generate(self, prompt_ids: list[int], *_: object, **__: object) -> Any:
            ids = [*tokenizer(self.text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, finish_reason="stop", logprobs=None)])

    async def rewards(*texts: str) -> list[float]:
        executor = agent.SingleTurnAgentExecutor(str(openrlhf.__file__))
        sampling = SimpleNamespace(max_tokens=64, logprobs=None)
        prompt = get_template("alpaca").render("What is 2 + 2?")
        runs = (executor.execute(prompt, "4", sampling, 512, tokenizer, Engine(text)) for text in texts)
        return [float(found["reward"]) for found in await asyncio.gather(*runs)]

    assert asyncio.run(rewards("The answer is 4.", "The answer is 5.", "4 and 5")) == [1.0, 0.0, 0.0]


# -- every adapter ------------------------------------------------------------------------------------------------


def test_no_adapter_warns_or_imports_its_trainer() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for module in (trl, verl, openrlhf):
            loaded_by_path(module)


def test_openrlhf_long_ends_take_linear_time() -> None:
    for end in (" " * 300_000, "<|endoftext|>" * 20_000, "<|x" * 100_000, "</s> " * 60_000):
        began_s = time.process_time()
        response_of(PROMPT + RIGHT + end, PROMPT)
        response_of(end + RIGHT, PROMPT)
        assert time.process_time() - began_s < 2
