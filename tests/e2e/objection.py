"""An unequal audit of a paid answer: both receipts go to the ledger as an objection, the price is
frozen, and root decides after recomputing: against a worker that lied, and for an honest worker whose
auditor lied. The front node is root and has the model in its blocks only."""
import os

from nodes import check, coins, main, until

PRICES = {"price_in": coins(1), "price_out": coins(2), "threads": 1}
QUESTION = "Name three colours."


def ask(front, path, *words):
    return front.deai("--json", "ask", "--max", "12", "--temperature", "0.9", "--seed", "7",
                      "--receipt", path, *words, QUESTION).json()


def operations(front, kind):
    """Bodies of the operations channel/1 kind in the blocks, oldest first."""
    found = []
    for height in range(1, front.status()["ledger"]["height"] + 1):
        block = front.deai("--json", "ledger", "show", str(height)).json()
        for tx in block["transactions"]:
            found += [op["body"] for op in tx["operations"]
                      if (op["module"], op["type"]) == ("channel/1", kind)]
    return found


def objected(front, answer, count):
    audit = answer["audit"]
    check("the audit is unequal", audit["result"] == "unequal", audit)
    check("the objection is on the ledger", audit["objection"].startswith("on the ledger, block "),
          audit)
    height = int(audit["objection"].rsplit(" ", 1)[1])
    block = front.deai("--json", "ledger", "show", str(height)).json()
    ops = [op for tx in block["transactions"] for op in tx["operations"] if op["type"] == "object"]
    check("that block has it, with two receipts", len(ops) == 1 and
          len(ops[0]["body"]["receipts"]) == 2, block)
    jobs = [receipt[0]["job"] for receipt in ops[0]["body"]["receipts"]]
    check("of one job", jobs[0] == jobs[1], jobs)
    check("status counts it", front.status()["audits"]["objections"] == count,
          front.status()["audits"])
    check("status says it", f"{count} objections" in front.deai("status", code=None).out)
    return height


def decided(front, job, side, payee):
    """verify names the side, verdict gives the payee what it is due, and only once."""
    before = front.deai("--json", "verify", job, code=None).json()
    check(f"verify: the {side}'s side is wrong", before["answer"]["wrong_side"] == side, before)
    check("verify: amounts and channel", before["price_check"] == "ok" and
          before["channel"]["payee_is_worker"] and before["channel"]["objected"] > 0 and
          before["channel"]["decided"] == 0, before)
    verdict = front.deai("--json", "--quiet", "ledger", "verdict", job).json()
    check("verdict", verdict == {"wrong_side": side, "payee": payee}, verdict)
    check("it stands on the ledger", operations(front, "verdict")[-1]["payee"] == payee)
    after = front.deai("--json", "verify", job, code=None).json()
    check("verify: decided", after["channel"]["decided"] > 0 and
          after["channel"]["payee"] == payee, after)
    front.deai("ledger", "verdict", job, code=2)


def refused(net, front, honest, job):
    """Who is not root, a free answer, an auditor's file: no verdict."""
    check("a member is not root", "root" in honest.deai("ledger", "verdict", job, code=6).err)
    front.deai("ledger", "verdict", job + ".audit", code=2)
    free = os.path.join(net.folder, "free.job")
    front.deai("ask", "--max", "3", "--receipt", free, "--via", "auditor", "--no-audit", QUESTION)
    front.deai("ledger", "verdict", free, code=5)


def test(net):
    liar_path = net.plugin("tests/e2e/liar_seed.so")
    front = net.first("front", {"models/answer": {"audit": "100%"}}, init=("--hold", "60s"))
    worker = net.join("worker", {"compute/cpu": PRICES})
    auditor = net.join("auditor", {"compute/cpu": {"threads": 1}})
    liar = net.join("liar", {"compute/cpu": {"path": liar_path, **PRICES}})
    slander = net.join("slander", {"compute/cpu": {"path": net.plugin("tests/e2e/liar_logit.so"),
                                                   "threads": 1}})
    cid = front.deai("store", "add", net.model()).out.strip()
    for node in (auditor, liar):
        node.deai("model", "add", cid)
    until(lambda: cid in front.models(), 20, "front sees the model")

    job = os.path.join(net.folder, "lie.job")
    answer = ask(front, job, "--via", "liar")
    check("the answer had its price", answer["price"] == answer["u_in"] + 2 * answer["u_out"],
          answer)
    objected(front, answer, 1)
    refused(net, front, auditor, job)
    decided(front, job, "worker", 0)
    liar.deai("model", "rm", cid)

    auditor.deai("model", "rm", cid)
    worker.deai("model", "add", cid)
    slander.deai("model", "add", cid)
    job = os.path.join(net.folder, "slander.job")
    answer = ask(front, job, "--via", "worker")
    check("the slanderer audited", answer["audit"]["by"] == slander.hex, answer["audit"])
    objected(front, answer, 2)
    decided(front, job, "auditor", answer["price"])
    front.deai("--quiet", "down")
    check("the ledger replays", "ok  blocks" in front.deai("ledger", "verify", "--rules").out)


main(test)
