"""Small random checkpoints with the logits that Hugging Face transformers computes for them.

    pip install torch transformers numpy safetensors    # made with torch 2.15.0 and transformers 5.24.0, on a CPU
    python reference.py

Each directory gets config.json, weights, and logits.npy [T, vocab] for the tokens below, in float32 arithmetic. The bf16
checkpoint also has logits_bf16.npy, computed in bfloat16. transformers has no MiniCPM: its scalings and FATReLU are added
to LLaMA's classes here (arXiv 2404.06395, section 4; arXiv 2402.13516, section 3).
"""
import json
import math
import os
import shutil

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS = [1, 17, 90, 3, 44, 44, 0, 95, 12, 71, 8, 33, 60, 2, 5, 29, 81, 81, 19, 50, 7, 66, 94, 1, 38, 13]


class FATReLU(nn.Module):
    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def forward(self, x):
        return torch.where(torch.ge(x, self.threshold), x, torch.zeros_like(x))


class ScaledLayer(LlamaDecoderLayer):
    """A LLaMA layer whose branches are scaled before they are added."""

    branch = 1.0

    def forward(self, hidden_states, **kwargs):
        h, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + h * self.branch
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states)) * self.branch


def randomise(model, deviation=0.35):
    """Weights large enough that every part of the model matters."""
    for name, p in model.named_parameters():
        with torch.no_grad():
            if p.ndim == 1:
                p.copy_((1 if name.endswith("norm.weight") else 0) + 0.2 * torch.randn_like(p))
            else:
                p.copy_(deviation * torch.randn_like(p))


def save(name, model, config, **save_options):
    path = os.path.join(HERE, name)
    shutil.rmtree(path, ignore_errors=True)
    model.eval()
    model.save_pretrained(path, **save_options)
    for extra in os.listdir(path):
        if extra.startswith("generation_config"):
            os.remove(os.path.join(path, extra))
    with open(os.path.join(path, "config.json")) as f:
        written = json.load(f)
    written.update(config)
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(written, f, indent=1)
    return path


def logits(model, path, name="logits.npy"):
    with torch.no_grad():
        out = model(torch.tensor([TOKENS])).logits[0]
    np.save(os.path.join(path, name), out.float().numpy())


def llama(**options):
    return LlamaConfig(**{**dict(vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                                 num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, attn_implementation="eager",
                                 tie_word_embeddings=False), **options})


torch.manual_seed(20)

# LLaMA with ReLU (as ReluLLaMA), in two shards
model = LlamaForCausalLM(llama(hidden_act="relu"))
randomise(model)
logits(model, save("llama", model, {}, max_shard_size="60KB"))

# LLaMA 3's scaled rotary positions, heads that are not hidden / heads wide, biases everywhere, SiLU, tied embeddings
model = LlamaForCausalLM(llama(hidden_act="silu", head_dim=16, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rope_theta=5e5,
                               rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                 original_max_position_embeddings=16)))
randomise(model)
logits(model, save("llama3", model, {}))

# MiniCPM-S: FATReLU and the scalings. Small keys, so that its output is not dominated by one token
config = llama(num_hidden_layers=3, tie_word_embeddings=True)
extra = dict(model_type="minicpm", architectures=["MiniCPMForCausalLM"], hidden_act="fatrelu", hidden_act_param=0.03, scale_emb=12, dim_model_base=16,
             scale_depth=1.4)
model = LlamaForCausalLM(config)
randomise(model, 0.2)
path = save("minicpm", model, extra)
for i, old in enumerate(model.model.layers):
    layer = ScaledLayer(config, i)
    layer.load_state_dict(old.state_dict())
    layer.branch = extra["scale_depth"] / math.sqrt(config.num_hidden_layers)
    layer.mlp.act_fn = FATReLU(extra["hidden_act_param"])
    model.model.layers[i] = layer
model.eval()
with torch.no_grad():
    embedded = model.model.embed_tokens(torch.tensor([TOKENS])) * extra["scale_emb"]
    hidden = model.model(inputs_embeds=embedded).last_hidden_state
    out = model.lm_head(hidden / (config.hidden_size / extra["dim_model_base"]))[0]
np.save(os.path.join(path, "logits.npy"), out.numpy())

# OPT
model = OPTForCausalLM(OPTConfig(vocab_size=96, hidden_size=32, word_embed_proj_dim=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
                                 max_position_embeddings=48, activation_function="relu", attn_implementation="eager"))
randomise(model)
logits(model, save("opt", model, {}))

# LLaMA in bfloat16
model = LlamaForCausalLM(llama(hidden_act="relu")).to(torch.bfloat16)
randomise(model)
path = save("bf16", model, {})
# loaded anew: casting a model casts the frequencies of its rotary positions as well
logits(LlamaForCausalLM.from_pretrained(path, dtype=torch.bfloat16, attn_implementation="eager"), path, "logits_bf16.npy")
logits(LlamaForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager"), path)

# a model with a tokenizer, for what needs text
with open(os.path.join(HERE, "..", "tokenizer", "testdata", "llama3.json")) as f:
    tokenizer = f.read()
model = LlamaForCausalLM(llama(hidden_act="relu", hidden_size=32, num_hidden_layers=2, vocab_size=481, tie_word_embeddings=True, bos_token_id=0,
                               eos_token_id=1, max_position_embeddings=128)).to(torch.bfloat16)
randomise(model)
path = save("text", model, {})
logits(LlamaForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager"), path)
with open(os.path.join(path, "tokenizer.json"), "w") as f:
    f.write(tokenizer)

with open(os.path.join(HERE, "tokens.json"), "w") as f:
    json.dump(TOKENS, f)
