"""Samples in a pack never see each other, and a model where they would is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from train.attention import choose_attention, packed_sdpa, register
from train.errors import UserError
from train.loss import install, packed_logits
from train.preflight import check_model

VOCABULARY = 97
LENGTHS = (11, 1, 7, 20)


def model_of(config: Any, attention: str = "packed_sdpa") -> Any:
    from transformers import AutoModelForCausalLM

    register()
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def pack(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, VOCABULARY, (1, sum(LENGTHS)), generator=generator)
    return tokens, torch.cat([torch.arange(length) for length in LENGTHS])[None]


@pytest.mark.parametrize("attention", ["packed_sdpa", "sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "gpt2"])
def test_packed_equals_alone(kind: str, attention: str, build_config: Callable[..., Any]) -> None:
    model = model_of(build_config(kind, VOCABULARY), attention)
    tokens, positions = pack()
    together = packed_logits(model, tokens, positions)
    reference = model_of(build_config(kind, VOCABULARY), "sdpa")
    for start, length in zip(torch.tensor([0, *LENGTHS]).cumsum(0).tolist(), LENGTHS, strict=False):
        with torch.no_grad():
            alone = reference(input_ids=tokens[:, start : start + length]).logits[0]
        assert (together[start : start + length] - alone).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "gpt2"])
def test_preflight_accepts(kind: str, build_config: Callable[..., Any]) -> None:
    check_model(model_of(build_config(kind, VOCABULARY)), ["packed_sdpa", "sdpa", "eager"])


EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
MIXTURES = {"mixtral": {}, "qwen3_moe": {**EXPERTS, "head_dim": 32}, "olmoe": EXPERTS}


def enlarged(config: Any) -> Any:
    """With weights five times as large as at random, for differences of up to 1e-6 in its logits."""
    model = model_of(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)
    return model


@pytest.mark.parametrize("kind", MIXTURES)
def test_preflight_accepts_mixtures_of_experts(kind: str, build_config: Callable[..., Any]) -> None:
    """They were refused for a difference of 4.8e-07: other neighbours, another order of summation in the experts."""
    check_model(enlarged(build_config(kind, VOCABULARY, **MIXTURES[kind])), ["packed_sdpa", "sdpa", "eager"])


@pytest.mark.parametrize("share", [1.0, 0.01])
@pytest.mark.parametrize("kind", ["mixtral", "llama"])
def test_preflight_refuses_an_attention_that_leaks_a_little(
    kind: str, share: float, build_config: Callable[..., Any]
) -> None:
    from transformers import AttentionInterface

    def leaky(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> tuple[torch.Tensor, None]:
        whole = (query.shape[2],)
        segments = (11, query.shape[2] - 11) if query.shape[2] > 11 else whole
        apart, together = (
            packed_sdpa(module, query, key, value, None, scaling=options["scaling"], segment_lengths=lengths)[0]
            for lengths in (segments, whole)
        )
        return (1 - share) * apart + share * together, None

    AttentionInterface.register("leaky", leaky)
    with pytest.raises(UserError, match=r"logits change by .* with the tokens of its neighbour"):
        check_model(enlarged(build_config(kind, VOCABULARY)), ["leaky"])


def leaks(model: Any) -> bool:
    """Whether transformers' own call of the model, with restarting positions alone, lets samples see each other."""
    tokens, positions = pack()
    swapped = tokens.clone()
    swapped[:, : LENGTHS[0]] = tokens[:, : LENGTHS[0]].flip(1)
    with torch.no_grad():
        one, other = (model(input_ids=row, position_ids=positions, use_cache=False).logits for row in (tokens, swapped))
    return float((one - other)[:, LENGTHS[0] :].abs().max()) > 1e-4


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["opt", "falcon", "bloom", "nemotron", "gpt_neox", "olmo2", "phi3", "gemma2", "llama"])
def test_what_leaks_is_refused_and_what_does_not_is_trained(
    kind: str, attention: str, build_config: Callable[..., Any]
) -> None:
    """Whichever they are: Falcon leaks with transformers 5.19 and does not with 5.24."""
    more = {"head_dim": 32, "final_logit_softcapping": None} if kind == "gemma2" else {}
    config = build_config(kind, VOCABULARY, **more)
    try:
        model = model_of(config, attention)
    except ValueError:
        pytest.skip(f"{kind} has no {attention} attention")
    if leaks(model):
        with pytest.raises(UserError, match=rf"cannot train on packed samples with {attention} attention"):
            check_model(model, [attention])
    else:
        check_model(model, [attention])


def test_preflight_refuses_a_model_that_caps_its_logits(build_config: Callable[..., Any]) -> None:
    model = model_of(build_config("gemma2", VOCABULARY, head_dim=32, final_logit_softcapping=0.1), "eager")
    with pytest.raises(UserError, match="changes its logits after the vocabulary projection"):
        check_model(model, ["eager"])


def test_loss_and_gradients_are_equal_across_attentions(build_config: Callable[..., Any]) -> None:
    tokens, positions = pack()
    labels = tokens.clone()
    labels[positions == 0] = -100
    results = {}
    for attention in ("packed_sdpa", "sdpa", "eager"):
        model = model_of(build_config("llama", VOCABULARY), attention)
        install(model)
        loss = model(input_ids=tokens, position_ids=positions, labels=labels).loss
        loss.backward()
        results[attention] = (loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()]))
    loss, gradient = results.pop("packed_sdpa")
    for other_loss, other_gradient in results.values():
        assert abs(loss - other_loss) < 1e-5
        assert (gradient - other_gradient).abs().max() < 1e-5


def test_a_sliding_window_is_honoured_within_a_sample(build_config: Callable[..., Any]) -> None:
    overrides = {"sliding_window": 5}
    tokens, positions = pack()
    packed = packed_logits(model_of(build_config("mistral", VOCABULARY, **overrides)), tokens, positions)
    eager = packed_logits(model_of(build_config("mistral", VOCABULARY, **overrides), "eager"), tokens, positions)
    unlimited = packed_logits(model_of(build_config("mistral", VOCABULARY, sliding_window=None)), tokens, positions)
    assert (packed - eager).abs().max() < 1e-5
    assert (packed - unlimited).abs().max() > 1e-3


def test_without_boundaries_packed_attention_fails_loudly(build_config: Callable[..., Any]) -> None:
    tokens, _ = pack()
    with pytest.raises(RuntimeError, match="does not tell packed attention where samples end"):
        model_of(build_config("llama", VOCABULARY))(input_ids=tokens)


def test_features_that_packed_attention_lacks_are_refused() -> None:
    states = torch.zeros(1, 2, 4, 8)
    with pytest.raises(RuntimeError, match="does not compute softcap"):
        packed_sdpa(torch.nn.Identity(), states, states, states, None, segment_lengths=(4,), softcap=30.0)


def test_the_choice_on_cpu_is_one_sdpa_per_sample(build_config: Callable[..., Any]) -> None:
    config = build_config("llama")
    assert choose_attention("auto", torch.device("cpu"), True, config).name == "packed_sdpa"
    assert choose_attention("eager", torch.device("cpu"), False, config).name == "eager"
