"""Corpora in every format, small enough to read in one glance."""

import json

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep what `datasets` and the readers cache out of the home folder of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets-cache"))
        yield


@pytest.fixture
def write_jsonl(tmp_path):
    """Write records as JSON lines, and return the path."""

    def write(*records, name="corpus.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
        return path

    return write


@pytest.fixture
def records():
    """Three passages in the source layout: plain, hostile, and without annotations."""
    return [
        {
            "id": "r1",
            "language": "English",
            "domain": "history",
            "text": "In September 1 Rome fell; Rome rose.",
            "annotations": [
                ["September 1", "date", "Day."],
                ["September", "month", "Month."],
                ["Rome", "city", "Town."],
            ],
        },
        {
            "id": "r2",
            "language": "Turkish",
            "domain": "hostile",
            "text": "İzmir -|- a <> b\ncafe\u0301\u2028\x85 e\u0301te\u0301 👍🏽 [x](y)",
            "annotations": [
                ["İzmir", "city", "Town\nof many."],
                ["a <> b", "expression", ""],
                ["cafe", "drink", "Sip."],
            ],
        },
        {"id": "r3", "language": "", "domain": "", "text": "Nothing here.", "annotations": []},
    ]
