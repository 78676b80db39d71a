# elmo serve: its flags, its log, its signals; and the same under the name mongod. Whether commands work is tests/server's.
. "$(dirname "$0")/lib.sh.inc"
command -v python3 >/dev/null || exit 0

cat >ping.py <<'X'
# ping.py PORT|PATH [tls CERT KEY]: sends {ping: 1} as an OP_MSG, prints what came back.
import socket, struct, ssl, sys
where = sys.argv[1]
if where.startswith("/") or where.startswith("."):
    s = socket.socket(socket.AF_UNIX); s.connect(where)
else:
    s = socket.create_connection(("127.0.0.1", int(where)))
if len(sys.argv) > 2:
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    if len(sys.argv) > 3: c.load_cert_chain(sys.argv[3])
    s = c.wrap_socket(s)
doc = b"\x10ping\0\1\0\0\0\x02$db\0\6\0\0\0admin\0"
doc = struct.pack("<i", len(doc) + 5) + doc + b"\0"
body = struct.pack("<i", 0) + b"\0" + doc
s.sendall(struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body)
reply = s.recv(4096)
print("ok" if b"\x01ok\0\0\0\0\0\0\0\xf0\x3f" in reply else reply)
X

port=0
# Starts it in the background on a port of the system's choice: $server, $port. The log is in log.txt.
begin() {
    what="elmo serve $*"
    "$elmo" serve --port 0 "$@" >log.txt 2>err.txt &
    server=$!
    for i in $(seq 200); do
        grep -q 'Waiting for connections' log.txt && break
        kill -0 $server 2>/dev/null || break
        sleep 0.05
    done
    port=$(sed -n 's/.*Waiting for connections","attr":{"port":\([0-9]*\).*/\1/p' log.txt | head -1)
    out=$(cat log.txt) err=$(cat err.txt)
    [ -n "$port" ] || fail 'it does not listen'
}
finish() { kill -${1:-TERM} $server; wait $server; status=$?; out=$(cat log.txt) err=$(cat err.txt); exits 0; }
pings() { [ "$(python3 ping.py "$@" 2>&1)" = ok ] || fail "no answer to a ping: $*"; }

# Everything is refused by name.
run serve; exits 2; warns 'FILE, --dbpath DIR or --inMemory'
run serve --help; exits 0; tells '--dbpath DIR'; tells '--tlsMode MODE'
run serve --frob; exits 2; warns "unknown flag '--frob'"
run serve --port; exits 2; warns '--port needs a value'
run serve a.elmo b.elmo; exits 2; warns "'b.elmo'"
run serve a.elmo --dbpath .; exits 2; warns 'not both'
run serve a.elmo --inMemory; exits 2; warns 'not both'
run serve --inMemory --auth --noauth; exits 2; warns 'not both'
run serve --inMemory --fork; exits 2; warns '--logpath'
run serve --inMemory --auth=maybe; exits 2; warns 'takes no value'
for flag in --nojournal --directoryperdb --config --repair --shutdown --profile --syslog --shardsvr --configsvr --clusterAuthMode --tlsCRLFile; do
    run serve --inMemory $flag 1; exits 2; warns "$flag is not supported: "
done
run serve --inMemory -f x.conf; exits 2; warns '--config is not supported'
run serve --inMemory --port x; exits 1; warns '--port'
run serve --inMemory --port 70000; exits 1; warns '--port'
run serve --inMemory --port 0 --bind_ip_all; exits 1; warns '--allowUnsafeBind'
run serve --inMemory --port 0 --bind_ip 999.9.9.9; exits 1; warns '999.9.9.9'
run serve --dbpath . --storageEngine mmapv1; exits 1; warns "'mmapv1'"
run serve --dbpath nope; exits 1; warns 'Data directory nope not found'
run serve --dbpath ping.py; exits 1; warns 'is no folder'
run serve --inMemory --port 0 --tlsMode requireTLS; exits 1; warns 'tlsCertificateKeyFile'
run serve --inMemory --port 0 --tlsMode requireTLS --tlsCertificateKeyFile nope.pem; exits 1; warns 'nope.pem'
run serve --inMemory --port 0 --tlsMode requireTLS --tlsCertificateKeyFile ping.py; exits 1; warns 'ping.py'
run serve --inMemory --port 0 --networkMessageCompressors lzma; exits 1; warns 'lzma'
run serve --inMemory --port 0 --setParameter frob; exits 1; warns 'NAME=VALUE'
run serve --inMemory --port 0 --wiredTigerCacheSizeGB big; exits 1; warns "'big'"
run serve --inMemory --port 0 --logpath /no/such/folder/log; exits 1; warns '/no/such/folder/log'
[ "$(ls)" = "$(printf 'err.txt\nout.txt\nping.py')" ] || fail "something was made: $(ls)"

# A file; the flags both ways; what is harmless is said to have no effect.
begin data.elmo --bind_ip=127.0.0.1 --verbose -vv --journal --slowms 100 --quiet --storageEngine=wiredTiger --wiredTigerCacheSizeGB 0.05 --maxConns 10
pings $port
tells '"flag" : "--slowms"'
busy=$port
[ -e data.elmo ] || fail 'there is no file'
run serve data.elmo --port 0; exits 1; warns "by pid $server on "; warns "which listens on mongodb://127.0.0.1:$port"; tells 'DBException in initAndListen'
run serve --inMemory --port $port; exits 1; warns "Address already in use: 127.0.0.1:$port"
finish TERM
[ "$(ls data.elmo*)" = data.elmo ] || fail "more is left than the file: $(ls)"
run data.elmo 'db.c.find()'; exits 0

