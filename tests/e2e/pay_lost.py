"""A paid provider is killed in the middle of an answer: the answer goes on at another one with the
same bytes, the killed one owes its receipt and gives it when it is back, and both are paid what their
receipts say.
"""
import os
import re

from nodes import check, coins, main, until
from pay import wallet

PRICES = {"price_in": coins(1), "price_out": coins(2), "threads": 1}
STORY = "Write a story about a ship in a storm."
ASK = ("ask", "--temperature", "0", "--max", "200", STORY)


def cut_answer(a, providers):
    """Asks, kills who answers after its first words; returns (text, who was killed)."""
    asking = a.start_deai(*ASK)
    words = os.read(asking.stdout.fileno(), 64).decode()
    said = ""
    while "\n" not in said:
        said += os.read(asking.stderr.fileno(), 256).decode()
    hexes = re.search(r"\[node ([0-9a-f]+)\]", said)
    check("the node that answers is named", hexes is not None, said)
    worker = next(p for p in providers if p.hex.startswith(hexes.group(1)))
    # it gave enough that a second voucher is on its disk
    while len(words) < 200:
        words += os.read(asking.stdout.fileno(), 64).decode()
    worker.kill()
    rest, err = asking.communicate(timeout=120)
    check("the answer came to its end", asking.returncode == 0, err)
    return words + rest, worker


def settle(a, node, least):
    """node claims; what moved is what its receipts say, at least `least`."""
    owed = wallet(node)["owed"]
    before = wallet(node)["available"]
    until(lambda: node.deai("--json", "wallet", "claim").json()["amount"] in (owed, 0) and
          wallet(node)["available"] == before + owed, 20, f"{node.name} has its {owed}")
    check(f"{node.name} was paid its receipts", least <= owed, owed)
    return owed


def test(net):
    a = net.first("a", without=("compute/cpu",), init=("--hold", "1s"))
    b = net.join("b", plugins={"compute/cpu": PRICES}, grant=1)
    c = net.join("c", plugins={"compute/cpu": PRICES}, grant=1)
    cid = b.deai("model", "add", net.model()).out.strip()
    c.deai("model", "add", cid)
    until(lambda: cid in a.models(), 30, "a sees the model")
    whole = a.deai(*ASK).out
    text, killed = cut_answer(a, [b, c])
    other = c if killed is b else b
    check("the same text as without the death", text == whole, (len(text), len(whole)))
    a.await_log(r"owes its receipt")
    check("one receipt is owed", wallet(a)["unknown"] == 1, wallet(a))

    killed.up()
    match = a.await_log(r"gave the receipt it owed: (\d+) units, price (\d+)", 30)
    units, price = int(match.group(1)), int(match.group(2))
    check("it says what was given before the death", 0 < units < 200 and price > 2 * units,
          (units, price))
    until(lambda: wallet(a)["unknown"] == 0, 10, "nothing is owed to a any more")
    paid = settle(a, other, 100)
    paid += settle(a, killed, price)
    spent = wallet(a)["spent"]
    check("payer and payees count the same", spent == paid, (spent, paid))
    check("deposits less what was paid", wallet(a)["deposits"] == 2 * 10**9 - paid, wallet(a))


if __name__ == "__main__":
    main(test)
