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

# What came with the language: aggregate, updates by a pipeline, findOneAnd..., bulkWrite, explain() in front.
sh 'db.a.insertMany([{_id: 1, c: "x", n: 1}, {_id: 2, c: "y", n: 2}, {_id: 3, c: "x", n: 3}])'; exits 0
sh 'db.a.aggregate([{$group: {_id: "$c", n: {$sum: "$n"}}}, {$sort: {_id: 1}}])'; says '{"_id": "x", "n": 4}
{"_id": "y", "n": 2}'
sh 'db.a.aggregate({$match: {c: "x"}}, {$count: "n"})'; says '{"n": 2}'
sh 'db.a.aggregate([{$match: {c: "x"}}]).itcount()'; says 2
sh 'db.a.aggregate([{$match: {n: {$gt: 1}}}], {let: {a: 1}}).explain()'; exits 0; tells COLLSCAN
sh 'db.a.explain().aggregate([{$sort: {n: 1}}])'; exits 0; tells '"sort'
sh 'db.a.explain("executionStats").find({n: 2}).sort({c: 1})'; tells executionStats
sh 'db.a.explain().deleteMany({c: "x"})'; exits 0; tells DELETE
sh 'db.a.explain().updateOne({c: "x"}, {$set: {n: 0}})'; exits 0; tells UPDATE
sh 'db.a.find({n: {$ne: 0}}).itcount()'; says 3
sh 'db.aggregate([{$documents: [{a: 1}, {a: 2}]}, {$match: {a: {$gt: 1}}}])'; says '{"a": 2}'
sh 'db.a.updateMany({}, [{$set: {d: {$multiply: ["$n", 10]}}}])'; tells '"modifiedCount": 3'
sh 'db.a.updateOne({_id: 1}, {$set: {"m": [1, 5, 9]}})'; exits 0
sh 'db.a.updateOne({_id: 1}, {$inc: {"m.$[big]": 1}}, {arrayFilters: [{big: {$gte: 5}}]})'; tells '"modifiedCount": 1'
sh 'db.a.findOne({_id: 1}, {m: 1})'; says '{"_id": 1, "m": [1, 6, 10]}'
sh 'db.a.findOneAndUpdate({_id: 2}, {$inc: {n: 5}}, {returnDocument: "after", projection: {n: 1}})'; says '{"_id": 2, "n": 7}'
sh 'db.a.findOneAndReplace({_id: 2}, {n: 2})'; tells '"n": 7'
sh 'db.a.findOneAndDelete({n: {$gt: 0}}, {sort: {_id: -1}})'; tells '"_id": 3'
sh 'db.a.findOneAndDelete({_id: 99})'; says null
sh 'db.a.bulkWrite([{insertOne: {document: {_id: 9}}}, {updateMany: {filter: {}, update: {$set: {z: 1}}}}, {replaceOne: {filter: {_id: 8}, replacement: {k: 1}, upsert: true}}, {deleteOne: {filter: {_id: 9}}}])'
exits 0; says '{"insertedCount": 1, "matchedCount": 3, "modifiedCount": 3, "deletedCount": 1, "upsertedCount": 1}'
sh 'db.a.bulkWrite([{insertOne: {document: {_id: 1}}}, {insertOne: {document: {_id: 5}}}])'; exits 1; warns E11000; tells '"insertedCount": 0'
sh 'db.a.bulkWrite([{insertOne: {document: {_id: 1}}}, {insertOne: {document: {_id: 5}}}], {ordered: false})'; exits 1; tells '"insertedCount": 1'
sh 'db.a.distinct("c", {})'; exits 0
sh 'db.a.createIndexes([{n: 1}, {c: 1, n: -1}])'; exits 0; tells '"numIndexesAfter": 3'
sh 'db.a.getIndexes()'; tells c_1_n_-1
sh 'db.a.dropIndexes("n_1")'; exits 0
sh 'db.a.dropIndexes()'; exits 0; sh 'db.a.getIndexes()'; says '{"v": 2, "key": {"_id": 1}, "name": "_id_"}'
sh 'db.a.renameCollection("b")'; exits 0; sh 'db.b.estimatedDocumentCount()'; says 4
sh 'db.getCollectionInfos({name: "b"})'; tells '"type": "collection"'
sh 'db.b.aggregate([{$groop: {}}])'; exits 1; warns '$groop'
sh 'db.b.aggregate([]).sort({a: 1})'; exits 1; warns 'an aggregate has no method sort()'
sh 'db.b.explain().insertOne({})'; exits 1; warns 'explain() needs a method'
sh 'db.b.updateOne({}, {a: 1})'; exits 1; warns 'replaceOne() takes'
sh 'db.b.replaceOne({}, {$set: {a: 1}})'; exits 1; warns 'updateOne() takes'
sh 'db.b.bulkWrite([{upsertOne: {}}])'; exits 1; warns 'operation 0: there is no upsertOne'
sh 'db.adminCommand({listDatabases: 1, nameOnly: true})'; tells '"test"'
sh --db gone 'db.c.insertOne({})'; sh --db gone 'db.dropDatabase()'; exits 0; sh 'show dbs'; says 'other
test'

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
