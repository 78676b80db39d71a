// The Node driver against elmo's server. Run by tests/clients/run.
'use strict'
const assert = require('node:assert/strict')
const test = require('node:test')
const { MongoClient, ObjectId, Long, Decimal128, Binary, Timestamp, MinKey, MaxKey, BSONRegExp, MongoServerError, MongoBulkWriteError, MongoServerSelectionError } = require('mongodb')

const { PLAIN_URI, SET_URI, AUTH_URI, TLS_URI, TLS_CA, TLS_CLIENT, TLS_STRANGER } = process.env
const ROWS = 100_000

const withClient = async (uri, options, work) => {
  const client = new MongoClient(uri, { serverSelectionTimeoutMS: 10_000, ...options })
  try {
    await client.connect()
    return await work(client)
  } finally {
    await client.close()
  }
}
const failsWith = (code, promise) => assert.rejects(promise, (e) => { assert.equal(e.code, code, String(e)); return true })
// A test on a database of its own.
const onPlain = (name, work) => test(name, () => withClient(PLAIN_URI, {}, async (client) => {
  const db = client.db('node_' + name.replaceAll(' ', '_').slice(0, 40))
  await db.dropDatabase()
  await work(db, client)
}))

onPlain('every type comes back as it went', async (db) => {
  const doc = { _id: 1, d: 1.5, s: 'grüß 日本', o: { a: { b: [] } }, a: [1, [2, [3]]], bin: new Binary(Buffer.from([0, 1]), 5), id: new ObjectId(), t: true, n: null,
    date: new Date(1709209801005), re: new BSONRegExp('^a.*b$', 'im'), i: 7, l: Long.fromString('1152921504606846976'), ts: new Timestamp({ t: 5, i: 6 }),
    dec: Decimal128.fromString('1E-6000'), min: new MinKey(), max: new MaxKey() }
  await db.collection('c').insertOne(doc)
  const got = await db.collection('c').findOne({ _id: 1 }, { promoteValues: true, promoteLongs: false, bsonRegExp: true })
  assert.equal(JSON.stringify(got.dec), JSON.stringify(doc.dec))
  assert.ok(got.id.equals(doc.id) && got.l.equals(doc.l) && got.date.getTime() === doc.date.getTime())
  assert.deepEqual(Object.keys(got), Object.keys(doc))
})

onPlain('crud', async (db) => {
  const c = db.collection('people')
  const r = await c.insertMany([{ name: 'Ada', age: 36, tags: ['math', 'code'] }, { name: 'Grace', age: 85, tags: ['navy', 'code'] }, { name: 'Linus', age: 54 }])
  assert.equal(r.insertedCount, 3)
  assert.deepEqual((await c.find({ age: { $gte: 54 } }).sort({ age: -1 }).toArray()).map((d) => d.name), ['Grace', 'Linus'])
  assert.deepEqual(await c.find({ tags: 'code' }, { projection: { _id: 0, name: 1 } }).sort({ name: 1 }).toArray(), [{ name: 'Ada' }, { name: 'Grace' }])
  assert.equal(await c.countDocuments({ age: { $lt: 60 } }), 2)
  assert.equal(await c.estimatedDocumentCount(), 3)
  assert.deepEqual((await c.distinct('tags')).sort(), ['code', 'math', 'navy'])
  const u = await c.updateOne({ name: 'Alan' }, { $set: { age: 41 } }, { upsert: true })
  assert.equal(u.upsertedCount, 1)
  assert.ok(u.upsertedId instanceof ObjectId)
  assert.equal((await c.findOneAndUpdate({ name: 'Ada' }, { $inc: { age: 1 } }, { returnDocument: 'after' })).age, 37)
  assert.equal((await c.replaceOne({ name: 'Linus' }, { name: 'Linus', os: 'Linux' })).modifiedCount, 1)
  assert.equal((await c.updateMany({}, { $set: { seen: true } })).modifiedCount, 4)
  assert.equal((await c.deleteMany({ seen: true })).deletedCount, 4)
  assert.equal(await c.findOne({}), null)
})

