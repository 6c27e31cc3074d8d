"""The lm-eval task: prompts, protocols, refusals, metrics, ranks; on the embedded mini items."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dart_tasks.embedded import MODEL_DIR
from dart_tasks.harness.fewshot import messages
from dart_tasks.harness.graded import FILTER, GradedItem
from dart_tasks.harness.task import TaskError
from dart_tasks.harness.thoughts import split_thought
from dart_tasks.problems import BENCHMARKS
from dart_tasks.prompts import get_template
from dart_tasks.report.results import read_runs
from dart_tasks.report.summary import summarise
from dart_tasks.report.text import markdown

MINI = [
    f"dart_math_mini_{name}"
    for name in ("math", "gsm8k", "college_math", "deepmind_mathematics", "olympiadbench", "theoremqa")
]
PHRASES = (
    "We compute.\nThe answer is $\\boxed{{{}}}$.",
    "We compute.\nFinal Answer: The final answer is ${}$. I hope it is correct.",
    "We compute.\n\nThe answer is: {}",
)


def reference_text(doc: dict[str, Any]) -> str:
    """A document's reference as a model would write it: no dollars around the whole."""
    value = json.loads(doc["reference"])
    text = value if isinstance(value, str) else str(value)
    return text[1:-1] if text.count("$") == 2 and text[0] == text[-1] == "$" else text


@pytest.fixture
def build(task_manager: Callable[..., Any]) -> Callable[..., Any]:
    """A task with its requests built."""

    def make(name: str, metadata: dict[str, Any] | None = None, **options: Any) -> Any:
        task = task_manager(**(metadata or {})).load([name])["tasks"][name]
        task.set_config("num_fewshot", task.get_config("num_fewshot") or 0)
        task.build_all_requests(**options)
        return task

    return make


def prompts(task: Any) -> list[str]:
    return [instance.args[0] for instance in task.instances]


# -- prompts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["alpaca", "deepseekmath", "qwen-boxed", "llama3", "plain"])
def test_template_and_stop_strings_come_from_metadata(template: str, build: Callable[..., Any]) -> None:
    task = build("dart_math_mini_gsm8k", {"template": template})
    expected = get_template(template)
    assert prompts(task) == [expected.render(doc["query"]) for doc in task.eval_docs]
    assert task.instances[0].args[1] == {
        "do_sample": False,
        "temperature": 0.0,
        "max_gen_toks": 2048,
        "until": list(expected.stop),
    }


def test_template_from_a_file(tmp_path: Path, build: Callable[..., Any]) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("Q: {query}\nA:")
    task = build("dart_math_mini_gsm8k", {"template": str(path)})
    assert prompts(task)[0] == f"Q: {task.eval_docs[0]['query']}\nA:"


def test_default_prompt_is_what_training_renders(build: Callable[..., Any]) -> None:
    task = build("dart_math_mini_math")
    assert prompts(task)[0] == get_template("alpaca").render(task.eval_docs[0]["query"])


def test_fewshot_prompt_has_exemplars_then_the_query(task_manager: Callable[..., Any]) -> None:
    task = task_manager(data_dir="mini", verify=False).load(["dart_math_theoremqa_fewshot"])["tasks"].popitem()[1]
    task.build_all_requests()
    text = prompts(task)[0]
    assert text.count("Question: ") == 6
    assert text.count("The answer is \\boxed{") == 5
    assert text.endswith(f"Question: {task.eval_docs[0]['query']}\nAnswer:")
    assert task.instances[0].args[1]["until"] == ["\nQuestion:"]


def test_num_fewshot_can_be_lowered(task_manager: Callable[..., Any]) -> None:
    task = task_manager(data_dir="mini", verify=False).load(["dart_math_gsm8k_fewshot"])["tasks"].popitem()[1]
    task.set_config("num_fewshot", 1)
    task.build_all_requests()
    assert prompts(task)[0].count("Question: ") == 2


