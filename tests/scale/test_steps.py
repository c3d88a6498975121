"""The steps in pipelines of datatrove's local executor, two tasks at a time."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import pipeline

pytest.importorskip("datatrove", reason="needs the extra nerfound[scale]")

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter

from nerfound.annotation import AnnotationStoppedError, Traffic
from nerfound.corpus import read_corpus
from nerfound.scale import AnnotatorStep, ExtractorStep
from tests.fakes.openai_server import FakeOpenAI

MODEL = "gpt-4o-mini"
QUICK = Traffic(concurrency=4, deadline=5, attempts=2, first_wait=0.01, longest_wait=0.05, patience=0.1)


def sentences(count):
    return [f"Number {index} of all travellers left Lisbon for the island of Madeira." for index in range(count)]


@pytest.fixture
def documents(tmp_path):
    """Two files of documents, one for each task: twelve sentences, in six documents."""
    folder = tmp_path / "documents"
    folder.mkdir()
    texts = [f"{first} {second}" for first, second in zip(sentences(12)[::2], sentences(12)[1::2], strict=True)]
    for number, part in enumerate((texts[:3], texts[3:])):
        columns = {"text": part, "id": [f"{number}-{i}" for i in range(3)], "language": ["en"] * 3}
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    return folder


def execute(folder, *steps):
    """Run a pipeline of two tasks on two workers."""
    LocalPipelineExecutor(list(steps), tasks=2, workers=2, logging_dir=str(folder / "logs")).run()


def in_process(documents, step):
    """The two tasks of a pipeline one after the other, in this process."""
    reader = ParquetReader(str(documents))
    return [list(step(reader(rank=rank, world_size=2), rank, 2)) for rank in range(2)]


def annotator(server, tmp_path, **options):
    return AnnotatorStep(tmp_path / "corpus", model=MODEL, base_url=server.url, traffic=QUICK, **options)


def rows_of(folder):
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_annotation_makes_one_corpus(documents, tmp_path):
    with FakeOpenAI(scripted={sentences(12)[5]: "refusal"}) as server:
        reader, writer = ParquetReader(str(documents)), ParquetWriter(str(tmp_path / "passed-on"))
        execute(tmp_path, reader, annotator(server, tmp_path), writer)
        assert sorted(server.seen) == sorted(sentences(12))
        assert set(server.seen.values()) == {1}
    corpus = read_corpus(tmp_path / "corpus")
    assert sorted(corpus["text"]) == sorted(set(sentences(12)) - {sentences(12)[5]})
    assert {len(entities) for entities in corpus["entities"]} == {5}
    assert set(corpus["language"]) == {"en"}
    passed_on = rows_of(tmp_path / "passed-on")
    assert sorted(row["text"] for row in passed_on) == sorted(corpus["text"])
    assert {row["metadata"]["prompt"] for row in passed_on} == {"open-lines.v1"}
    assert sorted(path.name for path in (tmp_path / "corpus").iterdir()) == ["00000", "00001"]


def test_failed_tasks_go_on_and_pay_nothing_twice(documents, tmp_path):
    share = 0.00035  # a few requests of a task: each reserves the most that it may cost
    parameters = {"max_completion_tokens": 100}
    with FakeOpenAI() as server:
        steps = ParquetReader(str(documents)), annotator(server, tmp_path, max_cost=2 * share, parameters=parameters)
        with pytest.raises(AnnotationStoppedError, match="has spent its share of max_cost"):
            execute(tmp_path, *steps)
        assert 0 < len(server.log) < 12
        assert (
            sum(map(len, in_process(documents, annotator(server, tmp_path, max_cost=1, parameters=parameters)))) == 12
        )
        assert sorted(server.seen) == sorted(sentences(12))
        assert set(server.seen.values()) == {1}
        assert len(read_corpus(tmp_path / "corpus")) == 12


def test_other_documents_do_not_mix_in(documents, tmp_path):
    with FakeOpenAI() as server:
        in_process(documents, annotator(server, tmp_path))
        (documents / "1.parquet").unlink()
        with pytest.raises(ValueError, match="another source"):
            in_process(documents, annotator(server, tmp_path))


def test_unknown_options_fail_before_anything_runs(tmp_path):
    with pytest.raises(TypeError, match="modle"):
        AnnotatorStep(tmp_path, model=MODEL, modle=MODEL)


def test_extraction_agrees_with_the_pipeline(documents, recognizer, tmp_path):
    recognizer.save_pretrained(tmp_path / "recognizer")
    extractor = ExtractorStep(tmp_path / "recognizer", threshold=0.5)
    execute(tmp_path, ParquetReader(str(documents)), extractor, ParquetWriter(str(tmp_path / "entities")))
    rows = rows_of(tmp_path / "entities")
    expected = pipeline("few-shot-ner", model=recognizer, threshold=0.5)([row["text"] for row in rows])
    assert [row["id"] for row in rows] == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    for row, entities in zip(rows, expected, strict=True):
        found = row["metadata"]["entities"]
        assert [(e["start"], e["end"], e["entity_group"], e["word"]) for e in found] == [
            (e["start"], e["end"], e["entity_group"], e["word"]) for e in entities
        ]
        assert [e["score"] for e in found] == pytest.approx([e["score"] for e in entities])
    assert any(expected)
