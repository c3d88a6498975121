"""The report of an alignment adds up and reads well."""

from nerfound.corpus import AlignmentReport, Annotation, DropReason, align_annotations


def one(text, *mentions, where="f:1"):
    return align_annotations(text, [Annotation(mention, "thing") for mention in mentions], where=where)[1]


def test_reports_add_up_without_changing_their_parts():
    first, second = one("a b a", "a"), one("c", "c", "d", where="f:2")
    total = first + second
    assert (total.passages, total.given, total.aligned, total.propagated) == (2, 3, 2, 1)
    assert total.dropped == {"not in text": 1}
    assert (first.passages, second.passages) == (1, 1)
    first.merge(second)
    assert first == total


def test_examples_are_bounded_per_reason():
    report = AlignmentReport()
    for number in range(50):
        report.merge(one("text", "missing", " ", where=f"f:{number}"))
    assert report.dropped == {"not in text": 50, "empty mention": 50}
    assert len(report.examples) == 6


def test_the_report_reads_as_a_paragraph():
    report = one("a b a", "a", "z") + AlignmentReport(passages=1999)
    report.skip("no output", "g:7", "'text'")
    assert str(report) == (
        "2,000 passages, 2 annotations: 1 aligned (50.00%), 1 dropped; 1 further occurrences annotated\n"
        "  dropped, not in text: 1 (such as 'z' as 'thing' at f:1)\n"
        "  passages skipped, no output: 1 (such as \"'text'\" at g:7)"
    )
    assert str(AlignmentReport()).startswith("0 passages, 0 annotations: 0 aligned, 0 dropped")


def test_reasons_are_named_in_words():
    assert [reason.value for reason in DropReason] == [
        "empty mention",
        "empty concept",
        "not in text",
        "inside a word",
        "exhausted",
        "duplicate",
    ]
