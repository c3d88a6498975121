"""The `nerfound` command, as a user and as a pipe see it."""

import csv
import html
import io
import json
import re
import sys

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, pipeline
from typer.testing import CliRunner

from nerfound.cli import app
from nerfound.modeling_nuner import NuNerForTokenClassification
from nerfound.spans import segment_words
from tests.factories import make_contrast, make_recognizer
from tests.pretraining.helpers import NERFOUND, run, start

EXAMPLES = """\
book a table at [Nobu](restaurant) in [Paris](city) for four people tonight
is there a free table at [Noma](restaurant), near the river?
Marie Curie was born in [Warsaw](city) in 1867; she died in 1934.
fly from [Berlin](city) to [New York](city) on 12.10.2024 at 10:30
"""
TEXTS = ["book a table at Nobu in Paris for four people tonight", "", "fly to Berlin, \N{LINE SEPARATOR} from Noma"]
COMMANDS = [
    ("fit",),
    ("extract",),
    ("evaluate",),
    ("export",),
    ("shrink",),
    ("pretrain",),
    ("benchmark",),
    ("demo",),
    ("annotate",),
    ("colors",),
    ("corpus", "convert"),
    ("corpus", "show"),
    ("corpus", "stats"),
    ("push", "foundation"),
    ("push", "recognizer"),
    ("push", "corpus"),
    ("push", "space"),
    ("space",),
]


def nerfound(*arguments, text=None):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    path = tmp_path_factory.mktemp("examples") / "examples.txt"
    path.write_text(EXAMPLES, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def fitted(examples, encoders):
    """What `nerfound fit` said, and the folder it wrote."""
    output = examples.parent / "recognizer"
    result = nerfound("fit", examples, "--foundation", encoders["bert"], "--l2", 1e-4, "-o", output)
    assert result.exit_code == 0, result.output
    return result, output


@pytest.fixture(scope="module")
def recognizer(fitted):
    return fitted[1]


@pytest.fixture(scope="module")
def expected(recognizer):
    """What the pipeline finds in the texts."""
    return pipeline("few-shot-ner", model=str(recognizer))(TEXTS)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


def entities_of(output):
    return [json.loads(line)["entities"] for line in output.split("\n")[:-1]]


def assert_same_entities(one, other):
    """The same entities; probabilities may differ in their last digits, as batches differ in padding."""
    for found, wanted in zip(one, other, strict=True):
        assert [{**entity, "score": 0} for entity in found] == [{**entity, "score": 0} for entity in wanted]
        assert [entity["score"] for entity in found] == pytest.approx([entity["score"] for entity in wanted], abs=1e-4)


# Help


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from nerfound.cli import main\n"
        "sys.argv = ['nerfound', *sys.argv[1:]]\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pyarrow', 'numpy', 'pandas', 'huggingface_hub'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    for arguments in [("--help",), ("extract", "--help"), ("corpus", "convert", "--help")]:
        result = run("-c", script, *arguments)
        assert result.returncode == 0, result.stderr
        assert "Usage" in result.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_shows_an_example(command):
    result = nerfound(*command, "--help")
    assert result.exit_code == 0
    shown = " ".join(result.output.split()).casefold()
    assert f"example: nerfound {' '.join(command)} " in shown or f"examples: nerfound {' '.join(command)} " in shown


def test_every_command_is_known_here():
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    known = {(command.name or command.callback.__name__,) for command in app.registered_commands}
    for name, group in groups.items():
        known |= {(name, command.name or command.callback.__name__) for command in group.registered_commands}
    assert known == set(COMMANDS)


# fit


def test_fit_says_what_it_did_and_what_is_next(fitted):
    result, output = fitted
    assert result.output.splitlines() == [
        f"{output}: 2 concepts from 4 examples",
        f'try: echo "a text" | nerfound extract {output} -',
    ]
    model = NuNerForTokenClassification.from_pretrained(output)
    assert model.labels == ["restaurant", "city"]


def test_fit_with_descriptions_of_concepts(examples, encoders, tmp_path):
    concepts = tmp_path / "concepts.json"
    concepts.write_text(json.dumps({"city": "A large town.", "restaurant": "", "person": "Somebody."}))
    arguments = ["--foundation", encoders["bert"], "--l2", 1e-2, "--concepts", concepts, "-o", tmp_path / "recognizer"]
    result = nerfound("fit", examples, *arguments)
    assert result.exit_code == 0, result.output
    assert "3 concepts from 4 examples" in result.output
    model = NuNerForTokenClassification.from_pretrained(tmp_path / "recognizer")
    assert model.config.concepts == {"city": "A large town.", "restaurant": "", "person": "Somebody."}


# extract


def test_extract_a_file_as_jsonl(recognizer, texts, expected):
    result = nerfound("extract", recognizer, texts)
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in result.stdout.split("\n")[:-1]]
    assert [record["text"] for record in records] == TEXTS
    assert_same_entities([record["entities"] for record in records], expected)
    assert "Nobu" in {entity["word"] for entity in expected[0]}


