"""The multilingual recipe from end to end: all languages of the corpus, an encoder that keeps accents and scripts."""

import json
from collections import Counter, defaultdict

import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

import nerfound
from nerfound.corpus import load_packaged_corpus, read_jsonl, split_held_out
from nerfound.pretraining.collator import ConceptContrastCollator
from nerfound.pretraining.run import main
from nerfound.provenance import RECORD_FILE
from tests.pretraining.helpers import write_rows

EACH, HELD_OUT = 6, 0.1
TEXTS = {  # of characters that the tiny tokenizer knows
    "Chinese (simplified)": "[北京大学](university)行きました。",
    "Russian": "[Москва](city)へ行きました。",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Some passages of each of the eleven languages of the packaged corpus."""
    by_language = defaultdict(list)
    for row in load_packaged_corpus("all"):
        if len(by_language[row["language"]]) < EACH:
            by_language[row["language"]].append(row)
    assert len(by_language) == 11
    rows = [row for rows in by_language.values() for row in rows]
    return write_rows(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", rows)


@pytest.fixture(scope="module")
def trained(corpus, encoders, tmp_path_factory):
    """A foundation trained for one epoch on all of them, and how many passages of each language it was shown."""
    folder = tmp_path_factory.mktemp("run") / "foundation"
    shown = Counter()
    collate = ConceptContrastCollator.__call__

    def counting(self, rows):
        if self.augmentation is not None:  # evaluation shows passages as they are
            shown.update(row["language"] for row in rows)
        return collate(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConceptContrastCollator, "__call__", counting)
        options = {
            "corpus": corpus,
            "languages": "all",
            "token_encoder": encoders["mbert"],
            "concept_encoder": encoders["bert"],
            "output_dir": folder,
            "num_train_epochs": 1,
            "per_device_train_batch_size": 32,
            "held_out": HELD_OUT,
        }
        main([str(part) for name, value in options.items() for part in (f"--{name}", value)])
    return folder, shown


def test_every_language_is_trained_on(trained, corpus):
    folder, shown = trained
    train, held_out = split_held_out(read_jsonl(corpus), HELD_OUT, seed=42)
    assert len(train) + len(held_out) == 11 * EACH
    assert shown == Counter(train["language"])
    assert len(shown) == 11
    state = json.loads((folder / "trainer_state.json").read_text())
    assert state["global_step"] == -(-len(train) // 32)


def test_the_record_names_every_language(trained):
    folder, shown = trained
    record = json.loads((folder / RECORD_FILE).read_text())
    assert record["languages"] == sorted(shown)


def test_the_encoder_has_learned(trained, encoders):
    folder, _ = trained
    before = load_file(encoders["mbert"] / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    top = "encoder.layer.2.output.dense.weight"
    assert not torch.equal(after[f"token_encoder.{top}"], before[top])


@pytest.mark.parametrize("language", TEXTS)
def test_the_foundation_fits_and_extracts_where_no_spaces_or_no_latin_letters_are(trained, language):
    folder, _ = trained
    marked = TEXTS[language]
    mention, concept = marked[1:].split("]")[0], marked.split("(")[1].split(")")[0]
    text = marked.replace(f"[{mention}]({concept})", mention)
    recognizer = nerfound.fit([marked, "東京タワーへ行きました。"], foundation=folder, recipe="blog")
    (found,) = pipeline("few-shot-ner", model=recognizer, device="cpu")(text)
    assert text[found["start"] : found["end"]] == found["word"] == mention
    assert found["entity_group"] == concept
