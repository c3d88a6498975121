"""Spaces: pushed as they lie, in one commit that is read back; refused where the Hub could not start them."""

from pathlib import Path

import pytest
from huggingface_hub import SpaceCard, snapshot_download
from typer.testing import CliRunner

from nerfound.cli import app
from nerfound.hub import PushError, push_space
from nerfound.hub.spaces import read_requirements, stage_space
from tests.fakes.card_metadata import check
from tests.fakes.hub import GUEST

ROOT = Path(__file__).parents[2]
OURS = ROOT / "spaces" / "few-shot-ner"
README = """---
title: Demo
emoji: 🔎
colorFrom: blue
colorTo: green
sdk: gradio
sdk_version: "6.31.0"
python_version: "3.11"
app_file: app.py
short_description: Finds entities
---

# Demo
"""
REQUIREMENTS = """\
# what the app needs
--extra-index-url https://wheels.example/cpu
torch==2.13.0  # any build
gradio[oauth]==6.31.0
"""
NEVER_PUSHED = (".env", ".git/config", ".gradio/flagged.csv", "__pycache__/app.cpython-311.pyc", "tabs/.DS_Store")
PUSHED = {"README.md", "app.py", "requirements.txt", "tabs/fit.py", "static/logo.png"}


@pytest.fixture
def space(tmp_path):
    """A small Space, among what is not to be published."""
    folder = tmp_path / "space"
    texts = {"README.md": README, "app.py": "import gradio\n", "requirements.txt": REQUIREMENTS, "tabs/fit.py": ""}
    for name in (*texts, *NEVER_PUSHED, "static/logo.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(texts.get(name, "secret\0").encode())
    return folder


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def push(*arguments):
    return CliRunner().invoke(app, ["push", "space", *map(str, arguments)])


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_space_is_pushed_in_one_commit_and_read_back(hub, space):
    done = push(space, "owner/demo", "--private")
    assert done.exit_code == 0, done.output
    repository = hub.repositories["space", "owner/demo"]
    assert (repository.sdk, repository.private) == ("gradio", True)
    (commit, _) = repository.history()  # the other is the Hub's own
    assert done.stdout == (
        f"{hub.endpoint}/spaces/owner/demo: 5 files at {commit.oid}, downloaded again and found equal\n"
    )
    fetched = contents(snapshot_download("owner/demo", repo_type="space"))
    assert fetched.keys() - {".gitattributes"} == PUSHED
    assert all(fetched[name] == (space / name).read_bytes() for name in PUSHED)
    asked = {request.path for request in hub.requests if request.method == "HEAD"}
    assert {f"/spaces/owner/demo/resolve/{commit.oid}/{name}" for name in PUSHED} <= asked
    info = hub.api().space_info("owner/demo")
    assert (info.sdk, info.runtime.stage, info.card_data.title) == ("gradio", "RUNNING", "Demo")
    again = push_space(space, "owner/demo")
    assert again.oid == commit.oid


def test_branch_pull_request_and_modules_that_are_gone(hub, space):
    push_space(space, "demo")
    repository = hub.repositories["space", "owner/demo"]
    (space / "tabs" / "fit.py").rename(space / "tabs" / "extract.py")
    opened = push(space, "owner/demo", "--create-pr")
    assert opened.stdout.startswith(f"{hub.endpoint}/spaces/owner/demo/discussions/1: 5 files")
    assert "tabs/fit.py" in repository.at("main").files
    push_space(space, "owner/demo", revision="next")
    assert set(repository.at("next").files) == PUSHED - {"tabs/fit.py"} | {"tabs/extract.py", ".gitattributes"}
    with pytest.raises(PushError, match="you may not write there"):
        push_space(space, "owner/demo", token=GUEST)


def test_dry_run_writes_what_would_be_pushed(hub, space, tmp_path):
    done = push(space, "owner/demo", "--dry-run", "-o", tmp_path / "staged")
    assert done.exit_code == 0, done.output
    assert "staged: 5 files" in done.stdout
    assert contents(tmp_path / "staged") == {name: (space / name).read_bytes() for name in PUSHED}
    assert hub.requests == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sdk: gradio", "sdk: flask", r"README\.md: sdk is 'flask': give one of gradio"),
        ("sdk: gradio\n", "", r"README\.md: sdk is None"),
        ('"6.31.0"', "5.10", r"README\.md: sdk_version is 5\.1: give a version, in quotes"),
        ('"6.31.0"', "latest", r"README\.md: sdk_version is 'latest'"),
        ('"6.31.0"', '"6.30.0"', r"requirements\.txt pins gradio==6\.31\.0, but sdk_version .* is 6\.30\.0"),
        ('"3.11"', "3.10", r"README\.md: python_version is 3\.1: give a version, in quotes"),
        ("app_file: app.py", "app_file: main.py", r"has no main\.py, which its README\.md names as app_file"),
        ("app_file: app.py\n", "", r"README\.md: app_file is None"),
        ("Finds entities", "x" * 61, r"README\.md: short_description has 61 characters"),
        ("title: Demo", "title: [", r"README\.md: its metadata are no YAML"),
    ],
)
def test_metadata_that_start_no_space_are_refused(hub, space, old, new, message):
    replace(space / "README.md", old, new)
    with pytest.raises(ValueError, match=message):
        push_space(space, "owner/demo")
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gradio>=6", r"requirements\.txt, line 4: 'gradio>=6' is not pinned: give gradio==VERSION"),
        ("gradio", r"line 4: 'gradio' is not pinned"),
        ("gradio==6.*", r"line 4: 'gradio==6\.\*' is not pinned"),
        ("nerfound @ git+https://example.org/nerfound@main", "line 4: .* is not pinned"),
        ("-r more.txt", r"line 4: '-r more\.txt' is no requirement"),
        ("./missing.whl", r"line 4: '\./missing\.whl' is no requirement"),
    ],
)
def test_requirements_that_are_not_pinned_are_refused(space, tmp_path, line, message):
    replace(space / "requirements.txt", "gradio[oauth]==6.31.0", line)
    with pytest.raises(ValueError, match=message):
        stage_space(space, tmp_path / "staged")


