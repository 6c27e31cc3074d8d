"""Conversations: prompts as in inference, targets that are what the assistant generates, and refusals that say why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from train.arguments import training_set
from train.chat import OWN
from train.data import TrainingSet, encode
from train.errors import UsageError, UserError
from train.heldout import draw
from train.preflight import check_data

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about how it was built

HEAD = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
TAIL = "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
PLAIN = f"{HEAD}{{{{ m['content'] + '<|im_end|>\n' }}}}{TAIL}"


def marked(assistant: str) -> str:
    """A template with ``assistant`` for the assistant's turns, in which they mark what is generated."""
    turn = (
        f"{{% if m['role'] == 'assistant' %}}{assistant}{{% else %}}{{{{ m['content'] + '<|im_end|>' }}}}{{% endif %}}"
    )
    return f"{HEAD}{turn}{{{{ '\n' }}}}{TAIL}"


MARKED = marked("{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}")
MARKED_WITH_HEADER = (  # as SmolLM3's
    "{% for m in messages %}{% set text = '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' %}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ text }}{% endgeneration %}{% else %}{{ text }}{% endif %}"
    + TAIL
)
KEEPS_THOUGHTS = (
    f"{HEAD}{{% if m.reasoning_content %}}{{{{ '<think>' + m.reasoning_content + '</think>' }}}}{{% endif %}}"
    f"{{{{ m['content'] + '<|im_end|>\n' }}}}{TAIL}"
)
DROPS_THOUGHTS = KEEPS_THOUGHTS.replace("m.reasoning_content %}", "m.reasoning_content and loop.last %}")  # as Qwen3's
NO_END = f"{HEAD}{{{{ m['content'] + '\n' }}}}{TAIL}"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN
DROPS_SYSTEM = PLAIN.replace("in messages %}", "in messages if m['role'] != 'system' %}")
ENDS_CHAT = PLAIN.replace("{% endif %}", "{% else %}{{ eos_token }}{% endif %}")  # as Phi-3's

NO_MASK = "{% generation %} mask leaves out a part of an assistant turn"

SINGLE = [("user", "1+1?"), ("assistant", "It is 2.")]
SYSTEM = [("system", "Be brief."), *SINGLE]
MULTI = [*SYSTEM, ("user", "\n2+2?"), ("assistant", "\n4 < 5, é")]


def chat(*turns: tuple[str, ...]) -> list[dict[str, str]]:
    """Messages of (role, content[, thoughts])."""
    return [dict(zip(("role", "content", "reasoning_content"), turn, strict=False)) for turn in turns]


SINGLE_CHAT: Any = chat(*SINGLE)


def write(path: Path, *conversations: Any) -> Path:
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in conversations), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, build_tokenizer: Callable[..., Any]) -> Any:
    made = build_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.chat_template = PLAIN
    return made


@pytest.fixture
def encoded(tmp_path: Path, tokenizer: Any) -> Callable[..., Any]:
    """Encodes conversations with a template: the tokenizer's own, a name, or Jinja text."""

    def make(template: str, *conversations: Any, **options: Any) -> Any:
        if "{" in template:
            (tmp_path / "template.jinja").write_text(template)
            template = str(tmp_path / "template.jinja")
        data = write(tmp_path / "chats.jsonl", *conversations)
        return encode([TrainingSet(str(data), chat_template=template, **options)], tokenizer, tmp_path / "cache")

    return make


def turns_of(sample: tuple[Any, Any], tokenizer: Any) -> list[tuple[list[int], str]]:
    """Of each run of targets: the tokens before it, and its text."""
    ids, is_target = sample
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_target, [False]]).astype(int))).reshape(-1, 2)
    return [(ids[:start].tolist(), tokenizer.decode(ids[start:end].tolist())) for start, end in edges]


