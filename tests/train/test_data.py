"""From rows to tokens: prompts as inference sees them, EOS a target, every training set used, nothing cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from dart_tasks.prompts import get_template
from train.arguments import training_set
from train.collate import collate_samples
from train.data import TrainingSet, encode
from train.errors import UsageError, UserError
from train.preflight import check_data, check_tokenizer

BOS, EOS = 0, 1


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, build_tokenizer: Callable[..., Any]) -> Any:
    return build_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def rows(folder: Path, *pairs: tuple[str, str], columns: tuple[str, str] = ("query", "response")) -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(dict(zip(columns, pair, strict=True))) + "\n" for pair in pairs)
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    return folder


def encoded_rows(folder: Path, tokenizer: Any, *pairs: tuple[str, str]) -> Any:
    return encode([TrainingSet(str(rows(folder, *pairs)))], tokenizer, folder.parent / "cache")


def test_a_sample_is_bos_prompt_response_eos(tmp_path: Path, tokenizer: Any) -> None:
    encoded = encoded_rows(tmp_path / "d", tokenizer, ("1+1?", "It is 2."))
    ids, is_target = encoded.sample(0)
    prompt_length = int(is_target.argmax())
    prompt = get_template("alpaca").render("1+1?")
    assert ids[:prompt_length].tolist() == tokenizer(prompt)["input_ids"]
    assert ids.tolist().count(BOS) == 1 and ids[0] == BOS
    assert ids[-1] == EOS
    assert tokenizer.decode(ids[prompt_length:].tolist()) == "It is 2.</s>"


def test_data_sets_of_one_folder_name_and_card_are_not_mistaken_for_each_other(tmp_path: Path, tokenizer: Any) -> None:
    """``datasets`` caches by folder name and card, and answered with another run's rows."""

    def dataset(run: str, answer: str) -> Any:
        folder = tmp_path / run / "dataset"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: train.jsonl\n---\n")
        rows(folder, ("1+1?", answer))
        encoded = encode([TrainingSet(str(folder))], tokenizer, tmp_path / "cache")
        return tokenizer.decode(encoded.tokens[encoded.is_target].tolist())

    assert [dataset("a", "2"), dataset("b", "two"), dataset("a", "2.0")] == ["2</s>", "two</s>", "2.0</s>"]


def test_the_response_and_eos_are_the_targets_also_where_pad_is_eos(
    tmp_path: Path, build_tokenizer: Callable[..., Any]
) -> None:
    tokenizer = build_tokenizer(tmp_path / "t", pad_is_eos=True)
    encoded = encoded_rows(tmp_path / "d", tokenizer, ("1+1?", "2"), ("2+2?", "4"))
    batch = collate_samples(encoded, np.array([0, 1]))
    targets = batch["labels"][batch["labels"] != -100].tolist()
    assert tokenizer.decode(targets) == "2</s>4</s>"


def test_a_row_restarts_positions_and_masks_every_first_label(tmp_path: Path, tokenizer: Any) -> None:
    encoded = encoded_rows(tmp_path / "d", tokenizer, ("a", "b"), ("c", "de"))
    batch = collate_samples(encoded, np.array([1, 0]))
    first = int(encoded.lengths[1])
    assert "attention_mask" not in batch
    assert batch["segment_lengths"] == (first, int(encoded.lengths[0]))
    assert batch["target_positions"].tolist() == (batch["labels"][0, 1:] != -100).nonzero()[:, 0].tolist()
    assert (batch["position_ids"] == 0).nonzero()[:, 1].tolist() == [0, first]
    assert batch["labels"][0, [0, first]].tolist() == [-100, -100]


def test_an_empty_pack_has_no_targets(tmp_path: Path, tokenizer: Any) -> None:
    encoded = encoded_rows(tmp_path / "d", tokenizer, ("a", "b"))
    batch = collate_samples(encoded, np.array([], dtype=np.int64))
    assert (batch["labels"] == -100).all()


