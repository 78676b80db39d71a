# elmo import: every kind of input, and every kind of bad one.
. "$(dirname "$0")/lib.sh.inc"
import() { run import "$1" --db "$2" --collection app.c "${@:3}"; }
rows() { run find --db "$1" --collection app.c --sort '{_id: 1}'; }

printf '{"_id":1,"a":"x"}\n\n{"_id":2}\r\n{"_id":3}' >lines.jsonl
import lines.jsonl lines.elmo; exits 0; warns '3 documents imported into app.c'
rows lines.elmo; exits 0; says '{"_id": 1, "a": "x"}
{"_id": 2}
{"_id": 3}'

printf '{\n  "_id": 1,\n  "a": [1, {"b": 2}]\n}\n{\n "_id": 2 }\n' >pretty.json
import pretty.json pretty.elmo; exits 0; warns '2 documents'
rows pretty.elmo; says '{"_id": 1, "a": [1, {"b": 2}]}
{"_id": 2}'

printf ' [ {"_id": 1}, {"_id": 2},\n{"_id": 3} ]\n' >array.json
import array.json array.elmo; exits 0; warns '3 documents'
printf '[]' >array0.json
import array0.json array.elmo; exits 0; warns '0 documents'

# BSON, written by hand: {_id: 1}, {_id: 2}.
printf '\016\0\0\0\020_id\0\001\0\0\0\0\016\0\0\0\020_id\0\002\0\0\0\0' >two.bson
import two.bson bson.elmo; exits 0; warns '2 documents'
rows bson.elmo; says '{"_id": 1}
{"_id": 2}'
cp two.bson two.dat
import two.dat bson2.elmo --type bson; exits 0; warns '2 documents'
{ cat two.bson; printf '\011\0\0\0\167a\0\0\0'; printf '\016\0\0\0\020_id\0\003\0\0\0\0'; printf 'xx'; } >bad.bson
import bad.bson bson3.elmo; exits 1; warns 'byte 28: invalid BSON'
import bad.bson bson4.elmo --keep-going; exits 0; warns 'byte 51: this is not a BSON document'; warns '3 documents'; warns '2 skipped'

printf '{"_id": 1}' | "$elmo" import - --db stdin.elmo --collection app.c 2>err.txt || fail 'standard input'
printf '\357\273\277{"_id": 1}\n' >mark.jsonl
import mark.jsonl mark.elmo; exits 0; warns '1 document imported'
: >empty; import empty empty.elmo; exits 0; warns '0 documents'

# Bad lines, with and without --keep-going.
printf '{"_id":1}\n{"_id":2}\n{bad\n{"_id":1}\nnonsense\n{"_id":4}\n' >bad.jsonl
import bad.jsonl bad.elmo; exits 1; warns 'bad.jsonl:3: '; warns '2 documents'; warns '--keep-going'
import bad.jsonl bad.elmo --drop --keep-going; exits 0
warns 'bad.jsonl:3: '; warns 'bad.jsonl:4: E11000'; warns 'bad.jsonl:5: '; warns '3 documents'; warns '3 skipped'
import lines.jsonl lines.elmo; exits 1; warns 'lines.jsonl:1: E11000'; warns '0 documents'
printf '[{"_id": 1}, 5, {"_id": nope}, {"_id": 2}]' >bad.json
import bad.json bad2.elmo --keep-going; exits 0; warns '2 documents'; warns '2 skipped'
printf '[{"_id": 1}' >open.json
import open.json bad3.elmo; exits 1; warns "']' is missing"
printf '{"_id": 1} {"_id": 2} x\n{"_id": 3}\n' >same.jsonl
import same.jsonl same.elmo --keep-going; exits 0; warns 'same.jsonl:1: '; warns '3 documents'
{ printf '{"_id": 1, "a": '; head -c 1000 /dev/zero | tr '\0' '['; printf '\n{"_id": 2}\n'; } >deep.jsonl
import deep.jsonl deep.elmo --keep-going; exits 0; warns 'deep.jsonl:1: '; warns '1 document imported'
{ printf '{"_id": 1, "a": "'; head -c 17000000 /dev/zero | tr '\0' 'a'; printf '"}\n{"_id": 2}\n'; } >huge.jsonl
import huge.jsonl huge.elmo --keep-going; exits 0; warns 'huge.jsonl:1: '; warns '1 document imported'

# What cannot be read or written at all makes no database.
import nope.json none.elmo; exits 1; warns "cannot read 'nope.json'"
import . none.elmo; exits 1; warns 'Is a directory'
import lines.jsonl none.elmo --type xml; exits 2; warns '--type'
run import lines.jsonl --db none.elmo --collection c; exits 1; warns 'DATABASE.COLLECTION'
[ ! -e none.elmo ] || fail 'a file was made'
import lines.jsonl /no/such/folder/x.elmo; exits 1
import lines.jsonl sync.elmo --sync sometimes; exits 1; warns '"normal"'

# --acknowledge counts what is safely stored, batch by batch.
for i in $(seq 2500); do echo "{\"_id\": $i}"; done >many.jsonl
import many.jsonl many.elmo --acknowledge; exits 0; says '1000
2000
2500'
run check many.elmo; exits 0; warns 'sound'
done_testing
