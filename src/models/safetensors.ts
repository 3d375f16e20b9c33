/**
 * The header of a safetensors file, checked so strictly that every tensor it names lies inside the
 * file and overlaps no other.
 *
 * Source: the format's reference implementation (github.com/huggingface/safetensors), whose list of
 * errors this reader follows.
 * @module
 */
import { ModelLoadError } from "./errors.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJsonObject } from "./json_file.ts";

/** Largest header that is read, as in the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;

/** Bytes of one element of each stored type. A type that is not here has an unknown size. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** Bytes of one element of a type as files spell it; throws RangeError for one of unknown size. */
export function storedTypeBytes(dtype: string): number {
  if (Object.hasOwn(DTYPE_BYTES, dtype)) return DTYPE_BYTES[dtype];
  throw new RangeError(`Cannot tell the size of a stored element as its type is unknown: ${dtype}`);
}

/** Where a tensor lies in a safetensors file. */
export interface SafetensorsEntry {
  /** Name. */
  readonly name: string;
  /** Element type as the file spells it, such as `BF16`. */
  readonly dtype: string;
  /** Sizes, outermost first; empty for a scalar. */
  readonly shape: readonly number[];
  /** First byte, from the start of the file. */
  readonly byteOffset: number;
  /** Bytes. */
  readonly byteLength: number;
}

/** A checked header. */
export interface SafetensorsHeader {
  /** The file. */
  readonly file: string;
  /** Size of the file. */
  readonly fileBytes: number;
  /** What `__metadata__` says. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Tensors by name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
}

/**
 * Reads and checks the header of `file`; its tensors are not touched. Throws ModelLoadError naming
 * the file, and the tensor where it is one, for anything that is not as the format says.
 */
export function readSafetensorsHeader(file: string): SafetensorsHeader {
  let handle: Deno.FsFile;
  let fileBytes: number;
  try {
    // Checked before opening: opening a FIFO would wait for its writer.
    if (!Deno.statSync(file).isFile) throw new Error("it is not a regular file");
    handle = Deno.openSync(file);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotFound
      ? "the file does not exist"
      : (cause as Error).message;
    throw new ModelLoadError(`Cannot load ${file}: ${reason}`, { file, cause });
  }
  try {
    fileBytes = handle.statSync().size;
    const prefix = readFully(handle, new Uint8Array(8), file);
    const headerBytes = headerLength(prefix, { file, fileBytes });
    const header = readFully(handle, new Uint8Array(headerBytes), file);
    return parseSafetensorsHeader(header, { file, fileBytes });
  } finally {
    handle.close();
  }
}

/**
 * Checks the JSON of a header (what follows the 8 bytes of its length) of a file of `fileBytes` bytes.
 * Throws ModelLoadError as {@linkcode readSafetensorsHeader} does.
 */
export function parseSafetensorsHeader(
  header: Uint8Array,
  options: { file: string; fileBytes: number },
): SafetensorsHeader {
  const { file, fileBytes } = options;
  if (header[0] !== 0x7b) {
    throw new ModelLoadError(`Cannot load ${file} as its header does not start with "{"`, { file });
  }
  const json = parseJsonObject(header, file);
  const dataOffset = 8 + header.length;
  const tensors = new Map<string, SafetensorsEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = parseMetadata(value, file);
    else tensors.set(name, parseEntry(name, value, { file, dataOffset }));
  }
  checkCoverage(tensors, { file, dataOffset, fileBytes });
  return { file, fileBytes, metadata, tensors };
}

function readFully<T extends Uint8Array>(handle: Deno.FsFile, bytes: T, file: string): T {
  for (let filled = 0; filled < bytes.length;) {
    const count = handle.readSync(bytes.subarray(filled));
    if (count === null) {
      throw new ModelLoadError(
        `Cannot load ${file} as it ends inside its header: ${filled} of ${bytes.length} bytes`,
        { file },
      );
    }
    filled += count;
  }
  return bytes;
}

/** Length of the JSON, checked against the limit and the file before anything is allocated for it. */
function headerLength(
  prefix: Uint8Array,
  { file, fileBytes }: { file: string; fileBytes: number },
): number {
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new ModelLoadError(
      `Cannot load ${file} as its header is larger than ${MAX_HEADER_BYTES} bytes: ${length} bytes`,
      { file },
    );
  }
  if (8n + length > BigInt(fileBytes)) {
    throw new ModelLoadError(
      `Cannot load ${file} as its header of ${length} bytes passes the end of the file: ${fileBytes} bytes`,
      { file },
    );
  }
  return Number(length);
}

