"""Cards: valid metadata, nothing that was not recorded, and examples that run."""

import importlib.util
import json
import re
from itertools import pairwise

import pytest
from huggingface_hub import DatasetCard, ModelCard
from markdown_it import MarkdownIt
from PIL import Image

from nerfound.corpus import load_packaged_corpus, write_parquet
from nerfound.evaluation.benchmark import run_benchmark
from nerfound.evaluation.outputs import write_reports
from nerfound.evaluation.scoring import evaluate_recognizer
from nerfound.evaluation.summary import summarise
from nerfound.evaluation.tasks import Task
from nerfound.fewshot import fit, parse_examples, read_examples
from nerfound.hub import push_corpus, push_foundation, push_recognizer
from nerfound.hub.curves import plot_training
from nerfound.hub.records import TrainingRun
from nerfound.hub.staging import stage_corpus, stage_foundation, stage_recognizer
from nerfound.hub.templates import template
from nerfound.provenance import is_hub_id, public_command, public_name
from tests.factories import make_contrast, make_recognizer, tokenizer_of
from tests.fakes.card_metadata import check

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
    "Marie Curie was born in [Warsaw](city) in 1867; she died in 1934.",
]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
RECORD = {
    "objective": "contrast",
    "token_encoder": "FacebookAI/roberta-base",
    "concept_encoder": "sentence-transformers/all-MiniLM-L6-v2",
    "corpus": "acme/corpus",
    "languages": ["English", "German"],
    "passages": 5685,
    "held_out_passages": 320,
    "processes": 2,
    "arguments": {"learning_rate": 0.0004, "seed": 42},
    "versions": {"nerfound": "0.1.0", "torch": "2.13.0"},
}
LOG = [
    {"epoch": 0.5, "step": 10, "loss": 2.5, "learning_rate": 1e-4},
    {"epoch": 1.0, "step": 20, "loss": 1.5},
    {"epoch": 1.0, "step": 20, "eval_loss": 1.75, "eval_runtime": 3.0},
    {"epoch": 1.0, "step": 20, "eval_map": 0.4321},
    {"epoch": 1.0, "step": 20, "train_loss": 2.0, "train_runtime": 200.0},
]


@pytest.fixture
def foundation(encoders, tmp_path):
    """A dual encoder that left no record of its training."""
    folder = make_contrast(tmp_path / "my-foundation", encoders["roberta"], encoders["bert"])
    tokenizer_of("bert").save_pretrained(folder / "concept_tokenizer")
    return folder


@pytest.fixture
def trained(foundation):
    """A dual encoder with the record of its training."""
    (foundation / "training.json").write_text(json.dumps(RECORD))
    (foundation / "trainer_state.json").write_text(json.dumps({"log_history": LOG}))
    (foundation / "all_results.json").write_text(json.dumps({"eval_loss": 1.75, "eval_map": 0.4321, "epoch": 1.0}))
    return foundation


@pytest.fixture
def results(trained, encoders, tmp_path):
    """What a benchmark of that foundation wrote."""
    folder = tmp_path / "my-results"
    models = {"base": str(encoders["bert"]), "ours": str(trained)}
    result = run_benchmark(models, make_tasks(), folder, shots=(1, 2), repeats=2, l2=0.1)
    command = (
        f"nerfound benchmark --encoder base=FacebookAI/roberta-base ours={trained} --data {tmp_path}/x -o {folder}"
    )
    write_reports(result, folder, {"command": command, "encoders": models, "settings": {"split": "test"}})
    return folder, result.frame


def make_tasks():
    places = ["fly from [Berlin](city) to [Paris](city)", "[Warsaw](city) is far", "go to [Paris](city)", "not here"]
    tables = ["a table at [Nobu](restaurant)", "is [Noma](restaurant) free?", "[Nobu](restaurant) by the river"]
    return [
        Task(name, parse_examples(texts), parse_examples(texts[:2]).examples)
        for name, texts in (("travel", places), ("tables", tables))
    ]


