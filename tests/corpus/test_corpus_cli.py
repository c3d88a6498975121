"""`nerfound corpus`, as a user runs it."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nerfound.cli.corpus import app
from nerfound.corpus import read_parquet


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_convert_prints_the_report_and_writes_the_corpus(write_jsonl, records, tmp_path):
    result = run("convert", write_jsonl(*records), tmp_path / "c.parquet")
    assert result.exit_code == 0, result.output
    assert "3 passages, 6 annotations: 5 aligned (83.33%), 1 dropped; 1 further occurrences annotated" in result.output
    assert "dropped, inside a word: 1 (such as 'cafe' as 'drink'" in result.output
    assert list(read_parquet(tmp_path / "c.parquet")["id"]) == ["r1", "r2", "r3"]


def test_convert_without_propagation(write_jsonl, records, tmp_path):
    assert "; 0 further" in run("convert", write_jsonl(*records), tmp_path / "c.parquet", "--no-propagate").output


def test_convert_writes_only_parquet(write_jsonl, records, tmp_path):
    result = run("convert", write_jsonl(*records), tmp_path / "c.json")
    assert result.exit_code == 2
    assert "OUTPUT.parquet" in result.output
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize("command", ["convert", "show"])
def test_errors_are_messages(command, write_jsonl, tmp_path):
    path = write_jsonl({"text": "a"})
    result = run(command, path, *([tmp_path / "c.parquet"] if command == "convert" else []))
    assert result.exit_code == 1
    assert f"error: {path}:1: neither of 'annotations' and 'entities'" in result.output
    missing = run("show", tmp_path / "no.jsonl")
    assert missing.exit_code == 1
    assert "error: " in missing.output


def test_show_marks_passages_up_to_a_limit(write_jsonl, records):
    result = run("show", write_jsonl(*records), "--limit", 2)
    assert result.exit_code == 0, result.output
    assert "r1: In [[September](month) 1](date) [Rome](city) fell; [Rome](city) rose." in result.output
    assert "[İzmir](city) -|- [a <> b](expression)" in result.output
    assert "Nothing here" not in result.output
    assert "Nothing here" in run("show", write_jsonl(*records), "--limit", 99).output


def test_show_the_packaged_corpus():
    assert run("show", "default", "--limit", 1).output.startswith("A0001: The [Halvorsen](brand) [28 cm](diameter)")


def test_help_imports_nothing_heavy():
    script = (
        "import sys; import nerfound.cli.corpus; "
        "sys.exit(', '.join({'torch', 'datasets', 'transformers', 'pyarrow'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.stderr.strip() == ""
