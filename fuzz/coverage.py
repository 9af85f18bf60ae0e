#!/usr/bin/env python3
"""Which lines of each room the fuzz targets run, as a Markdown table.

    python3 fuzz/coverage.py                    the committed corpus of every target
    python3 fuzz/coverage.py --corpus DIR life  and what a longer run left in DIR/life, of these targets

Needs cargo-fuzz, and the toolchain's own `llvm-tools` (`rustup component add llvm-tools --toolchain
nightly`). Builds below fuzz/target/counted, or below what CARGO_TARGET_DIR says.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys

FUZZ = pathlib.Path(__file__).resolve().parent
ROOT = FUZZ.parent
CARGO = ["cargo", "+nightly"]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", FUZZ / "target/counted"))


def said(*command):
    return subprocess.run(command, cwd=FUZZ, check=True, text=True, capture_output=True).stdout


def run(target, corpus):
    """Runs the target over its corpus; gives the program and what was counted."""
    folders = [FUZZ / "corpus" / target]
    if corpus and (corpus / target).is_dir():
        folders.append(corpus / target)
    subprocess.run(
        [*CARGO, "fuzz", "coverage", "--sanitizer", "none", "--target-dir", TARGET, target, *folders],
        cwd=ROOT,
        check=True,
    )
    programs = TARGET.glob(f"*/release/{target}")
    return next(programs), FUZZ / "coverage" / target / "coverage.profdata"


def room(name):
    """The room of a source file; none if it is not the library's, or only tests'."""
    path = pathlib.Path(os.path.normpath(name))
    if not path.is_relative_to(ROOT / "src") or path.stem.endswith("tests"):
        return None
    return path.relative_to(ROOT / "src").parts[0].removesuffix(".rs")


def main(arguments):
    corpus = None
    if arguments[:1] == ["--corpus"]:
        corpus = pathlib.Path(arguments[1]).resolve()
        arguments = arguments[2:]
    targets = arguments or said(*CARGO, "fuzz", "list").split()
    found = [run(target, corpus) for target in targets]
    host = said("rustc", "+nightly", "--print", "host-tuple").strip()
    sysroot = said("rustc", "+nightly", "--print", "sysroot").strip()
    tools = pathlib.Path(sysroot) / "lib/rustlib" / host / "bin"
    merged = TARGET / "all.profdata"
    counted = [profile for _, profile in found]
    subprocess.run([tools / "llvm-profdata", "merge", "-o", merged, *counted], check=True)
    programs = [option for program, _ in found for option in ("-object", program)][1:]
    text = said(tools / "llvm-cov", "export", "-summary-only", "-instr-profile", merged, *programs)
    rooms = collections.defaultdict(lambda: [0, 0])
    for file in json.loads(text)["data"][0]["files"]:
        if name := room(file["filename"]):
            lines = file["summary"]["lines"]
            rooms[name][0] += lines["covered"]
            rooms[name][1] += lines["count"]
    if not rooms:
        sys.exit("nothing was counted")
    table = sorted(rooms.items())
    table.append(("all of them", [sum(lines) for lines in zip(*rooms.values())]))
    print("| room | lines run | of | |\n|---|---|---|---|")
    for name, (run_lines, all_lines) in table:
        print(f"| {name} | {run_lines} | {all_lines} | {100 * run_lines // all_lines} % |")


if __name__ == "__main__":
    main(sys.argv[1:])
