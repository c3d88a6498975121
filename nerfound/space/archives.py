"""The recognizer as a zip archive to take away."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from ..encoders_nuner import plain_aggregation
from ..modeling_nuner import NuNerForTokenClassification
from .limits import MAX_ARCHIVE_BYTES, MAX_ARCHIVES, RefusedError

ARCHIVE_NAME = "nerfound-recognizer.zip"
_README = """# A recognizer made with nerfound

```python
from transformers import pipeline
import nerfound

pipe = pipeline("few-shot-ner", model="recognizer")  # this folder
pipe("Your text.")
```

On the command line: `nerfound extract recognizer texts.txt --format csv`. Without nerfound installed, most encoders' \
recognizers also load with `pipeline("token-classification", model="recognizer", aggregation_strategy="%s")`.
"""


def write_archive(recognizer: NuNerForTokenClassification, folder: Path) -> Path:
    """Write a recognizer as a zip archive that loads with `pipeline("few-shot-ner")` once unpacked.

    The oldest archives of `folder` make room: there are never more than `MAX_ARCHIVES`.

    Args:
        recognizer (`NuNerForTokenClassification`): a fitted one.
        folder (`Path`): where archives lie, each in a folder of its own.

    Raises:
        RefusedError: if its weights are too large to be handed out.
    """
    size = sum(parameter.numel() * parameter.element_size() for parameter in recognizer.parameters())
    if size > MAX_ARCHIVE_BYTES:
        raise RefusedError(
            f"This recognizer has {size / 1e6:,.0f} MB; this page hands out at most {MAX_ARCHIVE_BYTES / 1e6:,.0f} MB. "
            "Copy your examples from the markup view and fit it on your own machine: nerfound fit examples.txt."
        )
    folder.mkdir(parents=True, exist_ok=True)
    _make_room(folder)
    path = Path(tempfile.mkdtemp(dir=folder)) / ARCHIVE_NAME
    with tempfile.TemporaryDirectory() as scratch:
        recognizer.save_pretrained(scratch)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # weights do not compress
            archive.writestr("recognizer/README.md", _README % plain_aggregation(recognizer.tokenizer))
            for file in sorted(Path(scratch).rglob("*")):
                archive.write(file, f"recognizer/{file.relative_to(scratch)}")
    return path


def _make_room(folder: Path) -> None:
    archives = sorted(folder.glob(f"*/{ARCHIVE_NAME}"), key=lambda path: path.stat().st_mtime)
    for old in archives[: len(archives) - MAX_ARCHIVES + 1]:
        shutil.rmtree(old.parent, ignore_errors=True)
