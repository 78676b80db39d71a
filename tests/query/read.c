/* find, count, distinct and explain where the right answer is easy to tell by hand. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/codes.h"
#include "support/query_ease.h"

static struct doc_db open_with(const char *index, const char *docs) {
    struct doc_db t;
    doc_open(&t);
    if (index != NULL) cr_assert_eq(create_index(&t, index), ST_OK, "%s", t.err.text);
    cr_assert_eq(insert_docs(&t, true, docs).error_count, 0);
    return t;
}

#define STAGE "queryPlanner.winningPlan.stage"
#define INPUT "queryPlanner.winningPlan.inputStage."

Test(read, a_missing_collection_has_no_rows) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_str_eq(find_text(&t, "{'a': 1}", NULL), "");
    cr_assert_str_eq(find_text(&t, "{'_id': 1}", NULL), "");
    cr_assert_eq(count_of(&t, "{}"), 0);
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': 1}", NULL, STAGE), "'EOF'");
    doc_close(&t);
}

Test(read, a_document_is_found_by_its_id) {
    struct doc_db t = open_with(NULL, "{'0': {'_id': 1, 'a': 5}, '1': {'_id': 'x', 'a': 6}}");
    cr_assert_str_eq(find_text(&t, "{'_id': 1}", NULL), "{'_id':1, 'a':5}");
    cr_assert_str_eq(find_text(&t, "{'_id': {'$numberLong': '1'}}", "{'projection': {'a': 1, '_id': 0}}"), "{'a':5}");
    cr_assert_str_eq(find_text(&t, "{'_id': 'y'}", NULL), "");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'_id': 1}", NULL, STAGE), "'IDHACK'");
    cr_assert_str_eq(find_text(&t, "{'_id': {'$gt': 0}}", NULL), "{'_id':1, 'a':5}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'_id': {'$gt': 0}}", NULL, INPUT "indexName"), "'_id_'");
    cr_assert_str_eq(find_text(&t, "{}", "{'sort': {'_id': -1}}"), "{'_id':'x', 'a':6} {'_id':1, 'a':5}");
    doc_close(&t);
}

Test(read, bounds_have_both_ends_on_a_field_that_is_no_array) {
    struct doc_db t =
        open_with("{'key': {'a': 1}}", "{'0': {'_id': 1, 'a': 1}, '1': {'_id': 2, 'a': 4}, '2': {'_id': 3, 'a': 9}}");
    cr_assert_str_eq(find_text(&t, "{'a': {'$gte': 2, '$lt': 9}}", "{'hint': 'a_1'}"), "{'_id':2, 'a':4}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': {'$gte': 2, '$lt': 9}}", "{'hint': 'a_1'}",
                               INPUT "indexBounds"),
                     "{'a':['[2, 9)']}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': {'$gte': 2, '$lt': 9}}", "{'hint': {'a': 1}}",
                               "executionStats.totalKeysExamined"),
                     "1");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': {'$gte': 2, '$lt': 9}}", "{'hint': {'a': 1}}",
                               "executionStats.totalDocsExamined"),
                     "1");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': {'$in': [9, 1]}}", "{'hint': 'a_1', 'sort': {'a': -1}}",
                               INPUT "indexBounds"),
                     "{'a':['[9, 9]', '[1, 1]']}");
    doc_close(&t);
}

Test(read, a_range_and_a_sort_on_a_multikey_field) {
    struct doc_db t = open_with("{'key': {'a': 1}}",
                                "{'0': {'_id': 1, 'a': [1, 10]}, '1': {'_id': 2, 'a': [4, 6]}, '2': {'_id': 3, 'a': "
                                "5}, '3': {'_id': 4, 'a': [0, 5, 12]}}");
    /* 1 has 1 < 8 and 10 > 2, by two elements */
    cr_assert_str_eq(find_text(&t, "{'a': {'$gt': 2, '$lt': 8}}",
                               "{'hint': 'a_1', 'sort': {'_id': 1}, 'projection': {'_id': 1}}"),
                     "{'_id':1} {'_id':2} {'_id':3} {'_id':4}");
    cr_assert_str_eq(find_text(&t, "{'a': {'$elemMatch': {'$gt': 2, '$lt': 8}}}",
                               "{'hint': 'a_1', 'sort': {'_id': 1}, 'projection': {'_id': 1}}"),
                     "{'_id':2} {'_id':4}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': {'$elemMatch': {'$gt': 2, '$lt': 8}}}", "{'hint': 'a_1'}",
                               INPUT "indexBounds"),
                     "{'a':['(2, 8)']}");
    /* by the least element going up, by the greatest going down, with any filter */
    cr_assert_str_eq(find_text(&t, "{'a': {'$gt': 4}}", "{'sort': {'a': 1}, 'hint': 'a_1', 'projection': {'_id': 1}}"),
                     "{'_id':4} {'_id':1} {'_id':2} {'_id':3}");
    cr_assert_str_eq(find_text(&t, "{}", "{'sort': {'a': -1}, 'hint': 'a_1', 'projection': {'_id': 1}}"),
                     "{'_id':4} {'_id':1} {'_id':2} {'_id':3}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{}", "{'sort': {'a': -1}, 'hint': 'a_1'}", STAGE), "'FETCH'");
    doc_close(&t);
}

