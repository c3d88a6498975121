"""The NuNER models: the dual encoder of the concept contrast, and the token classifier on its token encoder."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init
from transformers.dynamic_module_utils import custom_object_save
from transformers.modeling_outputs import BaseModelOutput, TokenClassifierOutput
from transformers.utils import ModelOutput, logging

from .configuration_nuner import NuNerConfig
from .encoders_nuner import (
    bio_concepts,
    bio_labels,
    build_encoder,
    build_native_classifier,
    is_linear_in_last_layer,
    load_encoder,
    load_strictly,
    load_token_classifier,
    train_top_layers,
)
from .losses_nuner import IGNORED, Retention, boundary_loss, contrast_loss
from .publishing_nuner import PublishingMixin
from .scorers_nuner import CosineScorer, DotScorer, MentionPrior

logger = logging.get_logger(__name__)

_PARTS_BESIDE_TOKENS = (
    "concept_encoder",
    "token_projection",
    "concept_projection",
    "scorer",
    "mention_prior",
    "retention",
)
"""Parts of a dual encoder that a recognizer has no use for."""

_HUB_KWARGS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


@dataclass
class NuNerConceptContrastOutput(ModelOutput):
    """Output of [`NuNerForConceptContrast`].

    Args:
        loss (`torch.Tensor`, *optional*): scalar, where `labels` were given.
        logits (`torch.Tensor` of shape `(batch, tokens, concepts)`, *optional*): scores before the sigmoid; the
            dtype's minimum at special tokens and padding. `None` with `return_logits=False`.
        token_vectors (`torch.Tensor` of shape `(batch, tokens, dim)`): in the common space.
        concept_vectors (`torch.Tensor` of shape `(concepts, dim)`): in the common space.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    token_vectors: Tensor | None = None
    concept_vectors: Tensor | None = None


