# elmo dump and elmo restore: folders and archives, there and back, whole and damaged. archive.py reads and writes archives by itself.
tools=$(dirname "$(realpath "$0")")
. "$tools/lib.sh.inc"
archive() { python3 "$tools/archive.py" "$@" >py.txt 2>&1 || { what="archive.py $*"; err=$(cat py.txt); fail 'archive.py failed'; }; }
# Folders equal but for the uuids, which are new in each database.
same() {
    for each in "$1" "$2"; do
        find "$each" -name '*.metadata.json' -exec sed -i 's/"uuid":"[0-9a-f]*",//' {} +
    done
    diff -r "$1" "$2" >diff.txt || { what="diff -r $1 $2"; out=$(cat diff.txt); fail 'the dumps differ'; }
}

# A database with every type, odd names, indexes of several kinds, an empty collection.
cat >types.jsonl <<'EOF'
{"_id": 1, "double": {"$numberDouble": "0.1"}, "nan": {"$numberDouble": "NaN"}, "minus": {"$numberDouble": "-0.0"}, "string": "a\u0000b ü 漢 😀"}
{"_id": 2, "doc": {"a": {"b": []}}, "array": [1, [2, {}]], "bin": {"$binary": {"base64": "AAH/", "subType": "00"}}, "uuid": {"$uuid": "00112233-4455-6677-8899-aabbccddeeff"}}
{"_id": {"$oid": "0123456789abcdef01234567"}, "yes": true, "date": {"$date": {"$numberLong": "-1"}}, "none": null, "re": {"$regularExpression": {"pattern": "^a/", "options": "i"}}}
{"_id": {"a": 1}, "code": {"$code": "f()"}, "scoped": {"$code": "f()", "$scope": {"x": 1}}, "int": 5, "long": {"$numberLong": "5"}, "ts": {"$timestamp": {"t": 1, "i": 2}}}
{"_id": "x", "dec": {"$numberDecimal": "1.50"}, "min": {"$minKey": 1}, "max": {"$maxKey": 1}}
EOF
run import types.jsonl --db a.elmo --collection app.types; exits 0
for i in $(seq 1000); do echo "{\"_id\": $i, \"name\": \"n$((i % 100))\", \"tags\": [\"a\", $i], \"t\": \"quick brown fox $i\"}"; done >users.jsonl
run import users.jsonl --db a.elmo --collection app.users; exits 0
run create-index '{name: 1, _id: -1}' --name by_name --db a.elmo --collection app.users; exits 0
run create-index '{tags: 1}' --sparse --db a.elmo --collection app.users; exits 0
run create-index '{t: "text"}' --weights '{t: 5}' --db a.elmo --collection app.users; exits 0
run create-index '{_id: 1, x: 1}' --unique --db a.elmo --collection app.types; exits 0
long=$(head -c 200 /dev/zero | tr '\0' 'l')
echo '{"_id": 1}' >one.jsonl
run import one.jsonl --db a.elmo --collection "app.odd/name %.x y"; exits 0
run import one.jsonl --db a.elmo --collection "two.${long}/////////////é"; exits 0
run import one.jsonl --db a.elmo --collection two.b; exits 0
run a.elmo --db app 'db.empty.insertOne({_id: 1})'; run a.elmo --db app 'db.empty.deleteOne({_id: 1})'; exits 0

# Folders.
run dump a.elmo --out d1; exits 0; warns 'app.users: 1,000 documents'; warns 'dumped from a.elmo'
[ -e d1/prelude.json ] && [ -e d1/app/users.bson ] && [ -e 'd1/app/odd%2Fname%20%25.x%20y.bson' ] && [ -e d1/app/empty.bson ] || fail 'files are missing'
[ -z "$(find d1 -name '.partial*')" ] || fail 'unfinished files'
ls d1/two | grep -q "^$long.*%24[A-Za-z0-9_-]*\.bson$" || fail 'a long name is cut'
case $(cat d1/app/users.metadata.json) in
*'"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"},{"v":{"$numberInt":"2"},"key":{"name":{"$numberInt":"1"},"_id":{"$numberInt":"-1"}},"name":"by_name"}'*'"collectionName":"users","type":"collection"}') ;;
*) fail 'metadata.json' ;;
esac
run restore b.elmo d1; exits 0; warns 'app.users: 3 indexes built'; warns '1,008 documents restored'
run check b.elmo; exits 0
run dump b.elmo -o d2 --quiet; exits 0; [ -z "$err" ] || fail 'quiet means quiet'
same d1 d2
run find '{name: "n7", _id: 7}' --db b.elmo --collection app.users --hint by_name; exits 0; tells 'fox 7'