Test(read, fields_of_one_array_element_are_not_mixed_with_those_of_another) {
    struct doc_db t = open_with(
        "{'key': {'a.b': 1, 'a.c': 1}}",
        "{'0': {'_id': 1, 'a': [{'b': 1, 'c': 2}, {'b': 3, 'c': 4}]}, '1': {'_id': 2, 'a': {'b': 1, 'c': 4}}}");
    cr_assert_str_eq(find_text(&t, "{'a.b': 1, 'a.c': 4}", "{'hint': 'a.b_1_a.c_1', 'projection': {'_id': 1}}"),
                     "{'_id':1} {'_id':2}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a.b': 1, 'a.c': 4}", "{'hint': 'a.b_1_a.c_1'}",
                               INPUT "indexBounds"),
                     "{'a.b':['[1, 1]'], 'a.c':['[MinKey, MaxKey]']}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': {'$elemMatch': {'b': 3, 'c': 4}}}", "{'hint': 'a.b_1_a.c_1'}",
                               INPUT "indexBounds"),
                     "{'a.b':['[3, 3]'], 'a.c':['[4, 4]']}");
    cr_assert_str_eq(find_text(&t, "{'a': {'$elemMatch': {'b': 3, 'c': 4}}}",
                               "{'hint': 'a.b_1_a.c_1', 'projection': {'_id': 1}}"),
                     "{'_id':1}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a.b': 1}", "{'hint': 'a.b_1_a.c_1'}", INPUT "multiKeyPaths"),
                     "{'a.b':['a'], 'a.c':['a']}");
    doc_close(&t);
}

Test(read, a_covered_query_tells_null_missing_int_and_long_apart) {
    struct doc_db t = open_with("{'key': {'a': 1}}",
                                "{'0': {'_id': 1, 'a': null}, '1': {'_id': 2}, '2': {'_id': 3, 'a': 7}, '3': {'_id': "
                                "4, 'a': {'$numberLong': '7'}}, '4': {'_id': 5, 'a': 7.0}}");
    const char *opts = "{'hint': 'a_1', 'projection': {'a': 1, '_id': 0}}";
    cr_assert_str_eq(find_text(&t, "{}", opts), "{'a':null} {} {'a':7} {'a':7} {'a':7.0}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{}", opts, STAGE), "'PROJECTION_COVERED'");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{}", opts, "executionStats.totalDocsExamined"), "0");
    struct find_request req = request("{'a': 7}", opts);
    struct find *f;
    struct bdoc d;
    static const uint8_t types[] = {B_INT32, B_INT64, B_DOUBLE};
    cr_assert_eq(find_open(&t.op, &req, &f, &t.err), ST_OK);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(find_next(&t.op, f, &d, &t.err), ST_OK);
        cr_assert_eq(bdoc_get_str(d, "a").type, types[i]);
    }
    cr_assert_eq(find_next(&t.op, f, &d, &t.err), ST_END);
    find_close(f);
    /* null is a question for documents */
    cr_assert_str_eq(find_text(&t, "{'a': null}", opts), "{'a':null} {}");
    cr_assert_eq(count_of(&t, "{'a': null}"), 2);
    doc_close(&t);
}

