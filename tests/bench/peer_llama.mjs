// peer_llama.mjs MODEL [THREADS [GPU]] prints one JSON line with the speed of llama.cpp (npm
// node-llama-cpp 3.22.1) on the same work as lm_bench: a prompt of 256 tokens, then 128 tokens one
// by one, greedy, best of three; on a GPU 16 tokens, best of two. GPU
// is "vulkan", "cuda" or "false" (default: the CPU alone).
// Run it in a folder where `npm install node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1` was
// done, or name that folder in NODE_LLAMA.
import {createRequire} from "node:module";
import path from "node:path";
import {pathToFileURL} from "node:url";

const PROMPT = 256;
const CONTEXT = 2048;

const [modelPath, threadsText = "2", gpuText = "false"] = process.argv.slice(2);
if (modelPath === undefined) {
  console.error("usage: node peer_llama.mjs MODEL [THREADS [GPU]]");
  process.exit(2);
}
const threads = Number(threadsText);
const gpu = gpuText === "false" ? false : gpuText;
const ANSWER = gpu ? 16 : 128; // a driver on the CPU takes minutes for more
const ROUNDS = gpu ? 2 : 3; // the first of a GPU's compiles its shaders

const folder = path.resolve(process.env.NODE_LLAMA ?? ".");
const require = createRequire(path.join(folder, "package.json"));
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);

const llama = await getLlama({gpu, build: "never", skipDownload: true, maxThreads: threads,
  logLevel: "error"});
const model = await llama.loadModel({modelPath: path.resolve(modelPath), useMmap: true});
const context = await model.createContext({contextSize: CONTEXT, batchSize: 512, threads});
const sequence = context.getSequence();

function prompt(salt) {
  return Array.from({length: PROMPT}, (_, i) => 1000 + (i * 7919 + salt * 104729) % 30000);
}

async function once(salt) {
  await sequence.clearHistory();
  const ids = prompt(salt);
  const start = performance.now();
  let first = 0;
  let written = -1;
  for await (const token of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
    if (written < 0) first = performance.now();
    if (++written + 1 >= ANSWER) break;
  }
  const end = performance.now();
  return {read: (first - start) / 1000, write: (end - first) / 1000 / written};
}

let read = Infinity;
let write = Infinity;
for (let i = 1; i <= ROUNDS; i++) {
  const times = await once(i);
  read = Math.min(read, times.read);
  if (times.write > 0) write = Math.min(write, times.write);
}
console.log(JSON.stringify({engine: "llama.cpp", threads, gpu, prompt: PROMPT,
  decode_tok_s: Number((1 / write).toFixed(1)),
  prefill_tok_s: Number((PROMPT / read).toFixed(1))}));
await context.dispose();
await model.dispose();
await llama.dispose();
