# What the command says when it is used wrongly, and what it says when it is asked for help.
. "$(dirname "$0")/lib.sh.inc"

run; exits 2; warns 'elmo import FILE'
for word in --help -h help; do run $word; exits 0; tells 'create-index'; done
run --version; exits 0; tells 'elmo '
for sub in import export dump restore find explain create-index stat check compact; do
    run $sub --help; exits 0; tells "usage: elmo $sub"
    run $sub --frob; exits 2; warns "unknown option '--frob'"; warns "usage: elmo $sub"
    run $sub; exits 2; warns 'missing'
    run $sub --db; exits 2; warns "option '--db' needs a value"
done

# A mistyped subcommand makes no file.
run chekc a.elmo; exits 2; warns "no subcommand 'chekc'"
[ ! -e chekc ] || fail 'a file was made'
run ./a.elmo --frob; exits 2
run ./a.elmo 'db.c.find()' more; exits 2; warns 'one pair of quotes'
run --read-only; exits 2

# Files that are none, or are no databases, and stay as they are.
for sub in stat check compact; do run $sub nope.elmo; exits 1; warns 'there is no database at'; done
run find --db nope.elmo --collection a.b; exits 1; warns 'there is no database at'
[ ! -e nope.elmo ] || fail 'a file was made'
echo 'some text' >text.txt
cp text.txt copy.txt
run check text.txt; exits 1; warns 'not an elmo database'
run text.txt 'show dbs'; exits 1; warns 'not an elmo database'
cmp text.txt copy.txt || fail 'the file was changed'
head -c 20000 /dev/zero | tr '\0' 'x' >long.txt
cp long.txt copy.txt
run long.txt 'show dbs'; exits 1; warns 'not an elmo database'
cmp long.txt copy.txt || fail 'the file was changed'
run check .; exits 1; warns 'not a regular file'
run /no/such/folder/a.elmo 'show dbs'; exits 1; warns 'No such file'
run '' 'show dbs'; exits 1; warns 'empty'

# Arguments that are no documents, numbers, namespaces.
run a.elmo 'db.c.insertOne({_id: 1})'; exits 0
run find '{a:' --db a.elmo --collection test.c; exits 1; warns 'the filter: line 1, column 4'
run find '[1]' --db a.elmo --collection test.c; exits 1; warns 'not an array'
run find --sort a --db a.elmo --collection test.c; exits 1; warns '--sort: line 1, column 1'
run find --limit x --db a.elmo --collection test.c; exits 1; warns "'x' is not a whole number"
run find --limit -1 --db a.elmo --collection test.c; exits 1; warns '51024'
run find --db a.elmo --collection test; exits 1; warns 'DATABASE.COLLECTION'
run find '{a: {$gtt: 1}}' --db a.elmo --collection test.c; exits 1; warns '$gtt'
run find --hint nope --db a.elmo --collection test.c; exits 1; warns 'hint'
run find 1 2 --db a.elmo --collection test.c; exits 2; warns 'one argument too many'
run create-index '{a: "frob"}' --db a.elmo --collection test.c; exits 1; warns 'frob'

# The second opener hears who has the file; readers may be many.
mkfifo hold
"$elmo" a.elmo <hold >/dev/null 2>&1 &
holder=$!
exec 9>hold
echo 'db.c.insertOne({_id: 2})' >&9
for i in $(seq 100); do [ -e a.elmo-log-1 ] || ls a.elmo-log-* >/dev/null 2>&1 && break; sleep 0.05; done
run a.elmo 'show dbs'; exits 1; warns "by pid $holder on "
exec 9>&-
wait $holder
run a.elmo 'db.c.countDocuments({})'; exits 0; says 2
done_testing
