"""Small tokenizers of the kinds that models have, with what their own libraries make of sample texts.

    pip install tokenizers sentencepiece gguf    # made with tokenizers 0.23.3, sentencepiece 0.2.3, gguf 0.19.0
    python reference.py
"""
import json
import os

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = """The rain had stopped before the ferry left, and the harbour lay flat as a sheet of tin.
She counted the lamps along the quay: one, two, three, then a gap where the fourth had been broken.
"You won't find him there," said the old man; "he's gone, and they'll tell you he never came."
Numbers such as 3.14159, 1,000,000 and 0x1F stand in texts; so do dates (2024-11-24) and 50 % signs.
def area(width, height):
    return width * height  # in square metres
\tfor (int i = 0; i < n; i++) { sum += x[i]; }
Größe und Übermut täten gut. Die Straße führt über die Brücke zum Hafen hinunter.
Le café était fermé; la fenêtre, entrouverte, laissait voir une table où traînait un résumé.
日本語のテキストです。港は静かでした。
Привет, мир! Как дела сегодня? Дождь кончился.
مرحبا بالعالم
😀 🎉 👩‍👩‍👧
It's what we'd seen; I'm sure they've told you, and don't say I can't. The rest, there, then, that.""".split("\n")
SAMPLES = ["Hello world", "  leading spaces", "trailing spaces  ", "a\n\nb\n \n c", "don't you think we'll see I'd", "Größe Übermut naïve café",
           "日本語のテキスト です", "Привет, мир!", "😀🎉👩‍👩‍👧", "12345 3.14159 1,000,000", "def f(x):\n\treturn x**2  # ok\n", "", "   ",
           "\u00a0nbsp\u2003em", "x" * 50, "İstanbul ß ſ", "e\u0301 vs \u00e9", "\r\nwindows\r\n", "<s>special</s> text", "a <mask> b<mask>",
           "The quick brown fox's tail; it's (very) \"long\"...", "\u200bzero", "مرحبا بالعالم", "Hello\u2581World", "I'LL DON'T we'RE", "100%$#@!^&*()", "deep" + " " * 60 + "indentation", "\t" * 9]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
out = {"samples": SAMPLES}


def here(name):
    return os.path.join(HERE, name)


def record(name, tokenizer):
    tokenizer.save(here(name + ".json"), pretty=False)
    encoded = [tokenizer.encode(s).ids for s in SAMPLES]
    out[name] = {"ids": encoded, "text": [tokenizer.decode(ids) for ids in encoded]}


def byte_level(name, pattern=None, normalizer=None, begin=None, **options):
    t = Tokenizer(models.BPE(**options))
    if pattern is None:
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if normalizer:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=480, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                      special_tokens=["<s>", "</s>"]))
    t.add_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    if begin:
        t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    else:
        t.post_processor = processors.ByteLevel(trim_offsets=False)
    record(name, t)


byte_level("gpt2")
byte_level("llama3", LLAMA3, begin=True, ignore_merges=True)
byte_level("qwen2", QWEN2, normalizers.NFC())

# SentencePiece, as LLaMA 2 uses it, and the same model as a tokenizer.json in its older and its newer form. The model keeps
# the paths it was given, so they are names in this directory
os.chdir(HERE)
with open(here("corpus.txt"), "w") as f:
    f.write("\n".join(CORPUS))
sentencepiece.SentencePieceTrainer.train(input="corpus.txt", model_prefix="llama2", model_type="bpe", vocab_size=520, byte_fallback=True,
                                         normalization_rule_name="identity", add_dummy_prefix=True, remove_extra_whitespaces=False,
                                         split_digits=True, character_coverage=0.98, hard_vocab_limit=False, allow_whitespace_only_pieces=True, minloglevel=2)
os.remove(here("corpus.txt"))
os.remove(here("llama2.vocab"))
sp = sentencepiece.SentencePieceProcessor(model_file=here("llama2.model"))
out["llama2.model"] = {"ids": [[1] + sp.encode(s) for s in SAMPLES], "plain": [sp.encode(s) for s in SAMPLES],
                       "text": [sp.decode(sp.encode(s)) for s in SAMPLES]}
vocab = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
# a merge per way to split a piece in two, the best pieces first: what transformers' converter makes of scores
merges = sorted(((sp.get_score(i), piece[:k], piece[k:]) for piece, i in vocab.items() for k in range(1, len(piece))
                 if piece[:k] in vocab and piece[k:] in vocab and not sp.is_byte(i) and not sp.is_control(i)),
                key=lambda m: (-m[0], vocab[m[1]], vocab[m[2]]))
for name in ("llama2", "metaspace"):
    t = Tokenizer(models.BPE(vocab=vocab, merges=[m[1:] for m in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if name == "llama2":
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([AddedToken(s, normalized=False) for s in ("<unk>", "<s>", "</s>")])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    record(name, t)

# the vocabularies inside GGUF files
with open(here("llama3.json")) as f:
    model = json.load(f)["model"]
for name in ("llama", "gpt2"):
    w = gguf.GGUFWriter(here("vocab-%s.gguf" % name), "llama")
    w.add_tokenizer_model(name)
    w.add_bos_token_id(1 if name == "llama" else 0)
    if name == "llama":
        pieces = range(sp.get_piece_size())
        w.add_token_list([sp.id_to_piece(i) for i in pieces])
        w.add_token_scores([sp.get_score(i) for i in pieces])
        w.add_token_types([2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in pieces])
    else:
        w.add_tokenizer_pre("llama-bpe")
        w.add_add_bos_token(True)
        w.add_token_list(sorted(model["vocab"], key=model["vocab"].get) + ["<mask>"])
        w.add_token_types([3, 3] + [1] * (len(model["vocab"]) - 2) + [4])
        w.add_token_merges([" ".join(m) for m in model["merges"]])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

with open(here("reference.json"), "w") as f:
    json.dump(out, f)
