"""mongosh against elmo's server, as a person uses it: on a terminal, with the helpers, `it`, tab completion, and no error or warning shown."""
import json
import os
import pty
import re
import select
import subprocess
import time
import unittest

MONGOSH = os.path.join(os.environ["MODULES"], ".bin", "mongosh")
PLAIN, SET, AUTH_PORT = os.environ["PLAIN_URI"], os.environ["SET_URI"], os.environ["AUTH_PORT"]
TROUBLE = re.compile(r"warning|error|exception|deprecat|not supported|unauthorized|failed", re.IGNORECASE)


def settings():
    """No telemetry, no search for updates: nothing but our server is asked."""
    folder = os.path.join(os.environ["HOME"], ".mongodb", "mongosh")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config"), "w") as f:
        f.write(json.dumps({"enableTelemetry": False, "disableGreetingMessage": True, "updateURL": ""}))


class Terminal:
    """mongosh on a pseudo-terminal. `do` types a line and gives what was printed up to the next prompt."""

    def __init__(self, *arguments, term="dumb"):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = term
            os.execv(MONGOSH, [MONGOSH, *arguments])
        self.pending = ""
        self.greeting = self.until_prompt() if term == "dumb" else self.until(r"\w+> $")

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return None
        try:
            return os.read(self.fd, 65536).decode("utf-8", "replace")
        except OSError:
            return ""

    def until(self, pattern, seconds=90):
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.pending)):
            text = self.read(max(0.0, end - time.monotonic()))
            if not text:
                raise AssertionError(f"waited for {pattern!r}; there was: {self.pending!r}")
            self.pending += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
        got, self.pending = self.pending[: found.end()], self.pending[found.end():]
        return got

    def until_prompt(self):
        return self.until(r"(?m)^(?:\w+ \[[^\]]*\] )?\w+> $")

    def do(self, line):
        os.write(self.fd, line.encode() + b"\n")
        self.until(r"\n") # the echo
        return self.until_prompt()

    def end(self):
        os.write(self.fd, b"exit\n")
        while self.read(30):
            pass
        return os.waitpid(self.pid, 0)[1]


def script(uri, code, *more):
    return subprocess.run([MONGOSH, "--quiet", "--norc", *more, uri, "--eval", code], capture_output=True, text=True, timeout=180)


class Interactive(unittest.TestCase):
    def test_a_session_on_a_terminal(self):
        t = Terminal(PLAIN + "shop", "--norc")
        self.assertNotRegex(t.greeting, TROUBLE)
        self.assertRegex(t.greeting, r"Using MongoDB:\s+7\.0")

        def said(line, wanted):
            got = t.do(line)
            self.assertNotRegex(got, TROUBLE, line)
            self.assertTrue(re.search(wanted, got), (line, wanted, got))
            return got

        said("db.dropDatabase()", "ok: 1")
        said("db.c.insertMany(Array.from({length: 50}, (_, i) => ({_id: i, a: i % 5, name: 'n' + i})))", "acknowledged: true")
        said("show dbs", r"shop\s+[\d.]+ [KM]iB")
        said("show collections", r"(?m)^c$")
        first = said("db.c.find()", 'Type "it" for more')
        self.assertIn("_id: 19", first)
        self.assertIn("_id: 20", said("it", 'Type "it" for more'))
        said("it", r"_id: 49")
        said("db.c.createIndex({a: 1})", "a_1")
        said("db.c.getIndexes()", r"name: 'a_1'")
        said("db.c.find({a: 3}).explain('executionStats')", "IXSCAN")
        said("db.c.explain().find({a: 3})", "IXSCAN")
        said("db.c.explain('executionStats').count({a: 3})", "COUNT")
        said("db.stats()", r"collections: Long\('1'\)")
        said("db.c.stats().count", r"50")
        said("db.c.countDocuments({a: 3})", r"10")
        said("db.c.aggregate([{$group: {_id: '$a', n: {$sum: 1}}}, {$sort: {_id: 1}}])", r"\{ _id: 4, n: 10 \}")
        said("db.c.updateOne({_id: 1}, {$set: {name: 'x'}})", "modifiedCount: 1")
        said("db.c.findOneAndDelete({_id: 2})", "name: 'n2'")
        said("db.c.distinct('a')", r"0, 1, 2, 3, 4")
        said("db.version()", r"7\.0")
        said("db.serverStatus().ok", "1")
        said("db.hello().isWritablePrimary", "true")
        said("db.currentOp().inprog.length >= 1", "true")
        said("db.getCollectionInfos()[0].name", "c")
        said("db.c.validate().valid", "true")
        said("use other", "switched to db other")
        said("db.getName()", "other")
        said("use shop", "switched to db shop")
        with open("loaded.js", "w") as f:
            f.write("db.loaded.insertOne({_id: 'by load'}); globalThis.wasLoaded = true\n")
        said("load('loaded.js')", "true")
        said("db.loaded.findOne()", "by load")
        said("show users", "")
        said("show log global", "")
        self.assertEqual(t.end(), 0)

    def test_names_are_completed(self):
        self.assertEqual(script(PLAIN + "completed", "db.loaded.drop(); db.loaded.insertOne({_id: 1})").returncode, 0)
        t = Terminal(PLAIN + "completed", "--norc", term="xterm")
        os.write(t.fd, b"db.loa\t")
        t.until(r"db\.loaded")
        os.write(t.fd, b".findO\t")
        t.until(r"findOne")
        os.write(t.fd, b"\x03")
        t.until(r"\w+> $")
        self.assertEqual(t.end(), 0)

    def test_a_replica_set_says_so_and_has_transactions(self):
        t = Terminal(SET.replace("/?", "/shop?"), "--norc")
        self.assertRegex(t.greeting, r"rs0 \[(direct: )?primary\] shop> $")
        self.assertNotRegex(t.greeting, TROUBLE)
        for line, wanted in [("db.c.insertOne({_id: 1})", "acknowledged: true"), ("s = db.getMongo().startSession(); s.startTransaction()", ""),
                             ("s.getDatabase('shop').c.insertOne({_id: 2})", "acknowledged: true"), ("db.c.countDocuments()", "1"), ("s.commitTransaction()", ""),
                             ("db.c.countDocuments()", "2"), ("rs.status().myState", "1"), ("rs.conf().members.length", "1")]:
            got = t.do(line)
            self.assertNotRegex(got, TROUBLE, line)
            self.assertTrue(re.search(wanted, got), (line, wanted, got))
        self.assertEqual(t.end(), 0)