def test_what_counts_as_pinned(tmp_path):
    (tmp_path / "some.whl").touch()
    commit = "git+https://example.org/a@" + "0a" * 20
    (tmp_path / "requirements.txt").write_text(
        f"./some.whl\nFoo_Bar==1.0 ; python_version > '3'\n\na @ {commit}\n"
        f"b @ https://example.org/b.whl#sha256={'0a' * 32}\n"
    )
    assert read_requirements(tmp_path / "requirements.txt") == {
        "foo-bar": "1.0", "a": commit, "b": f"https://example.org/b.whl#sha256={'0a' * 32}",
    }  # fmt: skip


def test_a_folder_that_is_no_space_is_refused(tmp_path, space):
    done = push(tmp_path, "owner/demo", "--dry-run", "-o", tmp_path / "staged")
    assert (done.exit_code, "has no README.md: give the folder of a Space" in done.output) == (1, True)
    assert not (tmp_path / "staged").exists()
    (space / "requirements.txt").unlink()
    with pytest.raises(ValueError, match=r"has no requirements\.txt"):
        stage_space(space, tmp_path / "staged")


def test_our_own_space(hub):
    pushed = push_space(OURS, "owner/few-shot-ner")
    files = hub.repositories["space", "owner/few-shot-ner"].at().files
    assert pushed.files == len(files) - 1  # .gitattributes is the Hub's own
    readme = files["README.md"].content.decode()
    assert check(readme, "space") == ([], [])
    SpaceCard(readme).validate()
    assert {"app.py", "requirements.txt"} <= set(files)
