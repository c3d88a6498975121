"""Draw annotations of a corpus at random, so that a reader can judge each against its text (docs/corpus_review.md).

    python -m tests.benchmarks.corpus_review --sample 200 --seed 0

Prints one JSON object per annotation, in the order of the corpus: where it stands (`id`, `start`, `end`), what it says,
the passage with the mention in double brackets, and the passage's other annotations.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from typing import Any

from datasets import Dataset

from nerfound.corpus import read_corpus
from nerfound.corpus.readers import PACKAGED_NAME


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=PACKAGED_NAME, help="as of `nerfound corpus`; of the packaged one: English")
    parser.add_argument("--sample", type=int, default=200, help="annotations to draw, without replacement")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for drawn in draw(read_corpus(args.corpus), args.sample, args.seed):
        print(json.dumps(drawn, ensure_ascii=False))


def draw(corpus: Dataset, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """English annotations drawn with equal chance, whatever their passage.

    Args:
        corpus (`datasets.Dataset`): with the columns of `CORPUS_FEATURES`.
        count (`int`): how many to draw.
        seed (`int`): the same corpus, count and seed give the same annotations.
    """
    english = corpus.filter(lambda language: language == "English", input_columns="language")
    places = [(row, number) for row, entities in enumerate(english["entities"]) for number in range(len(entities))]
    for row, number in sorted(random.Random(seed).sample(places, count)):
        passage = english[row]
        entity = passage["entities"].pop(number)
        text, start, end = passage["text"], entity["start"], entity["end"]
        yield {
            "id": passage["id"],
            **entity,
            "passage": f"{text[:start]}[[{text[start:end]}]]{text[end:]}",
            "others": [f"{other['text']} | {other['concept']}" for other in passage["entities"]],
        }


if __name__ == "__main__":
    main()
