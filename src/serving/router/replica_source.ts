/**
 * Where a router learns which replicas there are.
 * @module
 */
/** A replica's address and its share of the work. */
export interface ReplicaAddress {
  /** Address, such as `http://10.0.0.7:8000`. */
  readonly url: string;
  /** Share of the work beside others. */
  readonly weight: number;
}

/** Names the replicas that there should be now; it is asked again and again. */
export type ReplicaSource = () => Promise<readonly ReplicaAddress[]>;

/** `URL` or `URL=weight`; throws RangeError, which names the text, for anything else. */
export function parseReplicaAddress(text: string): ReplicaAddress {
  const [, url, weight] = /^(.*?)(?:=([0-9.]+))?$/s.exec(text.trim())!;
  const parsed = URL.parse(url);
  if (parsed === null || !/^(https?|dns):$/.test(parsed.protocol) || parsed.host === "") {
    throw new RangeError(
      `Cannot read the replica as it is no address such as http://host:8000 or http://host:8000=2: ${text}`,
    );
  }
  const share = weight === undefined ? 1 : Number(weight);
  if (!(share > 0 && share < Infinity)) {
    throw new RangeError(`Cannot read the replica as its weight must be positive: ${text}`);
  }
  return { url: url.replace(/\/+$/, ""), weight: share };
}

/** What an address stands for: every address of a name for `dns://name:port`, else itself. */
export function addressSource(address: ReplicaAddress): ReplicaSource {
  return address.url.startsWith("dns:") ? dnsSource(address) : () => Promise.resolve([address]);
}

/** What the addresses in a file stand for, one a line, as {@linkcode parseReplicaAddress} has them; `#` begins a comment. */
export function fileSource(path: string): ReplicaSource {
  return async () => {
    const lines = (await Deno.readTextFile(path)).split("\n").map((line) =>
      line.replace(/#.*/, "").trim()
    );
    const addresses = lines.filter((line) => line !== "").map(parseReplicaAddress);
    return (await Promise.all(addresses.map((address) => addressSource(address)()))).flat();
  };
}

/**
 * Every address that a name stands for, as a headless service of Kubernetes has them: `dns://name:port` is
 * `http://` at each.
 */
function dnsSource({ url, weight }: ReplicaAddress): ReplicaSource {
  const { hostname, port } = new URL(url);
  return async () => {
    const found = await Promise.allSettled([
      Deno.resolveDns(hostname, "A"),
      Deno.resolveDns(hostname, "AAAA").then((all) => all.map((address) => `[${address}]`)),
    ]);
    const addresses = found.flatMap((answer) => answer.status === "fulfilled" ? answer.value : []);
    if (addresses.length === 0) {
      throw new Error(`Cannot resolve the name of the replicas: ${hostname}`);
    }
    return addresses.map((host) => ({ url: `http://${host}:${port || "80"}`, weight }));
  };
}
