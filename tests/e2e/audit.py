"""Audits catch lies: a front node without the model, a provider that lies, an honest one, and a
fourth node that verifies. Two lies, one after the other: a bit of a logit (another root), and tokens
of another seed over an honest prefill (a wrong token)."""
import json
import os
import re

from nodes import check, main, until

MODEL_SETTINGS = {"threads": 1}
QUESTION = "Name three colours."


def liar_settings(net, kind):
    return {"path": net.plugin(f"tests/e2e/liar_{kind}.so"), **MODEL_SETTINGS}


def ask(front, *words):
    """The JSON of one answer."""
    return front.deai("--json", "ask", "--max", "12", "--temperature", "0.9", "--seed", "7",
                      *words, QUESTION).json()


def hears_lie(front, kind, answer):
    audit = answer["audit"]
    check(f"{kind}: the audit is unequal", audit["result"] == "unequal", audit)
    if kind == "logit":
        check("logit: another root, every token right", audit["root"] == "unequal" and
              "wrong" not in audit, audit)
    else:
        check("seed: same root, a wrong token named", audit["root"] == "equal" and
              0 <= audit["wrong"] < 12, audit)


def status_says(front, unequal):
    state = front.status()
    check("status counts it", state["audits"]["unequal"] == unequal, state.get("audits"))
    text = front.deai("status", code=None).out
    check("status says it", f"{unequal} UNEQUAL" in text, text)


def verify(node, path, code):
    got = node.deai("--json", "verify", path, code=code).json()
    return got, node.deai("verify", path, code=code).out


def lie(net, front, honest, kind, liar, before):
    """One lie from the answer to the verification; before = lies caught so far."""
    job = os.path.join(net.folder, f"{kind}.job")
    answer = ask(front, "--via", liar.name, "--receipt", job)
    check(f"{kind}: the liar answered", answer["nodes"] == [liar.hex], answer["nodes"])
    check(f"{kind}: the honest node was drawn", answer["audit"].get("by") == honest.hex,
          answer["audit"])
    hears_lie(front, kind, answer)
    status_says(front, before + 1)
    text = front.deai("ask", "--max", "12", "--temperature", "0.9", "--seed", "7", "--explain",
                      "--via", liar.name, QUESTION).err
    check(f"{kind}: --explain says UNEQUAL and who found it",
          "audit     UNEQUAL: honest" in text, text)
    check(f"{kind}: --explain says why the others did not answer",
          f"honest {honest.hex[:8]}: another node is asked for by name" in text and
          f"front {front.hex[:8]}: another node is asked for by name" in text and
          re.search("fourth [0-9a-f]{8}: does not offer this model", text), text)
    return job, answer


def verified(fourth, kind, job, answer):
    """The fourth node has the model: it says which side is wrong."""
    got, text = verify(fourth, job, 9)
    result = got["answer"]
    check(f"{kind}: the worker's side is wrong", result["wrong_side"] == "worker" and
          "WRONG      the worker's side" in text, (got, text))
    check(f"{kind}: the receipt itself is in order", got["signature"] == got["input"] ==
          got["units"] == "ok", got)
    if kind == "seed":
        check("seed: names the token", result["wrong_token"] == answer["audit"]["wrong"] and
              f"token {result['wrong_token']} of 12" in text, (result, text))
    audit, text = verify(fourth, job + ".audit", 0)
    check(f"{kind}: the auditor's side is right", audit["answer"]["wrong_side"] is None and
          audit["answer"]["recomputed"], audit)


def not_verified(fourth, job):
    """The fourth node lacks the model."""
    got, text = verify(fourth, job, 11)
    check("without the model: signature, input, units", got["signature"] == got["input"] ==
          got["units"] == "ok", got)
    check("without the model: not recomputed: model missing",
          "not recomputed: model missing" in text and not got["answer"]["recomputed"], text)


def tampered(fourth, net, job):
    """A receipt that was changed is found without a model."""
    with open(job, "rb") as file:
        data = bytearray(file.read())
    path = os.path.join(net.folder, "tampered.job")
    for at in range(40, 60):
        data[at] ^= 0x10  # inside the receipt
    with open(path, "wb") as file:
        file.write(data)
    code = fourth.deai("verify", path, code=None).code
    check("a changed receipt is refused", code in (2, 9), code)


def framed(fourth, net, job):
    """A payer that puts other tokens into the file of an honest worker is found out."""
    with open(job, "rb") as file:
        data = bytearray(file.read())
    data[-1] ^= 1  # the last output token
    path = os.path.join(net.folder, "framed.job")
    with open(path, "wb") as file:
        file.write(data)
    got, text = verify(fourth, path, 9)
    check("a payer that changes a token: its own side is wrong",
          got["answer"]["wrong_side"] == "payer" and "the payer's side" in text, (got, text))


def test(net):
    model = net.model()
    front = net.first("front", {"models/answer": {"audit": "100%"}}, without=["compute/cpu"])
    honest = net.join("honest", {"compute/cpu": MODEL_SETTINGS})
    liars = {kind: net.join("liar-" + kind, {"compute/cpu": liar_settings(net, kind)})
             for kind in ("logit", "seed")}
    fourth = net.join("fourth", {"compute/cpu": MODEL_SETTINGS})
    cid = honest.deai("model", "add", model).out.strip()
    until(lambda: cid in front.models(), 20, "front sees the model")

    alone = ask(front)
    check("one provider: not audited, and why", alone["audit"] ==
          {"result": "none", "why": "no second provider"}, alone["audit"])
    check("one provider: status says it", "not audited: no second provider" in
          front.deai("status", code=None).out)

    caught = {}
    for count, (kind, liar) in enumerate(liars.items()):
        check("added", liar.deai("model", "add", cid).out.strip() == cid)
        until(lambda: ask(front, "--via", liar.name, "--no-audit")["nodes"] == [liar.hex], 20,
              f"{liar.name} answers")
        caught[kind] = lie(net, front, honest, kind, liar, 2 * count)
        liar.deai("model", "rm", cid)

    good = ask(front, "--via", "honest", "--no-audit")
    check("--no-audit", good["audit"]["why"] == "the request says so", good["audit"])
    not_verified(fourth, caught["seed"][0])
    tampered(fourth, net, caught["seed"][0])
    fourth.deai("model", "add", cid)
    for kind, (job, answer) in caught.items():
        verified(fourth, kind, job, answer)
    job = os.path.join(net.folder, "good.job")
    equal = ask(front, "--via", "honest", "--receipt", job)
    check("two honest nodes: equal, ids too", equal["audit"]["result"] == "equal" and
          equal["audit"]["ids"] == "equal", equal["audit"])
    got, _ = verify(fourth, job, 0)
    check("and verified", got["answer"]["wrong_side"] is None, got)
    framed(fourth, net, job)
    fourth.deai("model", "rm", cid)
    got, _ = verify(fourth, job, 0)
    check("a model that only lies in the blocks is loaded for it", got["answer"]["recomputed"], got)
    print(json.dumps(front.status()["audits"]))


main(test)
