"""clients.py VENV: the OpenAI clients of VENV (see run), and clients that leave, against two nodes: one
that has the model and one that has none and asks the other."""
import http.client
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import nodes  # noqa: E402

VENV = os.path.abspath(sys.argv[1])
TRIES = 3  # of a client that leaves: what counts is the best, since this machine may be busy


def clients(node, model, key):
    """Both clients against one node."""
    url = f"http://127.0.0.1:{node.port()}/v1"
    for line in ([f"{VENV}/bin/python", f"{HERE}/openai_python.py"],
                 [f"{VENV}/bin/node", f"{HERE}/openai_node.mjs"]):
        print(f"-- {os.path.basename(line[1])} against {node.name}", flush=True)
        done = subprocess.run([*line, url, model, key], timeout=300, check=False,
                              env={**os.environ, "OPENAI_NODE": f"{VENV}/js"})
        nodes.check(os.path.basename(line[1]), done.returncode == 0, done.returncode)


def leave(front, worker, model, key, stream):
    """Tokens that the worker still chooses after a client of front has left."""
    connection = http.client.HTTPConnection("127.0.0.1", front.port(), timeout=60)
    before, calls = worker.metric("tokens"), worker.metric("open_calls")
    connection.request("POST", "/v1/chat/completions", headers={
        "content-type": "application/json", "authorization": f"Bearer {key}"}, body=json.dumps(
            {"model": model, "max_tokens": 1500, "temperature": 0, "stream": stream, "messages": [
                {"role": "user", "content": "Write a long story about a ship."}]}))
    if stream:
        answer = connection.getresponse()
        for _ in range(12):
            answer.readline()
    else:
        nodes.until(lambda: worker.metric("tokens") >= before + 6, 30, "the worker writes")
    left_at = worker.metric("tokens")
    if stream:
        answer.close()
    connection.close()
    nodes.until(lambda: worker.metric("open_calls") <= calls, 20, "the worker's call is gone")
    return worker.metric("tokens") - left_at


def leaving(front, worker, model, key):
    for stream in (True, False):
        more = min(leave(front, worker, model, key, stream) for _ in range(TRIES))
        kind = "streamed" if stream else "whole"
        nodes.check(f"a client of {front.name} leaves ({kind}): work stops within 2 tokens, here "
                    f"after {more}", more <= 2, more)


def test(net):
    path = net.model()
    quiet = {"models/answer": {"audit": "0%"}}
    doors = "http: { listen: \"127.0.0.1:0\", auth: true }\n"
    worker = net.first("worker", {**quiet, "compute/cpu": {"threads": 1}}, extra=doors)
    model = worker.deai("--quiet", "model", "add", path).out.strip()
    front = net.join("front", quiet, without=("compute/cpu",), extra=doors)
    for node in (worker, front):
        key = node.deai("--quiet", "key", "add", "tests").out.strip()
        ask = {"authorization": f"Bearer {key}"}
        nodes.until(lambda n=node, a=ask: n.http("/v1/models", headers=a)[0] == 200 and json.loads(
            n.http("/v1/models", headers=a)[2])["data"], 30, f"{node.name} can answer")
        clients(node, model, key)
        leaving(node, worker, model, key)
        node.deai("--quiet", "key", "rm", "tests")
        nodes.check("a removed key is refused",
                    node.http("/v1/models", headers=ask)[0] == 401)


nodes.main(test)
