"""Cards: valid hub metadata, inherited licences, inert text."""

from __future__ import annotations

from pathlib import Path

import pytest

from dart_tasks.cards import Result, dataset_card, markdown_text, model_card
from dart_tasks.embedded import MODEL_DIR
from dart_tasks.licences import (
    CardError,
    Source,
    check_licence,
    inherited_licence,
    source,
)

MISTRAL = source("mistralai/Mistral-7B-v0.1", "base model")
LLAMA3 = source("meta-llama/Meta-Llama-3-8B", "base model")
DEEPSEEK = source("deepseek-ai/deepseek-math-7b-rl", "synthesiser")
GSM8K = source("openai/gsm8k", "queries")
UNKNOWN = source("someone/model", "base model")
RESULT = Result("MATH", "EleutherAI/hendrycks_math", "test", "Pass@1 (0-shot CoT)", 0.455, 0.007, 5000)


@pytest.mark.parametrize(
    ("sources", "licence"),
    [
        ([MISTRAL], "apache-2.0"),
        ([GSM8K], "mit"),
        ([MISTRAL, GSM8K], "apache-2.0"),
        ([MISTRAL, DEEPSEEK], "deepseek"),
        ([LLAMA3, GSM8K], "llama3"),
        ([LLAMA3, DEEPSEEK], "llama3-and-deepseek"),
        ([MISTRAL, UNKNOWN], None),
        ([], None),
    ],
)
def test_licences_are_inherited(sources: list[Source], licence: str | None) -> None:
    found = inherited_licence(sources)
    assert (found and (found.name or found.id)) == licence


def test_the_embedded_models_are_apache_and_show_no_path() -> None:
    found = source(str(MODEL_DIR), "base model")
    assert found.name == "dart-math-suite/embedded-model"
    assert found.licence is not None and found.licence.id == "apache-2.0"


def test_a_local_folder_states_its_licence_in_its_own_card(tmp_path: Path) -> None:
    card = dataset_card("d", sources=[DEEPSEEK, GSM8K], n_rows=10, columns={}, settings={})
    (tmp_path / "README.md").write_text(card)
    found = source(str(tmp_path), "training data")
    assert found.name == tmp_path.name
    assert found.licence == DEEPSEEK.licence


def test_model_card_metadata_is_what_the_hub_reads() -> None:
    from huggingface_hub import ModelCard

    text = model_card("my-model", base=MISTRAL, data=[DEEPSEEK], recipe={"epochs": "3"}, results=[RESULT])
    data = ModelCard(text).data
    assert (data.license, data.license_name, data.base_model) == ("other", "deepseek", "mistralai/Mistral-7B-v0.1")
    (result,) = data.eval_results
    assert (result.dataset_type, result.metric_value, result.metric_name) == (
        "EleutherAI/hendrycks_math",
        45.5,
        "Pass@1 (0-shot CoT)",
    )
    assert "DeepSeek's use restrictions" in text
    check_licence(text, "someone/my-model")


def test_dataset_card_metadata_is_what_the_hub_reads() -> None:
    from huggingface_hub import DatasetCard

    text = dataset_card("d", sources=[GSM8K], n_rows=2000, columns={"query": "q"}, settings={"strategy": "uniform"})
    data = DatasetCard(text).data
    assert (data.license, data.size_categories) == ("mit", ["1K<n<10K"])


def test_pushing_without_a_licence_is_refused() -> None:
    text = model_card("m", base=UNKNOWN, data=[], recipe={})
    with pytest.raises(CardError, match="refusing to push without a licence"):
        check_licence(text)
    check_licence(model_card("m", base=UNKNOWN, data=[], recipe={}, licence="apache-2.0"))


def test_an_inherited_licence_cannot_be_dropped() -> None:
    with pytest.raises(CardError, match="would drop the deepseek terms"):
        model_card("m", base=MISTRAL, data=[DEEPSEEK], recipe={}, licence="mit")


def test_an_unknown_source_does_not_free_the_others() -> None:
    restrictive = source("base", "base model", "cc-by-sa-4.0")
    with pytest.raises(CardError, match="would drop the cc-by-sa"):
        model_card("m", base=restrictive, data=[UNKNOWN], recipe={}, licence="mit")
    check_licence(model_card("m", base=restrictive, data=[UNKNOWN], recipe={}, licence="cc-by-sa-4.0"))


@pytest.mark.parametrize(("name", "allowed"), [("me/Llama-3-math", True), ("me/math-8b", False)])
def test_llamas_naming_rule(name: str, allowed: bool) -> None:
    text = model_card(name, base=LLAMA3, data=[DEEPSEEK], recipe={})
    if allowed:
        check_licence(text, name)
    else:
        with pytest.raises(CardError, match="wants the name to begin with 'Llama-3'"):
            check_licence(text, name)


def test_text_is_inert() -> None:
    nasty = "<script>alert(1)</script> | `x` [red](http://a) \n# head"
    text = markdown_text(nasty)
    assert "<script>" not in text and "\n" not in text and "\\|" in text and "\\[red\\]" in text
    card = model_card(nasty, base=Source(nasty, "base model", None), data=[], recipe={nasty: nasty})
    assert "<script>" not in card.split("---\n", 2)[2]
