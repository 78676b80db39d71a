# elmo check, stat and compact: what is said of a sound file and of a damaged one.
. "$(dirname "$0")/lib.sh.inc"

for i in $(seq 3000); do echo "{\"_id\": $i, \"a\": $((i * 7919 % 1000)), \"text\": \"words of number $i\"}"; done >docs.jsonl
run import docs.jsonl --db a.elmo --collection app.c; exits 0
run create-index '{a: 1}' --db a.elmo --collection app.c; exits 0; warns 'index built'
run create-index '{a: 1}' --db a.elmo --collection app.c; exits 0; warns 'exists already'
run create-index '{a: -1}' --unique --name u --db a.elmo --collection app.c; exits 1; warns 'E11000'
run create-index '{text: "text"}' --weights '{text: 5}' --db a.elmo --collection app.c; exits 0
run find '{$text: {$search: "number 77"}}' --limit 1 --db a.elmo --collection app.c; exits 0; tells 'words'
run explain '{a: 5}' --tree --db a.elmo --collection app.c; exits 0; tells 'IXSCAN a_1'; tells 'returned 3'
run explain '{a: 5}' --db a.elmo --collection app.c; tells '"executionStats"'
run stat a.elmo; exits 0; tells '"levels"'
run check a.elmo; exits 0; warns 'sound'
run compact a.elmo; exits 0
run check --db a.elmo; exits 0; warns 'sound'
[ "$(ls)" = "$(printf 'a.elmo\ndocs.jsonl\nerr.txt\nout.txt')" ] || fail "more is left than the file: $(ls)"

# A byte in the middle of every 64 KiB: the reader is told, and check says where.
cp a.elmo sound.elmo
size=$(stat -c %s a.elmo)
found=0
for ((at = 20000; at < size; at += 65536)); do
    cp sound.elmo a.elmo
    printf '\377\377\377\377' | dd of=a.elmo bs=1 seek=$at conv=notrunc status=none
    cmp -s sound.elmo a.elmo && continue
    run check a.elmo
    if [ "$status" = 1 ]; then
        found=$((found + 1))
        case $out$err in *damaged*|*fault*|*differ*) ;; *) fail "no word of damage at $at" ;; esac
        case $out$err in *' at '*|*block*|*extent*) ;; *) fail "no place is named for $at" ;; esac
    fi
    run find '{}' --db a.elmo --collection app.c
    if [ "$status" = 0 ]; then [ "$(wc -l <out.txt)" = 3000 ] || fail "documents are missing and nobody says so"; else warns '321'; fi
done
[ "$found" -gt 0 ] || fail 'no damage was found'
head -c $((size / 2)) sound.elmo >a.elmo
run check a.elmo; exits 1; warns '321'
done_testing
