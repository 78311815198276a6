"""The dataset card: what a consumer must know before trusting the data, printed from release.json by `card.md`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from curation.types import Json

TAGS = ("driving", "dashcam", "collision", "near-collision", "vlm")


def write_card(root: Path, info: Json) -> None:
    """Write README.md beside the data of a release. Whatever the template does not call safe is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        finalize=_md,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page.filters |= {"interval": interval, "pairs": lambda counts: ", ".join(f"{k} {n}" for k, n in counts.items())}
    used = {basis for counts in info["bases"].values() for basis in counts}
    text = page.get_template("card.md").render(info, front=_front(root, info), used=used)
    (root / "README.md").write_text(text, encoding="utf-8")


def _md(value: Any) -> Any:
    """Foreign text inside Markdown: one line, no markup that could run or break a table."""
    from markupsafe import Markup

    return value if isinstance(value, Markup) else re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(value).split()))


def _front(root: Path, info: Json) -> str:
    import yaml

    configs: list[Json] = []
    for task in info["tasks"]:
        found = {p.name.rsplit("-", 1)[0] for p in (root / "data" / task).glob("*.parquet")}
        splits = [{"split": s, "path": f"data/{task}/{s}-*.parquet"} for s in info["splits"] if s in found]
        configs.append({"config_name": task, "data_files": splits, **({"default": True} if task == "event" else {})})
    configs.append({"config_name": "media", "data_files": [{"split": "clips", "path": "media/*.parquet"}]})
    front = {
        "pretty_name": info["title"],
        "license": info["licence"],
        "task_categories": ["video-text-to-text", "video-classification"],
        "tags": [*TAGS, "simulated-raters" if info["simulated"] else "reviewed"],
        "configs": configs,
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def interval(score: Json | None) -> str:
    """A score with its interval, or "not shown"."""
    if not score or score["value"] is None:
        return "not shown"
    return f"{score['value']:.3f}" + (f" [{score['low']:.3f}, {score['high']:.3f}]" if score["low"] is not None else "")
