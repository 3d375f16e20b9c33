/**
 * What a router reads of a request to an engine.
 * @module
 */
import type { GenerateRequest } from "../engine/types.ts";
import type { RoutedRequest } from "../routing/balancing_policy.ts";
import { prefixHashes } from "../routing/prefix_hash.ts";

/** Tokens of a part of a prompt: a KV block. */
const TOKENS_PER_PART = 16;

/** Characters of a part of a prompt that has no tokens yet, about as many. */
const CHARACTERS_PER_PART = 64;

/** Output of a request that sets no limit, as {@linkcode GenerateRequest} has it. */
const DEFAULT_MAX_TOKENS = 16;

/** A request to an engine, as a policy sees it; its prefix is hashed when a policy asks for it. */
export class EngineRoutedRequest implements RoutedRequest {
  /** See {@linkcode RoutedRequest.tokens}. */
  readonly tokens: number;
  /** See {@linkcode RoutedRequest.stream}: engines answer token by token. */
  readonly stream = true;
  /** See {@linkcode RoutedRequest.session}. */
  readonly session: string | null;
  readonly #request: GenerateRequest;
  #prefix: readonly number[] | null = null;

  /** Describes `request`. */
  constructor(request: GenerateRequest) {
    const { promptTokenIds, prompt = "", sampling, session = null } = request;
    const promptTokens = promptTokenIds?.length ?? Math.ceil(prompt.length / 4);
    this.tokens = promptTokens + (sampling?.maxTokens ?? DEFAULT_MAX_TOKENS);
    this.session = session;
    this.#request = request;
  }

  /** See {@linkcode RoutedRequest.prefix}. */
  get prefix(): readonly number[] {
    const { promptTokenIds, prompt = "" } = this.#request;
    return this.#prefix ??= promptTokenIds === undefined
      ? prefixHashes(prompt, CHARACTERS_PER_PART)
      : prefixHashes(promptTokenIds, TOKENS_PER_PART);
  }
}
