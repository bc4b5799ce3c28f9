"""Nodes of a build in private folders, for the tests of several nodes in this folder. Standard
library only.

    with Network() as net:
        a = net.first("a", {"models/answer": {"audit": "100%"}})
        b = net.join("b", grant=100, plugins={"compute/cpu": {"threads": 1}})
        cid = b.deai("model", "add", net.model()).out.strip()
        until(lambda: cid in a.models(), 20, "a sees the model")

Where things are: $DEAI_BUILD is the build folder (default: build), $DEAI_MODEL a GGUF file
(default: the one that ./check fetches; without it a test is skipped, exit status 77). With
$DEAI_E2E_KEEP the folders stay. Everything waits for a condition with a deadline, never for a time.
A failed check, an exit code that is not expected or a deadline that is over raises an exception: the
last lines of all logs are printed and the exit status is 1.
"""
import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("DEAI_BUILD", os.path.join(ROOT, "build")))
SLOW = 4 if os.environ.get("DEAI_SLOW") else 1  # sanitizer builds: all deadlines times 4
SKIPPED = 77


class Failed(Exception):
    pass


class Result:
    """What a command said: code, out, err."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def json(self):
        return json.loads(self.out)


def until(condition, seconds, what):
    """Waits until condition() is true and returns its value; Failed after seconds."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds * SLOW} s in vain: {what}")
        time.sleep(0.02)  # the pace of asking; the condition decides


def check(name, good, found=""):
    """Prints one line; Failed when good is false."""
    print(f"{'ok   ' if good else 'FAIL '} {name}{'' if good else f': found {found!r}'}", flush=True)
    if not good:
        raise Failed(f"{name}: found {found!r}")


def coins(amount):
    """Text of an amount of 10^-9 coins, as configs and the command line take it."""
    return f"{amount // 10**9}.{amount % 10**9:09d}"


