"""An LLM that ranks a pool of candidates, fine-tuned with LoRA (Hu et al. 2022) to name the next one (paper, Eq. 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lamar import console
from lamar.errors import LamarError
from lamar.files import write_json, written_whole
from lamar.llm.causal import load_causal_lm
from lamar.llm.greedy import Greedy
from lamar.params import LoraRun
from lamar.rankers.attention import by_case
from lamar.rankers.likelihood import Case, answer_log_likelihoods, packed, row_of, token_log_likelihoods
from lamar.rankers.pools import Pool
from lamar.rankers.prompts import Catalogue
from lamar.training.dropout import Dropout
from lamar.training.processes import process

ADAPTER, SETTINGS = "adapter_model.safetensors", "adapter_config.json"  # as peft names them


class LoraRanker(nn.Module):
    """A causal LM with an adapter: of all its weights only the adapter's are trained and saved."""

    resumes_within = True

    def __init__(
        self, folder: Path, name: str, run: LoraRun, catalogue: Catalogue, train: Sequence[tuple[Pool, int]]
    ) -> None:
        """`folder`: a model as transformers saves it, which its adapter says by `name`.

        `train`: pools and the places of their targets.
        """
        from peft import LoraConfig, get_peft_model
        from peft.tuners.lora import LoraLayer
        from transformers import AutoTokenizer

        super().__init__()
        self._run = run
        self._catalogue = catalogue
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        base = load_causal_lm(folder, attn_implementation=by_case())
        if run.gradient_checkpointing:
            base.activation_checkpointing_enable({"use_reentrant": False})
        self._adapter = LoraConfig(
            r=run.rank,
            lora_alpha=run.alpha,
            lora_dropout=run.dropout,
            target_modules=list(run.targets),
            task_type="CAUSAL_LM",
        )
        self.llm = get_peft_model(base, self._adapter)
        for layer in self.llm.modules():
            if isinstance(layer, LoraLayer):  # on a CPU peft's dropout takes a tenth of the time
                layer.lora_dropout = nn.ModuleDict({name: Dropout(run.dropout) for name in layer.lora_dropout})
        self._adapter.base_model_name_or_path = name  # peft puts the folder, which is this machine's
        self._train = [self._case(pool, only=place) for pool, place in train]

    def batches(self, rng: np.random.Generator) -> list[list[Case]]:
        """All training pools, `batch` at a time, in random order."""
        order = rng.permutation(len(self._train))
        size = self._run.batch
        return [[self._train[i] for i in order[start : start + size]] for start in range(0, len(order), size)]

    def loss(self, batch: Sequence[Case]) -> Tensor:
        """Mean negative log-likelihood of the answers' tokens; the questions' are read, not learned.

        The cases, or this process's share of them, lie in one row.
        """
        likely = token_log_likelihoods(self.llm, row_of(batch[process().share(len(batch))]))
        return -process().total(likely.sum(), len(batch)) / sum(case.written for case in batch)

    def parts(self, batch: Sequence[Case], rows: int) -> Iterator[tuple[Sequence[Case], float]]:
        """A batch in parts of at most `rows` prompts, each with its share of the answers' tokens."""
        whole = sum(case.written for case in batch)
        for start in range(0, len(batch), rows):
            part = batch[start : start + rows]
            yield part, sum(case.written for case in part) / whole

    def heaviest(self, rows: int) -> list[Case]:
        """The `rows` longest prompts."""
        return sorted(self._train, key=lambda case: -case.tokens)[:rows]

    def renew(self) -> None:
        """Scoring reads nothing but the weights."""

    def scores(self, pools: Sequence[Pool]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield (rows, float32 (rows, candidates)): the mean log-likelihood of each candidate's answer.

        As many pools share a pass as `row_tokens` allows.
        """
        self.eval()
        cases = [self._case(pool) for pool in pools]
        for group in packed(cases, self._run.row_tokens):
            scores = answer_log_likelihoods(self.llm, row_of([cases[number] for number in group]))
            yield np.array(group), scores.view(len(group), -1).float()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The adapter's weights."""
        from peft import get_peft_model_state_dict

        # of the embeddings nothing is saved: peft need not ask a hub whether the LLM has others by now
        return get_peft_model_state_dict(self.llm, save_embedding_layers=False)

    def load_state_dict(self, state: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> None:
        """Take up an adapter that `state_dict` gave."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.llm, dict(state))

    def save(self, folder: Path) -> None:
        """Write the adapter as peft reads it: its weights, and its settings as the same bytes every time."""
        from safetensors.torch import save_file

        settings = {
            name: sorted(value) if isinstance(value, set) else value for name, value in self._adapter.to_dict().items()
        }
        write_json(folder / SETTINGS, dict(sorted(settings.items())) | {"inference_mode": True})
        with written_whole(folder / ADAPTER) as unfinished:
            save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, unfinished)

    def load(self, folder: Path) -> None:
        """Take up an adapter that `save` wrote. Raises LamarError when it is not there or of another shape."""
        from safetensors.torch import load_file

        path = folder / ADAPTER
        try:
            self.load_state_dict(load_file(path))
        except FileNotFoundError:
            raise LamarError(f"{path}: no such file; run dvc repro tune") from None
        except RuntimeError:
            raise LamarError(f"{path}: the run's settings have changed since; run dvc repro tune") from None

    def written(self, pools: Sequence[Pool]) -> list[tuple[str, list[str]]]:
        """What the LLM answers to every pool if it may write anything, and what could be answered.

        It writes until it ends the answer, or has as many tokens as the longest of all that could be answered.
        """
        self.eval()
        cases = [self._case(pool) for pool in pools]
        longest = max(len(case.question) for case in cases)
        limit = max(len(answer) for case in cases for answer in case.answers)
        decoder = Greedy(self.llm, self._tokenizer, max(1, self._run.row_tokens // (longest + limit)), limit)
        said = {}
        with console.progress() as bar:
            task = bar.add_task(f"{self._run.model} {self._run.features}", total=len(cases), note="free answers")
            for batch in decoder.written([list(case.question) for case in cases]):
                said |= dict(batch)
                bar.advance(task, len(batch))
        return [
            (self._tokenizer.decode(said[number], skip_special_tokens=True), self._answers(pool))
            for number, pool in enumerate(pools)
        ]

    def _answers(self, pool: Pool) -> list[str]:
        return self._catalogue.answers(pool, self._run.answer)

    def _case(self, pool: Pool, only: int | None = None) -> Case:
        """Token ids of a pool's question and of its answers, or of the answer for the candidate at `only`.

        Raises LamarError when they are more than the LLM reads.
        """
        asked = [{"role": "user", "content": self._catalogue.question(pool, self._run.answer)}]
        text = self._tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        answers = self._answers(pool)
        written = self._ids(answers if only is None else [answers[only]])
        case = Case(self._ids([text])[0], [[*tokens, self._tokenizer.eos_token_id] for tokens in written])
        room = getattr(self.llm.config, "max_position_embeddings", None)  # none: it says no limit
        if room and case.places > room:
            raise LamarError(
                f"params.yaml: a pool of {len(pool.candidates)} candidates takes {case.places:,} tokens, of which the "
                f"LLM reads {room:,}; lower attribute_words of the run, or let it rank smaller pools"
            )
        return case

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self._tokenizer(texts, add_special_tokens=False)["input_ids"]
