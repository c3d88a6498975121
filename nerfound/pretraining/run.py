"""Pre-training from arguments to a trained foundation: read the corpus, build the model, train, evaluate, save."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, disable_progress_bars
from transformers import HfArgumentParser, set_seed
from transformers.utils.logging import disable_progress_bar

from ..corpus import load_packaged_corpus, read_corpus, split_held_out
from ..corpus.readers import PACKAGED_NAME
from ..modeling_nuner import NuNerPreTrainedModel
from .arguments import PretrainingArguments
from .contrast import contrast_trainer
from .fixed_ontology import fixed_ontology_trainer
from .mentions import PASSAGES, measure_mention_prior
from .record import write_record
from .trainer import FoundationTrainer

logger = logging.getLogger(__name__)

DESCRIPTION = """Train the dual encoder of NuNER on a concept corpus; its token encoder is the foundation model.
With --objective fixed-ontology, the baseline: a token classifier for the corpus's most frequent concepts.

examples:
  nerfound pretrain --output_dir foundation
  nerfound pretrain --output_dir foundation --num_train_epochs 10 --resume_from_checkpoint last
  nerfound pretrain --output_dir baseline --objective fixed-ontology --num_concepts 315
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


def pretrain(args: PretrainingArguments) -> NuNerPreTrainedModel:
    """Train as the arguments say; the model, its tokenizers and `trainer_state.json` end up in `args.output_dir`.

    Returns:
        [`NuNerForConceptContrast`] or, for the objective `"fixed-ontology"`, [`NuNerForTokenClassification`].

    Raises:
        ValueError: if the output folder holds a run and `resume_from_checkpoint` does not say to go on with it.
    """
    checkpoint = find_checkpoint(args)
    args._n_gpu = min(args.n_gpu, 1)  # nn.DataParallel would split a batch's concepts as if they were passages
    set_seed(args.seed)
    with args.main_process_first(desc="reading the corpus"):
        train, held_out = read_passages(args)
    make_trainer = contrast_trainer if args.objective == "contrast" else fixed_ontology_trainer
    trainer = make_trainer(args, train, held_out)
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.log_metrics("train", result.metrics)
    collator = trainer.data_collator
    if collator.cut_passages:
        logger.warning(
            f"{collator.cut_passages:,} times a passage was cut after {collator.max_tokens} tokens (--max_tokens)."
        )
    if args.should_save:
        write_record(args, train, held_out)
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
    if newest is None and (folder / "config.json").exists():
        raise ValueError(f"{folder} holds a finished model and no checkpoint to go on from: give another --output_dir.")
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


def save_foundation(trainer: FoundationTrainer, args: PretrainingArguments) -> NuNerPreTrainedModel:
    """Save the trained model (LoRA merged) with its tokenizers, metrics and trainer state."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if args.lora_rank:
        model = trainer.model = model.merge_and_unload()
    if getattr(model, "retention", None) is not None:
        model.retention, model.config.retention_weight = None, 0.0  # its decoder was for training alone
    if getattr(model, "mention_prior", None) is not None:
        sample = trainer.train_dataset.shuffle(seed=args.seed)
        measure_mention_prior(model.eval(), trainer.data_collator, sample.select(range(min(PASSAGES, len(sample)))))
    trainer.save_model(_internal_call=True)  # the Trainer would push it now, before it is measured
    trainer.save_state()
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    if args.push_to_hub and trainer.is_world_process_zero():
        publish(args)
    return model.eval()


def publish(args: PretrainingArguments) -> None:
    """Push the output folder: model, tokenizers, and a card with the record, curve and metrics of this run."""
    hub = importlib.import_module("nerfound.hub")  # a room downstream of this one, which only --push_to_hub enters
    push = hub.push_foundation if args.objective == "contrast" else hub.push_recognizer
    push(
        args.output_dir,
        args.hub_model_id or Path(args.output_dir).resolve().name,
        private=args.hub_private_repo,
        revision=args.hub_revision,
        token=args.hub_token,
    )