def expected(messages: list[dict[str, str]], template: str, end: str, tokenizer: Any) -> list[tuple[list[int], str]]:
    """The same by transformers: the prompts of inference, and the contents with what ends them."""
    prompts = [messages[:i] for i, message in enumerate(messages) if message["role"] == "assistant"]
    options = {"chat_template": template, "add_generation_prompt": True}
    ids = [tokenizer.apply_chat_template(prompt, **options)["input_ids"] for prompt in prompts]
    return [(i, messages[len(prompt)]["content"] + end) for i, prompt in zip(ids, prompts, strict=True)]


TEMPLATES = {
    "plain": PLAIN,
    "marked": MARKED,
    "header marked": MARKED_WITH_HEADER,
    "ends the chat": ENDS_CHAT,
    "drops thoughts": DROPS_THOUGHTS,
}


@pytest.mark.parametrize("turns", [SINGLE, SYSTEM, MULTI], ids=["single", "system", "multi"])
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_prompts_are_those_of_inference_and_targets_are_the_assistants(
    template: str, turns: Any, encoded: Callable[..., Any], tokenizer: Any
) -> None:
    found = turns_of(encoded(template, chat(*turns)).sample(0), tokenizer)
    assert found == expected(chat(*turns), template, "<|im_end|>", tokenizer)


@pytest.mark.parametrize(
    ("name", "end"), [("own", "<|im_end|>"), ("chatml", "<|im_end|>"), ("alpaca", "</s>"), ("plain", "</s>")]
)
def test_named_templates(name: str, end: str, encoded: Callable[..., Any], tokenizer: Any) -> None:
    made = encoded(name, chat(*MULTI))
    (template,) = made.chat_templates
    assert turns_of(made.sample(0), tokenizer) == expected(chat(*MULTI), template, end, tokenizer)
    assert made.end_tokens(np.array([0])) == [tokenizer.convert_tokens_to_ids(end)]
    assert f"{name} chat template" in made.forms[0]


TEXTS = st.text(st.sampled_from("ab \n<|im_start>é{%}"), min_size=1, max_size=8).filter(
    lambda text: text.strip() and "<s>" not in text  # a special token, which leaves the sample out
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3), split=st.booleans())
def test_whatever_is_said(
    pairs: list[tuple[str, str]], split: bool, encoded: Callable[..., Any], tokenizer: Any
) -> None:
    messages = chat(*(turn for asked, said in pairs for turn in (("user", asked), ("assistant", said))))
    made = encoded(PLAIN, messages, split_turns=split)
    found = [turn for index in range(len(made)) for turn in turns_of(made.sample(index), tokenizer)]
    assert found == expected(messages, PLAIN, "<|im_end|>", tokenizer)
    assert made.rows.tolist() == [0] * (len(pairs) if split else 1)


THINKING = [("user", "1+1?"), ("assistant", "2", "one and\none"), ("user", "2+2?"), ("assistant", "4", "two")]


@pytest.mark.parametrize("in_content", [True, False])
@pytest.mark.parametrize(
    ("template", "first"),
    [
        (KEEPS_THOUGHTS, "<think>one and\none</think>2<|im_end|>"),
        (PLAIN, "<think>\none and\none\n</think>\n\n2<|im_end|>"),
    ],
    ids=["template renders them", "in the content"],
)
def test_thoughts_train_wherever_they_are(
    template: str, first: str, in_content: bool, encoded: Callable[..., Any], tokenizer: Any
) -> None:
    turns = THINKING
    if in_content:
        turns = [
            (role, f"<think>\n{thought[0]}\n</think>\n\n{text}" if thought else text) for role, text, *thought in turns
        ]
    (_, found), (later, _) = turns_of(encoded(template, chat(*turns)).sample(0), tokenizer)
    assert found == first and first in tokenizer.decode(later)


