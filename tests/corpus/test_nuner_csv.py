"""The CSV layout of the published data set, its known-bad rows, and annotation lines with odd mentions."""

import csv
import re
import warnings

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from nerfound.corpus import AlignmentReport, read_corpus, read_hub_dataset, read_nuner_csv
from nerfound.corpus.lines import BLOCK_SEPARATOR, NUNER_SEPARATOR, split_annotation

GOOD = [
    ("Rome fell in 476.", "['Rome <> City <> Large town.', '476 <> Year <> Twelve months.']"),
    ("The New\nYork \"Times\", 'daily'", r"""['New\nYork <> city', '"Times" <> name', "'daily' <> adverb"]"""),
    ("vector<> and a <> b", "['vector<> <> code', 'a <> b <> expression <> Two <> operands.']"),
    (r"C:\d is a path", r"['C:\d <> path']"),
    ("Nothing", "[]"),
    ("Rome, lone", "['Rome', ' <> city', 'lone <> ', 'Oslo <> city']"),
]
BAD = [
    ("", "['Rome <> city']", "no input"),
    ("Rome", " ", "no output"),
    ("Rome", "['Rome <> city'", "output does not parse as a list of strings"),
    ("Rome", "['Rome's <> city']", "output does not parse as a list of strings"),
    ("Rome", "Rome <> city", "output does not parse as a list of strings"),
    ("Rome", "{'Rome': 'city'}", "output does not parse as a list of strings"),
    ("Rome", "[('Rome', 'city')]", "output does not parse as a list of strings"),
    ("Rome", "nan", "output does not parse as a list of strings"),
    ("Rome", "__import__('os').abort()", "output does not parse as a list of strings"),
    ("Rome", "[" * 30_000, "output does not parse as a list of strings"),
    ("Rome", "-" * 30_000 + "1", "output does not parse as a list of strings"),
    ("Rome", "1" + "+1" * 30_000, "output does not parse as a list of strings"),
    ("Rome", "a" + ".b" * 30_000, "output does not parse as a list of strings"),
    ("Rome", "['a' + {} * 3]", "output does not parse as a list of strings"),
    ("Rome", "['\0']", "output does not parse as a list of strings"),
]


def write(path, rows, header=("input", "output")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def found(dataset):
    return [[(entity["text"], entity["concept"]) for entity in row["entities"]] for row in dataset]


EXPECTED = [
    [("Rome", "City"), ("476", "Year")],
    [("New\nYork", "city"), ('"Times"', "name"), ("'daily'", "adverb")],
    [("vector<>", "code"), ("a <> b", "expression")],
    [(r"C:\d", "path")],
    [],
    [],
]


def test_good_rows(tmp_path):
    report = AlignmentReport()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an escape that Python finds odd is the data's business, not the user's
        dataset = read_nuner_csv(write(tmp_path / "full.csv", GOOD), report=report)
    assert found(dataset) == EXPECTED
    assert list(dataset["text"]) == [text for text, _ in GOOD]
    assert set(dataset["language"]) == {"English"}
    assert dataset[2]["entities"][1]["description"] == "Two <> operands."
    assert (report.passages, report.given, report.aligned) == (6, 12, 8)
    assert report.dropped == {"empty concept": 2, "empty mention": 1, "not in text": 1}
    assert not report.skipped
    assert read_corpus(tmp_path / "full.csv").to_list() == dataset.to_list()


@pytest.mark.parametrize(("text", "output", "reason"), BAD)
def test_known_bad_rows_are_counted_and_left_out(text, output, reason, tmp_path):
    report = AlignmentReport()
    path = write(tmp_path / "full.csv", [GOOD[0], (text, output), GOOD[0]])
    assert found(read_nuner_csv(path, report=report)) == [EXPECTED[0]] * 2
    assert report.skipped == {reason: 1}
    assert report.passages == 2
    assert report.examples[0].where == f"{path}:3"


def test_rows_of_another_width_are_counted_and_left_out(tmp_path):
    path = tmp_path / "full.csv"
    path.write_text("input,output\nRome,['Rome <> city', 'a <> b']\nRome\n\nRome,['Rome <> city']\n")
    report = AlignmentReport()
    assert found(read_nuner_csv(path, report=report)) == [[("Rome", "city")]]
    assert report.skipped == {"more fields than columns": 1, "no output": 1}


def test_other_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match=re.escape("full.csv:1: the columns are ['text', 'label']")):
        read_nuner_csv(write(tmp_path / "full.csv", [], header=("text", "label")))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=re.escape("empty.csv:1: the columns are None")):
        read_nuner_csv(tmp_path / "empty.csv")


def test_a_quote_that_never_closes_does_not_swallow_the_file(tmp_path):
    path = tmp_path / "full.csv"
    path.write_text('input,output\n"Rome,[]\n' + "Rome,[]\n" * 100_000)
    with pytest.raises(ValueError, match=r"full\.csv:\d+: no CSV \(field larger than field limit"):
        read_nuner_csv(path)


def test_the_published_data_set_reads_by_its_id(monkeypatch):
    """As `datasets` serves it: absent values are None."""
    rows = [{"input": text, "output": output} for text, output in GOOD] + [{"input": None, "output": "[]"}]
    monkeypatch.setattr("nerfound.corpus.sources.load_dataset", lambda *_, **__: Dataset.from_list(rows))
    report = AlignmentReport()
    assert found(read_hub_dataset("numind/NuNER", split="full", report=report)) == EXPECTED
    assert report.skipped == {"no input": 1}


fields = st.text(st.characters(codec="utf-8"), max_size=8).map(str.strip)


@given(
    st.lists(fields, min_size=1, max_size=5), st.text(max_size=20), st.sampled_from([BLOCK_SEPARATOR, NUNER_SEPARATOR])
)
def test_splitting_loses_no_field(parts, text, separator):
    line = f" {separator} ".join(parts)
    annotation = split_annotation(line, separator, text)
    joined = [annotation.mention, annotation.concept, annotation.description]
    squeezed = "".join("".join(joined).replace(separator, "").split())
    assert squeezed == "".join(line.replace(separator, "").split())


@given(fields.filter(bool), fields, fields)
def test_splitting_reads_what_was_joined(mention, concept, description):
    if any("<" in field or ">" in field for field in (mention, concept, description)):
        return
    line = f"{mention} <> {concept} <> {description}"
    assert split_annotation(line, NUNER_SEPARATOR, f"x {mention} y") == (mention, concept, description)


def test_a_mention_with_the_separator_is_the_longest_that_occurs():
    assert split_annotation("a <> b <> c", "<>", "a <> b") == ("a <> b", "c", "")
    assert split_annotation("a <> b <> c", "<>", "a only") == ("a", "b", "c")
    assert split_annotation("x <> b <> c", "<>", "nothing fits") == ("x", "b", "c")
    assert split_annotation("alone", "<>", "alone") == ("alone", "", "")
    assert split_annotation(" <> b", "<>", "text") == ("", "b", "")
