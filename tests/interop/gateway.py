"""gateway.py VENV: Helia reads from the gateway of a node; the node gives files the CIDs Helia does."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import nodes  # noqa: E402

VENV = os.path.abspath(sys.argv[1])


def test(net):
    node = net.first("gateway", without=("compute/cpu", "compute/vulkan", "models/answer",
                                         "models/rank"))
    place = os.path.join(net.folder, "files")
    os.makedirs(place)
    for name, size in (("a", 3_500_000), ("b", 1)):
        with open(f"{place}/{name}", "wb") as file:
            file.write(os.urandom(size))
    one = node.deai("store", "add", f"{place}/a").out.strip()
    both = node.deai("store", "add", place).out.strip()
    done = subprocess.run([f"{VENV}/bin/node", f"{HERE}/helia.mjs", f"http://127.0.0.1:{node.port()}",
                           one, f"{place}/a", both], timeout=120, check=False,
                          env={**os.environ, "HELIA": f"{VENV}/js"})
    nodes.check("helia", done.returncode == 0, done.returncode)


nodes.main(test)