def test_a_template_that_drops_earlier_thoughts_is_refused_or_split(
    encoded: Callable[..., Any], tokenizer: Any
) -> None:
    with pytest.raises(UserError, match=r"1 of 2 conversations cannot train: .*pass --split-turns .* \(row 1\)"):
        encoded(DROPS_THOUGHTS, chat(*SINGLE), chat(*THINKING))
    made = encoded(DROPS_THOUGHTS, chat(*SINGLE), chat(*THINKING), split_turns=True)
    assert (len(made), made.rows.tolist(), made.first_of_row.tolist()) == (3, [0, 1, 1], [0, 1, 1])
    turns = [turns_of(made.sample(index), tokenizer)[0] for index in (1, 2)]
    assert [text for _, text in turns] == ["<think>one and\none</think>2<|im_end|>", "<think>two</think>4<|im_end|>"]
    prompts = [
        tokenizer.apply_chat_template(chat(*THINKING)[:n], chat_template=DROPS_THOUGHTS, add_generation_prompt=True)[
            "input_ids"
        ]
        for n in (1, 3)
    ]
    assert [ids for ids, _ in turns] == prompts
    assert "one and" not in tokenizer.decode(prompts[1])


def test_a_conversation_is_held_out_with_all_its_turns(encoded: Callable[..., Any]) -> None:
    chats = [chat(("user", f"{i}?"), ("assistant", "a"), ("user", "more?"), ("assistant", "b")) for i in range(30)]
    made = encoded(PLAIN, *chats, split_turns=True)
    chosen = draw(made, np.arange(60), 0.3, 0).reshape(-1, 2)
    assert 0 < chosen[:, 0].sum() < 30 and (chosen[:, 0] == chosen[:, 1]).all()


@pytest.mark.parametrize(
    ("template", "messages", "reason"),
    [
        (NO_SYSTEM, chat(*SYSTEM), "refuses it: no system, but not without its system message: put that text before"),
        (NO_SYSTEM + "{{ 1 // 0 }}", chat(*SYSTEM), r"the chat template refuses it: no system(?!,)"),
        (
            PLAIN,
            [SINGLE_CHAT[0], {**SINGLE_CHAT[1], "weight": 0}],
            "no assistant turn that trains: each has the weight",
        ),
        (
            PLAIN,
            [SINGLE_CHAT[0], {**SINGLE_CHAT[1], "weight": 0.5}],
            "has the weight 0.5: only 0 and 1, false and true",
        ),
        (
            PLAIN,
            [{**SINGLE_CHAT[0], "train": True}, SINGLE_CHAT[1]],
            r"a message of the user is to train \(train True\)",
        ),
        (PLAIN, [SINGLE_CHAT[0], {**SINGLE_CHAT[1], "train_detail": [{"begin_offset": 0}]}], "only whole messages can"),
        (DROPS_SYSTEM, chat(*SYSTEM), "drops the text of the system's message"),
        (NO_END, chat(*SINGLE), "does not end an assistant turn with a special token"),
        (PLAIN.replace("m['content']", "m['content'][:4]"), chat(*SINGLE), "drops text of an assistant turn"),
        (
            PLAIN.replace("assistant\n", "assistant:\n"),
            chat(*SINGLE),
            "not render an assistant turn after its generation",
        ),
        (marked("{% generation %}{{ m['content'] }}{% endgeneration %}<|im_end|>"), chat(*SINGLE), NO_MASK),
        (marked("It{% generation %} is 2.<|im_end|>{% endgeneration %}"), chat(*SINGLE), NO_MASK),
        (f"{{% generation %}}{PLAIN}{{% endgeneration %}}", chat(*SINGLE), r"mask marks more than assistant turns"),
        (PLAIN, chat(("user", "?")), "no assistant turn"),
        (PLAIN, chat(("assistant", "!")), "begins with the assistant"),
        (PLAIN, [], "no assistant turn"),
        (PLAIN, chat(*SINGLE, ("tool", "4"), ("assistant", "4")), "uses tools, which are not supported"),
        (PLAIN, [*chat(*SINGLE[:1]), {"role": "assistant", "content": "", "tool_calls": [{"id": "f"}]}], "uses tools"),
        (PLAIN, chat(("critic", "?"), *SINGLE), "the role 'critic': only system, user and assistant"),
        (PLAIN, chat(("user", [{"type": "image", "text": ""}]), *SINGLE[1:]), "parts of kind image: only text"),  # type: ignore[arg-type]
        (PLAIN, chat(("user", [{"type": "text"}]), *SINGLE[1:]), "a part of a message has no text"),  # type: ignore[arg-type]
        (PLAIN + "{{ 1 // 0 }}", chat(*SINGLE), "the chat template refuses it: integer division"),
        (PLAIN + "{{ range(10 ** 9) }}", chat(*SINGLE), "the chat template refuses it: Range too big"),
        (PLAIN, ["hello"], "a message is str, not an object"),
        (PLAIN, json.dumps(chat(("user", "\ud83d"), *SINGLE[1:])), "a text has one half of a surrogate pair"),
    ],
)
def test_what_cannot_train_is_refused_in_words(
    template: str, messages: Any, reason: str, encoded: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=rf"1 of 1 conversations cannot train: .*{reason}.*\(row 0\)"):
        encoded(template, messages)