Test(read, a_dotted_covered_query_fetches_where_the_entry_does_not_tell) {
    struct doc_db t = open_with(
        "{'key': {'a.b': 1}}",
        "{'0': {'_id': 1, 'a': {}}, '1': {'_id': 2}, '2': {'_id': 3, 'a': {'b': 1, 'c': 2}}, '3': {'_id': 4, 'a': 5}}");
    const char *opts = "{'hint': 'a.b_1', 'projection': {'a.b': 1}}";
    cr_assert_str_eq(find_text(&t, "{}", opts), "{'_id':1, 'a':{}} {'_id':2} {'_id':4} {'_id':3, 'a':{'b':1}}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{}", opts, STAGE), "'PROJECTION_COVERED'");
    doc_close(&t);
}

Test(read, points_are_merged_for_the_order_behind_them) {
    struct doc_db t = open_with("{'key': {'a': 1, 'b': 1}}",
                                "{'0': {'_id': 1, 'a': 1, 'b': 5}, '1': {'_id': 2, 'a': 2, 'b': 4}, '2': {'_id': 3, "
                                "'a': 1, 'b': 3}, '3': {'_id': 4, 'a': 3, 'b': 1}, '4': {'_id': 5, 'a': 2, 'b': 9}}");
    const char *opts = "{'hint': 'a_1_b_1', 'sort': {'b': -1}, 'projection': {'b': 1, '_id': 0}}";
    cr_assert_str_eq(find_text(&t, "{'a': {'$in': [1, 2]}, 'b': {'$lt': 9}}", opts), "{'b':5} {'b':4} {'b':3}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': {'$in': [1, 2]}}", opts, INPUT "stage"), "'SORT_MERGE'");
    doc_close(&t);
}

Test(read, a_sort_comes_from_an_index_after_points_and_backwards) {
    struct doc_db t = open_with(
        "{'key': {'a': 1, 'b': -1}}",
        "{'0': {'_id': 1, 'a': 1, 'b': 5}, '1': {'_id': 2, 'a': 1, 'b': 7}, '2': {'_id': 3, 'a': 2, 'b': 6}}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': 1}", "{'hint': 'a_1_b_-1', 'sort': {'b': 1}}",
                               INPUT "direction"),
                     "'backward'");
    cr_assert_str_eq(find_text(&t, "{'a': 1}", "{'hint': 'a_1_b_-1', 'sort': {'b': 1}, 'projection': {'_id': 1}}"),
                     "{'_id':1} {'_id':2}");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{}", "{'hint': 'a_1_b_-1', 'sort': {'a': -1, 'b': 1}}", STAGE),
                     "'FETCH'");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{}", "{'hint': 'a_1_b_-1', 'sort': {'a': 1, 'b': 1}}", STAGE),
                     "'SORT'");
    doc_close(&t);
}

Test(read, a_union_gives_each_document_once) {
    struct doc_db t =
        open_with("{'key': {'a': 1}}",
                  "{'0': {'_id': 1, 'a': 1, 'b': 1}, '1': {'_id': 2, 'a': 1, 'b': 2}, '2': {'_id': 3, 'a': 2, 'b': 1}, "
                  "'3': {'_id': 4, 'a': 3, 'b': 3}, '4': {'_id': 5, 'a': 4, 'b': 4},"
                  "'5': {'_id': 6, 'a': 5, 'b': 5}, '6': {'_id': 7, 'a': 6, 'b': 6}, '7': {'_id': 8, 'a': 7, 'b': 7}, "
                  "'8': {'_id': 9, 'a': 8, 'b': 8}, '9': {'_id': 10, 'a': 9, 'b': 9},"
                  "'10': {'_id': 11}, '11': {'_id': 12}, '12': {'_id': 13}, '13': {'_id': 14}, '14': {'_id': 15}, "
                  "'15': {'_id': 16}, '16': {'_id': 17}, '17': {'_id': 18}, '18': {'_id': 19}}");
    cr_assert_eq(create_index(&t, "{'key': {'b': 1}}"), ST_OK);
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'$or': [{'a': 1}, {'b': 1}]}", NULL, STAGE), "'SUBPLAN'");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'$or': [{'a': 1}, {'b': 1}]}", NULL,
                               "queryPlanner.winningPlan.inputStage.stage"),
                     "'OR'");
    cr_assert_str_eq(find_text(&t, "{'$or': [{'a': 1}, {'b': 1}]}", "{'projection': {'_id': 1}}"),
                     "{'_id':1} {'_id':2} {'_id':3}");
    cr_assert_eq(count_of(&t, "{'$or': [{'a': 1}, {'b': 1}]}"), 3);
    doc_close(&t);
}

