"""Vision-language models through transformers: loading, positions, encoding, collating, scoring.

Training and scoring share this module, so that a model is asked exactly what it was taught. Nothing is specific to one
family but `rope_index`, which mends Qwen2-VL and Qwen2.5-VL (Cosmos-Reason1 is one).

On CPU, two spinning threads under load are forty times slower than sleeping ones: set ``OMP_WAIT_POLICY=PASSIVE``
before Python starts.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import DataError, missing_extra
from curation.types import Json

try:
    import torch as torch
except ModuleNotFoundError as e:  # the only place that decides what a missing extra says
    raise missing_extra("train", "fine-tuning and scoring") from e

Frames = NDArray[np.uint8]  # (time, height, width, 3), RGB
Tensors = dict[str, Any]  # name -> torch.Tensor

VIDEO = "<video>"
SEQUENCE = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")  # one entry per token
_declared: list[Any] = []  # handles of the ops declared; the ops vanish with them


def ensure_torchvision() -> None:
    """Make `import torchvision` work beside a CPU-only torch.

    Wheels built for CUDA fail there on missing op schemas ("operator torchvision::nms does not exist"). Declaring them
    is enough: video processors use its pure-Python transforms only. Where torchvision is whole, nothing happens.
    """
    if importlib.util.find_spec("torchvision") is None:
        raise missing_extra("train", "reading video")
    while "torchvision" not in sys.modules:
        try:
            importlib.import_module("torchvision")
        except RuntimeError as e:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(e))
            if missing is None or len(_declared) > 20:
                raise
            for name in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{missing[1]}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _declared.append(library)


# --- loading ---


def load(
    model: str | Path, revision: str | None = None, *, device: str = "auto", dtype: str = "auto"
) -> tuple[Any, Any]:
    """A model and its processor from a folder, an adapter's folder or a hub id; positions mended, in evaluation mode.

    `device` "auto" takes an accelerator where there is one; `dtype` "auto" is bfloat16 there and float32 on CPU.
    Weights are safetensors only. Raises DataError when the model cannot be had.
    """
    ensure_torchvision()
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()  # ours tells what matters

    accelerator = torch.accelerator.current_accelerator(check_available=True) if device == "auto" else device
    where = torch.device(accelerator or "cpu")
    usual = "float32" if where.type == "cpu" else "bfloat16"
    weights = {"dtype": getattr(torch, usual if dtype == "auto" else dtype), "use_safetensors": True}
    adapter = Path(model) / "adapter_config.json"
    base: str | Path = model
    if adapter.is_file():
        said = json.loads(adapter.read_text(encoding="utf-8"))
        base, revision = said["base_model_name_or_path"], said.get("revision")
    try:
        processor = AutoProcessor.from_pretrained(str(model), revision=None if adapter.is_file() else revision)
        net = AutoModelForImageTextToText.from_pretrained(str(base), revision=revision, **weights)
    except (OSError, ValueError) as e:
        raise DataError(f"model {base}: cannot be loaded ({str(e).splitlines()[0]}); give a folder or a hub id") from e
    if adapter.is_file():
        from peft import PeftModel

        net = PeftModel.from_pretrained(net, str(model), use_safetensors=True)
    return attend_at_once(mend_positions(net.to(where))).eval(), processor


# --- positions ---


def mend_positions(model: Any) -> Any:
    """Give Qwen2-VL and Qwen2.5-VL the positions that Qwen's own code, vLLM and NVIDIA's trainers compute.

    transformers 5.3 to 5.23 starts the text after a video at ``+max(h, w) / merge`` and ignores time, so text and video
    overlap; up to 5.17 it also rounds the seconds per grid step to an integer, which collapses time above 2 frames per
    second. A model trained on those positions is another model once it is served.
    """
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    core = getattr(core, "model", core)
    if core.config.model_type in ("qwen2_vl", "qwen2_5_vl"):
        core.get_rope_index = functools.partial(rope_index, core.config.vision_config)
    return model


def rope_index(
    vision: Any,
    input_ids: Any,
    mm_token_type_ids: Any,
    video_grid_thw: Any = None,
    second_per_grid_ts: Any = None,
    attention_mask: Any = None,
    **_: Any,
) -> tuple[Any, Any]:
    """Multimodal rotary positions (3, batch, length) and, per row, last position + 1 - length (batch, 1).

    Text counts up by one on all three axes. A video's grid of t x h x w merged patches spans time (in steps of
    ``tokens_per_second * seconds per grid step``, truncated), rows and columns; what follows starts after the largest
    position used so far. After Qwen2.5-VL (arXiv 2502.13923, 2.1.2) and its reference implementation.
    """
    grids = iter(video_grid_thw.tolist() if video_grid_thw is not None else ())
    seconds = iter(torch.as_tensor(second_per_grid_ts).tolist() if second_per_grid_ts is not None else ())
    per_second = getattr(vision, "tokens_per_second", None)
    kept = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    positions = torch.zeros(3, *input_ids.shape, dtype=torch.long, device=input_ids.device)
    deltas = []
    for row in range(input_ids.shape[0]):
        kinds = mm_token_type_ids[row][kept[row]].tolist()
        parts, start = [], 0
        for kind, run in groupby(kinds):
            if kind == 0:
                block = torch.arange(len(list(run))).expand(3, -1)
            else:
                t, h, w = next(grids)
                step = per_second * next(seconds, 1.0) if per_second else 1.0
                sides = (torch.arange(n // vision.spatial_merge_size) for n in (h, w))
                block = torch.stack(torch.meshgrid((torch.arange(t) * step).long(), *sides, indexing="ij")).flatten(1)
            parts.append(block + start)
            start += int(block.max()) + 1
        positions[:, row, kept[row]] = torch.cat(parts, 1).to(positions.device)
        deltas.append([start - len(kinds)])
    return positions, torch.tensor(deltas, device=input_ids.device)


# --- speed ---


def attend_at_once(model: Any) -> Any:
    """Let Qwen2.5-VL's vision tower attend within all frames (or windows) of equal size in one call.

    Without flash attention transformers calls attention once per frame and window: hundreds of calls a layer, most of a
    small model's time. And its patches, which do not overlap, are embedded by a convolution: on CPU four times slower
    than the matrix product that it is. The results are the same.
    """
    for module in model.modules():
        if type(module).__name__ == "Qwen2_5_VLVisionAttention":
            module.forward = functools.partial(_attend, module)
        if type(module).__name__ == "Qwen2_5_VisionPatchEmbed":
            module.forward = functools.partial(_embed, module)
    return model


def _embed(module: Any, hidden_states: Any) -> Any:
    weight = module.proj.weight.flatten(1)
    return torch.nn.functional.linear(hidden_states.to(weight.dtype), weight)


def _attend(module: Any, hidden_states: Any, cu_seqlens: Any, position_embeddings: Any = None, **rest: Any) -> Any:
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

    lengths = cu_seqlens.diff()
    if module.config._attn_implementation != "sdpa" or bool((lengths != lengths[0]).any()):
        rest |= {"cu_seqlens": cu_seqlens, "position_embeddings": position_embeddings}
        return type(module).forward(module, hidden_states, **rest)
    q, k, v = module.qkv(hidden_states).unflatten(-1, (3, module.num_heads, -1)).unbind(1)
    q, k = apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    q, k, v = (x.unflatten(0, (len(lengths), -1)).transpose(1, 2) for x in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=module.scaling)
    return module.proj(out.transpose(1, 2).flatten(2).flatten(0, 1))


# --- encoding ---


def chat(messages: Sequence[Json], *, video: bool = True) -> list[Json]:
    """Text messages as a chat template wants them; the marker ``<video>`` becomes the clip, or nothing when blind."""
    out = []
    for message in messages:
        before, marker, after = message["content"].partition(VIDEO)
        parts = [{"type": "text", "text": before}] if before.strip() else []
        parts += [{"type": "video"}] if marker and video else []
        parts += [{"type": "text", "text": after.lstrip("\n")}] if after.strip() else []
        out.append({"role": message["role"], "content": parts})
    return out


def encode(processor: Any, messages: Sequence[Json], frames: Frames | None = None, fps: float = 1.0) -> Tensors:
    """Inputs of one prompt, batch of one, with `frames` at `fps` a second; without frames it is blind."""
    from transformers.video_utils import VideoMetadata

    turns = chat(messages, video=frames is not None)
    text = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    options: dict[str, Any] = {"text": [text], "return_tensors": "pt"}
    if frames is not None:
        n, height, width, _ = frames.shape
        about = {"total_num_frames": n, "fps": fps, "frames_indices": list(range(n)), "duration": n / fps}
        options["videos"] = [torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)]
        options |= {"do_sample_frames": False, "video_metadata": [VideoMetadata(**about, width=width, height=height)]}
    tensors = {k: torch.as_tensor(v) for k, v in processor(**options).items() if k != "video_metadata"}
    if "mm_token_type_ids" not in tensors and hasattr(processor, "video_token_id"):  # Qwen2.5-VL silently errs without
        tensors["mm_token_type_ids"] = 2 * (tensors["input_ids"] == processor.video_token_id).long()
    return tensors


def complete(tokenizer: Any, prompt: Tensors, text: str) -> Tensors:
    """`prompt` followed by a completion and its end token, with `labels` on the completion only."""
    tail = torch.tensor([[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]])
    out = dict(prompt)
    for name in SEQUENCE:
        if name in prompt:
            more = tail if name == "input_ids" else torch.full_like(tail, int(name == "attention_mask"))
            out[name] = torch.cat([prompt[name], more], 1)
    out["labels"] = torch.cat([torch.full_like(prompt["input_ids"], -100), tail], 1)
    return out


def collate(rows: Sequence[Tensors], pad_id: int, device: Any = "cpu") -> Tensors:
    """One batch on `device`: token tensors padded at their end, media tensors joined along their first axis."""
    fill = {"input_ids": pad_id, "labels": -100}
    out: Tensors = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in SEQUENCE or name == "labels":
            longest = max(v.shape[1] for v in values)
            pad = torch.nn.functional.pad
            values = [pad(v, (0, longest - v.shape[1]), value=fill.get(name, 0)) for v in values]
        out[name] = torch.cat(values).to(device)
    return out


def completion_loss(model: Any, batch: Tensors) -> tuple[Any, Any]:
    """Summed negative log-likelihood of each row's completion (batch,), and how many tokens it has (batch,)."""
    labels = batch["labels"]
    first = int((labels != -100).int().argmax(1).min())
    tail = labels[:, first:]
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    keep = labels.shape[1] - first + 1  # only these positions are projected to the vocabulary
    logits = model(**inputs, use_cache=False, logits_to_keep=keep).logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(logits.mT, tail, reduction="none", ignore_index=-100)
    return losses.sum(1), (tail != -100).sum(1)
