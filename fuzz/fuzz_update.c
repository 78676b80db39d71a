/* Updates from hostile hands on hostile documents, and upserts with the document as the query.
 *
 * The input is two documents (two_docs.h). What an update makes must be BSON again, keep the _id, and stay as it is
 * when it says that nothing changed. */
#include "bson/compare.h"
#include "eval/update.h"
#include "two_docs.h"

static void check_applied(struct bdoc before, struct bdoc after, bool changed) {
    struct bval id = bdoc_get_str(before, "_id");
    check_result(after);
    if (id.type != B_MISSING && !bval_equal(id, bdoc_get_str(after, "_id"))) abort();
    if (!changed && after.p != before.p) abort();
}

static void try_update(const struct update *u, struct arena *arena, struct bdoc doc) {
    struct update_env env = {.now_ms = 12345, .timestamp = 67890};
    struct arena scratch;
    struct buf out;
    struct bdoc result;
    struct matcher query;
    struct err err = ERR_INIT;
    bool changed = false;
    arena_init(&scratch, mem_default());
    buf_init(&out, mem_default());
    if (update_apply(u, doc, &env, &scratch, &out, &result, &changed, &err) == ST_OK)
        check_applied(doc, result, changed);
    else if (out.len != 0)
        abort();
    buf_clear(&out);
    arena_reset(&scratch);
    if (match_compile(mem_default(), arena, doc, &query, &err) == ST_OK) {
        if (update_upsert(u, &query, &env, &scratch, &out, &result, &err) == ST_OK) check_result(result);
        matcher_release(&query);
    }
    buf_release(&out);
    arena_release(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct two_docs two;
    struct arena arena;
    struct update *u;
    struct err err = ERR_INIT;
    arena_init(&arena, mem_default());
    if (two_docs_read(&two, data, len) && update_compile(mem_default(), &arena, two.docs[0], &u, &err) == ST_OK) {
        try_update(u, &arena, two.docs[1]);
        update_release(u);
    }
    two_docs_release(&two);
    arena_release(&arena);
    return 0;
}
