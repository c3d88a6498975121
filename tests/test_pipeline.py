"""`pipeline("few-shot-ner")`: what it takes, what it answers, and that neither batches nor windows show."""

import itertools
import json
import subprocess
import sys
from itertools import pairwise

import datasets
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoModel, BertModel, pipeline
from transformers.pipelines.pt_utils import KeyDataset

import nerfound
from nerfound.modeling_nuner import NuNerForTokenClassification
from nerfound.pipeline_few_shot_ner import FewShotNerPipeline
from nerfound.spans import segment_words
from tests.factories import SENTENCES, edit_weights, make_encoder, make_recognizer, save_model
from tests.test_spans import PIECES

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
    "fly from [Berlin](city) (Tegel) to [New York](city) on 12.10.2024 at 10:30",
]
SENTENCE = "is there a free table at Noma, near the river in Paris?"
FIELDS = ["entity_group", "score", "word", "start", "end"]


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    """A foundation whose token vectors are functions of the token alone: neither place nor context matters."""
    folder = make_encoder("roberta", tmp_path_factory.mktemp("lexicon"))
    edit_weights(folder, lambda weights: weights["embeddings.position_embeddings.weight"].zero_())
    return NuNerForTokenClassification.from_pretrained(folder, token_layers=(-5,))


@pytest.fixture(scope="module")
def fitted(lexicon):
    """Knows the mentions of the examples by heart."""
    return pipeline("few-shot-ner", model=nerfound.fit(EXAMPLES, foundation=lexicon, l2=1e-3))


@pytest.fixture(scope="module")
def noisy(encoders):
    """A random recognizer by kind of encoder: finds something everywhere, and context matters."""
    return {kind: pipeline("few-shot-ner", model=make_recognizer(encoders[kind])) for kind in ("bert", "roberta")} | {
        "deberta": pipeline("few-shot-ner", model=make_recognizer(encoders["deberta"], nested=True))
    }


def found(entities):
    return [(entity["entity_group"], entity["word"], entity["start"]) for entity in entities]


def assert_same(answers, expected):
    """The same entities; scores up to the rounding of padded batches."""
    assert [found(entities) for entities in answers] == [found(entities) for entities in expected]
    for entities, others in zip(answers, expected, strict=True):
        assert [e["score"] for e in entities] == pytest.approx([e["score"] for e in others], abs=1e-4)


# --- registration


def run(script, *arguments):
    finished = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr


LOAD = """
import sys
from transformers import AutoModelForTokenClassification, pipeline
pipe = pipeline("few-shot-ner", model=sys.argv[1])
assert pipe(sys.argv[2])
model = AutoModelForTokenClassification.from_pretrained(sys.argv[1])
assert type(model) is type(pipe.model)
assert type(model).__module__ == "nerfound.modeling_nuner"
"""


@pytest.mark.parametrize(
    "first",  # that transformers comes first is what all other tests do, see conftest.py
    [
        "import sys, nerfound; assert 'transformers' not in sys.modules; import transformers",
        "from nerfound import NuNerForTokenClassification",
    ],
)
def test_registered_whatever_the_import_order(first, encoders, tmp_path):
    make_recognizer(encoders["roberta"], token_layers=(-1, -2)).save_pretrained(tmp_path)
    run(first + LOAD, tmp_path, SENTENCE)


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"torch", "transformers", "datasets", "numpy"}
    run(f"import nerfound, sys; loaded = {heavy!r} & set(sys.modules); assert not loaded, loaded")


# --- inputs and answers


def test_an_answer(fitted):
    answer = fitted(SENTENCE)
    assert found(answer) == [("restaurant", "Noma", 25), ("city", "Paris", 49)]
    for entity in answer:
        assert list(entity) == FIELDS
        assert entity["word"] == SENTENCE[entity["start"] : entity["end"]]
        assert 0.5 < entity["score"] <= 1
    assert json.loads(json.dumps(answer)) == answer


