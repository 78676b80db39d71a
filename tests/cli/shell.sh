# The shell: one command, scripts, and what it says of mistakes.
. "$(dirname "$0")/lib.sh.inc"
sh() { run app.elmo "$@"; }

sh 'db.users.insertMany([{_id: 1, name: "Ada", age: 36}, {_id: 2, name: "Bob", age: 40}, {_id: 3, name: "Cyd", age: 29, tags: ["a", "b"]}])'
exits 0; tells '"n": 3'
sh 'db.users.find({age: {$gt: 30}}).sort({age: -1}).limit(1)'; exits 0; says '{"_id": 2, "name": "Bob", "age": 40}'
sh 'db.users.find({}, {_id: 0, name: 1}).skip(1)'; says '{"name": "Bob"}
{"name": "Cyd"}'
sh 'db.users.findOne({tags: "a"})'; says '{"_id": 3, "name": "Cyd", "age": 29, "tags": ["a", "b"]}'
sh 'db.users.countDocuments({age: {$lt: 40}})'; says 2
sh 'db.users.find({age: 36}).count()'; says 1
sh 'db.users.distinct("age", {name: {$ne: "Bob"}})'; exits 0; tells '29'
sh 'db.users.updateOne({name: "Ada"}, {$inc: {age: 1}})'; exits 0; tells '"modifiedCount": 1'
sh 'db.users.updateMany({}, {$set: {seen: true}})'; tells '"modifiedCount": 3'
sh 'db.users.updateOne({_id: 9}, {$set: {a: 1}}, {upsert: true})'; tells '"upsertedId": 9'
sh 'db.users.replaceOne({_id: 9}, {b: 1})'; tells '"modifiedCount": 1'
sh 'db.users.deleteOne({_id: 9})'; tells '"deletedCount": 1'
sh 'db.users.createIndex({age: 1}, {name: "by_age"})'; exits 0; tells '"numIndexesAfter": 2'
sh 'db.users.getIndexes()'; tells 'by_age'
sh 'db.users.find({age: 29}).hint("by_age").explain("executionStats")'; tells '"IXSCAN"'
sh 'db.users.dropIndex("by_age")'; exits 0
sh 'db.users.stats()'; tells '"count": 3'
sh 'db.users.validate()'; tells '"valid": true'
sh 'db.runCommand({ping: 1})'; says '{"ok": 1.0}'
sh 'db["odd name"].insertOne({_id: "x", pattern: /x/i, at: ISODate("2020-01-02T03:04:05Z")})'; exits 0
sh 'db["odd name"].find()'; tells '2020-01-02T03:04:05Z'
sh 'show collections'; says 'odd name
users'
sh 'show dbs'; says 'test'
sh 'db.users.find({_id: 1}, {name: 1}); db.users.countDocuments()'; says '{"_id": 1, "name": "Ada"}
3'
sh --db other 'db.c.insertOne({_id: 1})'; exits 0
sh 'show dbs'; says 'other
test'
sh --read-only 'db.users.countDocuments()'; says 3
sh --read-only 'db.users.insertOne({})'; exits 1; warns 'read-only'
sh help; exits 0; tells 'findOne'
sh exit; exits 0

# Mistakes are told where they are and change nothing.
sh 'frob'; exits 1; warns "'frob'"
sh 'db.users'; exits 1; warns 'which method'
sh 'db.users.frob()'; exits 1; warns 'frob()'
sh 'db.users.find({age: })'; exits 1; warns 'line 1, column 8'
sh 'db.users.find({age: 1}'; exits 1; warns 'never closed'
sh 'db.users.find().srt()'; exits 1; warns 'srt()'
sh 'db.users.find(1)'; exits 1; warns 'must be a document'
sh 'db.users.find({}, {}, 3)'; exits 1; warns 'at most 2 arguments'
sh 'db.users.find() x'; exits 1; warns "'x'"
sh 'db.users.drop(1)'; exits 1; warns 'no arguments'
sh 'db.users.deleteMany()'; exits 1; warns 'needs a filter'
sh 'db.users.deleteOne({}, {frob: 1})'; exits 1; warns '40415'
sh 'db.users.insertOne({_id: 1})'; exits 1; warns 'E11000'
sh 'db.users.insertMany([{_id: 1}, {_id: 50}], {ordered: false})'; exits 1; warns 'document 0: E11000'; tells '"n": 1'
sh 'db.users.find().explain(5)'; exits 1; warns 'verbosity'
sh 'it'; exits 1
sh 'use a/b'; exits 1; warns 'a/b'
sh 'show'; exits 1; warns 'show dbs'

# A script: commands over several lines, comments, and the exit status of the first that failed.
cat >script <<'X'
// brackets in comments do not count (
use notes
db.notes.insertMany([
  {_id: 1, text: "a } in a string"},   /* and ( here */
  {_id: 2, text: 'b'},
])

db.notes.find({
  _id: 2
})
db.notes.frob()
show collections
X
"$elmo" app.elmo <script >out.txt 2>err.txt
status=$? out=$(cat out.txt) err=$(cat err.txt) what=script
exits 1; warns 'frob'; says '{"n": 2, "ok": 1.0}
{"_id": 2, "text": "b"}
notes'
printf 'db.notes.find({\n' | "$elmo" app.elmo >out.txt 2>err.txt
status=$? out=$(cat out.txt) err=$(cat err.txt) what='an open script'
exits 1; warns 'not complete'
: | "$elmo" app.elmo || fail 'an empty script'
done_testing
