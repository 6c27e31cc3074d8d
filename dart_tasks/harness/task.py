"""The lm-eval task behind every ``dart_math_*`` YAML.

A YAML's prompt, stop strings and repeats are fixed; this class reads them from ``metadata`` instead, where the command
line can change them without editing a file::

    lm_eval --model hf --model_args pretrained=DIR --tasks dart_math_suite
    lm_eval ... --metadata '{"template": "deepseekmath"}'            # or qwen-boxed, llama3, plain, or a file
    lm_eval ... --metadata '{"k": 8, "temperature": 0.7}'            # mean@8, maj@8, pass@2,4,8 in one run
    lm_eval ... --apply_chat_template --metadata '{"protocol": "reasoning"}'      # of a _chat task: long thoughts
    lm_eval ... --metadata '{"data_dir": "benchmarks/"}'             # instead of the hub; or DART_MATH_DATA
    lm_eval --tasks dart_math_demo --metadata '{"problems": "mine.jsonl"}'

A YAML that names the class makes a task of one's own problems (examples/own_problems)::

    class: !function dart_tasks.harness.task.DartMathTask
    task: my_exam
    metadata: {problems: my_exam.jsonl}     # beside the YAML
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

import dart_tasks.harness.filters  # noqa: F401 - registers the filter that the YAMLs name
from dart_tasks.files import DataError
from dart_tasks.grading import GRADER_VERSION
from dart_tasks.harness import fewshot
from dart_tasks.harness.graded import FILTER, GradedItem
from dart_tasks.harness.limits import (
    ModelLimits,
    likely_truncated,
    limits_from_model_args,
    room_beside,
    too_long,
    uncheckable,
)
from dart_tasks.harness.protocols import pass_at_k, pass_ks
from dart_tasks.harness.served import ServedText, beside_of
from dart_tasks.harness.settings import CHAT, KEYS, MINI, REASONING_TOKENS, SettingsError, TaskSettings, check_sampling
from dart_tasks.harness.thoughts import OPENED_THOUGHT, closes_unopened, lengths, split_thought
from dart_tasks.problems import BENCHMARKS, Problem

__all__ = ["DartMathTask", "TaskError", "documents", "facet_metrics"]

_log = logging.getLogger(__name__)
_LOWER_IS_BETTER = ("truncated", "likely_truncated", "unfinished_thinking", "thought_tokens", "answer_tokens")
_GREEDY = {"do_sample": False, "temperature": 0.0, "max_gen_toks": 2048}
_DEFAULTS: dict[str, Any] = {
    "output_type": "generate_until",
    "test_split": "test",
    "filter_list": [{"name": FILTER, "filter": [{"function": "dart_math_grade"}]}],
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
_TOKEN_LIMIT_ALIASES = ("max_new_tokens", "max_tokens", "max_completion_tokens")


class TaskError(SystemExit, ValueError):
    """A run that cannot be right as asked for; the message is one line that says what to do.

    A ValueError to a program that calls lm-eval; uncaught, as in the ``lm_eval`` command, it ends the process with that
    line and exit status 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = f"lm_eval: {message}"


def _fail(task: str, message: str) -> NoReturn:
    raise TaskError(f"{task}: {message}")


def documents(problems: Sequence[Problem]) -> datasets.Dataset:
    """Problems as the dataset lm-eval wants, references and metadata as JSON text.

    In a column of mixed types ``datasets`` fails, or turns True into 1.0.
    """
    columns = ("id", "benchmark", "query", "reference", "tolerance", "metadata")
    features = {column: datasets.Value("float64" if column == "tolerance" else "string") for column in columns}
    rows: dict[str, list[Any]] = {column: [] for column in columns}
    for problem in problems:
        rows["id"].append(problem.id)
        rows["benchmark"].append(problem.benchmark)
        rows["query"].append(problem.query)
        rows["reference"].append(json.dumps(problem.reference, ensure_ascii=False))
        rows["tolerance"].append(problem.tolerance)
        rows["metadata"].append(json.dumps(dict(problem.metadata), ensure_ascii=False))
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def facet_metrics(doc: Mapping[str, Any], facets: Sequence[str]) -> list[str]:
    """The metric names of the groups an item belongs to, such as ``acc_level_3`` and ``acc_subject_algebra``."""
    metadata = json.loads(doc["metadata"])
    values = ((facet, metadata.get(facet)) for facet in facets)
    return [f"acc_{facet}_{_slug(str(value))}" for facet, value in values if value is not None]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _mean_of_members(values: Sequence[float | None]) -> float:
    """Accuracy within one group: items outside it give None."""
    inside = [value for value in values if value is not None]
    return sum(inside) / len(inside) if inside else float("nan")