def test_inputs_of_every_kind(fitted, tmp_path):
    texts = [SENTENCE, "nothing here", "", "from Berlin"]
    expected = [fitted(text) for text in texts]
    assert [len(entities) for entities in expected] == [2, 0, 0, 1]
    assert fitted(texts) == expected
    assert fitted(tuple(texts)) == expected
    assert fitted([]) == []
    dataset = datasets.Dataset.from_dict({"text": texts, "id": [1, 2, 3, 4]})
    for stream in (iter(texts), dataset, dataset.to_iterable_dataset(), dataset["text"], KeyDataset(dataset, "text")):
        answers = fitted(stream)
        assert not isinstance(answers, list)
        assert list(answers) == expected


def test_a_stream_is_read_as_it_is_answered(fitted):
    read = 0

    def endless():
        nonlocal read
        for number in itertools.count():
            read += 1
            yield f"{number} times Noma"

    answers = fitted(endless(), batch_size=2)
    assert read == 0
    for number in range(100):
        assert found(next(answers)) == [("restaurant", "Noma", len(f"{number} times "))]
        assert number < read <= number + 2 * 16 + 1


def test_long_texts_of_a_stream_are_not_hoarded(fitted, monkeypatch):
    monkeypatch.setattr("nerfound.pipeline_few_shot_ner._CHARACTERS_AHEAD", 1000)
    read = []
    answers = fitted((read.append(1) or "at " * 200 for _ in range(50)), batch_size=32)
    next(answers)
    assert len(read) == 2


@pytest.mark.parametrize(
    "inputs", [["a", "b", "c", None], ["a", "b", "c", {"sentence": "d"}], iter(["a", "b", "c", 4])]
)
def test_what_is_no_text_is_named(fitted, inputs):
    with pytest.raises(TypeError, match=r"input 3 is (None|\{'sentence': 'd'\}|4): give a text"):
        list(fitted(inputs))


@pytest.mark.parametrize("inputs", [None, 5, b"bytes", {"text": "Noma"}, datasets.DatasetDict()])
def test_what_is_no_collection_of_texts_is_refused_at_once(fitted, inputs):
    with pytest.raises(TypeError, match=f"{type(inputs).__name__}.*give a text, a list of texts"):
        fitted(inputs)


# --- models, examples, parameters


def test_foundation_and_examples(lexicon, fitted, encoders):
    pipe = pipeline("few-shot-ner", model=lexicon, examples=EXAMPLES, fit_kwargs={"l2": 1e-3})
    assert pipe(SENTENCE) == fitted(SENTENCE)
    assert lexicon.classifier is None
    concepts = {"city": "A town.", "restaurant": ""}
    named = pipeline("few-shot-ner", model=str(encoders["bert"]), examples=EXAMPLES, fit_kwargs={"concepts": concepts})
    assert named.model.labels == ["city", "restaurant"]
    assert named.model.config.concepts == concepts


def test_examples_for_a_plain_model_object(encoders):
    model = BertModel.from_pretrained(encoders["bert"])
    pipe = pipeline("few-shot-ner", model=model, examples=EXAMPLES)
    assert pipe.model.token_encoder is model


def test_the_foundation_s_tokenizer_may_be_given(lexicon):
    tokenizer = lexicon.tokenizer.__class__.from_pretrained(lexicon.name_or_path)
    pipe = pipeline("few-shot-ner", model=make_recognizer(lexicon.name_or_path), tokenizer=tokenizer)
    assert pipe.tokenizer is tokenizer
    assert pipe.model.tokenizer is tokenizer


def test_a_foundation_alone_finds_nothing(encoders):
    with pytest.raises(ValueError, match=r"is a foundation without a head: give examples"):
        pipeline("few-shot-ner", model=str(encoders["bert"]))


def test_a_wrong_example_is_named(lexicon):
    with pytest.raises(ValueError, match=r"example 1: .*covers only white space"):
        pipeline("few-shot-ner", model=lexicon, examples=[EXAMPLES[0], "see [ ](city)"])


