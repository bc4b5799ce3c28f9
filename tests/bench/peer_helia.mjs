// peer_helia.mjs MIB: MB/s of adding one file of MIB mebibytes to Helia with blocks on disk. Prints one
// JSON line. $HELIA names the folder where helia, @helia/unixfs and blockstore-fs are installed.
import {mkdtemp, rm} from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import {pathToFileURL} from "node:url";

const root = path.join(path.resolve(process.env.HELIA ?? "."), "node_modules");
const load = (name) => import(pathToFileURL(path.join(root, name, "dist/src/index.js")).href);
const [{createHelia}, {unixfs}, {FsBlockstore}] =
  await Promise.all(["helia", "@helia/unixfs", "blockstore-fs"].map(load));

const mib = Number(process.argv[2] ?? 256);
const folder = await mkdtemp(path.join(os.tmpdir(), "deai-bench."));
const helia = await createHelia({blockstore: new FsBlockstore(folder), start: false});
const fs = unixfs(helia);

async function* bytes() {
  let x = 1;
  for (let i = 0; i < mib; i++) {
    const piece = new Uint32Array(1 << 18);
    for (let j = 0; j < piece.length; j++) piece[j] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    yield new Uint8Array(piece.buffer);
  }
}

const start = performance.now();
const cid = await fs.addByteStream(bytes());
const seconds = (performance.now() - start) / 1000;
console.log(JSON.stringify({cid: cid.toString(), add_mb_s: Number((mib * 1.048576 / seconds).toFixed(1))}));
await rm(folder, {recursive: true});
process.exit(0);
