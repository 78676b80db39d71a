/* Reading and writing with the n-th allocation failing: a clear error, nothing leaked, nothing half done. */
#include <criterion/criterion.h>

#include "support/mem_fail.h"
#include "support/model_kv.h"
#include "support/query_ease.h"

/* The op allocates from `mf`; the database from the ordinary heap. */
static void op_over(struct op *op, struct doc_db *t, struct mem_fail *mf) {
    op_init(op, t->db);
    op->mem = &mf->mem;
    op->arena.mem = &mf->mem;
}

static struct doc_db open_some(void) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1, 'b': -1}}"), ST_OK);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(insert(&t, json("{'_id': %d, 'a': [%d, %d], 'b': %d}", i, i % 5, i % 7, i)), ST_OK);
    return t;
}

static void sweep_find(struct doc_db *t, const char *filter, const char *opts) {
    struct find_request req = request(filter, opts), natural = request(filter, "{'hint': {'$natural': 1}}");
    int64_t want;
    natural.limit = req.limit;
    natural.skip = req.skip;
    cr_assert_eq(count_run(&t->op, &natural, &want, &t->err), ST_OK);
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct op op;
        struct find *f;
        struct bdoc d;
        struct err err = ERR_INIT;
        mem_fail_init(&mf, n);
        op_over(&op, t, &mf);
        int count = 0;
        status st = find_open(&op, &req, &f, &err);
        if (st == ST_OK) {
            while ((st = find_next(&op, f, &d, &err)) == ST_OK) count++;
            find_close(f);
        }
        op_release(&op);
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu leaked", (unsigned long long) n);
        if (st == ST_END) cr_assert_eq(count, want, "%s: %d rows, %d wanted", filter, count, (int) want);
        else cr_assert_eq(st, ST_NOMEM, "%d %s", st, err.text);
        if (!mem_fail_hit(&mf)) break;
    }
}

Test(memory, a_find_that_finds_none_says_so) {
    struct doc_db t = open_some();
    sweep_find(&t, "{'a': {'$gte': 1, '$lt': 3}}", "{'hint': 'a_1_b_-1'}");
    sweep_find(&t, "{'_id': 7}", "{'projection': {'a': 1}}");
    sweep_find(&t, "{'$or': [{'a': 1}, {'a': {'$in': [3, 4]}}]}", "{'sort': {'b': 1}, 'projection': {'b': 1}}");
    sweep_find(&t, "{'b': {'$type': 'int'}}", "{'sort': {'b': -1}, 'limit': 3, 'skip': 1}");
    doc_close(&t);
}

/* `modified` documents of 40, in all. */
static void sweep_update(struct update_statement s, struct bdoc let, int64_t modified) {
    struct doc_db t = open_some();
    struct update_request req = {.ns = NS, .statement_count = 1, .statements = &s, .ordered = true, .let = let};
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct op op;
        struct write_result r;
        struct err err = ERR_INIT;
        mem_fail_init(&mf, n);
        op_over(&op, &t, &mf);
        status st = update_run(&op, &req, &r, &err);
        if (st == ST_OK) cr_assert_eq(r.modified, modified);
        else cr_assert_eq(st, ST_NOMEM, "%d %s", st, err.text);
        op_release(&op);
        cr_assert_eq(mem_fail_live(&mf), 0, "allocation %llu leaked", (unsigned long long) n);
        if (!mem_fail_hit(&mf)) break;
    }
    assert_sound(&t, 40);
    doc_close(&t);
}

Test(memory, a_write_without_it_changes_nothing) {
    struct bdoc u = json("{'$push': {'a': 9}}");
    sweep_update((struct update_statement){.filter = json("{'a': {'$gte': 2}}"), .update = {u.p, u.len, B_DOCUMENT}},
                 (struct bdoc){0}, 1);
}

Test(memory, an_update_by_a_pipeline_without_it_changes_nothing) {
    struct bdoc u = json("{'0': {'$set': {'n': {'$add': [{'$ifNull': ['$n', 0]}, '$$x', '$$c']}}}, '1': {'$unset': ['zz']}, "
                         "'2': {'$replaceWith': {'$mergeObjects': ['$$ROOT', {'m': {'$regexMatch': {'input': 'ab', 'regex': "
                         "'^a+b'}}}]}}}");
    sweep_update((struct update_statement){.filter = json("{'$expr': {'$eq': ['$b', '$$x']}}"),
                                           .update = {u.p, u.len, B_ARRAY},
                                           .constants = json("{'c': 4}")},
                 json("{'x': 7, 'y': {'$concat': ['p', 'q']}}"), 1);
}