def test_a_checkpoint_that_does_not_fit_is_no_stock_model(encoders, tmp_path):
    """transformers would fall back to BertForTokenClassification, which makes up what is missing."""
    make_recognizer(encoders["bert"]).save_pretrained(tmp_path)
    edit_weights(tmp_path, lambda weights: weights.pop("classifier.weight"))
    with pytest.raises(ValueError, match=r"classifier\.weight is missing"):
        pipeline("few-shot-ner", model=str(tmp_path))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"threshold": 2}, ValueError, "threshold=2: .*from 0 to 1"),
        ({"threshold": -0.1}, ValueError, "threshold=-0.1"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"batch_size": -1}, ValueError, "batch_size=-1"),
        ({"aggregation_strategy": "simple"}, TypeError, "takes no aggregation_strategy"),
        ({"max_tokens": 65}, ValueError, "max_tokens=65, but this encoder reads at most 64"),
        ({"max_tokens": 0}, ValueError, "window of 0"),
        ({"overlap": 62}, ValueError, "overlap=62 leaves no room"),
    ],
)
def test_wrong_parameters(fitted, parameters, error, message):
    with pytest.raises(error, match=message):
        fitted(SENTENCE, **parameters)
    with pytest.raises(error, match=message):
        pipeline("few-shot-ner", model=fitted.model, **parameters)(SENTENCE)


