"""Make the concept map that the page shows and the package ships: `python -m nerfound.space.maps`, minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..corpus import load_packaged_corpus
from ..corpus.concept_map import make_concept_map, write_concept_map_page
from ..corpus.statistics import corpus_statistics
from ..offline import DEFAULT_FOUNDATION
from ..pretraining.ranking import concept_name_encoder

MOST_CONCEPTS = 6_000
"""As many as keep the page below 250 kB."""


def write_packaged_map(foundation: str) -> Path:
    """Lay the most common concepts of the packaged corpus out by a foundation's concept encoder."""
    path = Path(__file__).parents[1] / "data" / "concept-map.html"
    statistics = corpus_statistics(load_packaged_corpus())
    concept_map = make_concept_map(statistics.concepts, concept_name_encoder(foundation), limit=MOST_CONCEPTS)
    write_concept_map_page(concept_map, path, "Concept map")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--foundation", default=DEFAULT_FOUNDATION)
    print(write_packaged_map(parser.parse_args().foundation))
