"""What counts for the cost limit: also what no answer tells."""

import json

import pytest

from nerfound.annotation.costs import Budget, Price, TokenEstimate
from nerfound.annotation.prompts import load_prompt
from nerfound.annotation.task import Question
from nerfound.annotation.workspace import UNSETTLED, Workspace
from tests.fakes.openai_server import FakeOpenAI

from .helpers import MODEL, run, sentences, write_lines

LIMITED = {"parameters": {"max_completion_tokens": 100}, "max_cost": 0.002}


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "texts.txt", sentences(40))


def test_a_server_without_usage_is_paid_as_estimated(source, tmp_path, monkeypatch):
    completion = FakeOpenAI.completion
    monkeypatch.setattr(FakeOpenAI, "completion", lambda *told: {**completion(*told), "usage": None})
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus", **LIMITED)
        assert report.over_budget
        assert 0.001 < report.unsettled <= 0.002
        assert "perhaps billed besides" in str(report)
        sent = len(server.log)
        run(server, source, tmp_path / "corpus", **LIMITED)
        assert len(server.log) == sent < 40  # what the first invocation may have spent counts for the second


def test_requests_under_way_at_a_kill_count_as_spent(source, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    noted = []

    def note(workspace, name, value):
        noted.append((name, value))
        if name == UNSETTLED and len(noted) > 5:
            raise Killed
        original(workspace, name, value)

    original = Workspace.note
    with FakeOpenAI(latency=0.2) as server:
        with monkeypatch.context() as patch:
            patch.setattr(Workspace, "note", note)
            with pytest.raises(Killed):
                run(server, source, tmp_path / "corpus", **LIMITED)
        report = run(server, source, tmp_path / "corpus", **LIMITED)
    assert report.unsettled > 0
    assert report.cost + report.unsettled <= 0.002


def test_nothing_unsettled_is_left_where_all_is_answered(source, tmp_path):
    with FakeOpenAI() as server:
        assert run(server, source, tmp_path / "corpus").unsettled == pytest.approx(0, abs=1e-12)


def test_a_reservation_is_an_upper_bound():
    question = Question(MODEL, load_prompt())
    estimate = TokenEstimate(question)
    text = "𝕏" * 50  # several tokens a character
    sent = sum(len(message["content"].encode()) for message in json.loads(question.body(text))["messages"])
    assert estimate.most(text) > (sent, 1023)
    budget = Budget(Price(1, 1), limit=1)
    reserved = budget.reserve(100, 100)
    assert budget.at_risk == reserved
    budget.settle(reserved, 10, 10)
    assert (budget.at_risk, budget.spent) == (0, 20 / 1e6)


def test_a_cost_limit_needs_a_length_limit(source, tmp_path):
    with FakeOpenAI() as server, pytest.raises(ValueError, match="max_completion_tokens"):
        run(server, source, tmp_path / "corpus", parameters={"max_completion_tokens": None}, max_cost=1)