def test_parameters_of_the_pipeline_and_of_the_call(noisy):
    model = noisy["bert"].model
    scores = [entity["score"] for entity in noisy["bert"](SENTENCE)]
    cut = sorted(scores)[len(scores) // 2]
    strict = pipeline("few-shot-ner", model=model, threshold=cut, max_tokens=32, overlap=4)
    answer = strict(SENTENCE)
    assert [entity["score"] for entity in answer] == [score for score in scores if score >= cut]
    assert len(answer) < len(scores)
    assert len(strict(SENTENCE, threshold=0.0)) == len(scores)
    assert len(strict(SENTENCE)) == len(answer)  # the call's own does not stick
    with pytest.raises(ValueError, match="max_tokens=99"):
        strict(SENTENCE, max_tokens=99)
    assert strict(SENTENCE, threshold=1.0) == []


# --- batches and windows do not show


def test_answers_depend_on_neither_batch_nor_order(noisy):
    texts = [*SENTENCES, SENTENCE, "", " ", "a", " ".join(SENTENCES)]
    for pipe in noisy.values():
        alone = [pipe(text) for text in texts]
        assert sum(map(len, alone)) > 20
        for batch_size in (1, 2, 5, 100):
            assert_same(pipe(texts, batch_size=batch_size), alone)
        assert_same(pipe(texts[::-1], batch_size=3)[::-1], alone)


@pytest.mark.parametrize("parameters", [{}, {"max_tokens": 20, "overlap": 0}, {"max_tokens": 17, "overlap": 11}])
def test_a_sentence_repeated_many_times(fitted, parameters):
    text = f" {SENTENCE}" * 300
    once = [(entity["entity_group"], entity["word"], entity["start"]) for entity in fitted(f" {SENTENCE}")]
    assert len(once) == 2
    size = len(SENTENCE) + 1
    expected = [(label, word, start + i * size) for i in range(300) for label, word, start in once]
    answer = fitted(text, **parameters)
    assert found(answer) == expected
    if parameters.get("overlap") != 0:  # without overlap a word may be cut in two
        for label in ("city", "restaurant"):
            scores = [entity["score"] for entity in answer if entity["entity_group"] == label]
            assert max(scores) - min(scores) < 1e-5


def test_an_entity_at_every_place_of_a_long_text(fitted):
    texts = [" at" * before + " New York" + " at" * 90 for before in range(130)]
    assert len(fitted.preprocess(texts[:1])) > 1
    answers = fitted(texts)
    assert [found(answer) for answer in answers] == [[("city", "New York", 3 * n + 1)] for n in range(130)]


def test_a_text_of_a_megabyte(lexicon):
    folder = lexicon.name_or_path
    pipe = pipeline("few-shot-ner", model=nerfound.fit(EXAMPLES, foundation=folder, token_layers=(-5,), l2=1e-3))
    pipe.model.token_encoder.encoder.layer = torch.nn.ModuleList()  # the embeddings are all that counts, and fast
    pipe.model.config.token_layers = (-1,)
    sentence = " a table at Noma, near the river in Paris for two people, quiet at night."
    count = 1_000_000 // len(sentence)
    answer = pipe(sentence * count)
    assert len(answer) == 2 * count
    assert found(answer[-2:]) == [
        ("restaurant", "Noma", (count - 1) * len(sentence) + 12),
        ("city", "Paris", (count - 1) * len(sentence) + 36),
    ]


# --- any text at all


anything = st.one_of(
    st.text(),
    st.text(alphabet=st.characters(categories=["L", "M", "N", "P", "S", "Z", "C", "Cs"])),
    st.lists(st.sampled_from([*PIECES, *SENTENCES])).map("".join),
)


@given(st.lists(anything, max_size=3), st.sampled_from(["bert", "roberta", "deberta"]), st.integers(8, 64))
@example(["", " \n\t\u3000", "\x00", "\ud83d \udc4d", "İ", "İ̇ İstanbul", "👩‍👩‍👧" * 30, "a" * 500], "bert", 8)
@example(["\u0301" * 200, "שלום 東京 مَرْحَبًا", "\r\n\r\n", "<s></s> [SEP]", "\ufffd", "\u202eRTL"], "roberta", 9)
def test_any_text(noisy, texts, kind, max_tokens):
    pipe = noisy[kind]
    nested = pipe.model.config.nested
    for text, entities in zip(texts, pipe(texts, max_tokens=max_tokens, batch_size=2), strict=True):
        words = segment_words(text)
        starts, ends = {start for start, _ in words}, {end for _, end in words}
        for entity in entities:
            assert list(entity) == FIELDS
            assert text[entity["start"] : entity["end"]] == entity["word"] != ""
            assert entity["start"] in starts
            assert entity["end"] in ends
            assert entity["entity_group"] in pipe.model.labels
            assert 0 < entity["score"] <= 1
        if nested:
            assert [e["start"] for e in entities] == sorted(e["start"] for e in entities)
        else:
            assert all(a["end"] <= b["start"] for a, b in pairwise(entities))


# --- saving


def test_half_precision(encoders, tmp_path):
    save_model(AutoModel.from_pretrained(encoders["bert"], dtype=torch.float16), "bert", tmp_path)
    pipe = pipeline("few-shot-ner", model=str(tmp_path), examples=EXAMPLES, fit_kwargs={"l2": 1e-4})
    assert pipe.model.dtype == pipe.model.classifier.weight.dtype == torch.float16  # as transformers' pipelines do
    assert [word for _, word, _ in found(pipe(SENTENCES[0]))] == ["Nobu", "Paris"]


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta"])
def test_save_and_load(noisy, kind, tmp_path):
    noisy[kind].save_pretrained(tmp_path)
    loaded = pipeline("few-shot-ner", model=str(tmp_path))
    assert isinstance(loaded, FewShotNerPipeline)
    assert loaded(SENTENCES) == noisy[kind](SENTENCES)
    assert any(loaded(SENTENCES))
    assert loaded.model.config.nested == (kind == "deberta")


def test_save_and_load_with_other_layers(fitted, tmp_path):
    fitted.save_pretrained(tmp_path)
    loaded = pipeline("few-shot-ner", model=str(tmp_path))
    assert loaded(SENTENCE) == fitted(SENTENCE)
    assert loaded.model.config.token_layers == (-5,)
