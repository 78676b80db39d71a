"""PyMongo against elmo's server, as its users use it. Debian's python3-pymongo (3.11)."""
import datetime
import os
import ssl
import threading
import unittest
import uuid

import bson
import pymongo
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne, ReturnDocument, UpdateMany, UpdateOne, WriteConcern
from pymongo.errors import (AutoReconnect, BulkWriteError, ConnectionFailure, CursorNotFound, DuplicateKeyError, ExecutionTimeout,
                            OperationFailure, ServerSelectionTimeoutError)

PLAIN, SET, AUTH, TLS = (os.environ[name] for name in ("PLAIN_URI", "SET_URI", "AUTH_URI", "TLS_URI"))
ROWS = 100_000


class Plain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = MongoClient(PLAIN, serverSelectionTimeoutMS=10_000)

    def setUp(self):
        self.db = self.client.get_database("py_" + self._testMethodName)
        self.client.drop_database(self.db.name)

    def test_connects(self):
        info = self.client.server_info()
        self.assertTrue(info["version"].startswith("7.0"), info)
        hello = self.client.admin.command("hello")
        self.assertEqual(hello["maxWireVersion"], 21)
        self.assertTrue(hello["isWritablePrimary"])
        self.assertEqual(hello["logicalSessionTimeoutMinutes"], 30)
        self.assertEqual(self.client.admin.command("ping")["ok"], 1)
        self.assertTrue(self.client.is_primary)

    def test_every_type_comes_back_as_it_went(self):
        doc = {"_id": 1, "double": 1.5, "nan": float("inf"), "string": "grüß 日本\0x", "object": {"a": {"b": []}}, "array": [1, [2, [3]]],
               "binary": Binary(b"\0\1", 5), "uuid": uuid.uuid4(), "oid": ObjectId(), "bool": True, "null": None,
               "date": datetime.datetime(2024, 2, 29, 12, 30, 1, 5000), "before": datetime.datetime(1901, 1, 1), "regex": Regex("^a.*b$", "im"), "code": Code("f()"),
               "int": 7, "long": Int64(2**60), "stamp": Timestamp(5, 6), "decimal": Decimal128("1E-6000"), "min": MinKey(), "max": MaxKey()}
        self.db.c.insert_one(doc)
        got = self.db.c.find_one({"_id": 1})
        self.assertEqual(got, doc)
        self.assertEqual([type(v) for v in got.values()], [type(v) for v in doc.values()])

    def test_crud(self):
        c = self.db.people
        ids = c.insert_many([{"name": n, "age": a, "tags": t} for n, a, t in
                             [("Ada", 36, ["math", "code"]), ("Grace", 85, ["navy", "code"]), ("Linus", 54, []), ("Ken", 80, None)]]).inserted_ids
        self.assertEqual(len(set(ids)), 4)
        self.assertEqual([d["name"] for d in c.find({"age": {"$gte": 54}}).sort("age", -1)], ["Grace", "Ken", "Linus"])
        self.assertEqual([d["name"] for d in c.find({"tags": "code"}, {"_id": 0, "name": 1}).sort("name", 1)], ["Ada", "Grace"])
        self.assertEqual(c.count_documents({"age": {"$lt": 60}}), 2)
        self.assertEqual(c.estimated_document_count(), 4)
        self.assertEqual(sorted(c.distinct("tags", {"tags": {"$ne": None}})), ["code", "math", "navy"])
        r = c.update_many({"age": {"$gt": 50}}, {"$inc": {"age": 1}})
        self.assertEqual((r.matched_count, r.modified_count, r.upserted_id), (3, 3, None))
        r = c.update_one({"name": "Alan"}, {"$set": {"age": 41}, "$setOnInsert": {"new": True}}, upsert=True)
        self.assertEqual((r.matched_count, r.modified_count), (0, 0))
        self.assertEqual(c.find_one({"_id": r.upserted_id}), {"_id": r.upserted_id, "name": "Alan", "age": 41, "new": True})
        r = c.replace_one({"name": "Ken"}, {"name": "Ken", "lang": "B"})
        self.assertEqual(r.modified_count, 1)
        self.assertNotIn("age", c.find_one({"name": "Ken"}))
        before = c.find_one_and_update({"name": "Ada"}, {"$inc": {"age": 1}}, projection={"_id": 0, "age": 1})
        after = c.find_one_and_update({"name": "Ada"}, {"$inc": {"age": 1}}, return_document=ReturnDocument.AFTER, projection={"_id": 0, "age": 1})
        self.assertEqual((before, after), ({"age": 36}, {"age": 38}))
        self.assertEqual(c.find_one_and_delete({}, sort=[("name", -1)])["name"], "Linus")
        self.assertIsNone(c.find_one_and_replace({"name": "Nobody"}, {"x": 1}))
        self.assertEqual(c.delete_many({"name": {"$in": ["Ada", "Grace"]}}).deleted_count, 2)
        self.assertEqual(c.delete_one({"name": "Ada"}).deleted_count, 0)

    def test_bulk(self):
        c = self.db.c
        r = c.bulk_write([InsertOne({"_id": i, "n": i}) for i in range(10)] +
                         [UpdateOne({"_id": 3}, {"$set": {"n": 33}}), UpdateMany({"n": {"$gte": 8}}, {"$unset": {"n": 1}}),
                          ReplaceOne({"_id": 77}, {"n": 1}, upsert=True), DeleteOne({"_id": 0})])
        self.assertEqual((r.inserted_count, r.matched_count, r.modified_count, r.deleted_count, r.upserted_ids), (10, 4, 4, 1, {12: 77}))
        with self.assertRaises(BulkWriteError) as caught:
            c.bulk_write([InsertOne({"_id": 1}), InsertOne({"_id": 100}), InsertOne({"_id": 2})], ordered=False)
        details = caught.exception.details
        self.assertEqual([(e["index"], e["code"]) for e in details["writeErrors"]], [(0, 11000), (2, 11000)])
        self.assertEqual(details["writeErrors"][0]["keyPattern"], {"_id": 1})
        self.assertEqual(details["writeErrors"][0]["keyValue"], {"_id": 1})
        self.assertEqual(details["nInserted"], 1)
        with self.assertRaises(BulkWriteError) as caught:
            c.bulk_write([InsertOne({"_id": 1}), InsertOne({"_id": 101})])
        self.assertIsNone(c.find_one({"_id": 101}))

    def test_a_batch_larger_than_one_message(self):
        text = "x" * 1_000_000
        self.db.c.insert_many([{"_id": i, "text": text} for i in range(60)])
        self.assertEqual(sum(len(d["text"]) for d in self.db.c.find()), 60_000_000)

    def test_a_cursor_over_many_documents(self):
        c = self.db.c
        c.insert_many([{"_id": i, "k": i * 7919 % ROWS} for i in range(ROWS)])
        self.assertEqual(sum(1 for _ in c.find()), ROWS)
        c.create_index("k")
        last = -1
        for d in c.find({}, {"_id": 0, "k": 1}).sort("k", 1).batch_size(777):
            self.assertEqual(d["k"], last + 1)
            last = d["k"]
        self.assertEqual(last, ROWS - 1)
        self.assertEqual([d["_id"] for d in c.find().sort("_id", -1).skip(10).limit(3)], [ROWS - 11, ROWS - 12, ROWS - 13])
        cursor = c.find(batch_size=2)
        next(cursor)
        first = cursor.cursor_id
        self.assertNotEqual(first, 0)
        cursor.close()
        with self.assertRaises(OperationFailure) as caught:
            self.db.command("getMore", Int64(first), collection="c")
        self.assertEqual(caught.exception.code, 43)

    def test_aggregate(self):
        c = self.db.sales
        c.insert_many([{"shop": "ab"[i % 2], "n": i, "tags": ["x"] * (i % 3)} for i in range(30)])
        got = list(c.aggregate([{"$match": {"n": {"$lt": 20}}}, {"$group": {"_id": "$shop", "sum": {"$sum": "$n"}, "most": {"$max": "$n"}}}, {"$sort": {"_id": 1}}]))
        self.assertEqual(got, [{"_id": "a", "sum": 90, "most": 18}, {"_id": "b", "sum": 100, "most": 19}])
        got = list(c.aggregate([{"$unwind": "$tags"}, {"$count": "rows"}]))
        self.assertEqual(got, [{"rows": 30}])
        got = list(c.aggregate([{"$project": {"_id": 0, "m": {"$multiply": ["$n", 2]}}}, {"$sort": {"m": -1}}, {"$limit": 2}]))
        self.assertEqual(got, [{"m": 58}, {"m": 56}])
        self.assertEqual(sum(1 for _ in c.aggregate([{"$match": {}}], batchSize=4)), 30)

    def test_indexes(self):
        c = self.db.c
        c.insert_many([{"a": i, "b": [i, i + 1], "s": {"t": str(i)}} for i in range(100)])
        self.assertEqual(c.create_index([("a", 1), ("b", -1)]), "a_1_b_-1")
        self.assertEqual(c.create_index("s.t", unique=True, name="texts"), "texts")
        info = c.index_information()
        self.assertEqual(sorted(info), ["_id_", "a_1_b_-1", "texts"])
        self.assertTrue(info["texts"]["unique"])
        plan = c.find({"s.t": "5"}).explain()
        self.assertEqual(plan["queryPlanner"]["winningPlan"]["inputStage"]["stage"], "IXSCAN")
        self.assertEqual(plan["executionStats"]["totalDocsExamined"], 1)
        with self.assertRaises(DuplicateKeyError) as caught:
            c.insert_one({"s": {"t": "7"}})
        self.assertEqual(caught.exception.details["keyValue"], {"s.t": "7"})
        c.drop_index("texts")
        c.insert_one({"s": {"t": "7"}})
        with self.assertRaises(OperationFailure) as caught:
            c.create_index("s.t", unique=True)
        self.assertEqual(caught.exception.code, 11000)
        with self.assertRaises(OperationFailure) as caught:
            c.drop_index("nothing")
        self.assertEqual(caught.exception.code, 27)
        c.create_index([("s.t", "text")])
        self.assertEqual(c.count_documents({"$text": {"$search": "42"}}), 1)
        c.drop_indexes()
        self.assertEqual(sorted(c.index_information()), ["_id_"])

    def test_collections_and_databases(self):
        self.db.create_collection("made")
        self.db.also.insert_one({})
        self.assertEqual(sorted(self.db.list_collection_names()), ["also", "made"])
        self.assertIn(self.db.name, self.client.list_database_names())
        self.db.also.rename("renamed")
        self.assertEqual(sorted(self.db.list_collection_names()), ["made", "renamed"])
        with self.assertRaises(pymongo.errors.CollectionInvalid):
            self.db.create_collection("made")
        self.db.drop_collection("made")
        self.client.drop_database(self.db.name)
        self.assertNotIn(self.db.name, self.client.list_database_names())
        self.assertEqual(self.db.command("collStats", "renamed")["count"], 0)

    def test_errors(self):
        for command, code in [({"nonsense": 1}, 59), ({"find": "c", "filter": {"a": {"$nonsense": 1}}}, 2), ({"find": "c", "nonsense": 1}, 40415),
                              ({"find": 5}, 73), ({"mapReduce": "c"}, 115)]:
            with self.assertRaises(OperationFailure, msg=str(command)) as caught:
                self.db.command(command)
            self.assertEqual(caught.exception.code, code, command)
            self.assertTrue(caught.exception.details["codeName"])
        with self.assertRaises(DuplicateKeyError):
            for _ in range(2):
                self.db.c.insert_one({"_id": 1})
        self.db.c.insert_many([{"_id": 100 + i, "s": "x"} for i in range(3000)])
        with self.assertRaises(ExecutionTimeout):  # nine million pairs
            list(self.db.c.aggregate([{"$lookup": {"from": "c", "localField": "s", "foreignField": "s", "as": "all"}}], maxTimeMS=20))

    def test_unacknowledged_writes(self):
        c = self.db.get_collection("c", write_concern=WriteConcern(w=0))
        for i in range(100):
            c.insert_one({"_id": i})
        c.insert_one({"_id": 5})
        self.assertEqual(self.db.c.count_documents({}), 100)

    def test_sessions(self):
        with self.client.start_session() as session:
            self.db.c.insert_one({"_id": 1}, session=session)
            self.assertEqual(self.db.c.find_one(session=session), {"_id": 1})

    def test_compression(self):
        for name in ("zlib",):
            with MongoClient(PLAIN, compressors=name) as client:
                client[self.db.name].c.insert_one({"by": name, "text": "y" * 100_000})
                self.assertEqual(len(client[self.db.name].c.find_one({"by": name})["text"]), 100_000)

    def test_threads(self):
        def work(n):
            for i in range(100):
                self.db.c.update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True)
                self.db.c.insert_one({"_id": f"{n}-{i}"})
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(self.db.c.find_one({"_id": 1})["n"], 800)
        self.assertEqual(self.db.c.count_documents({}), 801)


