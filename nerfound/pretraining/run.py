"""Pre-training from arguments to a trained foundation: read the corpus, build the model, train, evaluate, save."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import AutoTokenizer, HfArgumentParser, PreTrainedTokenizerBase, set_seed
from transformers.utils.logging import disable_progress_bar

from ..concepts import concept_key
from ..corpus import load_packaged_corpus, read_corpus, split_held_out
from ..corpus.readers import PACKAGED_NAME
from ..modeling_nuner import NuNerForConceptContrast
from ..offline import resolve_encoder
from .arguments import PretrainingArguments
from .collator import ConceptContrastCollator, NearDuplicates
from .ranking import encode_concept_texts
from .trainer import ConceptContrastTrainer

logger = logging.getLogger(__name__)

DESCRIPTION = """Train the dual encoder of NuNER on a concept corpus; its token encoder is the foundation model.

examples:
  nerfound pretrain --output_dir foundation
  nerfound pretrain --output_dir foundation --num_train_epochs 10 --resume_from_checkpoint last
  accelerate launch --num_processes 2 -m nerfound.pretraining --token_encoder FacebookAI/roberta-base \\
      --corpus corpus.parquet --output_dir foundation
"""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the examples, and shows defaults."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of `accelerate launch -m nerfound.pretraining` and of `nerfound pretrain`."""
    parser = HfArgumentParser(
        PretrainingArguments,
        prog="nerfound pretrain",
        usage="%(prog)s [--output_dir DIR] [--corpus CORPUS] [--token_encoder ENCODER] [further arguments]",
        description=DESCRIPTION,
        formatter_class=_HelpFormatter,
    )
    (args,) = parser.parse_args_into_dataclasses(list(sys.argv[1:] if arguments is None else arguments))
    logging.basicConfig(level=logging.INFO if args.should_log else logging.WARNING, format="%(message)s")
    if args.disable_tqdm:
        disable_progress_bars()
        disable_progress_bar()
    _warn_of_idle_devices(args)
    pretrain(args)


def _warn_of_idle_devices(args: PretrainingArguments) -> None:
    if args.n_gpu > 1:
        logger.warning(
            f"{args.n_gpu} GPUs are there, but one is used: start with accelerate launch --num_processes {args.n_gpu} "
            "-m nerfound.pretraining."
        )
    elif args.world_size == 1 and args.use_cpu and "MASTER_ADDR" in os.environ:
        # accelerate sets the address for several processes, but on CPUs leaves starting them to MPI
        logger.warning(
            "This is the only process: for several on CPUs, start with torchrun --nproc_per_node 2 "
            "-m nerfound.pretraining --use_cpu."
        )


def pretrain(args: PretrainingArguments) -> NuNerForConceptContrast:
    """Train as the arguments say; the model, its tokenizers and `trainer_state.json` end up in `args.output_dir`.

    Raises:
        ValueError: if the output folder holds a run and `resume_from_checkpoint` does not say to go on with it.
    """
    checkpoint = find_checkpoint(args)
    args._n_gpu = min(args.n_gpu, 1)  # nn.DataParallel would split a batch's concepts as if they were passages
    set_seed(args.seed)
    with args.main_process_first(desc="reading the corpus"):
        train, held_out = read_passages(args)
    token_encoder, concept_encoder = resolve_encoder(args.token_encoder), resolve_encoder(args.concept_encoder)
    tokenizer, concept_tokenizer = (AutoTokenizer.from_pretrained(name) for name in (token_encoder, concept_encoder))
    model = NuNerForConceptContrast.from_encoders(
        token_encoder,
        concept_encoder,
        trainable_layers=args.trainable_layers,
        token_layers=tuple(args.token_layers),
        score=args.score,
        projection_dim=args.projection_dim,
    ).to(args.device)
    if args.device.type == "cpu":
        # torch's fused attention has a slow backward pass on CPUs: 0.59 s against 0.24 s for 256 concepts in bfloat16
        model.set_attn_implementation("eager")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = args.dropout
    names = concept_names(train)
    collator = ConceptContrastCollator(
        tokenizer,
        concept_tokenizer,
        description_share=args.description_share,
        max_tokens=min(args.max_tokens, model.config.max_input_tokens),
        near_duplicates=near_duplicates(model, concept_tokenizer, names, args.near_duplicate_cosine),
        seed=args.seed,
    )
    logger.info(f"{len(train):,} passages with {len(names):,} concepts to train on; {len(held_out):,} held out")
    trainer = ConceptContrastTrainer(
        model=with_lora(model, args.lora_rank) if args.lora_rank else model,
        args=args,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=tokenizer,
        concept_tokenizer=concept_tokenizer,
        seen_concepts=frozenset(names),
    )
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.log_metrics("train", result.metrics)
    if collator.cut_passages:
        logger.warning(
            f"{collator.cut_passages:,} times a passage was cut after {collator.max_tokens} tokens (--max_tokens)."
        )
    return save_foundation(trainer, args)


