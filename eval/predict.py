"""Predictions of a model on a release's clips, with the arms that tell seeing from guessing.

The score of a class is the log-likelihood of the whole answer that names it, under the answer-only prompt and through
the code that trained it. Answers differ in length and a model may prefer one word for its sound, so scores are
calibrated per arm on the validation split: p = softmax(a * log-likelihood + b), the bias-corrected temperature scaling
of Alexandari et al. 2020 (arXiv 1901.06852). The decision is the most probable class. Test is never used to choose.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from curation.errors import DataError
from curation.ids import make_id, seeded, sha256_file
from curation.release import Release, write_atomic
from curation.types import Json, Progress, Report
from finetune import vlm
from finetune.data import read_frames
from finetune.vlm import Frames, torch

KEPT = 1000  # clips whose frames stay in memory for the next arm
SPLITS = ("test", "validation")  # what is predicted, and what calibrates
Array = NDArray[np.float64]
Known = dict[tuple[str, str, str], list[float]]  # log-likelihood of each class by split, arm, clip


def run(release: Release, model_dir: str | Path, config: Json, out: Path, progress: Progress | None = None) -> Report:
    """Write predictions of the test split to `out` (JSONL, a row per clip and arm), going on where a kill stopped it.

    Row: clip_id, group, arm, truth, pred, scores {class: probability}. Beside it, `<out>.raw.jsonl` holds the
    log-likelihoods. `config`: the recipe's section `eval`, of `finetune` frames, size, precision and device, and seed
    and the model's revision. Raises DataError for a release without what is asked.
    """
    rows = {split: _rows(release, split) for split in SPLITS}
    classes, around = _answers([*_rows(release, "train"), *rows["validation"]])
    completions = [around[0] + c + around[1] for c in classes]
    model, processor = vlm.load(model_dir, config["revision"], device=config["device"], dtype=config["precision"])
    about = {k: config[k] for k in ("revision", "frames", "size", "precision", "seed")}
    key = make_id("scores", [release.id, _weights(model_dir), about, classes, around])
    out.parent.mkdir(parents=True, exist_ok=True)
    raw = out.with_suffix(".raw.jsonl")
    known = _kept(raw, key)
    read = lru_cache(KEPT)(partial(read_frames, release, config["frames"], tuple(config["size"])))
    size = max(1, config["batch_size"] // len(classes))
    for split, arm in ((split, arm) for split in SPLITS for arm in config["arms"]):
        todo = [row for row in rows[split] if (split, arm, row["clip_id"]) not in known]
        for at in range(0, len(todo), size):
            prompts = []
            for row in todo[at : at + size]:
                frames, fps = read(row["clip_id"])
                seen = shown(frames, arm, row["clip_id"], config["seed"])
                prompts.append(vlm.encode(processor, row["prompt"], seen, fps))
            with raw.open("a", encoding="utf-8") as f:
                for row, scores in zip(todo[at:], loglik(model, processor, prompts, completions), strict=False):
                    if not np.isfinite(scores).all():
                        where = f"{model_dir}: clip {row['clip_id']}, arm {arm}"
                        raise DataError(f"{where}: the model's answer has no likelihood; try precision: float32")
                    known[split, arm, row["clip_id"]] = scores
                    told = {"key": key, "split": split, "arm": arm, "clip_id": row["clip_id"], "loglik": scores}
                    f.write(json.dumps(told) + "\n")
            if progress:
                progress(f"eval, {split}, {arm}", at + len(prompts), len(todo))
    predictions, calibration = _decide(rows, config["arms"], known, classes)
    write_atomic(out, "".join(json.dumps(r, sort_keys=True) + "\n" for r in predictions).encode())
    data: Json = {"key": key, "classes": classes, "calibration": calibration}
    return Report("predict", {"clips": len(rows["test"]), "arms": len(config["arms"])}, data=data)


def _kept(raw: Path, key: str) -> Known:
    """What an earlier run with the same key scored; a last line that was torn by a kill is cut off."""
    text = raw.read_text(encoding="utf-8") if raw.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        raw.write_text(whole, encoding="utf-8")
    rows = (row for row in map(json.loads, whole.splitlines()) if row["key"] == key)
    return {(row["split"], row["arm"], row["clip_id"]): row["loglik"] for row in rows}


def loglik(model: Any, processor: Any, prompts: Sequence[vlm.Tensors], completions: Sequence[str]) -> list[list[float]]:
    """Log-likelihood of each completion after each prompt."""
    rows = [vlm.complete(processor.tokenizer, p, text) for p in prompts for text in completions]
    with torch.inference_mode():
        batch = vlm.collate(rows, processor.tokenizer.pad_token_id, model.device)
        nll, _ = vlm.completion_loss(model, batch)
    return (-nll.double()).view(len(prompts), len(completions)).cpu().tolist()  # type: ignore[no-any-return]


def _decide(rows: dict[str, list[Json]], arms: list[str], known: Known, classes: list[str]) -> tuple[list[Json], Json]:
    """Predictions of the test split, and each arm's calibration: {scale, bias by class, n clips it was fitted on}."""
    predictions: list[Json] = []
    calibration: Json = {}
    truth = np.array([classes.index(row["truth"]) for row in rows["validation"]])
    for arm in arms:
        fitted = np.array([known["validation", arm, row["clip_id"]] for row in rows["validation"]])
        scale, bias = calibrate(fitted, truth)
        shift = dict(zip(classes, bias.tolist(), strict=True))
        calibration[arm] = {"scale": scale, "bias": shift, "n": len(truth)}
        for row in rows["test"]:
            p = softmax(scale * np.array(known["test", arm, row["clip_id"]]) + bias).round(6)
            told = {k: row[k] for k in ("clip_id", "group", "truth")}
            told |= {"arm": arm, "pred": classes[int(p.argmax())]}
            predictions.append({**told, "scores": dict(zip(classes, p.tolist(), strict=True))})
    return predictions, calibration


