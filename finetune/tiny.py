"""A random-weight model of the true Qwen2.5-VL architecture, small enough to learn on two CPU cores.

It has the real thing's parts (vision tower, patch merger, multimodal rotary positions, chat template, processor), so
what trains it trains the real thing. Its tokenizer is a byte-level BPE of the texts it will see. Merges cross words but
no clause or line: prompts that recur become a few tokens, and two cores spend their time on seeing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from finetune.vlm import ensure_torchvision, torch

VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *VISION)
PATCH = 14  # pixels
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build(
    out: Path,
    texts: Iterable[str],
    seed: int,
    *,
    hidden: int = 128,
    layers: int = 4,
    vision_hidden: int = 64,
    vision_layers: int = 2,
    vocabulary: int = 1024,
) -> Path:
    """Write model, tokenizer and processor to `out` (safetensors, loads offline). Hidden sizes are multiples of 32."""
    ensure_torchvision()
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = _tokenizer(texts, vocabulary)
    special = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // 32,
            "num_key_value_heads": max(1, hidden // 64),
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": special["<|endoftext|>"],
            "eos_token_id": special["<|im_end|>"],
            "pad_token_id": special["<|endoftext|>"],
            "tie_word_embeddings": True,
            "initializer_range": hidden**-0.5,  # the large models' 0.02 leaves small ones with next to no signal
        },
        vision_config={
            "depth": vision_layers,
            "hidden_size": vision_hidden,
            "intermediate_size": 2 * vision_hidden,
            "num_heads": vision_hidden // 32,
            "out_hidden_size": hidden,
            "patch_size": PATCH,
            "window_size": 8 * PATCH,
            "fullatt_block_indexes": [vision_layers - 1],
            "tokens_per_second": 2,
            "initializer_range": vision_hidden**-0.5,
        },
        image_token_id=special["<|image_pad|>"],
        video_token_id=special["<|video_pad|>"],
        vision_start_token_id=special["<|vision_start|>"],
        vision_end_token_id=special["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.save_pretrained(out, safe_serialization=True)
    _processor(tokenizer).save_pretrained(out)
    return out


def _tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    clauses = pre_tokenizers.Split(Regex(r"\n+|[.,;:?] "), "merged_with_previous")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([clauses, letters])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    roles = ["system\n", "user\n", "assistant\n"]
    bpe.train_from_iterator(sorted([*texts, *roles * 100]), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(VISION),
        clean_up_tokenization_spaces=False,
    )


def _processor(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    unit = 2 * PATCH
    size = {"shortest_edge": 4 * unit * unit, "longest_edge": 256 * unit * unit}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=PATCH, merge_size=2, size=size),
        video_processor=Qwen2VLVideoProcessor(patch_size=PATCH, merge_size=2, size=size, cap_pixels_per_frame=False),
        tokenizer=tokenizer,
        chat_template=TEMPLATE,
    )
