/* insert, update and delete: MongoDB's write errors, each document changed exactly once, upserts, sessions. */
#include <criterion/criterion.h>

#include "base/codes.h"
#include "support/query_ease.h"

Test(write, an_unordered_batch_goes_on_after_the_third_indexs_duplicate) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}}"), ST_OK);
    cr_assert_eq(create_index(&t, "{'key': {'b': 1}}"), ST_OK);
    cr_assert_eq(create_index(&t, "{'key': {'c': 1}, 'unique': true}"), ST_OK);
    const char *docs = "{'0': {'_id': 1, 'a': 1, 'b': 1, 'c': 1}, '1': {'_id': 2, 'a': 2, 'b': 2, 'c': 1}, '2': "
                       "{'_id': 3, 'a': 3, 'b': 3, 'c': 3}, '3': {'_id': 3, 'c': 4}, '4': {'_id': 5, 'c': 5}}";
    struct write_result r = insert_docs(&t, false, docs);
    cr_assert_eq(r.inserted, 3);
    cr_assert_eq(r.error_count, 2);
    cr_assert_eq(r.errors[0].index, 1);
    cr_assert_eq(r.errors[0].code, CODE_DuplicateKey);
    cr_assert_str_eq(r.errors[0].text, "E11000 duplicate key error collection: test.c index: c_1 dup key: { c: 1 }");
    cr_assert_eq(bval_int32(bdoc_get_str(bval_doc(bdoc_get_str(r.errors[0].details, "keyValue")), "c")), 1);
    cr_assert_eq(r.errors[1].index, 3);
    assert_sound(&t, 3);
    doc_close(&t);
}

Test(write, an_ordered_batch_stops_at_the_first_error) {
    struct doc_db t;
    doc_open(&t);
    struct write_result r =
        insert_docs(&t, true, "{'0': {'_id': 1}, '1': {'_id': 2}, '2': {'_id': 1}, '3': {'_id': 4}}");
    cr_assert_eq(r.inserted, 2);
    cr_assert_eq(r.error_count, 1);
    cr_assert_eq(r.errors[0].index, 2);
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(write, a_bad_document_is_a_write_error_and_the_others_go_in) {
    struct doc_db t;
    doc_open(&t);
    struct write_result r = insert_docs(
        &t, false,
        "{'0': {'_id': [1]}, '1': {'a': 1}, '2': {'_id': {'$regularExpression': {'pattern': 'x', 'options': ''}}}}");
    cr_assert_eq(r.inserted, 1);
    cr_assert_eq(r.error_count, 2);
    assert_sound(&t, 1);
    doc_close(&t);
}

Test(write, update_many_that_moves_documents_ahead_of_its_own_scan_changes_each_once) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}}"), ST_OK);
    for (int i = 0; i < 2500; i++) cr_assert_eq(insert(&t, json("{'_id': %d, 'a': %d}", i, i)), ST_OK);
    struct write_result r =
        update_docs(&t, "{'a': {'$gte': 0}}", "{'$inc': {'a': 100}, '$set': {'b': [1, 2]}}", true, false);
    cr_assert_eq(r.matched, 2500);
    cr_assert_eq(r.modified, 2500);
    cr_assert_eq(count_of(&t, "{'a': {'$gte': 100, '$lt': 2600}}"), 2500);
    cr_assert_eq(count_of(&t, "{'a': {'$lt': 100}}"), 0);
    assert_sound(&t, 2500);
    doc_close(&t);
}

Test(write, update_many_on_a_multikey_index_changes_each_once) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}}"), ST_OK);
    for (int i = 0; i < 300; i++)
        cr_assert_eq(insert(&t, json("{'_id': %d, 'a': [%d, %d], 'n': 0}", i, i, i + 50)), ST_OK);
    struct write_result r =
        update_docs(&t, "{'a': {'$gte': 10}}", "{'$push': {'a': 1000}, '$inc': {'n': 1}}", true, false);
    cr_assert_eq(r.modified, 300);
    cr_assert_eq(count_of(&t, "{'n': 1}"), 300);
    assert_sound(&t, 300);
    doc_close(&t);
}