Test(read, hints_that_name_no_index_are_refused) {
    struct doc_db t = open_with("{'key': {'a': 1}}", "{'0': {'_id': 1, 'a': 1}}");
    struct find_request req = request("{'a': 1}", "{'hint': 'nope'}");
    struct find *f;
    cr_assert_eq(find_open(&t.op, &req, &f, &t.err), ST_INVALID);
    cr_assert_eq(t.err.code, CODE_BadValue);
    cr_assert_not_null(strstr(t.err.text, "hint provided does not correspond to an existing index"));
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': 1}", "{'hint': {'$natural': -1}}",
                               "queryPlanner.winningPlan.direction"),
                     "'backward'");
    doc_close(&t);
}

Test(read, a_sparse_index_is_used_only_where_it_misses_nothing) {
    struct doc_db t = open_with("{'key': {'a': 1}, 'sparse': true}",
                                "{'0': {'_id': 1, 'a': 1}, '1': {'_id': 2}, '2': {'_id': 3, 'a': null}}");
    cr_assert_str_eq(find_text(&t, "{'a': null}", "{'projection': {'_id': 1}}"), "{'_id':2} {'_id':3}");
    cr_assert_str_eq(find_text(&t, "{}", "{'sort': {'a': 1}, 'projection': {'_id': 1}}"),
                     "{'_id':2} {'_id':3} {'_id':1}");
    cr_assert_str_eq(find_text(&t, "{'a': {'$ne': 1}}", "{'projection': {'_id': 1}}"), "{'_id':2} {'_id':3}");
    /* as MongoDB, a hint may restrict the answer */
    cr_assert_str_eq(find_text(&t, "{'a': null}", "{'hint': 'a_1', 'projection': {'_id': 1}}"), "{'_id':3}");
    doc_close(&t);
}

Test(read, counts_and_distinct_values_come_from_an_index_alone) {
    struct doc_db t = open_with(
        "{'key': {'a': 1}}",
        "{'0': {'_id': 1, 'a': 'x'}, '1': {'_id': 2, 'a': 'x'}, '2': {'_id': 3, 'a': 'y'}, '3': {'_id': 4}, '4': "
        "{'_id': 5, 'a': null}, '5': {'_id': 6, 'a': 'x'}, '6': {'_id': 7, 'a': 'x'}, '7': {'_id': 8, 'a': 'x'}}");
    cr_assert_eq(count_of(&t, "{'a': 'x'}"), 5);
    cr_assert_str_eq(explained(&t, EXPLAIN_COUNT, "{'a': 'x'}", NULL, INPUT "stage"), "'COUNT_SCAN'");
    cr_assert_str_eq(explained(&t, EXPLAIN_COUNT, "{'a': 'x'}", NULL, "executionStats.totalDocsExamined"), "0");
    cr_assert_str_eq(explained(&t, EXPLAIN_DISTINCT, "{}", "{'key': 'a'}", STAGE), "'DISTINCT_SCAN'");
    struct find_request req = request("{}", NULL);
    struct buf out;
    struct bdoc values;
    buf_init(&out, mem_default());
    cr_assert_eq(distinct_run(&t.op, &req, SLICE_LIT("a"), &out, &values, &t.err), ST_OK);
    cr_assert_eq(bdoc_count(values), 3);
    cr_assert_eq(barray_at(values, 0).type, B_NULL);
    buf_release(&out);
    doc_close(&t);
}

