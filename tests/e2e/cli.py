"""The command line as scripts meet it: exit codes, JSON, one sentence on stderr that says what to do;
`model show`, `doctor`, `bench`, `leave`.
"""
import json
import os
import re
import subprocess

from nodes import BUILD, check, coins, main, until

PRICES = {"price_in": coins(1), "price_out": coins(2), "threads": 1}
COMMANDS = ("init", "up", "ask", "model", "store", "invite", "join", "wallet", "leave", "doctor",
            "bench", "key", "ledger", "plugin", "member", "verify", "status", "down")


def helps():
    done = subprocess.run([os.path.join(BUILD, "host/deai"), "--help"], capture_output=True, text=True,
                          timeout=20, stdin=subprocess.DEVNULL, check=True)
    rows = done.stdout.splitlines()
    check("--help fits 24 lines of 100 columns", len(rows) <= 24 and max(map(len, rows)) <= 100,
          (len(rows), max(map(len, rows))))
    check("--help names every command", all(name in done.stdout for name in COMMANDS), done.stdout)


def refused(node, code, *words):
    """A refusal: its exit code, nothing on stdout, a text on stderr."""
    done = node.deai(*words, code=code, timeout=30)
    check(f"exit code {code}: deai {' '.join(words)[:60]}", done.out == "" and done.err.strip(),
          (done.out, done.err))
    return done.err


def usage(node):
    for words in (["frobnicate"], [], ["--timeout", "abc", "status"], ["--timeout", "-1", "status"],
                  ["--timeout", "0", "status"], ["--timeout", "999999999", "status"],
                  ["ask", "--max", "abc", "Hi"], ["ask", "--seed", "x", "Hi"], ["ask"], ["model"],
                  ["model", "show"], ["store", "pin"], ["store", "pin", "nonsense"], ["wallet", "x"],
                  ["wallet", "send", "nobody", "1"], ["member", "rm"], ["leave", "now"],
                  ["doctor", "all"], ["bench", "all"], ["invite", "--for", "soon"],
                  ["ledger", "show", "?"], ["verify"], ["key"], ["down", "now"]):
        refused(node, 2, *words)
    said = refused(node, 2, "--timeout", "abc", "status")
    check("--timeout says what it expected", "seconds like 30" in said, said)
    for text in ("30", "500ms", "1m"):
        node.deai("--timeout", text, "status")


def no_node(node):
    for words in (["status"], ["ask", "Hi"], ["model", "list"], ["model", "show", "x"],
                  ["store", "list"], ["wallet"], ["invite"], ["member", "list"], ["plugin", "list"],
                  ["ledger", "status"], ["bench"], ["leave", "--yes"], ["down"]):
        said = refused(node, 4, *words)
        check("it says how to start the node", "deai up -d" in said and said.count("\n") == 1, said)
    done = node.deai("--json", "doctor", code=1)
    found = {row["check"]: row for row in done.json()}
    check("doctor: FAIL for the node and its fix",
          (found["node"]["level"], found["node"]["fix"]) == ("FAIL", "deai up -d"), found["node"])
    check("doctor: the files were checked", found["config"]["level"] == "PASS" and
          found["keys"]["level"] == "PASS" and found["disk"]["level"] in ("PASS", "WARN"), found)
    node.deai("ledger", "verify")
    refused(node, 5, "ledger", "show")  # it has followed no block yet


def not_found(node):
    refused(node, 5, "model", "show", "no-such-model")
    refused(node, 5, "store", "add", "/no/such/file")
    refused(node, 5, "member", "rm", "nobody")
    refused(node, 5, "plugin", "show", "no/such")
    refused(node, 5, "key", "rm", "nobody")
    refused(node, 5, "ledger", "show", "999999999")
    refused(node, 5, "ask", "-m", "no-such-model", "Hi")
    refused(node, 5, "ask", "--via", "nobody", "Hi")


def objects(node):
    """--json of every command that lists or shows is JSON with the fields that scripts read."""
    state = node.deai("--json", "status").json()
    check("status", {"name", "key", "hex", "pid", "ledger", "plugins", "audits"} <= set(state), state)
    check("plugin list", {"id", "state", "restarts"} <= set(node.deai("--json", "plugin", "list")
                                                            .json()[0]))
    rows = node.deai("--json", "member", "list").json()
    check("member list", {"name", "role", "key", "owner"} <= set(rows[0]), rows)
    wallet = node.deai("--json", "wallet", "show").json()
    check("wallet show", {"account", "available", "held", "deposits", "owed"} <= set(wallet), wallet)
    check("wallet history", isinstance(node.deai("--json", "wallet", "history").json(), list))
    check("ledger show", {"height", "hash", "transactions"} <=
          set(node.deai("--json", "ledger", "show").json()))
    check("ledger status", "height" in node.deai("--json", "ledger", "status").json())
    check("model list", isinstance(node.deai("--json", "model", "list").json(), list))
    made = node.deai("--json", "key", "add", "script").json()
    check("key add", {"name", "key"} <= set(made), made)
    check("key list", [r["name"] for r in node.deai("--json", "key", "list").json()] == ["script"])
    node.deai("key", "rm", "script")