@pytest.mark.parametrize(
    "words",
    [
        "--tasks dart_math_gsm8k",
        pytest.param("--tasks dart_math_gsm8k_chat --apply_chat_template", marks=pytest.mark.slow),
    ],
)
def test_the_command_s_num_fewshot_is_the_number_of_exemplars(
    words: str, lm_eval_command: Callable[..., Any], tmp_path: Path
) -> None:
    ended = lm_eval_command(
        *("--model", "hf", "--model_args", f"pretrained={MODEL_DIR},max_length=4096", "--device", "cpu"),
        *("--metadata", '{"data_dir": "mini", "verify": false}', "--limit", "1", "--gen_kwargs", "max_gen_toks=1"),
        *("--num_fewshot", "3", *words.split(), "--output_path", tmp_path, "--log_samples"),
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    (samples,) = tmp_path.glob("**/samples_*.jsonl")
    prompt = json.loads(samples.read_text().splitlines()[0])["arguments"]["gen_args_0"]["arg_0"]
    assert [prompt.count(exemplar.query) for exemplar in BENCHMARKS["gsm8k"].exemplars] == [1, 1, 1, 0]
    (results,) = read_runs(next(tmp_path.glob("**/results_*.json")))
    assert results.tasks[0].shots == 3


def test_more_exemplars_than_there_are_is_one_line(lm_eval_command: Callable[..., Any]) -> None:
    ended = lm_eval_command("--model", "dummy", "--tasks", "dart_math_mini_gsm8k", "--num_fewshot", "9")
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last == (
        "lm_eval: dart_math_mini_gsm8k: gsm8k has 4 exemplars, 9 were asked for: pass --num_fewshot 4, or fewer"
    )


def test_chat_task_uses_the_models_own_template(build: Callable[..., Any]) -> None:
    def template(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        return json.dumps([messages, add_generation_prompt])

    metadata = {"data_dir": "mini", "verify": False}
    options = {"apply_chat_template": True, "chat_template": template, "system_instruction": "Be brief."}
    task = build("dart_math_gsm8k_chat", metadata, **options)
    messages, generation_prompt = json.loads(prompts(task)[0])
    assert generation_prompt is True
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[1]["content"] == (
        task.eval_docs[0]["query"] + "\nPlease reason step by step, and put your final answer within \\boxed{}."
    )
    olympiad = build("dart_math_olympiadbench_chat", metadata, **options)
    assert json.loads(prompts(olympiad)[0])[0][1]["content"] == olympiad.eval_docs[0]["query"]  # it says how itself


@pytest.mark.parametrize(
    ("benchmark", "query", "instructed"),
    [
        ("math", r"What number is $\boxed{?}$ if $\boxed{?} + 2 = 5$?", True),
        ("gsm8k", "What is 2 + 3?", True),
        ("olympiadbench", "Please end your solution with ...", False),
        ("generic", "What is 2 + 3?", True),
        ("generic", r"What is 2 + 3? Answer in \boxed{}.", False),
    ],
)
def test_a_query_that_speaks_of_a_box_is_told_to_use_one_all_the_same(
    benchmark: str, query: str, instructed: bool
) -> None:
    (message,) = messages(benchmark, (), query)
    instruction = "\nPlease reason step by step, and put your final answer within \\boxed{}."
    assert message["content"] == query + instruction * instructed


def test_exemplars_answer_as_their_queries_instruct() -> None:
    for record in BENCHMARKS.values():
        for exemplar in record.exemplars:
            stated = re.search(r'end your solution with "(So the final answer is) ', exemplar.query)
            assert exemplar.closing == (stated[1] if stated else "The answer is")
            assert bool(stated) is record.instructs


def test_repeats_of_a_derived_yaml_are_not_ignored(tmp_path: Path, repo: Path) -> None:
    from lm_eval.tasks import TaskManager

    path = tmp_path / "mine.yaml"
    base = repo / "task_configs" / "mini" / "dart_math_mini_gsm8k.yaml"
    path.write_text(f"include: {base}\ntask: mine\nrepeats: 4\n")
    with pytest.raises(TaskError, match="repeats: 4 would be ignored"):
        TaskManager(include_path=str(tmp_path), include_defaults=False).load(["mine"])


@pytest.mark.parametrize(
    ("task", "metadata", "options", "message"),
    [
        ("dart_math_mini_gsm8k", {"template": "nope"}, {}, "unknown prompt template 'nope': choose one of alpaca"),
        ("dart_math_mini_gsm8k", {"k": 0}, {}, "k must be a whole number of at least 1 (got 0)"),
        ("dart_math_mini_gsm8k", {"k": 10**11}, {}, "k may be 65,536 at most (got 100,000,000,000)"),
        ("dart_math_mini_gsm8k", {"k": 4, "temperature": 0}, {}, "temperature must be above 0"),
        ("dart_math_mini_gsm8k", {"benchmark": "gsm9k"}, {}, "unknown benchmark 'gsm9k'"),
        ("dart_math_mini_gsm8k", {"k": 2.5}, {}, "k must be a whole number"),
        ("dart_math_mini_gsm8k", {"k": None}, {}, "k must be a whole number"),
        ("dart_math_mini_gsm8k", {"temperature": None}, {}, "temperature must be a number"),
        ("dart_math_mini_gsm8k", {"k": 2, "top_p": 3}, {}, "top_p must be above 0 and at most 1"),
        ("dart_math_mini_gsm8k", {"stop": "###"}, {}, "stop must be a list of texts"),
        ("dart_math_mini_gsm8k", {"template": "x" * 5000}, {}, "template"),
        ("dart_math_mini_gsm8k", {"tempalte": "plain"}, {}, "unknown setting 'tempalte': did you mean 'template'?"),
        ("dart_math_mini_gsm8k", {"K": 8}, {}, "unknown setting 'K': did you mean 'k'?"),
        ("dart_math_mini_gsm8k", {"n": 4}, {}, "unknown setting 'n': did you mean 'k'?"),
        ("dart_math_mini_gsm8k", {"repeats": 4}, {}, "unknown setting 'repeats': did you mean 'k'?"),
        (
            "dart_math_mini_gsm8k",
            {"base_url": "http://localhost:8000/v1/chat/completions"},
            {},
            """add --metadata '{"template": "chat"}', and add --apply_chat_template""",
        ),
        (
            "dart_math_gsm8k_chat",
            {"data_dir": "mini", "base_url": "http://localhost:8000/v1/chat/completions"},
            {},
            "a chat endpoint takes messages, not a prompt: add --apply_chat_template",
        ),
        ("dart_math_gsm8k", {"data_dir": "/nowhere"}, {}, "no file /nowhere/gsm8k_test.jsonl: data_dir is '/nowhere'"),
        ("dart_math_mini_gsm8k", {"data_dir": "/nowhere"}, {}, "leave data_dir out, or use dart_math_gsm8k"),
        ("dart_math_gsm8k", {"benchmark": "math"}, {}, "this task is gsm8k, not math"),
        ("dart_math_gsm8k", {"problems": "mine.jsonl"}, {}, "use --tasks dart_math_demo for them"),
        ("dart_math_mini_gsm8k", {}, {"apply_chat_template": True}, """add --metadata '{"template": "chat"}'"""),
        (
            "dart_math_gsm8k_chat",
            {"template": "plain", "data_dir": "mini"},
            {"apply_chat_template": True},
            "leave template out of --metadata",
        ),
        ("dart_math_demo", {"problems": "/nowhere.jsonl"}, {}, "no file /nowhere.jsonl"),
        ("dart_math_gsm8k", {"data_dir": "mini"}, {"apply_chat_template": True}, "use the task dart_math_gsm8k_chat"),
        ("dart_math_gsm8k_chat", {"data_dir": "mini"}, {}, "add --apply_chat_template"),
        ("dart_math_mini_gsm8k", {}, {"system_instruction": "x"}, "--system_instruction does not go with"),
        ("dart_math_mini_gsm8k", {"tokenizer_backend": "remote"}, {}, "lm-eval would cut prompts that do not fit"),
    ],
)
def test_refusals_are_one_line(
    task: str, metadata: dict[str, Any], options: dict[str, Any], message: str, build: Callable[..., Any]
) -> None:
    with pytest.raises(TaskError) as error:
        build(task, metadata, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_at_the_lm_eval_command_a_refusal_is_an_exit_with_one_line(lm_eval_command: Callable[..., Any]) -> None:
    words = ("--model", "dummy", "--tasks", "dart_math_mini_gsm8k", "--metadata", '{"template": "nope"}')
    ended = lm_eval_command(*words)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("lm_eval: dart_math_mini_gsm8k: unknown prompt template")


def test_the_filter_that_the_yaml_names_is_the_one_that_grades(task_manager: Callable[..., Any]) -> None:
    from dart_tasks.harness.filters import GradeFilter

    (ensemble,) = task_manager().load(["dart_math_mini_gsm8k"])["tasks"]["dart_math_mini_gsm8k"]._filters
    assert ensemble.name == FILTER and [type(make()) for make in ensemble.filters] == [GradeFilter]


def test_a_prompt_that_does_not_fit_is_an_error_naming_the_lengths(build: Callable[..., Any], tiny_model: Path) -> None:
    with pytest.raises(TaskError) as error:
        build("dart_math_mini_gsm8k", {"pretrained": str(tiny_model), "max_length": 2100})
    assert "prompts do not fit: the longest has" in str(error.value)
    assert "2,048 are to be generated, and the model takes 2,100 in all" in str(error.value)
    assert "pass --gen_kwargs max_gen_toks=" in str(error.value)


def test_a_prompt_that_fits_passes(build: Callable[..., Any], tiny_model: Path) -> None:
    assert build("dart_math_mini_gsm8k", {"pretrained": str(tiny_model), "max_model_len": 4096})


def test_prompts_sent_as_text_are_not_cut_and_so_need_no_tokenizer(build: Callable[..., Any]) -> None:
    assert build("dart_math_mini_gsm8k", {"tokenizer_backend": "remote", "tokenized_requests": False})
    assert build("dart_math_mini_gsm8k", {"tokenizer_backend": "None"})


def test_cached_requests_of_another_template_are_not_used(build: Callable[..., Any]) -> None:
    first = build("dart_math_mini_gsm8k", {"template": "alpaca"}, cache_requests=True)
    second = build("dart_math_mini_gsm8k", {"template": "plain"}, cache_requests=True)
    assert prompts(first) != prompts(second)


# -- reasoning --------------------------------------------------------------------------------------------------------

REASONING = {"protocol": "reasoning", "data_dir": "mini", "verify": False}


def thinking(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    return f"{messages[-1]['content']}\n<think>\n"


def test_the_reasoning_protocol_samples_without_stop_strings(build: Callable[..., Any]) -> None:
    for name, metadata, options in (
        ("dart_math_mini_gsm8k", {"protocol": "reasoning"}, {}),
        ("dart_math_gsm8k_chat", REASONING, {"apply_chat_template": True, "chat_template": thinking}),
    ):
        assert build(name, metadata, **options).instances[0].args[1] == {
            "do_sample": True,
            "temperature": 0.6,
            "top_p": 0.95,
            "max_gen_toks": 32_768,
            "until": [],
        }


def test_the_context_bounds_the_thought_and_no_prompt_is_cut(
    build: Callable[..., Any], tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = {"protocol": "reasoning", "pretrained": str(tiny_model), "max_length": 2000}
    task = build("dart_math_mini_gsm8k", metadata)
    room = {instance.args[1]["max_gen_toks"] for instance in task.instances}
    longest = max(len(prompt.encode()) for prompt in prompts(task)) + 1  # a token a byte, and BOS
    assert room == {2000 - longest}
    assert f"{2000 - longest} new tokens instead of 32768, as many as the context of 2000 leaves" in caplog.text
    with pytest.raises(TaskError, match=r"prompts do not fit: .* use a model that takes longer inputs"):
        build("dart_math_mini_gsm8k", {**metadata, "max_length": 100})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"protocol": "thinking"}, "unknown protocol 'thinking'"),
        ({"protocol": "reasoning", "think_end_token": "</think>"}, "leave think_end_token out of --model_args"),
        ({"protocol": "reasoning", "temperature": 0}, "temperature must be above 0"),
    ],
)
def test_reasoning_that_cannot_be_meant_is_refused(
    metadata: dict[str, Any], message: str, build: Callable[..., Any]
) -> None:
    with pytest.raises(TaskError, match=message):
        build("dart_math_mini_gsm8k", metadata)


def test_a_thought_that_the_prompt_opened_counts_only_once_it_is_closed(
    build: Callable[..., Any], tiny_model: Path
) -> None:
    metadata = {**REASONING, "pretrained": str(tiny_model), "max_length": 4096}
    task = build("dart_math_gsm8k_chat", metadata, apply_chat_template=True, chat_template=thinking)
    answer = "So it is \\boxed{{{}}}."
    texts = (answer + " Check it", answer + "</think>The answer is \\boxed{{-7}}.", "Hm.</think>" + answer)
    for index, instance in enumerate(task.instances):
        instance.resps = [texts[index % 3].format(reference_text(instance.doc))]
    task.apply_filters()
    graded = [GradedItem.from_json(instance.filtered_resps[FILTER]) for instance in task.instances[:3]]
    assert [item.verdicts[0].correct for item in graded] == [False, False, True]
    assert [item.verdicts[0].flags for item in graded] == [("unfinished_thinking",), (), ()]
    assert task.instances[2].resps[0].startswith("<think>Hm.</think>")
    assert (graded[2].thought_tokens, graded[0].answer_tokens) == ((len("<think>Hm."),), (0,))
    scores = task.process_results(task.instances[0].doc, [task.instances[0].filtered_resps[FILTER]])
    assert (scores["acc"], scores["unfinished_thinking"], scores["answer_tokens"]) == (0.0, 1.0, 0.0)
    assert task.higher_is_better()["unfinished_thinking"] is False


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        ("<think>a</think>b", ("<think>a", "b")),
        ("a</thinking>b", ("a", "b")),
        ("<think>a", ("<think>a", "")),
        ("[THINK]a[/THINK]b", ("[THINK]a", "b")),
        ("a < b", ("", "a < b")),
    ],
)
def test_thought_and_answer_are_told_apart(response: str, parts: tuple[str, str]) -> None:
    assert split_thought(response) == parts


