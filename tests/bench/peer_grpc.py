"""peer_grpc.py unix|tls CALLS: p50 of a unary gRPC echo of 64 bytes, one behind the other; server and
client are processes of their own. Prints one JSON line."""
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent import futures

import grpc

KIND, CALLS = sys.argv[1], int(sys.argv[2])
METHOD = "/example.Echo/Echo"


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


def serve(folder, ready):
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Echo()])
    if KIND == "unix":
        address = f"unix:{folder}/sock"
        server.add_insecure_port(address)
    else:
        with open(f"{folder}/key.pem", "rb") as key, open(f"{folder}/cert.pem", "rb") as cert:
            pair = [(key.read(), cert.read())]
        address = f"localhost:{server.add_secure_port('localhost:0', grpc.ssl_server_credentials(pair))}"
    server.start()
    ready.put(address)
    server.wait_for_termination()


def main(folder):
    if KIND == "tls":
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
                        f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], check=True,
                       capture_output=True)
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Queue()
    child = spawn.Process(target=serve, args=(folder, ready), daemon=True)
    child.start()
    address = ready.get(timeout=20)
    if KIND == "unix":
        channel = grpc.insecure_channel(address)
    else:
        with open(f"{folder}/cert.pem", "rb") as cert:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(cert.read()))
    echo = channel.unary_unary(METHOD)
    body = b"e" * 64
    for _ in range(100):
        assert echo(body) == body
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        echo(body)
        times.append((time.perf_counter() - start) * 1e6)
    times.sort()
    print(json.dumps({"p50_us": round(times[CALLS // 2], 1), "p99_us": round(times[CALLS * 99 // 100], 1),
                      "grpcio": grpc.__version__}))
    channel.close()
    child.terminate()
    child.join()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="deai-bench.") as place:
        os.chdir(place)
        main(place)
