# elmo import of CSV and TSV, its modes, and mongoimport's ways of naming things.
. "$(dirname "$0")/lib.sh.inc"
n=0
import() { # INPUT-TEXT ARGUMENT...: into a fresh database; $db
    n=$((n + 1))
    db=db$n.elmo
    printf "$1" >input.csv
    shift
    run import input.csv --db $db --collection app.c "$@"
}
rows() { run export $db -c app.c --sort '{_id: 1}' --quiet; }

import '_id,a,b.c,b.d\n1,x,2,3.5\n2,"q ""uoted"", and\nover lines",,\n' --type csv --headerline; exits 0; warns '2 documents'
rows; says '{"_id":1,"a":"x","b":{"c":2,"d":3.5}}
{"_id":2,"a":"q \"uoted\", and\nover lines","b":{"c":"","d":""}}'
import '\357\273\277_id,a\r\n\r\n1,ü 漢\r\n2,"x\r\ny"\r\n\r\n3,z' --type csv --headerline; exits 0
rows; says '{"_id":1,"a":"ü 漢"}
{"_id":2,"a":"x\ny"}
{"_id":3,"a":"z"}'
import '1,2,3,4\n2\n3, lead,"x" \n' --type csv -f _id,a; exits 1; warns 'input.csv:3: field 3: a quote inside a quoted field must be doubled'
rows; says '{"_id":1,"a":2,"field2":3,"field3":4}
{"_id":2}'
import '1,a"b\n2,"x\n3,y\n' --type csv -f _id,a; exits 1; warns 'input.csv:2: field 2: the quoted field does not end'
rows; says '{"_id":1,"a":"a\"b"}'
import '1,"x"y\n2,z\n' --type csv -f _id,a --keep-going; exits 0; warns '1 skipped'; rows; says '{"_id":2,"a":"z"}'
import '1,\377\n2,z\n' --type csv -f _id,a --keep-going; exits 0; warns 'input.csv:1: field 2 is not UTF-8'; rows; says '{"_id":2,"a":"z"}'
import '_id\ta"\tb\n1\t"x\t\n2\ty z' --type tsv --headerline; exits 0
rows; says '{"_id":1,"a\"":"\"x","b":""}
{"_id":2,"a\"":"y z"}'
import '' --type csv --headerline; exits 1; warns 'the line of names is missing'
import '_id,a\n' --type csv --headerline; exits 0; warns '0 documents'

# Numbers found out.
import '1,-5\n2,2147483648\n3,9223372036854775808\n4,1e3\n5,0x10\n6,+7\n7,007\n8,inf\n9, 5\n10,5 \n11,1_0\n12,-\n13,.5\n14,nan(1)\n15,1e999\n' --type csv -f _id,v; exits 0
run export $db -c app.c --sort '{_id: 1}' --jsonFormat canonical --quiet
for each in '"1"},"v":{"$numberInt":"-5"}' '"v":{"$numberLong":"2147483648"}' '"v":{"$numberDouble":"9.223372036854776e+18"}' '"v":{"$numberDouble":"1000.0"}' \
    '"v":"0x10"' '"v":{"$numberInt":"7"}' '"7"},"v":{"$numberInt":"7"}' '"v":{"$numberDouble":"Infinity"}' '"9"},"v":{"$numberInt":"5"}' '"v":"5 "' '"v":"1_0"' '"v":"-"' \
    '"v":{"$numberDouble":"0.5"}' '"v":"nan(1)"' '"v":"1e999"'; do tells "$each"; done

# Types.
import '_id.int32(),b.boolean(),d.date(2006-01-02),m.date_ms(dd.MM.yyyy HH:mm:ss),o.date_oracle(DD-MON-YYYY),z.decimal(),f.double(),l.int64(),s.string(),x.binary(base64),h.binary(hex),a.auto()\n1,TRUE,2020-02-29,24.12.2021 18:30:00,03-Jul-1999,1.50,2,3,007,AAH/,00ff,9\n' \
    --type csv --headerline --columnsHaveTypes; exits 0
run export $db -c app.c --jsonFormat canonical --quiet
says '{"_id":{"$numberInt":"1"},"b":true,"d":{"$date":{"$numberLong":"1582934400000"}},"m":{"$date":{"$numberLong":"1640370600000"}},"o":{"$date":{"$numberLong":"930960000000"}},"z":{"$numberDecimal":"1.50"},"f":{"$numberDouble":"2.0"},"l":{"$numberLong":"3"},"s":"007","x":{"$binary":{"base64":"AAH/","subType":"00"}},"h":{"$binary":{"base64":"AP8=","subType":"00"}},"a":{"$numberInt":"9"}}'
import '"2006-01-02T15:04:05.999Z07:00 date","x"\n' --type csv -f '_id.auto(),y.string()' --columnsHaveTypes; exits 0
dates() { import "$1\n" --type csv -f 'd.date('"$2"')' --columnsHaveTypes; run export $db -c app.c -f d --quiet; }
dates '2020-01-01T00:00:00.123+02:00' '2006-01-02T15:04:05Z07:00'; tells '2019-12-31T22:00:00.123Z'
dates 'Monday January  7 2019 3:04PM' 'Monday January 2 2006 3:04PM'; tells '2019-01-07T15:04:00Z'
dates '060/2020' '002/2006'; tells '2020-02-29T00:00:00Z'
dates '31.12.69' '02.01.06'; tells '{"$numberLong":"-'
import '2019-02-29\n' --type csv -f 'd.date(2006-01-02)' --columnsHaveTypes; exits 1; warns "'2019-02-29' is no date (column 'd')"
import '1,x\n2,5\n' --type csv -f '_id.auto(),v.int32()' --columnsHaveTypes --parseGrace autoCast; exits 0; rows; says '{"_id":1,"v":"x"}
{"_id":2,"v":5}'
import '1,x\n2,5\n' --type csv -f '_id.auto(),v.int32()' --columnsHaveTypes --parseGrace=skipField; exits 0; rows; says '{"_id":1}
{"_id":2,"v":5}'
import '1,x\n2,5\n' --type csv -f '_id.auto(),v.int32()' --columnsHaveTypes --parseGrace skipRow; exits 0; warns 'input.csv:1: '; rows; says '{"_id":2,"v":5}'
import '1,x\n2,5\n' --type csv -f '_id.auto(),v.int32()' --columnsHaveTypes; exits 1; warns "'x' is no int32 (column 'v')"; rows; says ''

