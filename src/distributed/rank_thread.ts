/**
 * Module of the worker in which the thread launcher runs a rank.
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { type RankSpecification, runRank } from "./rank_runner.ts";

// The launcher ends the worker when it has the outcome, whatever the entry has left running.
parentPort?.postMessage(await runRank(JSON.parse(workerData) as RankSpecification));