def _misuse(task: str, settings: TaskSettings) -> str | None:
    """What is wrong with metadata that would measure something other than the task's name says."""
    name = task.removeprefix("dart_math_")
    is_mini = name.startswith("mini_")
    name = name.removeprefix("mini_").removesuffix("_chat").removesuffix("_fewshot")
    if not task.startswith("dart_math_") or name not in BENCHMARKS:
        return None
    if settings.benchmark != name:
        return f"this task is {name}, not {settings.benchmark}: leave benchmark out of --metadata"
    if is_mini and settings.data_dir != MINI:
        return f"it has items of its own: leave data_dir out, or use dart_math_{name}"
    return None


def _of_the_command(what: str) -> Any:
    """What our plug-in noted of the lm_eval command, as lm-eval shows a task neither: its ``--model`` (``asked_for``),
    the keys of its ``--metadata`` (``settings``). Else empty."""
    return getattr(sys.modules.get("_dart_math_lm_eval"), what, "")


def _let_think(apply_chat_template: object) -> None:
    """Turn thinking on where nothing was said of it: lm-eval's vllm model would tell the template
    ``enable_thinking=None``, which many templates take for no, and takes no True without a ``think_end_token``."""
    model = getattr(apply_chat_template, "__self__", None)
    if type(model).__module__.endswith("vllm_causallms") and getattr(model, "enable_thinking", False) is None:
        model.enable_thinking = True  # type: ignore[union-attr]


def _chat_advice(task: str) -> str:
    if task.endswith("_chat"):
        return "leave template out of --metadata"
    if task.removeprefix("dart_math_").removesuffix("_fewshot") in BENCHMARKS:
        return f"use the task {task.removesuffix('_fewshot')}_chat"
    return f"""add --metadata '{{"template": "{CHAT}"}}'"""


def _refused(values: Sequence[float]) -> float:  # an aggregation, so that lm-eval reports no standard error either
    return float("nan")


