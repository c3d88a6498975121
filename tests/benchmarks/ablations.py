"""`python -m tests.benchmarks.ablations DATA -o DIR`: what each part of the pre-training recipe is worth.

Every variant is pre-trained on the same share of the packaged corpus and scored on the dev splits of the tasks in DATA
(a folder of folders), never on a test split: the blog's linear head and the recognizer's BIO head, without prior, mean
over the draws and tasks. Started again, it goes on: a finished variant is a line of `ablations.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerfound.corpus import load_packaged_corpus, write_parquet
from nerfound.evaluation.probes import SupportVectors, TestVectors
from nerfound.evaluation.tasks import Task, read_task
from nerfound.fewshot.embedding import embed_examples
from nerfound.fewshot.fitting import load_foundation
from nerfound.fewshot.heads import DEFAULT_L2
from nerfound.fewshot.sampler import sample_k_shot
from nerfound.markdown import markdown_table

TASKS = ("mit_movie", "mit_restaurant", "jnlpba", "wnut17")
SHOTS = (1, 4, 16, 64)
BASE = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Variant:
    """What differs from the reference.

    Args:
        options: further arguments of `nerfound pretrain`.
        share (`float`): of the reference's passages.
        patch (`str`, *optional*): of `ablation_patches`.
    """

    options: tuple[str, ...] = ()
    share: float = 1.0
    patch: str = ""


def options(*given: str) -> Variant:
    return Variant(given)


VARIANTS: dict[str, Variant] = {
    "reference": Variant(),
    "corpus: half": Variant(share=0.5),
    "corpus: twice": Variant(share=2),
    "corpus: four times": Variant(share=4),
    "corpus: and a tenth in other languages": Variant(("--languages", "all"), share=1.1),
    "objective: fixed ontology": options("--objective", "fixed-ontology"),
    "objective: the blog's recipe": options("--recipe", "blog"),
    "loss: focal": Variant(patch="focal"),
    "loss: softmax over concepts and none": Variant(patch="softmax"),
    "loss: a tenth of the unlabelled tokens": Variant(patch="sampled"),
    "no boundary loss": options("--boundary_weight", "0"),
    "boundary loss: weight 2": options("--boundary_weight", "2"),
    "no retention loss": options("--retention_weight", "0"),
    "retention loss: weight 0.2": options("--retention_weight", "0.2"),
    "retention loss: weight 2": options("--retention_weight", "2"),
    "neither boundary nor retention loss": options("--boundary_weight", "0", "--retention_weight", "0"),
    "concepts by name alone": options("--description_share", "0"),
    "concepts by name and description": options("--description_share", "1"),
    "score: raw dot product": options("--score", "dot"),
    "near duplicates are negatives": options("--near_duplicate_cosine", "2"),
    "no augmentation": options("--crop_share", "0", "--plain_share", "0"),
    "layers trained: top 1": options("--trainable_layers", "1"),
    "layers trained: all 6": options("--trainable_layers", "6"),
    "LoRA of rank 16": options("--lora_rank", "16", "--learning_rate", "1e-3"),
    "learning rate 2e-4": options("--learning_rate", "2e-4"),
    "learning rate 8e-4": options("--learning_rate", "8e-4"),
    "3 epochs": options("--num_train_epochs", "3"),
    "10 epochs": options("--num_train_epochs", "10"),
    "batch of 16": options("--per_device_train_batch_size", "16"),
    "dropout 0.1": options("--dropout", "0.1"),
    "learned projection of the last layer": options("--projection_dim", "384"),
    "learned mix of the last layer and the last frozen one": options("--token_layers", "-1", "-4"),
    "one encoder for tokens and concepts": Variant(patch="tied"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=f"folder with {', '.join(TASKS)}")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="NAME")
    parser.add_argument("--passages", type=int, default=1500, help="of the reference")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43], help="of pre-training")
    parser.add_argument("--draws", type=int, default=5, help="support sets per k")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"skipped: there is no {args.data}")
        return
    args.output.mkdir(parents=True, exist_ok=True)
    tasks = [read_task(args.data / name, split="dev", test_limit=400) for name in TASKS]
    results = args.output / "ablations.jsonl"
    done = {(row["variant"], row["seed"]): row for row in read_lines(results)}
    record(results, done, "base encoder", 0, lambda: {"scores": score(BASE, tasks, args.draws), "seconds": 0})
    for seed in args.seeds:
        for variant in args.variants:
            record(results, done, variant, seed, lambda v=variant, s=seed: train_and_score(v, s, args, tasks))
    print(table(list(done.values())))


def record(results: Path, done: dict, variant: str, seed: int, measure) -> None:
    """Measure what is not there yet, and keep it."""
    if (variant, seed) in done:
        return
    done[variant, seed] = {"variant": variant, "seed": seed} | measure()
    with results.open("a") as file:
        file.write(json.dumps(done[variant, seed]) + "\n")


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def train_and_score(variant: str, seed: int, args: argparse.Namespace, tasks: Sequence[Task]) -> dict:
    chosen = VARIANTS[variant]
    folder = args.output / f"{list(VARIANTS).index(variant)}-{seed}"
    entry = ["tests.benchmarks.ablation_patches", chosen.patch] if chosen.patch else ["nerfound", "pretrain"]
    command = [sys.executable, "-m", *entry, "--output_dir", str(folder), "--seed", str(seed)]
    command += ["--limit", str(round(args.passages * chosen.share)), "--save_strategy", "no"]
    command += ["--num_train_epochs", "5", "--corpus", str(first_writing(args.output))]
    command += ["--eval_strategy", "no", *chosen.options]
    print(f"{variant}, seed {seed}: {' '.join(command[3:])}", flush=True)
    started = time.perf_counter()
    if not (folder / "training.json").exists():
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    scores = score(str(folder), tasks, args.draws)
    (folder / "model.safetensors").unlink()
    return {"scores": scores, "seconds": round(seconds), "arguments": command[7:]}


def first_writing(folder: Path) -> Path:
    """The packaged corpus without its extension, which was written when these figures were there."""
    path = folder / "first-writing.parquet"
    if not path.exists():
        corpus = load_packaged_corpus("all")
        write_parquet(corpus.filter(lambda name: not name.startswith("2"), input_columns="id"), path)
    return path


def score(encoder: str, tasks: Sequence[Task], draws: int) -> dict[str, list[float]]:
    """Percent per k: token macro-F1 of the blog's head, strict entity micro-F1 of the BIO head."""
    model = load_foundation(encoder)
    cells = np.array([score_task(model, task, draws) for task in tasks])  # tasks, shots, draws, two figures
    token, strict = 100 * cells.mean(axis=(0, 2)).T
    return {"token": token.round(2).tolist(), "strict": strict.round(2).tolist()}