def test_extract_standard_input(recognizer, expected):
    result = nerfound("extract", recognizer, "-", text="\n".join(TEXTS))  # without a last line break
    assert_same_entities(entities_of(result.stdout), expected)


def test_extract_jsonl_input(recognizer, tmp_path, expected):
    source = tmp_path / "texts.jsonl"
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(TEXTS)]
    source.write_text("\ufeff" + "\n\n".join(lines) + "\n", encoding="utf-8")
    assert_same_entities(entities_of(nerfound("extract", recognizer, source).stdout), expected)
    table = nerfound("extract", recognizer, source, "--format", "csv").stdout
    assert {row["line"] for row in csv.DictReader(io.StringIO(table))} == {"1", "5"}  # of the file, blank ones too


def test_extract_csv(recognizer, texts, expected):
    output = nerfound("extract", recognizer, texts, "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [(int(row["line"]) - 1, int(row["start"]), int(row["end"])) for row in rows] == [
        (line, entity["start"], entity["end"]) for line, entities in enumerate(expected) for entity in entities
    ]
    assert all(row["word"] == TEXTS[int(row["line"]) - 1][int(row["start"]) : int(row["end"])] for row in rows)
    assert {row["entity_group"] for row in rows} == {"city", "restaurant"}


def test_extract_conll(recognizer, texts, expected):
    sentences = nerfound("extract", recognizer, texts, "--format", "conll").stdout.split("\n\n")
    for text, entities, sentence in zip(TEXTS, expected, [sentences[0], "", sentences[1].lstrip("\n")], strict=True):
        lines = [line.split("\t") for line in sentence.split("\n") if line]
        words = segment_words(text)
        assert [word for word, _ in lines] == [text[start:end] for start, end in words]
        begins = {entity["start"]: entity["entity_group"] for entity in entities}
        assert {words[i][0]: tag[2:] for i, (_, tag) in enumerate(lines) if tag.startswith("B-")} == begins


def test_extract_html(recognizer, tmp_path, expected):
    hostile = "fly to <b>Berlin</b> & back"
    (tmp_path / "texts.txt").write_text(f"{TEXTS[0]}\n\n{hostile}\n", encoding="utf-8")
    result = nerfound("extract", recognizer, tmp_path / "texts.txt", "--format", "html")
    assert result.exit_code == 0, result.output
    head, *views = result.stdout.split('<div class="nerfound-text" dir="auto">')
    assert head.count("<style>") == 1  # for all texts
    shown = [html.unescape(re.sub("<span>.*?</span>|<[^>]*>", "", view)).rstrip() for view in views]
    assert shown == [TEXTS[0], hostile]
    marked = re.findall("<mark .*?>(.*?)<span>(.*?)</span></mark>", views[0])
    assert marked == [(entity["word"], entity["entity_group"]) for entity in expected[0]]
    assert result.stdout.endswith("</div>\n</body>\n</html>\n")