def shows(a, b, cid, name, path):
    size = os.path.getsize(path)
    until(lambda: b.hex in a.deai("--json", "model", "show", name).json()["nodes"], 20, "a sees b")
    seen = a.deai("--json", "model", "show", name).json()
    check("model show by name: CID and prices", (seen["cid"], seen["price_in"], seen["price_out"]) ==
          (cid, 1, 2), seen)
    check("model show: context and a known template", seen["context_length"] > 0 and
          seen["chat_template"], seen)
    check("model show: the node that offers it", seen["nodes"] == [b.hex], seen)
    check("model show: not here", seen["blocks_here"] == 0 and not seen["pinned"], seen)
    here = b.deai("--json", "model", "show", cid).json()
    check("model show by CID where it is: whole and pinned",
          (here["size"], here["pinned"]) == (size, True) and here["blocks_here"] == here["blocks"] > 0,
          here)
    text = b.deai("model", "show", cid).out
    check("model show as text", f"{size} bytes" in text and "pinned" in text and b.hex[:8] in text,
          text)


def heals(a, b):
    for node in (a, b):
        rows = node.deai("--json", "doctor").json()
        wrong = [row for row in rows if row["level"] == "FAIL"]
        check(f"doctor of {node.name}: no FAIL", not wrong, wrong)
        check("doctor: every check is there once", [row["check"] for row in rows] ==
              ["data", "keys", "config", "disk", "landlock", "node", "plug-ins", "ledger", "members",
               "clock", "files", "memory", "vulkan"], rows)
        check("doctor: what is not well has a fix",
              all(bool(row["fix"]) == (row["level"] != "PASS") for row in rows), rows)
    folder = os.path.join(b.data, "keys")
    os.chmod(folder, 0o755)
    done = b.deai("doctor", code=1)
    os.chmod(folder, 0o700)
    check("doctor: open keys are a FAIL that names the fix",
          "FAIL  keys" in done.out and "chmod 700" in done.out, done.out)
    config = os.path.join(b.data, "deai.yaml")
    with open(config, encoding="utf-8") as file:
        text = file.read()
    with open(config, "a", encoding="utf-8") as file:
        file.write("wrong: 1\n")
    done = b.deai("doctor", code=1)
    with open(config, "w", encoding="utf-8") as file:
        file.write(text)
    check("doctor: a wrong key of the config with its line", "FAIL  config" in done.out and
          f"deai.yaml:{text.count(chr(10)) + 1}:" in done.out, done.out)


def measures(a, b):
    none = a.deai("--json", "bench").json()
    check("bench without a model", "model" not in none and none["call"]["median_ns"] > 0, none)
    seen = b.deai("--json", "bench").json()
    check("bench: a call and a model", seen["call"]["median_ns"] <= seen["call"]["p99_ns"] and
          0 < seen["model"]["tokens"] <= 64 and seen["model"]["tokens_per_s"] > 0, seen)
    check("bench: one line each", len(b.deai("bench").out.splitlines()) == 2)


def remarks(a, b):
    said = a.deai("ask", "--max", "8", "--temperature", "0", "Name three colours.").err
    rows = said.splitlines()
    check("ask: two lines on stderr, none of them empty", len(rows) == 2 and all(rows), said)
    check("ask: who answers comes first", rows[0] == f"[node {b.hex[:8]}]", rows)
    check("ask: tokens, first token, rate and price in one line",
          all(word in rows[1] for word in (" tokens  first ", " tok/s", "  price 0.0000000")), rows)
    said = a.deai("ask", "--max", "2", "--explain", "Hi").err
    check("ask --explain: why this node, with its score in numbers",
          "by price, then latency, load and score" in said and
          re.search(r"^score     0\.\d{3}: \d+ calls, \d+ answered", said, re.M), said)
    rank = a.deai("--json", "ask", "--max", "2", "Hi").json()["rank"]
    check("ask --json: the score", 0 < rank["score"] <= 1 and "answered" in rank["why"], rank)
    check("ask --quiet", a.deai("--quiet", "ask", "--max", "2", "Hi").err == "")
    late = a.deai("--timeout", "1ms", "ask", "--max", "400", "Tell a long story.", code=10)
    check("ask: time is up", late.err.strip() != "", late.err)


