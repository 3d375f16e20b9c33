/** What a folder holds, by hash: as sha256sum says it. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { folderDigest, verifyFolderDigest } from "../../../src/engine/folder_digest.ts";
import { WeightsError } from "../../../src/engine/weights.ts";

/** A folder with names whose order differs between byte order and that of a language. */
async function withFiles(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    const big = new Uint8Array((2 << 20) + 17).map((_, i) => i * 31);
    Deno.writeFileSync(`${folder}/model.safetensors`, big);
    for (const name of ["config.json", "Z.txt", "a b.txt", "é.txt"]) {
      Deno.writeTextFileSync(`${folder}/${name}`, `text of ${name}`);
    }
    Deno.writeTextFileSync(`${folder}/.hidden`, "not counted");
    await run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function shell(folder: string, script: string): Promise<string> {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", script], cwd: folder }).output();
  return new TextDecoder().decode(stdout).split(" ")[0].trim();
}

async function refusal(run: () => Promise<unknown>): Promise<string> {
  const error = await assertRejects(run, WeightsError);
  assertEquals((error as WeightsError).reason, "invalid");
  return error.message;
}

Deno.test("a folder's digest is what the documented command prints; what is inside folders does not count", () =>
  withFiles(async (folder) => {
    const expected = await shell(folder, "export LC_ALL=C; sha256sum -- * | sha256sum");
    assertEquals(await folderDigest(folder), expected);
    Deno.mkdirSync(`${folder}/inner`);
    Deno.writeTextFileSync(`${folder}/inner/file`, "");
    assertEquals(await folderDigest(folder), expected);
    await verifyFolderDigest(folder, { sha256: expected.toUpperCase() });
    Deno.renameSync(`${folder}/Z.txt`, `${folder}/Y.txt`);
    assertMatch(await refusal(() => verifyFolderDigest(folder, { sha256: expected })), /SHA-256/);
  }));

Deno.test("SHA256SUMS is verified where there is one, and is not part of the digest", () =>
  withFiles(async (folder) => {
    const before = await folderDigest(folder);
    await shell(folder, "sha256sum -b model.safetensors config.json > SHA256SUMS");
    await verifyFolderDigest(folder, {});
    await verifyFolderDigest(folder, { sha256: before });
    Deno.writeTextFileSync(`${folder}/config.json`, "changed");
    assertMatch(await refusal(() => verifyFolderDigest(folder, {})), /config\.json is not what/);
    Deno.removeSync(`${folder}/config.json`);
    assertMatch(await refusal(() => verifyFolderDigest(folder, {})), /Cannot read .*config\.json/);
    Deno.writeTextFileSync(`${folder}/SHA256SUMS`, `${before}  ../outside\n`);
    assertMatch(await refusal(() => verifyFolderDigest(folder, {})), /has a line that is not/);
  }));

Deno.test("without a hash nothing is read, and a missing folder is refused", () =>
  withFiles(async (folder) => {
    await verifyFolderDigest(folder, {});
    assertMatch(await refusal(() => folderDigest(`${folder}/nothing`)), /Cannot read/);
    Deno.writeTextFileSync(`${folder}/two\nlines`, "");
    assertMatch(await refusal(() => folderDigest(folder)), /two\\nlines/);
  }));

Deno.test("hashing ends when it is told to", () =>
  withFiles(async (folder) => {
    const signal = AbortSignal.abort(new Error("enough"));
    await assertRejects(
      () => verifyFolderDigest(folder, { sha256: "00", signal }),
      Error,
      "enough",
    );
  }));
