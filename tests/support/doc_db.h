/* A document database over the naive store (or another kv) for tests, and short ways to write what a test says. Failures of helpers fail the test. */
#ifndef ELMO_TESTS_DOC_DB_H
#define ELMO_TESTS_DOC_DB_H

#include "doc/catalog.h"
#include "doc/db.h"
#include "doc/scan.h"
#include "doc/validate.h"
#include "doc/write.h"

struct doc_db {
    struct env *env;
    struct kv *kv;
    struct db *db;
    struct op op;
    struct err err;
};

#define NS ((struct ns){SLICE_LIT("test"), SLICE_LIT("c")})

/* Over model_kv_new(), or over `kv`. doc_close closes all. */
void doc_open(struct doc_db *t);
void doc_open_kv(struct doc_db *t, struct kv *kv);
status doc_try_open(struct doc_db *t, struct kv *kv, const struct mem *mem); /* on failure the kv stays open */
void doc_close(struct doc_db *t);

/* From JSON with single quotes for double ones: json("{'a': 1}"). Lives until the process ends. */
struct bdoc json(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A document as text, for comparing: canonical extended JSON of libbson. */
const char *text_of(struct bdoc d);

/* Each in a transaction of its own, committed when it succeeded. The collection is created when missing. */
status insert(struct doc_db *t, struct bdoc doc);
status replace(struct doc_db *t, const char *id_json, struct bdoc doc); /* {'_id': ...} names the document */
status erase(struct doc_db *t, const char *id_json);
status create_index(struct doc_db *t, const char *spec);
/* In a transaction that the test has begun. */
status write_in(struct doc_db *t, struct kv_txn *txn, struct bdoc old_doc, struct bdoc new_doc);

/* The collection NS as a new transaction sees it; begin with begin_write/begin_read, end with kv_commit/kv_abort. */
struct kv_txn *begin_txn(struct doc_db *t, bool read_only);
struct collection *find_collection(struct doc_db *t, struct kv_txn *txn); /* NULL: none */
/* collection_validate finds nothing, and there are as many documents. Prints what it found. */
void assert_sound(struct doc_db *t, uint64_t documents);
/* All entries of an index as "key|locator" decoded: JSON of [fields..., _id] per line. */
const char *entries_of(struct doc_db *t, const char *index_name, bool backward);
uint64_t key_total(struct kv *kv); /* keys in the store */

#endif