def others(a, b, poor):
    """Who did not answer, each with its reason: as text and as JSON."""
    def rows(*words):
        answer = a.deai("--json", "ask", "--max", "2", *words, "Hi").json()
        return {row["node"]: (row["status"], row["why"]) for row in answer["others"]}
    seen = rows()
    check("ask --json: the others, and why not", set(seen) == {a.hex, poor.hex} and
          seen[a.hex] == ("ENOPROVIDER", "does not offer deai.lm/1-draft") and
          seen[poor.hex][0] == "ENOPROVIDER", seen)
    named = rows("--via", "b")
    check("ask --via: the node itself was not asked", named[a.hex] ==
          ("EDENIED", "another node is asked for by name") and b.hex not in named, named)
    poor.down()
    until(lambda: rows()[poor.hex] == ("EPEER_LOST", "not connected"), 20, "poor is not connected")
    said = a.deai("ask", "--max", "2", "--explain", "Hi").err
    check("ask --explain: a line each", re.search(r"^others    \S+ [0-9a-f]{8}: .*\n {10}\S+ ", said,
                                                  re.M) and
          f"a {a.hex[:8]}: does not offer deai.lm/1-draft" in said and
          f"poor {poor.hex[:8]}: not connected" in said, said)
    poor.up()


def money(net, cid):
    poor = net.join("poor", without=("compute/cpu",))
    until(lambda: cid in poor.models(), 30, "poor sees the model")
    until(lambda: poor.deai("wallet", "show", code=None).code == 0, 20, "poor has its account")
    refused(poor, 8, "ask", "--max", "3", "Hi")
    return poor


def collected(b, cid):
    """What no pin reaches goes, the model stays."""
    path = os.path.join(b.data, "loose")
    with open(path, "wb") as file:
        file.write(os.urandom(3 << 20))
    loose = b.deai("store", "add", "--no-pin", path).out.strip()
    done = b.deai("--json", "store", "gc").json()
    check("store gc frees what is not pinned", done["freed"] >= 3 and done["bytes"] >= 3 << 20 and
          done["kept"] > 0, done)
    refused(b, 5, "store", "get", loose)
    seen = b.deai("--json", "model", "show", cid).json()
    check("the model is whole", seen["blocks_here"] == seen["blocks"] > 0, seen)
    text = b.deai("store", "gc").out
    check("a second time there is nothing to free", text.startswith("freed 0 blocks"), text)


def degraded(net):
    """A plug-in that did not start: status says 12, doctor FAILs and names it."""
    bad = net.first("bad", up=False, plugins={"compute/cpu": {"optional": True, "memory": "1MiB"}})
    bad.deai("--quiet", "up", "-d", code=None)
    until(bad.try_status, 20, "bad answers")
    until(lambda: bad.deai("status", code=None).code == 12, 20, "bad is degraded")
    done = bad.deai("--json", "doctor", code=1)
    rows = [row for row in done.json() if row["check"] == "plug-ins"]
    check("doctor names the plug-in", rows and rows[0]["level"] == "FAIL" and
          "compute/cpu" in rows[0]["found"], rows)


def leaves(a, b, poor):
    said = refused(a, 6, "leave", "--yes")
    check("the node that orders the ledger may not leave", "orders" in said and "deai down" in said,
          said)
    refused(poor, 2, "leave")
    check("without --yes and a terminal nothing happened", poor.try_status() is not None)
    owed = b.deai("--json", "wallet", "show").json()["owed"]
    check("b is owed something", owed > 0, owed)
    done = b.deai("leave", "--yes")
    check("leave: claims, says the folder stays", "claimed" in done.err and "kept" in done.out,
          (done.out, done.err))
    b.pid = None
    refused(b, 4, "status")
    check("the data folder is still there", os.path.exists(os.path.join(b.data, "keys", "wallet")))
    until(lambda: b.key not in [m["key"] for m in a.deai("--json", "member", "list").json()], 20,
          "a has removed b")
    until(lambda: not a.models(), 20, "nothing of b is offered")
    refused(a, 7, "model", "list")
    refused(a, 5, "ask", "Hi")
    poor.deai("--quiet", "leave", "--yes")
    poor.pid = None
    members = a.deai("--json", "member", "list").json()
    check("one member is left", [m["name"] for m in members] == ["a"], members)
    history = b.deai("ledger", "verify")
    check("what was kept verifies", history.out.startswith("ok"), history.out)


def test(net):
    path = net.model()
    helps()
    a = net.first("a", without=("compute/cpu", "compute/vulkan"), init=("--hold", "1s"))
    b = net.join("b", {"compute/cpu": PRICES}, without=("compute/vulkan",), grant=5, up=False)
    no_node(b)
    b.up()
    cid = b.deai("--quiet", "model", "add", path).out.strip()
    until(lambda: cid in a.models(), 30, "a sees the model")
    name = json.loads(a.http("/v1/models")[2])["data"][0]["id"]
    usage(a)
    not_found(a)
    objects(b)
    shows(a, b, cid, name, path)
    heals(a, b)
    measures(a, b)
    remarks(a, b)
    collected(b, cid)
    poor = money(net, cid)
    others(a, b, poor)
    degraded(net)
    leaves(a, b, poor)


if __name__ == "__main__":
    main(test)
