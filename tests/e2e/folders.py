"""Folders: added, listed by their CIDs, written again by another member, and what is refused."""
import base64
import filecmp
import os
import subprocess

from nodes import BUILD, check, main

BARE = ("compute/cpu", "compute/vulkan", "models/answer", "models/rank")


def make(place):
    os.makedirs(f"{place}/deep/deeper/empty")
    for name, size in (("small.txt", 12), ("deep/empty", 0), ("deep/middle.bin", 300_000),
                       ("deep/deeper/large.bin", 6_000_000), ("ünïcode ☺", 5)):
        with open(f"{place}/{name}", "wb") as file:
            file.write((name.encode() * (size // len(name) + 1))[:size])


def same(a, b):
    found = filecmp.dircmp(a, b)
    if found.left_only or found.right_only or found.funny_files:
        return False
    _, wrong, odd = filecmp.cmpfiles(a, b, found.common_files, shallow=False)
    return not wrong and not odd and all(
        same(os.path.join(a, name), os.path.join(b, name)) for name in found.common_dirs)


def test(net):
    place = os.path.join(net.folder, "tree")
    make(place)
    a = net.first("a", without=BARE)
    b = net.join("b", without=BARE)
    cid = a.deai("--quiet", "store", "add", place).out.strip()
    check("the same folder has the same CID", a.deai("store", "add", place).out.strip() == cid)
    a.deai("store", "get", cid, "-o", f"{place}-a")
    check("what was added comes back", same(place, f"{place}-a"))
    b.deai("store", "fetch", cid)
    b.deai("store", "get", cid, "-o", f"{place}-b")
    check("another member fetches it", same(place, f"{place}-b"))
    one = b.deai("store", "get", f"{cid}/deep/middle.bin", binary=True).out
    with open(f"{place}/deep/middle.bin", "rb") as file:
        check("one file by its path", one == file.read())

    said = b.deai("store", "get", cid, code=2).err
    check("a directory needs a place", "expected -o NEW-FOLDER" in said, said)
    said = b.deai("store", "get", cid, "-o", place, code=2).err
    check("an existing place is refused", "exists" in said, said)
    said = b.deai("store", "get", f"{cid}/none", code=5).err
    check("a path that is not there", said != "", said)
    os.symlink("small.txt", f"{place}/link")
    said = a.deai("store", "add", place, code=None)
    check("a link is not added", said.code != 0 and "expected a file or a folder" in said.err,
          said.err)

    store = subprocess.run(["find", a.data, "-type", "d", "-path", "*blocks*", "-name", "packs"],
                           capture_output=True, text=True, check=True).stdout.split()[0]
    a.down()
    made = subprocess.run([os.path.join(BUILD, "tests/e2e/folder"), os.path.dirname(store)],
                          capture_output=True, text=True, check=True).stdout.strip()
    linked = "b" + base64.b32encode(bytes.fromhex(made)).decode().lower().rstrip("=")
    a.up()
    said = a.deai("store", "get", linked, "-o", f"{net.folder}/no", code=6).err
    check("a link is refused without --links", "--links" in said, said)
    a.deai("store", "get", linked, "-o", f"{net.folder}/yes", "--links")
    check("and made with it, as it is", os.readlink(f"{net.folder}/yes/link") == "../../outside")


if __name__ == "__main__":
    main(test)
