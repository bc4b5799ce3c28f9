"""Random nodes are killed while four clients ask and two pay. Every request ends within its deadline
and is the undisturbed text, whole, or an error that names a cause; every acknowledged payment is on
the ledger; ledger and stores verify; no coin is lost or made.

    kills.py [KILLS [SEED]]     default 5 kills, with $DEAI_FULL 50; half of them spare the orderer
"""
import collections
import os
import random
import re
import sys
import threading
import time

from nodes import Failed, check, coins, main, until

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 50 if os.environ.get("DEAI_FULL") else 5
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
DEADLINE = 30
GRANT = 50
ALL = 21_000_000 * 10**9
PRICES = {"price_in": coins(1), "price_out": coins(2), "threads": 1}
QUESTIONS = ["What is photosynthesis?", "Name three colours.", "Who wrote Hamlet?",
             "Write a story about a ship.", "Why is the sky blue?", "Describe a cat."]
TOKENS = 60


class Clients:
    """Four that ask and two that pay, until they are told to stop."""

    def __init__(self, fronts, payee, whole):
        self.fronts, self.payee, self.whole = fronts, payee, whole
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.ends = collections.Counter()
        self.paid, self.wrong = [], []
        self.threads = [threading.Thread(target=self.asks, args=(n,)) for n in range(4)]
        self.threads += [threading.Thread(target=self.pays, args=(n,)) for n in range(len(fronts))]

    def note(self, kind, wrong=None):
        with self.lock:
            self.ends[kind] += 1
            if wrong:
                self.wrong.append(wrong)

    def asks(self, number):
        draw = random.Random(SEED * 100 + number)
        while not self.stop.is_set():
            words = draw.choice(QUESTIONS)
            front = self.fronts[number % len(self.fronts)]
            start = time.monotonic()
            done = front.deai("--quiet", "--timeout", DEADLINE, "ask", "--max", TOKENS, "--temperature",
                              0, words, code=None, timeout=4 * DEADLINE)
            took = time.monotonic() - start
            if took > DEADLINE + 1:
                self.note("late", f"{words!r} took {took:.1f} s, code {done.code}: {done.err[-300:]}")
            elif done.code == 0 and done.out == self.whole[words]:
                self.note("whole")
            elif done.code == 0:
                self.note("other text", f"{words!r}: {done.out!r} instead of {self.whole[words]!r}")
            elif not done.err.strip():
                self.note("no cause", f"{words!r}: code {done.code} and no text")
            else:
                self.note("refused: " + re.sub(r"/\S+/deai.sock", "deai.sock",
                                               done.err.strip().splitlines()[-1])[:80])
                self.stop.wait(0.2)  # as a client backs off

    def pays(self, number):
        front, amount = self.fronts[number], 1 + number
        while not self.stop.is_set():
            done = front.deai("--quiet", "--timeout", DEADLINE, "wallet", "send", self.payee,
                              coins(amount), code=None, timeout=4 * DEADLINE)
            if done.code == 0:
                with self.lock:
                    self.paid.append(amount)
            elif not done.err.strip():
                self.note("no cause", f"payment of {amount}: code {done.code} and no text")
            amount += len(self.fronts)  # each amount once, so that it names its payment
            self.stop.wait(0.2)  # the pace of paying

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def wallet(node):
    return node.deai("--json", "wallet", "show").json()


def chosen(workers):
    """Tokens that the workers that answer have chosen."""
    total = 0
    for node in workers:
        try:
            total += node.metric("tokens")
        except OSError:
            pass
    return total


def kill_some(net, clients, workers):
    draw = random.Random(SEED)
    for number in range(KILLS):
        victim = draw.choice(net.nodes if number % 2 else net.nodes[1:])
        whole = clients.ends["whole"]
        until(lambda w=whole: clients.ends["whole"] > w or clients.wrong, 60, "whole answers again")
        wait_for, before = draw.randrange(5, 120), chosen(workers)
        until(lambda w=wait_for, b=before: not b <= chosen(workers) < b + w, 60, "answers go on")
        victim.kill()
        victim.up()
        print(f"kill {number + 1} of {KILLS}: {victim.name}; {dict(clients.ends)}", flush=True)
        if clients.wrong:
            raise Failed(clients.wrong[0])


def test(net):
    path = net.model()
    settings = {"models/answer": {"audit": "20%"}}
    a = net.first("a", settings, without=("compute/cpu", "compute/vulkan"), init=("--hold", "1s"))
    b = net.join("b", {"compute/cpu": PRICES}, without=("compute/vulkan",), grant=GRANT)
    c = net.join("c", {"compute/cpu": PRICES}, without=("compute/vulkan",), grant=GRANT)
    d = net.join("d", settings, without=("compute/cpu", "compute/vulkan"), grant=GRANT)
    cid = b.deai("--quiet", "model", "add", path).out.strip()
    c.deai("--quiet", "model", "add", cid)
    for front in (a, d):
        until(lambda f=front: cid in f.models(), 30, f"{front.name} sees the model")
    whole = {words: a.deai("--quiet", "ask", "--max", TOKENS, "--temperature", 0, words).out
             for words in QUESTIONS}
    payee = wallet(c)["account"]
    with Clients([a, d], payee, whole) as clients:
        kill_some(net, clients, [b, c])
    print(f"requests: {dict(clients.ends)}; payments acknowledged: {len(clients.paid)}")
    check("every request ended in time, whole or with a cause", not clients.wrong, clients.wrong[:3])
    check("answers were given in between", clients.ends["whole"] >= KILLS, clients.ends)

    for front in (a, d):
        until(lambda f=front: cid in f.models(), 60, f"{front.name} sees the model again")
        for words in QUESTIONS:
            again = front.deai("--quiet", "ask", "--max", TOKENS, "--temperature", 0, words).out
            check(f"{front.name} answers as before: {words}", again == whole[words], again)
    rows = a.deai("--json", "wallet", "history").json() + d.deai("--json", "wallet", "history").json()
    sent = {row["amount"] for row in rows if row["kind"] == "sent"}
    lost = [amount for amount in clients.paid if amount not in sent]
    check("every acknowledged payment is on the ledger", clients.paid and not lost, lost)
    for worker in (b, c):
        worker.deai("wallet", "claim")
    until(lambda: all(wallet(n)["held"] == 0 for n in net.nodes), 30, "the hold time is over")

    def total():
        return sum(wallet(n)["available"] + wallet(n)["deposits"] for n in net.nodes)
    until(lambda: total() == ALL, 20, "all coins are there")
    for node in net.nodes:
        said = node.deai("store", "verify", code=None)
        check(f"store of {node.name} verifies", said.code == 0, said.out + said.err)
    for node in net.nodes:
        node.down()
        said = node.deai("ledger", "verify", "--rules", code=None)
        check(f"ledger of {node.name} verifies", said.code == 0, said.out + said.err)


if __name__ == "__main__":
    main(test)
