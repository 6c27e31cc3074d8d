"""lm-eval models for servers with OpenAI's interface (vLLM, SGLang, ...) that can be sampled.

lm-eval's own send one seed with every request, so that k responses are one, and drop how a response ended and what was
thought before it.

    lm_eval --model dart-chat-completions --model_args model=NAME,base_url=http://HOST:8000/v1,num_concurrent=64 \
        --apply_chat_template --tasks dart_math_math_chat --metadata '{"k": 4}'
    lm_eval --model dart-completions --model_args base_url=http://HOST:8000/v1 --tasks dart_math_suite

No seed is sent, or with ``seed=N`` one of each sample's own. With ``--use_cache`` each response is kept as it comes in,
the sampled ones too, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import inspect
import json
import logging
import os
import re
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
from lm_eval.api.instance import Instance
from lm_eval.api.model import hash_args
from lm_eval.models.api_models import JsonChatStr, TemplateAPI
from lm_eval.models.openai_completions import LocalCompletionsAPI
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from tqdm import tqdm

from dart_tasks.console import printable
from dart_tasks.harness.limits import note_served
from dart_tasks.harness.served import Beside, ServedText
from dart_tasks.harness.settings import REASONING_TOKENS
from dart_tasks.harness.task import TaskError

__all__ = ["DartChatCompletions", "DartCompletions"]

_log = logging.getLogger(__name__)
_RETRIED = (408, 409, 425, 429)  # and 5xx; other refusals stay refusals
_THOUGHTS = ("reasoning_content", "reasoning")  # as older and newer servers name it
_OPTIONAL = ("stop", "temperature", "top_p", "seed")  # what some models refuse, and answer without
_UNSUPPORTED = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|extra", re.IGNORECASE
)
_TOO_LONG = re.compile(r"context|max_model_len|too (long|large)", re.IGNORECASE)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_SAID_ANEW_S = 10.0
_LISTING_S = 30.0  # for the list of models
_OF_LM_EVAL = {*inspect.signature(TemplateAPI.__init__).parameters, "device", "max_batch_size"}  # what it passes on


class _FailedError(Exception):
    """An attempt failed; another one may not."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class _RefusedError(Exception):
    """The server will never take this request."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True)
class _Job:
    """One response to get: its request's prompt and options, and the body to send."""

    prompt: str | JsonChatStr
    options: Mapping[str, Any]
    trial: int
    body: dict[str, Any]


