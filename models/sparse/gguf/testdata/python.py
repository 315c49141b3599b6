"""Files exchanged with the Python package gguf (pip install gguf numpy; written with 0.19.0).

    python.py write python.gguf    # the file that the Go tests read
    python.py read FILE            # prints keys and tensors of a file that the Go package wrote, for comparison
"""
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


def read(path):
    r = gguf.GGUFReader(path)
    for name, field in sorted(r.fields.items()):
        if not name.startswith("GGUF."):
            print(name, field.contents())
    for t in r.tensors:
        values = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64)
        print(t.name, t.tensor_type.name.lower(), list(reversed([int(d) for d in t.shape])), "%.9g" % values.sum(), "%.9g" % np.abs(values).sum())


{"write": write, "read": read}[sys.argv[1]](sys.argv[2])
