"""The official Python client against a node: BASE_URL, MODEL and API_KEY as arguments. Prints one
line a check; exit 1 when one fails."""
import concurrent.futures
import sys

import openai

base_url, model, api_key = sys.argv[1:4]
client = openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0, timeout=60)
failed = 0


def check(name, good):
    global failed
    failed += 0 if good else 1
    print(("ok    " if good else "FAIL  ") + name)


def raises(name, kind, other=client, **arguments):
    try:
        other.chat.completions.create(**arguments)
        check(name, False)
    except kind:
        check(name, True)
    except openai.OpenAIError as error:
        print(type(error), error)
        check(name, False)


question = [{"role": "user", "content": "Name a colour."}]

models = [entry.id for entry in client.models.list()]
check("models.list", len(models) == 1)
check("models.retrieve", client.models.retrieve(model).id == model)

answer = client.chat.completions.create(model=model, messages=question, max_tokens=12, temperature=0)
check("chat", bool(answer.choices[0].message.content) and answer.usage.completion_tokens <= 12)

pieces, usage = [], None
for chunk in client.chat.completions.create(model=model, messages=question, max_tokens=12, temperature=0,
                                            stream=True, stream_options={"include_usage": True}):
    if chunk.choices and chunk.choices[0].delta.content:
        pieces.append(chunk.choices[0].delta.content)
    usage = chunk.usage or usage
check("stream equals chat", "".join(pieces) == answer.choices[0].message.content)
check("include_usage", usage is not None and usage.total_tokens == answer.usage.total_tokens)

stopped = client.chat.completions.create(model=model, messages=question, max_tokens=40, temperature=0,
                                         stop=[answer.choices[0].message.content[3:6]])
check("stop", answer.choices[0].message.content[3:6] not in stopped.choices[0].message.content)

drawn = [client.chat.completions.create(model=model, messages=question, max_tokens=16, seed=7,
                                        temperature=0.8, top_p=0.9).choices[0].message.content
         for _ in range(2)]
check("seed", drawn[0] == drawn[1])

logged = client.chat.completions.create(model=model, messages=question, max_tokens=3, logprobs=True,
                                        top_logprobs=2)
check("logprobs", len(logged.choices[0].logprobs.content) == 3 and
      len(logged.choices[0].logprobs.content[0].top_logprobs) == 2)

text = client.completions.create(model=model, prompt="Once upon a time", max_tokens=5, temperature=0)
check("completions", bool(text.choices[0].text))

raises("400", openai.BadRequestError, model=model, messages=question, temperature=3)
raises("401", openai.AuthenticationError, model=model, messages=question,
       other=openai.OpenAI(base_url=base_url, api_key="deai-wrong", max_retries=0))
raises("404", openai.NotFoundError, model="no-such-model", messages=question)
raises("413", openai.APIStatusError, model=model, messages=[{"role": "user", "content": "x" * 1100000}])
raises("context", openai.BadRequestError, model=model,
       messages=[{"role": "user", "content": "word " * 20000}])


def one_of_many(_):
    try:
        client.chat.completions.create(model=model, messages=question, max_tokens=48, temperature=0)
        return None
    except openai.OpenAIError as error:
        return error


with concurrent.futures.ThreadPoolExecutor(24) as pool:
    errors = [error for error in pool.map(one_of_many, range(24)) if error is not None]
check("429", 0 < len(errors) < 24 and all(isinstance(e, openai.RateLimitError) for e in errors))
sys.exit(1 if failed else 0)
