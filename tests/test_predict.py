"""Predictions: arms, scores and their calibration, without a trained model where none is needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors.torch import load_file, save_file

from curation.errors import DataError, UsageError
from curation.recipe import check, schema, with_defaults
from eval import predict
from finetune import tiny, train, vlm
from finetune.data import read_frames

CLASSES = {"collision": 40, "near_collision": 120, "normal": 210}
ARMS = schema()["$defs"]["eval"]["properties"]["arms"]["default"]
SHARED = {"seed": 0, "frames": 4, "size": [56, 56], "device": "cpu"}


class Toy:
    """A release in memory. How bright the clip's last half is, is the class; it starts dark in all classes."""

    root, version, id, simulated, tasks = Path("toy"), "1.0.0", "release1_bright", True, ["event", "cot"]

    def __init__(self, make_video: Callable[..., Path], folder: Path) -> None:
        self.videos: dict[str, bytes] = {}
        self.clips: list[tuple[str, str, str]] = []
        for split, count in (("train", 18), ("validation", 9), ("test", 9)):
            for i in range(count):
                name, label = f"clip1_{split}{i}", sorted(CLASSES)[i % 3]
                level = CLASSES[label] + i % 5

                def picture(t: int, level: int = level) -> Any:
                    return np.full((56, 56, 3), level if t >= 4 else 10, np.uint8)

                path = make_video(folder / f"{name}.mp4", frames=8, size=(56, 56), picture=picture)
                self.videos[name] = path.read_bytes()
                self.clips.append((split, name, label))

    def video(self, clip_id: str) -> bytes:
        return self.videos[clip_id]

    def rows(self, task: str, split: str | None = None) -> list[dict[str, Any]]:
        out = []
        for where, name, label in self.clips:
            if split not in (None, where):
                continue
            answer = f"<answer>\n{label}\n</answer>"
            if task == "cot":
                answer = f"<think>\nIt is {label}.\n</think>\n\n{answer}"
            turns = [
                {"role": "user", "content": f"<video>\nWhat is it? {'Think.' if task == 'cot' else ''}"},
                {"role": "assistant", "content": answer},
            ]
            row = {"clip_id": name, "split": where, "group": f"drive-{name}", "slice": "event"}
            row |= {"value": {"class": label}, "messages": [{"style": "cot" if task == "cot" else "answer"}]}
            row["messages"][0]["messages"] = turns  # type: ignore[index]
            out.append(row)
        return out


@pytest.fixture
def config() -> dict[str, Any]:
    return {**SHARED, "batch_size": 48, "precision": "auto", "revision": None, "arms": ARMS}


@pytest.fixture
def toy(make_video: Callable[..., Path], tmp_path: Path) -> Any:
    return Toy(make_video, tmp_path / "toy")


@pytest.fixture
def untrained(toy: Any, tmp_path: Path) -> Path:
    texts = [t["content"] for task in toy.tasks for r in toy.rows(task) for t in r["messages"][0]["messages"]]
    sizes = {"hidden": 64, "layers": 1, "vision_hidden": 32, "vision_layers": 1, "vocabulary": 400}
    return tiny.build(tmp_path / "untrained", texts, 1, **sizes)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_arms_show_what_they_say() -> None:
    frames = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1) * np.ones((6, 2, 2, 3), np.uint8)
    seen = {arm: predict.shown(frames, arm, "clip1_a") for arm in ARMS}
    assert seen["blind"] is None
    assert np.array_equal(seen["full"], frames)
    assert np.array_equal(seen["first_frame"], np.zeros_like(frames))
    assert np.array_equal(seen["last_frame"], np.full_like(frames, 5))
    order = seen["shuffled"][:, 0, 0, 0].tolist()
    assert sorted(order) == list(range(6))
    assert order != list(range(6))
    orders = {tuple(predict.shown(frames, "shuffled", f"clip1_{i}")[:, 0, 0, 0]) for i in range(20)}
    assert len(orders) > 10, "each clip has its own order"


def test_a_trained_model_sees_and_the_blind_arm_guesses(toy: Any, config: dict[str, Any], tmp_path: Path) -> None:
    """Only what comes after the first frame tells the classes apart."""
    sizes = {"hidden": 64, "layers": 2, "vision_hidden": 32, "vision_layers": 1, "vocabulary": 400}
    given = {**SHARED, "tiny": sizes, "batch_size": 12, "lr": 3e-3, "max_steps": 60}
    train.run(toy, with_defaults(schema()["$defs"]["finetune"], given), tmp_path / "run")
    out = tmp_path / "eval" / "test.jsonl"
    report = predict.run(toy, tmp_path / "run" / "model", config, out)
    rows = _lines(out)
    assert len(rows) == 9 * len(ARMS)
    assert set(rows[0]) == {"clip_id", "group", "arm", "truth", "pred", "scores"}
    assert all(sum(r["scores"].values()) == pytest.approx(1, abs=1e-4) for r in rows)
    assert all(r["pred"] == max(r["scores"], key=r["scores"].get) for r in rows)
    right = {arm: sum(r["pred"] == r["truth"] for r in rows if r["arm"] == arm) for arm in ARMS}
    assert right["full"] == 9
    assert right["blind"] == right["first_frame"] == 3
    assert len({json.dumps(r["scores"]) for r in rows if r["arm"] == "blind"}) == 1
    assert report.counts == {"clips": 9, "arms": len(ARMS)}