def free_port():
    """A port nobody has, below those that the kernel gives to outgoing connections: a node keeps it
    over a restart, since members know each other by address."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Node:
    """One node: its data folder, its config, its daemon."""

    def __init__(self, net, name):
        self.net, self.name = net, name
        self.data = os.path.join(net.folder, name)
        self.key = self.hex = None
        self.pid = None

    def deai(self, *words, code=0, timeout=120, stdin=None, binary=False):
        """Runs `deai --data FOLDER words`; Failed unless its exit code is `code` (None = any)."""
        line = [os.path.join(BUILD, "host/deai"), "--data", self.data, *map(str, words)]
        try:
            done = subprocess.run(line, capture_output=True, text=not binary, timeout=timeout * SLOW,
                                  input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                                  errors=None if binary else "replace")
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{self.name}: no end of: deai {' '.join(map(str, words))}") from late
        if code is not None and done.returncode != code:
            raise Failed(f"{self.name}: deai {' '.join(map(str, words))}: exit code {code} expected, "
                         f"found {done.returncode}: {done.stderr[-2000:]}")
        return Result(done)

    def start_deai(self, *words):
        """Begins such a command and returns its Popen (stdout and stderr are pipes of text)."""
        line = [os.path.join(BUILD, "host/deai"), "--data", self.data, *map(str, words)]
        return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, errors="replace")

    def configure(self, plugins=None, without=(), extra=""):
        """Rewrites the config before `up`: settings of plug-ins are merged into those that init
        wrote, plug-ins in `without` are left out, `extra` is YAML put in front."""
        path = os.path.join(self.data, "deai.yaml")
        with open(path, encoding="utf-8") as file:
            head, rows = file.read().split("plugins:\n", 1)
        names = [m.group(1) for m in re.finditer(r"^  ([\w/]+):", rows, re.M)]
        plugins = dict(plugins or {})
        names += [name for name in plugins if name not in names]
        for key in re.findall(r"^(\w+):", extra, re.M):
            head = re.sub(rf"^{key}:.*\n(?:[ \t].*\n)*", "", head, flags=re.M)
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + extra + "plugins:\n")
            for name in names:
                if name not in without:
                    file.write(f"  {name}: {json.dumps(plugins.get(name, {}))}\n")
        return self

    def up(self):
        """Starts the daemon and waits until it answers."""
        self.deai("--quiet", "up", "-d")
        state = until(self.try_status, 20, f"{self.name} answers")
        self.key, self.hex, self.pid = state["key"], state["hex"], state["pid"]
        return self

    def try_status(self):
        got = self.deai("--json", "status", code=None)
        return json.loads(got.out) if got.out.startswith("{") else None

    def status(self):
        """The JSON of `deai status`; exit code 12 (degraded) is fine."""
        state = self.try_status()
        if state is None:
            raise Failed(f"{self.name} does not answer")
        return state

    def down(self):
        self.deai("--quiet", "down", code=None)
        self.pid = None

    def kill(self):
        """SIGKILL, and waits until the data folder is free."""
        pid, self.pid = self.pid, None
        os.kill(pid, signal.SIGKILL)

        def free():
            with open(os.path.join(self.data, "lock"), "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                except BlockingIOError:
                    return False
        until(free, 10, f"{self.name} is gone")

    def port(self):
        with open(os.path.join(self.data, "http.port"), encoding="utf-8") as file:
            return int(file.read())

    def http(self, path, body=None, headers=None, timeout=120):
        """(status, headers, bytes) of a request; body (an object) makes it a POST of JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port()}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=timeout * SLOW) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def models(self):
        """The CIDs of the models that this node can answer with."""
        code, _, body = self.http("/v1/models")
        return [row.get("cid", row["id"]) for row in json.loads(body)["data"]] if code == 200 else []

    def metric(self, name):
        """The value of deai_NAME in /metrics, all plug-ins added up; 0 when it is not there."""
        text = self.http("/metrics")[2].decode()
        return sum(int(float(v)) for v in re.findall(rf"^deai_{name}(?:\{{[^}}]*\}})? (\S+)$", text,
                                                     re.M))

    def log(self):
        try:
            with open(os.path.join(self.data, "deaid.log"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def await_log(self, pattern, seconds=20):
        """Waits until the log has a match of pattern and returns it."""
        return until(lambda: re.search(pattern, self.log()), seconds,
                     f"{self.name} logs {pattern!r}")


class Network:
    """Nodes that are started together and end together."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="deai-e2e.")
        self.nodes = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and kind is not SystemExit:
            for node in self.nodes:
                print(f"--- log of {node.name}\n" + "\n".join(node.log().splitlines()[-25:]),
                      file=sys.stderr, flush=True)
        for node in self.nodes:
            try:
                node.down()
            except (Failed, OSError) as error:
                print(error, file=sys.stderr)
        if os.environ.get("DEAI_E2E_KEEP"):
            print(f"kept {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def model(self):
        """Path of the model; without one the test is skipped."""
        path = os.environ.get("DEAI_MODEL") or os.path.join(
            os.environ.get("DEAI_CACHE", os.path.join(ROOT, ".cache")),
            "SmolLM2-135M-Instruct.Q4_1.gguf")
        if not os.access(path, os.R_OK):
            print(f"skipped: expected a GGUF file at {path}; run ./check once, or set DEAI_MODEL")
            sys.exit(SKIPPED)
        return path

    def plugin(self, path):
        """Absolute path of a plug-in of the build that is not among the bundled ones."""
        return os.path.join(BUILD, path)

    def first(self, name, plugins=None, without=(), extra="", up=True, init=()):
        """A node with a network of its own, which orders the ledger; init: more words for init."""
        node = Node(self, name)
        node.deai("--quiet", "init", "--name", name, "--http", "127.0.0.1:0", "--peers",
                  f"127.0.0.1:{free_port()}", *init)
        return self.add(node, plugins, without, extra, up)

    def join(self, name, plugins=None, without=(), grant=0, role="member", inviter=None, extra="",
             up=True):
        """A node that joins the network of the first one (or of inviter)."""
        inviter = inviter or self.nodes[0]
        node = Node(self, name)
        code = inviter.deai("invite", "--grant", str(grant), "--role", role).out.strip()
        node.deai("--quiet", "join", code, "--name", name, "--http", "127.0.0.1:0", "--peers",
                  f"127.0.0.1:{free_port()}")
        return self.add(node, plugins, without, extra, up)

    def add(self, node, plugins, without, extra, up):
        node.configure(plugins, without, extra)
        self.nodes.append(node)
        return node.up() if up else node


def main(test):
    """Runs test(net); the program's exit status says how it went."""
    try:
        with Network() as net:
            test(net)
    except (Failed, subprocess.SubprocessError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    print("passed")
