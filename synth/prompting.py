"""From a problem to the prompt that an engine gets: a template's text, or turns for the model's own chat template.

Few-shot exemplars come before the problem, each in the template or as two turns: those of the problem's benchmark
(``dart_tasks.problems``), or of a file with one ``{"query": ..., "response": ...}`` a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dart_tasks.console import first_line
from dart_tasks.harness import fewshot
from dart_tasks.harness.fewshot import Shot, read_shots
from dart_tasks.problems.record import Problem
from dart_tasks.prompts import PromptTemplate
from synth.config import RunConfig
from synth.records import Request, derived_seed
from synth.scheduler import TrialId

__all__ = ["PromptMaker", "prompt_ids", "prompt_maker"]


@dataclass(frozen=True, slots=True)
class PromptMaker:
    """From a query to the engine's prompt.

    Attributes:
        template: None for the model's own, which gets ``system_message`` too.
        shots: exemplars by benchmark; queries of other benchmarks have none.
        run_seed: seeds per trial are derived from it in reproducible runs; None leaves sampling to the engine's seed.
    """

    template: PromptTemplate | None
    system_message: str = ""
    shots: Mapping[str, tuple[Shot, ...]] = field(default_factory=dict)
    run_seed: int | None = None

    def request(self, trial: TrialId, query: Problem) -> Request:
        """The request for one trial."""
        seed = None
        if self.run_seed is not None:
            seed = derived_seed(self.run_seed, query.id, trial.trial, n_bits=63)
        shots = self.shots.get(query.benchmark, ())
        if self.template is not None:
            return Request(trial, fewshot.prompt(self.template, shots, query.query), seed=seed)
        turns = [("system", self.system_message)] if self.system_message else []
        for shot in shots:
            turns += [("user", shot.query), ("assistant", shot.response)]
        return Request(trial, query.query, chat=True, seed=seed, turns=tuple(turns))


def prompt_maker(config: RunConfig, benchmarks: Iterable[str]) -> PromptMaker:
    """The configuration's prompts for queries of these benchmarks.

    Raises:
        DataError: the file of exemplars cannot be read. ValueError: no such template, or too few exemplars.
    """
    template = config.template()
    own = read_shots(Path(config.exemplars)) if config.exemplars else None
    count = config.num_fewshot or len(own or ())
    if template is not None and template.chat_format and count:
        raise ValueError(f"exemplars do not go into the {template.name} template: use --prompt-template model")
    if own is not None and count > len(own):
        raise ValueError(f"--num-fewshot {count}: {config.exemplars} has {len(own)} exemplars")
    shots = {name: own[:count] if own else _shots_of(name, count) for name in set(benchmarks)} if count else {}
    return PromptMaker(template, config.system_message, shots, config.seed if config.reproducible else None)


def _shots_of(benchmark: str, count: int) -> tuple[Shot, ...]:
    try:
        return tuple(Shot(exemplar.query, exemplar.response) for exemplar in fewshot.exemplars(benchmark, count))
    except ValueError as error:  # in the words of lm-eval's option
        raise ValueError(str(error).replace("--num_fewshot", "--num-fewshot")) from None


def prompt_ids(tokenizer: Any, request: Request, template_kwargs: Mapping[str, Any]) -> tuple[list[int], bool]:
    """A prompt's tokens, BOS once where the tokenizer adds it; and whether the chat template opens a thought.

    Raises:
        ValueError: a chat request, and the tokenizer has no chat template, or one that does not take it.
    """
    if request.chat:
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("the model has no chat template of its own: give a --prompt-template by name or file")
        try:
            text = tokenizer.apply_chat_template(
                request.messages, add_generation_prompt=True, tokenize=False, **template_kwargs
            )
        except Exception as error:  # raised by the template itself, as Gemma's does, or of arguments it cannot have
            what = "these messages or --chat-template-kwargs" if template_kwargs else "these messages"
            raise ValueError(f"the model's chat template does not take {what}: {first_line(error)}") from None
        if any(role == "system" and content.strip() not in text for role, content in request.turns):
            raise ValueError("the model's chat template leaves the system message out: take --system-message away")
        return list(tokenizer(text, add_special_tokens=False)["input_ids"]), text.rstrip().endswith("<think>")
    ids = list(tokenizer(request.prompt)["input_ids"])
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]  # the template's file has one, too
    return ids, False
