"""Fine-tuning: real training steps of a tiny model on CPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from curation.errors import DataError, UsageError
from curation.recipe import check, schema, with_defaults
from finetune import data, tiny, train, vlm

COLOURS = {"collision": (220, 40, 40), "near_collision": (40, 200, 40), "normal": (50, 60, 220)}
SIZES = {"hidden": 64, "layers": 2, "vision_hidden": 64, "vision_layers": 2, "vocabulary": 400}
SECTION = schema()["$defs"]["finetune"]
CONFIG = {"seed": 0, **with_defaults(SECTION, {"frames": 4, "size": [56, 56], "batch_size": 12, "lr": 3e-3})}
CONFIG |= {"tiny": SIZES, "device": "cpu"}


class Toy:
    """A release in memory: a square whose colour is the class."""

    root, version, id, simulated, tasks = Path("toy"), "1.0.0", "release1_toy", True, ["event", "cot"]

    def __init__(self, make_video: Callable[..., Path], folder: Path) -> None:
        self.videos: dict[str, bytes] = {}
        self.clips: list[tuple[str, str, str]] = []
        rng = np.random.default_rng(0)
        for split, count in (("train", 24), ("validation", 9), ("test", 12)):
            for i in range(count):
                name, label = f"clip1_{split}{i}", sorted(COLOURS)[i % 3]
                x, y = rng.integers(0, 30, 2)

                def picture(t: int, x: int = x, y: int = y, label: str = label) -> Any:
                    image = np.full((56, 56, 3), 90, np.uint8)
                    image[y : y + 20, x + t : x + t + 20] = COLOURS[label]
                    return image

                path = make_video(folder / f"{name}.mp4", frames=6, size=(56, 56), picture=picture)
                self.videos[name] = path.read_bytes()
                self.clips.append((split, name, label))

    def video(self, clip_id: str) -> bytes:
        return self.videos[clip_id]

    def rows(self, task: str, split: str | None = None) -> list[dict[str, Any]]:
        out = []
        for where, name, label in self.clips:
            answer = f"<answer>\n{label}\n</answer>"
            if task == "cot":
                answer = f"<think>\nThe square shows {label}.\n</think>\n\n{answer}"
            turns = [
                {"role": "system", "content": f"Answer {'with reasons' if task == 'cot' else 'at once'}."},
                {"role": "user", "content": "<video>\nWhat happens?"},
                {"role": "assistant", "content": answer},
            ]
            row = {"clip_id": name, "split": where, "group": name, "slice": "event", "value": {"class": label}}
            row["messages"] = [{"style": "cot" if task == "cot" else "answer", "messages": turns}]
            if split in (None, where):
                out.append(row)
        return out


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path]) -> Any:
    return Toy(write_video, tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, toy: Any) -> tuple[Any, Any]:
    texts = [m["content"] for e in data.examples(toy, ["event", "cot"], "train") for m in e.messages]
    return vlm.load(tiny.build(tmp_path_factory.mktemp("tiny"), texts, 3, **SIZES), device="cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, toy: Any) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("trained")
    return out, train.run(toy, {**CONFIG, "max_steps": 60}, out)


# --- positions ---


def test_positions_of_a_video_between_texts() -> None:
    """3 text tokens; a grid of 2 x 4 x 4 patches, merged 2 x 2, 1.5 s a step at 2 positions a second; 2 text tokens.

    Text takes 0, 1, 2. The video starts at 3: time 3 and 3 + 1.5 * 2 = 6, rows 3 and 4, columns 3 and 4. The largest
    position is 6, so the text goes on at 7; the last position + 1 less the 13 tokens is 9 - 13 = -4.
    """
    vision = SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)
    kinds = torch.tensor([[0, 0, 0, *[2] * 8, 0, 0]])
    given = {"video_grid_thw": torch.tensor([[2, 4, 4]]), "second_per_grid_ts": torch.tensor([1.5])}
    positions, delta = vlm.rope_index(vision, torch.ones_like(kinds), kinds, **given)
    assert positions[:, 0].tolist() == [
        [0, 1, 2, 3, 3, 3, 3, 6, 6, 6, 6, 7, 8],
        [0, 1, 2, 3, 3, 4, 4, 3, 3, 4, 4, 7, 8],
        [0, 1, 2, 3, 4, 3, 4, 3, 4, 3, 4, 7, 8],
    ]
    assert delta.tolist() == [[-4]]


def test_positions_keep_time_above_two_frames_a_second_and_skip_padding() -> None:
    """0.75 s a step at 2 a second: steps of 1.5, truncated 0, 1, 3. The padded row starts where its tokens start."""
    vision = SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)
    kinds = torch.tensor([[0, 2, 2, 2, 0, 0], [0, 0, 0, 2, 2, 2]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
    given = {"video_grid_thw": torch.tensor([[3, 2, 2]] * 2), "second_per_grid_ts": torch.tensor([0.75, 0.75])}
    positions, delta = vlm.rope_index(vision, torch.ones_like(kinds), kinds, attention_mask=mask, **given)
    assert positions[0].tolist() == [[0, 1, 2, 4, 5, 6], [0, 0, 0, 1, 2, 4]]
    assert delta.tolist() == [[1], [1]]


def test_a_loaded_model_uses_these_positions(toy: Any, loaded: tuple[Any, Any]) -> None:
    model, processor = loaded
    row = _row(toy, processor)
    inputs = {k: v for k, v in row.items() if k not in ("labels", "pixel_values_videos")}
    inputs["second_per_grid_ts"] = torch.tensor([3.0])
    absent = dict.fromkeys(("inputs_embeds", "past_key_values", "image_grid_thw"))
    used = model.model.compute_3d_position_ids(**absent, **inputs)
    video = inputs["mm_token_type_ids"][0] == 2
    assert used[0, 0][video].unique().diff().tolist() == [6], "3 s a step at 2 positions a second"
    after = int(video.nonzero().max()) + 1
    assert int(used[:, 0, after].min()) == int(used[:, 0, :after].max()) + 1, "the text must start after the video"


def test_attending_at_once_equals_attending_one_by_one(loaded: tuple[Any, Any]) -> None:
    visual = loaded[0].model.visual
    patches, grid = torch.randn(2 * 16 + 2 * 16, 1176), torch.tensor([[2, 4, 4], [2, 4, 4]])
    fast = visual(patches, grid).pooler_output
    kept = {m: m.__dict__.pop("forward") for m in visual.modules() if "forward" in m.__dict__}
    assert kept
    slow = visual(patches, grid).pooler_output
    for module, forward in kept.items():
        module.forward = forward
    torch.testing.assert_close(fast, slow)


# --- encoding ---


def _row(toy: Any, processor: Any, at: int = 0, task: str = "event") -> dict[str, Any]:
    e = data.examples(toy, [task], "train")[at]
    frames, fps = data.read_frames(toy, 4, (56, 56), e.clip_id)
    encoded = vlm.encode(processor, e.messages[:-1], frames, fps)
    return vlm.complete(processor.tokenizer, encoded, e.messages[-1]["content"])


def test_labels_are_the_completion_and_its_end_only(toy: Any, loaded: tuple[Any, Any]) -> None:
    processor = loaded[1]
    row = _row(toy, processor)
    learned = row["input_ids"][row["labels"] != -100]
    assert processor.tokenizer.decode(learned) == "<answer>\ncollision\n</answer><|im_end|>"
    assert torch.equal(row["labels"][row["labels"] != -100], learned)
    text = processor.tokenizer.decode(row["input_ids"][0])
    assert text.startswith(
        "<|im_start|>system\nAnswer at once.<|im_end|>\n<|im_start|>user\n<|vision_start|><|video_pad|>"
    )
    # 4 frames in pairs, 56 x 56 pixels in 28 x 28 units: 2 * 2 * 2 tokens
    assert int((row["mm_token_type_ids"] == 2).sum()) == 8
    assert row["video_grid_thw"].tolist() == [[2, 4, 4]]


def test_blind_prompt_has_no_trace_of_a_video(toy: Any, loaded: tuple[Any, Any]) -> None:
    e = data.examples(toy, ["event"], "train")[0]
    blind = vlm.encode(loaded[1], e.messages[:-1])
    assert "pixel_values_videos" not in blind
    assert "vision" not in loaded[1].tokenizer.decode(blind["input_ids"][0])


def test_a_batch_equals_its_rows(toy: Any, loaded: tuple[Any, Any]) -> None:
    """Rows of unequal length, padded, lose what they lose alone."""
    model, processor = loaded
    rows = [_row(toy, processor), _row(toy, processor, 1, "cot")]
    pad = processor.tokenizer.pad_token_id
    assert rows[0]["input_ids"].shape != rows[1]["input_ids"].shape
    alone = [vlm.completion_loss(model, vlm.collate([r], pad))[0].item() for r in rows]
    together, tokens = vlm.completion_loss(model, vlm.collate(rows, pad))
    assert together.tolist() == pytest.approx(alone, rel=1e-4)
    assert tokens.tolist() == [int((r["labels"] != -100).sum()) for r in rows]


# --- data ---


def test_epochs_weigh_tasks_and_never_flip_a_text_with_sides(toy: Any) -> None:
    sided = data.Example("clip1_x", "event", "answer", [{"role": "user", "content": "Is the left lane free?"}])
    items = [*data.examples(toy, ["event", "cot"], "train"), sided]
    stream = data.epochs(items, {"event": 2.0, "cot": 0.5}, 1, flips=True)
    drawn = [next(stream) for _ in range(2 * 25 + 12)]
    assert sum(items[at].task == "event" for at, _ in drawn[:50]) >= 36
    assert {at for at, _ in drawn} >= {at for at, e in enumerate(items) if e.task == "event"}
    assert not any(flip for at, flip in drawn if at == len(items) - 1)
    assert 5 < sum(flip for _, flip in drawn) < len(drawn) - 5
    again = data.epochs(items, {"event": 2.0, "cot": 0.5}, 1, flips=True)
    assert drawn == [next(again) for _ in drawn]


def test_frames_are_uniform_over_the_clip(toy: Any) -> None:
    frames, fps = data.read_frames(toy, 3, (56, 56), "clip1_train0")
    assert frames.shape == (3, 56, 56, 3)
    assert fps == pytest.approx(5.0, rel=0.1)  # 3 frames of a clip of 0.6 s


def test_a_split_without_conversations_is_a_data_error(toy: Any) -> None:
    with pytest.raises(DataError, match="no conversations in split 'nowhere'"):
        data.examples(toy, ["event"], "nowhere")


# --- training ---


def test_loss_falls_and_the_run_log_is_complete(trained: tuple[Path, Any]) -> None:
    out, report = trained
    log = json.loads((out / "train.json").read_text())
    assert log["loss"][0][1] > 4
    assert log["loss"][-1][1] < 0.5
    assert log["steps"] == 60
    assert log["release"]["id"] == "release1_toy"
    assert log["conversations"] == {"cot/cot": 24, "event/answer": 24}
    assert log["parameters"]["all"] == log["parameters"]["trained"] > 100_000
    assert set(log["weights"]) == {"model.safetensors"}
    assert {p.suffix for p in out.rglob("*")} <= {"", ".json", ".jinja", ".safetensors"}, "no pickled weights"
    assert report.counts["steps"] == 60


def test_a_finished_run_is_not_repeated_and_another_config_is(
    trained: tuple[Path, Any], toy: Any, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(trained[0], out)
    before = (out / "model" / "model.safetensors").stat().st_mtime_ns
    train.run(toy, {**CONFIG, "max_steps": 60}, out)
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == before
    report = train.run(toy, {**CONFIG, "max_steps": 1}, out)
    assert report.counts["steps"] == 1


def test_a_killed_run_goes_on_as_if_undisturbed(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**CONFIG, "max_steps": 8, "checkpoint_s": 0.0}
    whole = train.run(toy, config, tmp_path / "whole")

    class KilledError(Exception):
        pass

    def kill(what: str, done: int, total: int) -> None:
        if done >= 600:
            raise KilledError

    with pytest.raises(KilledError):
        train.run(toy, config, tmp_path / "killed", kill)
    assert not (tmp_path / "killed" / "train.json").exists()
    (tmp_path / "killed" / "checkpoint.tmp").write_bytes(b"torn")  # a write that was cut off
    began: list[int] = []
    after = train.run(toy, config, tmp_path / "killed", lambda what, done, total: began.append(done))
    assert began[0] == 625, "it must go on after the last checkpoint, at step 5 of 8"
    assert after.data["weights"] == whole.data["weights"]
    assert after.data["loss"] == whole.data["loss"]
    assert not list((tmp_path / "killed").glob("checkpoint*"))


def test_a_time_budget_completes_its_schedule(toy: Any, tmp_path: Path) -> None:
    report = train.run(toy, {**CONFIG, "max_seconds": 2.0}, tmp_path)
    assert report.counts["steps"] >= 1
    assert 2.0 <= report.data["seconds"] < 10


def test_schedule_warms_up_and_ends_at_zero() -> None:
    assert [train.schedule(x, 0.1) for x in (0.0, 0.05, 0.1)] == pytest.approx([0.0, 0.5, 1.0])
    assert train.schedule(0.55, 0.1) == pytest.approx(0.5)
    assert train.schedule(1.0, 0.1) == pytest.approx(0.0)


def test_gradients_do_not_depend_on_the_micro_batch(toy: Any, loaded: tuple[Any, Any]) -> None:
    model, processor = loaded
    rows = [_row(toy, processor, i, task) for i in range(2) for task in ("event", "cot")]
    found = []
    for micro in (None, 1, 3):
        model.zero_grad()
        config = {**CONFIG, "max_steps": 1, "micro_batch": micro}
        train._Trainer(model, config, "", Path(), 0).backward(rows)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    model.zero_grad()
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found[0], found[2], rtol=1e-3, atol=1e-5)


def test_an_adapter_equals_its_merged_model(trained: tuple[Path, Any], toy: Any, tmp_path: Path) -> None:
    config = {
        **CONFIG,
        "model": str(trained[0] / "model"),
        "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
    }
    report = train.run(toy, {**config, "max_steps": 3, "lr": 1e-2}, tmp_path)
    assert set(report.data["weights"]) == {"adapter_model.safetensors"}
    assert 0 < report.data["parameters"]["trained"] < report.data["parameters"]["all"] / 4
    model, processor = vlm.load(tmp_path / "model", device="cpu")
    batch = vlm.collate([_row(toy, processor, 1)], 0)
    adapted = vlm.completion_loss(model, batch)[0].item()
    merged = vlm.attend_at_once(vlm.mend_positions(model.merge_and_unload()))
    base = vlm.load(trained[0] / "model", device="cpu")[0]
    assert vlm.completion_loss(merged, batch)[0].item() == pytest.approx(adapted, rel=1e-4)
    assert vlm.completion_loss(base, batch)[0].item() != pytest.approx(adapted, rel=1e-3)


def test_a_config_that_makes_no_sense_is_a_usage_error(toy: Any, tmp_path: Path) -> None:
    recipe = {"name": "x", "sources": [{"kind": "demo", "triplets": 1, "drives": 1}]}
    for section, wrong in (("finetune", {"max_step": 1}), ("eval", {"frames": 4})):
        with pytest.raises(UsageError, match=f"{section}: unknown key '{next(iter(wrong))}'"):
            check(Path("recipe.yaml"), {**recipe, section: wrong})
    with pytest.raises(UsageError, match="max_steps or max_seconds"):
        train.run(toy, CONFIG, tmp_path)


def test_a_model_that_is_not_there_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be loaded"):
        vlm.load(tmp_path / "nothing")


@pytest.fixture(scope="module")
def write_video() -> Callable[..., Path]:
    """Like the suite's `make_video`, but for a whole module."""
    import av

    def write(path: Path, *, frames: int, size: tuple[int, int], picture: Callable[[int], Any]) -> Path:
        with av.open(str(path), "w") as out:
            video: Any = out.add_stream("libx264", rate=10, options={"crf": "18"})
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            for i in range(frames):
                out.mux(video.encode(av.VideoFrame.from_ndarray(picture(i), "rgb24")))
            out.mux(video.encode(None))
        return path

    return write