def test_extract_into_a_file_that_is_there_whole_or_not_at_all(recognizer, texts, tmp_path, expected):
    output = tmp_path / "entities.jsonl"
    result = nerfound("extract", recognizer, texts, "-o", output)
    assert result.output == ""
    assert_same_entities(entities_of(output.read_text(encoding="utf-8")), expected)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "Nobu"}\n' * 700 + "{}\n")
    before = output.read_bytes()
    result = nerfound("extract", recognizer, broken, "-o", output)
    assert result.exit_code == 1
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jsonl", "entities.jsonl", "texts.txt"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"text": "no end', "give an object with a field text"),
        ("[]", "give an object with a field text"),
        ('{"txt": "Nobu"}', "give an object with a field text"),
        ("[" * 100_000, "give an object with a field text"),
        ('{"text": 3}', "the field text is 3: give a string"),
        (r'{"text": "\ud800"}', r"the field text is '\ud800': give a string of Unicode characters"),
    ],
)
def test_a_broken_line_is_named(recognizer, tmp_path, line, fault):
    source = tmp_path / "texts.jsonl"
    source.write_text('{"text": "Nobu"}\n\n' + line + "\n")
    result = nerfound("extract", recognizer, source)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {source}:3: ")
    assert fault in result.stderr
    assert len(result.stderr) < 500


