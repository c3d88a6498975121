"""The encoders of this process: loaded once, shared by all visitors, never changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from transformers import AutoTokenizer

from ..colors import ColorAxes, ColoredWord, color_words, fit_color_axes
from ..concepts import Concept
from ..decoding import word_scores
from ..fewshot import SupportSet, fit
from ..fewshot.embedding import embed_windows
from ..fewshot.fitting import load_foundation
from ..modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from ..offline import DEFAULT_ENCODER, resolve_encoder
from ..pipeline_few_shot_ner import FewShotNerPipeline
from ..pretraining.ranking import encode_concept_texts, load_concept_tokenizer
from ..spans import Entity
from ..windows import DEFAULT_MAX_TOKENS, make_windows
from .documents import with_marked_concepts

EncoderName = Literal["foundation", "base"]


@dataclass(frozen=True)
class Taught:
    """What a visitor has taught: it lies in the session's state and goes with it.

    Args:
        recognizer (`NuNerForTokenClassification`): a head of its own on the shared encoder.
        support (`SupportSet`): the visitor's examples and concepts.
        seconds (`float`): that fitting took.
    """

    recognizer: NuNerForTokenClassification
    support: SupportSet
    seconds: float

    def extract(self, text: str) -> list[Entity]:
        """Entities of a text."""
        pipe = FewShotNerPipeline(model=self.recognizer)
        return [
            Entity(start=e["start"], end=e["end"], label=e["entity_group"], text=e["word"], score=round(e["score"], 4))
            for e in pipe(text)
        ]


class Engine:
    """A foundation with its concept encoder, and the plain encoder to compare it with.

    Args:
        foundation (`str`): name, Hub id or folder of a dual encoder.
        base (`str`): Hub id or folder of a plain encoder.
    """

    def __init__(self, foundation: str, base: str = DEFAULT_ENCODER) -> None:
        folder = resolve_encoder(foundation)
        self.contrast = NuNerForConceptContrast.from_pretrained(folder).eval()
        self.concept_tokenizer = load_concept_tokenizer(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.encoders: dict[EncoderName, NuNerForTokenClassification] = {
            "foundation": load_foundation(self.contrast, tokenizer=tokenizer),
            "base": load_foundation(base),
        }
        self._axes: dict[EncoderName, ColorAxes] = {}
        self._lock = threading.Lock()
        # A tokenizer is told once how to cut texts; done here, threads never do so at the same time
        for encoder in self.encoders.values():
            make_windows(encoder.tokenizer, ["ready"], max_tokens=_max_tokens(encoder))
        self.score_concepts("ready", [Concept("word")])

    @property
    def starts_from_names(self) -> bool:
        """Whether the foundation makes a first head of the concepts' names, before any example."""
        return self.contrast.mention_prior is not None

    def teach(self, support: SupportSet, encoder: EncoderName = "foundation") -> Taught:
        """Fit a recognizer: the examples are embedded once, the head is fitted on their vectors.

        Where the foundation starts from names, a concept without a mention is known by its name and description;
        elsewhere it is left out.
        """
        started = time.perf_counter()
        model = self.encoders[encoder]
        prior = encoder == "foundation" and self.starts_from_names
        learnt = support if prior else with_marked_concepts(support)
        recognizer = fit(learnt, foundation=self.contrast if prior else model, tokenizer=model.tokenizer)
        return Taught(recognizer, support, time.perf_counter() - started)

    def color_words(self, text: str, encoder: EncoderName) -> list[ColoredWord]:
        """Colour the words of a text by their vectors; equal colours of the two encoders mean about the same."""
        with self._lock:  # the axes are made when they are first asked for, once; it takes seconds
            if not self._axes:
                self._axes["foundation"] = fit_color_axes(self.encoders["foundation"])
                self._axes["base"] = fit_color_axes(self.encoders["base"], like=self._axes["foundation"])
        return color_words(text, self.encoders[encoder], axes=self._axes[encoder])

    @torch.no_grad()
    def score_concepts(self, text: str, concepts: Sequence[Concept]) -> tuple[list[tuple[int, int]], np.ndarray]:
        """Score the words of a text against concepts by the concept encoder, without any example.

        Returns:
            Character offsets of the words, and scores `(words, concepts)`: the sigmoid of the mean logit over a word's
            tokens. They are not calibrated: the encoder was trained to rank, on few concepts per passage.
        """
        encoder = self.encoders["foundation"]
        windows = make_windows(encoder.tokenizer, [text], max_tokens=_max_tokens(encoder))
        concept_vectors = encode_concept_texts(
            self.contrast, self.concept_tokenizer, [concept.text for concept in concepts]
        )
        offsets: list[tuple[int, int]] = []
        logits = []
        vectors = embed_windows(encoder, windows, token_states=self.contrast.encode_tokens)
        for window, tokens in zip(windows, vectors, strict=True):
            scores = self.contrast.scorer(tokens, concept_vectors).numpy()
            words = window.tokens[window.owned]
            logits.append(word_scores(scores, words[:, 0], words[:, 1]))
            offsets += [(int(start), int(end)) for start, end in window.words[window.owned]]
        stacked = np.concatenate(logits) if logits else np.zeros((0, len(concepts)), dtype=np.float32)
        return offsets, 1 / (1 + np.exp(-stacked))


def _max_tokens(encoder: NuNerForTokenClassification) -> int:
    return min(DEFAULT_MAX_TOKENS, encoder.config.max_input_tokens)
