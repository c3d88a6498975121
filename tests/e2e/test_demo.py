"""`nerfound demo`, cut short: the whole method on real weights, corpus and tasks."""

import json
import subprocess
import sys

import pytest

from nerfound.offline import DEFAULT_ENCODER, resolve_encoder


@pytest.mark.skipif(resolve_encoder(DEFAULT_ENCODER) == DEFAULT_ENCODER, reason="needs the extra nerfound[offline]")
def test_demo_shows_the_whole_method(tmp_path):
    output = tmp_path / "demo"
    command = [sys.executable, "-m", "nerfound", "demo", "--output", str(output), "--minutes", "0.3"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert result.returncode == 0, result.stderr
    rows = json.loads((output / "results.json").read_text())["rows"]
    cells = {(row["task"], row["encoder"], row["k"]) for row in rows}
    tasks = {"clinic_notes", "home_repairs", "job_adverts", "average"}
    lines = ("base", "foundation", "foundation + prior")
    assert cells == {(task, line, k) for task in tasks for line in lines for k in (1, 4, 16)}
    assert all(0 < row["token_macro_f1"] < 1 and 0 <= row["entity_micro_f1"] < 1 for row in rows)
    average = {(row["encoder"], row["k"]): row["token_macro_f1"] for row in rows if row["task"] == "average"}
    assert average["base", 1] < average["base", 4] < average["base", 16]
    assert average["foundation + prior", 1] > average["foundation", 1]
    reports = {"results.parquet", "results.md", "efficiency.md", "curve_average.png", "curve_average.svg", "run.json"}
    assert reports <= {path.name for path in (output / "benchmark").iterdir()}
    assert "boiler" in result.stdout
    assert (output / "recognizer" / "config.json").exists()