Test(write, a_session_sees_its_own_writes_and_changes_each_document_once) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}}"), ST_OK);
    for (int i = 0; i < 20; i++) cr_assert_eq(insert(&t, json("{'_id': %d, 'a': [%d, %d]}", i, i, i + 1)), ST_OK);
    t.op.session_txn = begin_txn(&t, false);
    cr_assert_eq(update_docs(&t, "{'a': {'$gte': 5}}", "{'$push': {'a': 100}}", true, false).modified, 16);
    cr_assert_eq(count_of(&t, "{'a': 100}"), 16);
    cr_assert_eq(update_docs(&t, "{'a': 100}", "{'$inc': {'n': 1}, '$push': {'a': 101}}", true, false).modified, 16);
    cr_assert_eq(delete_docs(&t, "{'a': {'$lt': 2}}", true).deleted, 2);
    cr_assert_eq(insert_docs(&t, true, "{'0': {'_id': 50, 'a': 101}}").inserted, 1);
    cr_assert_eq(count_of(&t, "{'a': 101}"), 17);
    struct kv_txn *txn = t.op.session_txn;
    t.op.session_txn = NULL;
    cr_assert_eq(count_of(&t, "{'a': 101}"), 0);
    cr_assert_eq(kv_commit(txn, KV_SYNC, &t.err), ST_OK);
    cr_assert_eq(count_of(&t, "{'a': 101}"), 17);
    cr_assert_eq(count_of(&t, "{'n': 1}"), 16);
    assert_sound(&t, 19);
    doc_close(&t);
}

Test(write, a_cursor_of_a_session_gives_each_document_once_while_the_session_writes) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}}"), ST_OK);
    for (int i = 0; i < 60; i++)
        cr_assert_eq(insert(&t, json("{'_id': %d, 'a': [%d, %d, %d]}", i, i, i + 100, i + 200)), ST_OK);
    t.op.session_txn = begin_txn(&t, false);
    struct find_request req = request("{'a': {'$gte': 0}}", "{'hint': 'a_1'}");
    struct find *f;
    struct bdoc d;
    bool given[60] = {0};
    int count = 0;
    cr_assert_eq(find_open(&t.op, &req, &f, &t.err), ST_OK);
    status st;
    while ((st = find_next(&t.op, f, &d, &t.err)) == ST_OK) {
        int id = bval_int32(bdoc_get_str(d, "_id"));
        cr_assert(!given[id]);
        given[id] = true;
        if (++count % 10 != 0) continue;
        find_rest(f);
        update_docs(&t, "{'a': {'$gte': 150}}", "{'$push': {'a': {'$each': [500, -1], '$position': 0}}}", true, false);
    }
    cr_assert_eq(st, ST_END, "%s", t.err.text);
    cr_assert_eq(count, 60);
    find_close(f);
    kv_abort(t.op.session_txn);
    t.op.session_txn = NULL;
    assert_sound(&t, 60);
    doc_close(&t);
}

