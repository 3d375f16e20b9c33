"""Decode and prefill by transformers' generate, static cache, compiled:
python3 bench/gpu/transformers_decode.py 8b"""

import sys
import time

from _torch_models import load, random_prompts, report, require

torch, transformers = require("torch", "transformers")

PROMPT_TOKENS = 512
DECODE_TOKENS = 128


def generate(lm, prompts, tokens):
    torch.cuda.synchronize()
    start = time.perf_counter()
    lm.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=tokens,
                min_new_tokens=tokens, do_sample=False, cache_implementation="static",
                pad_token_id=0)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    model = sys.argv[1] if len(sys.argv) > 1 else "1b"
    torch.set_float32_matmul_precision("high")
    lm = load(model, "sdpa")
    lm.forward = torch.compile(lm.forward, mode="reduce-overhead", fullgraph=True)
    with torch.inference_mode():
        for length in (2048, 8192):
            prompts = random_prompts(torch, 1, length).cuda()
            for _ in range(2):
                lm.model(prompts, use_cache=False)
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(3):
                lm.model(prompts, use_cache=False)
            torch.cuda.synchronize()
            seconds = (time.perf_counter() - start) / 3
            report(f"transformers prefill {model}, {length} tokens", length / seconds, "token/s",
                   how="eager forward, sdpa, no cache, no head")
        for batch in (1, 8, 64):
            prompts = random_prompts(torch, batch, PROMPT_TOKENS).cuda()
            # The cache is as long as the longest call asks for: it stays the same for all.
            for _ in range(2):
                generate(lm, prompts, DECODE_TOKENS)
            whole = min(generate(lm, prompts, DECODE_TOKENS) for _ in range(2))
            half = min(generate(lm, prompts, DECODE_TOKENS // 2) for _ in range(2))
            rate = batch * (DECODE_TOKENS - DECODE_TOKENS // 2) / (whole - half)
            report(f"transformers decode {model}, batch {batch}", rate, "token/s",
                   version=transformers.__version__, torch=torch.__version__)


main()
