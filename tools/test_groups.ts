/**
 * Divides the tests into groups that run in processes of their own, side by side.
 * @module
 */

/** Tests that run one after another in one process. */
export interface TestGroup {
  /** The folder that holds them. */
  readonly name: string;
  /** What `deno test` is given. */
  readonly paths: readonly string[];
}

/** Folders that take longest: begun last, they would keep one process busy while the others are done. */
const LONGEST: readonly string[] = ["tests/golden", "tests/unit"];

const TEST_FILE = /(^|[/._])test\.[mc]?[jt]sx?$/;

/** Groups of the test files among `paths`, by the folder of `tests` that they lie in; longest first. */
export function groupTests(paths: Iterable<string>): TestGroup[] {
  const groups = new Map<string, string[]>();
  for (const path of paths) {
    if (!TEST_FILE.test(path)) continue;
    const name = path.split("/").slice(0, -1).slice(0, 2).join("/");
    groups.set(name, [...groups.get(name) ?? [], path]);
  }
  const rank = ({ name }: TestGroup) => (LONGEST.indexOf(name) + 1) || Infinity;
  return [...groups]
    .map(([name, paths]) => ({ name, paths: paths.sort() }))
    .sort((a, b) => rank(a) === rank(b) ? (a.name < b.name ? -1 : 1) : rank(a) - rank(b));
}

/**
 * Cuts the output of a group into what each file of tests has printed, so that outputs of several groups
 * can be shown as they come.
 */
export class FileOutputStream extends TransformStream<string, string> {
  constructor() {
    let text = "";
    super({
      transform(chunk, controller) {
        text += chunk;
        const begin = text.lastIndexOf("\nrunning ") + 1;
        if (begin === 0) return;
        controller.enqueue(text.slice(0, begin));
        text = text.slice(begin);
      },
      flush(controller) {
        if (text !== "") controller.enqueue(text);
      },
    });
  }
}
