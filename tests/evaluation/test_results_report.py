import pytest

from nerfound.evaluation.report import markdown_table, results_markdown
from nerfound.evaluation.summary import METRICS, paired_differences, summarise
from tests.evaluation.frames import make_frame, with_k_0

KS = (1, 4)
CURVES = {
    "movies": {"base": (0.2, 0.4), "fixed": (0.25, 0.4), "foundation": (0.3, 0.5)},
    "genes": {"base": (0.3, 0.35), "fixed": (0.3, 0.3), "foundation": (0.4, 0.5)},
}


def report(frame, baseline="base"):
    return results_markdown(summarise(frame), paired_differences(frame, baseline))


def section(text, heading):
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def exact():
    return report(make_frame(CURVES, KS, noise=0))


def test_every_metric_has_a_table(exact):
    headings = [line[3:] for line in exact.splitlines() if line.startswith("## ")]
    assert headings == [metric.title for metric in METRICS.values()]


def test_rows_are_tasks_and_encoders_and_columns_are_k(exact):
    table = section(exact, "Token macro-F1").split("<details>")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    assert rows[0] == ["task", "encoder", "k=1", "k=4"]
    assert [row[:2] for row in rows[2:]] == [
        [task, encoder]
        for task in ("movies", "genes", "average")
        for encoder in ("base", "fixed", "foundation", "*fixed − base*", "*foundation − base*")
    ]
    assert rows[2][2:] == ["20.0 ± 0.0", "40.0 ± 0.0"]
    assert rows[-5][2:] == ["25.0 ± 0.0", "37.5 ± 0.0"]
    assert rows[-2][2:] == ["+2.5 [+2.5, +2.5]", "−2.5 [−2.5, −2.5]"]
    assert rows[-1][2:] == ["+10.0 [+10.0, +10.0]", "+12.5 [+12.5, +12.5]"]


def test_where_a_line_has_no_k_0_the_cell_is_empty():
    curves = {task: {"base": lines["base"], "ours + prior": lines["foundation"]} for task, lines in CURVES.items()}
    frame = with_k_0(make_frame(curves, KS, noise=0), {task: {"ours + prior": 0.25} for task in curves})
    text = report(frame)
    table, folded = section(text, "Token macro-F1").split("<details>")
    assert "| task | encoder | k=0 | k=1 | k=4 |" in table
    assert "| movies | base |  | 20.0 ± 0.0 | 40.0 ± 0.0 |" in table
    assert "| movies | ours + prior | 25.0 | 30.0 ± 0.0 | 50.0 ± 0.0 |" in table
    assert "| average | *ours + prior − base* |  | +10.0 [+10.0, +10.0] | +12.5 [+12.5, +12.5] |" in table
    assert "| average | base |  | [25.0, 25.0] | [37.5, 37.5] |" in folded
    assert "| average | ours + prior | no draw | [35.0, 35.0] | [50.0, 50.0] |" in folded
    compared = section(report(frame, "ours + prior"), "Token macro-F1")
    assert "| movies | *base − ours + prior* |  | −10.0 [−10.0, −10.0] | " in compared


def test_lines_with_a_prior_are_explained_where_there_are_some(exact):
    curves = {"movies": {"base": (0.2, 0.4), "base + prior": (0.3, 0.5)}}
    assert "A line with **+ prior**" in report(make_frame(curves, KS))
    assert "prior" not in exact


def test_intervals_of_the_means_are_folded_away(exact):
    folded = section(exact, "Strict entity micro-F1").split("<details>")[1]
    assert "| average | base | [15.0, 15.0] | [27.5, 27.5] |" in folded
    assert "−" not in folded


def test_spread_is_that_of_the_draws():
    frame = make_frame(CURVES, KS)
    row = summarise(frame).iloc[0]
    assert f"| movies | base | {100 * row['mean']:.1f} ± {100 * row['sd']:.1f} |" in report(frame)


def test_a_lone_encoder_has_no_differences():
    text = report(make_frame({"movies": {"base": (0.2, 0.4)}}, KS))
    assert "−" not in text
    assert "| movies | base | " in text


@pytest.mark.parametrize(("seeds", "words"), [(1, "1 draw of"), (3, "3 draws of"), (10, "10 draws of")])
def test_the_number_of_draws_is_told(seeds, words):
    assert words in report(make_frame(CURVES, KS, seeds=seeds))


def test_bars_in_names_do_not_break_a_table():
    assert markdown_table(["a"], [["b|c"]]) == "| a |\n| --- |\n| b\\|c |\n"
