"""`pipeline("few-shot-ner")`: entities of texts, with exact character offsets."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import TokenClassifierOutput

from .decoding import decode_texts
from .modeling_nuner import NuNerForTokenClassification
from .rendering_nuner import Entities
from .spans import Entity
from .windows import DEFAULT_MAX_TOKENS, Window, make_windows, pad_windows

DEFAULT_BATCH_SIZE = 32
_BATCHES_AHEAD = 16
_CHARACTERS_AHEAD = 1_000_000


class FewShotNerPipeline(Pipeline):
    """Entity recognition from a fitted recognizer, or from a foundation and a handful of examples.

    ```python
    >>> import nerfound
    >>> from transformers import pipeline

    >>> pipe = pipeline("few-shot-ner", model="foundation", examples=["book a table at [Nobu](restaurant)"])
    >>> pipe("is there a free table at Noma tonight?")
    ```

    Args:
        model (`NuNerForTokenClassification`): a recognizer; or, with `examples`, a foundation.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): a fast one; the model's own by default.
        examples (`Iterable`, *optional*): labelled examples in any format that [`nerfound.fit`] takes.
        fit_kwargs (`dict`, *optional*): further arguments of [`nerfound.fit`], such as `concepts` or `nested`.
        batch_size (`int`, *optional*, defaults to 32): windows read at a time; results do not depend on it.
        threshold (`float`, *optional*, defaults to 0.0): entities with a lower score are left out.
        max_tokens (`int`, *optional*): tokens of a window; 256, or what the encoder reads at most, by default.
        overlap (`int`, *optional*): tokens that neighbouring windows of a long text share; a quarter of a window by
            default. Texts are never truncated.
    """

    _load_tokenizer = None  # where transformers finds none, the model brings its own
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_processor = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        examples: Iterable[Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if examples is not None:
            # fitting lives upstream of what a Hub repository carries; a served recognizer never comes here
            fit = importlib.import_module("nerfound.fewshot").fit
            model = fit(examples, foundation=model, tokenizer=tokenizer, **(fit_kwargs or {}))
        if not isinstance(model, NuNerForTokenClassification):
            model = _as_ours(model)
        if model.classifier is None:
            raise ValueError(
                f"{model.name_or_path} is a foundation without a head: give examples=[…] to fit one, "
                "or a fitted recognizer as model."
            )
        if tokenizer is not None:
            model.tokenizer = tokenizer
        self._sanitize_parameters(batch_size=kwargs.get("batch_size"))  # transformers does not pass it on to be checked
        super().__init__(model=model, tokenizer=model.tokenizer, **kwargs)

    def _sanitize_parameters(
        self,
        batch_size: int | None = None,
        threshold: float | None = None,
        max_tokens: int | None = None,
        overlap: int | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise TypeError(f'pipeline("few-shot-ner") takes no {", ".join(sorted(unknown))}.')
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold}: scores are probabilities, give a value from 0 to 1.")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: give at least 1.")
        windowing = {"max_tokens": max_tokens, "overlap": overlap}
        given = {name: value for name, value in windowing.items() if value is not None}
        return (
            given,
            {} if batch_size is None else {"batch_size": batch_size},
            {} if threshold is None else {"threshold": threshold},
        )

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Extract entities.

        Args:
            inputs: a `str`; a `list` of texts; or any other iterable of texts, such as a generator or a `datasets`
                dataset with a column `text`, which is read and answered as a stream.
            kwargs: `batch_size`, `threshold`, `max_tokens`, `overlap`: as for the pipeline, for this call.

        Returns:
            A list of entities for a `str`, a list of such lists for a `list`, an iterator of them otherwise. Each is
            a `dict` with `entity_group`, `score`, `word`, `start`, `end`, where `word == text[start:end]`. Notebooks
            show a list of entities as its text with the mentions marked.

        Raises:
            TypeError: if an input is no text, naming its number; or the inputs are no collection of texts.
        """
        iterable = hasattr(inputs, "__iter__") or hasattr(
            inputs, "__getitem__"
        )  # torch's data sets have but the latter
        if isinstance(inputs, Mapping | bytes) or not iterable:
            raise TypeError(f"inputs are of type {type(inputs).__name__}: give a text, a list of texts or a data set.")
        preprocess, forward, postprocess = self._sanitize_parameters(**kwargs)
        parameters = (
            self._preprocess_params | preprocess,
            self._forward_params | forward,
            self._postprocess_params | postprocess,
        )
        if isinstance(inputs, str):
            return next(self._stream([inputs], *parameters))
        stream = self._stream(inputs, *parameters)
        return list(stream) if isinstance(inputs, list | tuple) else stream

    def _stream(
        self, texts: Iterable[Any], preprocess: dict[str, Any], forward: dict[str, Any], postprocess: dict[str, Any]
    ) -> Iterator[Entities]:
        batch_size: int = forward.get("batch_size") or self._batch_size or DEFAULT_BATCH_SIZE
        for chunk in _chunks(texts, batch_size * _BATCHES_AHEAD, _CHARACTERS_AHEAD):
            windows = self.preprocess(chunk, **preprocess)
            decoded = decode_texts(
                chunk,
                windows,
                functools.partial(self._logits_of, windows),
                self.model.labels,
                nested=self.model.config.nested,
                batch_size=batch_size,
            )
            for text, entities in zip(chunk, decoded, strict=True):
                yield Entities(self.postprocess(entities, **postprocess), text, self.model.labels)

    def _logits_of(self, windows: Sequence[Window], batch: list[int]) -> Tensor:
        return self.forward([windows[i] for i in batch]).logits

    def preprocess(
        self, texts: Sequence[str], max_tokens: int | None = None, overlap: int | None = None
    ) -> list[Window]:
        """Texts to windows."""
        longest = self.model.config.max_input_tokens
        if max_tokens is not None and max_tokens > longest:
            raise ValueError(f"max_tokens={max_tokens}, but this encoder reads at most {longest}.")
        if max_tokens is None:
            max_tokens = min(DEFAULT_MAX_TOKENS, longest)
        return make_windows(self.tokenizer, texts, max_tokens=max_tokens, overlap=overlap)

    def forward(self, windows: Sequence[Window], **_: Any) -> TokenClassifierOutput:
        """Logits of a batch of windows."""
        with self.device_placement(), self.get_inference_context()():
            return self._forward(windows)

    def _forward(self, windows: Sequence[Window], **_: Any) -> TokenClassifierOutput:
        return self.model(**pad_windows(windows, self.tokenizer, self.device))

    def postprocess(self, entities: list[Entity], threshold: float = 0.0) -> list[dict[str, Any]]:
        """Entities of a text, in the field names of transformers."""
        return [
            {
                "entity_group": entity["label"],
                "score": entity["score"],
                "word": entity["text"],
                "start": entity["start"],
                "end": entity["end"],
            }
            for entity in entities
            if entity["score"] >= threshold
        ]

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save model and tokenizer in one folder, which also serves plain `pipeline("token-classification")`."""
        self.model.save_pretrained(save_directory, **kwargs)


def _as_ours(model: PreTrainedModel) -> NuNerForTokenClassification:
    """Our model from the one that transformers loaded."""
    if __name__.startswith("transformers_modules."):
        # Carried by a repository: the backbone's own classifier is what it holds, of the revision that was asked for
        ours = NuNerForTokenClassification.from_parts(model.base_model, model.classifier, model.config)
        ours.name_or_path = model.name_or_path
        return ours.eval()
    # transformers falls back to the architecture in config.json when ours fails to load: say why it failed
    return NuNerForTokenClassification.from_pretrained(model.name_or_path)


def _chunks(texts: Iterable[Any], count: int, characters: int) -> Iterator[list[str]]:
    """Lists of at most `count` texts, closed early once they hold `characters` characters."""
    chunk: list[str] = []
    size = 0
    for number, item in enumerate(texts):
        text = item.get("text") if isinstance(item, Mapping) else item
        if not isinstance(text, str):
            raise TypeError(
                f"input {number} is {item!r:.80}: give a text, or a dataset whose rows have a column named text."
            )
        chunk.append(text)
        size += len(text)
        if len(chunk) == count or size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