# A folder, a pid file, a log file that is rotated, unix sockets, SIGINT.
mkdir dir
begin --dbpath dir --pidfilepath pid --unixSocketPrefix "$dir"
[ "$(cat pid)" = $server ] || fail 'the pid file is wrong'
socket=$(ls mongodb-*.sock)
[ "$(stat -c %a "$socket")" = 600 ] || fail "mode of the socket: $(stat -c %a "$socket")"
pings ./$socket
finish INT
[ ! -e pid ] && [ ! -e "$socket" ] || fail 'something is left'
[ -e dir/elmo.elmo ] || fail 'there is no dir/elmo.elmo'

"$elmo" serve --inMemory --port 0 --logpath server.log >out.txt 2>err.txt &
server=$!
for i in $(seq 200); do grep -qs 'Waiting for connections' server.log && break; sleep 0.05; done
mv server.log old.log
kill -USR1 $server
for i in $(seq 200); do [ -e server.log ] && break; sleep 0.05; done
port=$(sed -n 's/.*"port":\([0-9]*\).*/\1/p' old.log)
pings $port
kill -HUP $server; sleep 0.2; pings $port
kill -TERM $server; wait $server || fail 'it does not end well'
grep -q 'Connection accepted' server.log || fail 'the new log has nothing'
"$elmo" serve --inMemory --port 0 --logpath server.log & server=$!
for i in $(seq 200); do ls server.log.* >/dev/null 2>&1 && grep -qs Waiting server.log && break; sleep 0.05; done
ls server.log.* >/dev/null || fail 'the old log is overwritten'
kill $server; wait $server

# To the background.
run serve fork.elmo --port 0 --fork --logpath fork.log --pidfilepath fork.pid; exits 0
tells 'about to fork child process, waiting until server is ready for connections.'; tells 'forked process: '; tells 'child process started successfully, parent exiting'
port=$(sed -n 's/.*Waiting for connections","attr":{"port":\([0-9]*\).*/\1/p' fork.log)
pings $port
kill $(cat fork.pid)
for i in $(seq 200); do [ -e fork.pid ] || break; sleep 0.05; done
[ ! -e fork.pid ] || fail 'it goes on'
run serve text.elmo --port 70000 --fork --logpath fork.log; exits 1; warns 'child process failed, exited with 1'

# TLS.
if command -v openssl >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem >/dev/null 2>&1
    cat cert.pem key.pem >both.pem
    begin --inMemory --tlsMode requireTLS --tlsCertificateKeyFile both.pem
    tells '"ssl":"on"'
    pings $port tls
    [ "$(python3 ping.py $port 2>&1)" != ok ] || fail 'plain connections are let in'
    finish
    begin --inMemory --tlsMode preferTLS --tlsCertificateKeyFile both.pem
    pings $port; pings $port tls
    finish
    run serve --inMemory --port 0 --tlsMode requireTLS --tlsCertificateKeyFile cert.pem; exits 1; warns 'PRIVATE KEY'
fi

# As mongod.
ln -s "$elmo" mongod
what='mongod --version'
out=$(./mongod --version) || fail 'it fails'
tells 'db version v7.0.'; tells 'Build Info: {'
err=$(./mongod --frob 2>&1); warns "unknown flag '--frob'"
mkdir db
./mongod --port 0 --dbpath db --storageEngine ephemeralForTest --bind_ip 127.0.0.1 --noauth --replSet rs0 >log.txt 2>&1 &
server=$!
for i in $(seq 200); do grep -q 'Transition to primary complete' log.txt && break; sleep 0.05; done
port=$(sed -n 's/.*Waiting for connections","attr":{"port":\([0-9]*\).*/\1/p' log.txt)
pings $port
kill $server; wait $server || fail 'mongod does not end well'
[ -z "$(ls db)" ] || fail 'something was written'

# From nothing to the first answer. 50 ms is the promise; sanitizers and busy machines take longer.
cat >first.py <<'X'
import socket, subprocess, sys, time, struct
best = 9
for i in range(8):
    s = socket.socket(); s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]; s.close()
    t = time.perf_counter()
    p = subprocess.Popen([sys.argv[1], "serve", "--inMemory", "--port", str(port)], stdout=subprocess.DEVNULL)
    while True:
        try:
            s = socket.create_connection(("127.0.0.1", port)); break
        except OSError:
            time.sleep(0.0005)
    doc = b"\x10ping\0\1\0\0\0\x02$db\0\6\0\0\0admin\0"; doc = struct.pack("<i", len(doc) + 5) + doc + b"\0"
    s.sendall(struct.pack("<iiiii", 21 + len(doc), 1, 0, 2013, 0) + b"\0" + doc)
    s.recv(4096)
    best = min(best, time.perf_counter() - t)
    p.terminate(); p.wait(); s.close()
print("first answer after %.1f ms" % (best * 1000))
sys.exit(0 if best < float(sys.argv[2]) else 1)
X
what='first answer'
python3 first.py "$elmo" "${ELMO_FIRST_ANSWER_S:-1}" || fail 'it starts too slowly'
done_testing