# Compressed, as an archive, as a compressed archive, through pipes.
run dump a.elmo --gzip --out=g1; exits 0
[ -e g1/app/users.bson.gz ] && [ -e g1/app/users.metadata.json.gz ] && [ -e g1/prelude.json.gz ] || fail 'files are missing'
gunzip -r g1; same d1 g1
run dump a.elmo --gzip --out=g1z; run restore c.elmo g1z; exits 0; run restore c2.elmo g1z --gzip; exits 0
run dump c.elmo --out d3; same d1 d3
run dump a.elmo --archive=a.archive; exits 0
archive check a.archive app.users=1000 app.types=5 app.empty=0 two.b=1
run restore d.elmo --archive=a.archive; exits 0; warns '1,008 documents restored'
run dump d.elmo --out d4; same d1 d4
run dump a.elmo --archive=a.archive.gz --gzip; exits 0
gunzip -c a.archive.gz | cmp - a.archive || fail 'the compressed archive differs'
run restore e.elmo --archive=a.archive.gz; exits 0; run dump e.elmo --out d5; same d1 d5
"$elmo" dump a.elmo --archive --quiet | "$elmo" restore f.elmo --archive --quiet || fail 'pipe'
run dump f.elmo --out d6; same d1 d6
"$elmo" dump a.elmo -c app.users -o - --quiet | cmp - d1/app/users.bson || fail 'standard output'
"$elmo" restore g.elmo -d x -c y - <d1/app/users.bson 2>err.txt || fail 'standard input'
run g.elmo --db x 'db.y.countDocuments({})'; says 1000
run restore a.elmo --archive=a.archive.gz --drop --quiet; exits 0; run dump a.elmo -o d7 --quiet; same d1 d7

# Interleaved, as mongodump with several threads writes it.
archive interleave mixed.archive
run restore mixed.elmo --archive=mixed.archive; exits 0; warns '600 documents restored'
run mixed.elmo --db mix 'db.c1.countDocuments({})'; says 200
run check mixed.elmo; exits 0

# Parts of it.
run dump a.elmo --db two -o p1; exits 0; [ ! -e p1/app ] && [ -e p1/two/b.bson ] && [ -e p1/two/prelude.json ] || fail 'one database'
run dump a.elmo -d app -c users -q '{_id: {$lte: 10}}' -o p2; exits 0; warns 'app.users: 10 documents'
echo '{_id: 5}' >query.json
run dump a.elmo -d app -c users --queryFile query.json -o p2; exits 0; warns 'app.users: 1 document'
run dump a.elmo --nsInclude 'app.*' --nsExclude '*.users' -o p3; exits 0; [ ! -e p3/two ] && [ ! -e p3/app/users.bson ] && [ -e p3/app/types.bson ] || fail 'nsInclude'
run dump a.elmo -d app --excludeCollection users --excludeCollectionsWithPrefix ty -o p4; exits 0; [ ! -e p4/app/users.bson ] && [ ! -e p4/app/types.bson ] && [ -e p4/app/empty.bson ] || fail 'excludeCollection'
run restore p1.elmo d1 --db two; exits 0; run p1.elmo 'show dbs'; says two
run restore p2.elmo d1/app -d renamed; exits 0; run p2.elmo --db renamed 'db.users.countDocuments({})'; says 1000
run restore p3.elmo d1/app/users.bson -d q -c w; exits 0; warns '3 indexes built'; run p3.elmo --db q 'db.w.countDocuments({})'; says 1000
run restore p4.elmo d1 --nsInclude 'app.u*' --nsFrom 'app.*' --nsTo 'new.*_x'; exits 0; run p4.elmo --db new 'show collections'; says users_x
run restore p5.elmo --archive=a.archive --nsInclude 'app.users' --nsFrom='$db$.$coll$' --nsTo='copy.$coll$_of_$db$' --noIndexRestore; exits 0
run p5.elmo --db copy 'db.users_of_app.getIndexes()'; exits 0; case $out in *by_name*) fail 'no indexes' ;; esac
run restore p6.elmo --archive=a.archive -d app -c types; exits 0; warns '5 documents restored'
run restore dry.elmo d1 --dryRun; exits 0; warns 'nothing was written'; [ ! -e dry.elmo ] || fail 'a file was made'

# What is there already.
run restore b.elmo d1; exits 1; warns 'E11000'; warns 'further failures are only counted'; warns '1,008 failed'; warns 'NOT complete'
run restore b.elmo d1 --stopOnError; exits 1; warns 'NOT complete'
run restore b.elmo d1 --drop; exits 0; run dump b.elmo -o d8 --quiet; same d1 d8
run b.elmo --db app 'db.users.deleteOne({_id: 17})'
run restore b.elmo d1/app/users.bson -d app -c users --quiet; exits 1; run b.elmo --db app 'db.users.countDocuments({})'; says 1000