def valid(card, repo_type="model"):
    errors, warnings = check(str(card), repo_type)
    assert (errors, warnings) == ([], [])
    return card


def headings(card):
    return re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", card.text, flags=re.DOTALL), re.MULTILINE)


def pictures_of(card):
    return re.findall(r"!\[[^]]+\]\((.*)\)", card.text)


def read(folder, kind=ModelCard):
    card = valid(kind.load(folder / "README.md"), "model" if kind is ModelCard else "dataset")
    drawn = {path.relative_to(folder).as_posix() for path in folder.glob("figures/*")}
    assert set(pictures_of(card)) == drawn
    page = MarkdownIt("commonmark").enable("table").render(card.text)
    assert page.count("<table>") == len(re.findall(r"^\| --- \|", card.text, re.MULTILINE))
    assert "| --- |" not in page  # every table is shown as one
    assert not re.search(r"<p>(- |#|```|!\[)", page)  # and so is every list, heading, block and picture
    assert str(folder.parent) not in str(card)  # nothing of this machine
    assert "None" not in str(card)
    assert "\n\n\n" not in card.text
    assert not re.search(r"[ \t]$", card.text, re.MULTILINE)
    return card


# --- what is recorded is said, what is not is left out


def test_foundation_without_a_record(foundation, tmp_path):
    stage_foundation(foundation, tmp_path / "staged", "acme/foundation")
    card = read(tmp_path / "staged")
    assert headings(card) == ["foundation", "How to use", "Limits and biases", "Citation"]
    data = card.data.to_dict()
    assert data.keys() == {"library_name", "pipeline_tag", "tags"}
    assert not (tmp_path / "staged" / "training.json").exists()


def test_foundation_with_its_record(trained, tmp_path):
    stage_foundation(trained, tmp_path / "staged", "acme/foundation", license="apache-2.0", token_encoder="acme/enc")
    card = read(tmp_path / "staged")
    assert headings(card) == [
        *("foundation", "How to use", "Training", "Training curve", "At the end of training"),
        *("Limits and biases", "Citation"),
    ]
    data = card.data.to_dict()
    assert data["base_model"] == ["FacebookAI/roberta-base", "sentence-transformers/all-MiniLM-L6-v2"]
    assert (data["datasets"], data["language"], data["license"]) == (["acme/corpus"], ["en", "de"], "apache-2.0")
    text = " ".join(card.text.split())
    assert "Concept contrast on 5,685 passages of `acme/corpus` (English, German); 320 passages were held out" in text
    assert "2 processes." in text
    assert "| `learning_rate` | `0.0004` |" in text
    assert "| 1.00 | 20 | 1.5 | 1.75 | 0.4321 |" in text
    assert "| 0.50 | 10 |" not in text  # the curve has a row per evaluation
    assert "| loss | 1.75 | | mean average precision of concepts | 0.4321 |" in text
    assert "[acme/enc](https://huggingface.co/acme/enc)" in text
    assert json.loads((tmp_path / "staged" / "training.json").read_text()) == RECORD


def test_a_record_is_taken_along_from_the_hub(hub, trained, tmp_path):
    push_foundation(trained, "owner/first")
    stage_foundation("owner/first", tmp_path / "staged", "acme/second")
    assert ModelCard.load(tmp_path / "staged" / "README.md").data.datasets == ["acme/corpus"]


def test_a_curve_without_evaluations_has_the_log_lines_and_is_thinned(tmp_path):
    log = [{"epoch": step / 10, "step": step, "loss": 1 / step} for step in range(1, 101)]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    curve = TrainingRun.read(str(tmp_path)).curve
    assert len(curve) == 12
    assert (curve[-1].step, curve[-1].loss, curve[-1].eval_loss) == (100, 0.01, None)


