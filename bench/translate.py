"""Adapters translated through anchors: seconds and memory above the imports, against scikit-learn's ridge.

    python bench/translate.py [--large]

1. One tensor, 24 anchors, 16,384 -> 16,384 numbers: RidgeCV over the same 20 strengths, in the same run.
2. 24 anchors of Qwen2.5-3B's shapes to Llama-3.2-3B's, rank 8 on q and v (1.8 M -> 2.3 M numbers), read from disk:
   every ridge variant, 20 strengths, all left-out anchors, and the adapter written. Claim: under 1 s and 400 MB. The
   methods between principal scores are timed apart; the network of pertensor_mlp is trained once a tensor.
3. --large: rank 16 on all linear layers (about 30 M -> 24 M numbers). Claim: under 12 s and 2 GB.
scikit-learn cannot do 2 and 3: its solution alone would hold 1.8 M x 2.3 M numbers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ANCHORS = 24
QWEN = {"self_attn.q_proj": (2048, 2048), "self_attn.v_proj": (256, 2048)}
LLAMA = {"self_attn.q_proj": (3072, 3072), "self_attn.v_proj": (1024, 3072)}
QWEN_ALL = {
    **QWEN,
    "self_attn.k_proj": (256, 2048),
    "self_attn.o_proj": (2048, 2048),
    "mlp.gate_proj": (11008, 2048),
    "mlp.up_proj": (11008, 2048),
    "mlp.down_proj": (2048, 11008),
}
LLAMA_ALL = {
    **LLAMA,
    "self_attn.k_proj": (1024, 3072),
    "self_attn.o_proj": (3072, 3072),
    "mlp.gate_proj": (8192, 3072),
    "mlp.up_proj": (8192, 3072),
    "mlp.down_proj": (3072, 8192),
}
RIDGES = ("mean", "global_ridge", "pertensor_ridge", "topk_global_ridge", "topk_pertensor_ridge")
OTHERS = ("zero", "random", "pertensor_pca", "pertensor_procrustes", "pertensor_mlp")
CHILD = """
import json, sys, time
from pathlib import Path
from netgain.execute.translate import read_anchors
from netgain.translate import maps
from netgain.translate.files import Adapter

def line(name):
    found = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(name))
    return int(found.split()[1]) / 1024

root, methods, others = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3].split(",")
before, start = line("VmRSS"), time.perf_counter()
anchors = read_anchors(root / "anchors")
grams = anchors.grams(Adapter(root / "star"))
weights = {name: maps.weights(name, grams) for name in methods}
solved = time.perf_counter() - start
anchors.write(root / "out", weights["pertensor_ridge"])
said = {"solved": solved, "seconds": time.perf_counter() - start, "megabytes": line("VmHWM") - before, "others": {}}
for name in others:
    start = time.perf_counter()
    maps.weights(name, grams)
    said["others"][name] = time.perf_counter() - start
print(json.dumps(said))
"""


def adapter(folder: Path, shapes: dict[str, tuple[int, int]], layers: int, rank: int, rng: np.random.Generator) -> int:
    """A random adapter on disk; how many numbers it has."""
    tensors = {}
    for layer in range(layers):
        for role, (m, d) in shapes.items():
            name = f"base_model.model.model.layers.{layer}.{role}"
            tensors[f"{name}.lora_A.weight"] = rng.standard_normal((rank, d), dtype=np.float32)
            tensors[f"{name}.lora_B.weight"] = rng.standard_normal((m, rank), dtype=np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return sum(tensor.size for tensor in tensors.values())


def disk(name: str, source: dict, target: dict, rank: int, seconds: float, megabytes: float) -> bool:
    """All ridge variants between two models' shapes, in a process of their own."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        p = adapter(root / "star", source, 36, rank, rng)
        q = 0
        for i in range(ANCHORS):
            adapter(root / "anchors" / f"a{i:02d}" / "source", source, 36, rank, rng)
            q = adapter(root / "anchors" / f"a{i:02d}" / "target", target, 28, rank, rng)
        command = [sys.executable, "-c", CHILD, folder, ",".join(RIDGES), ",".join(OTHERS)]
        said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    held = said["seconds"] < seconds and said["megabytes"] < megabytes
    print(
        f"{name}: {ANCHORS} anchors, {p:,} -> {q:,} numbers, {len(RIDGES)} methods: solved in {said['solved']:.2f} s, "
        f"with the adapter written {said['seconds']:.2f} s (limit {seconds:g}), +{said['megabytes']:.0f} MB (limit "
        f"{megabytes:g}): {'held' if held else 'NOT HELD'}"
    )
    print("  more: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in said["others"].items()))
    return held


def against_sklearn(size: int = 16_384) -> None:
    """One tensor: the same strengths, the same choice, the same prediction."""
    from sklearn.linear_model import RidgeCV

    from netgain.translate.maps import Grams, choose, ridge_path

    rng = np.random.default_rng(1)
    hidden = rng.standard_normal((ANCHORS + 1, 6)).astype(np.float32)
    x, y = (
        hidden @ rng.standard_normal((6, size), dtype=np.float32)
        + 0.3 * rng.standard_normal((ANCHORS + 1, size), dtype=np.float32)
        for _ in range(2)
    )
    start = time.perf_counter()
    inner_x, inner_y = ((side[:-1] @ side[:-1].T).astype(np.float64) for side in (x, y))
    grams = Grams(inner_x, inner_y, (x[:-1] @ x[-1]).astype(np.float64), float(x[-1] @ x[-1]))
    path = ridge_path(grams)
    lam = choose(path, grams.y)
    predicted = path.weights(lam).astype(np.float32) @ y[:-1]
    own = time.perf_counter() - start
    start = time.perf_counter()
    peer = RidgeCV(alphas=path.lams).fit(x[:-1], y[:-1])
    found = peer.predict(x[-1:])[0]
    theirs = time.perf_counter() - start
    gap = float(np.abs(found - predicted).max() / np.abs(found).max())
    print(
        f"one tensor, {size:,} -> {size:,}: {own * 1e3:.1f} ms; RidgeCV {theirs:.2f} s, {theirs / own:,.0f} times as "
        f"long; same strength: {abs(float(peer.alpha_ or 0) - lam) < 1e-9 * lam}, predictions differ by {gap:.0e}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    large = parser.parse_args().large
    against_sklearn()
    held = disk("r8 q,v", QWEN, LLAMA, 8, 1.0, 400.0)
    if large:
        held &= disk("r16 all linear", QWEN_ALL, LLAMA_ALL, 16, 12.0, 2048.0)
    return not held


if __name__ == "__main__":
    sys.exit(main())
