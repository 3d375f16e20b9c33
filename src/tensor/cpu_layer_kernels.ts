/**
 * The layer kernels of the CPU device: checks, then the call.
 * @module
 */
import type { CpuContext } from "./cpu_context.ts";
import { descriptorOf } from "./cpu_linear_weight.ts";
import type { LinearOptions, LinearWeight } from "./device.ts";
import { checkCount, checkMatrix, checkVector } from "./kernel_arguments.ts";
import type { Tensor } from "./tensor.ts";

/** Embedding, norms, products, rotary embedding and element-wise kernels; documented in `Device`. */
export class CpuLayerKernels {
  readonly #context: CpuContext;

  /** Kernels that run on the context's pool. */
  constructor(context: CpuContext) {
    this.#context = context;
  }

  /** See `Device.embedding`. */
  embedding(out: Tensor, ids: Tensor, table: LinearWeight, rows: number, firstId: number): void {
    checkMatrix("embedding", "out", out, rows, table.inFeatures);
    checkVector("embedding", "ids", ids, rows, "i32");
    checkCount("embedding", "firstId", firstId);
    const { kernels, pool } = this.#context;
    kernels.weft_embedding(
      pool,
      out.address,
      out.rowStride,
      ids.address,
      descriptorOf(table),
      rows,
      firstId,
    );
  }

