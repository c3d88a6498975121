"""Pre-training as a user runs it: launched, killed, resumed, on two processes, with adapters, with wrong arguments."""

import json
import shutil
import time

import pytest
import torch
from transformers import AutoTokenizer

from nerfound.corpus import load_packaged_corpus
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from nerfound.pretraining import PretrainingArguments, pretrain
from nerfound.pretraining.run import find_checkpoint, main, read_passages
from tests.pretraining.helpers import (
    BATCH,
    EPOCHS,
    LAUNCH,
    NERFOUND,
    STEPS,
    in_process,
    logged,
    passages,
    run,
    same_weights,
    start,
    state_of,
)


@pytest.fixture(scope="module")
def launched(common, tmp_path_factory):
    """A run of `accelerate launch` from beginning to end: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("launched") / "foundation"
    result = run(*LAUNCH, "--num_processes", 1, "-m", "nerfound.pretraining", *common, "--output_dir", folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_launched_run_trains_and_saves_all_that_belongs_to_a_foundation(launched):
    folder, result = launched
    assert state_of(folder)["global_step"] == STEPS
    losses = logged(folder, "loss")
    assert len(losses) == STEPS
    assert sum(losses[-7:]) < sum(losses[:7])
    results = json.loads((folder / "eval_results.json").read_text())
    assert results.keys() >= {"eval_loss", "eval_map", "eval_map_unseen"}
    assert len(logged(folder, "eval_map")) == EPOCHS
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-14", "checkpoint-21"]
    assert "49 passages with 257 concepts to train on; 11 held out" in result.stderr
    assert "times a passage was cut after 48 tokens" in result.stderr
    assert "%|" not in result.stderr  # no progress bars in a pipe


def test_launched_run_writes_no_pickle_beside_the_weights(launched):
    folder, _ = launched
    assert not [path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def test_the_foundation_loads_in_every_form(launched, encoders):
    folder, _ = launched
    contrast = NuNerForConceptContrast.from_pretrained(folder)
    assert contrast.retention is None  # it was for training
    assert contrast.config.retention_weight == 0
    foundation = NuNerForTokenClassification.from_pretrained(folder)
    text = "book a table at Nobu"
    for name, original, subfolder in [("token", "roberta", ""), ("concept", "bert", "concept_tokenizer")]:
        loaded = AutoTokenizer.from_pretrained(folder / subfolder, config=getattr(contrast.config, f"{name}_config"))
        assert loaded(text)["input_ids"] == AutoTokenizer.from_pretrained(encoders[original])(text)["input_ids"]
    assert foundation.tokenizer(text)["input_ids"] == AutoTokenizer.from_pretrained(encoders["roberta"])(text).input_ids
    inputs = foundation.tokenizer(text, return_tensors="pt")
    assert torch.equal(foundation.token_states(**inputs), contrast.token_states(**inputs))
    frozen = NuNerForTokenClassification.from_pretrained(encoders["roberta"]).state_dict()
    changed = {name for name, weight in foundation.state_dict().items() if not torch.equal(weight, frozen[name])}
    assert changed
    assert all("layer.2." in name or "layer.3." in name for name in changed)  # the top half of four layers


def test_a_killed_run_is_resumed_bit_for_bit(common, launched, tmp_path):
    whole, _ = launched
    folder = tmp_path / "killed"
    arguments = [*NERFOUND, "pretrain", *common, "--output_dir", folder]
    with start(*arguments) as process:
        deadline = time.monotonic() + 60
        while not (first := list(folder.glob("checkpoint-*/trainer_state.json"))):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()  # SIGKILL
    assert not (folder / "config.json").exists()
    # What a kill while a checkpoint is being written leaves behind
    torn = folder / f"checkpoint-{STEPS - 1}"
    shutil.copytree(first[0].parent, torn)
    (torn / "trainer_state.json").write_text('{"global_step": ')
    (torn / "model.safetensors").write_bytes(b"half")
    (folder / "checkpoint-of-mine").mkdir()

    with pytest.raises(ValueError, match="already holds a run: add --resume_from_checkpoint last"):
        in_process(common, folder)
    resumed = run(*arguments, "--resume_from_checkpoint", "last")
    assert resumed.returncode == 0, resumed.stderr
    assert state_of(folder)["global_step"] == STEPS
    assert same_weights(folder, whole)
    assert logged(folder, "loss") == logged(whole, "loss")
    assert json.loads((folder / "eval_results.json").read_text()).keys() >= {"eval_loss", "eval_map"}


def test_two_processes_share_the_work(common, tmp_path):
    folder = tmp_path / "two"
    options = ["--num_train_epochs", 1, "--per_device_train_batch_size", BATCH // 2, "--output_dir", folder]
    result = run(*LAUNCH, "--num_processes", 2, "-m", "nerfound.pretraining", *common, *options)
    assert result.returncode == 0, result.stderr
    assert state_of(folder)["global_step"] == STEPS // EPOCHS
    assert NuNerForConceptContrast.from_pretrained(folder).config.projection_dim is None
    assert (folder / "concept_tokenizer" / "tokenizer.json").exists()
    assert result.stdout.count("***** eval metrics *****") == 1


def test_adapters_are_trained_resumed_and_merged(common, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "resumed"
    in_process(common, whole, "--lora_rank", 4)
    model = NuNerForConceptContrast.from_pretrained(whole)
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    assert (whole / "checkpoint-14" / "adapter_model.safetensors").exists()
    assert not (whole / "adapter_model.safetensors").exists()
    untrained = NuNerForConceptContrast.from_encoders(
        common[common.index("--token_encoder") + 1],
        common[common.index("--concept_encoder") + 1],
        boundary_weight=0.5,
    ).state_dict()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, untrained[name])}
    whole_parts = {name for name in untrained if name.startswith(("scorer.", "mention_prior."))}
    assert whole_parts < changed
    assert all("encoder." in name and name.endswith("weight") for name in changed - whole_parts)

    shutil.copytree(whole / "checkpoint-14", folder / "checkpoint-14")
    in_process(common, folder, "--lora_rank", 4, "--resume_from_checkpoint", "last")
    assert state_of(folder)["global_step"] == STEPS
    assert same_weights(folder, whole)


def test_dot_score_projection_layers_and_accumulation(common, tmp_path):
    single, folder = tmp_path / "single", tmp_path / "accumulated"
    few = ["--max_steps", 2, "--learning_rate", 0, "--description_share", 1, "--near_duplicate_cosine", 2]
    shape = ["--score", "dot", "--projection_dim", 16, "--token_layers", -1, -3, "--trainable_layers", 1]
    in_process(common, single, *few, *shape)
    in_process(common, folder, *few, *shape, "--gradient_accumulation_steps", 3)
    model = NuNerForConceptContrast.from_pretrained(folder)
    assert model.config.score == "dot"
    assert model.config.token_layers == (-1, -3)
    assert model.token_projection.weight.shape == (16, 64)
    assert model.concept_projection.weight.shape == (16, 32)
    # A step is the mean of its batches: accumulating leaves the size of loss and gradient as they are
    assert logged(folder, "loss")[0] == pytest.approx(logged(single, "loss")[0], rel=0.5)
    assert logged(folder, "grad_norm")[0] < 1.5 * logged(single, "grad_norm")[0]


def test_a_finished_run_is_not_overwritten(common, launched):
    folder, _ = launched
    before = (folder / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(ValueError, match="already holds a run: add --resume_from_checkpoint last"):
        in_process(common, folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_several_gpus_without_a_launcher_are_not_given_parts_of_a_batch(common, tmp_path):
    encoders = {"token_encoder": common[3], "concept_encoder": common[5]}
    args = arguments(tmp_path, corpus=common[1], held_out=0.1, max_steps=1, max_tokens=48, **encoders)
    args._n_gpu = 2
    pretrain(args)
    assert args.n_gpu == 1
    assert state_of(tmp_path / "out")["train_batch_size"] == 32


def test_a_single_process_of_several_says_so(common, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # as `accelerate launch --cpu --num_processes 2` does
    monkeypatch.setattr("nerfound.pretraining.run.pretrain", lambda args: None)
    in_process(common, tmp_path / "out")
    assert "This is the only process" in caplog.text
    assert "torchrun" in caplog.text


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    args = arguments(tmp_path, resume_from_checkpoint="last")
    assert find_checkpoint(args) is None
    for name, state in [("2", "{}"), ("10", "{}"), ("11", None), ("12", ""), ("13", "{"), ("best", "{}")]:
        checkpoint = tmp_path / "out" / f"checkpoint-{name}"
        checkpoint.mkdir(parents=True)
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(state)
    assert find_checkpoint(args) == str(tmp_path / "out" / "checkpoint-10")
    for name in ("2", "10"):
        shutil.rmtree(tmp_path / "out" / f"checkpoint-{name}")
    assert find_checkpoint(args) is None
    assert find_checkpoint(arguments(tmp_path)) is None


def arguments(tmp_path, **fields):
    return PretrainingArguments(output_dir=str(tmp_path / "out"), **fields)


def test_languages(tmp_path):
    train, held_out = read_passages(arguments(tmp_path, languages=["German", "Polish"]))
    assert set(train["language"]) == {"German", "Polish"}
    assert len(train) + len(held_out) == 120
    train, held_out = read_passages(arguments(tmp_path, languages=["all"]))
    assert len(train) + len(held_out) == len(load_packaged_corpus("all"))
    with pytest.raises(ValueError, match=r"--languages English Klingon: .* are in Chinese .*English"):
        read_passages(arguments(tmp_path, languages=["English", "Klingon"]))


def test_passages_that_name_no_language_count_as_in_every_language(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"S: {row['text']}\n\n" for row in passages()), encoding="utf-8")
    train, held_out = read_passages(arguments(tmp_path, corpus=str(corpus), held_out=0.2))
    assert len(train) + len(held_out) == 60


def test_a_limit_is_a_seeded_sample_of_the_passages_to_train_on(tmp_path):
    train, held_out = read_passages(arguments(tmp_path, limit=10))
    again, _ = read_passages(arguments(tmp_path, limit=10))
    other, same_held_out = read_passages(arguments(tmp_path, limit=10, data_seed=1))
    whole, _ = read_passages(arguments(tmp_path))
    assert train["id"] == again["id"] == other["id"]
    assert set(train["id"]) < set(whole["id"])
    assert train["id"] != whole["id"][:10]
    assert held_out["id"] == same_held_out["id"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--description_share", "1.5"), "--description_share 1.5: give a share from 0 to 1"),
        (("--held_out", "0"), "--held_out 0.0: give a share above 0 and below 1"),
        (("--held_out", "1"), "--held_out 1.0: give"),
        (("--dropout", "1"), "--dropout 1.0: give a share from 0, below 1"),
        (("--max_tokens", "2"), "--max_tokens 2: give at least 3"),
        (("--limit", "0"), "--limit 0: give at least 1"),
        (("--num_concepts", "0"), "--num_concepts 0: give at least 1"),
        (("--projection_dim", "0"), "--projection_dim 0: give at least 1"),
        (("--lora_rank", "-1"), "--lora_rank -1: give a rank above 0"),
        (("--languages", "Klingon"), "--languages Klingon"),
        (("--token_layers", "-9"), r"token_layers=\(-9,\): give indices from -1"),
        (("--trainable_layers", "7"), "7 layers to train, but RobertaModel has 4"),
        (("--no_such_option", "1"), "--no_such_option"),
        (("--corpus", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--resume_from_checkpoint", "nowhere"), "nowhere"),
    ],
)
def test_wrong_values_are_named(common, tmp_path, option, message):
    with pytest.raises((ValueError, OSError), match=message):
        in_process(common, tmp_path / "out", *option)


@pytest.mark.parametrize("option", [("--score", "euclid"), ("--objective", "ner"), ("--num_train_epochs", "many")])
def test_values_of_a_wrong_kind_end_with_the_usage(common, tmp_path, option, capsys):
    with pytest.raises(SystemExit) as stopped:
        in_process(common, tmp_path / "out", *option)
    assert stopped.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_help_begins_with_examples(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "accelerate launch --num_processes 2 -m nerfound.pretraining" in shown[:1000]
    assert "--objective fixed-ontology" in shown[:1000]
    assert "--num_concepts" in shown
    assert "Share of concepts shown with their description" in shown
    assert "(default: 0.7)" in shown