class DartCompletions(LocalCompletionsAPI):  # type: ignore[misc]
    """Text prompts, sent as they are: the server tokenises them, and refuses those that it would have to cut.

    Args:
        model: the name that the server knows; may be left out where it serves one model.
        base_url: the server's, such as ``http://node7:8000/v1``; the whole address of the endpoint works too, and a
            query (Azure's ``?api-version=...``) goes with every request.
        num_concurrent: requests in flight.
        max_retries: attempts at each request, with pauses that double, or are as long as the server asks.
        timeout: seconds for one answer.
        seed: makes sampling repeatable where the server's is: a seed is sent for each sample that depends on this one,
            the prompt and the sample's number. None: no seed.
        api_key_env: the environment variable with the key; ``OPENAI_API_KEY`` if nothing is said.
    """

    endpoint = "completions"
    _key_name = ""  # until it is told: errors are masked with the key that it names

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        num_concurrent: int = 16,
        max_retries: int = 8,
        timeout: float = 3600,
        seed: int | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        **kwargs: Any,
    ) -> None:
        self._key_name = api_key_env
        if unknown := set(kwargs) - _OF_LM_EVAL:
            self._fail(
                f"unknown in --model_args: {', '.join(sorted(unknown))} (docs/evaluation.md lists what there is)"
            )
        self._root, self._query = self._api_root(base_url)
        self._seed_of_run = seed
        self._left_out: set[str] = set()
        self._renamed = False
        self._last_said = ("", 0.0)
        self._warned: set[str] = set()
        self.max_retries, self.timeout = int(max_retries), float(timeout)
        self.verify_certificate = kwargs.get("verify_certificate", True)
        self.ca_cert_path = kwargs.get("ca_cert_path")
        self._header = kwargs.get("header")
        self._is_azure = "api-version=" in self._query or ".azure.com" in self._root
        served = {} if self._is_azure else asyncio.run(self._served_models())  # Azure lists models, not deployments
        if model is None and (model := kwargs.pop("pretrained", None)) is None and len(served) == 1:
            (model,) = served
        if model is None:
            self._fail(f"add model=NAME to --model_args (the server has: {', '.join(served) or 'not told'})")
        if served and model not in served:
            self._fail(f"{self._root} serves {', '.join([*served][:5])}, not {model}")
        self._context = served.get(model)
        note_served(base_url, self._context)
        super().__init__(
            model=model,
            base_url=f"{self._root}/{self.endpoint}{self._query}",
            num_concurrent=num_concurrent,
            max_retries=max_retries,
            **{"tokenizer_backend": None, "tokenized_requests": False, "max_length": self._context or 2048, **kwargs},
        )
        self.timeout = float(timeout)

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval's results keep of it: the model as the server knows it, and what was left out of requests."""
        return {"served_model": self.model, "left_out_of_requests": sorted(self._left_out)}

    # -- addresses and keys -------------------------------------------------------------------------------------------
    def _fail(self, reason: object) -> NoReturn:
        text = printable(str(reason))
        raise TaskError(
            f"dart-{self.endpoint.replace('/', '-')}: {text.replace(self.api_key, '***') if self.api_key else text}"
        )

    def _api_root(self, url: str | None) -> tuple[str, str]:
        """The address that endpoints' paths are added to, and the query (with its mark) that follows those."""
        parts = urlsplit(url or "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            self._fail(f"add base_url=http://HOST:PORT/v1 to --model_args (got {url!r})")
        path = re.sub(r"/(chat/)?completions$", "", parts.path.rstrip("/")) or "/v1"
        return f"{parts.scheme}://{parts.netloc}{path}", f"?{parts.query}" if parts.query else ""

    @cached_property
    def api_key(self) -> str:
        """The key, from the environment alone."""
        return os.environ.get(self._key_name, "")

    @cached_property
    def header(self) -> dict[str, str]:
        """The headers of each request."""
        azure = {"api-key": self.api_key} if self._is_azure else {}
        return self._header or ({"Authorization": f"Bearer {self.api_key}", **azure} if self.api_key else {})

    def _session(self, timeout_s: float) -> aiohttp.ClientSession:
        secure: ssl.SSLContext | bool = bool(self.verify_certificate)
        if self.verify_certificate and self.ca_cert_path:
            secure = ssl.create_default_context(cafile=self.ca_cert_path)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=secure),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=30.0),
            headers=self.header,
        )

    async def _served_models(self) -> dict[str, int | None]:
        """The models that the server lists, each with its context where it tells that; none where it lists none."""
        try:
            async with self._session(min(_LISTING_S, self.timeout)) as session:
                payload = await self._persist(self._exchange, session, "GET", f"{self._root}/models{self._query}")
            return {str(model["id"]): model.get("max_model_len") for model in payload["data"]}
        except _RefusedError as error:
            if error.field == "key":
                self._fail(error)
            return {}
        except _FailedError as error:
            self._fail(error)
        except (KeyError, TypeError, AttributeError):
            return {}

    # -- one request --------------------------------------------------------------------------------------------------
    async def _persist(self, ask: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
        """What a server answers, asked again where that may help; the reason of each failure is logged.

        Raises:
            _FailedError: all attempts failed.
            _RefusedError: it never will.
        """
        pause = wait_random_exponential(multiplier=2 * _FIRST_PAUSE_S, max=_LONGEST_PAUSE_S)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return max(pause(state), error.pause_s if isinstance(error, _FailedError) else 0.0)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.max_retries),
            wait=wait,
            retry=retry_if_exception_type(_FailedError),
            before_sleep=self._say_why,
            reraise=True,
        )
        return await retrying(ask, *arguments)

    def _say_why(self, state: RetryCallState) -> None:
        """The reason for another attempt; not each time where many requests fail for the same one."""
        reason = str(state.outcome.exception()) if state.outcome else ""
        said, when_s = self._last_said
        if reason != said or time.monotonic() - when_s > _SAID_ANEW_S:
            self._last_said = (reason, time.monotonic())
            _log.warning("attempt %d of %d failed, trying again: %s", state.attempt_number, self.max_retries, reason)

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, url: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        shown = url.partition("?")[0]
        try:
            # No redirects: they would turn a POST into a GET, and carry the key elsewhere.
            async with session.request(method, url, json=body, allow_redirects=False) as answer:
                raw, status = await answer.read(), answer.status
                asked = answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise _FailedError(f"{shown}: no answer in {session.timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _FailedError(f"{shown}: {str(error) or type(error).__name__}") from None
        try:
            payload = json.loads(raw)
        except ValueError:
            payload = raw[:300].decode("utf-8", "replace")
        if status == 200 and not (isinstance(payload, str) or ("error" in payload and not payload.get("choices"))):
            return payload
        message, field = _message(payload)
        reason = f"{shown}: HTTP {status} {message}".rstrip()
        if status == 200 or status >= 500 or (status in _RETRIED and "insufficient_quota" not in reason):
            raise _FailedError(reason, min(float(asked), _LONGEST_PAUSE_S) if asked.isdigit() else 0.0)
        if status in (401, 402, 403):
            unset = "" if self.api_key else ", which is not set"
            raise _RefusedError(f"{reason} (the key is read from {self._key_name}{unset}; see api_key_env)", "key")
        named = (name for name in _OPTIONAL if re.search(rf"\b{name}\b", message))
        raise _RefusedError(reason, field or next(named, None))

    # -- lm-eval's side -----------------------------------------------------------------------------------------------
    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:
        """Refused: a server's template is applied where it is asked for chat."""
        self._fail("it sends prompts as text: with --apply_chat_template use --model dart-chat-completions")

    def _message_fields(self, prompt: str | JsonChatStr) -> dict[str, Any]:
        return {"prompt": str(prompt)}

    def _jobs(self, requests: Sequence[Instance]) -> list[_Job]:
        trials: Counter[str] = Counter()
        jobs = []
        for request in requests:
            prompt, options = request.args
            rest = copy.deepcopy(dict(options))
            rest.pop("do_sample", None)
            seed = rest.pop("seed", self._seed_of_run)
            stop = rest.pop("until", None)
            stop = [stop] if isinstance(stop, str) else list(stop or ())
            limits = [rest.pop(name, None) for name in ("max_gen_toks", "max_tokens", "max_completion_tokens")]
            body: dict[str, Any] = {
                "model": self.model,
                **self._message_fields(prompt),
                "max_tokens": next((limit for limit in limits if limit), self._max_gen_toks),
                "temperature": rest.pop("temperature", 0),
                **({"stop": stop} if stop else {}),
                **rest,
            }
            if body["max_tokens"] == REASONING_TOKENS and self._context and self._context <= REASONING_TOKENS:
                self._fit_context(body)
            key = json.dumps(body, sort_keys=True, default=str)
            trial = trials[key]
            trials[key] += 1
            if seed is not None:
                digest = hashlib.sha256(f"{seed}\0{trial}\0{key}".encode("utf-8", "surrogatepass")).digest()
                body["seed"] = int.from_bytes(digest[:4], "big") >> 1
            jobs.append(_Job(prompt, options, trial, body))
        return jobs

    def _fit_context(self, body: dict[str, Any]) -> None:
        """Asks for what the server's context leaves: the reasoning protocol's default is more than all of it."""
        self._warn_once(
            "context",
            f"{REASONING_TOKENS:,} new tokens are more than the server's context of {self._context:,}: each response "
            "gets what its prompt leaves",
        )
        if self.endpoint == "completions":
            body["max_tokens"] = (self._context or 0) - 1  # vLLM lowers it to what a prompt leaves; its default is 16
        else:
            del body["max_tokens"]  # where none is sent, a chat endpoint gives what is left

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """The responses, each a :class:`ServedText`, in the requests' order."""
        if any(len(request.args) != 2 for request in requests):
            self._fail("it sends text alone, no pictures or sound")
        jobs = self._jobs(requests)
        found: list[ServedText | None] = [self._kept(job) for job in jobs]
        if n_kept := sum(text is not None for text in found):
            _log.warning("%d of %d responses are taken from the cache", n_kept, len(jobs))
        try:
            asyncio.run(self._ask(jobs, found, disable_tqdm))
        except (_FailedError, _RefusedError, KeyboardInterrupt) as error:
            n_found = sum(text is not None for text in found)
            kept = "--use_cache keeps them" if self.cache_hook.dbdict is None else "they are kept in the cache"
            self._fail(
                (str(error) or "interrupted")
                + (f" ({n_found} of {len(jobs)} responses were there: {kept})" if n_found else "")
            )
        return [text if text is not None else ServedText() for text in found]

    async def _ask(self, jobs: Sequence[_Job], found: list[ServedText | None], quiet: bool) -> None:
        """Fill the gaps in ``found``, with as many requests in flight as may be."""
        left = iter([index for index, text in enumerate(found) if text is None])
        with tqdm(total=len(jobs), initial=len(jobs) - found.count(None), desc="Requesting API", disable=quiet) as bar:
            async with self._session(self.timeout) as session:

                async def work() -> None:
                    for index in left:
                        found[index] = text = await self._respond(session, jobs[index])
                        self._keep(jobs[index], text)
                        bar.update()

                workers = [asyncio.create_task(work()) for _ in range(min(max(1, self._concurrent), found.count(None)))]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)

    async def _respond(self, session: aiohttp.ClientSession, job: _Job) -> ServedText:
        while True:
            body = {name: value for name, value in job.body.items() if name not in self._left_out}
            if self._renamed and "max_tokens" in body:
                body["max_completion_tokens"] = body.pop("max_tokens")
            try:
                text: ServedText = await self._persist(self._sample, session, body)
            except _RefusedError as error:
                if not self._can_do_without(error, body):
                    raise
                continue
            self._check_length(text.beside, body)
            return text

    async def _sample(self, session: aiohttp.ClientSession, body: Mapping[str, Any]) -> ServedText:
        return self._text_of(await self._exchange(session, "POST", self.base_url, body))

    def _can_do_without(self, error: _RefusedError, body: Mapping[str, Any]) -> bool:
        """Whether a request that was refused for one field is worth sending without it, or with its other name."""
        reason, field = str(error), error.field
        if "max_tokens" in body and "max_completion_tokens" in reason and _UNSUPPORTED.search(reason):
            self._renamed = True
            return True
        limit = next((name for name in ("max_tokens", "max_completion_tokens") if name in body), None)
        if limit and body[limit] == REASONING_TOKENS and self.endpoint != "completions" and _TOO_LONG.search(reason):
            self._left_out |= {"max_tokens"}
            self._warn_once(
                "context",
                f"{REASONING_TOKENS:,} new tokens do not fit: no limit is sent, as the server then gives what its "
                f"context leaves ({reason})",
            )
            return True
        if field in _OPTIONAL and field in body and _UNSUPPORTED.search(reason):
            self._left_out |= {field}
            self._warn_once(
                field,
                f"{field}={body[field]!r} is left out, as the server refuses it: its own default is used ({reason})",
            )
            return True
        return False

    def _check_length(self, what: Beside, body: Mapping[str, Any]) -> None:
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        if what.finish_reason == "length" and limit and what.n_tokens is not None and what.n_tokens < limit:
            self._warn_once(
                "cut",
                f"the context left {what.n_tokens:,} new tokens beside a prompt, fewer than the {limit:,} asked for",
            )

    def _warn_once(self, kind: str, line: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            _log.warning("%s", printable(line))

    def _text_of(self, payload: Any) -> ServedText:
        """The response in a server's answer, with what came beside it.

        Raises:
            _FailedError: it is no completion.
        """
        try:
            choice = payload["choices"][0]
            text, thought = self._parts(choice)
            usage = payload.get("usage") or {}
            details = usage.get("completion_tokens_details") or {}
            counts = [usage.get("completion_tokens"), details.get("reasoning_tokens", usage.get("reasoning_tokens"))]
            n_tokens, n_thought_tokens = (count if isinstance(count, int) else None for count in counts)
            reason = choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _FailedError(
                f"{self._root}/{self.endpoint}: the answer is not a completion: {str(payload)[:200]}"
            ) from None
        if thought and not n_thought_tokens:
            n_thought_tokens = None  # some servers say 0 where they do not count
        return ServedText.of(text, Beside(str(reason) if reason else None, thought, n_tokens, n_thought_tokens))

    def _parts(self, choice: Mapping[str, Any]) -> tuple[str, str | None]:
        return str(choice["text"]), None

    # -- the cache ----------------------------------------------------------------------------------------------------
    # lm-eval's neither reads sampled responses nor tells samples of one prompt apart, so these have keys of their own.
    def _key(self, job: _Job) -> str:
        return str(hash_args(f"dart-{self.endpoint}", [job.body, job.trial]))  # the body names model and seed

    def _kept(self, job: _Job) -> ServedText | None:
        cache = self.cache_hook.dbdict
        found = cache.get(self._key(job)) if cache is not None and job.options.get("do_sample") else None
        return found if isinstance(found, ServedText) else None

    def _keep(self, job: _Job, text: ServedText) -> None:
        if job.options.get("do_sample"):
            if self.cache_hook.dbdict is not None:
                self.cache_hook.dbdict[self._key(job)] = text
        else:
            self.cache_hook.add_partial("generate_until", (job.prompt, job.options), text)


class DartChatCompletions(DartCompletions):
    """Messages, which the server puts into the model's own template; thoughts that it gives apart are kept apart.

    Args:
        enable_thinking: sent to the template, where it has the switch (as ``chat_template_kwargs``).
    """

    endpoint = "chat/completions"

    def __init__(self, enable_thinking: bool | None = None, **kwargs: Any) -> None:
        self._enable_thinking = enable_thinking
        if kwargs.pop("think_end_token", None) is not None:
            self._fail("leave think_end_token out: thoughts are kept, and the grader tells them apart")
        super().__init__(**kwargs)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:
        """The messages as lm-eval passes them on."""
        return JsonChatStr(json.dumps(chat_history, ensure_ascii=False))

    def _message_fields(self, prompt: str | JsonChatStr) -> dict[str, Any]:
        if not isinstance(prompt, JsonChatStr):
            self._fail("a chat endpoint takes messages, not a prompt: add --apply_chat_template, with a _chat task")
        thinking = {} if self._enable_thinking is None else {"enable_thinking": self._enable_thinking}
        return {"messages": json.loads(prompt.prompt), **({"chat_template_kwargs": thinking} if thinking else {})}

    def _parts(self, choice: Mapping[str, Any]) -> tuple[str, str | None]:
        message = choice["message"]
        content = message.get("content")
        thought = next((message[name] for name in _THOUGHTS if isinstance(message.get(name), str)), None) or None
        if isinstance(content, list):  # parts, of which some may be thoughts
            thoughts = [_joined(part["thinking"]) for part in content if part.get("type") == "thinking"]
            thought = thought or "".join(thoughts) or None
            content = _joined([part for part in content if part.get("type") == "text"])
        return "" if content is None else str(content), thought

    def loglikelihood(self, requests: Sequence[Instance], **kwargs: Any) -> list[tuple[float, bool]]:
        """Refused: chat endpoints tell no likelihoods of prompts."""
        self._fail("chat endpoints tell no likelihoods: use --model dart-completions for such tasks")


def _joined(parts: Any) -> str:
    return str(parts) if isinstance(parts, str) else "".join(str(part["text"]) for part in parts)


def _message(payload: Any) -> tuple[str, str | None]:
    """The reason in an error's body, in one short line, and the field that it names."""
    field = None
    if isinstance(payload, dict):
        inner = payload.get("error", payload)
        if isinstance(inner, dict):
            field = inner.get("param") if isinstance(inner.get("param"), str) else None
            code = inner.get("code") if isinstance(inner.get("code"), str) else None
            payload = inner.get("message", inner.get("detail", inner))
            payload = f"{payload} ({code})" if code else payload
        else:
            payload = inner
    return " ".join(str(payload).split())[:300], field
