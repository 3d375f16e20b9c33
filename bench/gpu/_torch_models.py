"""Models of the shapes that the TypeScript parts measure, with random weights, for comparison."""

import json
import os
import sys

# Shapes of Llama 3.2 1B and 3.1 8B, as in src/models/presets.ts.
SHAPES = {
    "1b": dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
               num_key_value_heads=8, head_dim=64, tie_word_embeddings=True),
    "8b": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
               num_key_value_heads=8, head_dim=128, tie_word_embeddings=False),
}


def skip(reason):
    print(f"NOT MEASURED: {reason}", file=sys.stderr, flush=True)
    sys.exit(0)


def require(*names):
    """Imports modules, or ends the program with a line that says what is missing."""
    import importlib

    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            skip(f"{name} can't be imported: {error}")
    if not modules[0].cuda.is_available():
        skip("torch sees no GPU")
    return modules if len(modules) > 1 else modules[0]


def ceilings():
    return json.loads(os.environ.get("WEFT_BENCH_CEILINGS", "{}"))


def report(name, value, unit, share=None, of=None, **details):
    figure = dict(name=name, value=value, unit=unit)
    if share is not None and share == share:
        figure.update(share=share, of=of)
    figure["details"] = details
    print(json.dumps(figure, separators=(",", ":")), flush=True)


def load(model, attention):
    """A Llama with random bf16 weights on the GPU."""
    torch, transformers = require("torch", "transformers")
    config = transformers.LlamaConfig(
        vocab_size=128256, max_position_embeddings=131072, rms_norm_eps=1e-5, hidden_act="silu",
        bos_token_id=128000, eos_token_id=128001, attn_implementation=attention, **SHAPES[model])
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        lm = transformers.LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return lm.to(torch.bfloat16).eval()


def random_prompts(torch, count, length):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 128000, (count, length), generator=generator)