# -- scores -----------------------------------------------------------------------------------------------------------


def test_the_oracle_scores_100_and_its_neighbour_about_0(evaluate: Callable[..., dict[str, Any]]) -> None:
    right = evaluate(MINI, lambda doc, _: PHRASES[len(doc["query"]) % 3].format(reference_text(doc)))
    assert {name: scores["acc,graded"] for name, scores in right["results"].items()} == dict.fromkeys(MINI, 1.0)
    assert right["results"]["dart_math_mini_theoremqa"]["acc_relative_tolerance,graded"] == 1.0
    references: list[str] = [reference_text(sample["doc"]) for name in MINI for sample in right["samples"][name]]
    other = dict(zip(references, references[1:] + references[:1], strict=True))
    wrong = evaluate(MINI, lambda doc, _: PHRASES[0].format(other[reference_text(doc)]))
    accuracies = [scores["acc,graded"] for scores in wrong["results"].values()]
    assert sum(accuracies) / len(accuracies) < 0.05


def test_metrics_by_group_and_json_in_the_samples(evaluate: Callable[..., dict[str, Any]]) -> None:
    def answer(doc: dict[str, Any], trial: int) -> str:
        return PHRASES[0].format(reference_text(doc) if json.loads(doc["metadata"])["level"] <= 2 else "-77")

    run = evaluate(["dart_math_mini_math"], answer, limit=20)
    scores = run["results"]["dart_math_mini_math"]
    assert scores["acc_level_1,graded"] == scores["acc_level_2,graded"] == 1.0
    assert scores["acc_level_3,graded"] == scores["acc_level_5,graded"] == 0.0
    assert any(name.startswith("acc_subject_") for name in scores)
    assert not any(isinstance(value, float) and math.isnan(value) for value in scores.values())
    samples = run["samples"]["dart_math_mini_math"]
    assert len(samples) == 20
    verdict = json.loads(samples[0]["filtered_resps"][0])["verdicts"][0]
    assert verdict["source"] == "boxed" and verdict["explicit"] is True