def test_a_text_that_is_json_stays_a_text_beside_contents_in_parts(encoded: Callable[..., Any], tokenizer: Any) -> None:
    """``2`` was refused as a number, ``[1, 2]`` trained as 12, ``null`` was an empty turn."""
    answers = ["2", "[1, 2]", "null", '{"a": 1}', '"quoted"', '""', "plain"]
    parts: Any = [{"type": "text", "text": "1+"}, {"type": "text", "text": "1?"}]
    for first in (parts, "1+1?"):
        data = encoded(
            PLAIN,
            chat(("user", first), ("assistant", "0")),
            *(chat(("user", parts), ("assistant", a)) for a in answers),
        )
        ((_, said),) = turns_of(data.sample(0), tokenizer)
        found = [turns_of(data.sample(index + 1), tokenizer) for index in range(len(answers))]
        assert said == "0<|im_end|>"
        assert [[text for _, text in turns] for turns in found] == [[f"{answer}<|im_end|>"] for answer in answers]
        assert "1+1?" in tokenizer.decode(data.sample(0)[0])


@pytest.mark.parametrize(("key", "off"), [("weight", 0), ("weight", 0.0), ("train", False), ("training", 0)])
@pytest.mark.parametrize("template", [PLAIN, MARKED])
def test_an_assistant_message_of_weight_0_is_read_but_no_target(
    template: str, key: str, off: Any, encoded: Callable[..., Any], tokenizer: Any
) -> None:
    """The key was ignored, and what was not to train did."""
    messages: Any = chat(*SINGLE, ("user", "2+2?"), ("assistant", "4."), ("user", "3+3?"), ("assistant", "7."))
    (wanted,) = expected(messages[:4], template, "<|im_end|>", tokenizer)[1:]
    messages[1][key] = messages[5][key] = off
    messages[3][key] = type(off)(1)
    for split in (False, True):
        made = encoded(template, chat(*SINGLE), messages, split_turns=split)
        assert len(made) == 2 and turns_of(made.sample(1), tokenizer) == [wanted]


def test_thoughts_that_the_template_drops_need_no_split_where_they_do_not_train(
    encoded: Callable[..., Any], tokenizer: Any
) -> None:
    messages: Any = chat(*THINKING)
    messages[1]["weight"] = 0
    ((prompt, said),) = turns_of(encoded(DROPS_THOUGHTS, messages).sample(0), tokenizer)
    assert said == "<think>two</think>4<|im_end|>" and "one and" not in tokenizer.decode(prompt)
    dropped = DROPS_THOUGHTS.replace("m['content']", "(m['content'] if m['role'] == 'user' or loop.last else '')")
    messages[1]["content"] = "Two."
    with pytest.raises(UserError, match="drops the text of the assistant's message"):
        encoded(dropped, messages)


