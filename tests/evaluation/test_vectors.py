"""The cache of token vectors: what is in it is not computed again, and what is not whole is not in it."""

import pytest
import torch

from nerfound.evaluation import vectors as module
from nerfound.evaluation.vectors import VectorCache, encoder_fingerprint
from nerfound.fewshot.embedding import embed_examples
from nerfound.fewshot.fitting import load_foundation
from nerfound.fewshot.formats import Example
from tests.factories import SENTENCES, edit_weights, make_encoder

EXAMPLES = [Example(text, ()) for text in SENTENCES[:4]]
LONG = Example(" ".join(SENTENCES), ())  # of several windows


@pytest.fixture(scope="module")
def model(encoders):
    return load_foundation(str(encoders["bert"]))


@pytest.fixture
def embedded_texts(monkeypatch):
    """How many windows the encoder is run on, call by call."""
    calls = []
    embed_windows = module.embed_windows

    def counting(model, windows, **options):
        calls.append(len(windows))
        return embed_windows(model, windows, **options)

    monkeypatch.setattr(module, "embed_windows", counting)
    return calls


def shards(cache):
    return sorted(cache.folder.glob("*.safetensors"))


def assert_vectors_of(model, embedded, examples):
    """What is embedded without a cache."""
    expected = embed_examples(model, examples)
    assert embedded.examples == examples
    assert [window.text for window in embedded.windows] == [window.text for window in expected.windows]
    assert [window.inputs for window in embedded.windows] == [window.inputs for window in expected.windows]
    for found, wanted in zip(embedded.vectors, expected.vectors, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted)


def assert_equal(one, other):
    assert len(one.vectors) == len(other.vectors)
    assert all(torch.equal(a, b) for a, b in zip(one.vectors, other.vectors, strict=True))


def test_what_is_embedded_once_is_not_embedded_again(model, tmp_path, embedded_texts):
    examples = [*EXAMPLES, LONG]
    first = VectorCache(tmp_path, model).embed(examples)
    assert_vectors_of(model, first, examples)
    (windows,) = embedded_texts
    assert windows == len(first.windows) > len(examples)
    again = VectorCache(tmp_path, model).embed(examples)
    assert embedded_texts == [windows]
    assert_equal(first, again)
    assert len(shards(VectorCache(tmp_path, model))) == 1


def test_only_new_sentences_are_embedded(model, tmp_path, embedded_texts):
    """Whatever is asked for, and in whatever order and company."""
    cache = VectorCache(tmp_path, model)
    cache.embed(EXAMPLES[:2])
    mixed = [EXAMPLES[3], EXAMPLES[1], EXAMPLES[2], EXAMPLES[0]]
    assert_vectors_of(model, cache.embed(mixed), mixed)
    assert embedded_texts == [2, 2]
    assert_vectors_of(model, cache.embed(EXAMPLES[::-1]), EXAMPLES[::-1])
    assert embedded_texts == [2, 2]
    assert len(shards(cache)) == 2


def test_a_sentence_given_twice_is_embedded_once(model, tmp_path, embedded_texts):
    cache = VectorCache(tmp_path, model)
    twice = [EXAMPLES[0], EXAMPLES[1], EXAMPLES[0]]
    assert_vectors_of(model, cache.embed(twice), twice)
    assert_vectors_of(model, cache.embed(twice), twice)
    assert embedded_texts == [2]


def test_many_sentences_are_several_shards(model, tmp_path, embedded_texts, monkeypatch):
    monkeypatch.setattr(module, "_SHARD_WINDOWS", 3)
    cache = VectorCache(tmp_path, model)
    assert_vectors_of(model, cache.embed(EXAMPLES), EXAMPLES)
    assert_vectors_of(model, cache.embed(EXAMPLES), EXAMPLES)
    assert embedded_texts == [3, 1]
    assert len(shards(cache)) == 2