onPlain('bulk', async (db) => {
  const c = db.collection('c')
  const r = await c.bulkWrite([{ insertOne: { document: { _id: 1, n: 1 } } }, { insertOne: { document: { _id: 2, n: 2 } } }, { updateOne: { filter: { _id: 1 }, update: { $set: { n: 11 } } } },
    { updateMany: { filter: {}, update: { $inc: { n: 1 } } } }, { replaceOne: { filter: { _id: 9 }, replacement: { n: 9 }, upsert: true } }, { deleteOne: { filter: { _id: 2 } } }])
  assert.deepEqual([r.insertedCount, r.matchedCount, r.modifiedCount, r.deletedCount, r.upsertedCount], [2, 3, 3, 1, 1])
  await assert.rejects(c.insertMany([{ _id: 1 }, { _id: 5 }, { _id: 9 }], { ordered: false }), (e) => {
    assert.ok(e instanceof MongoBulkWriteError)
    assert.deepEqual(e.writeErrors.map((w) => [w.index, w.code]), [[0, 11000], [2, 11000]])
    assert.equal(e.result.insertedCount, 1)
    return true
  })
})

onPlain('a cursor over many documents', async (db) => {
  const c = db.collection('c')
  await c.insertMany(Array.from({ length: ROWS }, (_, i) => ({ _id: i, k: (i * 7919) % ROWS })))
  await c.createIndex({ k: 1 })
  let last = -1
  for await (const d of c.find({}, { projection: { _id: 0, k: 1 }, sort: { k: 1 }, batchSize: 1000 })) assert.equal(d.k, ++last)
  assert.equal(last, ROWS - 1)
  const cursor = c.find({}, { batchSize: 2 })
  await cursor.next()
  await cursor.close()
})

onPlain('aggregate', async (db) => {
  const c = db.collection('c')
  await c.insertMany(Array.from({ length: 30 }, (_, i) => ({ shop: 'ab'[i % 2], n: i })))
  assert.deepEqual(await c.aggregate([{ $match: { n: { $lt: 20 } } }, { $group: { _id: '$shop', sum: { $sum: '$n' }, avg: { $avg: '$n' } } }, { $sort: { _id: 1 } }]).toArray(),
    [{ _id: 'a', sum: 90, avg: 9 }, { _id: 'b', sum: 100, avg: 10 }])
  assert.equal((await c.aggregate([{ $match: {} }], { batchSize: 7 }).toArray()).length, 30)
  const plan = await c.aggregate([{ $match: { n: 3 } }]).explain()
  assert.ok(JSON.stringify(plan).includes('COLLSCAN'))
})

onPlain('indexes', async (db) => {
  const c = db.collection('c')
  await c.insertMany(Array.from({ length: 100 }, (_, i) => ({ a: i, b: [i, i + 1] })))
  assert.deepEqual(await c.createIndexes([{ key: { a: 1 }, unique: true }, { key: { b: -1, a: 1 }, name: 'both' }]), ['a_1', 'both'])
  assert.deepEqual((await c.listIndexes().toArray()).map((i) => i.name), ['_id_', 'a_1', 'both'])
  const plan = await c.find({ a: 5 }).explain('executionStats')
  assert.equal(plan.executionStats.totalDocsExamined, 1)
  await assert.rejects(c.insertOne({ a: 5 }), (e) => { assert.equal(e.code, 11000); assert.deepEqual(e.keyValue, { a: 5 }); return true })
  await c.dropIndex('a_1')
  assert.equal(await c.indexExists('a_1'), false)
})

