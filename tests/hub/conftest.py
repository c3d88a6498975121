"""What the tests of the Hub share."""

import pytest

from tests.hub.environments import make_environment


@pytest.fixture(scope="session")
def clean_python(tmp_path_factory):
    """The Python of an environment that has transformers and torch, what they need, and nothing else."""
    return make_environment(tmp_path_factory.mktemp("clean"), "transformers", "torch")
