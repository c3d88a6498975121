"""nerfound: few-shot entity recognition on a concept-contrastive foundation model.

```python
>>> import nerfound
>>> recognizer = nerfound.fit(["book a table at [Nobu](restaurant)"], foundation="foundation")

>>> from transformers import pipeline
>>> pipe = pipeline("few-shot-ner", model=recognizer)
```

Importing this package is cheap: its names, and torch and transformers with them, are loaded on first use. As soon as
transformers is imported too, before or after, the Auto classes and the pipeline are registered with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._registration import register_with_transformers

if TYPE_CHECKING:
    from .concepts import Concept
    from .configuration_nuner import NuNerConfig
    from .corpus import load_packaged_corpus, read_corpus
    from .fewshot import fit
    from .mini import load
    from .modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
    from .pipeline_few_shot_ner import FewShotNerPipeline
    from .spans import Entity

__version__ = "0.1.0"

_HOMES = {
    "Concept": "concepts",
    "Entity": "spans",
    "FewShotNerPipeline": "pipeline_few_shot_ner",
    "NuNerConfig": "configuration_nuner",
    "NuNerForConceptContrast": "modeling_nuner",
    "NuNerForTokenClassification": "modeling_nuner",
    "fit": "fewshot",
    "load": "mini",
    "load_packaged_corpus": "corpus",
    "read_corpus": "corpus",
}

__all__ = [
    "Concept",
    "Entity",
    "FewShotNerPipeline",
    "NuNerConfig",
    "NuNerForConceptContrast",
    "NuNerForTokenClassification",
    "fit",
    "load",
    "load_packaged_corpus",
    "read_corpus",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_with_transformers()
