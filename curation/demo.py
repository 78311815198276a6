"""`autodrive demo` and `autodrive init`: recipes that ship with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from curation.errors import UsageError
from curation.recipe import Recipe, load_recipe
from curation.types import Json


def demo_recipe(out: Path, *, small: bool, seed: int) -> Recipe:
    """The demo's recipe with its workspace at `out`/demo (or demo-small)."""
    import yaml

    text = files("curation").joinpath("demo.yaml").read_text(encoding="utf-8")
    whole, changes = yaml.safe_load_all(text)
    data: Json = {**whole, **changes} if small else whole
    root = (out / str(data["name"])).resolve()
    root.mkdir(parents=True, exist_ok=True)
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump({**data, "seed": seed, "workspace": "."}, sort_keys=False), encoding="utf-8")
    return load_recipe(path)


def write_starter(folder: Path) -> Path:
    """A commented recipe for a folder of videos and a table. Raises UsageError rather than overwrite one."""
    path = folder / "recipe.yaml"
    if path.exists():
        raise UsageError(f"{path}: there is a recipe already; pick another folder or edit that one")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(files("curation").joinpath("starter.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return path
