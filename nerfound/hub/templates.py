"""The Jinja templates of the cards, in the folder `hub_cards`: inside the installed package, or beside the source."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CardData, RepoCard

FOLDER = "hub_cards"
_SHARED = "sections.md"
Card = TypeVar("Card", bound=RepoCard)


def template(name: str) -> str:
    """A template, after the macros that all templates share.

    A wheel carries the folder inside the package (`force-include` in pyproject.toml); in a checkout, where the package
    is imported from its source, the folder is the package's sibling.
    """
    package = resources.files("nerfound")
    folder: Traversable = package / FOLDER
    if not folder.is_dir():
        folder = Path(str(package)).parent / FOLDER
    return "".join((folder / part).read_text(encoding="utf-8") for part in (_SHARED, name))


def render(card_class: type[Card], template_name: str, data: CardData, **facts: Any) -> Card:
    """A card of a template; what has no value is `None` or empty, and its section is left out."""
    card = card_class.from_template(data, template_str=template(template_name), **facts)
    card.text = "\n" + re.sub(r"\n{3,}", "\n\n", card.text).strip() + "\n"
    return card
