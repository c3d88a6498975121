"""Pushing: one commit, verified, resumed or explained; what arrives loads by its id."""

import json
import re

import huggingface_hub
import pandas
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, BertConfig
from typer.testing import CliRunner

from nerfound.cli import app
from nerfound.corpus import CORPUS_FEATURES, load_packaged_corpus, read_corpus, write_parquet
from nerfound.fewshot import fit
from nerfound.hub import PushError, cards, push_corpus, push_folder, push_foundation, push_recognizer, upload
from nerfound.hub.staging import stage_corpus, stage_foundation, stage_recognizer
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from tests.factories import SENTENCES, make_contrast, make_recognizer, tokenizer_of
from tests.fakes.hub import GUEST

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
    "Marie Curie was born in [Warsaw](city) in 1867; she died in 1934.",
]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(upload, "WAITS", (0.0, 0.0))


@pytest.fixture
def no_figures(monkeypatch):
    """They take seconds; `test_cards` looks at them."""
    monkeypatch.setattr(cards, "_draw_statistics", lambda *_: [])


@pytest.fixture(scope="module")
def foundation(encoders, tmp_path_factory):
    """A dual encoder as pre-training leaves it, among what is not to be pushed."""
    folder = make_contrast(tmp_path_factory.mktemp("foundation"), encoders["roberta"], encoders["bert"])
    tokenizer_of("bert").save_pretrained(folder / "concept_tokenizer")
    (folder / "checkpoint-7").mkdir()
    (folder / "checkpoint-7" / "optimizer.pt").write_bytes(b"pickled")
    (folder / "training_args.bin").write_bytes(b"pickled")
    return folder


@pytest.fixture(scope="module")
def recognizers(encoders, tmp_path_factory):
    """Folders of fitted recognizers: `bert` is served natively, `modernbert` by the code it carries."""
    folder = tmp_path_factory.mktemp("recognizers")
    for kind in ("bert", "modernbert"):
        fit(EXAMPLES, foundation=str(encoders[kind]), l2=1e-3).save_pretrained(folder / kind)
    return folder


