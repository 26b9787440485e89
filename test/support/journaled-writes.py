#!/usr/bin/env python3
"""A real NBD client (libnbd) that keeps a journal of what it wrote and what was acknowledged.

    journaled-writes.py write  URI JOURNAL SEED COUNT DEPTH   write COUNT random 4 KiB blocks
    journaled-writes.py verify URI JOURNAL                    every acknowledged write is there

Each block holds its number and the number of the write, over and over, so that a block of a wrong
place, of a lost write, or torn between two writes is told apart. No two writes to one block are
under way at once: then a block holds its last acknowledged write, or one issued after that.
`write` ends with 0 when all were acknowledged and with 3 when the server went away; `verify` prints
what is wrong and ends with 1 if anything is.
"""
import os
import random
import struct
import sys

import nbd

BLOCK = 4096


def content(block, number):
    return struct.pack("<QQ", block, number) * (BLOCK // 16)


def read_journal(path):
    """Last acknowledged write of each block, and those issued after it."""
    acknowledged, issued, highest = {}, {}, 0
    if not os.path.exists(path):
        return acknowledged, issued, highest
    with open(path) as journal:
        for line in journal:
            if not line.endswith("\n"):
                break
            kind, block, number = line.split()
            block, number = int(block), int(number)
            highest = max(highest, number)
            if kind == "i":
                issued.setdefault(block, set()).add(number)
            else:
                acknowledged[block] = number
                issued[block] = {n for n in issued[block] if n > number}
    return acknowledged, issued, highest


def write(uri, path, seed, count, depth):
    numbers = random.Random(seed)
    _, _, last = read_journal(path)
    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    handle = nbd.NBD()
    handle.connect_uri(uri)
    blocks = handle.get_size() // BLOCK
    under_way, lines, failed = {}, [], []

    def completed(block, number, error):
        del under_way[block]
        if error.value == 0:
            lines.append(f"a {block} {number}\n")
        else:
            failed.append(error.value)
        return 1

    try:
        issued = 0
        while (issued < count or under_way) and not failed:
            while issued < count and len(under_way) < depth:
                block = numbers.randrange(blocks)
                if block in under_way:
                    continue
                issued += 1
                last += 1
                number = last
                os.write(journal, f"i {block} {number}\n".encode())
                under_way[block] = number
                handle.aio_pwrite(
                    nbd.Buffer.from_bytearray(bytearray(content(block, number))),
                    block * BLOCK,
                    lambda error, b=block, n=number: completed(b, n, error),
                )
            handle.poll(-1)
            if lines:
                os.write(journal, "".join(lines).encode())
                lines.clear()
        if not failed:
            handle.shutdown()
    except nbd.Error as error:
        failed.append(str(error))
    if lines:
        os.write(journal, "".join(lines).encode())
    if failed:
        print("the server went away:", failed[0])
        return 3
    print("acknowledged", count)
    return 0


def verify(uri, path):
    acknowledged, issued, _ = read_journal(path)
    handle = nbd.NBD()
    handle.connect_uri(uri)
    wrong = 0
    for block in sorted(set(acknowledged) | set(issued)):
        data = bytes(handle.pread(BLOCK, block * BLOCK))
        allowed = [acknowledged.get(block)] + sorted(issued.get(block, ()))
        if any(data == (bytes(BLOCK) if n is None else content(block, n)) for n in allowed):
            continue
        wrong += 1
        if wrong <= 10:
            found = struct.unpack("<QQ", data[:16])
            print(f"block {block}: holds (block, write) {found}, expected one of {allowed}")
    handle.shutdown()
    print(f"{len(acknowledged)} blocks with acknowledged writes, {wrong} wrong")
    return 1 if wrong else 0


def main():
    mode = sys.argv[1]
    if mode == "write":
        uri, path, seed, count, depth = sys.argv[2:7]
        return write(uri, path, int(seed), int(count), int(depth))
    return verify(sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    sys.exit(main())
