"""Plug-ins that misbehave inside a whole node: it starts and answers in spite of them, and `deai
plugin show`, `list` and `status` tell what happened and why. The beasts are those of tests/zoo; the
call-by-call tests of children are in tests/host/plugin/test_child.c."""
import os
import signal

from nodes import check, main, until

ZOO = "zoo/beast"
BUNDLED = ("compute/cpu", "compute/vulkan", "models/answer", "models/rank", "storage/blocks")


def row_of(node, name):
    """What `deai plugin show NAME` says."""
    return node.deai("plugin", "show", name).json()


def up_anyhow(node):
    """`deai up -d` waits until all plug-ins run, which some here never do: it is left waiting."""
    waiting = node.start_deai("--quiet", "up", "-d")
    until(node.try_status, 20, f"{node.name} answers")
    return waiting


def wait_state(node, name, *states):
    return until(lambda: (lambda row: row["state"] in states and row)(row_of(node, name)), 30,
                 f"{name} is {' or '.join(states)}")


def unharmed(node, what):
    """Everything else of the node works."""
    code, _, _ = node.http("/healthz")
    check(f"{what}: the node is up", code == 200, code)
    row = wait_state(node, "example/echo", "running")
    check(f"{what}: the plug-in beside it runs", row["reason"] == "", row)
    got = node.deai("--json", "status", code=12)
    check(f"{what}: status says degraded", got.json()["plugins"] != [] and
          "DEGRADED" in node.deai("status", code=12).out, got.out)


def starts_badly(net, number, mode, reason):
    """A beast that fails while it starts: its reason is shown, and it is tried again."""
    node = net.first(f"n{number}", {
        ZOO: {"path": net.plugin("tests/zoo/zoo.so"), "isolation": "process", "mode": mode},
        "example/echo": {"path": net.plugin("sdk/deai-echo.so"), "isolation": "process"},
    }, without=BUNDLED, up=False)
    waiting = up_anyhow(node)
    row = until(lambda: (lambda row: reason in row["reason"] and row)(row_of(node, ZOO)), 30,
                f"{mode}: plugin show says {reason!r}")
    check(f"{mode}: show has the reason", row["state"] in ("restarting", "starting"), row)
    check(f"{mode}: it is contained", (row["isolation"], row["contained"]) == ("process", "crash"),
          row)
    text = node.deai("plugin", "list").out
    check(f"{mode}: list has it", ZOO in text and "contained: crash" in text, text)
    unharmed(node, mode)
    until(lambda: row_of(node, ZOO)["restarts"] >= 1, 30, f"{mode}: it is tried again")
    waiting.kill()
    waiting.communicate()
    node.down()


def starves(net):
    """A `memory` in which no process starts: named with its number, in the log as in `plugin show`."""
    node = net.first("thin", {
        ZOO: {"path": net.plugin("tests/zoo/zoo.so"), "isolation": "process", "memory": "1MiB"},
        "example/echo": {"path": net.plugin("sdk/deai-echo.so"), "isolation": "process"},
    }, without=BUNDLED, up=False)
    waiting = up_anyhow(node)
    reason = (f"expected a memory limit in which {ZOO} can start, found 1048576 bytes; raise "
              f"plugins.{ZOO}.memory in the config or remove it")
    until(lambda: row_of(node, ZOO)["reason"] == reason, 30, f"plugin show says {reason!r}")
    node.await_log(f"deai-plughost: ENOMEM: {reason}")
    unharmed(node, "too little memory")
    waiting.kill()
    waiting.communicate()
    node.down()


def dies_later(net):
    """Children that are killed or stand still: the reason, the other one unharmed, and back again."""
    node = net.first("later", {
        ZOO: {"path": net.plugin("tests/zoo/zoo.so"), "isolation": "process"},
        "example/echo": {"path": net.plugin("sdk/deai-echo.so"), "isolation": "process"},
    }, without=BUNDLED)
    row = wait_state(node, ZOO, "running")
    echo = wait_state(node, "example/echo", "running")
    os.kill(row["pid"], signal.SIGSEGV)
    first = row["pid"]
    node.await_log(r"zoo/beast.*ended by signal 11 .*started again in")
    row = until(lambda: (lambda r: r["restarts"] == 1 and r)(row_of(node, ZOO)), 30, "it came back")
    row = wait_state(node, ZOO, "running")
    check("it is another process", row["pid"] not in (0, first), row)
    os.kill(row["pid"], signal.SIGSTOP)
    node.await_log(r"zoo/beast.*hangs: no heartbeat for", 40)
    row = until(lambda: (lambda r: r["restarts"] >= 2 and r)(row_of(node, ZOO)), 30, "it came back")
    wait_state(node, ZOO, "running")
    same = row_of(node, "example/echo")
    check("the other child never fell", (same["pid"], same["restarts"]) == (echo["pid"], 0), same)
    check("all run again", node.deai("status").out.count("running") >= 2)
    node.deai("plugin", "show", "zoo/none", code=5)
    node.down()


def refused(net):
    """A plug-in that cannot be loaded: fatal with its reason, or shown when it is optional."""
    wild = {"path": net.plugin("tests/zoo/zoo_refuses.so"), "isolation": "inproc"}
    node = net.first("wild", {"zoo/wild": wild}, without=BUNDLED, up=False)
    got = node.deai("--quiet", "up", "-d", code=None)
    check("a needed one stops the start", got.code != 0, got.code)
    said = got.err + node.log()
    check("with its own words", "expected a CPU with wings" in said, said[-500:])


def test(net):
    for number, (mode, reason) in enumerate([
            ("create_crash", "ended by signal 11"), ("create_exit", "ended with exit code 7"),
            ("create_refuse", "expected a better world, found this one"),
            ("start_crash", "ended by signal 11"), ("start_refuse", "expected a disk, found none")]):
        starts_badly(net, number, mode, reason)
    starves(net)
    dies_later(net)
    refused(net)


main(test)