def test_a_template_that_is_not_utf_8_is_named(encoded: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "latin.jinja").write_bytes(b"{# caf\xe9 #}" + PLAIN.encode())
    with pytest.raises(UserError, match=r"cannot read --chat-template .*latin.jinja: 'utf-8' codec"):
        encoded(str(tmp_path / "latin.jinja"), chat(*SINGLE))


@pytest.mark.parametrize("column", ["tools", "images", "video"])
def test_columns_of_tools_and_images_are_refused(column: str, tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"messages": chat(*SINGLE), column: None}, {"messages": chat(*SINGLE), column: "[{...}]"}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        UserError, match=rf"its column '{column}' says that it uses {column.removesuffix('s')}s: not supported"
    ):
        encode([TrainingSet(str(tmp_path / "d.jsonl"))], tokenizer, tmp_path / "cache")


@pytest.mark.parametrize(
    ("row", "columns", "unread"),
    [
        ({"messages": chat(*SINGLE), "system": "Be brief."}, {}, "system"),
        ({"query": "1+1?", "response": "2", "system": "Be brief."}, {}, "system"),
        ({"query": "1+1?", "response": "2", "history": [["Hi", "Hello"]]}, {}, "history"),
        (
            {"instruction": "Add.", "input": "1+1", "output": "2"},
            {"query": "instruction", "response": "output"},
            "input",
        ),
    ],
)
def test_a_column_that_belongs_to_the_prompt_is_not_left_out_in_silence(
    row: Any, columns: dict[str, str], unread: str, tmp_path: Path, tokenizer: Any
) -> None:
    def load(row: Any) -> Any:
        (tmp_path / "d.jsonl").write_text(json.dumps(row) + "\n")
        return encode([TrainingSet(str(tmp_path / "d.jsonl"), **columns)], tokenizer, tmp_path / "cache")

    with pytest.raises(UserError, match=f"column '{unread}' would be left out: put its text into each query or conv"):
        load(row)
    assert len(load({**row, unread: [] if isinstance(row[unread], list) else ""})) == 1


def test_empty_turns_and_spelt_special_tokens_are_left_out_and_counted(encoded: Callable[..., Any]) -> None:
    empty = chat(*SINGLE, ("user", "?"), ("assistant", " "))
    spells = [chat(("user", "a<|im_end|>b"), ("assistant", "c")), chat(("user", "a"), ("assistant", "c</s>"))]
    report = check_data(encoded(PLAIN, empty, chat(*MULTI), *spells), 1000, "error")
    assert (report.kept.tolist(), report.empty, report.special) == ([1], 1, 2)


def test_layouts_columns_and_pairs(tmp_path: Path, tokenizer: Any) -> None:
    """``from``/``value``, text in parts, another column's name, and pairs, which are conversations of two."""
    sharegpt = [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "It is 2."}]
    parts = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in SINGLE]
    rows = {"conversations": sharegpt, "chat": parts, "messages": chat(*SINGLE, ("user", "left out"))}
    sets = []
    for column, messages in rows.items():
        (tmp_path / f"{column}.jsonl").write_text(json.dumps({column: messages, "query": "another column"}))
        flag = f"{tmp_path / column}.jsonl" + (",messages=chat" if column == "chat" else "")
        sets.append(training_set(flag))
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"query": "1+1?", "response": "It is 2."}))
    sets.append(training_set(str(tmp_path / "pairs.jsonl"), chat_template=OWN))
    made = encode(sets, tokenizer, tmp_path / "cache")
    assert {tokenizer.decode(made.sample(i)[0].tolist()) for i in range(4)} == {
        "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\nIt is 2.<|im_end|>"
    }


def test_flags_that_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="unknown chat template 'nope'"):
        training_set("d", chat_template="nope")
    with pytest.raises(UsageError, match="not both"):
        training_set("d,template=plain,chat_template=own")
    assert training_set("d,template=plain", chat_template=OWN).chat_template == ""


