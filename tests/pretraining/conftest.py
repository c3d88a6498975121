"""What the tests of pre-training share: the arguments of a small run, and a cache of their own."""

import pytest

from tests.pretraining.helpers import BATCH, EPOCHS, write_passages


@pytest.fixture(scope="module")
def common(tmp_path_factory, encoders):
    """Arguments of every run: two random encoders with dropout, of different families, and sixty passages."""
    corpus = write_passages(tmp_path_factory.mktemp("corpus") / "corpus.jsonl")
    options = {
        "corpus": corpus,
        "token_encoder": encoders["roberta"],
        "concept_encoder": encoders["bert"],
        "held_out": 0.1,
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": BATCH,
        "learning_rate": 1e-4,
        "dropout": 0.1,
        "max_tokens": 48,
        "logging_steps": 1,
    }
    return [str(part) for name, value in options.items() for part in (f"--{name}", value)]


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """Keep what `datasets` caches out of the home folder, in this process and in those it starts."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder)
        patch.setenv("HF_DATASETS_CACHE", str(folder))
        yield