Test(read, one_key_of_a_unique_index_is_found_whatever_is_asked_of_it) {
    struct doc_db t = open_with("{'key': {'a': -1, 'b': 1}, 'unique': true}",
                                "{'0': {'_id': 1, 'a': 'x', 'b': 5}, '1': {'_id': 2, 'a': 'x', 'b': [6, 7]}, '2': {'_id': 3, 'a': "
                                "'x'}, '3': {'_id': 4, 'a': 2.0, 'b': 5, 'c': 1}, '4': {'_id': 5}}");
    cr_assert_str_eq(find_text(&t, "{'a': 'x', 'b': 5}", NULL), "{'_id':1, 'a':'x', 'b':5}");
    cr_assert_str_eq(find_text(&t, "{'a': 2, 'b': 5, 'c': 2}", NULL), "");
    cr_assert_str_eq(find_text(&t, "{'b': 5, 'a': 2}", "{'sort': {'c': 1}, 'limit': 3}"), "{'_id':4, 'a':2.0, 'b':5, 'c':1}");
    cr_assert_str_eq(find_text(&t, "{'a': 2, 'b': 5}", "{'skip': 1}"), "");
    cr_assert_str_eq(find_text(&t, "{'a': 'x', 'b': 7}", "{'projection': {'_id': 1}}"), "{'_id':2}");
    cr_assert_str_eq(find_text(&t, "{'a': 'x', 'b': 8}", NULL), "");
    cr_assert_str_eq(find_text(&t, "{'a': 'x', 'b': null}", "{'projection': {'_id': 1}}"), "{'_id':3}");
    cr_assert_str_eq(find_text(&t, "{'a': null, 'b': null}", NULL), "{'_id':5}");
    cr_assert_str_eq(find_text(&t, "{'a': 'x', 'b': {'$in': [5, 7]}}", "{'projection': {'_id': 1}, 'sort': {'_id': 1}}"),
                     "{'_id':1} {'_id':2}");
    cr_assert_eq(count_of(&t, "{'a': 'x', 'b': 6}"), 1);
    cr_assert_eq(count_of(&t, "{'a': 'x', 'b': 9}"), 0);
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': 'x', 'b': 5}", NULL, "executionStats.totalKeysExamined"), "1");
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'a': 'x', 'b': 5}", NULL, "executionStats.totalDocsExamined"), "1");
    doc_close(&t);
}

Test(read, a_sort_over_its_memory_limit_names_the_way_out) {
    struct doc_db t = open_with(NULL, "{'0': {'_id': 1, 'a': 3}, '1': {'_id': 2, 'a': 2}, '2': {'_id': 3, 'a': 1}}");
    struct find_request req = request("{}", "{'sort': {'a': 1}}");
    struct find *f;
    struct bdoc d;
    t.op.memory_max = 200;
    cr_assert_eq(find_open(&t.op, &req, &f, &t.err), ST_OK);
    cr_assert_eq(find_next(&t.op, f, &d, &t.err), ST_INVALID);
    cr_assert_eq(t.err.code, 292);
    cr_assert_not_null(strstr(t.err.text, "allowDiskUse:true"));
    find_close(f);
    /* the best of all fits */
    req = request("{}", "{'sort': {'a': 1}, 'limit': 1}");
    cr_assert_eq(find_open(&t.op, &req, &f, &t.err), ST_OK);
    cr_assert_eq(find_next(&t.op, f, &d, &t.err), ST_OK);
    cr_assert_eq(bval_int32(bdoc_get_str(d, "_id")), 3);
    find_close(f);
    doc_close(&t);
}

Test(read, a_cursor_between_batches_keeps_its_snapshot_while_documents_change) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}}"), ST_OK);
    for (int i = 0; i < 100; i++) cr_assert_eq(insert(&t, json("{'_id': %d, 'a': %d}", i, i)), ST_OK);
    struct find_request req = request("{'a': {'$gte': 0}}", "{'hint': 'a_1'}");
    struct find *f;
    struct bdoc d;
    cr_assert_eq(find_open(&t.op, &req, &f, &t.err), ST_OK);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(find_next(&t.op, f, &d, &t.err), ST_OK, "%d %s", i, t.err.text);
        cr_assert_eq(bval_int32(bdoc_get_str(d, "_id")), i);
        cr_assert_eq(bval_int32(bdoc_get_str(d, "a")), i);
        if (i % 7 != 0) continue;
        find_rest(f);
        if (i == 49) cr_assert_eq(delete_docs(&t, "{'_id': {'$gt': 90}}", true).deleted, 9);
        else cr_assert_eq(update_docs(&t, "{'_id': {'$lt': 90}}", "{'$inc': {'a': 1000}}", true, false).modified, 90);
    }
    cr_assert_eq(find_next(&t.op, f, &d, &t.err), ST_END);
    find_close(f);
    assert_sound(&t, 91);
    doc_close(&t);
}