  /** See `Device.rmsNorm`. */
  rmsNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: { epsilon: number; residual?: Tensor },
  ): void {
    const { residual } = options;
    const size = weight.size;
    checkVector("rmsNorm", "weight", weight, size);
    checkNorm("rmsNorm", { out, x, residual }, rows, size);
    const { kernels, pool } = this.#context;
    kernels.weft_rms_norm(
      pool,
      out.address,
      out.rowStride,
      x.address,
      x.rowStride,
      residual === undefined ? 0n : residual.address,
      residual === undefined ? 0 : residual.rowStride,
      weight.address,
      rows,
      size,
      options.epsilon,
    );
  }

  /** See `Device.headRmsNorm`. */
  headRmsNorm(
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: { epsilon: number; numHeads: number; headDim: number },
  ): void {
    const { epsilon, numHeads, headDim } = options;
    checkHeads("headRmsNorm", x, rows, options);
    checkVector("headRmsNorm", "weight", weight, headDim);
    const { kernels, pool } = this.#context;
    kernels.weft_head_rms_norm(
      pool,
      x.address,
      x.rowStride,
      weight.address,
      rows,
      numHeads,
      headDim,
      epsilon,
    );
  }

  /** See `Device.layerNorm`. */
  layerNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: number,
    options: { epsilon: number; residual?: Tensor },
  ): void {
    const { residual } = options;
    const size = weight.size;
    checkVector("layerNorm", "weight", weight, size);
    checkVector("layerNorm", "bias", bias, size);
    checkNorm("layerNorm", { out, x, residual }, rows, size);
    const { kernels, pool } = this.#context;
    kernels.weft_layer_norm(
      pool,
      out.address,
      out.rowStride,
      x.address,
      x.rowStride,
      residual === undefined ? 0n : residual.address,
      residual === undefined ? 0 : residual.rowStride,
      weight.address,
      bias.address,
      rows,
      size,
      options.epsilon,
    );
  }

  /** See `Device.linear`. */
  linear(
    out: Tensor,
    x: Tensor,
    weight: LinearWeight,
    rows: number,
    options?: LinearOptions,
  ): void {
    const bias = options?.bias;
    const blockSize = options?.blockSize ?? 0;
    checkMatrix("linear", "out", out, rows, weight.outFeatures);
    checkMatrix("linear", "x", x, rows, weight.inFeatures);
    if (bias !== undefined) checkVector("linear", "bias", bias, weight.outFeatures);
    checkCount("linear", "blockSize", blockSize);
    const { kernels, pool } = this.#context;
    kernels.weft_linear(
      pool,
      out.address,
      out.rowStride,
      x.address,
      x.rowStride,
      descriptorOf(weight),
      bias === undefined ? 0n : bias.address,
      rows,
      blockSize,
    );
  }

  /** See `Device.rope`. */
  rope(
    x: Tensor,
    positions: Tensor,
    table: Tensor,
    rows: number,
    options: { numHeads: number; headDim: number; rotaryDim: number },
  ): void {
    const { numHeads, headDim, rotaryDim } = options;
    checkHeads("rope", x, rows, options);
    checkVector("rope", "positions", positions, rows, "i32");
    checkMatrix("rope", "table", table, table.shape[0], rotaryDim);
    if (rotaryDim % 2 !== 0 || rotaryDim > headDim) {
      throw new RangeError(
        `Cannot run rope as rotaryDim must be even and at most headDim ${headDim}: it is ${rotaryDim}`,
      );
    }
    const { kernels, pool } = this.#context;
    const failed = kernels.weft_rope(
      pool,
      x.address,
      x.rowStride,
      positions.address,
      table.address,
      table.rowStride,
      table.shape[0],
      rows,
      numHeads,
      headDim,
      rotaryDim,
    );
    if (failed >= 0) {
      throw new RangeError(
        `Cannot run rope as the position of row ${failed} lies outside the table of ${
          table.shape[0]
        } positions`,
      );
    }
  }

  /** See `Device.siluAndMul`. */
  siluAndMul(out: Tensor, x: Tensor, rows: number, size: number): void {
    checkMatrix("siluAndMul", "out", out, rows, size);
    checkMatrix("siluAndMul", "x", x, rows, 2 * size);
    const { kernels, pool } = this.#context;
    kernels.weft_silu_and_mul(
      pool,
      out.address,
      out.rowStride,
      x.address,
      x.rowStride,
      rows,
      size,
    );
  }

  /** See `Device.gelu`. */
  gelu(out: Tensor, x: Tensor, rows: number, size: number): void {
    checkMatrix("gelu", "out", out, rows, size);
    checkMatrix("gelu", "x", x, rows, size);
    const { kernels, pool } = this.#context;
    kernels.weft_gelu(pool, out.address, out.rowStride, x.address, x.rowStride, rows, size);
  }

  /** See `Device.add`. */
  add(out: Tensor, a: Tensor, b: Tensor, count: number): void {
    checkVector("add", "out", out, count);
    checkVector("add", "a", a, count);
    checkVector("add", "b", b, count);
    const { kernels, pool } = this.#context;
    kernels.weft_add(pool, out.address, a.address, b.address, count);
  }

  /** See `Device.addBias`. */
  addBias(x: Tensor, bias: Tensor, rows: number): void {
    const size = bias.size;
    checkVector("addBias", "bias", bias, size);
    checkMatrix("addBias", "x", x, rows, size);
    const { kernels, pool } = this.#context;
    kernels.weft_add_bias(pool, x.address, x.rowStride, bias.address, rows, size);
  }

  /** See `Device.gatherRows`. */
  gatherRows(out: Tensor, x: Tensor, index: Tensor, rows: number, size: number): void {
    checkMatrix("gatherRows", "out", out, rows, size);
    checkMatrix("gatherRows", "x", x, x.shape[0], size);
    checkVector("gatherRows", "index", index, rows, "i32");
    const { kernels, pool } = this.#context;
    const failed = kernels.weft_gather_rows(
      pool,
      out.address,
      out.rowStride,
      x.address,
      x.rowStride,
      x.shape[0],
      index.address,
      rows,
      size,
    );
    if (failed >= 0) {
      throw new RangeError(
        `Cannot run gatherRows as index ${failed} lies outside the ${x.shape[0]} rows of x`,
      );
    }
  }

  /** See `Device.softmax`. */
  softmax(out: Tensor, x: Tensor, rows: number, size: number): void {
    checkMatrix("softmax", "out", out, rows, size);
    checkMatrix("softmax", "x", x, rows, size);
    const { kernels, pool } = this.#context;
    kernels.weft_softmax(pool, out.address, out.rowStride, x.address, x.rowStride, rows, size);
  }
}

function checkNorm(
  kernel: string,
  tensors: { out: Tensor; x: Tensor; residual: Tensor | undefined },
  rows: number,
  size: number,
): void {
  checkMatrix(kernel, "out", tensors.out, rows, size);
  checkMatrix(kernel, "x", tensors.x, rows, size);
  if (tensors.residual !== undefined) {
    checkMatrix(kernel, "residual", tensors.residual, rows, size);
  }
}

function checkHeads(
  kernel: string,
  x: Tensor,
  rows: number,
  shape: { numHeads: number; headDim: number },
): void {
  checkCount(kernel, "numHeads", shape.numHeads);
  checkCount(kernel, "headDim", shape.headDim);
  checkMatrix(kernel, "x", x, rows, shape.numHeads * shape.headDim);
}
