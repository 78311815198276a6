"""Fine-tuning: a release at a revision becomes a checkpoint or an adapter.

out/base/           the random-weight model, when the config asks for "tiny"
out/checkpoint.*    where to go on after a kill; removed when done
out/model/          weights (safetensors) and processor; for LoRA the adapter
out/train.json      the run log; written last, so its presence means complete
"""

from __future__ import annotations

import json
import math
import platform
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from curation.errors import DataError, UsageError
from curation.ids import make_id, sha256_file
from curation.release import Release, write_atomic
from curation.types import Json, Progress, Report
from finetune import tiny, vlm
from finetune.data import Example, epochs, examples, read_frames
from finetune.vlm import torch

LIBRARIES = ("torch", "torchvision", "transformers", "peft", "av", "numpy")
KEPT = 2 << 30  # bytes of frames, and of encoded ones, that stay in memory


def run(release: Release, config: Json, out: Path, progress: Progress | None = None) -> Report:
    """Fine-tune on the release's training split and write `out`; after a kill the same call goes on.

    `config`: the recipe's section `finetune`, and `seed`. With `max_steps` alone the result depends on the inputs only.
    Raises UsageError for a run without an end and DataError for a release or model that cannot be used.
    """
    if not (config["max_steps"] or config["max_seconds"]):
        raise UsageError("finetune: say how long to train: max_steps or max_seconds (the first reached ends it)")
    key = make_id("train", [release.id, {k: v for k, v in config.items() if k != "checkpoint_s"}])
    log = out / "train.json"
    if log.is_file():
        said: Json = json.loads(log.read_text(encoding="utf-8"))
        if said["key"] == key:
            return _report(said)
        log.unlink()  # what follows is not what it tells of
    out.mkdir(parents=True, exist_ok=True)
    items = examples(release, [t for t, weight in config["tasks"].items() if weight > 0], "train")
    base = _base(config, items, out)
    model, processor = _model(base, config)
    trainer = _Trainer(model, config, key, out, processor.tokenizer.pad_token_id)
    trainer.resume()
    trainer.train(_batches(release, items, config, processor, trainer.step), progress)
    model.save_pretrained(out / "model", safe_serialization=True)
    processor.save_pretrained(out / "model")
    said = _log(release, config, key, base, items, trainer)
    write_atomic(log, (json.dumps(said, indent=1) + "\n").encode())
    trainer.checkpoint.unlink(missing_ok=True)
    return _report(said)


def _base(config: Json, items: list[Example], out: Path) -> str:
    if config["model"] != "tiny":
        return str(config["model"])
    folder = out / "base"
    shutil.rmtree(folder, ignore_errors=True)
    texts = [m["content"] for e in items for m in e.messages]
    return str(tiny.build(folder, texts, config["seed"], **config["tiny"]))