function parseMetadata(value: JsonValue, file: string): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  if (!isJsonObject(value)) {
    throw new ModelLoadError(`Cannot load ${file} as __metadata__ is not an object`, { file });
  }
  for (const [key, item] of Object.entries(value)) {
    if (typeof item !== "string") {
      throw new ModelLoadError(
        `Cannot load ${file} as the __metadata__ entry "${key}" is not a string`,
        { file },
      );
    }
    metadata.set(key, item);
  }
  return metadata;
}

const ENTRY_KEYS = ["dtype", "shape", "data_offsets"] as const;

function parseEntry(
  name: string,
  value: JsonValue,
  { file, dataOffset }: { file: string; dataOffset: number },
): SafetensorsEntry {
  const refuse = (reason: string): never => {
    throw new ModelLoadError(`Cannot load tensor ${name} of ${file} as ${reason}`, {
      file,
      tensor: name,
    });
  };
  if (!isJsonObject(value)) return refuse("its entry is not an object");
  checkEntryKeys(value, refuse);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") return refuse("its dtype is not a string");
  if (!isCounts(shape)) return refuse(`its shape is not a list of counts: ${show(shape)}`);
  if (!isCounts(offsets) || offsets.length !== 2) {
    return refuse(`its data_offsets are not two counts: ${show(offsets)}`);
  }
  const [begin, end] = offsets;
  if (end < begin) return refuse(`its data_offsets run backwards: ${show(offsets)}`);

  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (!Number.isSafeInteger(elements)) return refuse(`its shape overflows: ${show(shape)}`);
  }
  if (Object.hasOwn(DTYPE_BYTES, dtype)) {
    const bytes = elements * DTYPE_BYTES[dtype];
    if (!Number.isSafeInteger(bytes)) return refuse(`its shape overflows: ${show(shape)}`);
    if (bytes !== end - begin) {
      return refuse(
        `its shape [${shape}] of ${dtype} takes ${bytes} bytes: data_offsets give ${end - begin}`,
      );
    }
  }
  return { name, dtype, shape, byteOffset: dataOffset + begin, byteLength: end - begin };
}

function checkEntryKeys(value: JsonObject, refuse: (reason: string) => never): void {
  for (const key of ENTRY_KEYS) if (!Object.hasOwn(value, key)) refuse(`it has no ${key}`);
  const unknown = Object.keys(value).find((key) => !ENTRY_KEYS.some((known) => known === key));
  if (unknown !== undefined) refuse(`its entry has the unknown key "${unknown}"`);
}

function isCounts(value: JsonValue): value is number[] {
  return Array.isArray(value) &&
    value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}

/** The tensors, in the order of their offsets, must cover the data with no gap and no overlap. */
function checkCoverage(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  options: { file: string; dataOffset: number; fileBytes: number },
): void {
  const { file, dataOffset, fileBytes } = options;
  const ordered = [...tensors.values()].sort((a, b) =>
    a.byteOffset - b.byteOffset || a.byteLength - b.byteLength
  );
  let end = dataOffset;
  for (const { name, byteOffset, byteLength } of ordered) {
    if (byteOffset !== end) {
      const fault = byteOffset < end
        ? "it overlaps the tensor before it"
        : "there is a gap before it";
      throw new ModelLoadError(
        `Cannot load tensor ${name} of ${file} as ${fault}: ` +
          `it begins at ${byteOffset - dataOffset}, the tensor before it ends at ${
            end - dataOffset
          }`,
        { file, tensor: name },
      );
    }
    end += byteLength;
    if (end > fileBytes) {
      throw new ModelLoadError(
        `Cannot load tensor ${name} of ${file} as it passes the end of the file: ` +
          `it ends at byte ${end} of ${fileBytes}`,
        { file, tensor: name },
      );
    }
  }
  if (end !== fileBytes) {
    throw new ModelLoadError(
      `Cannot load ${file} as bytes follow the last tensor: ${fileBytes - end} bytes`,
      { file },
    );
  }
}

function show(value: JsonValue): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
