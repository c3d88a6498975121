"""Which types of a task were seen in pre-training: by name, and by vectors made up here."""

import pandas as pd
import pytest
import torch

from nerfound.evaluation.label_overlap import NEAR_COSINE, label_overlap, overlap_lines, overlap_markdown

CONCEPTS = ["Person Name", "river", "T-cell type", "car"]
DIRECTIONS = {
    "person name": 0,
    "river": 90,
    "t-cell type": 180,
    "t cell type": 170,
    "car": 270,
    "watercourse": 60,  # 30° from river: cosine 0.87
    "actor": 45,  # as far from a river as from a person: 0.71
    "dish": 225,
}


def encode(names):
    """Vectors of different lengths, in a plane; names are given as they are to be read."""
    angles = torch.tensor([DIRECTIONS[name.casefold()] for name in names], dtype=torch.float32).deg2rad()
    lengths = torch.arange(1, len(names) + 1)[:, None]
    return lengths * torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.fixture(scope="module")
def overlap():
    labels = {"films": ["PERSON_NAME", "actor", "Dish"], "nature": ["River", "watercourse", "T-cell_type"]}
    return label_overlap(labels, CONCEPTS, encode)


def test_exact_and_nearest(overlap):
    assert list(overlap.columns) == ["task", "type", "exact", "nearest", "cosine"]
    assert overlap["task"].tolist() == ["films"] * 3 + ["nature"] * 3
    assert overlap["type"].tolist() == ["PERSON_NAME", "actor", "Dish", "River", "watercourse", "T-cell_type"]
    assert overlap["exact"].tolist() == [True, False, False, True, False, True]
    nearest = overlap["nearest"].tolist()
    assert [nearest[0], *nearest[3:]] == ["Person Name", "river", "river", "T-cell type"]
    assert nearest[1] in {"Person Name", "river"}
    cosines = torch.tensor([0, 45, 45, 0, 30, 10]).deg2rad().cos().tolist()
    assert overlap["cosine"].tolist() == pytest.approx(cosines, abs=1e-6)


def test_lines_beside_the_results(overlap):
    assert overlap_lines(overlap) == [
        "films: of 3 types, 1 are pre-training concepts by name, 1 by name or nearly",
        "nature: of 3 types, 2 are pre-training concepts by name, 3 by name or nearly",
    ]


def test_the_cut_is_stated_and_applied():
    rows = [("t", "a", False, "x", NEAR_COSINE), ("t", "b", False, "y", NEAR_COSINE - 1e-6), ("t", "c", True, "z", 0.1)]
    overlap = pd.DataFrame(rows, columns=["task", "type", "exact", "nearest", "cosine"])
    assert overlap_lines(overlap) == ["t: of 3 types, 1 are pre-training concepts by name, 2 by name or nearly"]
    assert f"at least {NEAR_COSINE}" in " ".join(overlap_markdown(overlap, "a corpus").split())


def test_markdown(overlap):
    text = overlap_markdown(overlap, "`a corpus`")
    assert "concepts of `a corpus`" in text
    lines = text.splitlines()
    assert lines[0] == "# Label overlap"
    tables = [line for line in lines if line.startswith("|") and "---" not in line]
    assert tables[:3] == [
        "| task | types | exactly | exactly or nearly |",
        "| films | 3 | 1 | 1 |",
        "| nature | 3 | 2 | 3 |",
    ]
    assert tables[3] == "| task | type | exactly | nearest concept | cosine |"
    assert tables[4] == "| films | PERSON_NAME | yes | Person Name | 1.00 |"
    assert tables[8] == "| nature | watercourse |  | river | 0.87 |"
    assert len(tables) == 4 + 6


def test_no_type_is_a_concept():
    overlap = label_overlap({"t": ["actor"]}, ["car"], encode)
    assert overlap_lines(overlap) == ["t: of 1 types, 0 are pre-training concepts by name, 0 by name or nearly"]
    assert overlap["cosine"].item() == pytest.approx(-(0.5**0.5), abs=1e-6)
