"""A full disk under a whole node: what cannot be stored is refused with a text that says so, nothing
acknowledged is lost, answers and status go on, and with space again everything goes on. The disk is
played by tests/fault/full.c, so that it needs no mount and no special user."""
import os

from nodes import BUILD, check, coins, main, until


PLUGINS = ("compute/cpu", "compute/vulkan", "models/answer", "models/rank")


def say(node, *words):
    """A command that the full disk refuses: its text."""
    got = node.deai(*words, code=None)
    check(f"refused: deai {' '.join(words[:2])}", got.code != 0, (got.code, got.out))
    return got.err


def add(node, path):
    return node.deai("store", "add", path).out.split()[-1]


def make(net, name, size):
    path = os.path.join(net.folder, name)
    with open(path, "wb") as file:
        file.write(os.urandom(size))
    return path


def test(net):
    flag = os.path.join(net.folder, "full")
    os.environ.update({"DEAI_FULL_FLAG": flag, "DEAI_FULL_ROOT": os.path.join(net.folder, "a/"),
                       "LD_PRELOAD": os.path.join(BUILD, "tests/fault/libdeai-full.so")})
    node = net.first("a", without=PLUGINS)
    del os.environ["LD_PRELOAD"]
    other = net.join("b", without=PLUGINS)
    wallet = until(lambda: (lambda got: got.code == 0 and got)(
        other.deai("--json", "wallet", "show", code=None)), 20, "b follows")
    account = wallet.json()["account"]
    small, large = make(net, "small", 3000), make(net, "large", 6 << 20)
    before = add(node, small)
    height = node.status()["ledger"]["height"]
    with open(flag, "w", encoding="utf-8"):
        pass
    for path in (make(net, "small2", 3000), large):
        said = say(node, "store", "add", path)
        check("store add says what is missing", "No space left on device" in said and
              "free some space" in said, said)
    said = say(node, "wallet", "send", account, coins(1))
    check("a transaction is refused, and why is said", "No space left on device" in said and
          "free some space" in said and "restart" in said, said)
    state = node.status()
    check("the ledger did not go on", state["ledger"]["height"] == height and
          state["ledger"]["stopped"], state["ledger"])
    got = node.deai("store", "get", before, "-o", os.path.join(net.folder, "back"), code=None)
    check("what is stored is served", got.code == 0, got.err)
    check("the node is up", node.http("/healthz")[0] == 200)
    os.remove(flag)
    check("with space again the same file is stored", len(add(node, large)) > 20)
    said = say(node, "wallet", "send", account, coins(1))
    check("the ledger says that it waits for a restart", "restart the node" in said, said)
    node.deai("store", "verify")
    node.down()
    node.up()
    node.deai("wallet", "send", account, coins(1))
    check("after it the ledger goes on", node.status()["ledger"]["height"] > height)
    node.down()
    node.deai("ledger", "verify")


main(test)