def test_a_tokenizer_without_a_template_asks_for_one(tmp_path: Path, build_tokenizer: Callable[..., Any]) -> None:
    data = write(tmp_path / "d.jsonl", chat(*SINGLE))
    with pytest.raises(UserError, match=r"no chat template of its own: name one with --chat-template \(alpaca, "):
        encode([TrainingSet(str(data))], build_tokenizer(tmp_path / "t"), tmp_path / "cache")


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory, build_model: Callable[..., Path], tokenizer: Any) -> Path:
    folder = build_model(tmp_path_factory.mktemp("chat-model"), vocab_size=len(tokenizer))
    (folder / "tokenizer.json").unlink()
    own = tokenizer.chat_template
    tokenizer.chat_template = MARKED
    tokenizer.save_pretrained(folder)
    tokenizer.chat_template = own
    return folder


def conversations(path: Path, n: int) -> Path:
    first = [("system", "Add."), ("user", "1+1?"), ("assistant", "2")]
    return write(path, *(chat(*first, ("user", f"And {i}+{i}?"), ("assistant", f"That is {2 * i}.")) for i in range(n)))


def test_a_run_on_conversations(sft: Any, tmp_path: Path, chat_model: Path) -> None:
    """The loss is that over the tokens which transformers says the assistant generated; the export talks as trained."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    data = conversations(tmp_path / "chats.jsonl", 40)
    held = ["--eval-data", str(data), "--max-length", "512", "--export-dtype", "float32", "--num_train_epochs", "2"]
    assert sft("out", *held, model=chat_model, data=data) == (0, "")
    assert "example (response and EOS: targets)\n2<|im_end|>\n\nexample (next prompt: no loss)" in sft.out
    assert f"{data} (conversations, own chat template)" in sft.out

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == MARKED
    ends = json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float64)
    total = count = 0.0
    for line in data.read_text().splitlines():
        made = tokenizer.apply_chat_template(json.loads(line)["messages"], return_assistant_tokens_mask=True)
        labels = torch.tensor(made["input_ids"]).where(torch.tensor(made["assistant_masks"]).bool(), -100)[None]
        with torch.no_grad():
            loss = model(input_ids=torch.tensor(made["input_ids"])[None], labels=labels).loss
        total, count = total + float(loss) * int((labels != -100).sum()), count + int((labels != -100).sum())
    last = float(re.findall(r"held-out loss (\d+\.\d+)", sft.out)[-1])
    assert abs(last - total / count) < 1e-4


def test_a_dry_run_shows_a_conversation_with_its_targets(sft: Any, tmp_path: Path, chat_model: Path) -> None:
    data = conversations(tmp_path / "chats.jsonl", 3)
    assert sft("out", "--dry-run", "--global-batch", "1", model=chat_model, data=data) == (0, "")
    assert "example (response and EOS: targets)\n2<|im_end|>" in sft.out
    data.write_text(data.read_text().replace('"content": "2"', '"content": "2", "weight": 0'))
    assert sft("out", "--dry-run", "--global-batch", "1", model=chat_model, data=data) == (0, "")
    assert "<|im_start|>assistant\n2<|im_end|>" in sft.out and "targets)\nThat is 0.<|im_end|>" in sft.out


def test_a_run_that_is_refused_says_so_in_one_line(sft: Any, tmp_path: Path, tiny_llama: Path) -> None:
    data = conversations(tmp_path / "chats.jsonl", 3)
    code, error = sft("out", "--chat-template", "chatml", data=data)
    assert code == 1 and error.startswith(
        f"train/sft.py: --data {data}: 3 of 3 conversations cannot train: the chat template"
    )
    assert len(error.splitlines()) == 1 and error.strip().endswith("(rows 0, 1, 2)")
    assert sft("out", "--chat-template", "own", "--prompt-template", "plain", data=data)[0] == 2
