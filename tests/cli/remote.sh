# The tools on a server: the same as on a file.
. "$(dirname "$0")/lib.sh.inc"
"$elmo" serve --inMemory --port 0 >serve.txt 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$dir"' EXIT
for i in $(seq 200); do
    port=$(sed -nE 's/.*[Ww]aiting for connections.*"port": ?([0-9]+).*/\1/p' serve.txt | head -1)
    [ -n "$port" ] && break
    sleep 0.1
done
[ -n "$port" ] || { echo 'the server does not start:' >&2; cat serve.txt >&2; exit 1; }
uri=mongodb://127.0.0.1:$port

for i in $(seq 5000); do echo "{\"_id\": $i, \"name\": \"n$((i % 100))\", \"long\": {\"\$numberLong\": \"$i\"}}"; done >users.jsonl
run import users.jsonl --uri $uri -d app -c users; exits 0; warns '5,000 documents imported into app.users'
run import users.jsonl --uri $uri -d app -c users; exits 1; warns 'users.jsonl:1: E11000'
printf '_id,a\n1,x\n2,y\n' | "$elmo" import $uri - -c app.csv --type csv --headerline 2>err.txt || fail 'import from standard input'
run export $uri -c app.csv --sort '{_id: -1}' --quiet; says '{"_id":2,"a":"y"}
{"_id":1,"a":"x"}'
run export $uri/app -c users -q '{_id: {$lte: 3}}' --jsonFormat canonical; exits 0; warns '3 documents exported'
printf '{"_id": 1, "b": 1}' >m.json; run import m.json --host 127.0.0.1 --port $port -d app -c csv --mode merge; exits 0
run export --uri $uri -d app -c csv -q '{_id: 1}' --quiet; says '{"_id":1,"a":"x","b":1}'

# From a file to the server and back.
run import users.jsonl --db a.elmo --collection src.users; exits 0
run create-index '{name: 1, _id: -1}' --name by_name --db a.elmo --collection src.users; exits 0
run dump a.elmo -o d1; exits 0
run restore $uri d1; exits 0; warns 'src.users: 5,000 documents restored'; warns '1 index built'
run dump $uri -d src -o d2; exits 0; warns "dumped from 127.0.0.1:$port"
cmp d1/src/users.bson d2/src/users.bson || fail 'the documents differ'
sed -i 's/"uuid":"[0-9a-f]*",//' d?/src/users.metadata.json; cmp d1/src/users.metadata.json d2/src/users.metadata.json || fail 'the indexes differ'
"$elmo" dump --uri $uri --db src --archive --gzip --quiet | "$elmo" restore --uri $uri --archive --drop --nsFrom 'src.*' --nsTo 'copy.*' --quiet || fail 'pipe'
run export $uri -c copy.users --quiet; [ "$(wc -l <out.txt)" = 5000 ] || fail 'the copy is not whole'
run restore $uri d1 --quiet; exits 1; warns 'E11000'
run dump $uri -d nope -c nope; exits 1; warns 'there is no collection nope.nope'
# Batches as large as commands may be.
python3 -c 'for i in range(40): print("{\"_id\": %d, \"s\": \"%s\"}" % (i, "x" * 1000000))' >large.jsonl
run import large.jsonl --uri $uri -d app -c large; exits 0; warns '40 documents'
run dump $uri -d app -c large -o large; exits 0; run restore $uri large --drop; exits 0; run export $uri -c app.large -f _id --quiet; [ "$(wc -l <out.txt)" = 40 ] || fail 'not all are there'

run stat $uri; exits 0; tells 'copy.users'; tells '5,000'
run check $uri; exits 0; warns 'sound'
done_testing
