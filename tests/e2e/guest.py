"""A guest asks, pays and follows the ledger; it serves nobody and gets no blocks."""
import os

from nodes import check, coins, main, until

PRICES = {"price_in": coins(1), "price_out": coins(2), "threads": 1}


def height(node):
    return node.deai("--json", "ledger", "status").json()["height"]


def test(net):
    path = net.model()
    host = net.first("host", {"compute/cpu": PRICES}, without=("compute/vulkan",),
                     init=("--hold", "1s"))
    cid = host.deai("--quiet", "model", "add", path).out.strip()
    guest = net.join("visitor", {"compute/cpu": {"threads": 1}}, without=("compute/vulkan",),
                     grant=5, role="guest")
    until(lambda: cid in guest.models(), 30, "the guest sees the model")
    answer = guest.deai("--json", "ask", "--max", 8, "--temperature", 0, "Name a colour.").json()
    check("a guest asks and pays", bool(answer.get("text") or answer.get("answer")), answer)
    host.deai("wallet", "claim")
    until(lambda: host.deai("--json", "wallet", "show").json()["held"] == 0, 20, "hold time over")
    rows = host.deai("--json", "wallet", "history").json()
    check("the guest's payment is claimed", any(row["kind"] == "claim" for row in rows), rows)

    other = os.path.join(net.folder, "secret")
    with open(other, "wb") as file:
        file.write(b"for members only")
    secret = host.deai("store", "add", other).out.strip()
    said = guest.deai("--timeout", 10, "store", "fetch", secret, code=None)
    check("a guest gets no blocks", said.code != 0, said.out)

    guest.deai("--quiet", "model", "add", path)
    until(lambda: height(guest) == height(host), 20, "the guest follows")
    nodes = host.deai("--json", "member", "list").json()
    check("the ledger says guest", [n["role"] for n in nodes if n["name"] == "visitor"] == ["guest"],
          nodes)
    def connections():
        return host.log().count(f"{guest.hex[:8]} connected")
    before = connections()
    host.down()
    host.configure({}, without=("compute/cpu", "compute/vulkan")).up()
    until(lambda: connections() > before, 20, "the guest is connected again")
    code, _, body = host.http("/v1/chat/completions", {
        "model": cid, "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]})
    check("nobody is served by a guest", code in (404, 503), (code, body[:300]))


if __name__ == "__main__":
    main(test)