def read_passages(args: PretrainingArguments) -> tuple[Dataset, Dataset]:
    """The passages to train on and those held out; passages that name no language count as in every language.

    Raises:
        ValueError: if the corpus has no passage in one of the languages.
    """
    corpus = load_packaged_corpus("all") if args.corpus == PACKAGED_NAME else read_corpus(args.corpus)
    if args.languages != ["all"]:
        wanted = {*args.languages, ""}
        known = set(corpus.unique("language"))
        if "" not in known and not known.issuperset(args.languages):
            raise ValueError(
                f"--languages {' '.join(args.languages)}: the passages of {args.corpus} are in "
                f"{', '.join(sorted(known))}; give some of these, or all."
            )
        corpus = corpus.filter(lambda language: language in wanted, input_columns="language")
    train, held_out = split_held_out(corpus, args.held_out, args.seed)
    if args.limit is not None:
        train = train.shuffle(seed=args.seed).select(range(min(args.limit, len(train))))
    return train, held_out


def concept_names(corpus: Dataset) -> dict[str, str]:
    """`concept_key` and name of every concept of a corpus, in order of appearance."""
    names: dict[str, str] = {}
    for entities in corpus.select_columns("entities"):
        for entity in entities["entities"]:
            names.setdefault(concept_key(entity["concept"]), entity["concept"])
    return names


def near_duplicates(
    model: NuNerForConceptContrast, tokenizer: PreTrainedTokenizerBase, names: dict[str, str], cosine: float | None
) -> NearDuplicates | None:
    """Near-duplicates by the vectors that the untrained concept encoder gives to the names."""
    if cosine is None or cosine > 1:
        return None
    return NearDuplicates(list(names), encode_concept_texts(model, tokenizer, list(names.values())), cosine)


def with_lora(model: NuNerForConceptContrast, rank: int) -> Any:
    """The model with LoRA adapters in the layers that would be trained, which are frozen themselves."""
    from peft import LoraConfig, get_peft_model  # an extra: only where it is asked for

    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.weight.requires_grad and "_encoder." in name
    ]
    whole = [
        name
        for name in ("scorer", "token_projection", "concept_projection")
        if any(True for _ in getattr(model, name).parameters())
    ]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, modules_to_save=whole)
    return get_peft_model(model, config)


def find_checkpoint(args: PretrainingArguments) -> str | None:
    """The checkpoint to go on from: as given, or with `last` the newest one that was written to its end.

    Raises:
        ValueError: if there are checkpoints and nothing says whether to go on from them.
    """
    folder = Path(args.output_dir)
    complete = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit() and _is_complete(path)]
    newest = max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    if args.resume_from_checkpoint is None:
        if newest is not None or (folder / "config.json").exists():
            raise ValueError(
                f"{folder} already holds a run: add --resume_from_checkpoint last to go on with it, "
                "or give another --output_dir."
            )
        return None
    if args.resume_from_checkpoint.lower() not in {"last", "true"}:
        return args.resume_from_checkpoint
    if newest is None:
        logger.warning(f"{folder} has no complete checkpoint yet: starting from the beginning.")
    return str(newest) if newest else None


def _is_complete(checkpoint: Path) -> bool:
    """The Trainer writes `trainer_state.json` last: a checkpoint without a readable one was cut off."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return True


def save_foundation(trainer: ConceptContrastTrainer, args: PretrainingArguments) -> NuNerForConceptContrast:
    """Save the trained dual encoder (LoRA merged) with its tokenizers, metrics and trainer state."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if args.lora_rank:
        model = trainer.model = model.merge_and_unload()
    trainer.save_model()
    trainer.save_state()
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    return model.eval()
