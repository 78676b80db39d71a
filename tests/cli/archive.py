"""mongodump's archives, read and written without elmo: see src/cli/archive.h for the layout.

check FILE NS=COUNT...   verifies everything, checksums included, and the counts
interleave FILE          writes an archive whose three collections take turns
mutate FILE DIR N        writes N damaged copies, always the same ones
"""
import os
import random
import struct
import sys

MAGIC, END = b"\x6d\xe2\x99\x81", b"\xff\xff\xff\xff"


def crc64(data, crc=0, table=[]):
    if not table:
        for i in range(256):
            for _ in range(8):
                i = i >> 1 ^ 0xC96C5795D7870F42 if i & 1 else i >> 1
            table.append(i)
    crc ^= 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFFFFFFFFFF


assert crc64(b"123456789") == 0x995DC9BBDF1939FA  # the catalogue's check value of CRC-64/XZ, which is Go's ECMA


def fields(doc):
    """The flat fields of a document: strings, booleans, int32, int64."""
    out, at = {}, 4
    while doc[at] != 0:
        kind, end = doc[at], doc.index(0, at + 1)
        name, at = doc[at + 1:end].decode(), end + 1
        if kind == 2:
            n = struct.unpack_from("<i", doc, at)[0]
            out[name], at = doc[at + 4:at + 3 + n].decode(), at + 4 + n
        elif kind == 8:
            out[name], at = doc[at] == 1, at + 1
        elif kind == 16:
            out[name], at = struct.unpack_from("<i", doc, at)[0], at + 4
        elif kind == 18:
            out[name], at = struct.unpack_from("<q", doc, at)[0], at + 8
        else:
            raise ValueError("type %d of %s" % (kind, name))
    assert at == len(doc) - 1
    return out


def document(**values):
    body = b""
    for name, value in values.items():
        key = name.encode() + b"\0"
        if isinstance(value, bool):
            body += b"\x08" + key + bytes([value])
        elif isinstance(value, str):
            text = value.encode() + b"\0"
            body += b"\x02" + key + struct.pack("<i", len(text)) + text
        elif name == "CRC":
            body += b"\x12" + key + struct.pack("<Q", value)
        else:
            body += b"\x10" + key + struct.pack("<i", value)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def pieces(data):
    at = 4
    while at < len(data):
        size = struct.unpack_from("<i", data, at)[0]
        if size == -1:
            yield None
            at += 4
        else:
            yield data[at:at + size]
            at += size
    assert at == len(data)


def check(data, wanted):
    assert data[:4] == MAGIC
    it = pieces(data)
    head = fields(next(it))
    assert list(head) == ["concurrent_collections", "version", "server_version", "tool_version"] and head["version"] == "0.1", head
    listed, seen = {}, {}
    for piece in iter(lambda: next(it), None):
        row = fields(piece)
        assert list(row) == ["db", "collection", "metadata", "size", "type"], row
        listed[row["db"] + "." + row["collection"]] = row
    for piece in it:
        block = fields(piece)
        assert list(block) == ["db", "collection", "EOF", "CRC"], block
        ns = block["db"] + "." + block["collection"]
        assert ns in listed
        count, crc, closed = seen.get(ns, (0, 0, False))
        assert not closed
        for doc in iter(lambda: next(it), None):
            assert not block["EOF"]
            count, crc = count + 1, crc64(doc, crc)
        if block["EOF"]:
            assert block["CRC"] & 0xFFFFFFFFFFFFFFFF == crc, ns
        else:
            assert block["CRC"] == 0
        seen[ns] = (count, crc, block["EOF"])
    assert set(seen) == set(listed) and all(closed for _, _, closed in seen.values())
    for each in wanted:
        ns, _, count = each.rpartition("=")
        assert seen[ns][0] == int(count), (ns, seen[ns])


def interleave():
    out = MAGIC + document(concurrent_collections=4, version="0.1", server_version="7.0.5", tool_version="100.9.4")
    names = ["c0", "c1", "c2"]
    for name in names:
        meta = '{"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"},' \
               '{"v":{"$numberInt":"2"},"key":{"x":{"$numberInt":"1"}},"name":"x_1"}],"uuid":"","collectionName":"%s","type":"collection"}' % name
        out += document(db="mix", collection=name, metadata=meta, size=0, type="collection")
    out += END
    crc = dict.fromkeys(names, 0)
    for turn in range(20):
        for name in names:
            docs = b"".join(document(_id=turn * 10 + i, x=i) for i in range(10))
            crc[name] = crc64(docs, crc[name])
            out += document(db="mix", collection=name, EOF=False, CRC=0) + docs + END
            if turn == 19:
                out += document(db="mix", collection=name, EOF=True, CRC=crc[name]) + END
    return out


def mutate(data, folder, count):
    os.mkdir(folder)
    rng = random.Random(20)
    for i in range(count):
        copy = bytearray(data)
        kind = rng.randrange(5)
        at = rng.randrange(len(copy))
        if kind == 0:
            copy = copy[:at]
        elif kind == 1:
            copy[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            copy[at:at + 4] = struct.pack("<I", rng.choice([0, 4, 5, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 16 << 20, (16 << 20) + 1]))[:len(copy) - at]
        elif kind == 3:
            end = min(len(copy), at + rng.randrange(1, 200))
            copy[at:end] = b""
        else:
            copy[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 50)))
        with open("%s/%04d" % (folder, i), "wb") as f:
            f.write(copy)


def main(command, path, *rest):
    if command == "interleave":
        with open(path, "wb") as f:
            f.write(interleave())
        return
    with open(path, "rb") as f:
        data = f.read()
    if command == "check":
        check(data, rest)
    else:
        mutate(data, rest[0], int(rest[1]))


main(*sys.argv[1:])
