/**
 * Limits of single request fields. They bound the work and the memory of one request.
 * @module
 */

/** Prompts of one completion request. */
export const MAX_PROMPTS = 128;
/** Messages of one chat request. */
export const MAX_MESSAGES = 4096;
/** Content parts of one message. */
export const MAX_CONTENT_PARTS = 1024;
/** Entries of `allowed_token_ids`, whatever the vocabulary. */
export const MAX_ALLOWED_TOKEN_IDS = 2 ** 20;
/** Top log-probabilities beside each token. */
export const MAX_LOGPROBS = 20;
/** UTF-16 code units of `cache_salt`. */
export const MAX_CACHE_SALT_LENGTH = 1024;
/** Nesting of `chat_template_kwargs`. */
export const MAX_TEMPLATE_DEPTH = 4;
/** Values in `chat_template_kwargs`, nested ones included. */
export const MAX_TEMPLATE_VALUES = 64;
/** UTF-16 code units of all texts and keys in `chat_template_kwargs`. */
export const MAX_TEMPLATE_LENGTH = 16384;
