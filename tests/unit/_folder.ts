/** Runs a test with a folder of its own, which is removed with all that it holds. */
export function withFolder(run: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** A folder that is removed with all that it holds when it is disposed. */
export class TestFolder implements Disposable {
  readonly path: string = Deno.makeTempDirSync();

  /** Writes a file and returns its path. */
  write(name: string, content: string | Uint8Array<ArrayBuffer>): string {
    const path = `${this.path}/${name}`;
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
