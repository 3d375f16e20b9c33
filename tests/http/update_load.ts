/**
 * Clients that ask all the time while weights change, and know every answer that may come.
 * @module
 */
import { Agent, request as httpRequest } from "node:http";

/** Token ids that are asked, by turns. */
export const PROMPTS: readonly (readonly number[])[] = [[1, 5, 9], [2, 4], [7, 7, 7, 7], [30]];

/** Tokens that are asked for. */
export const MAX_TOKENS = 2;

/** Time between two requests of a client, in milliseconds: an update should get some of the processor, too. */
const PAUSE_MS = 10;

/** Greedy tokens of each prompt, by the version of the weights. */
export type GoldenAnswers = ReadonlyMap<string, readonly (readonly number[])[]>;

/** An answer, and where it came from. */
export interface Answer {
  readonly status: number;
  readonly version: string | undefined;
  readonly body: string;
  /** The client's port tells its connections apart. */
  readonly connection: number;
}

/** What clients got. */
export class UpdateLoad {
  /** Answers that came, and were right. */
  answers = 0;
  /** What was wrong. */
  readonly failures: string[] = [];
  /** Versions on each connection, in order. */
  readonly versions = new Map<number, string[]>();
  readonly #url: string;
  readonly #golden: GoldenAnswers;
  readonly #streams: boolean;
  readonly #clients: Promise<void>[];
  #going = true;

  /** Starts `clients` clients, each with a connection of its own; every other one streams where `streams` says so. */
  constructor(
    url: string,
    { golden, clients, streams }: {
      readonly golden: GoldenAnswers;
      readonly clients: number;
      readonly streams: boolean;
    },
  ) {
    this.#url = url;
    this.#golden = golden;
    this.#streams = streams;
    this.#clients = Array.from({ length: clients }, (_, index) => this.#ask(index));
  }

  /** Waits for so many answers in all. */
  async reach(answers: number): Promise<void> {
    while (this.answers + this.failures.length < answers) {
      await pause(5);
    }
  }

  /** Lets every client end. */
  async stop(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#clients);
  }

  async #ask(index: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const stream = this.#streams && index % 2 === 1;
    try {
      for (let turn = index; this.#going; turn++) {
        const prompt = turn % PROMPTS.length;
        try {
          const answer = await post(this.#url, { agent, body: bodyOf(prompt, stream) });
          this.#note(answer, { prompt, stream });
        } catch (error) {
          this.failures.push(String(error));
        }
        await pause(PAUSE_MS);
      }
    } finally {
      agent.destroy();
    }
  }

  #note(answer: Answer, { prompt, stream }: { prompt: number; stream: boolean }): void {
    const { status, version, body, connection } = answer;
    if (status !== 200) return void this.failures.push(`${status}: ${body}`);
    const tokens: number[] = [];
    const versions = new Set<unknown>([version]);
    for (const chunk of stream ? eventsOf(body) : [JSON.parse(body)]) {
      versions.add(chunk.weight_version);
      tokens.push(...chunk.choices[0].token_ids);
    }
    const expected = this.#golden.get(version ?? "")?.[prompt];
    if (versions.size !== 1 || tokens.join() !== expected?.join()) {
      return void this.failures.push(`${[...versions]} answers ${tokens} instead of ${expected}`);
    }
    this.answers++;
    const known = this.versions.get(connection);
    if (known === undefined) this.versions.set(connection, [version!]);
    else if (known.at(-1) !== version) known.push(version!);
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function bodyOf(prompt: number, stream: boolean): string {
  return JSON.stringify({
    prompt: PROMPTS[prompt],
    max_tokens: MAX_TOKENS,
    temperature: 0,
    ignore_eos: true,
    return_token_ids: true,
    stream,
  });
}

// deno-lint-ignore no-explicit-any
function eventsOf(body: string): any[] {
  const events = body.split("\n\n").filter((part) => part !== "");
  if (events.pop() !== "data: [DONE]") throw new Error(`a stream broke off: ${body}`);
  return events.map((event) => JSON.parse(event.slice("data: ".length)));
}

/** Posts a completion over one of an agent's connections. */
export function post(
  url: string,
  { agent, body }: { readonly agent: Agent; readonly body: string },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { method: "POST", agent, headers: { "content-type": "application/json" } };
    const sent = httpRequest(`${url}/v1/completions`, options, (response) => {
      const connection = response.socket.localPort!;
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part) => text += part);
      response.on("error", reject);
      response.on("end", () => {
        const version = response.headers["x-weft-weight-version"] as string | undefined;
        resolve({ status: response.statusCode!, version, body: text, connection });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
