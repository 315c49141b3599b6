"""Files exchanged with the Python package gguf (pip install gguf numpy; written with 0.19.0).

    python.py write python.gguf       # the file that the Go tests read
    python.py copy FILE COPY          # reads a file that the Go package wrote, and writes it again
    python.py compare DIR FILE ERROR  # reads what `credence lm convert` made of a checkpoint, and compares every tensor
                                      # (pip install torch safetensors): at most ERROR of a row's largest magnitude
"""
import glob
import sys

import numpy as np
import gguf


def write(path):
    w = gguf.GGUFWriter(path, "llama")
    w.add_uint32("test.count", 7)
    w.add_float32("test.epsilon", 1e-5)
    w.add_bool("test.flag", True)
    w.add_string("test.text", "Größe")
    w.add_array("test.tokens", ["a", "▁b", ""])
    w.add_array("test.scores", [0.5, -1.0])
    w.add_array("test.ids", [3, -1])
    w.add_uint64("test.big", 1 << 40)
    x = (np.arange(2 * 64, dtype=np.float32).reshape(2, 64) - 40) / 16
    w.add_tensor("plain", x)
    w.add_tensor("half", x.astype(np.float16))
    for kind in (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
        w.add_tensor(kind.name, gguf.quants.quantize(x, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def copy(path, to):
    r = gguf.GGUFReader(path)
    w = gguf.GGUFWriter(to, r.get_field("general.architecture").contents())
    for name, field in r.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            w.add_key_value(name, field.contents(), kind, sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for t in r.tensors:
        w.add_tensor(t.name, np.array(t.data), raw_dtype=t.tensor_type)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_norm": "input_layernorm",
         "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
         "ffn_down_t": "mlp.down_proj"}


def compare(checkpoint, path, error):
    from safetensors.torch import load_file

    weights = {}
    for shard in glob.glob(checkpoint + "/*.safetensors"):
        weights.update(load_file(shard))
    r = gguf.GGUFReader(path)
    head = r.get_field("llama.attention.key_length").contents()
    worst = 0
    for t in r.tensors:
        got = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64)
        parts = t.name.split(".")
        name = NAMES[parts[-2]] + "." + parts[-1]
        if parts[0] == "blk":
            name = "model.layers.%s.%s" % (parts[1], name)
        want = weights.pop(name).double().numpy()
        if parts[-2] == "ffn_down_t":
            want = want.T
        if parts[-2] in ("attn_q", "attn_k"):  # rows of a head: halves become pairs
            want = want.reshape(-1, 2, head // 2, want.shape[1]).swapaxes(1, 2).reshape(want.shape)
        assert got.shape == want.shape, (t.name, got.shape, want.shape)
        scale = np.abs(want).max(axis=-1, keepdims=True)
        worst = max(worst, (np.abs(got - want) / scale).max())
    assert not weights, "missing: %s" % list(weights)
    print("%d tensors, activation %s, largest error %.2g of a row's largest magnitude" %
          (len(r.tensors), r.get_field("llama.feed_forward.activation").contents(), worst))
    assert worst <= float(error)


{"write": write, "copy": copy, "compare": compare}[sys.argv[1]](*sys.argv[2:])
