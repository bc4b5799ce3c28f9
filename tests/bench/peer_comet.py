"""peer_comet.py COMETBFT SECONDS: transactions a second of one CometBFT validator with the built-in
kvstore, each answered when its block is committed (broadcast_tx_commit), 512 in flight over kept
connections. Prints one JSON line."""
import concurrent.futures
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

BINARY, SECONDS = sys.argv[1], float(sys.argv[2])
IN_FLIGHT = 512


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def configure(home, rpc, p2p):
    path = os.path.join(home, "config/config.toml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for old, new in ((r'laddr = "tcp://127\.0\.0\.1:26657"', f'laddr = "tcp://127.0.0.1:{rpc}"'),
                     (r'laddr = "tcp://0\.0\.0\.0:26656"', f'laddr = "tcp://127.0.0.1:{p2p}"'),
                     (r'timeout_commit = "[^"]*"', 'timeout_commit = "0s"'),
                     (r"max_open_connections = \d+", "max_open_connections = 2000"),
                     (r"max_subscriptions_per_client = \d+", "max_subscriptions_per_client = 2000"),
                     (r"max_subscription_clients = \d+", "max_subscription_clients = 2000")):
        text = re.sub(old, new, text)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def post(connection, body):
    connection.request("POST", "/", body=body, headers={"content-type": "application/json"})
    return json.loads(connection.getresponse().read())


def await_height(rpc):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            found = post(http.client.HTTPConnection("127.0.0.1", rpc, timeout=5),
                         '{"jsonrpc":"2.0","id":1,"method":"status"}')
            if int(found["result"]["sync_info"]["latest_block_height"]) > 1:
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit("cometbft does not answer")


def client(number, rpc, end):
    import base64
    connection = http.client.HTTPConnection("127.0.0.1", rpc, timeout=30)
    done = 0
    while time.monotonic() < end:
        tx = base64.b64encode(f"k{number}-{done}=v{done}".encode()).decode()
        answer = post(connection, json.dumps({"jsonrpc": "2.0", "id": 1, "method":
                                              "broadcast_tx_commit", "params": {"tx": tx}}))
        if answer.get("result", {}).get("tx_result", {}).get("code", 1) != 0:
            raise RuntimeError(str(answer)[:300])
        done += 1
    return done


def main(home):
    rpc, p2p = free_port(), free_port()
    subprocess.run([BINARY, "init", "--home", home], check=True, capture_output=True)
    configure(home, rpc, p2p)
    node = subprocess.Popen([BINARY, "node", "--home", home, "--proxy_app", "kvstore", "--log_level",
                             "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_height(rpc)
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool:
            counts = list(pool.map(lambda n: client(n, rpc, start + SECONDS), range(IN_FLIGHT)))
        print(json.dumps({"per_s": round(sum(counts) / (time.monotonic() - start), 1)}))
    finally:
        node.terminate()
        node.wait()


with tempfile.TemporaryDirectory(prefix="deai-bench.") as folder:
    main(folder)
