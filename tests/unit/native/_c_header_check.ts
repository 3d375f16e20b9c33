/**
 * Holds FFI tables against C headers: assertions about every function, value and structure, for a C++
 * compiler to check.
 * @module
 */
import type { CConstants, CStructure } from "../../../src/native/c_declarations.ts";
import { toolkitFolders, wheelFolders } from "../../../src/native/library_folders.ts";

/** What a binding says of a library. */
export interface Binding {
  /** Header that declares it. */
  readonly header: string;
  /** Headers that this one includes from other packages. */
  readonly requires: readonly string[];
  /** Its functions. */
  readonly symbols: Deno.ForeignLibraryInterface;
  /** C types of the functions that C++ code overloads in the header. */
  readonly overloaded: Readonly<Record<string, string>>;
  /** Values of enumerators and macros. */
  readonly constants: readonly CConstants[];
  /** Structures. */
  readonly structures: readonly CStructure[];
}

/** What must hold. */
export interface Assertion {
  /** A constant expression of C++. */
  readonly expression: string;
  /** What is wrong when it is false. */
  readonly message: string;
}

const WHEELS = ["cu13", "cuda_runtime", "cuda_crt", "cublas", "cuda_nvrtc", "nccl"];

const PRELUDE = `
#include <cstddef>
#include <tuple>
#include <type_traits>

// An enumeration without negative values is unsigned in C++ and int in C: both are 32 bits wide.
template <class T, std::size_t width, bool is_signed>
constexpr bool is_number = sizeof(T) == width && ((std::is_enum_v<T> && width == 4) ||
    (std::is_integral_v<T> && std::is_signed_v<T> == is_signed));

struct i32 { template <class T> static constexpr bool fits = is_number<T, 4, true>; };
struct u32 { template <class T> static constexpr bool fits = is_number<T, 4, false>; };
struct i64 { template <class T> static constexpr bool fits = is_number<T, 8, true>; };
struct u64 { template <class T> static constexpr bool fits = is_number<T, 8, false>; };
struct usize { template <class T> static constexpr bool fits =
    std::is_pointer_v<T> || is_number<T, sizeof(void*), false>; };
struct buffer { template <class T> static constexpr bool fits =
    std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>; };
template <std::size_t size>
struct structure { template <class T> static constexpr bool fits =
    std::is_class_v<T> && sizeof(T) == size; };

template <class Function> struct Signature;
template <class R, class... P> struct Signature<R(P...)> {
  static constexpr std::size_t arity = sizeof...(P);
  template <class Kind> static constexpr bool result_fits() {
    if constexpr (std::is_void_v<R>) return false; else return Kind::template fits<R>;
  }
  template <std::size_t index, class Kind> static constexpr bool parameter_fits() {
    if constexpr (index >= arity) return false;
    else return Kind::template fits<std::tuple_element_t<index, std::tuple<P...>>>;
  }
};
`;

/** Everything that a binding says, as assertions. */
export function assertionsOf(binding: Binding): Assertion[] {
  return [
    ...Object.entries(binding.symbols).flatMap(([name, symbol]) => {
      if ("type" in symbol) throw new TypeError(`Cannot check ${name} as it is no function`);
      return functionAssertions(name, symbol, binding.overloaded[name]);
    }),
    ...binding.constants.flatMap(Object.entries).map(([name, value]) => ({
      expression: `static_cast<long long>(${name}) == ${value}LL`,
      message: `${name} is not ${value}`,
    })),
    ...binding.structures.flatMap(structureAssertions),
  ];
}

