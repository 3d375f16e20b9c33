/**
 * SHA-256 of 32-bit words, on the spot. A call into the runtime costs tens of microseconds and half a kilobyte of
 * garbage, and a long prompt has thousands of blocks to name.
 * @module
 */

const WORDS_A_CHUNK = 16;
const ROUNDS = 64;

/** FIPS 180-4, 4.2.2 and 5.3.3: fractional bits of cube and square roots of the first primes. */
const PRIMES = firstPrimes(ROUNDS);
const ROUND_CONSTANTS = Int32Array.from(PRIMES, (prime) => fractionalBits(Math.cbrt(prime)));
const INITIAL_STATE = Int32Array.from(
  PRIMES.slice(0, 8),
  (prime) => fractionalBits(Math.sqrt(prime)),
);

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) {
    if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  }
  return primes;
}

function fractionalBits(root: number): number {
  return Math.floor((root % 1) * 2 ** 32) | 0;
}

/** Hashes messages one after the other, in the same memory. */
export class Sha256 {
  readonly #state = new Int32Array(8);
  readonly #chunk = new Int32Array(WORDS_A_CHUNK);
  readonly #schedule = new Int32Array(ROUNDS);
  #length = 0;

  /** Begins a message. */
  begin(): void {
    this.#state.set(INITIAL_STATE);
    this.#length = 0;
  }

  /** Adds a word, whose most significant byte comes first. */
  add(word: number): void {
    this.#chunk[this.#length++ % WORDS_A_CHUNK] = word;
    if (this.#length % WORDS_A_CHUNK === 0) this.#compress();
  }

  /** Ends the message: the eight words of its hash, until the next message. */
  end(): Int32Array {
    const bits = 32 * this.#length;
    this.add(0x80000000);
    while (this.#length % WORDS_A_CHUNK !== WORDS_A_CHUNK - 2) this.add(0);
    this.add(Math.floor(bits / 2 ** 32));
    this.add(bits | 0);
    return this.#state;
  }

  #compress(): void {
    const [state, words] = [this.#state, this.#schedule];
    words.set(this.#chunk);
    for (let i = WORDS_A_CHUNK; i < ROUNDS; i++) {
      const [x, y] = [words[i - 15], words[i - 2]];
      const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
      const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
      words[i] = words[i - 16] + s0 + words[i - 7] + s1;
    }
    let a = state[0], b = state[1], c = state[2], d = state[3];
    let e = state[4], f = state[5], g = state[6], h = state[7];
    for (let i = 0; i < ROUNDS; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = h + s1 + ((e & f) ^ (~e & g)) + ROUND_CONSTANTS[i] + words[i];
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
  }
}

function rotate(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}
