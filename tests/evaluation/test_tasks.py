import json
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants

from nerfound.evaluation import tasks
from nerfound.evaluation.tasks import PRESETS, Task, natural_concepts, read_task
from nerfound.fewshot.formats import SupportSet
from nerfound.spans import Span
from tests.fakes.hub import OWNER

CITIES = ["Rome", "Oslo", "Lima", "Cairo", "Quito", "Paris", "Delhi", "Tunis", "Accra", "Dakar"]


def records(count, prefix="go"):
    """Sentences `prefix 0 to Rome`, ..., each with one entity, a city, and a person in every third."""
    for i in range(count):
        tokens = [prefix, str(i), "to", CITIES[i % 10]]
        spans = [[3, 4, "city"]]
        if i % 3 == 0:
            tokens, spans = [*tokens, "with", "Ann"], [*spans, [5, 6, "person"]]
        yield {"tokens": tokens, "spans": spans}


def tagged(record):
    tags = ["O"] * len(record["tokens"])
    for start, _, label in record["spans"]:
        tags[start] = f"B-{label}"
    return tags


def inline(record):
    labels = {start: label for start, _, label in record["spans"]}
    return " ".join(f"[{token}]({labels[i]})" if i in labels else token for i, token in enumerate(record["tokens"]))


def dataset(rows):
    """A data set with tags of type `ClassLabel`."""
    names = ["O", "B-city", "B-person"]
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=names)),
        }
    )
    columns = [{"tokens": row["tokens"], "ner_tags": [names.index(tag) for tag in tagged(row)]} for row in rows]
    return datasets.Dataset.from_list(columns, features=features)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    if path.suffix == ".parquet":
        dataset(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".txt":
        path.write_text("".join(inline(row) + "\n" for row in rows))
    else:
        lines = ("".join(f"{a}\t{b}\n" for a, b in zip(row["tokens"], tagged(row), strict=True)) for row in rows)
        path.write_text("\n".join(lines))
    return path


def texts(examples):
    return [example.text for example in examples]


def expected(count, prefix="go"):
    return [" ".join(row["tokens"]) for row in records(count, prefix)]


@pytest.fixture
def folder(tmp_path):
    """A task of ten training and four test sentences."""
    write(tmp_path / "cities" / "train.jsonl", records(10))
    write(tmp_path / "cities" / "test.jsonl", records(4, "fly"))
    return tmp_path / "cities"


@pytest.fixture
def _datasets_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")


# ---------------------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("suffix", [".jsonl", ".txt", ".conll", ".bio", ".tsv", ".parquet"])
def test_a_folder_of_files_of_any_format(tmp_path, suffix):
    write(tmp_path / "cities" / f"train{suffix}", records(10))
    write(tmp_path / "cities" / f"test{suffix}", records(4, "fly"))
    task = read_task(tmp_path / "cities")
    assert task.name == "cities"
    assert texts(task.train.examples) == expected(10)
    assert texts(task.test) == expected(4, "fly")
    assert task.test[0].entities == (Span(9, 13, "city"), Span(19, 22, "person"))
    assert task.train.concepts == {"city": "", "person": ""}


def test_a_string_and_a_name(folder):
    assert read_task(str(folder), name="places").name == "places"


def test_test_sentences_that_occur_in_train_are_left_out(folder):
    seen = {"tokens": ["GO", "1", "to", "OSLO"], "spans": []}
    write(folder / "test.jsonl", [*records(2, "fly"), seen, *records(1, "see")])
    assert texts(read_task(folder).test) == [*expected(2, "fly"), *expected(1, "see")]


def test_nothing_left_to_score_on_is_an_error(folder):
    write(folder / "test.jsonl", records(4))
    with pytest.raises(ValueError, match=r"cities: every test sentence also occurs in train"):
        read_task(folder)


def test_a_type_that_no_training_sentence_has_is_not_scored_and_named(folder):
    sentence = {"tokens": ["a", "Ford", "to", "Lima"], "spans": [[1, 2, "car"], [3, 4, "city"]]}
    write(folder / "test.jsonl", [sentence])
    with pytest.warns(UserWarning, match=r"cities: not scored, since no training sentence .* 'car' \(1\)"):
        task = read_task(folder)
    assert [entity.label for entity in task.test[0].entities] == ["city"]


@pytest.mark.parametrize("name", ["dev.txt", "valid.conll", "validation.jsonl"])
def test_a_dev_file_is_scored_on_instead_of_test(folder, name):
    write(folder / name, records(3, "ride"))
    task = read_task(folder, split="dev")
    assert texts(task.test) == expected(3, "ride")
    assert texts(task.train.examples) == expected(10)


def test_dev_is_carved_out_of_train_by_the_seed(tmp_path):
    write(tmp_path / "train.jsonl", records(50))
    write(tmp_path / "test.jsonl", records(4, "fly"))
    first, again, other = (read_task(tmp_path, split="dev", seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert set(texts(first.test)) != set(texts(other.test))
    assert len(first.test) == 5
    assert sorted(texts(first.test) + texts(first.train.examples)) == sorted(expected(50))
    assert texts(read_task(tmp_path).train.examples) == expected(50)  # nothing is carved out for test


def test_too_few_sentences_to_carve_from(tmp_path):
    write(tmp_path / "train.jsonl", records(9))
    with pytest.raises(ValueError, match="has 9 training sentences: give 10 or more"):
        read_task(tmp_path, split="dev")


def test_the_test_limit_draws_by_the_seed(folder):
    write(folder / "test.jsonl", records(30, "fly"))
    first, again, other = (read_task(folder, test_limit=8, seed=seed) for seed in (0, 0, 1))
    assert len(first.test) == 8
    assert set(texts(first.test)) < set(expected(30, "fly"))
    assert first == again != other
    assert len(read_task(folder, test_limit=99).test) == 30


@pytest.mark.parametrize(("options", "message"), [({"test_limit": 0}, "test_limit is 0"), ({"split": "x"}, "'x'")])
def test_options_out_of_range(folder, options, message):
    with pytest.raises(ValueError, match=message):
        read_task(folder, **options)


def test_two_files_for_one_split(folder):
    write(folder / "train.txt", records(3))
    with pytest.raises(ValueError, match=r"train\.jsonl and train\.txt: keep one"):
        read_task(folder)


def test_a_folder_without_a_test_file(folder):
    (folder / "test.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no test split, only train: a folder holds train and test files"):
        read_task(folder)


# ----------------------------------------------------------------------------------------------------- descriptions


def test_types_json_describes_the_concepts(folder):
    definition = {"name": "city", "definition": " A large town. ", "guidelines": "no villages"}
    (folder / "types.json").write_text(json.dumps({"person": "A human being.", "city": definition}))
    assert list(read_task(folder).train.concepts.items()) == [("city", "A large town."), ("person", "A human being.")]


def test_types_json_may_say_description_or_leave_it_out(folder):
    (folder / "types.json").write_text(json.dumps({"city": {"description": "A town."}, "person": {"name": "human"}}))
    assert read_task(folder).train.concepts == {"city": "A town.", "person": ""}


def test_types_json_may_name_labels_in_plain_words(folder):
    types = {"city": {"name": " large  town "}, "person": {"name": ""}, "car": {"name": "car"}}
    (folder / "types.json").write_text(json.dumps(types))
    with pytest.warns(UserWarning, match="'car'"):
        task = read_task(folder)
    assert task.names == {"city": "large town"}
    assert natural_concepts(task) == {"large town": "", "person": ""}


def test_natural_concepts_are_labels_in_plain_words():
    labels = {"Restaurant_Name": "a place", "cell_line": "", "ACTOR": "", "x": "", "two  words": ""}
    task = Task("task", SupportSet((), labels), (), {"x": "DNA region"})
    expected = {"restaurant name": "a place", "cell line": "", "actor": "", "DNA region": "", "two words": ""}
    assert list(natural_concepts(task).items()) == list(expected.items())
    with pytest.raises(ValueError, match=r"task: the labels 'a b' and 'A_b' are both 'a b' .* types.json"):
        natural_concepts(Task("task", SupportSet((), {"a b": "", "A_b": ""}), ()))


def test_types_json_takes_precedence_over_descriptions_in_the_data(folder):
    entity = {"start": 3, "end": 7, "label": "city", "description": "old"}
    write(folder / "train.jsonl", [{"text": "to Rome", "entities": [entity]}, *records(3)])
    assert read_task(folder).train.concepts["city"] == "old"
    (folder / "types.json").write_text('{"city": "new", "person": ""}')
    assert read_task(folder).train.concepts["city"] == "new"


def test_types_json_that_describes_another_label_warns(folder):
    (folder / "types.json").write_text('{"town": "A town."}')
    with pytest.warns(UserWarning, match=r"describes \['town'\], which no training sentence has"):
        assert read_task(folder).train.concepts == {"city": "", "person": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ('["city"]', "of type list"),
        ('{"city": 3}', r"'city': the description is 3"),
        ('{"city": {"definition": ["a"]}}', r"the description is \['a'\]"),
        ('{"city": {"name": 3}}', "'city': the name is 3"),
    ],
)
def test_a_types_json_that_is_not_valid(folder, content, message):
    (folder / "types.json").write_text(content)
    with pytest.raises(ValueError, match=rf"types\.json.*{message}"):
        read_task(folder)


# ------------------------------------------------------------------------------------------------------ single files


@pytest.mark.parametrize("suffix", [".jsonl", ".conll"])
def test_a_fifth_of_a_single_file_is_set_aside(tmp_path, suffix):
    path = write(tmp_path / f"towns{suffix}", records(50))
    with pytest.warns(UserWarning, match=rf"towns\{suffix} has no test split: 10 of its 50 sentences, drawn by seed 0"):
        task = read_task(path)
    assert task.name == "towns"
    assert len(task.test) == 10
    assert sorted(texts(task.test) + texts(task.train.examples)) == sorted(expected(50))
    with pytest.warns(UserWarning, match="seed 1"):
        assert set(texts(read_task(path, seed=1).test)) != set(texts(task.test))


@pytest.mark.filterwarnings("ignore:.*has no test split")
def test_dev_of_a_single_file_holds_no_test_sentence(tmp_path):
    path = write(tmp_path / "towns.jsonl", records(50))
    test, dev = read_task(path), read_task(path, split="dev")
    assert len(dev.test) == 4
    assert not set(texts(dev.test)) & set(texts(test.test))
    assert not set(texts(dev.train.examples)) & (set(texts(test.test)) | set(texts(dev.test)))
    assert sorted(texts(dev.train.examples) + texts(dev.test)) == sorted(texts(test.train.examples))


# --------------------------------------------------------------------------------------------------------- data sets


def test_a_data_set_dict_saved_to_disk(tmp_path):
    splits = {"train": records(10), "validation": records(3, "ride"), "test": records(4, "fly")}
    datasets.DatasetDict({split: dataset(rows) for split, rows in splits.items()}).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "types.json").write_text('{"city": "A town."}')
    task = read_task(str(tmp_path / "saved"))
    assert texts(task.train.examples) == expected(10)
    assert texts(task.test) == expected(4, "fly")
    assert task.train.concepts == {"city": "A town.", "person": ""}
    assert texts(read_task(tmp_path / "saved", split="dev").test) == expected(3, "ride")


def test_a_data_set_without_splits_is_like_a_file(tmp_path):
    dataset(records(50)).save_to_disk(tmp_path / "saved")
    with pytest.warns(UserWarning, match="10 of its 50 sentences"):
        assert len(read_task(tmp_path / "saved").test) == 10


@pytest.mark.usefixtures("_datasets_cache")
def test_a_folder_that_load_dataset_reads_with_a_configuration(tmp_path):
    for config in ("small", "large"):
        for split, prefix in (("train", "go"), ("test", "fly")):
            write(tmp_path / "set" / config / f"{split}-00000-of-00001.parquet", records(4, f"{prefix}{config}"))
    configs = "".join(f"  - config_name: {name}\n    data_dir: {name}\n" for name in ("small", "large"))
    (tmp_path / "set" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    task = read_task(f"{tmp_path / 'set'}:large")
    assert task.name == "set-large"
    assert texts(task.test) == expected(4, "flylarge")


@pytest.mark.usefixtures("_datasets_cache")
def test_the_split_of_a_data_set_is_named_in_errors(tmp_path):
    rows = {"tokens": [["a", "b"]], "ner_tags": [[0, 1]]}
    datasets.DatasetDict({split: datasets.Dataset.from_dict(rows) for split in ("train", "test")}).save_to_disk(
        tmp_path / "saved"
    )
    with pytest.raises(ValueError, match=r"saved, split 'train': example 0: .* class id"):
        read_task(tmp_path / "saved")


def test_a_loading_script_is_never_run(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "set.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match=r"cannot be loaded \(Dataset scripts are no longer supported"):
        read_task(tmp_path / "set")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "source", ["no/such-set", "no/such-set:config", "not a valid id!", "nothing.conll", Path("no/such-folder")]
)
def test_an_unknown_source_is_told_what_there_is(source):
    with pytest.raises(FileNotFoundError) as caught:
        read_task(source)
    message = str(caught.value)
    assert str(source).split(":")[0] in message
    assert all(name in message for name in (*PRESETS, ".jsonl", ".conll", ".parquet", "train and test files"))


def test_an_empty_folder_is_told_what_it_must_hold(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder holds train and test files"):
        read_task(tmp_path)


# ----------------------------------------------------------------------------------------------------------- presets


def save_preset(preset, root, drop=(), extra=None):
    """Write a small repository in the layout of a preset: two training sentences of each label, one of dev and test.

    Class ids are given in reverse, so that a reader that guesses them fails.
    """
    labels = [label for label in (*preset.labels, *([extra] if extra else ())) if label not in drop]
    tags = ["O", *(f"{letter}-{label}" for label in labels for letter in "IB")][::-1]
    for split, files in preset.files.items():
        rows = [
            (["see", f"{split}{i}", label], ["O", f"B-{label}", f"I-{label}"])
            for label in labels
            for i in range(2 if split == "train" else 1)
        ]
        for part, file in enumerate(files):
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            own = rows[part :: len(files)]
            if path.suffix == ".tsv":  # BIOES, as the repository has it
                path.write_text(
                    "\n".join(
                        "".join(f"{a}\t{b}\n" for a, b in zip(words, [t.replace("I-", "E-") for t in row], strict=True))
                        for words, row in own
                    )
                )
            else:
                lines = ({"tokens": words, "tags": [tags.index(tag) for tag in row]} for words, row in own)
                path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if preset.tag_ids:
        (root / preset.tag_ids).write_text(json.dumps({tag: i for i, tag in enumerate(tags)}))


@pytest.fixture
def saved_copies(tmp_path, monkeypatch):
    """Saved copies of repositories, a folder each, instead of the Hub."""
    monkeypatch.setattr(tasks, "_download", lambda preset, file: tmp_path / preset.repository / file)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "concepts"), [("mit-movie", 12), ("mit-restaurant", 8), ("bionlp2004", 5), ("ontonotes5", 18)]
)
def test_a_preset_is_read_from_its_layout(saved_copies, name, concepts):
    preset = PRESETS[name]
    save_preset(preset, saved_copies / preset.repository)
    task = read_task(name)
    assert task.name == name
    assert list(task.train.concepts) == list(preset.labels)
    assert len(task.train.concepts) == concepts
    assert len(task.train.examples) == 2 * concepts
    assert sorted(texts(task.test)) == sorted(f"see test0 {label}" for label in preset.labels)
    for example in (*task.train.examples, *task.test):
        (span,) = example.entities
        assert example.text[span.start : span.end].split()[1] == span.label
    dev = read_task(name, split="dev")
    assert all(("train" if "dev" not in preset.files else "dev") in example.text for example in dev.test)


@pytest.mark.parametrize("name", ["mit-movie", "ontonotes5"])
def test_labels_other_than_the_presets_are_an_error(saved_copies, name):
    preset = PRESETS[name]
    save_preset(preset, saved_copies / preset.repository, drop=(preset.labels[1],), extra="planet")
    with pytest.raises(ValueError, match=rf"{preset.repository} .*missing \['{preset.labels[1]}'\], unexpected \['pla"):
        read_task(name)


def test_a_table_of_class_ids_with_a_gap_is_an_error(saved_copies):
    preset = PRESETS["bionlp2004"]
    save_preset(preset, saved_copies / preset.repository)
    (saved_copies / preset.repository / preset.tag_ids).write_text('{"O": 0, "B-DNA": 2}')
    with pytest.raises(ValueError, match=r"dataset/label\.json of tner/bionlp2004 is no object that gives"):
        read_task("bionlp2004")


def test_a_folder_named_like_a_preset(saved_copies, monkeypatch):
    save_preset(PRESETS["mit-movie"], saved_copies / PRESETS["mit-movie"].repository)
    write(saved_copies / "mit-movie" / "train.jsonl", records(10))
    write(saved_copies / "mit-movie" / "test.jsonl", records(2, "fly"))
    (saved_copies / "mit-movie" / "types.json").write_text('{"city": "A town."}')
    monkeypatch.chdir(saved_copies)
    assert set(read_task("mit-movie").train.concepts.values()) == {""}
    assert "ACTOR" in read_task("mit-movie").train.concepts
    for source in ("./mit-movie", Path("mit-movie")):
        assert read_task(source).train.concepts == {"city": "A town.", "person": ""}


def publish(hub, preset, folder):
    """Put the saved copy of a preset's repository on the Hub, at the commit that the preset pins, if it does."""
    oid = None if preset.revision == "main" else preset.revision
    hub.add_repo(preset.repository, "dataset", folder=folder, oid=oid)


@pytest.mark.parametrize("name", ["mit-movie", "bionlp2004"])
def test_a_preset_comes_from_the_hub_once_and_then_from_the_cache(hub, tmp_path, monkeypatch, name):
    preset = PRESETS[name]
    save_preset(preset, tmp_path / "saved")
    publish(hub, preset, tmp_path / "saved")
    task = read_task(name)
    wanted = {*preset.files["train"], *preset.files["test"], *([preset.tag_ids] if preset.tag_ids else [])}
    place = f"/datasets/{preset.repository}/resolve/{preset.revision}/"
    asked = [request for request in hub.requests if "/resolve/" in request.path]
    assert {request.path for request in asked} == {place + file for file in wanted}
    assert {request.token for request in asked} == {OWNER}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert read_task(name) == task
    assert hub.requests == []


def test_a_file_that_the_hub_lacks_is_named(hub, tmp_path):
    preset = PRESETS["mit-restaurant"]
    save_preset(preset, tmp_path / "saved")
    (tmp_path / "saved" / "dataset" / "test.json").unlink()
    publish(hub, preset, tmp_path / "saved")
    with pytest.raises(OSError, match=r"dataset/test\.json of the data set tner/mit_restaurant at revision 5386634"):
        read_task("mit-restaurant")


def test_a_preset_that_is_not_in_the_cache_when_offline(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match="neither in the cache nor can it be downloaded: connect to the Hub, or give a f"):
        read_task("ontonotes5")
