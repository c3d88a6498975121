"""Text sources, line by line: decoding, decompression, and the fields of an annotation line."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from .alignment import Annotation

BLOCK_SEPARATOR = "-|-"
NUNER_SEPARATOR = "<>"


def split_annotation(line: str, separator: str, text: str) -> Annotation:
    """Split `mention -|- concept -|- description` into its fields.

    A mention may itself contain the separator: it is the longest run of leading fields that occurs in the text, and
    the first field if none does. The concept is the field after it, the description the rest. Missing fields are empty.

    Args:
        line (`str`): one annotation.
        separator (`str`): `BLOCK_SEPARATOR` or `NUNER_SEPARATOR`.
        text (`str`): the passage that the annotation belongs to.
    """
    cuts = []
    cut = line.find(separator)
    while cut >= 0:
        cuts.append(cut)
        cut = line.find(separator, cut + len(separator))
    if not cuts:
        return Annotation(line, "").stripped()
    # An empty mention occurs everywhere, but is no mention.
    cut = next((cut for cut in reversed(cuts) if (head := line[:cut].strip()) and head in text), cuts[0])
    concept, _, description = line[cut + len(separator) :].partition(separator)
    return Annotation(line[:cut], concept, description).stripped()


@contextmanager
def open_text(path: str | os.PathLike[str], newline: str | None = None) -> Iterator[io.TextIOWrapper]:
    """Open a UTF-8 text file for reading; `.gz` and `.zst` are decompressed on the way.

    Args:
        path (`str` or `os.PathLike`): the file. A byte order mark at its head is left out.
        newline (`str`, *optional*): as in `open`.

    Raises:
        ValueError: while reading, if the file is not UTF-8 or its compressed data is damaged.
        FileNotFoundError: if there is no such file.
    """
    with io.TextIOWrapper(io.BufferedReader(pa.input_stream(path)), encoding="utf-8-sig", newline=newline) as stream:
        try:
            yield stream
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 ({error}); convert it, for example with iconv") from error
        except OSError as error:
            raise ValueError(f"{path} cannot be read to its end ({error}); fetch or compress it again") from error


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, from 1, without their line ends.

    Only `\\n`, `\\r\\n` and `\\r` end a line: other characters that Unicode counts as line ends belong to the text.
    """
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            yield number, line.removesuffix("\n")