def _rows(release: Release, split: str) -> list[Json]:
    """What is asked of each clip of a split, under the answer-only prompt, with its true class."""
    out = []
    for row in release.rows("event", split):
        talk = next((t["messages"] for t in row["messages"] if t["style"] == "answer"), None)
        truth = row["value"].get("class")
        if talk and truth is not None:
            turns = [{"role": t["role"], "content": t["content"]} for t in talk]
            out.append({**row, "truth": truth, "prompt": turns[:-1], "answer": turns[-1]["content"]})
    if not out:
        raise DataError(f"{release.root}: no answers of task 'event' in split {split!r}; see the card")
    return out


def _answers(rows: list[Json]) -> tuple[list[str], tuple[str, str]]:
    """The classes, and what stands before and after a class in an answer; never learned from the test split."""
    before, found, after = rows[0]["answer"].partition(rows[0]["truth"])
    if not found:
        raise DataError(f"clip {rows[0]['clip_id']}: its answer does not name its class")
    return sorted({row["truth"] for row in rows}), (before, after)


def _weights(model_dir: str | Path) -> Any:
    """What identifies a model: its weights' hashes, or its hub id."""
    found = {p.name: sha256_file(p) for p in sorted(Path(model_dir).glob("*.safetensors"))}
    return found or str(model_dir)


def shown(frames: Frames, arm: str, clip_id: str, seed: int = 0) -> Frames | None:
    """What an arm lets the model see of `frames` (time, height, width, 3); None is nothing at all.

    First and last frame stand still for the length of the clip, so that only what moves is taken away.
    """
    if arm == "blind":
        return None
    if arm == "shuffled":
        order = list(range(len(frames)))
        seeded(seed, "shuffled", clip_id).shuffle(order)
        return frames[order]
    if arm in ("first_frame", "last_frame"):
        return np.repeat(frames[:1] if arm == "first_frame" else frames[-1:], len(frames), axis=0)
    return frames


def calibrate(loglik: Array, truth: NDArray[np.int64]) -> tuple[float, Array]:
    """Scale a >= 0 and class biases b (sum 0) that maximise the likelihood of `truth` (n,) given `loglik` (n, classes).

    Weak normal priors (log a around 0, b around equal mean scores) keep them finite when the classes separate.
    """
    centred = loglik - loglik.mean(-1, keepdims=True)
    start = -centred.mean(0)

    def loss(x: Array) -> float:
        logits = np.exp(x[0]) * (centred + start) + x[1:]
        return float((x**2).sum() / 8 - log_softmax(logits, axis=1)[np.arange(len(truth)), truth].sum())

    found: Array = minimize(loss, np.zeros(1 + len(start))).x
    bias = np.exp(found[0]) * start + found[1:]
    return float(np.exp(found[0])), bias - bias.mean()
