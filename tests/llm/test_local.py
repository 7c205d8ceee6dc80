from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_llm import WORDS, weights_folder
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from lamar.errors import LamarError
from lamar.files import sha256_of
from lamar.llm import journal
from lamar.llm.cache import RoomyLayer
from lamar.llm.greedy import Greedy, common_prefix, planned
from lamar.llm.journal import Answer
from lamar.llm.local import LocalModel, cache_folder, encoded, identity
from lamar.llm.room import CPU_QUESTIONS, GPU_QUESTIONS, Room, room
from lamar.params import Adapter, LocalGenerator, entry, load
from lamar.signals.generate import known_answers, questions
from lamar.signals.prompt import Messages, load_prompt


def chat(text: str) -> Messages:
    return ({"role": "user", "content": text},)


def few_shot_questions(count: int, seed: int = 0) -> list[Messages]:
    """Questions with a long common beginning and endings of 1 to 25 words, in no order of length."""
    draw = random.Random(seed)
    beginning = "write what it is for . Input : Title two small drum Output : play music at home . Input :"
    return [chat(f"{beginning} {' '.join(draw.choices(WORDS, k=draw.randint(1, 25)))}") for _ in range(count)]


class Plain:
    """The same weights, asked in the plain way: transformers alone, one question at a time, nothing shared."""

    def __init__(self, llm: LocalGenerator) -> None:
        folder = weights_folder(cache_folder(), llm)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        self._max_tokens = llm.max_tokens

    def encode(self, messages: Messages) -> torch.Tensor:
        chat = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_tensors="pt")
        return chat["input_ids"]

    def answer(self, messages: Messages) -> tuple[str, int, int]:
        """The text, the tokens read and the tokens written."""
        ids = self.encode(messages)
        written = self.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=self._max_tokens, pad_token_id=0
        )[0, ids.shape[1] :]
        return self.tokenizer.decode(written, skip_special_tokens=True).strip(), ids.shape[1], len(written)

    def shortfall(self, read: list[int], written: list[int]) -> torch.Tensor:
        """How far each token written is below the best one, and the second best, in units of the largest logit.

        Shape (tokens written, 2).
        """
        with torch.inference_mode():
            logits = self.model(torch.tensor([read + written])).logits[0, len(read) - 1 : -1].float()
        best, second = logits.topk(2).values.T
        chosen = logits.gather(1, torch.tensor(written)[:, None])[:, 0]
        return torch.stack([best - chosen, best - second], dim=1) / logits.abs().max()


def ask_all(llm: LocalGenerator, asked: list[Messages], batch: int) -> list[Answer]:
    """The answers in the order of the questions."""
    model = LocalModel(llm, batch)
    by_key = {answer.key: answer for answers in model.ask(asked) for answer in answers}
    return [by_key[journal.key_of(identity(llm), messages)] for messages in asked]


def tokens_of(model: LocalModel, asked: list[Messages]) -> list[tuple[list[int], list[int]]]:
    """The tokens read and written for each question, in the order of the questions, all in one batch."""
    read = [encoded(messages, model._tokenizer) for messages in asked]
    (batch,) = model._greedy.written(read)
    return [(read[number], output) for number, output in sorted(batch)]


def test_batches_say_what_plain_generate_says(tiny_llm: LocalGenerator) -> None:
    """In float32 rounding decides nothing, so that padding, the shared prefix and leaving rows must not show."""
    asked = few_shot_questions(24)
    plain = Plain(tiny_llm)
    expected = [plain.answer(messages) for messages in asked]
    for batch in (1, 7, 24):
        answers = ask_all(tiny_llm, asked, batch)
        assert [(answer.text, answer.input_tokens, answer.output_tokens) for answer in answers] == expected
    texts, _, lengths = zip(*expected, strict=True)
    assert len(set(texts)) > 16, "the test says little when all answers are the same"
    assert len(set(lengths)) > 8, "nor when they all end at once"


