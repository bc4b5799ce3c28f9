// The official JavaScript client against a node: BASE_URL, MODEL and API_KEY as arguments. Prints one
// line a check; exit 1 when one fails. Run it where `openai` is installed, or name the folder in
// OPENAI_NODE.
import {createRequire} from "node:module";
import path from "node:path";
import {pathToFileURL} from "node:url";

const [baseURL, model, apiKey] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(process.env.OPENAI_NODE ?? "."), "package.json"));
const {default: OpenAI} = await import(pathToFileURL(require.resolve("openai")).href);
const client = new OpenAI({baseURL, apiKey, maxRetries: 0, timeout: 60000});
let failed = 0;

function check(name, good) {
  if (!good) failed++;
  console.log((good ? "ok    " : "FAIL  ") + name);
}

async function raises(name, kind, request, other = client) {
  try {
    await other.chat.completions.create(request);
    check(name, false);
  } catch (error) {
    if (!(error instanceof kind)) console.log(error);
    check(name, error instanceof kind);
  }
}

const messages = [{role: "user", content: "Name a colour."}];
const chat = (more) => client.chat.completions.create({model, messages, temperature: 0, ...more});

const models = (await client.models.list()).data;
check("models.list", models.length === 1);
check("models.retrieve", (await client.models.retrieve(model)).id === model);

const answer = await chat({max_tokens: 12});
const text = answer.choices[0].message.content;
check("chat", text.length > 0 && answer.usage.completion_tokens <= 12);

let joined = "";
let usage = null;
for await (const chunk of await chat({max_tokens: 12, stream: true,
  stream_options: {include_usage: true}})) {
  joined += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
check("stream equals chat", joined === text);
check("include_usage", usage?.total_tokens === answer.usage.total_tokens);

const word = text.slice(3, 6);
check("stop", !(await chat({max_tokens: 40, stop: [word]})).choices[0].message.content.includes(word));

const drawn = [];
for (let i = 0; i < 2; i++)
  drawn.push((await chat({max_tokens: 16, seed: 7, temperature: 0.8, top_p: 0.9})).choices[0].message.content);
check("seed", drawn[0] === drawn[1]);

const rows = (await chat({max_tokens: 3, logprobs: true, top_logprobs: 2})).choices[0].logprobs.content;
check("logprobs", rows.length === 3 && rows[0].top_logprobs.length === 2);

const whole = await client.completions.create({model, prompt: "Once upon a time", max_tokens: 5,
  temperature: 0});
check("completions", whole.choices[0].text.length > 0);

await raises("400", OpenAI.BadRequestError, {model, messages, temperature: 3});
await raises("401", OpenAI.AuthenticationError, {model, messages},
  new OpenAI({baseURL, apiKey: "deai-wrong", maxRetries: 0}));
await raises("404", OpenAI.NotFoundError, {model: "no-such-model", messages});
await raises("413", OpenAI.APIError, {model, messages: [{role: "user", content: "x".repeat(1100000)}]});
await raises("context", OpenAI.BadRequestError,
  {model, messages: [{role: "user", content: "word ".repeat(20000)}]});

const many = await Promise.allSettled(Array.from({length: 24}, () => chat({max_tokens: 48})));
const refused = many.filter((one) => one.status === "rejected");
check("429", refused.length > 0 && refused.length < many.length &&
  refused.every((one) => one.reason instanceof OpenAI.RateLimitError));
process.exit(failed > 0 ? 1 : 0);
