// Mongoose, and mongodb-memory-server-core with elmo in mongod's place. Run by tests/clients/run.
'use strict'
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const mongoose = require('mongoose')

const { PLAIN_URI, SET_URI, ELMO } = process.env

const models = (connection) => {
  const author = new mongoose.Schema({ name: { type: String, required: true }, email: { type: String, unique: true }, born: Date }, { timestamps: true })
  const book = new mongoose.Schema({ title: String, author: { type: mongoose.Schema.Types.ObjectId, ref: 'Author' }, price: mongoose.Schema.Types.Decimal128, tags: { type: [String], index: true } })
  return { Author: connection.model('Author', author), Book: connection.model('Book', book) }
}

const story = async (connection) => {
  const { Author, Book } = models(connection)
  await connection.dropDatabase()
  await Promise.all([Author.init(), Book.init(), Author.createIndexes(), Book.createIndexes()])
  const ada = await Author.create({ name: 'Ada', email: 'ada@example.org', born: new Date('1815-12-10') })
  await assert.rejects(Author.create({ name: 'Other', email: 'ada@example.org' }), { code: 11000 })
  await assert.rejects(Author.create({ email: 'nameless@example.org' }), { name: 'ValidationError' })
  await Book.insertMany([{ title: 'Notes', author: ada, price: '9.90', tags: ['engine', 'math'] }, { title: 'Letters', author: ada, price: '4.50', tags: ['letters'] }])
  const notes = await Book.findOne({ tags: 'engine' }).populate('author')
  assert.equal(notes.author.name, 'Ada')
  notes.tags.push('classic')
  await notes.save()
  assert.deepEqual((await Book.findById(notes._id)).tags.toObject(), ['engine', 'math', 'classic'])
  const stale = await Book.findById(notes._id)
  await Book.updateOne({ _id: notes._id }, { $pull: { tags: 'math' } })
  assert.equal((await Book.findOneAndUpdate({ title: 'Letters' }, { $set: { title: 'All letters' } }, { new: true })).title, 'All letters')
  assert.equal(await Book.countDocuments({ author: ada._id }), 2)
  const perTag = await Book.aggregate([{ $unwind: '$tags' }, { $group: { _id: '$tags', n: { $sum: 1 } } }, { $sort: { _id: 1 } }])
  assert.deepEqual(perTag, [{ _id: 'classic', n: 1 }, { _id: 'engine', n: 1 }, { _id: 'letters', n: 1 }])
  let seen = 0
  for await (const book of Book.find().cursor()) seen += book.title.length > 0
  assert.equal(seen, 2)
  assert.ok(stale)
  await Author.deleteOne({ _id: ada._id })
  assert.equal(await Author.exists({ email: 'ada@example.org' }), null)
}

test('a story with models', async () => {
  const connection = await mongoose.createConnection(PLAIN_URI + 'mongoose').asPromise()
  await story(connection)
  await connection.close()
})

test('transactions', async () => {
  const connection = await mongoose.createConnection(SET_URI.replace('/?', '/mongoose?')).asPromise()
  const { Author } = models(connection)
  await connection.dropDatabase()
  await Author.init()
  await connection.transaction(async (session) => { await Author.create([{ name: 'In', email: 'in' }], { session }) })
  await assert.rejects(connection.transaction(async (session) => {
    await Author.create([{ name: 'Out', email: 'out' }], { session })
    throw new Error('no')
  }), /no/)
  assert.deepEqual((await Author.find()).map((a) => a.name), ['In'])
  await connection.close()
})

// elmo under mongod's name, as MONGOMS_SYSTEM_BINARY.
test('mongodb-memory-server runs on it', async () => {
  const mongod = path.join(process.env.HOME, 'mongod')
  fs.symlinkSync(ELMO, mongod)
  process.env.MONGOMS_SYSTEM_BINARY = mongod
  process.env.MONGOMS_RUNTIME_DOWNLOAD = 'false'
  const { MongoMemoryServer, MongoMemoryReplSet } = require('mongodb-memory-server-core')
  const server = await MongoMemoryServer.create()
  const connection = await mongoose.createConnection(server.getUri('memory')).asPromise()
  await story(connection)
  await connection.close()
  assert.equal(await server.stop(), true)
  const set = await MongoMemoryReplSet.create({ replSet: { count: 1 } })
  const inSet = await mongoose.createConnection(set.getUri('memory')).asPromise()
  const { Author } = models(inSet)
  await Author.init()
  await inSet.transaction(async (session) => { await Author.create([{ name: 'In', email: 'in' }], { session }) })
  assert.equal(await Author.countDocuments(), 1)
  await inSet.close()
  await set.stop()
})
