"""The fake Hub, by what the real clients make of its answers."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import datasets
import pandas
import pytest
import torch
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetCard,
    HfApi,
    HfFileSystem,
    ModelCard,
    ModelCardData,
    constants,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import AutoModel, AutoTokenizer

from tests.fakes.hub import GUEST, OWNER, READER

WEIGHTS = bytes(range(256)) * 400  # 102,400 bytes that are not text
CARD = "---\nlicense: mit\nlibrary_name: nerfound\ntags:\n- ner\n---\n# A model\n"


@pytest.fixture
def folder(tmp_path):
    """A small model, as it is pushed."""
    folder = tmp_path / "pushed"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "README.md").write_text(CARD)
    (folder / "sub" / "empty.txt").touch()
    return folder


@pytest.fixture
def model(hub):
    """A model that is on the Hub already."""
    return hub.add_repo("owner/model", files={"config.json": "{}", "model.safetensors": WEIGHTS, "README.md": CARD})


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def asked(hub, method, part):
    return [request for request in hub.requests if request.method == method and part in request.path]


@contextmanager
def http_error(status, message=None):
    with pytest.raises(HfHubHTTPError, match=message) as caught:
        yield
    assert caught.value.response.status_code == status


# ------------------------------------------------------------------------------------------------- pushing and loading


def test_a_folder_arrives_in_one_commit_and_comes_back_bit_equal(hub, folder):
    hub.api().create_repo("owner/model")
    info = hub.api().upload_folder(repo_id="owner/model", folder_path=folder, commit_message="Push")
    repository = hub.repositories["model", "owner/model"]
    assert [commit.title for commit in repository.history()] == ["Push", "initial commit"]
    assert info.oid == repository.at("main").oid
    assert {path for path, file in repository.at().files.items() if file.lfs} == {"model.safetensors"}
    fetched = contents(snapshot_download("owner/model"))
    assert fetched.pop(".gitattributes").startswith(b"*.7z filter=lfs")
    assert fetched == contents(folder)
    (upload,), (download,) = asked(hub, "PUT", "/storage/"), asked(hub, "GET", "/storage/")
    assert upload.token is download.token is None  # another host: the token is not for it
    assert {request.token for request in hub.requests} == {OWNER, None}


def test_what_is_there_is_not_pushed_again(hub, model, folder):
    hub.api().upload_folder(repo_id="owner/model", folder_path=folder)
    assert asked(hub, "PUT", "/storage/") == []  # the weights were there
    assert len(list(model.history())) == 3
    hub.api().upload_folder(repo_id="owner/model", folder_path=folder)
    assert len(list(model.history())) == 3
    assert len(asked(hub, "POST", "/commit/")) == 1


@pytest.mark.parametrize("size", [40_000, 51_200])
def test_a_large_file_goes_up_in_parts(hub, folder, size):
    hub.multipart_size = size
    repository = hub.add_repo("owner/model")
    hub.api().upload_folder(repo_id="owner/model", folder_path=folder)
    assert [len(request.body) for request in asked(hub, "PUT", "/storage/")] == [
        len(WEIGHTS[i : i + size]) for i in range(0, len(WEIGHTS), size)
    ]
    assert repository.at().files["model.safetensors"].content == WEIGHTS
    assert len(repository.objects) == 1  # no part is left


def test_many_files_in_one_commit_and_many_pages(hub, tmp_path):
    hub.page_size = 100
    repository = hub.add_repo("owner/set", "dataset")
    for i in range(300):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / f"{i:03}.txt").write_text(str(i))
    hub.api().upload_folder(repo_id="owner/set", repo_type="dataset", folder_path=tmp_path / "many", path_in_repo="in")
    assert len(asked(hub, "POST", "/preupload/")) == 2
    assert len(list(repository.history())) == 2
    listed = [entry.path for entry in hub.api().list_repo_tree("owner/set", repo_type="dataset", recursive=True)]
    assert listed == [".gitattributes", "in", *(f"in/{i:03}.txt" for i in range(300))]
    assert len(asked(hub, "GET", "/tree/")) == 4


def test_large_files_before_their_commit(hub):
    """As `upload_large_folder` did: every file goes up by itself, commits follow."""
    repository, api = hub.add_repo("owner/model"), hub.api()
    additions = [CommitOperationAdd(f"{i}.bin", WEIGHTS + bytes([i])) for i in range(3)]
    for addition in additions:
        api.preupload_lfs_files("owner/model", [addition])
    assert len(list(repository.history())) == 1
    api.create_commit("owner/model", additions[:2], commit_message="part 1")
    api.create_commit("owner/model", [additions[2], CommitOperationDelete("0.bin")], commit_message="part 2")
    assert {path: file.content[-1] for path, file in repository.at().files.items() if file.lfs} == {
        "1.bin": 1,
        "2.bin": 2,
    }


def test_a_commit_of_weights_that_never_arrived_is_refused(hub, model):
    addition = CommitOperationAdd("other.bin", b"\0")
    addition._upload_mode, addition._should_ignore, addition._is_uploaded = "lfs", False, True
    with pytest.raises(BadRequestError, match="was not uploaded"):
        hub.api().create_commit("owner/model", [addition], commit_message="x")
    assert len(list(model.history())) == 2


def test_models_by_id_and_revision(hub, encoders, monkeypatch, tmp_path):
    first, tokenizer = AutoModel.from_pretrained(encoders["bert"]), AutoTokenizer.from_pretrained(encoders["bert"])
    first.push_to_hub("owner/encoder")
    tokenizer.push_to_hub("owner/encoder", commit_message="Add the tokenizer")
    hub.api().create_tag("owner/encoder", tag="v1")
    second = AutoModel.from_pretrained(encoders["bert"])
    second.get_input_embeddings().weight.data += 1
    second.push_to_hub("owner/encoder")
    torch.testing.assert_close(AutoModel.from_pretrained("owner/encoder").state_dict(), second.state_dict())
    code = """
        from transformers import AutoModel, AutoTokenizer
        model = AutoModel.from_pretrained("owner/encoder", revision="v1")
        tokenizer = AutoTokenizer.from_pretrained("owner/encoder", revision="v1")
        print(tokenizer("Marie Curie").input_ids, model.get_input_embeddings().weight.double().sum().item())
    """
    weight = first.get_input_embeddings().weight.double().sum().item()
    assert hub.run(code, tmp_path / "home").strip() == f"{tokenizer('Marie Curie').input_ids} {weight}"
    hub.connect(monkeypatch, tmp_path / "home", offline=True)
    hub.requests.clear()
    again = AutoModel.from_pretrained("owner/encoder", revision="v1")
    assert again.get_input_embeddings().weight.double().sum().item() == weight
    assert hub.requests == []


def rows(count):
    return [{"tokens": ["to", f"City{i}"], "ner_tags": [0, 1]} for i in range(count)]


@pytest.fixture
def pushed_set(hub):
    """A data set with two splits."""
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-city"])),
        }
    )
    splits = {"train": 30, "test": 5}
    corpus = {name: datasets.Dataset.from_list(rows(count), features=features) for name, count in splits.items()}
    datasets.DatasetDict(corpus).push_to_hub("acme/cities", private=True)
    return features


def test_a_data_set_is_pushed_and_loaded(hub, pushed_set):
    repository = hub.repositories["dataset", "acme/cities"]
    files = repository.at().files
    assert repository.private
    assert [path for path, file in files.items() if file.lfs] == [
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]
    loaded = datasets.load_dataset("acme/cities")
    assert loaded["train"].features == pushed_set
    assert loaded["train"].to_list() == rows(30)
    assert loaded["test"].to_list() == rows(5)
    card = DatasetCard.load("acme/cities")
    assert [split["name"] for split in card.data.dataset_info["splits"]] == ["train", "test"]


def test_a_data_set_is_streamed_and_read_from_its_files(hub, pushed_set):
    stream = datasets.load_dataset("acme/cities", split="train", streaming=True)
    assert list(stream.take(3)) == rows(3)
    assert any("Range" in request.headers for request in asked(hub, "GET", "/storage/"))
    frame = pandas.read_parquet("hf://datasets/acme/cities/data/test-00000-of-00001.parquet")
    assert [list(tokens) for tokens in frame["tokens"]] == [row["tokens"] for row in rows(5)]


def test_a_data_set_in_a_process_of_its_own_and_then_offline(hub, pushed_set, tmp_path):
    code = "from datasets import load_dataset; print(load_dataset('acme/cities', split='test')[0])"
    assert hub.run(code, tmp_path / "home") == hub.run(code, tmp_path / "home", offline=True) == f"{rows(1)[0]}\n"


def test_a_push_of_a_data_set_that_is_overtaken_by_another_commit(hub, pushed_set):
    """`datasets` means to repeat it, but looks for the 412 where huggingface_hub 2 no longer puts it."""
    hub.race("acme/cities", "dataset")
    with http_error(412, "A commit has happened since"):
        datasets.Dataset.from_list(rows(2)).push_to_hub("acme/cities", "extra")
    datasets.Dataset.from_list(rows(2)).push_to_hub("acme/cities", "extra")
    assert "race.txt" in hub.repositories["dataset", "acme/cities"].at().files
    assert len(datasets.load_dataset("acme/cities", "extra")["train"]) == 2


def test_files_as_a_file_system(hub, model):
    files = HfFileSystem(endpoint=hub.endpoint, token=OWNER, skip_instance_cache=True)
    assert [entry["name"] for entry in files.ls("owner/model")][1:] == [
        f"owner/model/{name}" for name in ("README.md", "config.json", "model.safetensors")
    ]
    assert files.info("owner/model/model.safetensors", expand_info=True)["size"] == len(WEIGHTS)
    with files.open("owner/model/model.safetensors", block_size=1000) as file:
        file.seek(-300, 2)
        assert file.read(200) == WEIGHTS[-300:-100]
    with files.open("owner/model/notes/new.txt", "w") as file:
        file.write("hello")
    assert files.glob("owner/model/**/*.txt") == ["owner/model/notes/new.txt"]
    assert model.at().files["notes/new.txt"].content == b"hello"


# --------------------------------------------------------------------------------------------------- cards and Spaces


def test_a_model_card_is_pushed_and_read(hub, model):
    card = ModelCard(f"---\n{ModelCardData(license='mit', pipeline_tag='token-classification')}\n---\n# NuNER\n")
    card.push_to_hub("owner/model")
    assert ModelCard.load("owner/model").content == card.content
    info = hub.api().model_info("owner/model", files_metadata=True)
    assert info.card_data.license == "mit"
    assert info.pipeline_tag == "token-classification"
    assert "license:mit" in info.tags
    assert {sibling.rfilename: sibling.size for sibling in info.siblings}["model.safetensors"] == len(WEIGHTS)


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        ("---\nlicense: [unclosed\n---\n", "Invalid YAML"),
        ("---\n- a list\n---\n", "must be a mapping"),
        ("---\ntags: ner\n---\n", '"tags" must be an array'),
        ("---\nmodel-index:\n- name: a\n  results:\n  - task: {}\n---\n", r"results\[0\].task.type"),
    ],
)
def test_an_invalid_card_is_refused(hub, model, readme, message):
    with pytest.raises(ValueError, match=message):
        hub.api().upload_file(repo_id="owner/model", path_in_repo="README.md", path_or_fileobj=readme.encode())
    assert model.at().files["README.md"].content.decode() == CARD


def test_a_card_without_metadata_is_warned_of(hub, model):
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        hub.api().upload_file(repo_id="owner/model", path_in_repo="README.md", path_or_fileobj=b"# A model")


def test_a_space(hub, tmp_path):
    api = hub.api()
    url = api.create_repo("owner/demo", repo_type="space", space_sdk="gradio")
    assert url == f"{hub.endpoint}/spaces/owner/demo"
    assert api.space_info("owner/demo").runtime.stage == "NO_APP_FILE"
    (tmp_path / "app.py").write_text("import gradio")
    (tmp_path / "README.md").write_text("---\ntitle: Demo\nsdk: gradio\ncolorFrom: blue\ncolorTo: teal\n---\n")
    with pytest.raises(ValueError, match='"colorTo" must be one of'):
        api.upload_folder(repo_id="owner/demo", repo_type="space", folder_path=tmp_path)
    (tmp_path / "README.md").write_text("---\ntitle: Demo\nsdk: gradio\ncolorFrom: blue\ncolorTo: green\n---\n")
    api.upload_folder(repo_id="owner/demo", repo_type="space", folder_path=tmp_path, allow_patterns=["*.py", "*.md"])
    assert api.list_repo_files("owner/demo", repo_type="space") == [".gitattributes", "README.md", "app.py"]
    info = api.space_info("owner/demo")
    assert (info.sdk, info.runtime.stage, info.card_data.title) == ("gradio", "RUNNING", "Demo")


# ----------------------------------------------------------------------------------- repositories, branches, requests


def test_repositories_come_and_go(hub):
    api = hub.api()
    assert api.whoami()["name"] == "owner"
    assert api.create_repo("mine").repo_id == "owner/mine"
    assert api.create_repo("owner/mine", exist_ok=True).repo_id == "owner/mine"
    with http_error(409, "already created"):
        api.create_repo("owner/mine")
    api.create_repo("acme/theirs", private=True)
    assert [info.id for info in api.list_models()] == ["owner/mine", "acme/theirs"]
    assert [info.id for info in hub.api(GUEST).list_models()] == ["owner/mine"]
    api.update_repo_settings("acme/theirs", private=False, gated="manual")
    assert hub.api(GUEST).model_info("acme/theirs").gated == "manual"
    api.delete_repo("owner/mine")
    assert not api.repo_exists("owner/mine")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("owner/mine")


def test_branches_tags_and_history(hub, model):
    api = hub.api()
    start = model.at().oid
    api.create_branch("owner/model", branch="next/one")
    api.create_branch("owner/model", branch="next/one", exist_ok=True)
    api.upload_file(
        repo_id="owner/model", path_in_repo="new.txt", path_or_fileobj=b"new", revision="next/one", commit_message="New"
    )
    api.create_tag("owner/model", tag="v1", revision=start)
    with http_error(409):
        api.create_tag("owner/model", tag="v1")
    refs = api.list_repo_refs("owner/model", include_pull_requests=True)
    assert {branch.name for branch in refs.branches} == {"main", "next/one"}
    assert [(tag.name, tag.target_commit) for tag in refs.tags] == [("v1", start)]
    titles = [commit.title for commit in api.list_repo_commits("owner/model", revision="next/one")]
    assert titles == ["New", "Add files", "initial commit"]
    assert hf_hub_download("owner/model", "new.txt", revision="next/one").endswith("new.txt")
    api.delete_tag("owner/model", tag="v1")
    api.delete_branch("owner/model", branch="next/one")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("owner/model", revision="next/one")
    with pytest.raises(BadRequestError, match="Invalid reference"):
        api.create_branch("owner/model", branch="refs/pr/5")


def test_files_are_deleted(hub, model):
    api = hub.api()
    model.commit("More", {"logs/a.txt": "a", "logs/b.txt": "b"})
    api.delete_folder("logs", "owner/model")
    api.delete_file("config.json", "owner/model")
    assert api.list_repo_files("owner/model") == [".gitattributes", "README.md", "model.safetensors"]
    with pytest.raises(EntryNotFoundError, match="differentiate file and folder"):
        api.delete_file("config.json", "owner/model")


@pytest.mark.parametrize("token", [OWNER, GUEST])
def test_a_pull_request_waits_to_be_merged(hub, model, folder, token):
    """Anyone may propose: either way of opening one leads to `refs/pr/N`."""
    before = model.at()
    info = hub.api(token).upload_file(
        repo_id="owner/model", path_in_repo="new.txt", path_or_fileobj=b"new", create_pr=True
    )
    assert (info.pr_num, info.pr_revision) == (1, "refs/pr/1")
    assert model.at() == before
    assert Path(hf_hub_download("owner/model", "new.txt", revision="refs/pr/1")).read_bytes() == b"new"
    opened = hub.api(token).create_pull_request("owner/model", "Another")
    assert (opened.num, opened.status, opened.git_reference) == (2, "draft", "refs/pr/2")
    hub.api().upload_file(repo_id="owner/model", path_in_repo="else.txt", path_or_fileobj=b"", commit_message="Else")
    hub.api().merge_pull_request("owner/model", 1)
    assert {"new.txt", "else.txt", *before.files} == set(model.at().files)
    assert [(p.num, p.status) for p in hub.api().get_repo_discussions("owner/model")] == [(1, "merged"), (2, "draft")]


def test_a_pinned_commit(hub):
    oid = "5386634" + "0" * 33
    hub.add_repo("tner/mit_restaurant", "dataset", files={"label.json": "{}"}, oid=oid)
    path = hf_hub_download("tner/mit_restaurant", "label.json", repo_type="dataset", revision=oid)
    assert Path(path).parent.name == oid


def test_a_request_that_the_hub_does_not_know(hub):
    with http_error(404, "does not answer GET /api/organizations/acme/members"):
        list(hub.api().list_organization_members("acme"))
    assert [request.status for request in hub.requests] == [404]


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("token", [False, GUEST, OWNER])
def test_a_missing_repository(hub, token):
    for call in (hub.api(token).model_info, snapshot_download, lambda name: hf_hub_download(name, "config.json")):
        with pytest.raises(RepositoryNotFoundError) as caught:
            call("owner/none")
    assert caught.value.response.status_code == 404
    with pytest.raises(OSError, match="is not a local folder and is not a valid model identifier"):
        AutoModel.from_pretrained("owner/none", token=token)
    with pytest.raises(datasets.exceptions.DatasetNotFoundError, match="doesn't exist on the Hub"):
        datasets.load_dataset("owner/none", token=token)


@pytest.mark.parametrize(("token", "status"), [(False, 401), (GUEST, 404)])
def test_a_private_repository_is_missing_to_others(hub, token, status):
    hub.add_repo("owner/secret", files={"config.json": "{}"}, private=True)
    with pytest.raises(RepositoryNotFoundError) as caught:
        hf_hub_download("owner/secret", "config.json", token=token)
    assert caught.value.response.status_code == status
    assert hf_hub_download("owner/secret", "config.json", token=READER)


@pytest.mark.parametrize(
    ("token", "status", "message"), [(False, 401, "Please log in"), (GUEST, 403, "to ask for access")]
)
def test_a_gated_repository(hub, token, status, message):
    repository = hub.add_repo("owner/gated", files={"config.json": "{}"}, gated="manual")
    assert hub.api(token).model_info("owner/gated").gated == "manual"
    for call in (
        lambda: hf_hub_download("owner/gated", "config.json", token=token),
        lambda: hub.api(token).auth_check("owner/gated"),
    ):
        with pytest.raises(GatedRepoError, match=message) as caught:
            call()
        assert caught.value.response.status_code == status
    with pytest.raises(OSError, match="You are trying to access a gated repo"):
        AutoModel.from_pretrained("owner/gated", token=token)
    repository.granted.add("guest")
    assert hf_hub_download("owner/gated", "config.json", token=GUEST)


def test_missing_revisions_and_files(hub, model):
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("owner/model", "config.json", revision="v9")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("owner/model", "none.json")
    with pytest.raises(EntryNotFoundError):
        list(hub.api().list_repo_tree("owner/model", "none"))
    assert hub.api().get_paths_info("owner/model", ["none", "config.json"])[0].path == "config.json"
    assert not hub.api().file_exists("owner/model", "none.json")


def test_who_may_write(hub, model):
    with http_error(401, "Invalid user token"):
        hub.api("hf_wrong").whoami()
    with http_error(401, "Invalid credentials"):
        hub.api("hf_wrong").model_info("owner/model")
    with http_error(403, 'create a model under the namespace "owner"'):
        hub.api(GUEST).create_repo("owner/new")
    for token in (GUEST, READER):
        with http_error(403, "pass `create_pr=1`"):
            hub.api(token).upload_file(repo_id="owner/model", path_in_repo="x", path_or_fileobj=b"x")
    with http_error(401):
        HfApi(endpoint=hub.endpoint, token=False).create_repo("owner/new")


def test_offline_after_one_download(hub, model, monkeypatch, tmp_path):
    path = snapshot_download("owner/model")
    hub.connect(monkeypatch, tmp_path / "huggingface", offline=True)
    hub.requests.clear()
    assert snapshot_download("owner/model") == path
    assert hf_hub_download("owner/model", "config.json") == f"{path}/config.json"
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("owner/other", "config.json")
    hub.connect(monkeypatch, tmp_path / "empty", offline=True)
    with pytest.raises(LocalEntryNotFoundError):
        snapshot_download("owner/model")
    assert hub.requests == []


# ------------------------------------------------------------------------------------------------------------- faults


def test_a_download_that_is_cut_goes_on_where_it_was(hub, model, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 20_000)  # only whole chunks count; 10 MB otherwise
    hub.cut_download("model.safetensors", after=70_000)
    assert Path(hf_hub_download("owner/model", "model.safetensors")).read_bytes() == WEIGHTS
    first, second = asked(hub, "GET", "/storage/")
    assert (first.status, second.status) == (0, 206)
    assert second.headers["Range"] == "bytes=60000-"


def test_a_download_that_is_cut_again_and_again_fails(hub, model, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.cut_download("config.json", times=99)
    with pytest.raises(Exception, match=r"peer closed connection|disconnected"):
        hf_hub_download("owner/model", "config.json")
    assert len(asked(hub, "GET", "config.json")) > 3


@pytest.mark.parametrize("multipart_size", [5_000_000, 60_000])
def test_an_upload_that_is_cut_is_repeated(hub, folder, multipart_size):
    hub.multipart_size = multipart_size
    repository = hub.add_repo("owner/model")
    hub.cut_upload("/storage/", after=50_000)
    hub.api().upload_folder(repo_id="owner/model", folder_path=folder)
    assert repository.at().files["model.safetensors"].content == WEIGHTS
    assert [request.status for request in asked(hub, "PUT", "/storage/")][:2] == [0, 200]


def test_a_commit_that_is_cut_leaves_nothing(hub, model, folder):
    hub.cut_upload("/commit/", after=20)
    with pytest.raises(Exception, match=r"disconnected|[Cc]onnection"):
        hub.api().upload_folder(repo_id="owner/model", folder_path=folder)
    assert len(list(model.history())) == 2
    hub.api().upload_folder(repo_id="owner/model", folder_path=folder)
    assert len(list(model.history())) == 3


def test_a_commit_whose_answer_is_cut_has_happened(hub, model):
    hub.cut_answer("/commit/")
    with pytest.raises(Exception, match=r"peer closed connection|disconnected"):
        hub.api().upload_file(repo_id="owner/model", path_in_repo="x", path_or_fileobj=b"x")
    assert "x" in model.at().files


def test_too_many_requests_and_a_server_that_fails_are_asked_again(hub, folder, monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    hub.add_repo("owner/model")
    hub.rate_limit("/preupload/", retry_after=7)
    hub.fail("/storage/", status=503, times=2)
    hub.api().upload_folder(repo_id="owner/model", folder_path=folder)
    assert [request.status for request in asked(hub, "POST", "/preupload/")] == [429, 200]
    assert [request.status for request in asked(hub, "PUT", "/storage/")] == [503, 503, 200]
    assert waits == [8, 1, 2]


@pytest.mark.parametrize("status", [429, 500])
def test_a_commit_that_fails_is_an_error(hub, model, status):
    hub.fail("/commit/", status=status, message="Come back later")
    with http_error(status, "Come back later"):
        hub.api().upload_file(repo_id="owner/model", path_in_repo="x", path_or_fileobj=b"x")
    assert len(list(model.history())) == 2


def test_a_commit_on_a_parent_that_is_no_longer_the_last(hub, model):
    parent = hub.api().model_info("owner/model").sha
    hub.race("owner/model", files={"config.json": '{"raced": true}'})
    push = {"repo_id": "owner/model", "path_in_repo": "x", "path_or_fileobj": b"x"}
    with http_error(412, "A commit has happened since"):
        hub.api().upload_file(**push, parent_commit=parent)
    assert "x" not in model.at().files
    hub.api().upload_file(**push, parent_commit=model.at().oid)
    assert model.at().files["config.json"].content == b'{"raced": true}'


# ---------------------------------------------------------------------------------------------------------- processes


@pytest.mark.skipif(find_spec("hf_xet") is None, reason="needs hf_xet")
def test_a_client_that_would_rather_use_xet(hub, model, tmp_path):
    """It downloads over HTTP and commits small files, but does not fall back when it has a large file to upload."""
    code = """
        from huggingface_hub import HfApi, hf_hub_download
        print(len(open(hf_hub_download("owner/model", "model.safetensors"), "rb").read()))
        push = {"repo_id": "owner/model", "path_or_fileobj": bytes(1000)}
        print(HfApi().upload_file(**push | {"path_or_fileobj": b"text"}, path_in_repo="x.txt").oid)
        HfApi().upload_file(**push, path_in_repo="x.bin")
    """
    printed = hub.run(code, tmp_path / "home", check=False, HF_HUB_DISABLE_XET="0").splitlines()
    assert printed[:2] == [str(len(WEIGHTS)), model.at().oid]
    assert "xet-write-token" in printed[-1]


def test_a_hub_to_try_by_hand(tmp_path):
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "tests.fakes.hub", "--port", "0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        line = next(line for line in process.stdout if line.startswith("export HF_ENDPOINT"))
        variables = dict(part.split("=") for part in line.split()[1:])
        client = "from huggingface_hub import HfApi; import json; print(json.dumps(HfApi().whoami()['orgs']))"
        environment |= variables | {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
        answer = subprocess.run([sys.executable, "-c", client], env=environment, capture_output=True, check=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    assert [org["name"] for org in json.loads(answer.stdout)] == ["acme"]