@pytest.mark.parametrize("tiny_llm", ["bfloat16"], indirect=True)
def test_in_bfloat16_every_token_is_the_best_but_for_rounding(tiny_llm: LocalGenerator) -> None:
    """A bfloat16 has 8 significant bits: near ties may fall either way, and nothing else."""
    asked = few_shot_questions(24)
    plain = Plain(tiny_llm)
    assert plain.model.dtype == torch.bfloat16
    chosen, second = torch.cat([plain.shortfall(*each) for each in tokens_of(LocalModel(tiny_llm, 24), asked)]).T
    rounding = 2**-5
    assert chosen.max() < rounding
    assert second.median() > rounding, "the next best token must be further off than what rounding may do"


def test_an_answer_says_how_it_ended(tiny_llm: LocalGenerator) -> None:
    answers = ask_all(tiny_llm, few_shot_questions(24), 16)
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}
    for answer in answers:
        assert answer.model == "tiny-float32"
        assert answer.output_tokens == tiny_llm.max_tokens or answer.finish_reason == "stop"


def test_the_shortest_questions_come_first_in_full_batches(tiny_llm: LocalGenerator) -> None:
    batches = list(LocalModel(tiny_llm, 10).ask(few_shot_questions(24)))
    assert [len(batch) for batch in batches] == [10, 10, 4]
    lengths = [answer.input_tokens for batch in batches for answer in batch]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize(
    ("most", "batches"),
    [
        (Room(3), [[1, 3, 0], [4, 2]]),
        (Room(3, tokens=10), [[1, 3], [0], [4], [2]]),
        (Room(2, tokens=1000), [[1, 3], [0, 4], [2]]),
        (Room(9, tokens=1), [[1], [3], [0], [4], [2]]),
    ],
    ids=["questions alone", "tokens first", "questions first", "not even one fits"],
)
def test_a_batch_has_room_for_questions_and_for_tokens(most: Room, batches: list[list[int]]) -> None:
    """Beyond the prefix of two tokens the questions have 5, 1, 9, 2 and 7; an answer has 3."""
    asked = [[0, 0, *range(1, 1 + own)] for own in (5, 1, 9, 2, 7)]
    asked[1][2] = 9  # or all would begin with three tokens
    assert planned(asked, most, max_tokens=3) == ([0, 0], batches)


def test_how_many_are_asked_at_once_hangs_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (room(8), room("auto")) == (Room(8), Room(CPU_QUESTIONS))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80_000_000_000))
    assert (room(8), room("auto")) == (Room(8), Room(GPU_QUESTIONS, 400_000))


