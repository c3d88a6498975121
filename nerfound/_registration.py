"""Registration of the Auto classes, of `pipeline("few-shot-ner")` and of our foundations' names with transformers.

`import nerfound` must register them, yet must not import torch and transformers by itself: `nerfound --help` would
take seconds. So the registration waits until transformers is imported, by whomever; and, where one of our own modules
is what imports it, until that module is complete.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from .offline import DEFAULT_FOUNDATION, resolve_foundation

TASK = "few-shot-ner"


def register_with_transformers() -> None:
    """Register now if transformers is imported already, else as soon as it is."""
    if "transformers" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _ImportWatcher())


def _register() -> None:
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForTokenClassification,
        AutoTokenizer,
        PreTrainedConfig,
        pipelines,
    )

    from .configuration_nuner import NuNerConfig
    from .modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
    from .pipeline_few_shot_ner import FewShotNerPipeline

    AutoConfig.register(NuNerConfig.model_type, NuNerConfig, exist_ok=True)
    AutoModel.register(NuNerConfig, NuNerForConceptContrast, exist_ok=True)
    AutoModelForTokenClassification.register(NuNerConfig, NuNerForTokenClassification, exist_ok=True)
    pipelines.PIPELINE_REGISTRY.register_pipeline(
        TASK,
        pipeline_class=FewShotNerPipeline,
        pt_model=NuNerForTokenClassification,
        default={"model": (DEFAULT_FOUNDATION, "main")},
        type="text",
    )
    PreTrainedConfig.custom_pipelines = _OtherPipelines()
    for auto_class in (AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer):
        _let_know_foundations(auto_class)
    for model_class in (NuNerForConceptContrast, NuNerForTokenClassification):
        _let_know_foundations(model_class)
    # `pipeline` calls these before any of the above, and both would ask the Hub for a repository of that name
    for function in ("resolve_revision", "find_adapter_config_file"):
        _let_look_up_foundations(pipelines, function)


def _let_know_foundations(owner: Any) -> None:
    """Let `from_pretrained` of a class take the name of a foundation that ships with this package.

    transformers foresees local folders and repositories of the Hub alone. Our names become the folder that they stand
    for, unless a folder of that name is here; anything else is passed on as it is.
    """
    original = owner.from_pretrained.__func__

    @functools.wraps(original)
    def from_pretrained(cls: type, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        return original(cls, _resolve(pretrained_model_name_or_path), *args, **kwargs)

    owner.from_pretrained = classmethod(from_pretrained)


def _let_look_up_foundations(module: ModuleType, name: str) -> None:
    """As `_let_know_foundations`, for a function that a module calls with a model's name."""
    original = getattr(module, name)

    @functools.wraps(original)
    def look_up(name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        return original(_resolve(name_or_path), *args, **kwargs)

    setattr(module, name, look_up)


def _resolve(name_or_path: Any) -> Any:
    if not isinstance(name_or_path, str | os.PathLike):
        return name_or_path
    name = os.fspath(name_or_path)
    return name_or_path if (folder := resolve_foundation(name)) == name else folder


class _OtherPipelines:
    """`custom_pipelines` of every configuration, without our own task.

    A repository carries the code of our pipeline for those who lack nerfound. transformers looks there before it looks
    at what is registered, so that whoever has nerfound would be asked to trust code of the Hub that they have already.
    `pipeline` leaves no other way in: the configuration of a native recognizer is transformers' own class, and its
    entry is looked at before the registry. What is saved is what was loaded: the attribute itself stays whole, and a
    configuration without it stays without it.
    """

    def __get__(self, config: Any, owner: type) -> dict[str, Any]:
        if config is None or "custom_pipelines" not in config.__dict__:
            raise AttributeError(f"{owner.__name__} has no attribute 'custom_pipelines'")
        carried = config.__dict__["custom_pipelines"] or {}
        return {task: entry for task, entry in carried.items() if task != TASK}

    def __set__(self, config: Any, value: dict[str, Any]) -> None:
        config.__dict__["custom_pipelines"] = value


class _ImportWatcher(importlib.abc.MetaPathFinder):
    """Watches the imports of transformers and of our own modules, and registers when the outermost is complete."""

    def __init__(self) -> None:
        self.depth = 0

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "transformers" and fullname.rpartition(".")[0] != __package__:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WatchedLoader(self, spec.loader)
        return spec

    def finish(self) -> None:
        """Called when a watched import is over."""
        if not self.depth and "transformers" in sys.modules:
            sys.meta_path.remove(self)
            _register()


class _WatchedLoader(importlib.abc.Loader):
    """Lets an import take its normal course, and tells the watcher."""

    def __init__(self, watcher: _ImportWatcher, loader: importlib.abc.Loader) -> None:
        self.watcher = watcher
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)  # get_code, for instance, which `python -m nerfound` asks for

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self.loader
        self.watcher.depth += 1
        try:
            self.loader.exec_module(module)
        finally:
            self.watcher.depth -= 1
        self.watcher.finish()
