// Helia reads what a node holds through its gateway and checks every block itself:
// helia.mjs GATEWAY FILE-CID FILE FOLDER-CID. Prints one line a check; exit 1 when one fails. Run it
// where helia is installed, or name the folder in HELIA.
import {readFile} from "node:fs/promises";
import path from "node:path";
import {pathToFileURL} from "node:url";

const root = path.join(path.resolve(process.env.HELIA ?? "."), "node_modules");
const load = (name) => import(pathToFileURL(path.join(root, name, "dist/src/index.js")).href);
const [{createHeliaLight}, {withHTTP}, {unixfs}, {CID}] =
  await Promise.all(["helia", "@helia/http", "@helia/unixfs", "multiformats"].map(load));

const [gateway, fileCid, file, folderCid] = process.argv.slice(2);
let failed = 0;
function check(name, good) {
  if (!good) failed++;
  console.log((good ? "ok    " : "FAIL  ") + name);
}

const light = withHTTP(createHeliaLight(), {delegatedRouters: [], recursiveGateways: [gateway],
  allowInsecure: true, allowLocal: true});
// Helia falls back to the gateway once another router has found nobody.
light.addRouter({name: "nobody", capabilities: () => ["findProviders"], async* findProviders() {}});
const helia = await light.start();
const fs = unixfs(helia);
const signal = AbortSignal.timeout(60000);

async function bytes(cid, more = {}) {
  const pieces = [];
  for await (const piece of fs.cat(CID.parse(cid), {signal, ...more})) pieces.push(piece);
  return Buffer.concat(pieces);
}

const wanted = await readFile(file);
check("a file of many blocks", wanted.equals(await bytes(fileCid)));
check("a range of it", wanted.subarray(1500000, 1500100).equals(
  await bytes(fileCid, {offset: 1500000, length: 100})));
const names = [];
for await (const entry of fs.ls(CID.parse(folderCid), {signal})) names.push(entry.name);
check("the names in a folder", names.sort().join() === "a,b");
check("a file by its path", wanted.equals(await bytes(folderCid, {path: "a"})));

const stat = await fs.stat(CID.parse(fileCid), {signal});
check("size", Number(stat.size ?? stat.fileSize) === wanted.length);

const other = unixfs(await createHeliaLight().start());
const own = await other.addBytes(wanted, {profile: "unixfs-v1-2025"});
check("Helia gives the file the same CID", own.toString() === fileCid);
process.exit(failed > 0 ? 1 : 0);
