"""A real server of the real protocol: `transformers serve` with a tiny model of random weights.

What it says is nonsense, so every text must end in the rejects, with its answer, after one finished request.
"""

import socket
import time
import urllib.request

import datasets
import pytest
from transformers.utils.import_utils import is_serve_available

from nerfound.annotation import Traffic

from .helpers import read_rejects, run, sentences, write_lines

pytestmark = pytest.mark.skipif(not is_serve_available(), reason="transformers serve needs fastapi and uvicorn")

CHAT_TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
START_SECONDS = 120
TRAFFIC = Traffic(concurrency=2, deadline=60, attempts=2)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A Llama of one layer with a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = CHAT_TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    folder = tmp_path_factory.mktemp("served") / "tiny-llama"
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(model_folder):
    """The server of `transformers serve`, in a thread of this process, on a free port of loopback."""
    from transformers.cli.serve import Serve

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = Serve(force_model=str(model_folder), host="127.0.0.1", port=port, device="cpu", non_blocking=True)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    else:
        serving.kill_server()
        pytest.fail(f"transformers serve did not start within {START_SECONDS} s")
    yield type("Served", (), {"url": f"{address}/v1", "model": str(model_folder)})
    serving.kill_server()


def test_nonsense_ends_in_the_rejects(server, tmp_path):
    datasets.disable_progress_bars()
    texts = sentences(3)
    report = run(
        server,
        write_lines(tmp_path / "texts.txt", texts),
        tmp_path / "corpus",
        model=server.model,
        traffic=TRAFFIC,
        parameters={"max_completion_tokens": 12},
    )
    assert report.requests == 3
    assert report.completion_tokens > 0
    assert report.outcome.pending == report.outcome.annotated == 0
    texts_rejected = [record for record in read_rejects(tmp_path / "corpus") if record["what"] == "text"]
    assert {record["text"] for record in texts_rejected} == set(texts)
    assert {record["reason"] for record in texts_rejected} <= {"no usable line", "truncated by length"}
    assert all(record["detail"] for record in texts_rejected)