def test_every_training_set_is_used_with_its_own_columns_and_template(tmp_path: Path, tokenizer: Any) -> None:
    one = rows(tmp_path / "one", ("q1", "r1"), ("q2", "r2"))
    two = rows(tmp_path / "two", ("q3", "r3"), columns=("problem", "solution"))
    sets = [training_set(str(one)), training_set(f"{two},query=problem,response=solution,template=plain")]
    encoded = encode(sets, tokenizer, tmp_path / "cache")
    assert len(encoded) == 3
    assert [encoded.name(i) for i in range(3)] == [f"{one}:0", f"{one}:1", f"{two}:0"]
    last, _ = encoded.sample(2)
    assert tokenizer.decode(last.tolist()) == "<s>Question: q3\nAnswer:r3</s>"


def test_the_cache_is_by_content_and_mapped(tmp_path: Path, tokenizer: Any) -> None:
    cache = tmp_path / "cache"
    first = encode([TrainingSet(str(rows(tmp_path / "a", ("q", "r"))))], tokenizer, cache)
    again = encode([TrainingSet(str(rows(tmp_path / "b", ("q", "r"))))], tokenizer, cache)
    assert isinstance(first.tokens, np.memmap)
    assert first.key == again.key and len(list((cache / "samples").iterdir())) == 1
    other_text = encode([TrainingSet(str(rows(tmp_path / "c", ("q", "s"))))], tokenizer, cache)
    other_template = encode([TrainingSet(str(tmp_path / "a"), template="plain")], tokenizer, cache)
    assert len({first.key, other_text.key, other_template.key}) == 3


def test_over_long_samples_are_refused_with_counts_or_dropped_never_cut(tmp_path: Path, tokenizer: Any) -> None:
    encoded = encoded_rows(tmp_path / "d", tokenizer, ("q", "short"), ("q", "x" * 500))
    with pytest.raises(UserError, match=r"1 of 2 samples exceed 300 tokens .*--max-length-policy drop"):
        check_data(encoded, 300, "error")
    report = check_data(encoded, 300, "drop")
    assert report.kept.tolist() == [0] and report.over_long == 1


def test_samples_without_targets_or_with_spelt_out_specials_are_left_out_and_counted(
    tmp_path: Path, tokenizer: Any
) -> None:
    pairs = [("q", "fine"), ("q", ""), ("q", "ends</s>early"), ("says <s>", "r")]
    report = check_data(encoded_rows(tmp_path / "d", tokenizer, *pairs), 1000, "error")
    assert (report.kept.tolist(), report.empty, report.special) == ([0], 1, 2)