# Damage: a clear message, exit 1, never a crash.
head -c 50001 d1/app/users.bson >cut.bson
run restore h.elmo cut.bson -d a -c b; exits 1; warns 'cut.bson: byte '; warns 'cut off'; warns 'NOT complete'
printf '\377\377\377\377' | cat d1/app/types.bson - >bad.bson
run restore i.elmo bad.bson -d a -c b; exits 1; warns 'not a BSON document'; warns '5 documents restored'
head -c 30001 a.archive >cut.archive
run restore j.elmo --archive=cut.archive; exits 1; warns 'cut off'; warns 'it is not complete'
head -c -4 a.archive >cut2.archive; run restore j.elmo --archive=cut2.archive --drop; exits 1; warns 'end mark'
head -c 3000 a.archive.gz >cut.gz; run restore k.elmo --archive=cut.gz; exits 1; warns 'cut off'
echo 'no archive' >no.archive; run restore l.elmo --archive=no.archive; exits 1; warns 'not an archive'
run restore l.elmo --archive=no.archive --gzip; exits 1; warns 'not gzip'
run restore l.elmo --archive=a.elmo; exits 1; warns 'not an archive'
mkdir -p bad/app; echo '{"indexes":' >bad/app/x.metadata.json; cp d1/two/b.bson bad/app/x.bson 2>/dev/null
run restore m.elmo bad; exits 1; warns 'app.x'
echo '{"indexes":[{"v":2,"key":{"a":"nonsense"},"name":"a_nonsense"},{"v":2,"key":{"b":1},"name":"b_1","ns":"app.x","background":true}]}' >bad/app/x.metadata.json
run restore m.elmo bad; exits 1; warns 'an index cannot be built'; run m.elmo --db app 'db.x.getIndexes()'; tells 'b_1'
run restore n.elmo /no/such/dump; exits 1; warns 'cannot read'
mkdir nothing; run restore n.elmo nothing; exits 1; warns 'nothing to restore'
run dump a.elmo -d app -c nope; exits 1; warns 'there is no collection app.nope'
run dump nope.elmo; exits 1; warns 'there is no database at'
run dump a.elmo --out /no/such/folder; exits 1; warns 'cannot make the folder'
if [ -e /dev/full ]; then run dump a.elmo --archive=/dev/full; exits 1; warns 'No space left'; fi
echo before >keep.archive; run dump a.elmo -d app -c users -q '{$nope: 1}' --archive=keep.archive; exits 1
[ "$(cat keep.archive)" = before ] || fail 'an archive was lost to one that could not be made'

# Bytes changed, cut or added anywhere: exit 1 with a message, or (where it does not matter: a name, a metadata field) 0. Nothing else.
run dump a.elmo --nsInclude 'app.types' --nsInclude 'two.*' --archive=small.archive --quiet; exits 0
archive mutate small.archive mutants ${FUZZ_MUTANTS:-120}
bad=0
for each in mutants/*; do
    rm -f mutant.elmo*
    run restore mutant.elmo --archive="$each" --quiet
    case $status in 0 | 1) ;; *) fail "exit status $status for $each" ;; esac
    if [ "$status" = 1 ]; then bad=$((bad + 1)); [ -n "$err" ] || fail 'no message'; fi
done
[ "$bad" -gt 80 ] || fail "only $bad of the damaged archives were found out"

# Wrong usage.
run dump; exits 2; warns 'missing'
run dump a.elmo --archive=x --out y; exits 2; warns 'exclude each other'
run dump a.elmo -c users; exits 2; warns '--collection needs --db'
run dump a.elmo -q '{}'; exits 2; warns '--query needs --collection'
run dump a.elmo -d app -c users -q '{a:'; exits 1; warns '--query: line 1'
run dump a.elmo --gzip=yes; exits 2; warns 'takes no value'
run restore; exits 2; warns 'missing'
run restore n.elmo d1 more; exits 2
run restore n.elmo d1 --nsFrom 'a.*'; exits 1; warns 'pairs'
run restore n.elmo d1 --nsFrom 'a.*' --nsTo 'b.*.*'; exits 1; warns 'asterisks'
run restore n.elmo d1 --nsFrom '$a$.b' --nsTo '$c$.b'; exits 1; warns "has no 'c'"
run restore n.elmo d1/app/users.bson; exits 1; warns '--db tells where it goes'
for sub in dump restore; do run $sub --help; exits 0; tells "usage: elmo $sub"; tells '--nsInclude PATTERN...'; done
run dump mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300; exits 1; warns '127.0.0.1:1'
run dump --uri 'mongodb://u:secret@127.0.0.1:1/'; exits 1; case $err in *secret*) fail 'a password was shown' ;; esac
done_testing
