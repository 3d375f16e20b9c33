"""Clients that all ask at once, through transformers' continuous batching:
python3 bench/gpu/transformers_serving.py 8b 64"""

import sys
import time

from _torch_models import load, random_prompts, report, require, skip

torch, transformers = require("torch", "transformers")

PROMPT_TOKENS = 1024
OUTPUT_TOKENS = 256


def main():
    model = sys.argv[1] if len(sys.argv) > 1 else "8b"
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    try:
        import flash_attn  # noqa: F401
        attention = "paged|flash_attention_2"
    except ImportError:
        attention = "paged|sdpa"
    lm = load(model, attention)
    if not hasattr(lm, "generate_batch"):
        skip(f"transformers {transformers.__version__} has no continuous batching")
    settings = transformers.GenerationConfig(max_new_tokens=OUTPUT_TOKENS, do_sample=False,
                                             eos_token_id=-1, pad_token_id=0)
    prompts = random_prompts(torch, clients, PROMPT_TOKENS).tolist()
    with torch.inference_mode():
        warm_up = transformers.GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=-1,
                                                pad_token_id=0)
        lm.generate_batch(inputs=prompts[:4], generation_config=warm_up, progress_bar=False)
        torch.cuda.synchronize()
        start = time.perf_counter()
        outputs = lm.generate_batch(inputs=prompts, generation_config=settings,
                                    progress_bar=False)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    tokens = sum(len(output.generated_tokens) for output in outputs.values())
    if tokens != clients * OUTPUT_TOKENS:
        print(f"{tokens} tokens came instead of {clients * OUTPUT_TOKENS}", file=sys.stderr)
    report(f"transformers serving {model}, {clients} clients", tokens / seconds, "token/s",
           attention=attention, seconds=round(seconds, 2), version=transformers.__version__,
           torch=torch.__version__)


main()