class Set(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = MongoClient(SET, serverSelectionTimeoutMS=10_000, w="majority")

    def setUp(self):
        self.db = self.client.get_database("py_" + self._testMethodName)
        self.client.drop_database(self.db.name)
        self.db.create_collection("c")

    def test_is_the_primary_of_a_set(self):
        hello = self.client.admin.command("hello")
        self.assertEqual((hello["setName"], hello["isWritablePrimary"], hello["secondary"]), ("rs0", True, False))
        self.assertEqual(hello["primary"], hello["me"])
        self.assertEqual(self.client.primary, ("127.0.0.1", int(os.environ["SET_PORT"])))

    def test_transactions(self):
        c = self.db.c
        with self.client.start_session() as session:
            with session.start_transaction():
                c.insert_one({"_id": 1}, session=session)
                self.assertIsNone(c.find_one({"_id": 1}))
                self.assertEqual(c.find_one({"_id": 1}, session=session), {"_id": 1})
            self.assertEqual(c.count_documents({}), 1)
            session.start_transaction()
            c.delete_many({}, session=session)
            self.db.d.insert_one({"_id": 1}, session=session)
            session.abort_transaction()
            self.assertEqual((c.count_documents({}), self.db.d.count_documents({})), (1, 0))

    def test_a_conflict_is_told_and_can_be_tried_again(self):
        c = self.db.c
        c.insert_one({"_id": 1, "n": 0})
        with self.client.start_session() as one, self.client.start_session() as two:
            one.start_transaction()
            two.start_transaction()
            c.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=one)
            with self.assertRaises(OperationFailure) as caught:
                c.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=two)
            self.assertEqual(caught.exception.code, 112)
            self.assertTrue(caught.exception.has_error_label("TransientTransactionError"))
            one.commit_transaction()
            two.abort_transaction()

        def body(session):
            n = c.find_one({"_id": 1}, session=session)["n"]
            c.update_one({"_id": 1}, {"$set": {"n": n + 1}}, session=session)

        def work():
            with self.client.start_session() as session:
                for _ in range(20):
                    session.with_transaction(body)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(c.find_one({"_id": 1})["n"], 81)

    def test_a_cursor_in_a_transaction_keeps_its_snapshot(self):
        c = self.db.c
        c.insert_many([{"_id": i} for i in range(1000)])
        with self.client.start_session() as session:
            session.start_transaction()
            cursor = c.find(session=session, batch_size=10)
            next(cursor)
            c.delete_many({})
            self.assertEqual(sum(1 for _ in cursor), 999)
            session.commit_transaction()
        self.assertEqual(c.count_documents({}), 0)

    def test_retried_writes_happen_once(self):
        c = self.db.c
        c.insert_one({"_id": 1, "n": 0})
        with MongoClient(SET) as other, other.start_session() as session:  # a session whose numbers nobody else counts up
            number = 2**40
            command = {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}}], "txnNumber": Int64(number)}
            first, again = (other[self.db.name].command(dict(command), session=session) for _ in range(2))
            self.assertEqual((first["n"], first["nModified"], again["n"], again["nModified"]), (1, 1, 1, 1))
            self.assertEqual(c.find_one()["n"], 1)
            other[self.db.name].command(dict(command, txnNumber=Int64(number + 1)), session=session)
            self.assertEqual(c.find_one()["n"], 2)
            with self.assertRaises(OperationFailure) as caught:
                other[self.db.name].command(dict(command), session=session)
            self.assertEqual(caught.exception.code, 225)


