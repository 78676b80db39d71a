# elmo export: JSON in both forms, arrays, CSV; and what import makes of it again.
. "$(dirname "$0")/lib.sh.inc"
export_() { run export a.elmo --collection app.c "$@"; }

cat >types.jsonl <<'EOF'
{"_id": 1, "d": 0.1, "e": {"$numberDouble": "1e300"}, "nan": {"$numberDouble": "NaN"}, "minus": {"$numberDouble": "-Infinity"}, "s": "a\"\\\n\u0001ü 漢 😀"}
{"_id": 2, "doc": {"a": {"b": []}}, "array": [1, [2, {}]], "bin": {"$binary": {"base64": "AAH/", "subType": "00"}}, "uuid": {"$uuid": "00112233-4455-6677-8899-aabbccddeeff"}}
{"_id": {"$oid": "0123456789abcdef01234567"}, "yes": true, "date": {"$date": "2020-02-29T12:00:00.5Z"}, "old": {"$date": {"$numberLong": "-1"}}, "none": null, "re": {"$regularExpression": {"pattern": "^a/", "options": "i"}}}
{"_id": {"a": 1}, "code": {"$code": "f()"}, "scoped": {"$code": "f()", "$scope": {"x": 1}}, "int": 5, "long": {"$numberLong": "5"}, "ts": {"$timestamp": {"t": 1, "i": 2}}}
{"_id": "x", "dec": {"$numberDecimal": "1.50"}, "min": {"$minKey": 1}, "max": {"$maxKey": 1}}
EOF
run import types.jsonl --db a.elmo --collection app.c; exits 0

export_ -q '{_id: 1}'; exits 0; warns '1 document exported'
says '{"_id":1,"d":0.1,"e":1e+300,"nan":{"$numberDouble":"NaN"},"minus":{"$numberDouble":"-Infinity"},"s":"a\"\\\n\u0001ü 漢 😀"}'
export_ -q '{_id: 1}' --jsonFormat=canonical --fields d,e; exits 0
says '{"_id":{"$numberInt":"1"},"d":{"$numberDouble":"0.1"},"e":{"$numberDouble":"1e+300"}}'
export_ -q '{_id: 2}'; says '{"_id":2,"doc":{"a":{"b":[]}},"array":[1,[2,{}]],"bin":{"$binary":{"base64":"AAH/","subType":"00"}},"uuid":{"$uuid":"00112233-4455-6677-8899-aabbccddeeff"}}'
export_ -q '{yes: true}'; says '{"_id":{"$oid":"0123456789abcdef01234567"},"yes":true,"date":{"$date":"2020-02-29T12:00:00.500Z"},"old":{"$date":{"$numberLong":"-1"}},"none":null,"re":{"$regularExpression":{"pattern":"^a/","options":"i"}}}'
export_ -q '{yes: true}' --jsonFormat canonical -f date; says '{"_id":{"$oid":"0123456789abcdef01234567"},"date":{"$date":{"$numberLong":"1582977600500"}}}'
export_ -q '{int: 5}'; says '{"_id":{"a":1},"code":{"$code":"f()"},"scoped":{"$code":"f()","$scope":{"x":1}},"int":5,"long":5,"ts":{"$timestamp":{"t":1,"i":2}}}'
export_ -q '{_id: "x"}'; says '{"_id":"x","dec":{"$numberDecimal":"1.50"},"min":{"$minKey":1},"max":{"$maxKey":1}}'
export_ -q '{_id: {$lte: 2}}' --jsonArray -f d --quiet; says '[{"_id":1,"d":0.1},{"_id":2}]'; [ -z "$err" ] || fail 'quiet means quiet'
export_ -q '{_id: 2}' --pretty -f doc,array; says '{
	"_id": 2,
	"doc": {
		"a": {
			"b": []
		}
	},
	"array": [
		1,
		[
			2,
			{}
		]
	]
}'

# There and back, both forms, loses nothing.
"$elmo" dump a.elmo -d app -c c -o - --quiet >before.bson
for form in canonical relaxed; do
    export_ --jsonFormat $form -o $form.json; exits 0; run import $form.json --db $form.elmo --collection app.c; exits 0; warns '5 documents'
done
"$elmo" dump canonical.elmo -d app -c c -o - --quiet | cmp - before.bson || fail 'canonical JSON loses something'
export_ --jsonArray --pretty --jsonFormat=canonical -o pretty.json; run import pretty.json --db pretty.elmo --collection app.c; exits 0
"$elmo" dump pretty.elmo -d app -c c -o - --quiet | cmp - before.bson || fail 'pretty JSON loses something'

# Sort, skip, limit, CSV.
for i in 1 2 3 4 5; do echo "{\"_id\": $i, \"n\": {\"v\": $((9 - i)), \"a\": [10, {\"b\": \"x$i\"}]}, \"s\": \"v,$i\"}"; done >n.jsonl
run import n.jsonl --db a.elmo --collection app.n
run export a.elmo -c app.n --sort '{"n.v": 1}' --skip 1 --limit 2 -f _id; says '{"_id":4}
{"_id":3}'
run export --db a.elmo --collection app.n --limit 1; exits 0
run export a.elmo -d app -c n --type csv -f '_id,n.v,n.a.1.b,n.a,s,nope' --limit=2; exits 0; says '_id,n.v,n.a.1.b,n.a,s,nope
1,8,x1,"[10,{""b"":""x1""}]","v,1",
2,7,x2,"[10,{""b"":""x2""}]","v,2",'
printf 's\r\n_id\n\n' >fields.txt
run export a.elmo -d app -c n --type=csv --fieldFile fields.txt --limit 1 --noHeaderLine; says '"v,1",1'
export_ --type csv -f _id,d,s,date,yes,dec,bin,long,none --sort '{_id: 1}'; exits 0
tells '1,0.1,"a""\'; tells '0123456789abcdef01234567),,,2020-02-29T12:00:00.500Z,true,,,,'; tells 'x,,,,,1.50,,,'; tells '{""$binary"":'

# Wrong usage, missing things.
run export a.elmo -d app -c nope; exits 0; says ''; warns '0 documents'
run export a.elmo -d app -c nope --assertExists; exits 1; warns 'there is no collection app.nope'
run export a.elmo -d app -c nope --jsonArray; says '[]'
run export; exits 2; warns 'missing'
run export a.elmo; exits 2; warns '--collection is missing'
run export a.elmo -c c; exits 1; warns 'DATABASE.COLLECTION'
export_ --type csv; exits 2; warns 'needs --fields'
export_ --type xml; exits 2; warns 'json or csv'
export_ --jsonFormat x; exits 2; warns 'canonical or relaxed'
export_ --limit=-1; exits 1; warns '--limit'
export_ -q '{'; exits 1; warns '--query: line 1'
export_ -q '{a: {$nope: 1}}'; exits 1; warns '$nope'
export_ --queryFile nope.json; exits 1; warns 'nope.json'
export_ -o /no/such/folder/x.json; exits 1; warns 'cannot write'
run export nope.elmo -c a.b; exits 1; warns 'there is no database'
run export --help; exits 0; tells 'usage: elmo export'; tells '--query, -q DOC'
done_testing
