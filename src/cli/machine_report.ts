/**
 * What this machine has to compute with, for `weft inspect`.
 * @module
 */
import { chooseDevice } from "../engine/device_choice.ts";
import { availableCores, availableMemory } from "../engine/host_resources.ts";
import { cacheFolder } from "../native/cache.ts";
import { findCompiler } from "../native/compiler.ts";
import { nativeLibrary } from "../native/native_library.ts";
import { type DeviceName, openDevice } from "../tensor/open_device.ts";

/** The machine; a part that cannot be used says why instead. */
export interface MachineReport {
  /** Operating system and architecture. */
  readonly platform: string;
  /** Cores that this process may use. */
  readonly cores: number;
  /** Bytes of memory that are free for this process. */
  readonly free_memory_bytes: number;
  /** First line of the C compiler's version. */
  readonly compiler: string;
  /** Flags that select the instruction set. */
  readonly compiler_flags: string;
  /** Folder of compiled kernels. */
  readonly cache_folder: string;
  /** Backend that would compute, and why. */
  readonly backend: string;
  /** Processor or GPU. */
  readonly device: string;
  /** Instruction set of the kernels. */
  readonly instruction_set: string;
  /** Why that one. */
  readonly instruction_set_choice: string;
  /** Hash of the kernel sources, compiler and flags. */
  readonly kernels: string;
}

/** Describes the machine and the device that `kind` opens. */
export function describeMachine(kind: "auto" | DeviceName): MachineReport {
  const { backend, name, instructionSet, instructionSetReason, kernelHash } = describeDevice(kind);
  return {
    platform: `${Deno.build.os} ${Deno.build.arch}`,
    cores: availableCores(),
    free_memory_bytes: availableMemory(),
    compiler: orReason(() => findCompiler().version),
    compiler_flags: orReason(() => nativeLibrary().instructionSet.flags.join(" ")),
    cache_folder: orReason(cacheFolder),
    backend,
    device: name,
    instruction_set: instructionSet,
    instruction_set_choice: instructionSetReason,
    kernels: kernelHash,
  };
}

function describeDevice(kind: "auto" | DeviceName) {
  let backend: string = kind;
  try {
    const choice = chooseDevice(kind);
    const name = choice.wasm ? "wasm" : choice.kind;
    backend = `${name}: ${choice.reason}`;
    using device = openDevice({ kind: name, threads: 1 });
    return { backend, ...device.description };
  } catch (error) {
    const none = "none";
    return {
      backend,
      name: messageOf(error),
      instructionSet: none,
      instructionSetReason: none,
      kernelHash: none,
    };
  }
}

function orReason(read: () => string): string {
  try {
    return read();
  } catch (error) {
    return messageOf(error);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