class Auth(unittest.TestCase):
    def test_logins_and_roles(self):
        nobody = MongoClient(AUTH)
        try:
            nobody.admin.command("createUser", "boss", pwd="secret", roles=["root"])
        except OperationFailure as e:
            self.fail(f"the localhost exception does not hold: {e}")
        with self.assertRaises(OperationFailure) as caught:
            nobody.admin.command("createUser", "second", pwd="x", roles=["root"])
        self.assertIn(caught.exception.code, (13,))
        with self.assertRaises(OperationFailure) as caught:
            nobody.app.c.find_one()
        self.assertEqual(caught.exception.code, 13)
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1", None):
            extra = {"authMechanism": mechanism} if mechanism else {}
            boss = MongoClient(AUTH, username="boss", password="secret", **extra)
            boss.app.c.insert_one({"by": str(mechanism)})
        self.assertEqual(boss.app.c.count_documents({}), 3)
        for user, password in (("boss", "wrong"), ("nobody", "secret"), ("boss", "")):
            with self.assertRaises(OperationFailure) as caught:
                MongoClient(AUTH, username=user, password=password or "\u00a0").app.c.find_one()
            self.assertEqual(caught.exception.code, 18)
        boss.app.command("createUser", "reader", pwd="r", roles=["read"])
        reader = MongoClient(AUTH, username="reader", password="r", authSource="app")
        self.assertEqual(reader.app.c.count_documents({}), 3)
        for refused in (lambda: reader.app.c.insert_one({}), lambda: reader.other.c.find_one(), lambda: reader.app.command("createUser", "z", pwd="z", roles=[]),
                        lambda: reader.app.c.drop(), lambda: reader.admin.system.users.find_one()):
            with self.assertRaises(OperationFailure) as caught:
                refused()
            self.assertEqual(caught.exception.code, 13)
        self.assertEqual(reader.list_database_names(), ["app"])
        boss.app.command("updateUser", "reader", roles=["readWrite"])
        reader.app.c.insert_one({})
        boss.app.command("dropUser", "reader")
        with self.assertRaises(OperationFailure):
            reader.app.c.insert_one({})


class Tls(unittest.TestCase):
    def test_certificates_are_wanted(self):
        ca, mine, stranger = (os.environ[name] for name in ("TLS_CA", "TLS_CLIENT", "TLS_STRANGER"))
        with MongoClient(TLS, tls=True, tlsCAFile=ca, tlsCertificateKeyFile=mine) as client:
            client.app.c.insert_one({"text": "z" * 5_000_000})
            self.assertEqual(len(client.app.c.find_one()["text"]), 5_000_000)
        for options in ({}, {"tls": True, "tlsCAFile": ca}, {"tls": True, "tlsCAFile": ca, "tlsCertificateKeyFile": stranger}):
            with self.assertRaises(ConnectionFailure, msg=str(options)):
                MongoClient(TLS, serverSelectionTimeoutMS=500, **options).app.c.find_one()


if __name__ == "__main__":
    unittest.main(verbosity=1)