onPlain('collections and databases', async (db, client) => {
  await db.createCollection('made')
  await db.collection('made').rename('renamed')
  assert.deepEqual((await db.listCollections().toArray()).map((c) => [c.name, c.type]), [['renamed', 'collection']])
  assert.ok((await client.db().admin().listDatabases()).databases.some((d) => d.name === db.databaseName))
  assert.equal((await db.stats()).collections, 1)
  assert.equal(await db.dropCollection('renamed'), true)
})

onPlain('errors', async (db) => {
  await failsWith(59, db.command({ nonsense: 1 }))
  await failsWith(2, db.collection('c').findOne({ a: { $nonsense: 1 } }))
  await failsWith(9, db.collection('c').updateOne({}, { $nonsense: { a: 1 } }))
  await failsWith(73, db.command({ find: '' }))
})

onPlain('compression', async (db) => {
  for (const compressors of ['zlib']) { // snappy and zstd need modules with native code
    await withClient(PLAIN_URI, { compressors }, async (client) => {
      const c = client.db(db.databaseName).collection('c')
      await c.insertOne({ _id: compressors, text: 'y'.repeat(1_000_000) })
      assert.equal((await c.findOne({ _id: compressors })).text.length, 1_000_000)
    })
  }
})

test('sessions and transactions', () => withClient(SET_URI, {}, async (client) => {
  const db = client.db('node_txn')
  await db.dropDatabase()
  const c = db.collection('c')
  await c.insertOne({ _id: 0, n: 0 })
  await client.withSession(async (session) => {
    await session.withTransaction(async () => {
      await c.insertOne({ _id: 1 }, { session })
      await db.collection('d').insertOne({ _id: 1 }, { session })
    })
    assert.deepEqual([await c.countDocuments(), await db.collection('d').countDocuments()], [2, 1])
    session.startTransaction()
    await c.deleteMany({}, { session })
    assert.equal(await c.countDocuments({}, { session }), 0)
    await session.abortTransaction()
    assert.equal(await c.countDocuments(), 2)
  })
  await Promise.all(Array.from({ length: 5 }, () => client.withSession((session) => session.withTransaction(async () => {
    const { n } = await c.findOne({ _id: 0 }, { session })
    await c.updateOne({ _id: 0 }, { $set: { n: n + 1 } }, { session })
  }))))
  assert.equal((await c.findOne({ _id: 0 })).n, 5)
}))

test('logins', () => withClient(AUTH_URI, {}, async (nobody) => {
  await nobody.db('admin').command({ createUser: 'boss', pwd: 'sécret', roles: ['root'] })
  await failsWith(13, nobody.db('app').collection('c').findOne())
  for (const authMechanism of ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'DEFAULT']) {
    await withClient(AUTH_URI, { auth: { username: 'boss', password: 'sécret' }, authMechanism }, async (boss) => {
      await boss.db('app').collection('c').insertOne({ authMechanism })
      const { authInfo } = await boss.db('admin').command({ connectionStatus: 1 })
      assert.deepEqual(authInfo.authenticatedUsers, [{ user: 'boss', db: 'admin' }])
    })
  }
  await failsWith(18, withClient(AUTH_URI, { auth: { username: 'boss', password: 'wrong' } }, (c) => c.db('app').collection('c').findOne()))
}))

test('TLS', async () => {
  const right = { tls: true, tlsCAFile: TLS_CA, tlsCertificateKeyFile: TLS_CLIENT }
  await withClient(TLS_URI, right, async (client) => {
    await client.db('app').collection('c').insertOne({ _id: 1, text: 'z'.repeat(3_000_000) })
    assert.equal((await client.db('app').collection('c').findOne()).text.length, 3_000_000)
  })
  for (const wrong of [{}, { tls: true, tlsCAFile: TLS_CA }, { ...right, tlsCertificateKeyFile: TLS_STRANGER }]) {
    await assert.rejects(withClient(TLS_URI, { ...wrong, serverSelectionTimeoutMS: 700 }, (c) => c.db('app').collection('c').findOne()), MongoServerSelectionError)
  }
})