def test_words_do_not_matter_but_tokens_do(model, tmp_path, embedded_texts):
    cache = VectorCache(tmp_path, model)
    cache.embed([Example("at Nobu", ())])
    given = [Example("at  Nobu", (), ((0, 2), (4, 6), (6, 8)))]
    assert_vectors_of(model, cache.embed(given), given)
    assert embedded_texts == [1]  # the same tokens, with other words over them


@pytest.mark.parametrize("examples", [[], [Example("", ()), Example(" \n", ())]])
def test_nothing_to_embed(model, tmp_path, embedded_texts, examples):
    embedded = VectorCache(tmp_path, model).embed(examples)
    assert (embedded.windows, embedded.vectors, embedded_texts) == ([], [], [])


# Encoders


def test_every_encoder_has_its_own_folder(model, encoders, tmp_path, embedded_texts):
    path = encoders["bert"]
    other = make_encoder("bert", tmp_path / "other", seed=1)
    nudged = make_encoder("bert", tmp_path / "nudged")
    edit_weights(nudged, lambda weights: weights["embeddings.word_embeddings.weight"][2, 0].add_(1e-3))
    wider = make_encoder("bert", tmp_path / "wider", layer_norm_eps=1e-3)  # equal weights
    models = [
        model,
        load_foundation(str(path), token_layers=(-2, -1)),
        load_foundation(str(path), token_layers=(-2,)),
        *(load_foundation(str(folder)) for folder in (other, nudged, wider)),
    ]
    cache = tmp_path / "cache"
    found = [VectorCache(cache, one).embed(EXAMPLES) for one in models]
    assert embedded_texts == [4] * len(models)
    assert len(list(cache.iterdir())) == len(models)
    assert not any(torch.equal(found[0].vectors[0], one.vectors[0]) for one in found[1:])
    for one in models:
        assert_vectors_of(one, VectorCache(cache, one).embed(EXAMPLES), EXAMPLES)
    assert len(embedded_texts) == len(models)


def test_an_encoder_is_known_wherever_it_lies(model, tmp_path):
    copy = make_encoder("bert", tmp_path / "elsewhere")
    assert encoder_fingerprint(load_foundation(str(copy))) == encoder_fingerprint(model)


# Damage


def test_a_writer_killed_in_the_middle_leaves_nothing_that_is_read(model, tmp_path, embedded_texts):
    cache = VectorCache(tmp_path, model)
    first = cache.embed(EXAMPLES)
    (shard,) = shards(cache)
    half = shard.with_name(f".{shard.name}.0123abcd.partial")
    half.write_bytes(shard.read_bytes()[:1000])
    shard.unlink()
    assert_equal(VectorCache(tmp_path, model).embed(EXAMPLES), first)
    assert embedded_texts == [4, 4]
    assert shards(cache) == [shard]


def test_a_write_that_fails_leaves_nothing(model, tmp_path, embedded_texts, monkeypatch):
    def full_disk(shard, path):
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    cache = VectorCache(tmp_path, model)
    with monkeypatch.context() as patch:
        patch.setattr(module, "save_file", full_disk)
        with pytest.raises(OSError, match="no space left"):
            cache.embed(EXAMPLES)
    assert list(cache.folder.iterdir()) == []
    assert_vectors_of(model, cache.embed(EXAMPLES), EXAMPLES)
    assert embedded_texts == [4, 4]


@pytest.mark.parametrize("size", [0, 5, 300, -1])
def test_a_truncated_shard_is_replaced(model, tmp_path, embedded_texts, size):
    cache = VectorCache(tmp_path, model)
    kept = cache.embed(EXAMPLES[:1])
    (whole,) = shards(cache)
    first = cache.embed(EXAMPLES)
    (damaged,) = set(shards(cache)) - {whole}
    content = damaged.read_bytes()
    damaged.write_bytes(content[:size])
    again = VectorCache(tmp_path, model).embed(EXAMPLES)
    assert_equal(again, first)
    assert torch.equal(kept.vectors[0], again.vectors[0])
    assert embedded_texts == [1, 3, 3]
    assert damaged.read_bytes() == content