def test_the_picture_of_a_curve(tmp_path):
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": LOG}))
    log = TrainingRun.read(str(tmp_path)).log
    assert [(p.step, p.loss, p.eval_loss, p.eval_map) for p in log] == [(10, 2.5, None, None), (20, 1.5, 1.75, 0.4321)]
    plot_training(log, tmp_path / "both")
    plot_training(log[:1] * 2, tmp_path / "losses")
    with Image.open(tmp_path / "both.png") as both, Image.open(tmp_path / "losses.png") as losses:
        assert both.size == losses.size == (800, 320)
        green = (0x00, 0x9E, 0x73)  # the line of the mean average precision, where it was measured
        assert [green in set(image.convert("RGB").getdata()) for image in (both, losses)] == [True, False]


def test_without_matplotlib_a_card_has_no_picture(trained, tmp_path, monkeypatch, caplog):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name))
    stage_foundation(trained, tmp_path / "staged", "acme/foundation")
    assert "Training curve" in headings(read(tmp_path / "staged"))
    assert "nerfound[plots]" in caplog.text


def test_a_damaged_record_is_named(trained, tmp_path):
    (trained / "training.json").write_text('{"objective": ')
    with pytest.raises(ValueError, match=r"training\.json is no JSON .* it was cut off"):
        stage_foundation(trained, tmp_path / "staged", "acme/foundation")


# --- measured results


def test_measured_results_of_the_very_weights(trained, results, tmp_path):
    folder, frame = results
    stage_foundation(trained, tmp_path / "staged", "acme/foundation", results=folder)
    card = read(tmp_path / "staged")
    summary = summarise(frame).set_index(["metric", "task", "encoder", "k"])
    evaluated = {(r.dataset_name, r.metric_name): r for r in card.data.eval_results}
    assert len(evaluated) == 2 * 2 * 2  # tasks, protocols, k
    name = "Token macro-F1, blog protocol, 2 examples per concept, mean of 2 draws"
    result = evaluated["travel", name]
    assert result.metric_value == round(summary.loc["token_macro_f1", "travel", "ours", 2]["mean"], 4)
    assert result.metric_args["protocol"] == "blog"
    assert (result.dataset_split, result.task_type, result.metric_type) == ("test", "token-classification", "f1")
    mean = 100 * summary.loc["entity_micro_f1", "tables", "ours", 1]["mean"]
    assert re.search(rf"\| tables \| ours \| {mean:.1f} ± ", card.text)
    assert (
        "nerfound benchmark --encoder base=FacebookAI/roberta-base ours=acme/foundation --data x -o my-results"
        in card.text
    )
    both = [100 * summary.loc[m, "average", "ours", 2]["mean"] for m in ("token_macro_f1", "entity_micro_f1")]
    assert re.search(rf"Mean over 2 tasks, .*\n\n(\|.*\n)+\| ours \| .* \| {both[0]:.1f} / {both[1]:.1f} \|", card.text)
    assert pictures_of(card) == ["figures/training_curve.png", "figures/curve_average.png"]


def test_results_of_other_weights_are_refused(encoders, results, tmp_path):
    other = make_contrast(tmp_path / "other", encoders["mbert"], encoders["bert"])
    with pytest.raises(ValueError, match="holds results of base, ours, and none has the weights of what is pushed"):
        stage_foundation(other, tmp_path / "staged", "acme/foundation", results=results[0])
    with pytest.raises(ValueError, match=r"has no results\.parquet and no run\.json"):
        stage_foundation(other, tmp_path / "staged", "acme/foundation", results=tmp_path)


def test_a_recognizer_is_measured_on_the_data_given(encoders, tmp_path):
    recognizer = fit(EXAMPLES, foundation=str(encoders["bert"]), l2=1e-3)
    data = tmp_path / "test set.txt"
    data.write_text("\n".join(EXAMPLES))
    stage_recognizer(recognizer, tmp_path / "staged", "acme/recognizer", data=data)
    card = read(tmp_path / "staged")
    scores = evaluate_recognizer(recognizer, read_examples(data))
    values = {result.metric_name.partition(",")[0]: result.metric_value for result in card.data.eval_results}
    assert values == {
        "Strict entity micro-F1": round(scores["strict_micro_f1"], 4),
        "Token macro-F1": round(scores["token_macro_f1"], 4),
    }
    assert "nerfound evaluate acme/recognizer 'test set.txt'" in card.text
    assert "was not measured" not in card.text


