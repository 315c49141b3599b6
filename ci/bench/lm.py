"""Tokens per second of `credence lm bench` and of llama.cpp, on the same GGUF files, in turn.

The model has TinyLlama's sizes (22 layers, 2048, 5632, 32 heads, 4 of keys and values, vocabulary 32,000) and random weights,
as f16 and as q8_0. llama.cpp computes SiLU, so the comparison is with SiLU: every neuron active. The same weights with FATReLU,
whose threshold leaves 89 % of the neurons at zero, show what skipping gives; --dense reads all of them.

    python3 ci/bench/lm.py [--rounds 3] [--tokens 24] [--threads 1,2]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.path.join(ROOT, "build", "bench-lm")
CREDENCE = os.path.join(ROOT, "build", "credence")
SIZES = dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4, vocab_size=32000,
             max_position_embeddings=2048, rms_norm_eps=1e-5, tie_word_embeddings=False)
DEVIATION = 0.02
# 89 % of a normal distribution lie below 1.2265 deviations, and a row of normalised inputs has length sqrt(2048)
THRESHOLD = 1.2265 * DEVIATION * 2048 ** 0.5


def checkpoint():
    """Writes the model once, in shards of one layer."""
    path = os.path.join(WORK, "model")
    if os.path.exists(os.path.join(path, "model.safetensors.index.json")):
        return path
    import torch
    from safetensors.torch import save_file

    os.makedirs(path, exist_ok=True)
    torch.manual_seed(1)
    d, f, kv = SIZES["hidden_size"], SIZES["intermediate_size"], SIZES["hidden_size"] // 32 * 4
    weights = {}

    def save(name, tensors):
        file = name + ".safetensors"
        save_file({k: (torch.ones(s) if len(s) == 1 else DEVIATION * torch.randn(s)).to(torch.float16) for k, s in tensors.items()},
                  os.path.join(path, file))
        weights.update({k: file for k in tensors})

    save("ends", {"model.embed_tokens.weight": (32000, d), "lm_head.weight": (32000, d), "model.norm.weight": (d,)})
    for n in range(SIZES["num_hidden_layers"]):
        layer = "model.layers.%d." % n
        save("layer%d" % n, {layer + k: s for k, s in {
            "input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,), "self_attn.q_proj.weight": (d, d),
            "self_attn.k_proj.weight": (kv, d), "self_attn.v_proj.weight": (kv, d), "self_attn.o_proj.weight": (d, d),
            "mlp.gate_proj.weight": (f, d), "mlp.up_proj.weight": (f, d), "mlp.down_proj.weight": (d, f)}.items()})
    with open(os.path.join(path, "config.json"), "w") as out:
        json.dump(dict(SIZES, model_type="llama", hidden_act="silu"), out)
    with open(os.path.join(path, "model.safetensors.index.json"), "w") as out:
        json.dump({"weight_map": weights}, out)
    return path


def convert(dtype, activation):
    path = os.path.join(WORK, "%s-%s.gguf" % (dtype, activation.split(":")[0]))
    if not os.path.exists(path):
        subprocess.run([CREDENCE, "lm", "convert", "--model", checkpoint(), "--activation", activation, "--dtype", dtype, "--out", path],
                       check=True, stdout=subprocess.DEVNULL)
    return path


def ours(path, threads, tokens, *options):
    out = subprocess.run([CREDENCE, "lm", "bench", "--model", path, "--device", "cpu", "--threads", str(threads), "--prompt-tokens", "16", "--tokens",
                          str(tokens), "--json", *options], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def peer(path, threads, tokens):
    """llama.cpp in a process of its own: rate of decoding after a prompt of 16."""
    out = subprocess.run([sys.executable, __file__, "--peer", path, "--threads", str(threads), "--tokens", str(tokens)], capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError("llama.cpp: " + (out.stderr.strip().splitlines() or ["no reason given"])[-1])
    return float(out.stdout.strip().splitlines()[-1])


def run_peer(path, threads, tokens):
    import ctypes

    import llama_cpp as c
    import numpy as np

    c.llama_backend_init()
    options = c.llama_model_default_params()
    if "amx_tile" in open("/proc/cpuinfo").read():
        # its AMX kernels end in a fault at ldtilecfg on virtual machines that show AMX and do not grant it; this turns off
        # its repacked layouts with them
        options.use_extra_bufts = False
        print("without AMX and repacking", file=sys.stderr)
    model = c.llama_model_load_from_file(path.encode(), options)
    options = c.llama_context_default_params()
    options.n_ctx, options.n_threads, options.n_threads_batch = 256, threads, threads
    context = c.llama_init_from_model(model, options)
    random = np.random.default_rng(1)

    def feed(ids):
        array = (c.llama_token * len(ids))(*ids)
        if c.llama_decode(context, c.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama_decode failed")
        logits = np.ctypeslib.as_array(ctypes.cast(c.llama_get_logits_ith(context, -1), ctypes.POINTER(ctypes.c_float)), (32000,))
        return int(logits.argmax())

    token = feed([int(t) for t in random.integers(0, 32000, 16)])
    begin = time.time()
    for _ in range(tokens - 1):
        token = feed([token])
    print((tokens - 1) / (time.time() - begin))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--tokens", type=int, default=24)
    p.add_argument("--threads", default="1,2")
    p.add_argument("--types", default="f16,q8_0")
    p.add_argument("--peer")
    p.add_argument("--prepare", action="store_true", help="write the files and stop")
    o = p.parse_args()
    if o.peer:
        return run_peer(o.peer, int(o.threads), o.tokens)
    types = o.types.split(",")
    files = {t: (convert(t, "silu"), convert(t, "fatrelu:%.4f" % THRESHOLD)) for t in types}
    if o.prepare:
        return None
    try:
        import llama_cpp
        print("llama-cpp-python", llama_cpp.__version__)
        sides = ["llama.cpp"]
    except ImportError as e:
        print("llama.cpp cannot be had:", e)
        sides = []
    print("%-5s %-7s %9s %9s %7s %9s %9s %7s %8s %7s" % ("type", "threads", "llama.cpp", "dense", "ratio", "fatrelu", "skipping", "gain", "inactive", "bound"))
    for t in types:
        silu, fatrelu = files[t]
        for threads in map(int, o.threads.split(",")):
            rates = {"llama.cpp": [], "dense": [], "all": [], "skip": []}
            for _ in range(o.rounds):
                for side in sides:
                    rates[side].append(peer(silu, threads, o.tokens))
                rates["dense"].append(ours(silu, threads, o.tokens)["generation"])
                rates["all"].append(ours(fatrelu, threads, o.tokens, "--dense")["generation"])
                skip = ours(fatrelu, threads, o.tokens)
                rates["skip"].append(skip["generation"])
            ratio = "-"
            if sides:
                ratio = "%.2f" % statistics.median(a / b for a, b in zip(rates["dense"], rates["llama.cpp"]))
            gain = statistics.median(a / b for a, b in zip(rates["skip"], rates["all"]))
            median = {k: statistics.median(v) if v else float("nan") for k, v in rates.items()}
            print("%-5s %-7d %9.2f %9.2f %7s %9.2f %9.2f %7.2f %8.3f %7.2f" % (t, threads, median["llama.cpp"], median["dense"], ratio, median["all"],
                                                                            median["skip"], gain, skip["inactive"], skip["bound"]), flush=True)


main()