@pytest.fixture(scope="module")
def passages(tmp_path_factory):
    """A corpus of two hundred passages, as a file."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    write_parquet(load_packaged_corpus().select(range(200)), path)
    return path


@pytest.fixture
def small(tmp_path):
    """A folder that is quickly pushed."""
    folder = tmp_path / "small"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "sub" / "words.txt").write_text("naïve\r\ncafé\n")
    return folder


def files_of(repository):
    return {path: file.content for path, file in repository.at("main").files.items() if path != ".gitattributes"}


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def commits(hub, repo_id, repo_type="model"):
    return len(list(hub.repositories[repo_type, repo_id].history())) - 1  # the first is the Hub's own


# --- the push itself


def test_one_commit_that_is_read_back(hub, small):
    pushed = push_folder(small, "owner/model")
    repository = hub.repositories["model", "owner/model"]
    assert files_of(repository) == contents(small)
    assert (pushed.oid, pushed.files, pushed.url) == (repository.at("main").oid, 3, f"{hub.endpoint}/owner/model")
    assert commits(hub, "owner/model") == 1
    read = {request.path for request in hub.requests if request.method == "HEAD" and pushed.oid in request.path}
    assert {f"/owner/model/resolve/{pushed.oid}/{name}" for name in contents(small)} <= read


def test_what_is_there_already_makes_no_commit(hub, small):
    first, second = push_folder(small, "owner/model"), push_folder(small, "owner/model")
    assert first == second
    assert commits(hub, "owner/model") == 1


def test_private_branch_and_pull_request(hub, small):
    push_folder(small, "acme/model", private=True)
    repository = hub.repositories["model", "acme/model"]
    assert repository.private
    (small / "config.json").write_text('{"a": 1}')
    branch = push_folder(small, "acme/model", revision="next")
    assert repository.at("next").oid == branch.oid != repository.at("main").oid
    (small / "config.json").write_text('{"a": 2}')
    opened = push_folder(small, "acme/model", create_pr=True)
    assert opened.url.endswith("/acme/model/discussions/1")
    assert repository.at("refs/pr/1").oid == opened.oid
    assert repository.at("main").files["config.json"].content == b"{}"


def test_shards_of_an_earlier_push_are_removed_and_the_files_of_others_are_not(hub, small):
    hub.add_repo("owner/model", files={"model-00001-of-00002.safetensors": b"old", "LICENSE": "mine"})
    push_folder(small, "owner/model")
    assert set(files_of(hub.repositories["model", "owner/model"])) == {*contents(small), "LICENSE"}


def test_an_id_without_namespace_is_the_users_own(hub, recognizers):
    assert push_recognizer(recognizers / "bert", "mine").url.endswith("/owner/mine")
    assert ("model", "owner/mine") in hub.repositories


# --- what may go wrong


def test_a_commit_of_another_is_not_built_over(hub, small):
    repository = hub.add_repo("owner/model", files={"config.json": "old"})
    hub.race("owner/model", files={"config.json": "theirs"})
    with pytest.raises(PushError, match=r"owner/model: someone else committed .* run the same command again"):
        push_folder(small, "owner/model")
    assert files_of(repository) == {"config.json": b"theirs"}
    push_folder(small, "owner/model")
    assert files_of(repository)["config.json"] == b"{}"


def test_a_busy_hub_is_asked_again(hub, small):
    hub.fail("/commit/", status=503)
    hub.rate_limit("/commit/")
    push_folder(small, "owner/model")
    assert [request.status for request in hub.requests if "/commit/" in request.path] == [503, 429, 200]
    assert commits(hub, "owner/model") == 1


@pytest.mark.parametrize(("status", "message"), [(429, "asks for fewer requests"), (500, "the Hub is in trouble")])
def test_a_hub_that_stays_busy_is_given_up(hub, small, status, message):
    hub.fail("/commit/", status=status, times=9)
    with pytest.raises(PushError, match=f"{message}; nothing was committed"):
        push_folder(small, "owner/model")
    assert commits(hub, "owner/model") == 0
    assert len([request for request in hub.requests if "/commit/" in request.path]) == 3
    uploads = [request for request in hub.requests if request.method == "PUT"]
    hub._faults.clear()
    push_folder(small, "owner/model")
    assert [request for request in hub.requests if request.method == "PUT"] == uploads  # not sent again


def test_an_answer_that_was_lost_is_looked_up(hub, small):
    hub.cut_answer("/commit/")
    pushed = push_folder(small, "owner/model")
    assert pushed.oid == hub.repositories["model", "owner/model"].at("main").oid
    assert commits(hub, "owner/model") == 1


def test_a_lost_answer_to_a_pull_request_opens_no_second(hub, small):
    hub.cut_answer("/commit/")
    with pytest.raises(PushError, match="Whether the last request took effect is not known"):
        push_folder(small, "owner/model", create_pr=True)
    assert len(hub.repositories["model", "owner/model"].pull_requests) == 1


@pytest.mark.parametrize("pattern", ["/commit/", "/storage/"])
def test_a_cut_upload_is_repeated(hub, small, pattern):
    hub.cut_upload(pattern, after=1000)
    push_folder(small, "owner/model")
    assert files_of(hub.repositories["model", "owner/model"]) == contents(small)


def test_a_server_that_falls_silent_is_not_waited_for_without_end(hub, small, monkeypatch):
    monkeypatch.setattr(upload, "SILENCE", 3.0)
    hub.fall_silent("/commit/", seconds=60)
    push_folder(small, "owner/model")
    assert [request.status for request in hub.requests if "/commit/" in request.path] == [0, 200]
    assert commits(hub, "owner/model") == 1
    assert huggingface_hub.get_session().timeout.read is None  # as it was


def test_what_arrives_other_than_sent_is_no_success(hub, small, monkeypatch):
    fetch = upload.hf_hub_download

    def damaged(repo_id, name, **options):
        path = fetch(repo_id, name, **options)
        if name == "config.json":
            (small.parent / "other").write_text("[]")
            return str(small.parent / "other")
        return path

    monkeypatch.setattr(upload, "hf_hub_download", damaged)
    with pytest.raises(PushError, match=r"config\.json came back other than sent"):
        push_folder(small, "owner/model")


def test_a_push_that_cannot_be_read_back_says_what_was_committed(hub, small):
    hub.fail("/resolve/", status=403, times=99)
    with pytest.raises(PushError, match=r"committed as [0-9a-f]{40}, but not verified"):
        push_folder(small, "owner/model")


@pytest.mark.parametrize("repo_id", ["stranger/model", "owner/model"])
def test_who_may_not_write_is_told_how_to(hub, small, repo_id):
    hub.add_repo("owner/model", files={"config.json": "{}"})
    with pytest.raises(PushError, match=rf"{repo_id}: you may not write there. Log in with `hf auth login`"):
        push_folder(small, repo_id, token=GUEST)
    with pytest.raises(PushError, match="Log in"):
        push_folder(small, repo_id, token=False)


def test_offline_is_explained(hub, small, monkeypatch, tmp_path):
    hub.connect(monkeypatch, tmp_path / "home", offline=True)
    with pytest.raises(PushError, match="HF_HUB_OFFLINE is set"):
        push_folder(small, "owner/model")


# --- foundations


def test_foundation_with_its_token_encoder(hub, foundation):
    both = push_foundation(foundation, "owner/foundation", token_encoder="owner/encoder", license="mit")
    assert [push.url.rpartition("/")[2] for push in both] == ["foundation", "encoder"]
    files = files_of(hub.repositories["model", "owner/foundation"])
    assert {"model.safetensors", "config.json", "tokenizer.json", "concept_tokenizer/tokenizer.json"} <= files.keys()
    assert not [name for name in files if name.endswith((".bin", ".pt", ".py")) or "checkpoint" in name]
    again = NuNerForConceptContrast.from_pretrained("owner/foundation")
    torch.testing.assert_close(
        again.state_dict(), NuNerForConceptContrast.from_pretrained(foundation).state_dict(), rtol=0, atol=0
    )
    encoder = AutoModel.from_pretrained("owner/encoder")
    assert type(encoder).__name__ == "RobertaModel"
    assert torch.equal(encoder.embeddings.word_embeddings.weight, again.token_encoder.embeddings.word_embeddings.weight)
    assert AutoTokenizer.from_pretrained("owner/encoder")(SENTENCES) == tokenizer_of("roberta")(SENTENCES)
    assert "owner/encoder" in files["README.md"].decode()
    assert fit(EXAMPLES, foundation="owner/foundation").labels == ["restaurant", "city"]


def test_a_foundation_is_checked_before_anything_is_pushed(hub, encoders, tmp_path):
    with pytest.raises(ValueError, match="it has no concept encoder"):
        push_foundation(encoders["bert"], "owner/foundation")
    assert hub.repositories == {}


def test_a_dual_encoder_pushes_itself(hub, foundation, encoders):
    NuNerForConceptContrast.from_pretrained(foundation).push_to_hub("owner/foundation", private=True)
    repository = hub.repositories["model", "owner/foundation"]
    assert repository.private
    assert "tokenizer.json" in files_of(repository)
    fresh = NuNerForConceptContrast.from_encoders(encoders["bert"], encoders["bert"])
    with pytest.raises(ValueError, match="its tokenizers are not known"):
        fresh.push_to_hub("owner/other")


# --- recognizers


def test_a_configuration_keeps_the_pipelines_of_others(hub, recognizers):
    push_recognizer(recognizers / "bert", "owner/bert")
    config = AutoModel.from_pretrained("owner/bert").config
    assert config.custom_pipelines == {}
    assert config.to_dict()["custom_pipelines"]["few-shot-ner"]["impl"] == "pipeline_few_shot_ner.FewShotNerPipeline"
    config.custom_pipelines = {"other": {"impl": "a.B"}}
    assert config.custom_pipelines == {"other": {"impl": "a.B"}}
    assert not hasattr(BertConfig(), "custom_pipelines")


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize("way", ["push_to_hub", "save_pretrained"])
def test_a_recognizer_pushes_itself_whole_in_one_commit(hub, encoders, tmp_path, kind, way):
    model = make_recognizer(encoders[kind])
    if way == "push_to_hub":
        model.push_to_hub("owner/pushed", commit_message="Mine")
    else:
        model.save_pretrained(tmp_path / "pushed", push_to_hub=True, commit_message="Mine", max_shard_size="1GB")
        assert (tmp_path / "pushed" / "model.safetensors").exists()
    (commit, _) = hub.repositories["model", "owner/pushed"].history()
    assert commit.title == "Mine"
    assert {"tokenizer.json", "README.md", "config.json"} <= commit.files.keys()
    loaded = NuNerForTokenClassification.from_pretrained("owner/pushed")
    inputs = loaded.tokenizer(SENTENCES[0], return_tensors="pt")
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


def test_weights_keep_their_dtype(encoders, tmp_path):
    make_recognizer(encoders["bert"]).half().save_pretrained(tmp_path / "half")
    stage_recognizer(tmp_path / "half", tmp_path / "staged", "owner/half")
    assert {weight.dtype for weight in load_file(tmp_path / "staged" / "model.safetensors").values()} == {torch.float16}


def test_a_foundation_is_no_recognizer(hub, foundation):
    with pytest.raises(ValueError, match="is a foundation without a head: fit a recognizer first"):
        push_recognizer(foundation, "owner/model")
    assert hub.repositories == {}


# --- corpora


def test_corpus_as_datasets_streams_and_pandas_read_it(hub, passages, tmp_path, no_figures):
    push_corpus(passages, "acme/corpus", held_out=0.2, seed=1)
    assert commits(hub, "acme/corpus", "dataset") == 1
    code = """
        import json, datasets, pandas
        sets = datasets.load_dataset("acme/corpus")
        stream = datasets.load_dataset("acme/corpus", split="test", streaming=True)
        frame = pandas.read_parquet("hf://datasets/acme/corpus/data/train-00000-of-00001.parquet")
        print(json.dumps({
            "rows": {name: rows.num_rows for name, rows in sets.items()},
            "features": sets["train"].features.to_dict(),
            "streamed": [row["id"] for row in stream],
            "ids": {name: rows["id"][:] for name, rows in sets.items()},
            "pandas": frame["id"].tolist(),
            "entity": frame["entities"][0][0]["text"],
        }))
    """
    read = json.loads(hub.run(code, tmp_path / "home").splitlines()[-1])
    corpus = read_corpus(passages)
    assert sum(read["rows"].values()) == 200
    assert 20 < read["rows"]["test"] < 60
    assert read["features"] == CORPUS_FEATURES.to_dict()
    assert read["streamed"] == read["ids"]["test"]
    assert read["pandas"] == read["ids"]["train"]
    assert sorted(read["ids"]["train"] + read["ids"]["test"]) == sorted(corpus["id"])
    assert read["entity"] in {entity["text"] for row in corpus["entities"] for entity in row}


def test_corpus_by_duckdb(passages, tmp_path, no_figures):
    duckdb = pytest.importorskip("duckdb")
    stage_corpus(passages, tmp_path / "staged", "acme/corpus")
    count = duckdb.sql(f"select count(*), sum(len(entities)) from '{tmp_path}/staged/data/*.parquet'").fetchall()
    corpus = read_corpus(passages)
    assert count == [(200, sum(map(len, corpus["entities"])))]


def test_corpus_of_a_folder_with_splits(passages, tmp_path, no_figures):
    from datasets import DatasetDict

    rows = read_corpus(passages)
    DatasetDict({"train": rows.select(range(150)), "dev": rows.select(range(150, 200))}).save_to_disk(tmp_path / "set")
    stage_corpus(tmp_path / "set", tmp_path / "staged", "acme/corpus")
    assert {p.name for p in (tmp_path / "staged" / "data").iterdir()} == {
        "train-00000-of-00001.parquet",
        "dev-00000-of-00001.parquet",
    }
    assert len(pandas.read_parquet(tmp_path / "staged" / "data" / "dev-00000-of-00001.parquet")) == 50
    with pytest.raises(ValueError, match="has the splits train, dev already"):
        stage_corpus(tmp_path / "set", tmp_path / "other", "acme/corpus", held_out=0.1)


def test_large_splits_are_cut_into_files(passages, tmp_path, monkeypatch, no_figures):
    from nerfound.hub import staging

    monkeypatch.setattr(staging, "_SHARD_BYTES", 40_000)
    stage_corpus(passages, tmp_path / "staged", "acme/corpus")
    files = sorted((tmp_path / "staged" / "data").iterdir())
    assert len(files) > 1
    assert files[0].name == f"train-00000-of-{len(files):05}.parquet"
    assert pandas.concat(map(pandas.read_parquet, files))["id"].tolist() == read_corpus(passages)["id"][:]


def test_an_earlier_corpus_leaves_no_passages_behind(hub, passages, no_figures):
    hub.add_repo("acme/corpus", "dataset", files={"data/train-00000-of-00002.parquet": b"old", "data/notes.md": "mine"})
    push_corpus(passages, "acme/corpus")
    data = {name for name in files_of(hub.repositories["dataset", "acme/corpus"]) if name.startswith("data/")}
    assert data == {"data/train-00000-of-00001.parquet", "data/notes.md"}


# --- the command line


def nerfound(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_dry_run_writes_exactly_what_is_pushed(hub, recognizers, tmp_path):
    staged = tmp_path / "staged"
    shown = nerfound("push", "recognizer", recognizers / "bert", "owner/bert", "--dry-run", "-o", staged)
    assert shown.exit_code == 0, shown.output
    assert re.search(r"staged: \d+ files, .* as they would be pushed to owner/bert", shown.stdout)
    assert hub.requests == []
    # In a process of its own, where nothing but the environment says which Hub is meant
    command = ["push", "recognizer", str(recognizers / "bert"), "owner/bert", "--private"]
    pushed = hub.run(f"from nerfound.cli import app; app({command})", tmp_path / "home")
    repository = hub.repositories["model", "owner/bert"]
    assert pushed.startswith(f"{hub.endpoint}/owner/bert: ")
    assert f"{repository.at('main').oid}, downloaded again and found equal" in pushed
    assert files_of(repository) == contents(staged)
    assert repository.private
    again = nerfound("push", "recognizer", recognizers / "bert", "owner/bert", "--dry-run", "-o", staged)
    assert (again.exit_code, "is there already" in again.output) == (1, True)


def test_dry_run_of_a_foundation_writes_both_folders(foundation, tmp_path):
    command = ["push", "foundation", foundation, "me/f", "--token-encoder", "me/e", "--dry-run"]
    done = nerfound(*command, "-o", tmp_path / "f")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "f" / "concept_tokenizer" / "tokenizer.json").is_file()
    assert json.loads((tmp_path / "f-token-encoder" / "config.json").read_text())["model_type"] == "roberta"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "f-token-encoder"]


def test_output_without_dry_run_is_refused(passages, tmp_path):
    done = nerfound("push", "corpus", passages, "me/corpus", "-o", tmp_path / "x")
    assert done.exit_code == 1
    assert "add --dry-run" in done.output


def test_staging_twice_gives_the_same_folder(foundation, tmp_path):
    for name in "ab":
        stage_foundation(foundation, tmp_path / name, "me/foundation")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
