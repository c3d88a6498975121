"""`python -m nerfound`: the same as the `nerfound` command."""

from .cli import main

main()
