import json

import pytest
from typer.testing import CliRunner

from nerfound.cli.corpus import app
from nerfound.corpus.statistics import (
    QUANTITIES,
    Group,
    corpus_statistics,
    count_sentences,
    statistics_markdown,
)

HOSTILE = "<img src=x>|`a`\x1b[2J\u202e"


def row(text="One. Two.", concepts=(), language="English", domain="news"):
    return {
        "text": text,
        "entities": [{"concept": concept} for concept in concepts],
        "language": language,
        "domain": domain,
    }


ROWS = [
    row("In Rome. At noon!", ["city", "City", " time of  day", "city"]),
    row("東京。京都。", ["city", "time of day"], language="Japanese"),
    row("Nothing", domain="letters"),
    row("A co-op in Oslo", ["Co-op", "capital city"], domain="letters"),
]


@pytest.fixture(scope="module")
def statistics():
    return corpus_statistics(iter(ROWS))


def test_the_figures_by_hand(statistics):
    assert statistics.figures() == {
        "passages": 4,
        "sentences": 6,
        "annotations": 8,
        "annotations_per_passage": 2.0,
        "annotations_per_sentence": 8 / 6,
        "concepts": 4,
        "name_words": 7,  # city, time, of, day, co, op, capital
        "top_share": 1.0,
        "singletons": 2,
        "singleton_annotation_share": 2 / 8,
        "singleton_concept_share": 2 / 4,
    }
    assert statistics.figures().keys() == QUANTITIES.keys()


def test_spellings_are_one_concept_under_the_most_common(statistics):
    assert statistics.concepts == {"city": 4, "time of day": 2, "Co-op": 1, "capital city": 1}
    assert list(statistics.concepts) == ["city", "time of day", "Co-op", "capital city"]
    assert statistics.singletons == ["Co-op", "capital city"]
    assert statistics.concepts_by_count() == {1: 2, 2: 1, 4: 1}


def test_languages_and_domains(statistics):
    assert statistics.languages == {"English": Group(3, 6), "Japanese": Group(1, 2)}
    assert statistics.domains == {"news": Group(2, 6), "letters": Group(2, 2)}


def test_the_top_share_counts_a_hundred_concepts():
    concepts = [f"concept {i}" for i in range(150)]
    statistics = corpus_statistics([row(concepts=concepts + concepts[:50])])
    assert statistics.figures()["top_share"] == pytest.approx((2 * 50 + 50) / 200)
    assert len(statistics.common) == 100
    assert set(concepts[:50]) <= set(statistics.common)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("No mark", 1),
        ("It costs 3.50 today. Really?! Yes", 3),
        ("He said “Go.” Then he left…", 2),
        ("see www.example.com for more, e.g. this", 1),
        ("a heading\n\nA line\n", 2),
        ("今日は。「はい。」元気？", 3),
    ],
)
def test_sentences(text, count):
    assert count_sentences(text) == count


def test_a_corpus_without_annotations_is_refused():
    with pytest.raises(ValueError, match="none of 2 passages has an annotation"):
        corpus_statistics([row(), row()])


def test_names_are_made_safe_to_show():
    statistics = corpus_statistics([row(concepts=[HOSTILE, "two\nlines"])])
    assert set(statistics.concepts) == {"<img src=x>|`a`\ufffd[2J\ufffd", "two lines"}


def test_the_page_escapes_names(statistics):
    page = statistics_markdown(corpus_statistics([row(concepts=[HOSTILE], domain="*b*")]), "<corpus>", "nerfound `x`")
    assert "# Statistics of \\<corpus\\>\n" in page
    assert "| \\<img src=x\\>\\|\\`a\\`\ufffd\\[2J\ufffd | 1 |" in page
    assert "| \\*b\\* | 1 | 1 |" in page
    assert "| annotations per sentence | 0.5 | 5.0 |" in page
    assert "| city | 4 |" in statistics_markdown(statistics, "c", "nerfound")


def test_many_groups_are_cut_off():
    rows = [row(concepts=["city"], domain=f"domain {i:02}") for i in range(25)]
    page = statistics_markdown(corpus_statistics(rows), "c", "nerfound")
    assert "## Domains: 25" in page
    assert "| domain 19 |" in page
    assert "| domain 20 |" not in page
    assert "| … and 5 more |" in page


def test_the_command_prints_and_writes(write_jsonl, records, tmp_path):
    corpus = str(write_jsonl(*records))
    printed = CliRunner().invoke(app, ["stats", corpus])
    assert printed.exit_code == 0, printed.output
    assert "unique concepts" in printed.output
    assert "Turkish" in printed.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl"]

    output = tmp_path / "out"
    written = CliRunner().invoke(app, ["stats", corpus, "-o", str(output)])
    assert written.exit_code == 0, written.output
    assert "no map: 4 concepts, it needs 20" in written.output
    figures = json.loads((output / "statistics.json").read_text())
    assert figures["figures"]["annotations"] == 6
    assert figures["blog"]["top_share"] == 0.43
    assert figures["most_common"]["city"] == 3
    assert (output / "statistics.md").read_text().startswith("# Statistics of ")
    pictures = ["common_concepts", "concepts_by_rank", "cumulative_share", "rare_concepts"]
    assert sorted(path.name for path in output.glob("*.*g")) == [f"{p}.{s}" for p in pictures for s in ("png", "svg")]


def test_the_command_names_what_is_wrong(write_jsonl):
    corpus = write_jsonl({"text": "Nothing here.", "annotations": []})
    result = CliRunner().invoke(app, ["stats", str(corpus)])
    assert result.exit_code == 1
    assert "error: none of 1 passages has an annotation" in result.output
