const VARIABLE = "WEFT_CUDART_PATH";

/** Until it is disposed, this process and those that it starts find no CUDA runtime. */
export function withoutCudart(): Disposable {
  const before = Deno.env.get(VARIABLE);
  Deno.env.set(VARIABLE, "/nonexistent/libcudart.so.13");
  return {
    [Symbol.dispose]() {
      if (before === undefined) Deno.env.delete(VARIABLE);
      else Deno.env.set(VARIABLE, before);
    },
  };
}