def test_a_batch_that_memory_does_not_hold_is_answered_in_halves(
    tiny_llm: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = few_shot_questions(24)
    expected = ask_all(tiny_llm, asked, batch=24)
    whole, tried = Greedy._answer, []

    def short_of_memory(self: Greedy, prefix: object, shared: int, suffixes: list[list[int]]) -> list[list[int]]:
        tried.append(len(suffixes))
        if len(suffixes) > 6:
            raise torch.OutOfMemoryError
        return whole(self, prefix, shared, suffixes)

    monkeypatch.setattr(Greedy, "_answer", short_of_memory)
    assert ask_all(tiny_llm, asked, batch=24) == expected
    assert tried == [24, 12, 6, 6, 12, 6, 6]


def test_a_question_that_memory_does_not_hold_is_an_error(
    tiny_llm: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> list[list[int]]:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Greedy, "_answer", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        ask_all(tiny_llm, few_shot_questions(3), batch=3)


@pytest.mark.parametrize(
    "texts",
    [["write"], ["cut the paper", "cut the paper"], ["cut", "cut the paper"], ["cut the paper", "draw", "a", "the"]],
    ids=["one", "the same twice", "one begins another", "nothing shared but the chat's own words"],
)
def test_few_questions(tiny_llm: LocalGenerator, texts: list[str]) -> None:
    plain = Plain(tiny_llm)
    answers = ask_all(tiny_llm, [chat(text) for text in texts], batch=4)
    assert [(a.text, a.input_tokens, a.output_tokens) for a in answers] == [plain.answer(chat(text)) for text in texts]


def test_the_caller_may_train_between_batches(tiny_llm: LocalGenerator) -> None:
    """A generator that yields inside torch.inference_mode() would take gradients away from whoever reads it."""
    for _ in LocalModel(tiny_llm, 2).ask([chat(word) for word in WORDS[:4]]):
        assert not torch.is_inference_mode_enabled()


def test_no_kernel_attends_that_plans_for_every_length(tiny_llm: LocalGenerator) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    LocalModel(tiny_llm, 2)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_no_questions(tiny_llm: LocalGenerator) -> None:
    assert list(LocalModel(tiny_llm, 4).ask([])) == []


@pytest.mark.parametrize(
    ("sequences", "shared"),
    [
        ([[1, 2, 3]], 2),
        ([[1, 2, 3], [1, 2, 3]], 2),
        ([[1, 2], [1, 2, 3]], 1),
        ([[1, 2, 3, 4], [1, 2, 9, 4], [1, 2, 3, 5]], 2),
        ([[1, 2], [3, 4]], 0),
        ([[1], [1, 2]], 0),
    ],
    ids=["one", "identical", "one begins another", "three", "nothing shared", "a single token"],
)
def test_common_prefix_leaves_a_token_to_be_read(sequences: list[list[int]], shared: int) -> None:
    assert common_prefix(sequences) == shared


def states(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(shape), torch.randn(shape)


def test_a_roomy_layer_holds_what_a_dynamic_cache_holds() -> None:
    torch.manual_seed(0)
    prefix = states(1, 2, 5, 4)
    roomy, dynamic = RoomyLayer(prefix, rows=3, room=6), DynamicCache()
    dynamic.update(*(tensor.expand(3, -1, -1, -1) for tensor in prefix), 0)
    for rows, tokens, kept in ((3, 4, [2, 0]), (2, 1, [1]), (1, 1, [0])):
        new = states(rows, 2, tokens, 4)
        mine, theirs = roomy.update(*new), dynamic.update(*new, 0)
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
        assert roomy.get_seq_length() == dynamic.get_seq_length()
        roomy.batch_select_indices(torch.tensor(kept))
        dynamic.batch_select_indices(torch.tensor(kept))
    assert torch.equal(roomy.keys, dynamic.layers[0].keys)
    assert torch.equal(roomy.values, dynamic.layers[0].values)


def test_a_roomy_layer_leaves_the_prefix_as_it_was() -> None:
    prefix = states(1, 2, 5, 4)
    before = [tensor.clone() for tensor in prefix]
    RoomyLayer(prefix, rows=1, room=2).update(*states(1, 2, 2, 4))
    assert all(torch.equal(a, b) for a, b in zip(prefix, before, strict=True))


def test_weights_that_cannot_be_had(tiny_llm: LocalGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMAR_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv("LAMAR_MIRROR", raising=False)
    with pytest.raises(LamarError, match="no source gave the files; set LAMAR_MIRROR"):
        LocalModel(tiny_llm, 4)


def test_the_key_names_the_weights_and_the_sampling(tiny_llm: LocalGenerator) -> None:
    def key(**changes: object) -> str:
        return journal.key_of(identity(tiny_llm.model_copy(update=changes)), chat("write"))

    assert key() == key(model="another name", file="another.gguf")
    assert len({key(), key(sha256="0" * 64), key(max_tokens=17)}) == 3


def fine_tuned(llm: LocalGenerator, folder: Path, seed: int) -> LocalGenerator:
    """`llm` with an adapter of random weights, saved as peft does it."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(weights_folder(cache_folder(), llm))
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model.save_pretrained(folder)
    adapter = Adapter(folder=str(folder), sha256=sha256_of(folder / "adapter_model.safetensors"))
    return llm.model_copy(update={"adapter": adapter})


def test_an_adapter_answers_in_its_own_name(tiny_llm: LocalGenerator, tmp_path: Path) -> None:
    asked = few_shot_questions(6)
    tuned = fine_tuned(tiny_llm, tmp_path / "adapter", seed=1)
    plain, theirs = ask_all(tiny_llm, asked, batch=6), ask_all(tuned, asked, batch=6)
    assert {answer.key for answer in plain}.isdisjoint({answer.key for answer in theirs})
    assert [answer.text for answer in plain] != [answer.text for answer in theirs]
    again = fine_tuned(tiny_llm, tmp_path / "adapter", seed=1)
    assert ask_all(again, asked, batch=3) == theirs


def test_without_an_adapter_the_key_is_what_it_always_was(tiny_llm: LocalGenerator) -> None:
    assert identity(tiny_llm).keys() == {"provider", "weights", "max_tokens", "decoding"}


def test_an_adapter_that_is_not_the_one_that_was_named(tiny_llm: LocalGenerator, tmp_path: Path) -> None:
    tuned = fine_tuned(tiny_llm, tmp_path, seed=1)
    fine_tuned(tiny_llm, tmp_path, seed=2)
    with pytest.raises(LamarError, match=r"adapter_model.safetensors: has sha256 \w+, but params.yaml names"):
        LocalModel(tuned, 4)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(LamarError, match=r"adapter_model.safetensors: no such file"):
        LocalModel(tuned, 4)


@pytest.fixture
def qwen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LocalGenerator:
    """The real model, where an earlier run has left its weights."""
    monkeypatch.chdir(request.config.rootpath)
    generator = entry(load().generators, "generator", "qwen-coder")
    if not weights_folder(cache_folder(), generator).exists():
        pytest.skip(f"the weights of {generator.model} are not in {cache_folder()}")
    return generator


def answered_questions(llm: LocalGenerator, count: int) -> list[tuple[Messages, Answer]]:
    """Some questions about MovieLens with the answers that come with the repository or are in the journal."""
    dataset = entry(load().datasets, "dataset", "ml-100k")
    items = Path("data/prepared/ml-100k/items.parquet")
    if not items.exists():
        pytest.skip("ml-100k is not prepared: dvc repro prepare")
    asked = questions(pl.read_parquet(items), dataset.attributes, load_prompt(dataset.prompt), llm)
    known = known_answers("ml-100k", "qwen-coder", llm)
    answered = [(each.messages, known[each.key]) for each in asked if each.key in known]
    if len(answered) < count:
        pytest.skip(f"fewer than {count} questions about ml-100k are answered")
    return answered[:: len(answered) // count][:count]


@pytest.mark.slow
def test_the_answers_of_the_project_are_the_real_models(qwen: LocalGenerator) -> None:
    """The two best tokens often have the same logit in bfloat16, so that another batch may word an answer otherwise.

    Hence what is compared is not the wording: each token, kept or written now, must be a best one but for rounding.
    """
    messages, answers = zip(*answered_questions(qwen, 4), strict=True)
    written_now = tokens_of(LocalModel(qwen, 4), list(messages))
    plain, rounding = Plain(qwen), 2**-6
    kept = [[*plain.tokenizer(answer.text)["input_ids"], plain.tokenizer.eos_token_id] for answer in answers]
    assert [len(tokens) for tokens in kept] == [answer.output_tokens for answer in answers]
    for (read, now), before in zip(written_now, kept, strict=True):
        assert plain.shortfall(read, now)[:, 0].max() < rounding
        assert plain.shortfall(read, before)[:, 0].max() < rounding
    assert plain.shortfall(written_now[0][0], kept[-1])[:, 0].max() > 4 * rounding, "another film's answer is no answer"