class NuNerPreTrainedModel(PublishingMixin, PreTrainedModel):
    """What the NuNER models share."""

    config_class = NuNerConfig
    base_model_prefix = "nuner"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # our losses are means of their batch: the Trainer must average accumulated steps
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def token_states(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Token vectors of the token encoder, before any projection.

        Args:
            input_ids (`torch.Tensor` of shape `(batch, tokens)`): int64.
            attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*): 1 for tokens, 0 for padding.
            kwargs: further inputs of the token encoder, such as `token_type_ids`.

        Returns:
            `torch.Tensor` of shape `(batch, tokens, hidden_size × len(token_layers))`.
        """
        return self._select_layers(self._run_token_encoder(input_ids, attention_mask, **kwargs))

    def _run_token_encoder(
        self, input_ids: Tensor, attention_mask: Tensor | None, deep: bool = False, **kwargs: Any
    ) -> BaseModelOutput:
        """Output of the token encoder, with all hidden states where `deep` or `token_layers` need them."""
        deep = deep or self.config.token_layers != (-1,)
        return self.token_encoder(input_ids, attention_mask=attention_mask, output_hidden_states=deep, **kwargs)

    def _select_layers(self, output: BaseModelOutput) -> Tensor:
        """Token vectors: the hidden states of `token_layers`, concatenated."""
        last = output.last_hidden_state
        layers = self.config.token_layers
        return torch.cat([last if layer == -1 else output.hidden_states[layer] for layer in layers], dim=-1)


class NuNerForConceptContrast(NuNerPreTrainedModel):
    """Dual encoder that scores every token of a batch against every concept of the batch.

    `logit(token, concept) = token vector · concept vector`, where the concept vector encodes the concept's name and
    description. Source: *A Foundation Model for Entity Recognition*, NuMind, 2023.
    """

    def __init__(self, config: NuNerConfig) -> None:
        super().__init__(config)
        if config.concept_config is None:
            raise ValueError(
                "this configuration has no concept_config: it describes a token encoder alone. "
                "Load it with NuNerForTokenClassification, or build a dual encoder with from_encoders(...)."
            )
        concept_size = config.concept_config.hidden_size
        if config.projection_dim is None and config.hidden_size != concept_size:
            raise ValueError(
                f"token vectors have {config.hidden_size} dimensions and concept vectors {concept_size}: "
                "give projection_dim, the size of their common space."
            )
        self.token_encoder = build_encoder(config.token_config)
        self.concept_encoder = build_encoder(config.concept_config)
        self.token_projection = _projection(config.hidden_size, config.projection_dim)
        self.concept_projection = _projection(concept_size, config.projection_dim)
        self.scorer = CosineScorer(config) if config.score == "cosine" else DotScorer()
        self.mention_prior = MentionPrior(config.hidden_size) if config.boundary_weight else None
        self.retention = (
            Retention(config.hidden_size, config.token_config.hidden_size) if config.retention_weight else None
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, CosineScorer):
            init.constant_(module.log_scale, math.log(self.config.initial_scale))
            init.constant_(module.bias, self.config.initial_bias)
        elif isinstance(module, MentionPrior):
            init.zeros_(module.boundary.weight)
            init.zeros_(module.boundary.bias)
            init.copy_(module.covariance, torch.eye(*module.covariance.shape))
            init.ones_(module.norm)
        elif isinstance(module, nn.Linear):
            # An identity (cut or padded) keeps two encoders of one family aligned from the first step on
            init.copy_(module.weight, torch.eye(*module.weight.shape))

    @classmethod
    def from_encoders(
        cls, token_encoder: str, concept_encoder: str, *, trainable_layers: int | None = None, **kwargs: Any
    ) -> NuNerForConceptContrast:
        """Build the dual encoder from two pre-trained encoders.

        Args:
            token_encoder (`str`): Hub id or folder of the encoder that becomes the foundation model.
            concept_encoder (`str`): Hub id or folder of the encoder of concept names and descriptions.
            trainable_layers (`int`, *optional*): layers trained at the top of each encoder; by default its top half.
            kwargs: fields of [`NuNerConfig`]; where the two sizes differ, `projection_dim` defaults to the smaller.
        """
        encoders = {"token": load_encoder(str(token_encoder)), "concept": load_encoder(str(concept_encoder))}
        config = NuNerConfig(token_config=encoders["token"].config, concept_config=encoders["concept"].config, **kwargs)
        if config.projection_dim is None and config.hidden_size != config.concept_config.hidden_size:
            config.projection_dim = min(config.hidden_size, config.concept_config.hidden_size)
        model = cls(config)
        model.token_encoder.load_state_dict(encoders["token"].state_dict())
        model.concept_encoder.load_state_dict(encoders["concept"].state_dict())
        model.train_top_layers(trainable_layers)
        return model.eval()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> NuNerForConceptContrast:
        """As in transformers, in float32 unless `dtype` says otherwise; a weight that does not fit is an error."""
        kwargs.setdefault("dtype", torch.float32)
        return load_strictly(super().from_pretrained, str(pretrained_model_name_or_path), **kwargs)

    def train_top_layers(self, count: int | None = None) -> None:
        """Train the top `count` layers of both encoders (by default the top half of each), freeze the rest."""
        train_top_layers(self.token_encoder, count)
        train_top_layers(self.concept_encoder, count)

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Token vectors in the common space, normalised where the score is `"cosine"`.

        Args:
            input_ids (`torch.Tensor` of shape `(batch, tokens)`): int64.
            attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*): 1 for tokens, 0 for padding.

        Returns:
            `torch.Tensor` of shape `(batch, tokens, dim)`.
        """
        return self._to_common_space(self.token_states(input_ids, attention_mask, **kwargs))

    def _to_common_space(self, states: Tensor) -> Tensor:
        return self.scorer.prepare(self.token_projection(states))

    def encode_concepts(self, input_ids: Tensor, attention_mask: Tensor, chunk_size: int = 128) -> Tensor:
        """Concept vectors f(name + description) in the common space, normalised where the score is `"cosine"`.

        Args:
            input_ids (`torch.Tensor` of shape `(concepts, tokens)`): int64, padded on the right.
            attention_mask (`torch.Tensor` of shape `(concepts, tokens)`): 1 for tokens, 0 for padding.
            chunk_size (`int`): concepts encoded at a time, shortest first, so that little padding is computed.

        Returns:
            `torch.Tensor` of shape `(concepts, dim)`.
        """
        lengths = attention_mask.sum(-1)
        order = lengths.argsort()
        pooled = [
            self._pool_concepts(input_ids[rows, :longest], attention_mask[rows, :longest])
            for rows in order.split(chunk_size)
            for longest in [int(lengths[rows[-1]])]
        ]
        restored = torch.cat(pooled)[order.argsort()]
        return self.scorer.prepare(self.concept_projection(restored))

    def _pool_concepts(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.concept_encoder(input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.concept_pooling == "cls":
            return states[:, 0]
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1)

    def forward(
        self,
        input_ids: Tensor,
        concept_input_ids: Tensor,
        attention_mask: Tensor | None = None,
        concept_attention_mask: Tensor | None = None,
        special_tokens_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        boundary_labels: Tensor | None = None,
        return_logits: bool = True,
        **kwargs: Any,
    ) -> NuNerConceptContrastOutput:
        """Score every token against every concept of the batch, and only those.

        Args:
            input_ids (`torch.Tensor` of shape `(batch, tokens)`): int64.
            concept_input_ids (`torch.Tensor` of shape `(concepts, concept_tokens)`): int64, each distinct concept of
                the batch once.
            attention_mask, concept_attention_mask (`torch.Tensor`, *optional*): 1 for tokens, 0 for padding.
            special_tokens_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*): 1 for special tokens; they,
                like padding, take no part in the loss, and their logits are the dtype's minimum.
            labels (`torch.Tensor` of shape `(batch, tokens, concepts)`, *optional*): 1 positive, 0 negative,
                -100 neither. Any integer type; int8 keeps it small.
            boundary_labels (`torch.Tensor` of shape `(batch, tokens)`, *optional*): int64, 0 outside of all mentions,
                1 the first token of one, 2 a further one; with `config.boundary_weight` they add to the loss.
            return_logits (`bool`): `False` saves the memory of all scores at once; the loss is computed in chunks of
                `config.score_chunk_size` concepts either way.
        """
        if concept_attention_mask is None:
            concept_attention_mask = torch.ones_like(concept_input_ids)
        if token_type_ids is not None:
            kwargs["token_type_ids"] = token_type_ids
        retention = self.retention if self.training else None
        output = self._run_token_encoder(input_ids, attention_mask, deep=retention is not None, **kwargs)
        states = self._select_layers(output)
        tokens = self._to_common_space(states)
        concepts = self.encode_concepts(concept_input_ids, concept_attention_mask)
        scored = _scored_tokens(input_ids, attention_mask, special_tokens_mask)
        loss = None
        if labels is not None:
            config = self.config
            loss = contrast_loss(self.scorer, tokens[scored], concepts, labels[scored], config.score_chunk_size)
            if self.mention_prior is not None and boundary_labels is not None:
                boundaries = self.mention_prior(states[scored]).float()
                loss = loss + config.boundary_weight * boundary_loss(boundaries, boundary_labels[scored])
            if retention is not None:
                middle = output.hidden_states[config.token_config.num_hidden_layers // 2]
                loss = loss + config.retention_weight * retention(states[scored], middle[scored])
        logits = None
        if return_logits:
            logits = self.scorer(tokens, concepts)
            logits = logits.masked_fill(~scored.unsqueeze(-1), torch.finfo(logits.dtype).min)
        return NuNerConceptContrastOutput(loss=loss, logits=logits, token_vectors=tokens, concept_vectors=concepts)


class NuNerForTokenClassification(NuNerPreTrainedModel):
    """A token encoder with a linear BIO head: the recognizer, or (without head) the foundation it is fitted on.

    Labels are `O`, then `B-<concept>`, `I-<concept>` per concept. The first sub-token of a mention is `B`, all further
    ones are `I`. With `config.nested`, each concept's (O, B, I) is a softmax of its own, where O has the logit 0.

    Attributes:
        from_dual_encoder (`bool`): whether it was loaded from a dual encoder, at `name_or_path`, whose concept encoder
            it has left behind.
    """

    from_dual_encoder = False

    def __init__(self, config: NuNerConfig) -> None:
        super().__init__(config)
        self.token_encoder = build_encoder(config.token_config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels) if config.num_labels else None
        self.post_init()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the token encoder, loaded from where the model came from on first use."""
        if getattr(self, "_tokenizer", None) is None:
            # With a configuration given, none is loaded: that of our own layout would ask for trust_remote_code again
            self._tokenizer = AutoTokenizer.from_pretrained(
                self.name_or_path, config=self.config.token_config, **getattr(self, "_hub_kwargs", {})
            )
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    @property
    def labels(self) -> list[str]:
        """The concepts that the head knows, in the order of its outputs."""
        return [self.config.id2label[index][2:] for index in range(1, self.config.num_labels, 2)]

    def set_head(self, weight: Tensor, bias: Tensor, concepts: dict[str, str], *, nested: bool = False) -> None:
        """Put a fitted linear head in place.

        Args:
            weight (`torch.Tensor` of shape `(1 + 2 × concepts, hidden_size)`): rows O, B-first, I-first, B-second, ….
            bias (`torch.Tensor` of shape `(1 + 2 × concepts,)`)
            concepts (`dict[str, str]`): names and descriptions, in the order of the rows.
            nested (`bool`): whether the head was fitted concept by concept.
        """
        expected = (1 + 2 * len(concepts), self.config.hidden_size)
        if tuple(weight.shape) != expected or tuple(bias.shape) != expected[:1]:
            raise ValueError(f"head of shape {tuple(weight.shape)} for {len(concepts)} concepts; expected {expected}.")
        self.config.id2label = dict(enumerate(bio_labels(concepts)))
        self.config.label2id = {label: index for index, label in self.config.id2label.items()}
        self.config.nested = nested
        self.config.concepts = dict(concepts)
        self.config.fitted = None  # that was another head
        self.classifier = nn.Linear(expected[1], expected[0], device=self.device, dtype=self.dtype)
        self.classifier.load_state_dict({"weight": weight, "bias": bias})

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        """Logits of every token.

        Args:
            input_ids, attention_mask (`torch.Tensor` of shape `(batch, tokens)`)
            labels (`torch.Tensor`, *optional*): flat: `(batch, tokens)`, label ids; nested:
                `(batch, tokens, concepts)`, 0 outside, 1 begin, 2 inside. -100 is ignored in both.

        Raises:
            ValueError: if the model has no head yet.
        """
        if self.classifier is None:
            raise ValueError(
                "this NuNerForTokenClassification has no head yet: fit one with nerfound.fit(examples, foundation=…), "
                'or give examples to pipeline("few-shot-ner", model=…, examples=[…]).'
            )
        logits = self.classifier(self.token_states(input_ids, attention_mask, **kwargs))
        loss = None
        if labels is not None:
            scores = nested_logits(logits) if self.config.nested else logits
            loss = F.cross_entropy(scores.float().flatten(0, -2), labels.flatten().long(), ignore_index=IGNORED)
        return TokenClassifierOutput(loss=loss, logits=logits)

    def new_head(self, labels: dict[int, str]) -> None:
        """Put a zero-initialised head with these labels in place, to be trained by the caller."""
        self.config.id2label = dict(labels)
        self.config.label2id = {label: index for index, label in labels.items()}
        self.classifier = nn.Linear(self.config.hidden_size, len(labels), device=self.device, dtype=self.dtype)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *args: Any,
        config: PreTrainedConfig | None = None,
        **kwargs: Any,
    ) -> NuNerForTokenClassification:
        """Load a recognizer or a foundation from any layout that holds one.

        Loads (a) own checkpoints, (b) the token encoder of a [`NuNerForConceptContrast`] checkpoint, (c) any plain
        encoder repository, and a linear BIO head on it if there is one. A checkpoint without a head gives a model
        without one, unless `num_labels` or `id2label` ask for a new head, which starts from zero.

        Args:
            pretrained_model_name_or_path (`str`): Hub id or folder.
            config (`PreTrainedConfig`, *optional*): its `token_layers` and labels take the place of the stored ones.
            kwargs: `token_layers`, `num_labels`, `id2label`, and what `AutoModel.from_pretrained` takes.

        Raises:
            ValueError: if a weight is missing, unexpected or mis-shaped: it is named.
        """
        name = str(pretrained_model_name_or_path)
        fields: dict[str, Any] = {
            key: kwargs.pop(key) for key in ("token_layers", "num_labels", "id2label", "label2id") if key in kwargs
        }
        hub = {key: kwargs[key] for key in _HUB_KWARGS if key in kwargs}
        consent = kwargs.pop("trust_remote_code", None) or False  # None would ask, and wait for an answer
        if isinstance(config, NuNerConfig):
            fields = {"token_layers": config.token_layers, "id2label": config.id2label} | fields
        if PreTrainedConfig.get_config_dict(name, **hub)[0].get("model_type") == NuNerConfig.model_type:
            stored = NuNerConfig.from_pretrained(name, **hub)  # no Auto class: no code of the repository is run
        else:
            stored = AutoConfig.from_pretrained(name, trust_remote_code=consent, **hub)
        kwargs.setdefault("dtype", torch.float32)
        kwargs.pop("_from_pipeline", None)
        model = (
            cls._from_nuner(name, stored, kwargs)
            if isinstance(stored, NuNerConfig)
            else cls._from_plain(name, stored, kwargs)
        )
        model.name_or_path = model.config._name_or_path = name
        model._hub_kwargs = hub  # the tokenizer is to come from the same place
        return model._with_fields(fields).eval()

    @classmethod
    def _from_nuner(cls, name: str, stored: NuNerConfig, kwargs: dict[str, Any]) -> NuNerForTokenClassification:
        dropped: tuple[str, ...] = ()
        if stored.concept_config is not None:
            dropped = tuple(f"{part}." for part in _PARTS_BESIDE_TOKENS)
            stored.concept_config = None
            logger.warning(f"{name}: took the token encoder of the dual encoder; dropped {', '.join(dropped)}.")
        model = load_strictly(super().from_pretrained, name, config=stored, ignore=dropped, **kwargs)
        model.from_dual_encoder = bool(dropped)
        return model

    @classmethod
    def _from_plain(cls, name: str, stored: PreTrainedConfig, kwargs: dict[str, Any]) -> NuNerForTokenClassification:
        classifier = bool(stored.architectures) and stored.architectures[0].endswith("ForTokenClassification")
        concepts = bio_concepts(stored.id2label) if classifier else None
        if concepts is None:
            if classifier:
                logger.warning(f"{name}: took the encoder; its classifier's labels are no BIO labels, dropped.")
            encoder, head = load_encoder(name, config=stored, ignore=["classifier."] * classifier, **kwargs), None
        else:
            encoder, head = load_token_classifier(name, config=stored, **kwargs)
        return cls.from_parts(encoder, head, stored)

    @classmethod
    def from_parts(cls, encoder: PreTrainedModel, head: nn.Linear | None, stored: PreTrainedConfig) -> Self:
        """A model around an encoder and a head that are loaded; `stored` names its labels, and what `native` wrote."""
        own = stored.to_dict().get("nuner", {})
        with torch.device("meta"):  # an empty shell: the loaded encoder takes the place of its own
            model = cls(NuNerConfig(token_config=encoder.config))
        model.token_encoder = encoder
        if head is not None and (concepts := bio_concepts(stored.id2label)):
            index = {label: i for i, label in stored.id2label.items()}  # a stored label2id may be missing, or wrong
            rows = torch.tensor([index[label] for label in bio_labels(concepts)])
            descriptions = {concept: own.get("concepts", {}).get(concept, "") for concept in concepts}
            model.set_head(head.weight[rows], head.bias[rows], descriptions, nested=own.get("nested", False))
            model.config.fitted = own.get("fitted")
        return model

    def _with_fields(self, fields: dict[str, Any]) -> NuNerForTokenClassification:
        layers = tuple(fields.get("token_layers", self.config.token_layers))
        labels = fields.get("id2label") or {i: f"LABEL_{i}" for i in range(fields.get("num_labels") or 0)}
        labels = {int(index): label for index, label in labels.items()}
        if self.classifier is not None and (
            layers != self.config.token_layers or (labels and labels != self.config.id2label)
        ):
            raise ValueError(
                f"{self.name_or_path} has a head for {len(self.labels)} concepts on token_layers="
                f"{self.config.token_layers}; it cannot be loaded with other layers or labels. Fit a new one."
            )
        self.config.set_token_layers(layers)
        if labels and self.classifier is None:
            logger.warning(f"{self.name_or_path}: new head of {len(labels)} labels, all zero; train it before use.")
            self.new_head(labels)
        return self

    def native(self) -> PreTrainedModel | None:
        """This recognizer as the backbone's own `…ForTokenClassification`, sharing its weights.

        Returns:
            `PreTrainedModel` or `None`: `None` where the backbone's architecture cannot hold this head: it has more
            than a linear layer, or the head reads other layers than the last.
        """
        if self.classifier is None or self.config.token_layers != (-1,):
            return None
        model = build_native_classifier(self.config.token_config, self.config.id2label)
        if model is None or not is_linear_in_last_layer(model):
            return None
        setattr(model, model.base_model_prefix, self.token_encoder)
        model.classifier = self.classifier
        model.config.nuner = {name: getattr(self.config, name) for name in ("concepts", "nested", "fitted")}
        return model

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save a folder that also serves plain `pipeline("token-classification")`, tokenizer included.

        The backbone's own architecture is written wherever it can hold the head; otherwise our own layout, with the
        code that `trust_remote_code=True` needs. With `state_dict` (a Trainer's checkpoint), plainly our own layout.
        """
        if kwargs.pop("push_to_hub", False):
            self.save_and_push(save_directory, **kwargs)
            return
        if "state_dict" in kwargs:
            super().save_pretrained(save_directory, **kwargs)
            return
        # The plain pipeline cuts texts at this length; where the tokenizer names none, a long text would make it fail
        self.tokenizer.model_max_length = min(self.tokenizer.model_max_length, self.config.max_input_tokens)
        self.tokenizer.save_pretrained(save_directory)
        native = self.native()
        if native is not None:
            native.save_pretrained(save_directory, **kwargs)
            return
        os.makedirs(save_directory, exist_ok=True)
        self._auto_class = "AutoModelForTokenClassification"
        custom_object_save(self, save_directory, config=self.config)
        self.config.auto_map["AutoConfig"] = f"{NuNerConfig.__module__.rpartition('.')[2]}.{NuNerConfig.__name__}"
        super().save_pretrained(save_directory, **kwargs)

    def save_token_encoder(self, save_directory: str | os.PathLike) -> None:
        """Write the token encoder alone, as a plain encoder folder that `AutoModel.from_pretrained` loads."""
        self.token_encoder.save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)


def nested_logits(logits: Tensor) -> Tensor:
    """Per-concept logits of (O, B, I), O being 0: `(..., 1 + 2 × concepts)` to `(..., concepts, 3)`."""
    pairs = logits[..., 1:].unflatten(-1, (-1, 2))
    return F.pad(pairs, (1, 0))


def _projection(size: int, projection_dim: int | None) -> nn.Module:
    return nn.Identity() if projection_dim is None else nn.Linear(size, projection_dim, bias=False)


def _scored_tokens(input_ids: Tensor, attention_mask: Tensor | None, special_tokens_mask: Tensor | None) -> Tensor:
    scored = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    return scored if special_tokens_mask is None else scored & ~special_tokens_mask.bool()
