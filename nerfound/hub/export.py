"""A recognizer as the backbone's own `…ForTokenClassification`, served without nerfound, and what that costs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, pipeline

from ..encoders_nuner import build_native_classifier, plain_aggregation
from ..fewshot.embedding import embed_examples
from ..fewshot.fitting import as_support_set
from ..fewshot.formats import Example, SupportSet
from ..fewshot.heads import choose_l2, fit_linear_head
from ..modeling_nuner import NuNerForTokenClassification
from ..spans import Span

Examples = Iterable[Any] | str | os.PathLike[str] | SupportSet


def export_native(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    examples: Examples | None = None,
    data: Examples | None = None,
) -> str:
    """Write a recognizer in its backbone's own architecture, whatever its head, and say what that costs.

    The folder is served by plain `pipeline("token-classification")`, without nerfound (see `plain_aggregation`). Where
    that architecture holds the recognizer's head, its weights are taken over as they are. Where it does not (it has
    another layer before its classifier, as ModernBERT's, or the head reads other layers than the last), a new linear
    head is fitted.

    Args:
        source (`str` or `os.PathLike`): folder or Hub id of a recognizer.
        output (`str` or `os.PathLike`): folder to write.
        examples (*optional*): labelled examples, in any form that [`nerfound.fit`] takes, to fit a new head on; needed
            only where the recognizer's own cannot be taken over.
        data (*optional*): labelled texts to measure the cost on, likewise; needs the extra `nerfound[train]`.

    Returns:
        `str`: what was written, and the strict entity F1 with nerfound's decoding and with plain serving.

    Raises:
        ValueError: if `source` is no recognizer, if transformers has no token classifier for its backbone, or if a new
            head is needed and there are no examples.
    """
    recognizer = NuNerForTokenClassification.from_pretrained(source)
    if recognizer.classifier is None:
        raise ValueError(f"{source} is a foundation without a head: fit a recognizer first, with nerfound fit.")
    nested = recognizer.config.nested
    labelled = None if data is None else as_support_set(data, None, nested)
    native = recognizer.native()
    if native is None:
        native = _refitted(recognizer, str(source), examples)
        origin = "a linear head fitted anew, since this architecture does not hold the recognizer's own"
    else:
        origin = "with the recognizer's own weights"
    tokenizer = recognizer.tokenizer
    # The plain pipeline cuts texts at this length; where the tokenizer names none, a long text would make it fail
    tokenizer.model_max_length = min(tokenizer.model_max_length, recognizer.config.max_input_tokens)
    native.save_pretrained(output)
    tokenizer.save_pretrained(output)
    strategy = plain_aggregation(tokenizer)
    lines = [
        f"{os.fspath(output)}: {type(native).__name__}, {origin}.",
        f'Serve it with pipeline("token-classification", aggregation_strategy="{strategy}"), which cuts long texts.',
    ]
    if nested:
        lines.append("Plain serving is flat: of entities that overlap, which this recognizer finds, it gives one.")
    if labelled is None:
        lines.append("What plain serving costs in F1 was not measured: give labelled texts as data (--data).")
    else:
        lines.append(_cost(recognizer, Path(output), labelled, strategy))
    return "\n".join(lines)


def _refitted(recognizer: NuNerForTokenClassification, source: str, examples: Examples | None) -> PreTrainedModel:
    """The backbone's classifier on the recognizer's encoder, with a linear head fitted on what it really reads."""
    config = recognizer.config
    native = build_native_classifier(config.token_config, config.id2label, device="cpu")
    if native is None or not isinstance(getattr(native, "classifier", None), nn.Linear):
        raise ValueError(f"{source}: transformers has no token classifier for {config.token_config.model_type!r}.")
    if examples is None:
        raise ValueError(
            f"{source}: {type(native).__name__} cannot hold this recognizer's head as it is: give the examples that "
            "it was fitted on (--examples), to fit a head that it can."
        )
    concepts = {label: (config.concepts or {}).get(label, "") for label in recognizer.labels}
    support = as_support_set(examples, concepts, config.nested)
    setattr(native, native.base_model_prefix, recognizer.token_encoder)
    _neutralise(native)
    embedded = embed_examples(recognizer, support.examples, token_states=_ClassifierInputs(native.eval()))
    vectors, labels, groups = embedded.training_data(list(concepts))
    l2 = choose_l2(vectors, labels, groups, config.num_labels)
    head = fit_linear_head(vectors, labels, config.num_labels, l2=l2)
    native.classifier.load_state_dict({"weight": head.weight, "bias": head.bias})
    native.config.nuner = {"concepts": concepts, "nested": False}
    return native


def _neutralise(native: PreTrainedModel) -> None:
    """Make what stands between encoder and classifier as transparent as it can be: identity matrices, plain norms."""
    between = [
        module
        for name, module in native.named_modules()
        if name.partition(".")[0] not in {native.base_model_prefix, "classifier"}
        and any(True for _ in module.parameters(recurse=False))
    ]
    for module in between:
        if isinstance(module, nn.Linear):
            nn.init.eye_(module.weight)
        elif (weight := getattr(module, "weight", None)) is not None and weight.dim() == 1:
            nn.init.ones_(weight)
        else:
            raise ValueError(f"{type(native).__name__} has a {type(module).__name__} before its classifier.")
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)


class _ClassifierInputs:
    """What the linear classifier of a model reads, `(batch, tokens, hidden_size)`, called as `token_states` is."""

    def __init__(self, native: PreTrainedModel) -> None:
        self.native = native

    def __call__(self, **inputs: Tensor) -> Tensor:
        read: list[Tensor] = []
        hook = self.native.classifier.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
        try:
            self.native(**inputs)
        finally:
            hook.remove()
        return read[0]


def _cost(recognizer: NuNerForTokenClassification, folder: Path, data: SupportSet, strategy: str) -> str:
    from ..evaluation.metrics import entity_metrics  # these need nervaluate, an extra
    from ..evaluation.scoring import evaluate_recognizer

    labels = list(dict.fromkeys([*recognizer.labels, *data.concepts]))
    served = _serve_plainly(folder, data.examples, strategy)
    stripped = [
        [span for span in (_strip(example.text, span) for span in spans) if span.start < span.end]
        for example, spans in zip(data.examples, served, strict=True)
    ]
    ours = evaluate_recognizer(recognizer, data)["strict_micro_f1"]
    plain = entity_metrics([example.entities for example in data.examples], stripped, labels)["strict_micro_f1"]
    note = "" if stripped == served else " once the white space that its tokenizer counts to words is stripped"
    return (
        f"Strict entity F1 on {len(data.examples):,} texts: {100 * ours:.1f} with nerfound, {100 * plain:.1f} served "
        f"plainly{note}. The cost: {100 * (ours - plain):.1f} points."
    )


def _serve_plainly(folder: Path, examples: Iterable[Example], strategy: str) -> list[list[Span]]:
    """The entities that plain `pipeline("token-classification")` finds, in characters, as it gives them."""
    pipe = pipeline("token-classification", model=str(folder), aggregation_strategy=strategy, device="cpu")
    return [
        [Span(entity["start"], entity["end"], entity["entity_group"]) for entity in pipe(example.text)]
        for example in examples
    ]


def _strip(text: str, span: Span) -> Span:
    covered = text[span.start : span.end]
    start = span.start + len(covered) - len(covered.lstrip())
    return Span(start, start + len(covered.strip()), span.label)
