// Our chat renderer against the model's own template, run by @huggingface/jinja: jinja.mjs RENDER MODEL.
// Prints one line; exit 1 at the first difference. $JINJA names the folder of the package.
import {spawnSync} from "node:child_process";
import path from "node:path";
import {pathToFileURL} from "node:url";

const [render, model] = process.argv.slice(2);
const root = path.join(path.resolve(process.env.JINJA ?? "."), "node_modules/@huggingface/jinja");
const {Template} = await import(pathToFileURL(path.join(root, "dist/index.js")).href);

let state = 12345;
function draw(limit) {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 8) % limit;
}
const words = ["Hello", "<|im_start|>", "<|im_end|>", "\n", "  ", "x".repeat(50), "Grüße", "🙂", "{{ 1 }}", ""];
const cases = [];
for (let i = 0; i < 200; i++) {
  const messages = draw(2) ? [{role: "system", content: words[draw(words.length)]}] : [];
  for (let n = 1 + draw(6); n > 0; n--) {
    const content = Array.from({length: draw(5)}, () => words[draw(words.length)]).join(" ");
    messages.push({role: draw(2) ? "user" : "assistant", content});
  }
  cases.push(messages);
}
const input = cases.map((one) => JSON.stringify(one) + "\n").join("");
const done = spawnSync(render, [model], {input, maxBuffer: 1 << 26, encoding: "utf8"});
if (done.status !== 0) throw new Error(`render ended with ${done.status}: ${done.stderr}`);
const [source, ...ours] = done.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
const template = new Template(source);
for (const [i, messages] of cases.entries()) {
  const theirs = template.render({messages, add_generation_prompt: true});
  if (theirs === ours[i]) continue;
  console.log(`FAIL  ${JSON.stringify(messages)}\ntheirs ${JSON.stringify(theirs)}\nours   ${JSON.stringify(ours[i])}`);
  process.exit(1);
}
console.log(`ok    ${cases.length} chats rendered as the model's own template renders them`);