def test_a_tokenizer_without_eos_or_of_another_model_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="wrong tokenizer"):
        check_tokenizer(tokenizer, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [("d,question=q", "'question=q' is not one of"), ("d,template=nope", "unknown prompt template 'nope'")],
)
def test_bad_data_flags(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        training_set(text)


def test_a_comma_in_a_path_is_no_separator(tmp_path: Path, tokenizer: Any) -> None:
    odd = rows(tmp_path / "a,b=c,d", ("q1", "r1"), columns=("problem", "solution"))
    named = training_set(f"{odd},query=problem,response=solution")
    assert named == TrainingSet(str(odd), "problem", "solution") and training_set(str(odd)).source == str(odd)
    assert len(encode([named], tokenizer, tmp_path / "cache")) == 1
    assert training_set("not,here").source == "not,here"


def test_missing_columns_and_folders_are_one_line(tmp_path: Path, tokenizer: Any) -> None:
    wrong = TrainingSet(str(rows(tmp_path / "d", ("q", "r"))), query="problem")
    with pytest.raises(UserError, match=r"has no column 'problem' \(it has query, response\)"):
        encode([wrong], tokenizer, tmp_path / "cache")
    with pytest.raises(UserError, match="cannot load --data"):
        encode([TrainingSet(str(tmp_path / "nowhere.jsonl"))], tokenizer, tmp_path / "cache")


def test_a_sample_beyond_the_models_positions_is_too_long(tmp_path: Path, tokenizer: Any) -> None:
    encoded = encoded_rows(tmp_path / "d", tokenizer, ("q", "short"), ("q", "x" * 500))
    with pytest.raises(UserError, match=r"exceed 300 tokens \(all the positions that the model has\)"):
        check_data(encoded, 4096, "error", positions=300)
    assert check_data(encoded, 4096, "drop", positions=300).over_long == 1


def test_where_none_can_train_the_reasons_are_counted(tmp_path: Path, tokenizer: Any) -> None:
    encoded = encoded_rows(tmp_path / "d", tokenizer, ("q", ""), ("q", "x</s>y"))
    with pytest.raises(UserError, match="1 with an empty response, 1 that spell a special token"):
        check_data(encoded, 1000, "error")


@pytest.mark.parametrize("saved", [False, True], ids=["file", "save_to_disk"])
def test_the_split_asked_for_is_the_one_that_trains(saved: bool, tmp_path: Path, tokenizer: Any) -> None:
    """It was ignored for a file, and for a table that ``save_to_disk`` wrote."""
    path = rows(tmp_path / "d", *[(f"q{i}", "r") for i in range(10)]) / "train.jsonl"
    if saved:
        datasets.Dataset.from_json(str(path), cache_dir=str(tmp_path / "hf")).save_to_disk(tmp_path / "saved")
        path = tmp_path / "saved"
    else:
        assert len(encode([TrainingSet(str(path), split="train[:3]")], tokenizer, tmp_path / "cache")) == 3
    with pytest.raises(UserError, match=r"cannot load --data .* \(split test\)"):
        encode([TrainingSet(str(path), split="test")], tokenizer, tmp_path / "cache")


def test_splits_that_save_to_disk_wrote(tmp_path: Path, tokenizer: Any) -> None:
    path = rows(tmp_path / "d", ("q1", "r1"), ("q2", "r2")) / "train.jsonl"
    table = datasets.Dataset.from_json(str(path), cache_dir=str(tmp_path / "hf"))
    datasets.DatasetDict({"train": table, "few": table.select([1])}).save_to_disk(tmp_path / "saved")
    encoded = encode([TrainingSet(str(tmp_path / "saved"), split="few")], tokenizer, tmp_path / "cache")
    assert tokenizer.decode(encoded.sample(0)[0].tolist()).endswith("r2</s>") and len(encoded) == 1


def test_a_row_without_a_query_is_named_not_trained_on_nothing(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "train.jsonl").write_text('{"query": null, "response": "2"}\n{"query": "1+1?", "response": "2"}\n')
    with pytest.raises(UserError, match="1 row without 'query'"):
        encode([TrainingSet(str(tmp_path / "train.jsonl"))], tokenizer, tmp_path / "cache")


@pytest.mark.parametrize("query", ["", " \\n"])
def test_a_blank_query_is_none(query: str, tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "d.jsonl").write_text(f'{{"query": "{query}", "response": "2"}}\n')
    with pytest.raises(UserError, match="1 row without 'query'"):
        encode([TrainingSet(str(tmp_path / "d.jsonl"))], tokenizer, tmp_path / "cache")


def test_texts_of_a_csv_file_are_texts(tmp_path: Path, tokenizer: Any) -> None:
    """``None``, ``NA`` and ``null`` were taken for absent."""
    said = ["None", "NA", "null", "nan", "a, b"]
    (tmp_path / "d.csv").write_text("query,response\n" + "".join(f'NA,"{text}"\n' for text in [*said, ""]))
    made = encode([TrainingSet(str(tmp_path / "d.csv"), template="plain")], tokenizer, tmp_path / "cache")
    report = check_data(made, 1000, "error")
    assert (report.kept.tolist(), report.empty) == ([0, 1, 2, 3, 4], 1)
    texts = [tokenizer.decode(made.sample(index)[0].tolist()) for index in report.kept]
    assert all(text.endswith(f"{answer}</s>") and "NA" in text for text, answer in zip(texts, said, strict=True))


def test_a_column_that_is_not_text_is_named(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "train.jsonl").write_text('{"query": "1+1?", "response": 2}\n')
    with pytest.raises(UserError, match="column 'response' holds"):
        encode([TrainingSet(str(tmp_path / "train.jsonl"))], tokenizer, tmp_path / "cache")