# --- recognizers


def test_recognizer_says_how_it_was_fitted(encoders, tmp_path):
    concepts = {"restaurant": "A place that serves meals.", "city": ""}
    fit(EXAMPLES, foundation=str(encoders["bert"]), concepts=concepts).save_pretrained(tmp_path / "saved")
    stage_recognizer(tmp_path / "saved", tmp_path / "staged", "acme/recognizer", license="mit")
    card = read(tmp_path / "staged")
    assert headings(card) == ["recognizer", "How to use", "Fitting", "Limits and biases", "Citation"]
    assert card.data.pipeline_tag == "token-classification"
    assert card.data.base_model is None  # a folder is no model of the Hub
    text = " ".join(card.text.split())
    assert "for 2 concepts, fitted on `bert` with 3 labelled examples" in text
    assert "| restaurant | A place that serves meals. | 2 | | city | | 2 |" in text
    assert "It was not measured on labelled texts" in text
    assert "trust_remote_code=True" not in PYTHON.findall(card.text)[1]
    assert 'aggregation_strategy="average",' in PYTHON.findall(card.text)[1]


def test_a_base_model_of_the_hub_is_named(encoders, tmp_path):
    model = make_recognizer(encoders["modernbert"], nested=True)
    model.config.fitted = {"foundation": "acme/foundation", "mode": "head", "versions": {"nerfound": "0"}}
    stage_recognizer(model, tmp_path / "staged", "acme/recognizer")
    card = read(tmp_path / "staged")
    assert card.data.base_model == "acme/foundation"
    assert "Its entities may overlap" in card.text
    assert "trust_remote_code=True" in PYTHON.findall(card.text)[1]


def test_the_base_model_of_a_folder_is_that_of_its_record(trained, tmp_path):
    recognizer = fit(EXAMPLES, foundation=trained, l2=1e-3)
    stage_recognizer(recognizer, tmp_path / "staged", "acme/recognizer")
    card = read(tmp_path / "staged")
    assert card.data.base_model == RECORD["token_encoder"]
    assert "fitted on\n`my-foundation`" in card.text


def test_names_of_concepts_are_text(encoders, tmp_path):
    concepts = {"<script>alert(1)</script>": "[x](http://evil) | {{ 7 * 7 }}\n# Heading", "`a`": ""}
    stage_recognizer(make_recognizer(encoders["bert"], concepts=concepts), tmp_path / "staged", "acme/recognizer")
    card = read(tmp_path / "staged")
    assert "<script>" not in card.text
    assert "\\[x\\](http://evil) \\| {{ 7 \\* 7 }} \\# Heading" in card.text


# --- corpora


def test_card_of_the_packaged_corpus(tmp_path):
    stage_corpus("default", tmp_path / "staged", "acme/corpus", held_out=0.1, command="nerfound push corpus default x")
    card = read(tmp_path / "staged", DatasetCard)
    data = card.data.to_dict()
    assert (data["license"], data["size_categories"], data["annotations_creators"]) == (
        "mit",
        "10K<n<100K",
        ["machine-generated"],
    )
    assert {"en", "zh", "tr"} <= set(data["language"])
    assert [split["name"] for split in data["dataset_info"]["splits"]] == ["train", "test"]
    assert sum(split["num_examples"] for split in data["dataset_info"]["splits"]) == 13717
    assert len(pictures_of(card)) == 4
    text = " ".join(card.text.split())
    assert "| annotations | 101,337 | 800,000 |" in text
    assert "written by an LLM" in text
    assert "nerfound push corpus default x" in text


