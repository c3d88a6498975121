"""Virtual environments that have some of the packages of this one, and nothing else."""

import os
import sysconfig
import venv
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed_by(*names: str) -> dict[str, Distribution]:
    """The distributions that these need, themselves among them, by normalised name: what pip would install."""
    found: dict[str, Distribution] = {}
    asked = [(name, "") for name in names]
    for name, extra in asked:  # grows as it goes
        found[canonicalize_name(name)] = distribution(name)
        requirements = map(Requirement, found[canonicalize_name(name)].requires or ())
        wanted = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": extra})]
        asked += {(r.name, e) for r in wanted for e in ("", *r.extras)} - set(asked)
    return found


def not_needed_by(*names: str) -> list[str]:
    """Every top-level module that is here, nerfound among them, and must not be where only what these need is."""
    needed = set(needed_by(*names))
    owners = packages_distributions()
    foreign = {top for top, found in owners.items() if not needed & set(map(canonicalize_name, found))}
    return sorted({"nerfound", "tests", *filter(str.isidentifier, foreign)})


def make_environment(folder: Path, *names: str) -> Path:
    """Link what these need into a new virtual environment, and return its Python."""
    venv.create(folder, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    for name, needed in needed_by(*names).items():
        for top in {Path(file).parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
            link = Path(paths["purelib"], top)
            assert not link.exists(), f"{name} shares {top} with another distribution"
            link.symlink_to(needed.locate_file(top))
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"