def test_theoremqas_own_tolerance_is_a_second_metric(evaluate: Callable[..., dict[str, Any]]) -> None:
    def answer(doc: dict[str, Any], trial: int) -> str:
        value = json.loads(doc["reference"])
        return PHRASES[0].format(f"{value * 1.02:.6f}" if type(value) is float else reference_text(doc))

    run = evaluate(["dart_math_mini_theoremqa"], answer)
    scores = run["results"]["dart_math_mini_theoremqa"]
    assert scores["acc_answer_type_float,graded"] == 0.0
    assert scores["acc_relative_tolerance,graded"] == 1.0


def test_likely_truncated_responses_are_counted(evaluate: Callable[..., dict[str, Any]]) -> None:
    def answer(doc: dict[str, Any], trial: int) -> str:
        return "and then we add one and " * 400 if len(doc["query"]) % 2 else "The answer is 7."

    run = evaluate(["dart_math_mini_gsm8k"], answer)
    docs = [sample["doc"] for sample in run["samples"]["dart_math_mini_gsm8k"]]
    expected = sum(len(doc["query"]) % 2 for doc in docs) / len(docs)
    assert run["results"]["dart_math_mini_gsm8k"]["likely_truncated,graded"] == pytest.approx(expected)


def test_sampling_reports_mean_maj_and_pass_with_errors_clustered_by_item(
    evaluate: Callable[..., dict[str, Any]],
) -> None:
    """Item i of 25 has i % 5 right responses of 4 (at most), the rest wrong and different from each other."""
    order: dict[str, int] = {}

    def answer(doc: dict[str, Any], trial: int) -> str:
        item = order.setdefault(doc["id"], len(order))
        return f"#{trial} " + PHRASES[0].format(reference_text(doc) if trial < item % 5 else f"-{trial}000")

    run = evaluate(["dart_math_mini_gsm8k"], answer, {"k": 4})
    scores = run["results"]["dart_math_mini_gsm8k"]
    per_item = [(item % 5) / 4 for item in range(25)]
    mean = sum(per_item) / 25
    clustered = math.sqrt(sum((value - mean) ** 2 for value in per_item) / 24 / 25)
    assert scores["acc,graded"] == scores["mean@4,graded"] == pytest.approx(mean)
    assert scores["mean@4_stderr,graded"] == pytest.approx(clustered)
    # one right of four: a tie of four classes, credit 1/4; two or more: the right one leads
    assert scores["maj@4,graded"] == pytest.approx((0 + 1 / 4 + 1 + 1 + 1) / 5)
    assert scores["pass@4,graded"] == pytest.approx(4 / 5)
    assert scores["pass@2,graded"] == pytest.approx((0 + 1 / 2 + 5 / 6 + 1 + 1) / 5)
    generation = run["samples"]["dart_math_mini_gsm8k"][0]["arguments"][0][1]
    assert generation["do_sample"] is True and generation["temperature"] == 0.7