def test_scores_equal_the_models_own_likelihoods(
    toy: Any, untrained: Path, config: dict[str, Any], tmp_path: Path
) -> None:
    """Batched scores against a plain forward pass and sum, one answer at a time."""
    import torch

    out = tmp_path / "p.jsonl"
    predict.run(toy, untrained, {**config, "arms": ["full"], "batch_size": 7}, out)
    row = next(r for r in _lines(out.with_suffix(".raw.jsonl")) if r["clip_id"] == "clip1_test4")
    model, processor = vlm.load(untrained, device="cpu")
    frames, fps = read_frames(toy, 4, (56, 56), "clip1_test4")
    prompt = vlm.encode(processor, toy.rows("event", "test")[4]["messages"][0]["messages"][:-1], frames, fps)
    sums = []
    for label in sorted(CLASSES):
        full = vlm.complete(processor.tokenizer, prompt, f"<answer>\n{label}\n</answer>")
        labels = full.pop("labels")
        with torch.inference_mode():
            logp = model(**full).logits.log_softmax(-1)[0]
        at = [i for i in range(labels.shape[1]) if labels[0, i] != -100]
        sums.append(sum(float(logp[i - 1, labels[0, i]]) for i in at))
    assert row["loglik"] == pytest.approx(sums, rel=1e-4)


def test_a_second_run_scores_nothing_again(toy: Any, untrained: Path, config: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    config["arms"] = ["full", "blind"]
    first = predict.run(toy, untrained, config, out)
    told, raw_row = _lines(out)[4], _lines(out.with_suffix(".raw.jsonl"))[4]
    assert (told["clip_id"], told["arm"]) == (raw_row["clip_id"], raw_row["arm"])
    fitted = first.data["calibration"]["full"]
    p = predict.softmax(fitted["scale"] * np.array(raw_row["loglik"]) + np.array(list(fitted["bias"].values())))
    assert list(told["scores"].values()) == pytest.approx(p.tolist(), abs=1e-6)
    assert fitted["n"] == 9
    assert abs(fitted["scale"] - 1) > 1e-3
    text = out.read_bytes()
    raw = out.with_suffix(".raw.jsonl")
    kept = raw.read_bytes()[: len(raw.read_bytes()) // 2]
    raw.write_bytes(kept)  # killed in the middle of a line
    predict.run(toy, untrained, config, out)
    assert out.read_bytes() == text
    assert raw.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert len(_lines(raw)) == 2 * 18
    predict.run(toy, untrained, {**config, "arms": ["full", "blind", "first_frame"]}, out)
    assert len(_lines(raw)) == 3 * 18, "only the new arm"
    toy.videos.clear()  # whoever scores a clip now fails
    again = predict.run(toy, untrained, config, out)
    assert (again.data, out.read_bytes()) == (first.data, text)


def test_calibration_removes_a_taste_for_words() -> None:
    """Likelihoods that prefer class 0 by 5 whatever is seen decide wrongly; calibrated they follow what is seen."""
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 3
    seen = np.eye(3)[truth] * 2 + rng.normal(0, 0.5, (300, 3))
    loglik = seen + np.array([5.0, 0, -2])
    assert float((loglik.argmax(1) == truth).mean()) < 0.5
    scale, bias = predict.calibrate(loglik, truth)
    p = predict.softmax(scale * loglik + bias, axis=-1)
    assert float((p.argmax(1) == truth).mean()) > 0.95
    assert bias.sum() == pytest.approx(0)
    # the most likely scale and biases make the mean probability of a class its frequency (up to the weak prior)
    assert p.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.01)
    assert scale > 1


def test_calibration_without_information_predicts_frequencies() -> None:
    """Equal scores for every clip (the blind arm) leave the classes' frequencies: 6, 3 and 1 of 10."""
    truth = np.array([0] * 60 + [1] * 30 + [2] * 10)
    scale, bias = predict.calibrate(np.tile([-9.0, -3.0, -5.0], (100, 1)), truth)
    p = predict.softmax(scale * np.array([-9.0, -3.0, -5.0]) + bias)
    assert p.tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.02)


def test_unknown_arms_and_missing_splits_are_told(toy: Any, config: dict[str, Any], tmp_path: Path) -> None:
    recipe = {"name": "x", "sources": [{"kind": "demo", "triplets": 1, "drives": 1}]}
    with pytest.raises(UsageError, match="'middle_frame'"):
        check(tmp_path, {**recipe, "eval": {"arms": ["middle_frame"]}})
    toy.clips = [c for c in toy.clips if c[0] != "test"]
    with pytest.raises(DataError, match="in split 'test'"):
        predict.run(toy, tmp_path, config, tmp_path / "p.jsonl")


def test_a_model_that_gives_no_numbers_is_told_not_scored(
    toy: Any, untrained: Path, config: dict[str, Any], tmp_path: Path
) -> None:
    broken = shutil.copytree(untrained, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    save_file({k: v * float("nan") for k, v in weights.items()}, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"clip clip1_test0, arm full: the model's answer has no likelihood"):
        predict.run(toy, broken, config, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists() and not (tmp_path / "out.raw.jsonl").read_text()
