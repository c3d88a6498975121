"""`nerfound demo`: the whole method on one machine, in minutes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.text import Text
from transformers import AutoTokenizer, pipeline

import nerfound

from ..corpus import load_packaged_corpus
from ..evaluation.benchmark import run_benchmark
from ..evaluation.outputs import write_reports
from ..evaluation.summary import summarise
from ..evaluation.tasks import read_task
from ..files import write_text_atomically
from ..offline import DEFAULT_ENCODER, resolve_encoder
from ..pretraining import PretrainingArguments, pretrain
from ..pretraining.collator import ConceptContrastCollator
from .comparison import progress_bar
from .tables import headline_rows, transfer_table

TASKS = Path(nerfound.__file__).parent / "data" / "tasks"
SHOTS = (1, 4, 16)
REPEATS = 5
MOST_EPOCHS = 5.0
TASK_TO_SHOW = "home_repairs"
PARAGRAPH = (
    "The landlord sent a plumber because the combi boiler in the utility room kept losing pressure. He bled the towel "
    "rail with a radiator key, found a weeping compression joint under the kitchen sink, cut out 40 cm of copper pipe "
    "with a pipe slice and fitted a new Honeywell valve. Now there is a damp patch on the ceiling of the hallway."
)
COLORS = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan")


def run_demo(output: Path, minutes: float) -> None:
    """Train a foundation, compare it with its base encoder, extract entities; write `results.json`."""
    console = Console()
    started = time.monotonic()
    foundation = output / "foundation"
    output.mkdir(parents=True, exist_ok=True)
    corpus = load_packaged_corpus()
    annotations = sum(map(len, corpus["entities"]))
    console.rule("1. The concept corpus")
    console.print(f"{len(corpus):,} passages, {annotations:,} annotations: mention, concept, description. For example:")
    example = next(row for row in corpus if len(row["entities"]) >= 5)
    console.print(example["text"], style="italic")
    for entity in example["entities"][:5]:
        console.print(f"  {entity['text']} -|- {entity['concept']} -|- {entity['description']}", highlight=False)

    console.rule("2. The concept contrast")
    if (foundation / "config.json").exists():
        console.print(f"{foundation} is there from an earlier run: not trained again. Remove it to train anew.")
    else:
        train_foundation(foundation, minutes, console)

    console.rule("3. Few-shot recognizers: the base encoder against the foundation")
    base = resolve_encoder(DEFAULT_ENCODER)
    tasks = [read_task(folder) for folder in sorted(TASKS.iterdir()) if folder.is_dir()]
    encoders = {"base": base, "foundation": str(foundation)}
    benchmark = output / "benchmark"
    with progress_bar() as progress:
        result = run_benchmark(encoders, tasks, benchmark, shots=SHOTS, repeats=REPEATS, progress=progress)
    write_reports(result, benchmark)
    summary = summarise(result.frame)
    write_text_atomically(output / "results.json", json.dumps({"rows": headline_rows(summary)}, indent=1) + "\n")
    console.print(transfer_table(summary))
    console.print(
        f"Mean ± standard deviation of {REPEATS} draws of the examples. Figures: {output / 'results.json'}; "
        f"curves and tables: {benchmark}"
    )

    console.rule("4. A recognizer at work")
    task = next(task for task in tasks if task.name == TASK_TO_SHOW)
    recognizer = nerfound.fit(task.train, foundation=str(foundation))
    recognizer.save_pretrained(output / "recognizer")
    show_entities(pipeline("few-shot-ner", model=recognizer), console)

    console.rule("5. What next")
    console.print(
        f"Your own recognizer: write some examples, one per line, like\n"
        f"    book a table at [Nobu](restaurant) in [Leeds](city)\n"
        f"into examples.txt, then\n"
        f"    nerfound fit examples.txt --foundation {foundation} -o my-recognizer\n"
        f'    echo "is there a table at Noma tonight?" | nerfound extract my-recognizer -\n'
        f"A better foundation: nerfound pretrain --help. Took {(time.monotonic() - started) / 60:.1f} minutes.",
        markup=False,
        highlight=False,
    )


def train_foundation(output: Path, minutes: float, console: Console) -> None:
    """Train for about as many minutes as given, at most five epochs."""
    args = PretrainingArguments(
        output_dir=str(output), eval_strategy="no", save_strategy="no", use_cpu=not torch.cuda.is_available()
    )
    passages = len(load_packaged_corpus()) * (1 - args.held_out)
    seconds = seconds_per_step(args)
    steps_per_epoch = passages / args.per_device_train_batch_size
    args.num_train_epochs = round(min(MOST_EPOCHS, 60 * minutes / seconds / steps_per_epoch), 2)
    expected = args.num_train_epochs * steps_per_epoch * seconds / 60
    console.print(
        f"Training token and concept encoder from {DEFAULT_ENCODER} for {args.num_train_epochs} epochs "
        f"({seconds:.2f} s per step of {args.per_device_train_batch_size} passages: about {expected:.0f} minutes)"
    )
    pretrain(args)


def seconds_per_step(args: PretrainingArguments, steps: int = 8) -> float:
    """Time of a training step on this machine, measured on a throw-away model."""
    encoder = resolve_encoder(args.token_encoder)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    collator = ConceptContrastCollator(tokenizer, tokenizer)
    model = nerfound.NuNerForConceptContrast.from_encoders(encoder, encoder).to(args.device)
    model.set_attn_implementation("eager" if args.device.type == "cpu" else "sdpa")
    rows = list(load_packaged_corpus().take((steps + 2) * args.per_device_train_batch_size))
    started = time.monotonic()
    for step in range(steps + 2):
        if step == 2:  # the first two warm up
            started = time.monotonic()
        batch = collator(rows[step :: steps + 2])
        with torch.autocast(args.device.type, torch.bfloat16, enabled=bool(args.bf16)):
            inputs = {name: tensor.to(args.device) for name, tensor in batch.items()}
            loss = model(**inputs, return_logits=False).loss
        loss.backward()
    return (time.monotonic() - started) / steps


def show_entities(pipe: nerfound.FewShotNerPipeline, console: Console) -> None:
    """Print a paragraph with its entities in colour, and a line for each."""
    entities = pipe(PARAGRAPH)
    text = Text(PARAGRAPH)
    colors = dict(zip(pipe.model.labels, COLORS, strict=False))
    for entity in entities:
        text.stylize(f"bold {colors.get(entity['entity_group'], 'white')}", entity["start"], entity["end"])
    console.print(text)
    for entity in entities:
        typer.echo(f"  {entity['word']:<24} {entity['entity_group']:<14} {entity['score']:.2f}")
