"""The named endpoints, as a program calls them."""

import json
import re
import urllib.request
import zipfile
from pathlib import Path

import pytest

gradio_client = pytest.importorskip("gradio_client", reason="comes with gradio")

DOCUMENT = {
    "concepts": [{"name": "restaurant", "description": "serves meals"}, {"name": "city", "description": ""}],
    "examples": [
        {"text": "a table at Nobu", "entities": [{"start": 11, "end": 15, "label": "restaurant"}]},
        "fly from [Berlin](city) to [New York](city) at 10:30",
        "is there a free table at [Noma](restaurant), near the river?",
    ],
}
ENDPOINTS = {
    "/fit", "/extract", "/add_corrections", "/import_file", "/recognizer", "/compare", "/colors", "/score_concepts",
}  # fmt: skip


@pytest.fixture
def client(server, tmp_path):
    with_client = gradio_client.Client(server, verbose=False, download_files=str(tmp_path / "downloads"))
    yield with_client
    with_client.close()


def test_endpoints_are_named_typed_and_described(client):
    api = client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == ENDPOINTS
    assert api["unnamed_endpoints"] == {}
    for name, endpoint in api["named_endpoints"].items():
        assert len(endpoint["description"]) > 40, name
        assert endpoint["returns"], name
        for slot in (*endpoint["parameters"], *endpoint["returns"]):
            assert slot["python_type"]["type"] not in {"Any", ""}, name
    document = api["named_endpoints"]["/fit"]["parameters"][0]["python_type"]["type"]
    assert "concepts" in document
    assert "start: int" in document


def test_a_program_teaches_extracts_corrects_and_takes_the_recognizer_away(client, tmp_path):
    said = client.predict(DOCUMENT, api_name="/fit")
    assert "on 3 examples with 4 mentions" in said
    text = "a table at Noma in Berlin 😀"
    found = client.predict(text, api_name="/extract")
    assert found["text"] == text
    assert found["concepts"] == ["restaurant", "city"]
    for entity in found["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert 0 < entity["score"] <= 1
    corrected = {**found, "entities": [{"start": 19, "end": 25, "label": "city", "score": None}]}
    document = client.predict(DOCUMENT, corrected, api_name="/add_corrections")
    assert document["examples"][3] == {"text": text, "entities": [{"start": 19, "end": 25, "label": "city"}]}
    path = client.predict(api_name="/recognizer")
    with zipfile.ZipFile(path) as archive:
        assert "recognizer/model.safetensors" in archive.namelist()
        labels = json.loads(archive.read("recognizer/config.json"))["id2label"]
    assert labels == {"0": "O", "1": "B-restaurant", "2": "I-restaurant", "3": "B-city", "4": "I-city"}


def test_the_code_of_the_documentation_runs(server):
    page = Path(__file__).parents[2] / "docs" / "space.md"
    (code,) = re.findall(r"^```py\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    namespace = {}
    exec(code.replace("http://127.0.0.1:7860/", server), namespace)
    assert namespace["found"]["concepts"] == ["restaurant", "city"]
    assert zipfile.is_zipfile(namespace["archive"])
    namespace["client"].close()


def test_entities_below_the_threshold_are_no_corrections(client):
    found = {
        "text": "Rome or Oslo",
        "entities": [{"start": 0, "end": 4, "label": "city", "score": 0.4}, {"start": 8, "end": 12, "label": "city"}],
        "concepts": ["city"],
        "threshold": 0.5,
    }
    document = client.predict(DOCUMENT, found, api_name="/add_corrections")
    assert document["examples"][3]["entities"] == [{"start": 8, "end": 12, "label": "city"}]


def test_no_visitor_has_what_another_taught(client, server):
    client.predict(DOCUMENT, api_name="/fit")
    other = gradio_client.Client(server, verbose=False)
    with pytest.raises(gradio_client.exceptions.AppError, match="no recognizer yet"):
        other.predict("a text", api_name="/extract")
    with pytest.raises(gradio_client.exceptions.AppError, match="no recognizer yet"):
        other.predict(api_name="/recognizer")
    other.predict({"examples": ["[Rome](airport)"]}, api_name="/fit")
    assert other.predict("Rome", api_name="/extract")["concepts"] == ["airport"]
    assert client.predict("Rome", api_name="/extract")["concepts"] == ["restaurant", "city"]
    other.close()


@pytest.mark.parametrize(
    ("arguments", "endpoint", "message"),
    [
        ([{"examples": []}], "/fit", "name a concept"),
        (["not a document"], "/fit", "Give"),
        ([DOCUMENT, None], "/add_corrections", "Nothing to add"),
        ([DOCUMENT, ""], "/compare", "text is empty"),
        ([DOCUMENT, "x" * 5_001], "/compare", "at most 5,000"),
        (["x" * 5_001], "/colors", "at most 5,000"),
        (["x" * 2_001, "city"], "/score_concepts", "at most 2,000"),
    ],
)
def test_what_is_refused_is_told(client, arguments, endpoint, message):
    with pytest.raises(gradio_client.exceptions.AppError, match=message):
        client.predict(*arguments, api_name=endpoint)


def test_files_are_imported_and_not_kept(client, tmp_path):
    (tmp_path / "more.jsonl").write_text(json.dumps({"tokens": ["to", "Oslo"], "tags": ["O", "B-city"]}))
    document = client.predict(gradio_client.handle_file(tmp_path / "more.jsonl"), DOCUMENT, api_name="/import_file")
    assert document["examples"][3] == {"text": "to Oslo", "entities": [{"start": 3, "end": 7, "label": "city"}]}
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(gradio_client.exceptions.AppError, match=r"Could not read bad.jsonl, line 1"):
        client.predict(gradio_client.handle_file(tmp_path / "bad.jsonl"), DOCUMENT, api_name="/import_file")


def test_a_file_of_the_server_cannot_be_imported(server, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the [secret](word)")
    url = f"{server}gradio_api/call/import_file"  # the client would upload the file as its own
    payload = {"data": [{"path": str(secret), "meta": {"_type": "gradio.FileData"}}, DOCUMENT]}
    request = urllib.request.Request(url, json.dumps(payload).encode(), {"Content-Type": "application/json"})
    event = json.load(urllib.request.urlopen(request))["event_id"]
    answer = urllib.request.urlopen(f"{url}/{event}").read().decode()
    assert answer.startswith("event: error")
    assert "secret](" not in answer
    assert secret.exists()


def test_both_encoders_are_compared_and_seen(client):
    foundation, base = client.predict(DOCUMENT, "a table at Noma", api_name="/compare")
    assert foundation["concepts"] == base["concepts"] == ["restaurant", "city"]
    seen = client.predict("Noma in Berlin", api_name="/colors")
    assert [panel["title"] for panel in seen["panels"]] == ["Foundation", "Plain encoder"]
    for panel in seen["panels"]:
        assert [word[:2] for word in panel["words"]] == [[0, 4], [5, 7], [8, 14]]


def test_concepts_are_scored(client):
    scored = client.predict("Noma in Berlin", "city: a town\nfood", api_name="/score_concepts")
    assert [concept["name"] for concept in scored["concepts"]] == ["city", "food"]
    assert all(len(concept["scores"]) == 3 for concept in scored["concepts"])
