/** Proxies in processes of their own, each before the same two upstreams. */

/** A proxy that listens. */
export interface Proxy extends AsyncDisposable {
  /** Name in the table. */
  readonly name: string;
  /** Where it listens. */
  readonly port: number;
  /** Seconds of processor time that it has taken. */
  readonly cpuSeconds: () => number;
}

const ROOT = new URL("../../", import.meta.url);

/** Starts `weft route`. */
export async function startWeftRoute(upstreams: readonly number[], policy: string): Promise<Proxy> {
  const replicas = upstreams.flatMap((port) => ["--replica", `http://127.0.0.1:${port}`]);
  const args = ["--balancing-policy", policy, ...replicas];
  return await startWeft("route", `weft route, ${policy}`, args);
}

/** Starts a command of weft that serves. */
export async function startWeft(
  command: "route" | "serve",
  name: string,
  args: readonly string[],
): Promise<Proxy> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "mod.ts", command, "--port", "0", ...args],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  return proxy(name, await firstMatch(child.stdout, /ready: http:\/\/127\.0\.0\.1:(\d+)/), child);
}

/** Starts the upstream of this benchmark. */
export async function startUpstream(): Promise<Proxy> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-net=127.0.0.1",
      new URL("instant_upstream.ts", import.meta.url).pathname,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  return proxy("upstream", await firstMatch(child.stdout, /^(\d+)$/m), child);
}

/** Starts nginx as a plain proxy; null where it is not installed. */
export function startNginx(upstreams: readonly number[], folder: string): Promise<Proxy | null> {
  const port = freePort();
  const servers = upstreams.map((upstream) => `server 127.0.0.1:${upstream};`).join(" ");
  const config =
    `daemon off; master_process off; pid ${folder}/nginx.pid; error_log ${folder}/nginx.log;
    events { worker_connections 1024; }
    http { access_log off; keepalive_requests 1000000;
      client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
      fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
      upstream replicas { ${servers} least_conn; keepalive 64; }
      server { listen 127.0.0.1:${port};
        location / { proxy_pass http://replicas; proxy_http_version 1.1; proxy_set_header Connection ""; } } }`;
  return startInstalled("nginx", { port, config, folder, args: (file) => ["-c", file] });
}

/** Starts HAProxy as a plain proxy; null where it is not installed. */
export function startHaproxy(upstreams: readonly number[], folder: string): Promise<Proxy | null> {
  const port = freePort();
  const servers = upstreams.map((upstream, i) => `  server s${i} 127.0.0.1:${upstream}`).join("\n");
  const config =
    `global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s
  timeout server 60s\nfrontend f\n  bind 127.0.0.1:${port}\n  default_backend b\nbackend b
  balance leastconn\n${servers}\n`;
  return startInstalled("haproxy", {
    port,
    config,
    folder,
    args: (file) => ["-db", "-q", "-f", file],
  });
}

interface Installed {
  readonly port: number;
  readonly config: string;
  readonly folder: string;
  readonly args: (file: string) => string[];
}

async function startInstalled(
  name: string,
  { port, config, folder, args }: Installed,
): Promise<Proxy | null> {
  const file = `${folder}/${name}.conf`;
  await Deno.writeTextFile(file, config);
  for (const program of [name, `/usr/sbin/${name}`]) {
    try {
      const child = new Deno.Command(program, {
        args: args(file),
        stdin: "null",
        stdout: "null",
        stderr: "null",
      })
        .spawn();
      await untilListening(port);
      return proxy(name, port, child);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return null;
}

function proxy(name: string, port: number, child: Deno.ChildProcess): Proxy {
  return {
    name,
    port,
    cpuSeconds: () => cpuSeconds(child.pid),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

/** Time of a process in user and kernel mode: fields 14 and 15 of proc_pid_stat(5), in hundredths. */
function cpuSeconds(pid: number): number {
  const [, fields] = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ");
  const [user, system] = fields.split(" ").slice(11, 13).map(Number);
  return (user + system) / 100;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function untilListening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new Error(`Cannot measure as nothing listens on port ${port}`);
}

/** The number that a process's output names first; the rest of its output is read and dropped. */
async function firstMatch(output: ReadableStream<Uint8Array>, pattern: RegExp): Promise<number> {
  let text = "";
  const [kept, dropped] = output.tee();
  dropped.pipeTo(new WritableStream()).catch(() => {});
  for await (const piece of kept.pipeThrough(new TextDecoderStream())) {
    text += piece;
    const match = pattern.exec(text);
    if (match !== null) return Number(match[1]);
  }
  throw new Error(`Cannot measure as a process ended: ${text}`);
}
