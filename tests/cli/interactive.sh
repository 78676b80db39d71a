# The shell at a terminal: editing, several lines, pages, Ctrl-C, Ctrl-D and the history.
. "$(dirname "$0")/lib.sh.inc"
command -v python3 >/dev/null || exit 0
cat >terminal.py <<'X'
import os, pty, select, sys, time

pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[1], sys.argv[1:3])
out = b""

def read(until):
    global out
    start, end = len(out), time.time() + 60
    while time.time() < end and until not in out[start:]:
        if not select.select([fd], [], [], 0.5)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:
            return
        if not data:
            return
        out += data

read(b"> ")
for line, until in [
    (b"use app\n", b"app> "),
    (b"db.users.insertMany([\n", b"... "),
    (b"{_id: 1}, {_id: 2}])\n", b"app> "),
    (b"db.users.find({\n", b"... "),
    (b"\x03", b"app> "),
    (b"db.users.find({}, {_id: 1})\n", b"app> "),
    (b"db.numbers.find()\n", b"more"),
    (b"it\n", b"app> "),
    (b"db.users.find().explain()\n", b"app> "),
    (b"db.users.frob()\n", b"app> "),
    (b"\x1b[A\n", b"app> "),
    (b"exit\n", b"@@"),
]:
    os.write(fd, line)
    read(until)
sys.stdout.buffer.write(out)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
X
for i in $(seq 25); do echo "{\"_id\": $i}"; done | "$elmo" import - --db a.elmo --collection app.numbers 2>/dev/null
python3 terminal.py "$elmo" a.elmo >out.txt 2>err.txt
status=$? out=$(tr -d '\r' <out.txt) err=$(cat err.txt) what='at a terminal'
exits 0
tells '`help` tells'
tells '"n": 2'
tells '{"_id": 2}'
tells 'Type "it" for more'
tells '{"_id": 25}'
tells 'COLLSCAN'
[ "$(grep -c 'no method frob()' out.txt)" = 2 ] || fail 'the arrow did not bring the last line back'
grep -q 'frob' .elmo_history || fail 'no history was kept'
[ "$(stat -c %a .elmo_history)" = 600 ] || fail 'others may read the history'
done_testing
