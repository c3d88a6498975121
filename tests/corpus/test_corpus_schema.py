"""What a row of a corpus must satisfy, and how a wrong one is named."""

import copy
import re

import pytest

from nerfound.corpus import CORPUS_FEATURES, validate_row

ROW = {
    "id": "1",
    "language": "",
    "domain": "",
    "text": "Rome fell.",
    "entities": [{"start": 0, "end": 4, "text": "Rome", "concept": "city", "description": ""}],
}


def test_a_good_row_passes():
    assert set(CORPUS_FEATURES) == set(ROW)
    validate_row(ROW, "here")
    validate_row({**ROW, "entities": []}, "here")


def change(row, path, value):
    row = copy.deepcopy(row)
    *parents, last = path
    target = row
    for key in parents:
        target = target[key]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return row


ENTITY = ("entities", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("id",), "", "here: 'id' is empty"),
        (("id",), 7, "here: 'id' is 7; it must be a string"),
        (("text",), " \n", "here: 'text' is empty"),
        (("text",), None, "here: 'text' is None"),
        (("text",), "Rome \ud800", "lone surrogate"),
        (("language",), ..., "here: language missing"),
        (("source",), "x", "here: unknown source"),
        (("entities",), {"start": [0]}, "it must be a list"),
        (("entities",), None, "it must be a list"),
        (ENTITY, "Rome", "here: entity 1 is 'Rome'"),
        ((*ENTITY, "concept"), " ", "here: entity 1: the concept of 'Rome' is empty"),
        ((*ENTITY, "concept"), None, "here: entity 1: 'concept' is None"),
        ((*ENTITY, "label"), "x", "here: entity 1: unknown label"),
        ((*ENTITY, "end"), ..., "here: entity 1: end missing"),
        ((*ENTITY, "end"), 11, "here: entity 1: span 0:11 does not lie on the text of 10 characters"),
        ((*ENTITY, "end"), 0, "span 0:0"),
        ((*ENTITY, "start"), -4, "span -4:4"),
        ((*ENTITY, "start"), True, "'start' is True; it must be an integer"),
        ((*ENTITY, "start"), 0.0, "'start' is 0.0"),
        ((*ENTITY, "start"), 1, "'text' is 'Rome', but the passage reads 'ome' at 1:4"),
        ((*ENTITY, "end"), 10**30, "does not lie on the text"),
    ],
)
def test_a_wrong_row_is_refused_by_name(path, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        validate_row(change(ROW, path, value), "here")
