"""Paid answers: a channel is opened, vouchers go with the tokens, the receipt's price is claimed and
after the hold time it is exactly what has moved. Without money the answer is refused with amounts.
"""
import json
import os
import socket

from nodes import check, coins, main, until

PRICE_IN, PRICE_OUT = 1, 2
GRANT = 5 * 10**9
DEPOSIT = 10**9 // 2
PRICES = {"price_in": coins(PRICE_IN), "price_out": coins(PRICE_OUT), "threads": 1}
QUESTION = "What is photosynthesis?"


def wallet(node):
    return node.deai("--json", "wallet", "show").json()


def ask(node, words, code=200, **more):
    """(status, headers, object) of a chat answer of the model that the node knows."""
    body = {"model": "default", "messages": [{"role": "user", "content": words}],
            "temperature": 0, **more}
    status, headers, data = node.http("/v1/chat/completions", body)
    check(f"HTTP {code}", status == code, (status, data[:400]))
    return {k.lower(): v for k, v in headers.items()}, data


def total(nodes):
    """Everything there is, from the accounts of all nodes: each channel's rest is its payer's."""
    wallets = [wallet(node) for node in nodes]
    return sum(w["available"] + w["deposits"] for w in wallets)


def free_port():
    """A port that a keeps when it starts again, so that b finds it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def poor(net):
    """A member without coins is told what it costs, what it has and what to do."""
    node = net.join("poor", without=("compute/cpu",))
    cid = until(lambda: node.models(), 30, "poor sees the model")[0]
    until(lambda: node.deai("wallet", "show", code=None).code == 0, 20, "poor has its account")
    body = {"model": cid, "prompt": "Hello", "max_tokens": 3}
    status, _, data = node.http("/v1/completions", body)
    error = json.loads(data)["error"]
    check("HTTP 402 without coins", status == 402, (status, error))
    text = error["message"]
    check("the text says expected, found and what to do",
          "expected at least 0.0000000" in text and "found 0.000000000" in text and
          "deai wallet show" in text, text)
    said = node.deai("ask", "--max", "3", "Hello", code=8)
    check("deai ask: exit code 8 and the same text", "deai wallet show" in said.err, said.err)


def leaves(a, b):
    """A client leaves in the middle: the stream is settled as it stands, on both sides alike."""
    before = wallet(a)["spent"]
    asking = a.start_deai("ask", "--temperature", "0", "--max", "400", "Tell a long story.")
    check("it has begun", len(os.read(asking.stdout.fileno(), 1)) == 1)
    asking.kill()
    asking.communicate()
    until(lambda: wallet(a)["spent"] > before and wallet(a)["pending"] == 0, 20, "it is settled")
    paid = wallet(a)["spent"] - before
    check("not all of it was paid", paid < 400 * PRICE_OUT, paid)
    until(lambda: wallet(b)["owed"] == paid, 10, "b counts the same")
    return paid


def restarts(a, b):
    """Both sides stop and start again: the channel and its sum go on."""
    spent, owed = wallet(a)["spent"], wallet(b)["owed"]
    for node in (b, a):
        node.down()
        node.up()
    until(a.models, 30, "a sees the model again")
    headers, _ = ask(a, QUESTION, max_tokens=3)
    price = int(headers["x-deai-price"])
    until(lambda: wallet(b)["owed"] == owed + price, 10, "b counts on")
    check("a counts on", wallet(a)["spent"] == spent + price, (wallet(a), spent, price))
    check("still one channel", len(wallet(a)["channels"]) == 1, wallet(a)["channels"])


def closes(a, b, everything):
    """The payee claims, the payer closes: what is left of the deposit comes back."""
    owed = wallet(b)["owed"]
    claimed = b.deai("--json", "wallet", "claim").json()["amount"]
    check("claimed to the last unit", claimed == owed, (claimed, owed))
    a.deai("wallet", "close")
    until(lambda: wallet(a)["deposits"] == 0, 20, "the deposit is back")
    spent = wallet(a)["spent"]
    check("all that is gone is what was paid",
          wallet(a)["available"] == everything - wallet(b)["available"] and
          wallet(b)["available"] == GRANT + spent, (wallet(a), wallet(b), spent))
    headers, _ = ask(a, QUESTION, max_tokens=2)
    check("the next answer opens another channel", wallet(a)["deposits"] == DEPOSIT and
          int(headers["x-deai-price"]) > 0, wallet(a))


def test(net):
    a = net.first("a", without=("compute/cpu",), init=("--hold", "1s"),
                  extra="ledger: { deposit: 0.5, close_after: 100ms }\n"
                        f"peers: {{ listen: '127.0.0.1:{free_port()}' }}\n")
    b = net.join("b", plugins={"compute/cpu": PRICES}, grant=5)
    cid = b.deai("model", "add", net.model()).out.strip()
    until(lambda: cid in a.models(), 30, "a sees the model")
    everything = total([a, b])
    at_b = wallet(b)["available"]
    check("b has its grant", at_b == GRANT, at_b)

    price = 0
    for words, most in ((QUESTION, 40), ("Name three colours.", 5), (QUESTION, 100)):
        headers, data = ask(a, words, max_tokens=most)
        usage = json.loads(data)["usage"]
        said = int(headers["x-deai-price"])
        exact = usage["prompt_tokens"] * PRICE_IN + usage["completion_tokens"] * PRICE_OUT
        check(f"price of {usage['completion_tokens']} tokens", said == exact, (said, exact))
        price += said
    until(lambda: wallet(b)["owed"] == price, 10, "b is owed the price")
    check("one channel with its deposit", wallet(a)["deposits"] == DEPOSIT, wallet(a))
    check("nothing held before a claim", wallet(b)["held"] == 0, wallet(b))

    claimed = b.deai("--json", "wallet", "claim").json()
    check("one claim of exactly the receipts", claimed == {"claims": 1, "amount": price}, claimed)
    until(lambda: wallet(b)["available"] == at_b + price, 20, "the hold time is over")
    check("nothing is owed any more", wallet(b)["owed"] == 0 and wallet(b)["held"] == 0, wallet(b))
    until(lambda: total([a, b]) == everything, 10, "the total is what it was")
    rows = b.deai("--json", "wallet", "history").json()
    check("the claim stands in the history",
          [r["amount"] for r in rows if r["kind"] == "claim"] == [price], rows)
    leaves(a, b)
    restarts(a, b)
    closes(a, b, everything)
    poor(net)


if __name__ == "__main__":
    main(test)