def test_card_of_another_corpus_claims_nothing_of_its_origin(tmp_path, monkeypatch):
    monkeypatch.setattr("nerfound.hub.cards._draw_statistics", lambda *_: [])
    write_parquet(load_packaged_corpus().select(range(20)), tmp_path / "mine.parquet")
    stage_corpus(tmp_path / "mine.parquet", tmp_path / "staged", "acme/corpus")
    card = read(tmp_path / "staged", DatasetCard)
    assert "license" not in card.data.to_dict()
    assert "LLM" not in card.text.partition("## Citation")[0]
    assert "How it was made" not in headings(card)


# --- the examples run


def examples_of(hub, repo_type, repo_id):
    readme = hub.repositories[repo_type, repo_id].at("main").files["README.md"].content.decode()
    return PYTHON.findall(readme)


def test_the_examples_of_every_card_run(hub, trained, encoders, tmp_path, monkeypatch):
    """In a new process, which has no more of them than the Hub; each in a namespace of its own."""
    monkeypatch.setattr("nerfound.hub.cards._draw_statistics", lambda *_: [])
    push_foundation(trained, "owner/foundation", token_encoder="owner/encoder")
    known = make_contrast(tmp_path / "known", encoders["bert"], encoders["bert"], boundary_weight=0.5)
    tokenizer_of("bert").save_pretrained(known / "concept_tokenizer")
    push_foundation(known, "owner/prior")
    for kind in ("bert", "modernbert"):
        push_recognizer(fit(EXAMPLES, foundation=str(encoders[kind]), l2=1e-3), f"owner/{kind}")
    write_parquet(load_packaged_corpus().select(range(20)), tmp_path / "mine.parquet")
    push_corpus(tmp_path / "mine.parquet", "owner/corpus")
    blocks = [block for repository in sorted(hub.repositories) for block in examples_of(hub, *repository)]
    assert len(blocks) == 5 * 3 + 4
    assert sum("fit([], concepts=concepts" in block for block in blocks) == 1
    code = "".join(
        f"print({i}); exec(compile({block!r}, 'block {i}', 'exec'), {{}})\n" for i, block in enumerate(blocks)
    )
    shown = hub.run(code, tmp_path / "home").splitlines()
    numbers = [shown.index(str(i)) for i in range(len(blocks))]
    assert all(
        after - before > 1 for before, after in pairwise([*numbers, len(shown)])
    )  # every example shows something
    checked = [request for request in hub.requests if request.path == "/api/validate-yaml"]
    assert len(checked) == 6
    assert all(json.loads(request.body)["content"].startswith("---\n") for request in checked)


def test_the_hub_finds_the_cards_valid(hub, trained, results, tmp_path):
    push_foundation(trained, "owner/foundation", token_encoder="owner/encoder", results=results[0])
    for name in ("foundation", "encoder"):
        card = ModelCard.load(f"owner/{name}")
        card.validate()
        info = hub.api().model_info(f"owner/{name}")
        assert (info.pipeline_tag, info.library_name) == ("feature-extraction", card.data.library_name)
        assert {"region:us", "dataset:acme/corpus", "base_model:FacebookAI/roberta-base"} <= set(info.tags)
        assert {result.metric_type for result in info.card_data.eval_results} == {"f1"}


# --- templates, and names that are told


def test_templates_are_found_and_share_their_sections():
    for name in ("foundation.md", "token-encoder.md", "recognizer.md", "corpus.md"):
        assert template(name).startswith(template("sections.md")[:40])
        assert "{{ card_data }}" in template(name)


def test_names_tell_nothing_of_the_machine(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert public_name("FacebookAI/roberta-base") == "FacebookAI/roberta-base"
    assert public_name("all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    assert public_name(tmp_path / "a" / "b") == "b"
    assert public_name("../data/corpus.parquet") == "corpus.parquet"
    assert not any(map(is_hub_id, ("./x", "../x", "/x/y", "a/b/c", "x", "data/corpus.jsonl", "")))
    command = "nerfound benchmark --encoder a=/home/me/x b=acme/y --k 1 4 -o ../out"
    assert public_command(command, {"/home/me/x": "me/x"}) == (
        "nerfound benchmark --encoder a=me/x b=acme/y --k 1 4 -o out"
    )
