"""Configuration of the NuNER models."""

# No `from __future__ import annotations` here: @strict checks no field whose annotation is a string.
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class NuNerConfig(PreTrainedConfig):
    r"""Configuration of [`NuNerForConceptContrast`] and [`NuNerForTokenClassification`].

    A configuration without `concept_config` describes a token encoder alone: a recognizer, or a foundation that waits
    for its head. `num_labels == 0` (the default) means that there is no head yet.

    Args:
        token_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the token encoder; any `AutoModel` encoder. Defaults to a RoBERTa-base.
        concept_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the concept encoder, `None` where there is none.
        projection_dim (`int`, *optional*):
            Size of the common space that token and concept vectors are projected to. `None` means no projection: the
            two encoders must then have vectors of one size.
        concept_pooling (`"mean"` or `"cls"`, *optional*, defaults to `"mean"`):
            How the concept encoder's token states become one vector.
        score (`"cosine"` or `"dot"`, *optional*, defaults to `"cosine"`):
            `"cosine"`: L2-normalised vectors with a learned scale and bias. `"dot"`: the raw dot product of the
            NuNER blog post, no parameters.
        initial_scale (`float`, *optional*, defaults to 10.0):
            The scale that `"cosine"` scores start from.
        initial_bias (`float`, *optional*, defaults to -8.0):
            The bias (a logit) that `"cosine"` scores start from: nearly all (token, concept) pairs are negative.
        token_layers (`tuple[int]`, *optional*, defaults to `(-1,)`):
            Which hidden states, concatenated, make a token vector, e.g. `(-1, -7)`. Negative, counted from the top.
        boundary_weight (`float`, *optional*, defaults to 0.0):
            Weight of the boundary loss beside the contrast: where mentions of any concept begin and end. Above 0, the
            dual encoder has a [`MentionPrior`], which a few-shot head can start from.
        retention_weight (`float`, *optional*, defaults to 0.0):
            Weight of the retention loss while training: how much of the token encoder's middle layer a linear decoder
            does not find in the token vectors. Pre-training sets it back to 0 once it is done.
        score_chunk_size (`int`, *optional*, defaults to 1024):
            Concepts scored at a time while the loss is computed; bounds its memory.
        nested (`bool`, *optional*, defaults to `False`):
            Recognizer only: decode every concept on its own, so that entities may overlap.
        concepts (`dict[str, str]`, *optional*):
            Recognizer only: its concepts and their descriptions (may be empty strings).
        fitted (`dict`, *optional*):
            Recognizer only: how [`nerfound.fit`] made it, for its card.
    """

    model_type = "nuner"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "token_config": SubConfigSpec(config_class=AutoConfig, model_type="roberta"),
        "concept_config": SubConfigSpec(config_class=AutoConfig, model_type="roberta", optional=True),
    }

    token_config: Any = None  # the base class makes a PreTrainedConfig of it, and refuses what cannot become one
    concept_config: Any = None
    projection_dim: int | None = None
    concept_pooling: Literal["mean", "cls"] = "mean"
    score: Literal["cosine", "dot"] = "cosine"
    initial_scale: float = 10.0
    initial_bias: float = -8.0
    token_layers: list[int] | tuple[int, ...] = (-1,)
    boundary_weight: float = 0.0
    retention_weight: float = 0.0
    score_chunk_size: int = 1024
    nested: bool = False
    concepts: dict[str, str] | None = None
    fitted: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        labels: dict[int, str] | None = getattr(self, "id2label", None)
        if labels is None and kwargs.get("num_labels") is None:
            self.id2label: dict[int, str] = {}
            self.label2id: dict[str, int] = {}
        super().__post_init__(**kwargs)
        self.set_token_layers(self.token_layers)

    def set_token_layers(self, layers: Iterable[int]) -> None:
        """Choose the hidden states that make a token vector.

        Raises:
            ValueError: if the token encoder has no such layer.
        """
        layers = tuple(layers)
        depth = self.token_config.num_hidden_layers
        if not layers or any(not -depth - 1 <= layer <= -1 for layer in layers):
            raise ValueError(
                f"token_layers={layers}: give indices from -1 (last layer) to -{depth + 1} (embeddings), "
                f"the hidden states that a token encoder of {depth} layers has."
            )
        self.token_layers = layers

    def to_diff_dict(self) -> dict[str, Any]:
        """What is saved; where the encoders lay on the machine that trained them is nobody's business."""
        saved = super().to_diff_dict()
        for part in ("token_config", "concept_config"):
            (saved.get(part) or {}).pop("_name_or_path", None)
        return saved

    @property
    def hidden_size(self) -> int:
        """Size of a token vector: the token encoder's hidden size times the number of `token_layers`."""
        return self.token_config.hidden_size * len(self.token_layers)

    @property
    def max_input_tokens(self) -> int:
        """Most tokens (special tokens included) that the token encoder reads at once."""
        positions = getattr(self.token_config, "max_position_embeddings", None) or 512
        # RoBERTa counts positions from padding_idx + 1, so that two of its 514 positions are never used
        offset = (self.token_config.pad_token_id or 0) + 1 if self.token_config.model_type in _OFFSET_POSITIONS else 0
        return positions - offset


_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "mpnet"}
