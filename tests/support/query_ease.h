/* Short ways to read and write a collection through src/query in tests. The collection is NS of doc_db.h; JSON is written as json() takes it. Failures fail the test. */
#ifndef ELMO_TESTS_QUERY_EASE_H
#define ELMO_TESTS_QUERY_EASE_H

#include "query/find.h"
#include "query/write.h"
#include "support/doc_db.h"

/* A request; opts: {sort, projection, skip, limit, hint}, each optional. */
struct find_request request(const char *filter, const char *opts);
/* The answers as relaxed JSON with single quotes, one after the other, separated by spaces. Valid until the next call. */
const char *find_text(struct doc_db *t, const char *filter, const char *opts);
int64_t count_of(struct doc_db *t, const char *filter);
/* A dotted path into explain's answer with execution statistics, as relaxed JSON: "queryPlanner.winningPlan.stage". */
const char *explained(struct doc_db *t, enum explain_kind kind, const char *filter, const char *opts, const char *path);

/* insert with documents as a JSON object of them: {'0': {...}, '1': {...}}. */
struct write_result insert_docs(struct doc_db *t, bool ordered, const char *docs);
/* One statement. The status of its failure stands in result.errors[0]. */
struct write_result update_docs(struct doc_db *t, const char *filter, const char *update, bool multi, bool upsert);
struct write_result delete_docs(struct doc_db *t, const char *filter, bool multi);

#endif
