"""`push_to_hub` of the NuNER models: tokenizer, card and all, in one commit."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

_OF_A_PUSH = {"repo_id", "commit_message", "private", "token", "revision", "create_pr"}


class PublishingMixin:
    """Goes before `PreTrainedModel`, whose own `push_to_hub` knows weights and configuration only."""

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Push this model with its tokenizer and a card, verified by a download; as `nerfound push` does.

        Without nerfound (where this file is carried by a repository), as transformers does.

        Args:
            repo_id (`str`): `namespace/name`, made if it is not there.
            kwargs: `private`, `revision`, `create_pr`, `token`, `commit_message`; see `nerfound.hub.push_model`.

        Returns:
            `str`: address of the repository or pull request.
        """
        try:
            push_model = importlib.import_module("nerfound.hub").push_model
        except ModuleNotFoundError as error:
            if error.name != "nerfound":
                raise
            return super().push_to_hub(repo_id, **kwargs)  # type: ignore[misc]
        return push_model(self, repo_id, **kwargs).url

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """As in transformers; with `push_to_hub=True`, pushed whole."""
        if kwargs.pop("push_to_hub", False):
            self.save_and_push(save_directory, **kwargs)
        else:
            super().save_pretrained(save_directory, **kwargs)  # type: ignore[misc]

    def save_and_push(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save, then push under `repo_id`, which is the folder's name unless given."""
        push = {name: kwargs.pop(name) for name in _OF_A_PUSH & kwargs.keys()}
        self.save_pretrained(save_directory, **kwargs)
        self.push_to_hub(push.pop("repo_id", None) or Path(save_directory).name, **push)