def test_groups_show_the_unweighted_means_of_sampled_metrics(
    evaluate: Callable[..., dict[str, Any]],
    save_run: Callable[[dict[str, Any], Path, str], Path],
    tmp_path: Path,
) -> None:
    def answer(doc: dict[str, Any], trial: int) -> str:
        right = doc["benchmark"] == "gsm8k" or trial == 0
        return f"#{trial} " + PHRASES[0].format(reference_text(doc) if right else "-77")

    results = evaluate(["dart_math_mini"], answer, {"k": 4})
    group = results["results"]["dart_math_mini"]
    assert group["pass@2,graded"] == pytest.approx((1 + 5 * 0.5) / 6)
    assert group["maj@4,graded"] == pytest.approx(1 / 6)
    assert "pass@8,graded" not in group
    text = markdown(summarise(read_runs(save_run(results, tmp_path, "m"))))
    assert "| benchmark | mean@4 | maj@4 | pass@2 | pass@4 |" in text and "| mean of 6 | 37.5 ±0.0 |" in text


def test_votes_are_on_values_not_on_texts(evaluate: Callable[..., dict[str, Any]]) -> None:
    def answer(doc: dict[str, Any], trial: int) -> str:
        value = reference_text(doc)
        return PHRASES[0].format([value, f"{value}.0", "-1", "-1 ", f"\\frac{{{2 * int(value)}}}{{2}}"][trial])

    run = evaluate(["dart_math_mini_gsm8k"], answer, {"k": 5})
    assert run["results"]["dart_math_mini_gsm8k"]["maj@5,graded"] == 1.0  # three of five are the same number


