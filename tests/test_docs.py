"""Every Python block of the README and of docs/ runs, block after block of a file in one namespace.

Commands of pre-training, which would take hours, are read as the program reads them.
"""

import re
import shlex
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from transformers import HfArgumentParser

from nerfound.pretraining import PretrainingArguments

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in BLOCK.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), namespace)


RECIPES = ROOT / "docs" / "recipes.md"
LAUNCH, MODULE = "accelerate launch ", "nerfound.pretraining"
COMMANDS = [
    command
    for block in re.findall(r"^```bash\n(.*?)^```", RECIPES.read_text(), re.MULTILINE | re.DOTALL)
    for command in block.replace("\\\n", " ").splitlines()
    if command.startswith(LAUNCH)
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.rpartition("--output_dir ")[2])
def test_recipes_are_understood(command):
    launch = launch_command_parser().parse_args(shlex.split(command.removeprefix(LAUNCH)))
    assert (launch.module, launch.training_script) == (True, MODULE)
    (args,) = HfArgumentParser(PretrainingArguments).parse_args_into_dataclasses(launch.training_script_args)
    assert f"| `{args.token_encoder.removeprefix('./')}` |" in RECIPES.read_text()  # with what it needs
    assert args.languages == (["all"] if "multilingual" in args.output_dir else ["English"])


def test_there_is_a_recipe_for_every_base():
    assert len(COMMANDS) == 5