Test(write, update_one_changes_the_first_match_and_counts_what_changed) {
    struct doc_db t;
    doc_open(&t);
    insert_docs(&t, true, "{'0': {'_id': 1, 'a': 1}, '1': {'_id': 2, 'a': 1}}");
    struct write_result r = update_docs(&t, "{'a': 1}", "{'$set': {'b': 5}}", false, false);
    cr_assert_eq(r.matched, 1);
    cr_assert_eq(r.modified, 1);
    r = update_docs(&t, "{'_id': 1}", "{'$set': {'b': 5}}", false, false);
    cr_assert_eq(r.matched, 1);
    cr_assert_eq(r.modified, 0);
    r = update_docs(&t, "{'_id': 1}", "{'c': 9}", false, false);
    cr_assert_eq(r.modified, 1);
    cr_assert_str_eq(find_text(&t, "{'_id': 1}", NULL), "{'_id':1, 'c':9}");
    r = update_docs(&t, "{'_id': 7}", "{'$set': {'b': 5}}", false, false);
    cr_assert_eq(r.matched + r.modified, 0);
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(write, an_upsert_takes_the_equalities_of_its_query) {
    struct doc_db t;
    doc_open(&t);
    struct write_result r =
        update_docs(&t, "{'_id': 5, 'a': 1}", "{'$inc': {'n': 2}, '$setOnInsert': {'s': 'x'}}", false, true);
    cr_assert_eq(r.matched, 0);
    cr_assert_eq(r.upserted_count, 1);
    cr_assert_eq(r.upserted[0].index, 0);
    cr_assert_eq(bval_int32(r.upserted[0].id), 5);
    r = update_docs(&t, "{'_id': 5, 'a': 1}", "{'$inc': {'n': 2}, '$setOnInsert': {'s': 'y'}}", true, true);
    cr_assert_eq(r.upserted_count, 0);
    cr_assert_eq(r.modified, 1);
    cr_assert_str_eq(find_text(&t, "{'n': 4}", "{'projection': {'_id': 1, 's': 1}}"), "{'_id':5, 's':'x'}");
    r = update_docs(&t, "{'a': 1, 'b': 2}", "{'$set': {'c': 1}}", true, true);
    cr_assert_eq(r.upserted_count, 1);
    cr_assert_eq(r.upserted[0].id.type, B_OBJECT_ID);
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(write, a_failing_update_is_a_write_error_and_leaves_its_document) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'u': 1}, 'unique': true}"), ST_OK);
    insert_docs(&t, true, "{'0': {'_id': 1, 'u': 1, 's': 'x'}, '1': {'_id': 2, 'u': 2}}");
    struct write_result r = update_docs(&t, "{'_id': 1}", "{'$inc': {'s': 1}}", false, false);
    cr_assert_eq(r.error_count, 1);
    cr_assert_eq(r.errors[0].code, CODE_TypeMismatch);
    r = update_docs(&t, "{'_id': 1}", "{'$set': {'u': 2}}", false, false);
    cr_assert_eq(r.errors[0].code, CODE_DuplicateKey);
    r = update_docs(&t, "{'_id': 1}", "{'$nope': {'u': 2}}", false, false);
    cr_assert_eq(r.errors[0].code, CODE_FailedToParse);
    r = update_docs(&t, "{}", "{'u': 2}", true, false);
    cr_assert_eq(r.errors[0].code, CODE_FailedToParse);
    cr_assert_str_eq(r.errors[0].text, "multi update is not supported for replacement-style update");
    cr_assert_str_eq(find_text(&t, "{'_id': 1}", NULL), "{'_id':1, 'u':1, 's':'x'}");
    assert_sound(&t, 2);
    doc_close(&t);
}

Test(write, deletes_take_one_or_all) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(delete_docs(&t, "{}", true).deleted, 0);
    for (int i = 0; i < 1200; i++) cr_assert_eq(insert(&t, json("{'_id': %d, 'a': %d}", i, i % 3)), ST_OK);
    cr_assert_eq(delete_docs(&t, "{'a': 1}", false).deleted, 1);
    cr_assert_eq(delete_docs(&t, "{'a': 1}", true).deleted, 399);
    cr_assert_eq(delete_docs(&t, "{'_id': 0}", true).deleted, 1);
    assert_sound(&t, 799);
    cr_assert_eq(delete_docs(&t, "{}", true).deleted, 799);
    assert_sound(&t, 0);
    doc_close(&t);
}