Test(read, a_passed_deadline_ends_a_scan) {
    struct doc_db t;
    doc_open(&t);
    for (int i = 0; i < 300; i++) cr_assert_eq(insert(&t, json("{'_id': %d}", i)), ST_OK);
    struct find_request req = request("{'a': 1}", NULL);
    struct find *f;
    struct bdoc d;
    cr_assert_eq(find_open(&t.op, &req, &f, &t.err), ST_OK);
    t.op.deadline_ns = 1;
    cr_assert_eq(find_next(&t.op, f, &d, &t.err), ST_TIMEOUT);
    cr_assert_eq(t.err.code, CODE_MaxTimeMSExpired);
    find_close(f);
    doc_close(&t);
}

Test(read, bounds_are_shown_as_mongodb_shows_them) {
    static const struct {
        const char *filter, *want;
    } rows[] = {
        {"{'a': {'$gt': 5}}", "['(5, inf.0]']"},
        {"{'a': {'$lte': 5}}", "['[-inf.0, 5]']"},
        {"{'a': {'$gte': 'x'}}", "['[\\'x\\', {})']"},
        {"{'a': {'$ne': 3}}", "['[MinKey, 3)', '(3, MaxKey]']"},
        {"{'a': {'$regex': '^ab'}}", "['[\\'ab\\', \\'ac\\')', '[/^ab/, /^ab/]']"},
        {"{'a': null}", "['[null, null]']"},
        {"{'a': {'$in': [3, 1, null]}}", "['[null, null]', '[1, 1]', '[3, 3]']"},
        {"{'a': {'$exists': true}}", "['[MinKey, MaxKey]']"},
        {"{'a': true}", "['[true, true]']"},
        {"{'a': {'$gt': 1, '$lt': 0}}", "[]"},
    };
    struct doc_db t = open_with("{'key': {'a': 1}}", "{'0': {'_id': 1, 'a': 1}}");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_str_eq(explained(&t, EXPLAIN_FIND, rows[i].filter, "{'hint': 'a_1'}", INPUT "indexBounds.a"),
                         rows[i].want);
    }
    doc_close(&t);
}

Test(read, a_filter_is_shown_in_its_normal_form) {
    static const struct {
        const char *filter, *want;
    } rows[] = {
        {"{}", "{}"},
        {"{'a': 1}", "{'a':{'$eq':1}}"},
        {"{'a': {'$gt': 1, '$ne': 4}, 'b': {'$in': [1, 2]}}",
         "{'$and':[{'a':{'$gt':1}}, {'a':{'$not':{'$eq':4}}}, {'b':{'$in':[1, 2]}}]}"},
        {"{'$or': [{'a': {'$exists': false}}, {'b': {'$size': 2}}]}",
         "{'$or':[{'a':{'$exists':false}}, {'b':{'$size':2}}]}"},
        {"{'a': {'$elemMatch': {'b': 1, 'c': {'$lt': 2}}}}",
         "{'a':{'$elemMatch':{'$and':[{'b':{'$eq':1}}, {'c':{'$lt':2}}]}}}"},
    };
    struct doc_db t = open_with(NULL, "{'0': {'_id': 1, 'a': 1}}");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_str_eq(explained(&t, EXPLAIN_FIND, rows[i].filter, NULL, "queryPlanner.parsedQuery"), rows[i].want);
    }
    doc_close(&t);
}

Test(read, a_document_of_very_many_keys_is_given_once) {
    struct doc_db t;
    char doc[20000] = "{'_id': 1, 'a': [0";
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'a': 1}}"), ST_OK);
    for (int i = 1; i < 1000; i++) sprintf(doc + strlen(doc), ",%d", i);
    strcat(doc, "]}");
    cr_assert_eq(insert(&t, json("%s", doc)), ST_OK);
    cr_assert_eq(insert(&t, json("{'_id': 2, 'a': 500}")), ST_OK);
    cr_assert_str_eq(find_text(&t, "{'a': {'$gte': 3}}", "{'hint': 'a_1', 'sort': {'a': 1}, 'projection': {'_id': 1}}"),
                     "{'_id':1} {'_id':2}");
    cr_assert_str_eq(find_text(&t, "{'a': {'$gte': 3}}", "{'hint': 'a_1', 'projection': {'_id': 1}}"),
                     "{'_id':1} {'_id':2}");
    doc_close(&t);
}
