"""What all tests share: tiny encoders, a dual encoder and a recognizer, built once a session and never changed."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported; no test needs the network

import pytest
import torch
from huggingface_hub import close_session
from hypothesis import settings
from transformers.utils import logging

from tests.factories import ARCHITECTURES, make_contrast, make_encoder, make_recognizer
from tests.fakes.hub import FakeHub

settings.register_profile("nerfound", deadline=None)  # how long an example takes says more of the machine than of us
settings.load_profile("nerfound")
logging.disable_progress_bar()
torch.set_num_threads(1)  # on models this small, more threads are slower, and results then depend on their number


class _Encoders(dict):
    """Folders of encoders by kind, made when first asked for."""

    def __init__(self, parent):
        self.parent = parent

    def __missing__(self, kind):
        self[kind] = make_encoder(kind, self.parent / kind)
        return self[kind]


@pytest.fixture(scope="session")
def encoders(tmp_path_factory):
    """Folders of plain encoder repositories, by kind: `bert`, `mbert`, `roberta`, `modernbert`, `deberta`."""
    return _Encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(params=list(ARCHITECTURES))
def kind(request):
    """Every kind of encoder in turn."""
    return request.param


@pytest.fixture(scope="session")
def contrast_folder(encoders, tmp_path_factory):
    """A saved dual encoder: tokens by RoBERTa, concepts by BERT."""
    return make_contrast(tmp_path_factory.mktemp("contrast"), encoders["roberta"], encoders["bert"])


@pytest.fixture
def recognizer(encoders):
    """A recognizer with a random head on the RoBERTa encoder."""
    return make_recognizer(encoders["roberta"])


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub in memory, which is the Hub of this process too, with an empty cache: see `tests.fakes.hub`."""
    with FakeHub() as hub:
        hub.connect(monkeypatch, tmp_path / "huggingface")
        yield hub
    close_session()  # or its idle connections to this Hub outlive it