# Blanks, arrays, names that contradict each other.
import '_id,a,b.c\n1,,\n2,x,\n3,,y\n' --type csv --headerline --ignoreBlanks; exits 0; rows; says '{"_id":1}
{"_id":2,"a":"x"}
{"_id":3,"b":{"c":"y"}}'
import '_id,a.0,a.1.x,a.1.y\n1,2,3,4\n' --type csv --headerline --useArrayIndexFields; exits 0; rows; says '{"_id":1,"a":[2,{"x":3,"y":4}]}'
import '_id,a.0,a.1\n1,2,3\n' --type csv --headerline; exits 0; rows; says '{"_id":1,"a":{"0":2,"1":3}}'
for names in a,a a,a.b a.b,a 'a..b' .a a. '$a' ''; do import '1\n' --type csv -f "x,$names"; exits 1; warns '--fields'; done
import 'x\n' --type csv -f a.1 --useArrayIndexFields; exits 1; warns 'one by one'
import 'x\n' --type csv -f a.0,a.b --useArrayIndexFields; exits 1; warns 'contradict'
import 'x\n' --type csv -f 'a.nope()' --columnsHaveTypes; exits 1; warns "there is no type 'nope'"
import 'x\n' --type csv -f a --columnsHaveTypes; exits 1; warns 'has no type'
import 'x\n' --type csv -f 'a.int32(5)' --columnsHaveTypes; exits 1; warns 'takes no argument'
printf 'a\nb\n' >names.txt; import '1,2\n' --type csv --fieldFile names.txt; exits 0; run export $db -c app.c --quiet; tells '"a":1,"b":2'

# Modes.
db=modes.elmo
mode() { printf "$1" >m.json; shift; run import m.json --db $db --collection app.c "$@"; }
mode '{"_id": 1, "k": "a", "v": 1}{"_id": 2, "k": "b", "v": 1}' --mode insert; exits 0
mode '{"_id": 1, "w": 2}' --mode upsert; exits 0; warns '1 document written to app.c'; rows; says '{"_id":1,"w":2}
{"_id":2,"k":"b","v":1}'
mode '{"k": "b", "w": 3}\n{"k": "c", "w": 4, "_id": 3}\n' --mode=merge --upsertFields k; exits 0; rows; says '{"_id":1,"w":2}
{"_id":2,"k":"b","v":1,"w":3}
{"_id":3,"k":"c","w":4}'
mode '{"k": "b"}\n{"k": "nope"}\n{"x": 1}\n' --mode delete --upsertFields k; exits 0; warns '1 document deleted from'; rows; says '{"_id":1,"w":2}
{"_id":3,"k":"c","w":4}'
mode '{"w": 2, "n": {"x": 1}, "_id": 9}\n' --upsertFields w; exits 1; warns 'm.json:1: '
mode '{"w": 2, "n": {"x": 1}, "_id": 9}\n{"w": 4, "z": 1}\n' --upsertFields w --keep-going; exits 0; warns '1 skipped'; rows; tells '{"_id":3,"w":4,"z":1}'
mode '{"_id": 77}' --drop; exits 0; rows; says '{"_id":77}'

# Ways to name the target and the input; large and compressed input; documents across the window's edge.
run import t.elmo m.json -d app -c c; exits 0; run import t.elmo --file m.json -c app.d; exits 0
run t.elmo --db app 'show collections'; says 'c
d'
python3 - >big.json <<'EOF'
print("[")
for i in range(40):
    print('  {"_id": %d, "s": "%s"}%s' % (i, ("\\u00fc[{" * 30000) + "x" * i, "," if i < 39 else ""))
print("]")
EOF
run import big.json --db big.elmo --collection app.c; exits 0; warns '40 documents'
gzip -k big.json; "$elmo" import - --db big2.elmo --collection app.c <big.json.gz 2>err.txt || fail 'compressed standard input'
"$elmo" dump big.elmo -d app -c c -o - --quiet >big.bson; "$elmo" dump big2.elmo -d app -c c -o - --quiet | cmp - big.bson || fail 'not the same'
run import big.bson --db big3.elmo --collection app.c; exits 0; warns '40 documents'
head -c 1000000 big.json >half.json; run import half.json --db half.elmo --collection app.c; exits 1; warns 'half.json:'

# Wrong usage.
import '1' --type csv; exits 2; warns 'needs one of'
import '1' --type csv --headerline -f a; exits 2; warns 'needs one of'
import '1' -f a; exits 2; warns '--fields needs --type csv'
import '1' --headerline; exits 2; warns '--headerline needs'
import '1' --type csv -f a --parseGrace x; exits 2; warns 'autoCast'
import '1' --mode x; exits 2; warns '--mode must be'
import '1' --mode insert --upsertFields a; exits 2; warns '--mode insert'
import '1' --keep-going --stopOnError; exits 2; warns 'exclude each other'
run import a b c; exits 2; warns 'too many'
done_testing