def test_identical_samples_are_not_reported_as_maj_and_pass(
    evaluate: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    run = evaluate(["dart_math_mini_gsm8k"], lambda doc, _: PHRASES[0].format(reference_text(doc)), {"k": 3})
    scores = run["results"]["dart_math_mini_gsm8k"]
    assert math.isnan(scores["maj@3,graded"]) and math.isnan(scores["pass@3,graded"])
    assert scores["acc,graded"] == 1.0
    assert "all 3 responses are identical for 100% of the items" in caplog.text


@pytest.mark.parametrize(
    ("k", "given", "message"),
    [
        (2, {"do_sample": False}, "k = 2 needs sampling"),
        (2, {"temperature": 0}, "temperature must be above 0"),
        (2, {"top_p": 0}, "top_p must be above 0"),
        (1, {"max_gen_toks": "abc"}, "max_gen_toks must be a whole number"),
    ],
)
def test_generation_arguments_that_cannot_be_meant_are_refused(
    k: int, given: dict[str, Any], message: str, task_manager: Callable[..., Any]
) -> None:
    task = task_manager(k=k).load(["dart_math_mini_gsm8k"])["tasks"]["dart_math_mini_gsm8k"]
    task.set_config("generation_kwargs", given, update=True)  # as --gen_kwargs does
    task.set_config("num_fewshot", 0)
    with pytest.raises(TaskError, match=message):
        task.build_all_requests()


def test_other_names_of_the_token_limit_count(task_manager: Callable[..., Any]) -> None:
    task = task_manager().load(["dart_math_mini_gsm8k"])["tasks"]["dart_math_mini_gsm8k"]
    task.set_config("generation_kwargs", {"max_new_tokens": 64}, update=True)
    task.set_config("num_fewshot", 0)
    task.build_all_requests()
    generation = task.instances[0].args[1]
    assert generation["max_gen_toks"] == 64 and "max_new_tokens" not in generation


@pytest.mark.parametrize("template", ["qwen-boxed", "llama3"])
def test_exemplars_do_not_go_into_a_chat_format(template: str, task_manager: Callable[..., Any]) -> None:
    metadata = {"data_dir": "mini", "verify": False, "template": template}
    task = task_manager(**metadata).load(["dart_math_gsm8k_fewshot"])["tasks"]["dart_math_gsm8k_fewshot"]
    with pytest.raises(TaskError, match="use the task dart_math_gsm8k_chat"):
        task.build_all_requests()


def test_ranks_share_the_items_and_agree_on_the_metrics(build: Callable[..., Any]) -> None:
    whole = build("dart_math_mini_math")
    parts = [build("dart_math_mini_math", rank=rank, world_size=3) for rank in range(3)]
    assert sorted(p for part in parts for p in prompts(part)) == sorted(prompts(whole))
    values: list[float] = []
    keys = set()
    for part in parts:
        for instance in part.instances:
            right = len(instance.doc["query"]) % 2
            instance.resps = [PHRASES[0].format(reference_text(instance.doc) if right else "-77")]
        part.apply_filters()
        for instance in part.instances:
            scores = part.process_results(instance.doc, [instance.filtered_resps["graded"]])
            keys.add(tuple(scores))
            values.append(scores["acc"])
    assert len(keys) == 1
    assert sum(values) == sum(len(doc["query"]) % 2 for doc in whole.eval_docs)


def test_predict_only_and_response_cache(evaluate: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run = evaluate(["dart_math_mini_gsm8k"], lambda doc, _: "7", limit=3, use_cache=str(tmp_path / "cache"))
    again = evaluate(["dart_math_mini_gsm8k"], lambda doc, _: "8", limit=3, use_cache=str(tmp_path / "cache"))
    first, second = (r["samples"]["dart_math_mini_gsm8k"][0]["resps"] for r in (run, again))
    assert first == second == [["7"]]
    only = evaluate(["dart_math_mini_gsm8k"], lambda doc, _: "7", limit=3, predict_only=True)
    assert len(only["samples"]["dart_math_mini_gsm8k"]) == 3


def test_demo_reports_accuracy_by_level(evaluate: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    rows = [{"id": f"p{i}", "query": f"What is {i} + 1?", "answer": str(i + 1), "level": i % 2 + 1} for i in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def answer(doc: dict[str, Any], trial: int) -> str:
        return PHRASES[0].format(reference_text(doc) if json.loads(doc["metadata"])["level"] == 1 else "0")

    scores = evaluate(["dart_math_demo"], answer, {"problems": str(path)})["results"]["dart_math_demo"]
    assert (scores["acc,graded"], scores["acc_level_1,graded"], scores["acc_level_2,graded"]) == (0.5, 1.0, 0.0)


# -- everything -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_oracle_on_every_real_item(evaluate: Callable[..., dict[str, Any]], shared_data: Path) -> None:
    metadata = {"data_dir": str(shared_data / "benchmarks")}
    run = evaluate(["dart_math_suite"], lambda doc, _: PHRASES[0].format(reference_text(doc)), metadata)
    scores = {name: values["acc,graded"] for name, values in run["results"].items()}
    assert min(scores.values()) == 1.0, scores


def test_competitions_sample_several_responses_by_default(
    evaluate: Callable[..., dict[str, Any]], shared_data: Path
) -> None:
    """Of two, one right: mean@16, pass@16 and maj@16 of AMC, and of Minerva 4, with errors over problems."""

    def answer(doc: dict[str, Any], trial: int) -> str:
        return f"#{trial} " + PHRASES[0].format(reference_text(doc) if trial % 2 else f"-{trial}0077")

    metadata = {"data_dir": str(shared_data / "competitions")}
    tasks = ["dart_math_amc_2023", "dart_math_minerva_math"]
    run = evaluate(tasks, answer, metadata, limit=5)["results"]
    for task, k in zip(tasks, (16, 4), strict=True):
        assert run[task][f"mean@{k},graded"] == pytest.approx(0.5) and run[task][f"maj@{k},graded"] == 1.0
        assert run[task][f"pass@{k},graded"] == 1.0 and run[task][f"mean@{k}_stderr,graded"] == 0.0
    single = evaluate(tasks[:1], answer, {**metadata, "k": 1}, limit=5)["results"][tasks[0]]
    assert "mean@16,graded" not in single and single["acc,graded"] == 0.0


@pytest.mark.slow
def test_the_oracle_on_every_competition_item(evaluate: Callable[..., dict[str, Any]], shared_data: Path) -> None:
    """In a box, as competitions ask; but for formulas of Minerva that are written in no notation."""
    names = ("aime_2024", "aime_2025", "amc_2023", "olymmath_en_easy", "olymmath_en_hard", "minerva_math")
    tasks = [f"dart_math_{name}" for name in names]
    metadata = {"data_dir": str(shared_data / "competitions"), "k": 1}
    run = evaluate(tasks, lambda doc, _: f"So it is $\\boxed{{{reference_text(doc)}}}$.", metadata)
    scores = {name: values["acc,graded"] for name, values in run["results"].items()}
    assert min(scores.values()) == 1.0, scores
