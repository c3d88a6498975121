"""`make bench`: how close extraction comes to a bare encoder forward, and whether its memory is flat.

Throughput: `pipe(texts)` (words, windows, tokenisation, encoder, head, Viterbi decoding, offsets) against the forward
pass of the same encoder alone over the same tokens, tokenised, sorted and padded beforehand; both in this process, in
turns, median of the rounds. Memory: peak resident size of `nerfound extract` on few and on many lines.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import torch
from transformers import pipeline

import nerfound
from nerfound.cli.demonstration import TASK_TO_SHOW, TASKS
from nerfound.offline import DEFAULT_ENCODER
from nerfound.windows import batch_windows, make_windows, pad_windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foundation", default=DEFAULT_ENCODER, help="Hub id or folder")
    parser.add_argument("--texts", type=int, default=2000, help="texts of the throughput measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, nargs=2, default=(1_000, 50_000), help="lines of the memory measurement")
    args = parser.parse_args()
    texts = nerfound.load_packaged_corpus()["text"][:]
    recognizer = nerfound.fit(TASKS / TASK_TO_SHOW / "train.txt", foundation=args.foundation)
    throughput(recognizer, list(islice(cycle(texts), args.texts)), args.rounds)
    memory(recognizer, texts, args.lines)


def throughput(recognizer: nerfound.NuNerForTokenClassification, texts: list[str], rounds: int) -> None:
    pipe = pipeline("few-shot-ner", model=recognizer, device="cpu")
    tokenizer = recognizer.tokenizer
    windows = make_windows(tokenizer, texts)
    batches = [pad_windows([windows[i] for i in batch], tokenizer) for batch in batch_windows(windows, 32)]
    tokens = sum(map(len, windows))

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                recognizer.token_encoder(**batch)

    times: dict[str, list[float]] = {"bare": [], "pipe": []}
    for number in range(rounds + 1):  # the first round warms up
        for name, run in (("bare", bare), ("pipe", lambda: pipe(texts))):
            started = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - started)
    encoder, whole = median(times["bare"]), median(times["pipe"])
    print(f"{len(texts):,} texts, {tokens:,} tokens, {len(recognizer.labels)} concepts, {rounds} rounds")
    print(f"bare encoder forward  {encoder:6.2f} s  {tokens / encoder:8,.0f} tokens/s")
    print(f"pipeline              {whole:6.2f} s  {tokens / whole:8,.0f} tokens/s")
    print(f"ratio                 {encoder / whole:6.2f}")


def memory(recognizer: nerfound.NuNerForTokenClassification, texts: list[str], sizes: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        recognizer.save_pretrained(path / "recognizer")
        for size in sizes:
            (path / "texts.txt").write_text("".join(f"{text}\n" for text in islice(cycle(texts), size)))
            command = [sys.executable, "-m", "nerfound", "extract", "recognizer", "texts.txt", "-o", "out.jsonl"]
            started = time.perf_counter()
            process = subprocess.Popen(command, cwd=path)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"nerfound extract ended with status {status}")
            seconds = time.perf_counter() - started
            print(f"extract of {size:6,} lines  {seconds:6.1f} s  peak {usage.ru_maxrss / 1024:7,.0f} MiB")


if __name__ == "__main__":
    main()