class DartMathTask(ConfigurableTask):  # type: ignore[misc]
    """One benchmark (or problem file) under one prompt and sampling protocol, as ``metadata`` says."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        values = _DEFAULTS | {key: value for key, value in config.items() if key != "class"}
        task = str(values["task"])
        try:
            self.settings = TaskSettings.from_metadata(values.get("metadata") or {})
        except SettingsError as error:
            _fail(task, str(error))
        if unknown := [key for key in _of_the_command("settings") if key not in KEYS]:
            _fail(
                task,
                f"unknown in --metadata: {', '.join(unknown)} (settings are {', '.join(KEYS)}; lm_eval's own options, "
                "as --limit, stand beside it)",
            )
        if misuse := _misuse(task, self.settings):
            _fail(task, misuse)
        if values.get("repeats") not in (None, 1, self.settings.k):
            _fail(
                task, f"repeats: {values['repeats']} would be ignored: name the number of responses in metadata, as k"
            )
        generation = _GREEDY | (values.get("generation_kwargs") or {})
        generation["until"] = list(self.settings.stop)
        if self.settings.reasoning:
            generation["max_gen_toks"] = REASONING_TOKENS
        if self.settings.sampled:
            # do_sample: without it lm-eval's response cache would return one text for all k.
            generation |= {
                "do_sample": True,
                "temperature": self.settings.temperature,
                "top_p": self.settings.top_p,
            }
        metadata = {**(values.get("metadata") or {}), "grader_version": GRADER_VERSION}  # kept in the results file
        values |= {"generation_kwargs": generation, "repeats": self.settings.k, "metadata": metadata}
        self._groups: tuple[str, ...] = ()
        self._identical_items = 0.0
        self._all_told = False  # whether a server told how every response ended
        super().__init__(config=values)

    # -- data ---------------------------------------------------------------------------------------------------------
    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: object) -> None:
        """Load the problems: from their source, a local folder, the embedded mini items, or a problem file."""
        try:
            problems = self.settings.problems()
        except DataError as error:
            _fail(self.config.task, str(error))
        queries = {problem.query for problem in problems}
        if shown := next((shot.query for shot in self.settings.exemplars if shot.query in queries), None):
            _fail(self.config.task, f"an exemplar is one of the problems: {shown[:60]!r}")
        self.dataset = {"test": documents(problems)}

    def fewshot_docs(self) -> None:
        """No sampled exemplars: ours are fixed, and never test items."""

    @property
    def facets(self) -> tuple[str, ...]:
        """Metadata keys by which accuracy is reported."""
        record = BENCHMARKS.get(self.settings.benchmark)
        return record.facets if record else ("level", "domain")

    # -- prompts ------------------------------------------------------------------------------------------------------
    def doc_to_text(self, doc: Mapping[str, Any], doc_to_text: object = None) -> str:
        """The item's query."""
        return str(doc["query"])

    def doc_to_target(self, doc: Mapping[str, Any], doc_to_target: object = None) -> str:
        """The reference answer as JSON text."""
        return str(doc["reference"])

    def fewshot_context(
        self,
        doc: Mapping[str, Any],
        num_fewshot: int,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., str] | None = None,
        gen_prefix: str | None = None,
    ) -> str:
        """The whole prompt of one item."""
        try:
            exemplars = fewshot.exemplars(self.settings.benchmark, num_fewshot, self.settings.exemplars)
        except ValueError as error:
            _fail(self.config.task, str(error))
        if self.settings.template is not None:
            if exemplars and self.settings.template.chat_format:
                name = self.settings.template.name
                _fail(
                    self.config.task, f"exemplars do not go into the {name} template: {_chat_advice(self.config.task)}"
                )
            return fewshot.prompt(self.settings.template, exemplars, doc["query"])
        assert chat_template is not None  # checked in build_all_requests
        messages = fewshot.messages(self.settings.benchmark, exemplars, doc["query"], system_instruction)
        return chat_template(messages, add_generation_prompt=True)

    def build_all_requests(
        self,
        *,
        limit: int | None = None,
        samples: list[int] | None = None,
        cache_requests: bool = False,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        **kwargs: Any,
    ) -> None:
        """Build the prompts, refusing what lm-eval would let pass: a double template, a prompt that would be cut."""
        task = self.config.task
        generation = self.config.generation_kwargs
        if self.settings.template is not None and apply_chat_template:
            advice = _chat_advice(task)
            _fail(task, f"--apply_chat_template would wrap the {self.settings.template.name} prompt twice: {advice}")
        if self.settings.template is not None and system_instruction:
            _fail(
                task, "--system_instruction does not go with a prompt template: use the _chat task, or a template file"
            )
        model, metadata = _of_the_command("asked_for"), self.config.metadata or {}
        is_chat = model.endswith("chat-completions") or "chat/completions" in str(metadata.get("base_url"))
        if is_chat and not apply_chat_template:
            advice = "add" if self.settings.template is None else f"{_chat_advice(task)}, and add"
            _fail(task, f"a chat endpoint takes messages, not a prompt: {advice} --apply_chat_template")
        if model.startswith("local-") and "base_url" not in metadata:
            _fail(
                task,
                f"--model {model} needs base_url=http://HOST:PORT/v1/{'chat/' * is_chat}completions in --model_args",
            )
        if model.startswith("openai-") and not os.environ.get("OPENAI_API_KEY"):
            _fail(task, f"--model {model} reads its key from the environment variable OPENAI_API_KEY, which is not set")
        if self.settings.template is None and not apply_chat_template:
            _fail(task, "this task uses the model's own chat template: add --apply_chat_template")
        self._check_generation(generation)
        if self.settings.reasoning:
            _let_think(kwargs.get("chat_template"))
        if cache_requests:
            _log.warning("%s: --cache_requests is ignored (its key would mix up prompt templates)", task)
        super().build_all_requests(
            limit=limit,
            samples=samples,
            cache_requests=False,
            system_instruction=system_instruction,
            apply_chat_template=apply_chat_template,
            **kwargs,
        )
        limits = limits_from_model_args(self.config.metadata or {})
        max_new_tokens = self._fit_context(limits, generation["max_gen_toks"])
        self._check_lengths(limits, max_new_tokens)
        self._groups = self._groups_in_scope(limit, samples)
        self._is_truncated = partial(likely_truncated, max_new_tokens=max_new_tokens, limits=limits)
        self._count = limits.count_response if limits else None

    def _fit_context(self, limits: ModelLimits | None, max_new_tokens: int) -> int:
        """Under the reasoning protocol, whose default few contexts hold: the new tokens that there is room for."""
        prompts = [instance.args[0] for instance in self._instances]
        is_default = self.settings.reasoning and max_new_tokens == REASONING_TOKENS
        if not is_default or limits is None or not all(isinstance(prompt, str) for prompt in prompts):
            return max_new_tokens
        room = room_beside(prompts, limits)
        if room is None or not 0 < room < max_new_tokens:
            return max_new_tokens
        _log.warning(
            "%s: %d new tokens instead of %d, as many as the context of %d leaves beside the longest prompt",
            *(self.config.task, room, max_new_tokens, limits.max_length),
        )
        for instance in self._instances:
            prompt, generation = instance.args
            instance.arguments = (prompt, {**generation, "max_gen_toks": room})
        return room

    def _check_generation(self, generation: dict[str, Any]) -> None:
        """Settle what ``--gen_kwargs`` left open: one name for the token limit, parameters that sample."""
        task, k = self.config.task, self.settings.k
        for alias in _TOKEN_LIMIT_ALIASES:
            if alias in generation:  # lm-eval would prefer max_gen_toks, which the YAML sets
                generation["max_gen_toks"] = generation.pop(alias)
        limit = generation.setdefault("max_gen_toks", 2048)
        if not isinstance(limit, int) or limit < 1:
            _fail(task, f"--gen_kwargs max_gen_toks must be a whole number of at least 1 (got {limit!r})")
        sampled = self.settings.sampled
        if sampled and not generation.get("do_sample"):
            _fail(task, f"{f'k = {k}' if k > 1 else 'protocol reasoning'} needs sampling: leave do_sample=True")
        try:
            check_sampling(sampled, float(generation.get("temperature", 1)), float(generation.get("top_p", 1)))
        except (TypeError, ValueError) as error:
            _fail(task, str(error))

    def _check_lengths(self, limits: ModelLimits | None, max_new_tokens: int) -> None:
        prompts = [instance.args[0] for instance in self._instances]
        if not all(isinstance(prompt, str) for prompt in prompts):  # chat endpoints: message objects
            return
        problem = too_long(prompts, limits, max_new_tokens) if limits else uncheckable(self.config.metadata or {})
        if problem:
            _fail(self.config.task, problem)

    def _groups_in_scope(self, limit: int | None, samples: list[int] | None) -> tuple[str, ...]:
        """The groups that the evaluated items fall in, the same on every rank."""
        docs = self.eval_docs
        chosen = samples if samples else range(min(len(docs), int(limit)) if limit else len(docs))
        names = {name for index in chosen for name in facet_metrics(docs[index], self.facets)}
        return tuple(sorted(names))

    # -- scores -------------------------------------------------------------------------------------------------------
    def apply_filters(self) -> list[Instance] | None:
        """Grade all responses of this rank; note which were cut off, and whether sampling gave more than one text."""
        if self._predict_only:
            for instance in self._instances:
                told = GradedItem(()).with_told([beside_of(text) for text in instance.resps])
                instance.filtered_resps[FILTER] = instance.resps if told == GradedItem(()) else told.to_json()
            return None
        # A thought that the prompt opens is seen to be one only with its opening tag. Where a server applies the
        # template, any response that closes a thought it had not opened shows that, for those cut off inside theirs.
        template_opens = any(closes_unopened(text) for instance in self._instances for text in instance.resps)
        for instance in self._instances:
            prompt = instance.args[0]
            opened = OPENED_THOUGHT.search(prompt) if isinstance(prompt, str) else None
            for number, text in enumerate(instance.resps):
                what = beside_of(text)
                if what.thought:
                    continue
                if opened:
                    instance.resps[number] = ServedText.of(opened[1] + text, what)
                elif template_opens and what.finish_reason == "length" and not any(split_thought(text)[:1]):
                    instance.resps[number] = ServedText.of("<think>" + text, what)
        result: list[Instance] | None = super().apply_filters()
        self._all_told = all(beside_of(text).finish_reason for instance in self._instances for text in instance.resps)
        parts = [[lengths(text, self._count) for text in instance.resps] for instance in self._instances]
        has_lengths = self.settings.reasoning and all(map(all, parts))  # all or none, as metrics are for all items
        n_identical = 0
        for instance, parts_of_item in zip(self._instances, parts, strict=True):
            graded = GradedItem.from_json(instance.filtered_resps[FILTER])
            graded = replace(graded, truncated=tuple(map(self._was_cut, instance.resps)))
            if has_lengths:
                thoughts, answers = zip(*parts_of_item, strict=True)
                graded = replace(graded, thought_tokens=thoughts, answer_tokens=answers)
            instance.filtered_resps[FILTER] = graded.to_json()
            n_identical += bool(graded.identical)
        if self.settings.k > 1:
            self._identical_items = n_identical / len(self._instances)
            if self._sampling_failed:
                _log.error(
                    "%s: all %d responses are identical for %.0f%% of the items, so maj@k and pass@k would be pass@1 "
                    "under another name and are not reported. A served model given lm-eval's fixed seed does this: "
                    "see docs/evaluation.md",
                    self.config.task,
                    self.settings.k,
                    100 * self._identical_items,
                )
        return result

    def _was_cut(self, response: str) -> bool:
        reason = beside_of(response).finish_reason
        return reason == "length" if reason else self._is_truncated(response)

    @property
    def _predict_only(self) -> bool:
        return "bypass" in self._metric_fn_list

    @property
    def _sampling_failed(self) -> bool:
        return self.settings.k > 1 and self._identical_items > 0.5

    def process_results(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float | None]:
        """An item's scores from its verdicts. Lists every metric for every item, as all ranks must agree on them."""
        if self._predict_only:
            return {"bypass": None}
        graded = GradedItem.from_json(results[0])
        n, right = len(graded.verdicts), sum(verdict.correct for verdict in graded.verdicts)
        accuracy = right / n
        scores: dict[str, float | None] = {"acc": accuracy}
        if graded.majority is not None:
            scores[f"mean@{n}"] = accuracy
            scores[f"maj@{n}"] = graded.majority.credit
            scores |= {f"pass@{k}": pass_at_k(n, right, k) for k in pass_ks(n)}
        if graded.loose is not None:
            scores["acc_relative_tolerance"] = sum(graded.loose) / n
        if graded.truncated is not None:
            scores["truncated" if self._all_told else "likely_truncated"] = sum(graded.truncated) / n
        if self.settings.reasoning:
            scores["unfinished_thinking"] = sum("unfinished_thinking" in v.flags for v in graded.verdicts) / n
        if graded.thought_tokens is not None and graded.answer_tokens is not None:
            scores |= {"thought_tokens": sum(graded.thought_tokens) / n, "answer_tokens": sum(graded.answer_tokens) / n}
        member = facet_metrics(doc, self.facets)
        return scores | {name: accuracy if name in member else None for name in self._groups}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """Means over items, whose standard errors lm-eval knows; within a group, the mean over its members."""
        if self._predict_only:
            return super().aggregation()  # type: ignore[no-any-return]
        k = self.settings.k
        names = ["acc", "acc_relative_tolerance", f"mean@{k}", *_LOWER_IS_BETTER]
        sampled = [f"maj@{k}", *(f"pass@{number}" for number in pass_ks(k))]
        table: dict[str, Callable[..., float]] = dict.fromkeys(names, mean)
        table |= dict.fromkeys(sampled, _refused if self._sampling_failed else mean)
        return table | dict.fromkeys(self._groups, _mean_of_members)

    def higher_is_better(self) -> dict[str, bool]:
        """Higher is better for all but shares of truncated responses and lengths."""
        return {name: name not in _LOWER_IS_BETTER for name in self.aggregation()}