Test(write, statements_of_one_command_see_each_other) {
    struct doc_db t;
    doc_open(&t);
    struct bdoc u[3] = {json("{'$set': {'a': 1}}"), json("{'$set': {'b': 1}}"), json("{'$inc': {'n': 1}}")};
    struct update_statement s[3] = {
        {.filter = json("{'_id': 1}"), .update = {u[0].p, u[0].len, B_DOCUMENT}, .upsert = true},
        {.filter = json("{'a': 1}"), .update = {u[1].p, u[1].len, B_DOCUMENT}},
        {.filter = json("{'b': 1}"), .update = {u[2].p, u[2].len, B_DOCUMENT}, .multi = true},
    };
    struct update_request req = {.ns = NS, .statement_count = 3, .statements = s, .ordered = true};
    struct write_result r;
    cr_assert_eq(update_run(&t.op, &req, &r, &t.err), ST_OK, "%s", t.err.text);
    cr_assert_eq(r.matched, 2);
    cr_assert_eq(r.upserted_count, 1);
    cr_assert_str_eq(find_text(&t, "{}", NULL), "{'_id':1, 'a':1, 'b':1, 'n':1}");
    doc_close(&t);
}

Test(write, a_command_of_many_statements_does_not_run_out_of_variables) {
    enum { COUNT = 5000 }; /* more than there are places for */
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(insert(&t, json("{'_id': 1, 'n': 0}")), ST_OK);
    struct bdoc q = json("{'$expr': {'$let': {'vars': {'v': '$_id'}, 'in': {'$eq': ['$$v', '$$one']}}}}"),
                u = json("{'0': {'$set': {'n': {'$let': {'vars': {'m': '$n'}, 'in': {'$add': ['$$m', '$$one']}}}}}}");
    struct update_statement *s = calloc(COUNT, sizeof(*s));
    for (int i = 0; i < COUNT; i++)
        s[i] = (struct update_statement){.filter = q, .update = {u.p, u.len, B_ARRAY}, .multi = i % 100 == 0};
    struct update_request req = {
        .ns = NS, .statement_count = COUNT, .statements = s, .ordered = true, .let = json("{'one': {'$add': [0, 1]}}")};
    struct write_result r;
    cr_assert_eq(update_run(&t.op, &req, &r, &t.err), ST_OK, "%s", t.err.text);
    cr_assert_eq(r.error_count, 0, "%s", r.errors[0].text);
    cr_assert_eq(r.modified, COUNT);
    cr_assert_str_eq(find_text(&t, "{}", NULL), "{'_id':1, 'n':5000}");
    assert_sound(&t, 1);
    free(s);
    doc_close(&t);
}

Test(write, a_pipeline_changes_each_of_many_exactly_once) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}}"), ST_OK);
    for (int i = 0; i < 2500; i++) cr_assert_eq(insert(&t, json("{'_id': %d, 'a': %d}", i, i)), ST_OK);
    /* Every change moves its document ahead in the index that is scanned. */
    struct bdoc u = json("{'0': {'$set': {'a': {'$add': ['$a', 1000]}, 'times': {'$add': [{'$ifNull': ['$times', 0]}, 1]}}}}");
    struct update_statement s = {
        .filter = json("{'a': {'$gte': 0}}"), .update = {u.p, u.len, B_ARRAY}, .multi = true, .hint = BVAL_MISSING};
    struct update_request req = {.ns = NS, .statement_count = 1, .statements = &s, .ordered = true};
    struct write_result r;
    cr_assert_eq(update_run(&t.op, &req, &r, &t.err), ST_OK, "%s", t.err.text);
    cr_assert_eq(r.modified, 2500);
    struct find_request once = request("{'times': 1, 'a': {'$gte': 1000}}", "{'hint': 'a_1'}");
    int64_t count;
    cr_assert_eq(count_run(&t.op, &once, &count, &t.err), ST_OK);
    cr_assert_eq(count, 2500);
    assert_sound(&t, 2500);
    doc_close(&t);
}