def _model(base: str, config: Json) -> tuple[Any, Any]:
    """The model, what is to be trained of it in float32 and the rest frozen, and its processor."""
    lora = config["lora"]
    dtype = "float32" if lora is None else config["precision"]
    model, processor = vlm.load(base, config["revision"], device=config["device"], dtype=dtype)
    torch.manual_seed(config["seed"])
    if lora is not None:
        from peft import LoraConfig, get_peft_model

        adapter = LoraConfig(
            r=lora["r"],
            lora_alpha=lora["alpha"],
            lora_dropout=lora["dropout"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
            revision=config["revision"],
        )
        model = get_peft_model(model, adapter)
    if config["gradient_checkpointing"]:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train(), processor


def _batches(
    release: Release, items: list[Example], config: Json, processor: Any, skip: int
) -> Iterator[list[vlm.Tensors]]:
    """Batches without end, encoded; the first `skip` are passed over without decoding anything."""
    width, height = config["size"]
    pixels = config["frames"] * width * height * 3
    read = lru_cache(max(1, KEPT // pixels))(partial(read_frames, release, config["frames"], (width, height)))

    def encoded(at: int, flip: bool) -> vlm.Tensors:
        frames, fps = read(items[at].clip_id)
        *prompt, answer = items[at].messages
        asked = vlm.encode(processor, prompt, frames[:, :, ::-1] if flip else frames, fps)
        return vlm.complete(processor.tokenizer, asked, answer["content"])

    row = lru_cache(max(1, KEPT // (4 * pixels)))(encoded)
    stream = epochs(items, config["tasks"], config["seed"], flips=config["flips"])
    stream = islice(stream, skip * config["batch_size"], None)
    while True:
        yield [row(at, flip) for at, flip in islice(stream, config["batch_size"])]


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(n, p) for n, p in model.named_parameters() if p.requires_grad]


def schedule(done: float, warmup: float) -> float:
    """Factor of the learning rate when `done` (0 to 1) of the run is over: linear warm-up, then cosine to 0."""
    if done < warmup:
        return done / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (done - warmup) / max(1e-9, 1 - warmup)))


@dataclass
class _Trainer:
    model: Any
    config: Json
    key: str
    out: Path
    pad_id: int
    seconds: float = 0.0  # of training, over all attempts
    losses: list[float] = field(default_factory=list)  # mean per completion token, one per step
    optimizer: Any = field(init=False)

    def __post_init__(self) -> None:
        trained = [p for _, p in _trained(self.model)]
        decay = self.config["weight_decay"]
        self.optimizer = torch.optim.AdamW(trained, self.config["lr"], betas=(0.9, 0.98), weight_decay=decay)

    @property
    def step(self) -> int:
        return len(self.losses)

    def train(self, batches: Iterator[list[vlm.Tensors]], progress: Progress | None) -> None:
        """Until the steps or the seconds are used up. Raises DataError when the loss is no number any more."""
        config = self.config
        began = time.monotonic() - self.seconds
        saved = self.seconds
        while self.done() < 1:
            if self.seconds - saved > config["checkpoint_s"]:
                self.save()
                saved = self.seconds
            # dropout draws by step, so that a resumed run goes the way of an undisturbed one
            torch.manual_seed(config["seed"] * 1_000_003 + self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = config["lr"] * schedule(self.done(1), config["warmup"])
            loss = self.backward(next(batches))
            if not math.isfinite(loss):
                raise DataError(f"training diverged at step {self.step}; lower the learning rate ({config['lr']:g})")
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), config["clip_norm"])
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.losses.append(round(loss, 5))
            self.seconds = time.monotonic() - began
            if progress:
                progress("finetune", int(1000 * min(1.0, self.done())), 1000)

    def done(self, more: int = 0) -> float:
        """Share of the run that is over `more` steps on: of the steps or of the seconds, whichever is farther."""
        steps, seconds = self.config["max_steps"], self.config["max_seconds"]
        return max((self.step + more) / steps if steps else 0.0, self.seconds / seconds if seconds else 0.0)

    def backward(self, rows: list[vlm.Tensors]) -> float:
        """Gradients of the mean over rows of each row's mean loss per completion token; returns that mean."""
        device = next(self.model.parameters()).device
        half = self.config["precision"] != "float32" and device.type != "cpu"
        size = self.config["micro_batch"] or len(rows)
        total = 0.0
        for at in range(0, len(rows), size):
            batch = vlm.collate(rows[at : at + size], self.pad_id, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                nll, tokens = vlm.completion_loss(self.model, batch)
            loss = (nll / tokens).sum() / len(rows)
            loss.backward()
            total += float(loss.detach())
        return total

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.safetensors"

    def save(self) -> None:
        """One file: weights and moments as tensors, the rest as JSON beside them. It counts once it has its name."""
        from safetensors.torch import save_file

        tensors = {
            f"{what}|{name}": value.detach().contiguous()
            for name, parameter in _trained(self.model)
            for what, value in {"weight": parameter, **self.optimizer.state[parameter]}.items()
        }
        beside = self.checkpoint.with_suffix(".tmp")
        save_file(tensors, beside, {"about": json.dumps([self.key, self.seconds, self.losses])})
        beside.replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint of this very config, if there is one."""
        from safetensors import safe_open

        if not self.checkpoint.is_file():
            return
        with safe_open(self.checkpoint, "pt") as kept:
            key, seconds, losses = json.loads(kept.metadata()["about"])
            if key != self.key:
                return
            state = {}
            for at, (name, parameter) in enumerate(_trained(self.model)):
                parameter.data.copy_(kept.get_tensor(f"weight|{name}"))
                state[at] = {what: kept.get_tensor(f"{what}|{name}") for what in ("step", "exp_avg", "exp_avg_sq")}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.seconds, self.losses = seconds, losses


def _log(release: Release, config: Json, key: str, base: str, items: list[Example], trainer: _Trainer) -> Json:
    losses, model = trainer.losses, trainer.model
    every = max(1, len(losses) // 200)
    return {
        "key": key,
        "release": {"id": release.id, "version": release.version, "simulated": release.simulated},
        "config": config,
        "base": base,
        "conversations": dict(sorted(Counter(f"{e.task}/{e.style}" for e in items).items())),
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 2),
        "loss": [[i + 1, round(fmean(losses[i : i + every]), 5)] for i in range(0, len(losses), every)],
        "parameters": {"all": model.num_parameters(), "trained": model.num_parameters(only_trainable=True)},
        "weights": {p.name: sha256_file(p) for p in sorted((trainer.out / "model").glob("*.safetensors"))},
        "versions": {"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
    }


def _report(said: Json) -> Report:
    trained, everything = said["parameters"]["trained"], said["parameters"]["all"]
    note = f"{trained:,} of {everything:,} parameters, {said['steps']} steps in {said['seconds']:.0f} s"
    counts = {"conversations": sum(said["conversations"].values()), "steps": said["steps"]}
    return Report("finetune", counts, [f"{note}, last loss {said['loss'][-1][1]}"], said)