def score_task(model, task: Task, draws: int) -> list[list[tuple[float, float]]]:
    concepts = list(task.train.concepts)
    drawn = [[sample_k_shot(task.train.examples, k, seed, concepts) for seed in range(draws)] for k in SHOTS]
    union = sorted({index for of_k in drawn for indices in of_k for index in indices})
    position = {index: i for i, index in enumerate(union)}
    support = SupportVectors(embed_examples(model, [task.train.examples[i] for i in union]), concepts)
    test = TestVectors(embed_examples(model, task.test), concepts)

    def cell(indices: list[int]) -> tuple[float, float]:
        rows = [position[index] for index in indices]
        *_, macro = test.score(support.fit(rows, "blog", DEFAULT_L2), "blog")
        *_, micro, _ = test.score(support.fit(rows, "entity", DEFAULT_L2), "entity")
        return macro["token_f1"], micro["strict_f1"]

    return [[cell(indices) for indices in of_k] for of_k in drawn]


def table(rows: Sequence[dict]) -> str:
    """A row per variant: mean over the seeds of pre-training, and half of their range where there are two or more.

    Runs of one seed have passages and draws in common, so that variants are stated as differences from the reference of
    the same seed; the base encoder and the reference itself as they are.
    """
    figures = {
        (row["variant"], row["seed"]): np.array(row["scores"]["token"] + row["scores"]["strict"]) for row in rows
    }
    header = ["variant", "seeds", *(f"{name} k={k}" for name in ("token", "strict") for k in SHOTS)]
    body = []
    for variant in ("base encoder", *VARIANTS):
        own = {seed: values for (name, seed), values in figures.items() if name == variant}
        sign = ""
        if variant not in {"base encoder", "reference"}:
            paired = own.keys() & {seed for name, seed in figures if name == "reference"}
            own, sign = {seed: own[seed] - figures["reference", seed] for seed in paired}, "+"
        if own:
            values = np.stack(list(own.values()))
            cells = [f"{mean:{sign}z.1f}".replace("-", "−") for mean in values.mean(0)]
            if len(own) > 1:
                cells = [f"{cell} ± {half:.1f}" for cell, half in zip(cells, np.ptp(values, axis=0) / 2, strict=True)]
            body.append([variant, str(len(own)), *cells])
    return markdown_table(header, body)


if __name__ == "__main__":
    main()
