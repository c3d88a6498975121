"""The retention loss: what the last layer forgets of the middle one."""

import pytest
import torch

from nerfound.losses_nuner import Retention
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from nerfound.pretraining import ConceptContrastCollator
from tests.factories import tokenizer_of
from tests.pretraining.helpers import passages


@pytest.fixture
def model(encoders):
    torch.manual_seed(0)
    return NuNerForConceptContrast.from_encoders(encoders["bert"], encoders["bert"], retention_weight=0.5)


@pytest.fixture
def batch():
    return ConceptContrastCollator(tokenizer_of("bert"), tokenizer_of("bert"), max_tokens=64)(passages()[:4])


def test_the_share_of_the_variance_that_is_not_decoded():
    retention = Retention(6, 4)
    states, kept = torch.randn(50, 6), torch.randn(50, 4)
    with torch.no_grad():
        retention.decoder.weight.zero_()
        retention.decoder.bias.copy_(kept.mean(0))
    assert retention(states, kept).item() == pytest.approx(1, rel=1e-5)  # the mean alone says nothing
    with torch.no_grad():
        retention.decoder.bias.zero_()
        retention.decoder.weight.copy_(torch.eye(4, 6))
    assert retention(torch.cat([kept, states[:, :2]], dim=1), kept).item() == 0
    assert retention(states[:0], kept[:0]).item() == 0


def test_it_adds_to_the_loss_in_training_alone(model, batch):
    scored = batch["attention_mask"].bool() & ~batch["special_tokens_mask"].bool()
    with torch.no_grad():
        evaluated = model.eval()(**batch).loss
        model.training = True  # itself alone: its encoders would drop out
        trained = model(**batch).loss
        hidden = model.token_encoder(
            batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        ).hidden_states
        lost = model.retention(hidden[-1][scored], hidden[len(hidden) // 2][scored])
    assert lost > 0.01
    torch.testing.assert_close(trained - evaluated, 0.5 * lost)


def test_the_middle_layer_is_a_target_and_not_trained(model):
    states, kept = torch.randn(2, 9, model.config.hidden_size).requires_grad_().unbind()
    states.retain_grad(), kept.retain_grad()
    model.retention(states, kept).backward()
    assert states.grad.abs().sum() > 0
    assert model.retention.decoder.weight.grad.abs().sum() > 0
    assert kept.grad is None


def test_a_checkpoint_has_the_decoder_and_a_recognizer_leaves_it_behind(model, tmp_path):
    with torch.no_grad():
        model.retention.decoder.weight.normal_()
    model.save_pretrained(tmp_path)
    loaded = NuNerForConceptContrast.from_pretrained(tmp_path)
    assert torch.equal(loaded.retention.decoder.weight, model.retention.decoder.weight)
    tokenizer_of("bert").save_pretrained(tmp_path)
    recognizer = NuNerForTokenClassification.from_pretrained(tmp_path)
    assert not [name for name in recognizer.state_dict() if "retention" in name]