function functionAssertions(
  name: string,
  { parameters, result }: Deno.ForeignFunction,
  overload: string | undefined,
): Assertion[] {
  const type = `Signature<${overload ?? `decltype(${name})`}>`;
  const { length } = parameters;
  return [
    ...overload === undefined ? [] : [{
      expression: `static_cast<std::add_pointer_t<${overload}>>(&${name}) != nullptr`,
      message: `${name} has another type`,
    }],
    { expression: `${type}::arity == ${length}`, message: `${name} does not take ${length}` },
    ...parameters.map((parameter, index) => ({
      expression: `${type}::parameter_fits<${index}, ${kindOf(parameter)}>()`,
      message: `${name} parameter ${index} is not ${kindOf(parameter)}`,
    })),
    {
      expression: `${type}::result_fits<${kindOf(result)}>()`,
      message: `${name} result is not ${kindOf(result)}`,
    },
  ];
}

function structureAssertions({ type, byteLength, extent, offsets }: CStructure): Assertion[] {
  const comparison = { whole: "==", begin: ">=", room: "<=" }[extent];
  return [
    {
      expression: `sizeof(${type}) ${comparison} ${byteLength}`,
      message: `${type} has not ${comparison} ${byteLength} bytes`,
    },
    ...Object.entries(offsets).map(([field, offset]) => ({
      expression: `offsetof(${type}, ${field}) == ${offset}`,
      message: `${type}.${field} is not at ${offset}`,
    })),
  ];
}

const NUMBERS: readonly Deno.NativeResultType[] = ["i32", "u32", "i64", "u64", "usize", "buffer"];

function kindOf(type: Deno.NativeResultType): string {
  if (typeof type === "object" && "struct" in type) {
    if (type.struct.some((field) => field !== "u64")) {
      throw new TypeError(`Cannot check a structure of other fields than u64`);
    }
    return `structure<${8 * type.struct.length}>`;
  }
  if (!NUMBERS.includes(type)) throw new TypeError(`Cannot check the type ${String(type)}`);
  return String(type);
}

/**
 * Folders with the headers of a binding: those of WEFT_CUDA_INCLUDE_PATH (with colons between them), or
 * CUDA's usual ones and those of pip's wheels. Null when one of the headers is in none of them.
 */
export function includeFolders({ header, requires }: Binding): string[] | null {
  const explicit = Deno.env.get("WEFT_CUDA_INCLUDE_PATH");
  const folders = explicit
    ? explicit.split(":")
    : [...toolkitFolders("include"), ...wheelFolders(WHEELS, "include")];
  const found = [header, ...requires].map((name) =>
    folders.find((folder) => isFile(`${folder}/${name}`))
  );
  return found.includes(undefined) ? null : [...new Set(found as string[])];
}

/** Whether there is a C++ compiler. */
export function hasCompiler(): boolean {
  try {
    return new Deno.Command("g++", { args: ["--version"], stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Messages of the assertions that do not hold; throws Error when C++ does not understand the rest. */
export async function brokenAssertions(
  { header }: Binding,
  assertions: readonly Assertion[],
  folders: readonly string[],
): Promise<string[]> {
  const lines = assertions.map(({ expression, message }) =>
    `static_assert(${expression}, "{${message}}");`
  );
  const process = new Deno.Command("g++", {
    args: [
      ...["-std=c++17", "-fsyntax-only", "-w", "-fmax-errors=0", "-x", "c++"],
      ...folders.flatMap((folder) => ["-isystem", folder]),
      "-",
    ],
    env: { LC_ALL: "C" },
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const input = process.stdin.getWriter();
  await input.write(
    new TextEncoder().encode(`#include <${header}>\n${PRELUDE}\n${lines.join("\n")}\n`),
  );
  await input.close();
  const { success, stderr } = await process.output();
  const errors = new TextDecoder().decode(stderr);
  const broken = [...errors.matchAll(/error: static assertion failed: \{(.*?)\}/g)]
    .map(([, message]) => message);
  if (
    errors.match(/error: /g)?.length !== (broken.length || undefined) ||
    success !== (broken.length === 0)
  ) {
    throw new Error(`Cannot check ${header} as the compiler reported\n${errors}`);
  }
  return broken;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw error;
  }
}
