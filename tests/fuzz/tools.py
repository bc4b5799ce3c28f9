"""What tests/fuzz/run, coverage and planted share: which fuzz targets there are, what each is
about, how they are built and started. Standard library only; needs clang."""
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CORPUS = os.path.join(HERE, "corpus")

# The files of each parser: 90 % of the lines of each must be reached by its corpus. Behind a file
# stand functions of it that are no part of the parser ("-": they write or need a ledger), or the
# only ones that are ("+").
PARSERS = {
    "cbor": ["sdk/src/cbor.c", "sdk/src/codec.c"],
    "cid": ["plugins/storage/blocks/cid.c", "plugins/storage/blocks/multibase.c"],
    "frame": ["host/base/frame.c", "host/net/link.c"],
    "gguf": ["plugins/compute/lm/gguf.c", "plugins/compute/lm/model.c"],
    "invite": ["host/net/invite.c", "host/base/base32.c", "host/net/record.c -deai_record_make"],
    "ledger": ["host/ledger/app.c +deai_tx_parse", "host/ledger/entry.c -deai_entry_run,deai_entry_make",
               "host/ledger/genesis.c -build_modules,build_account,build_params,build_encode,"
               "deai_genesis_build", "host/ledger/proof.c -deai_proof_verify"],
    "openai": ["plugins/models/answer/request.c"],
    "settings": ["host/config/schema.c", "host/config/yaml.c"],
    "template": ["plugins/compute/lm/template.c", "plugins/compute/lm/tokenizer.c",
                 "plugins/compute/lm/split.c"],
    "unixfs": ["plugins/storage/blocks/dagpb.c", "plugins/storage/blocks/unixfs.c "
               "-put_number,finish_node,file_data,blocks_unixfs_file_node,blocks_unixfs_name_check,"
               "directory_links,blocks_unixfs_directory,blocks_unixfs_symlink",
               "plugins/storage/blocks/reader.c"],
}
SANITIZED = ["-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
             "-Dc_args=-fsanitize=fuzzer-no-link"]
LIMITS = ["-timeout=25", "-rss_limit_mb=2560"]


def names_of(words):
    """The fuzzers named by words, all of them for none; ends the program on another name."""
    for word in words:
        if word not in PARSERS:
            sys.exit(f"expected one of {', '.join(PARSERS)}, found {word}")
    return list(words) or list(PARSERS)


def build(folder, options, names, source=ROOT):
    """Sets up folder (relative to source) once and builds the fuzzers; ends the program when
    that fails."""
    where = os.path.join(source, folder)
    env = {**os.environ, "CC": "clang"}
    lines = [["meson", "setup", where, source, "-Dvulkan=disabled", *options],
             ["ninja", "-C", where, *(f"tests/fuzz/fuzz_{name}" for name in names)]]
    if os.path.exists(os.path.join(where, "build.ninja")):
        lines = lines[1:]
    for line in lines:
        done = subprocess.run(line, cwd=source, env=env, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            sys.exit(f"{' '.join(line)}\n{(done.stdout + done.stderr)[-4000:]}")
    return where


def tool(name):
    """The path of a tool of LLVM 14 (or of the newest one that is there)."""
    found = shutil.which(f"{name}-14") or shutil.which(name)
    if found is None:
        sys.exit(f"expected {name} (package llvm-14), found none")
    return found


class Run:
    """One fuzzer at work for `seconds` on a copy of its corpus in folder; prepare(corpus) may
    change that copy first."""

    def __init__(self, where, name, folder, seconds, prepare=None):
        self.name, self.seconds = name, seconds
        self.corpus = os.path.join(folder, f"{name}-corpus")
        self.artifacts = os.path.join(folder, f"{name}-found-")
        self.log = os.path.join(folder, f"{name}.log")
        shutil.copytree(os.path.join(CORPUS, name), self.corpus)
        self.aside = prepare(self.corpus) if prepare else 0
        line = [os.path.join(where, "tests/fuzz", f"fuzz_{name}"), f"-max_total_time={seconds}",
                "-print_final_stats=1", f"-artifact_prefix={self.artifacts}", *LIMITS, self.corpus]
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:"
               "allocator_may_return_null=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
        self.begin = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=env, cwd=folder)

    def wait(self):
        """Waits for the end; a fuzzer that does not end in time is killed, which is a finding."""
        try:
            code = self.process.wait(timeout=self.seconds + 180)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.took = time.monotonic() - self.begin
        with open(self.log, encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        self.found = code != 0
        rows = re.findall(r"^#\d+\s+(\w+)\s.*?cov: (\d+)", self.text, re.M)
        self.first = next((int(cov) for kind, cov in rows if kind == "INITED"), 0)
        self.last = int(rows[-1][1]) if rows else 0
        executed = re.search(r"stat::number_of_executed_units: (\d+)", self.text)
        counted = re.findall(r"^#(\d+)", self.text, re.M)
        self.executions = int(executed[1]) if executed else int(counted[-1]) if counted else 0
        return self.found

    def files(self):
        """The inputs that were found to break something."""
        folder, start = os.path.split(self.artifacts)
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))
                if name.startswith(start)]

    def reason(self):
        """The line that says what went wrong."""
        row = re.search(r"^(.*(?:ERROR: |runtime error: ).*)$", self.text, re.M)
        return row[1].strip() if row else self.text[-300:].strip()


def merge(where, name, *more):
    """Adds to the saved corpus what reaches something new, from the folders in more."""
    line = [os.path.join(where, "tests/fuzz", f"fuzz_{name}"), "-merge=1", *LIMITS,
            os.path.join(CORPUS, name), *more]
    done = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                          errors="replace", cwd=where)
    if done.returncode != 0:
        sys.exit(f"{' '.join(line)}\n{done.stderr[-2000:]}")
