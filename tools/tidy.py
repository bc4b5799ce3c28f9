#!/usr/bin/env python3
"""tidy: the rules of the house that a machine can check. Prints one line a finding and
`tidy: N findings`; exit 1 when there is one.

  includes      point down only (ALLOWED below)
  limits        1,500 lines a .c, 500 a header, 70 a function, 100 columns
  banned        calls that must not be made
  comments      every prototype in a header has a comment that names it; every header names its threads
  floats        no float type in host/ledger
  tests         every .c without main has tests/PATH/test_NAME.c (tests/tidy.waive lists those whose
                test has another name, each with the name)
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# folder -> prefixes its files may include, besides their own folder and system headers
ALLOWED = [
    ("sdk/", ["deai/"]),
    ("host/base/", ["deai/", "host/base/"]),
    ("host/config/", ["deai/", "host/base/", "host/config/", "host/plugin/loader.h"]),
    ("host/plugin/", ["deai/", "host/base/", "host/plugin/", "@seam"]),
    ("host/router/", ["deai/", "host/base/", "host/router/", "@seam"]),
    ("host/net/", ["deai/", "host/base/", "host/net/", "@seam"]),
    ("host/http/", ["deai/", "host/base/", "host/http/", "@seam"]),
    ("host/ledger/", ["deai/", "host/base/", "host/ledger/", "@seam"]),
    ("host/", ["deai/", "host/"]),
    ("plugins/compute/", ["deai/", "plugins/compute/", "host/base/banned.h"]),
    ("plugins/storage/", ["deai/", "plugins/storage/", "host/base/banned.h"]),
    ("plugins/models/", ["deai/", "plugins/models/", "plugins/compute/lm/", "host/base/banned.h"]),
    ("tests/", ["deai/", "host/", "plugins/", "tests/"]),
]
BANNED = re.compile(
    r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|alloca|setjmp|longjmp|system)\s*\(")
FLOAT = re.compile(r"\b(float|double)\b")
PROTOTYPE = re.compile(r"^(?:DEAI_MUST_CHECK\s+|_Noreturn\s+|DEAI_EXPORT\s+)*"
                       r"(?:const\s+)?(?:struct\s+|unsigned\s+)?\w+[\s\*]+\*?(\w+)\(.*", re.M)


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h"], cwd=ROOT,
                         check=True, capture_output=True, text=True).stdout
    return [p for p in out.split("\n") if p and os.path.exists(os.path.join(ROOT, p))]


def seams():
    folder = os.path.join(ROOT, "host")
    return {"host/" + n for n in os.listdir(folder) if n.endswith(".h")}


def strip(text):
    """Comments and literals as blanks, so that lines and columns stay."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text,
                  flags=re.S)


def check_includes(path, text, seam_files):
    rules = next((allowed for folder, allowed in ALLOWED if path.startswith(folder)), None)
    if rules is None:
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'#include "([^"]+)"', line)
        if not match or "/" not in match.group(1):
            continue
        name = match.group(1)
        own = name.startswith(os.path.dirname(path) + "/")
        ok = own or any(name.startswith(rule) for rule in rules)
        ok = ok or ("@seam" in rules and name in seam_files and name != "host/node.h")
        if not ok:
            yield f"{path}:{number}: includes {name}: not below its folder"


def check_limits(path, text, bare):
    lines = text.split("\n")
    most = 500 if path.endswith(".h") else 1500
    if len(lines) > most + 1:
        yield f"{path}: {len(lines)} lines, at most {most}"
    for number, line in enumerate(lines, 1):
        if len(line) > 100:
            yield f"{path}:{number}: {len(line)} columns, at most 100"
    start = None
    for number, line in enumerate(bare.split("\n"), 1):
        if start is None and re.match(r"^[A-Za-z_].*\)\s*\{\s*$", line):
            start = number
        elif start is None and re.match(r"^\s+.*\)\s*\{\s*$", line) and number > 1:
            before = bare.split("\n")[number - 2]
            if re.match(r"^[A-Za-z_].*[,(]\s*$", before):
                start = number - 1
        if line.startswith("}") and start is not None:
            if number - start + 1 > 70:
                yield f"{path}:{start}: a function of {number - start + 1} lines, at most 70"
            start = None


def check_banned(path, bare):
    for number, line in enumerate(bare.split("\n"), 1):
        match = BANNED.search(line)
        if match:
            yield f"{path}:{number}: calls {match.group(1)}"


def check_comments(path, text):
    if not path.endswith(".h") or path.startswith("tests/") or path.endswith("banned.h"):
        return
    flat = re.sub(r"\\\n", " ", text)
    names = [m.group(1) for m in PROTOTYPE.finditer(strip(flat)) if not m.group(0).startswith("static")]
    comments = " ".join(re.findall(r"/\*.*?\*/", text, flags=re.S))
    grouped = set()  # a comment may stand above a group of at most five
    for block in re.split(r"\n\s*\n", flat):
        group = [m.group(1) for m in PROTOTYPE.finditer(strip(block))]
        if block.lstrip().startswith("/*") and len(group) <= 5:
            grouped.update(group)
    for name in names:
        if name in grouped:
            continue
        if name in ("defined", "__attribute__") or re.search(r"\b" + name + r"\b", comments):
            continue
        yield f"{path}: {name} has no comment that names it"
    tagged = "Threads" in comments or re.search(r"\[(loop|worker|any)", comments)
    if names and not tagged:
        yield f"{path}: says nothing of threads"


def check_floats(path, bare):
    if not path.startswith("host/ledger/"):
        return
    for number, line in enumerate(bare.split("\n"), 1):
        if FLOAT.search(line):
            yield f"{path}:{number}: a float type in the ledger"


def waived():
    out = {}
    path = os.path.join(ROOT, "tests/tidy.waive")
    if os.path.exists(path):
        for line in open(path, encoding="utf-8"):
            words = line.split("#")[0].split()
            if len(words) >= 2:
                out[words[0]] = words[1]
    return out


def check_tests(path, bare, files, waive):
    if not path.endswith(".c") or path.startswith("tests/") or re.search(r"^int main\(", bare, re.M):
        return
    where = path.replace("sdk/src/", "sdk/", 1)
    folder, name = os.path.split(where)
    wanted = f"tests/{folder}/test_{name}"
    if wanted in files or re.sub(r"/lm/|/cpu/|/vulkan/", "/", wanted) in files:
        return
    if path in waive and (waive[path] in files or os.path.exists(os.path.join(ROOT, waive[path]))):
        return
    yield f"{path}: no test {wanted}"


def main():
    files = tracked()
    known = set(files)
    seam_files = seams()
    waive = waived()
    findings = []
    for path in files:
        text = open(os.path.join(ROOT, path), encoding="utf-8").read()
        bare = strip(text)
        findings += check_includes(path, text, seam_files)
        findings += check_limits(path, text, bare)
        findings += check_banned(path, bare)
        findings += check_comments(path, text)
        findings += check_floats(path, bare)
        findings += check_tests(path, bare, known, waive)
    for path in waive:
        if path not in known:
            findings.append(f"tests/tidy.waive: {path} is not there")
    for line in findings:
        print(line)
    print(f"tidy: {len(findings)} findings in {len(files)} files")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