def test_threshold_and_batch_size(recognizer, texts, expected):
    scores = [entity["score"] for entities in expected for entity in entities]
    cut = sorted(scores)[len(scores) // 2] - 1e-3
    result = nerfound("extract", recognizer, texts, "--threshold", cut, "--batch-size", 1)
    kept = [[entity for entity in entities if entity["score"] >= cut] for entities in expected]
    assert_same_entities(entities_of(result.stdout), kept)
    assert nerfound("extract", recognizer, texts, "--threshold", 1.5).exit_code == 2


def test_overlapping_entities_are_refused_where_the_format_cannot_hold_them(encoders, tmp_path, texts):
    make_recognizer(encoders["bert"], nested=True).save_pretrained(tmp_path / "nested")
    result = nerfound("extract", tmp_path / "nested", texts, "--format", "conll")
    assert result.exit_code == 1
    assert "which --format conll cannot hold: give jsonl" in result.stderr
    assert nerfound("extract", tmp_path / "nested", texts).exit_code == 0


def test_a_pipe_sees_results_early_nothing_else_and_no_complaint_when_it_leaves(recognizer):
    arguments = [*NERFOUND, "extract", recognizer, "-", "--batch-size", 1]
    with start(*arguments, PYTHONIOENCODING="ascii", LC_ALL="C") as process:
        try:
            for _ in range(16):  # as many batches as are read ahead
                process.stdin.write("a table at Nobu, \N{SNOWMAN}\n")
            process.stdin.flush()
            first = json.loads(process.stdout.readline())
            assert first["text"] == "a table at Nobu, \N{SNOWMAN}"
            assert process.poll() is None  # still waiting for more
            process.stdout.close()
            process.stdin.write("a table at Nobu\n" * 64)
            process.stdin.close()
            assert process.stderr.read() == ""
        finally:
            process.kill()


# evaluate


def test_evaluate_prints_a_table_or_json(recognizer, examples):
    table = nerfound("evaluate", recognizer, examples)
    assert table.exit_code == 0, table.output
    for cell in ("restaurant", "city", "micro average", "macro average", "strict F1", "token F1"):
        assert cell in table.output
    scores = json.loads(nerfound("evaluate", recognizer, examples, "--json").stdout)
    assert scores["strict_micro_f1"] == 1
    assert scores["per_class"]["city"]["support"] == 4
    assert "100.0" in table.output


# export


def test_export_the_token_encoder_bit_for_bit(recognizer, encoders, tmp_path):
    contrast = make_contrast(tmp_path / "contrast", encoders["bert"], encoders["bert"])
    for source in (recognizer, contrast):
        output = tmp_path / "encoder"
        result = nerfound("export", source, output)
        assert result.exit_code == 0, result.output
        assert f"{output}: load it with AutoModel.from_pretrained" in result.output
        encoder = AutoModel.from_pretrained(output, add_pooling_layer=False)
        original = AutoModel.from_pretrained(encoders["bert"], add_pooling_layer=False).state_dict()
        assert encoder.state_dict().keys() == original.keys()
        assert all(torch.equal(weight, original[name]) for name, weight in encoder.state_dict().items())
        assert type(encoder).__module__.startswith("transformers.")
        ids = AutoTokenizer.from_pretrained(output)(TEXTS[0]).input_ids
        assert ids == AutoTokenizer.from_pretrained(encoders["bert"])(TEXTS[0]).input_ids


def test_export_the_native_format_and_its_cost(recognizer, examples, tmp_path):
    output = tmp_path / "native"
    result = nerfound("export", recognizer, output, "--format", "transformers", "--data", examples)
    assert result.exit_code == 0, result.output
    assert "BertForTokenClassification, with the recognizer's own weights" in result.output
    assert "Strict entity F1 on 4 texts: 100.0 with nerfound" in result.output
    assert pipeline("token-classification", model=str(output), aggregation_strategy="simple")(TEXTS[0])


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "nowhere.txt", "-o", "{tmp}/out"], "nowhere.txt"),
        (["fit", "{bad}", "-o", "{tmp}/out"], "{bad}, line 2: a label is not closed by ')'"),
        (["fit", "{examples}", "--concepts", "{bad}", "-o", "{tmp}/out"], "{bad}: "),
        (["fit", "{examples}", "--foundation", "{tmp}/none", "-o", "{tmp}/out"], "{tmp}/none"),
        (["fit", "{examples}", "--foundation", "{torn}", "-o", "{tmp}/out"], "{torn}: its weights file is damaged"),
        (["extract", "{recognizer}", "{tmp}/none.txt"], "{tmp}/none.txt"),
        (["extract", "{tmp}/none", "-"], "{tmp}/none"),
        (["extract", "{bert}", "-"], "is a foundation without a head: give examples"),
        (["extract", "{recognizer}", "{examples}", "-o", "{tmp}/no/folder/out"], "{tmp}/no/folder"),
        (["evaluate", "{bert}", "{examples}"], "no head"),
        (["evaluate", "{recognizer}", "{bad}"], "{bad}, line 2"),
        (["export", "{bert}", "{tmp}/out", "--format", "onnx"], "--format onnx: give encoder or transformers"),
        (["export", "{bert}", "{tmp}/out", "--format", "transformers"], "is a foundation without a head"),
        (["pretrain", "--held_out", "2", "--output_dir", "{tmp}/out"], "--held_out 2.0: give a share"),
        (["pretrain", "--no_such_option", "2"], "--no_such_option"),
        (["benchmark", "--encoder", "{bert}", "--data", "{tmp}", "-o", "{tmp}/out"], "give NAME=PATH_OR_HUB_ID"),
        (["benchmark", "--encoder", "a={bert}", "--data", "{tmp}/no", "-o", "{tmp}/out"], "'{tmp}/no' is no preset"),
    ],
)
def test_errors_are_one_line(arguments, message, recognizer, examples, encoders, tmp_path):
    names = {"tmp": tmp_path, "recognizer": recognizer, "examples": examples, "bert": encoders["bert"]}
    names["bad"] = tmp_path / "bad.txt"
    names["bad"].write_text("a [fine](city) line\n[Nobu](restaurant\n")
    names["torn"] = tmp_path / "torn"
    names["torn"].mkdir()
    for file in encoders["bert"].iterdir():
        (names["torn"] / file.name).write_bytes(file.read_bytes()[: 1000 if file.suffix == ".safetensors" else None])
    result = nerfound(*(argument.format(**names) for argument in arguments))
    assert result.exit_code == 1, (result.exception, result.output)
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message.format(**names) in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_is_named(monkeypatch, recognizer, examples):
    for name in [name for name in sys.modules if name.startswith(("nervaluate", "nerfound.evaluation"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nervaluate", None)
    result = nerfound("evaluate", recognizer, examples)
    assert result.exit_code == 1
    assert result.stderr == "error: the entity metrics need nervaluate: pip install 'nerfound[train]'\n"