class Scripts(unittest.TestCase):
    def test_results_come_as_json(self):
        r = script(PLAIN + "js", "db.c.drop(); db.c.insertMany([{_id: 1}, {_id: 2}]); db.c.find().toArray()", "--json=relaxed")
        self.assertEqual((r.returncode, json.loads(r.stdout)), (0, [{"_id": 1}, {"_id": 2}]), r)

    def test_an_error_ends_with_one(self):
        r = script(PLAIN + "js", "db.e.drop(); db.e.insertOne({_id: 1}); db.e.insertOne({_id: 1})")
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("E11000 duplicate key error collection: js.e index: _id_ dup key: { _id: 1 }", r.stderr + r.stdout)

    def test_a_hundred_thousand_documents(self):
        r = script(PLAIN + "js", "db.big.drop(); for (let k = 0; k < 10; k++) db.big.insertMany(Array.from({length: 10000}, (_, i) => ({_id: k * 10000 + i})));"
                   "let n = 0; db.big.find().forEach(d => { n += 1 }); print(n, db.big.find().sort({_id: -1}).next()._id)")
        self.assertEqual((r.returncode, r.stdout.strip()), (0, "100000 99999"), r)

    def test_bulk_and_compression(self):
        r = script(PLAIN + "js?compressors=zlib", "db.b.drop(); const r = db.b.bulkWrite([{insertOne: {document: {_id: 1}}}, {updateOne: {filter: {_id: 1}, update: {$set: {t: 'x'.repeat(100000)}}}}]);"
                   "print(r.insertedCount, r.modifiedCount, db.b.findOne().t.length)")
        self.assertEqual((r.returncode, r.stdout.strip()), (0, "1 1 100000"), r)

    def test_logins(self):
        at = f"mongodb://127.0.0.1:{AUTH_PORT}/"
        r = script(at + "admin", "db.createUser({user: 'boss', pwd: 'secret', roles: ['root']}).ok")
        self.assertEqual((r.returncode, r.stdout.strip()), (0, "1"), r)
        r = script(f"mongodb://boss:secret@127.0.0.1:{AUTH_PORT}/app?authSource=admin", "db.createUser({user: 'u', pwd: 'p', roles: ['read']}); db.c.insertOne({}); db.getUsers().users.length")
        self.assertEqual((r.returncode, r.stdout.strip()), (0, "1"), r)
        r = script(f"mongodb://u:p@127.0.0.1:{AUTH_PORT}/app", "print(db.c.countDocuments()); db.c.insertOne({})")
        self.assertIn("not authorized on app", r.stderr + r.stdout)
        r = script(f"mongodb://u:wrong@127.0.0.1:{AUTH_PORT}/app", "1")
        self.assertIn("Authentication failed", r.stderr + r.stdout)

    def test_tls(self):
        e = os.environ
        r = script(e["TLS_URI"], "db.hello().ok", "--tls", "--tlsCAFile", e["TLS_CA"], "--tlsCertificateKeyFile", e["TLS_CLIENT"])
        self.assertEqual((r.returncode, r.stdout.strip()), (0, "1"), r)


if __name__ == "__main__":
    settings()
    unittest.main(verbosity=1)
