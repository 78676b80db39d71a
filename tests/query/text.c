/* $text through the planner: residual filters, order by score, projection of the score, refusals. */
#include <criterion/criterion.h>

#include "base/codes.h"
#include "support/query_ease.h"

static struct doc_db open_texts(void) {
    struct doc_db t;
    doc_open(&t);
    cr_assert_eq(create_index(&t, "{'key': {'s': 'text'}}"), ST_OK, "%s", t.err.text);
    insert_docs(&t, true,
                "{'0': {'_id': 1, 's': 'the quick brown fox', 'n': 1}, '1': {'_id': 2, 's': 'fox fox foxes', 'n': 2}, "
                "'2': {'_id': 3, 's': 'a lazy dog', 'n': 3},"
                "'3': {'_id': 4, 's': 'the dog chases a fox through the wood on a long and sunny day', 'n': 4}}");
    return t;
}

Test(text, words_are_found_and_other_predicates_checked) {
    struct doc_db t = open_texts();
    cr_assert_str_eq(find_text(&t, "{'$text': {'$search': 'dog'}}", "{'sort': {'_id': 1}, 'projection': {'_id': 1}}"),
                     "{'_id':3} {'_id':4}");
    cr_assert_str_eq(find_text(&t, "{'$text': {'$search': 'fox'}, 'n': {'$gt': 1}}",
                               "{'sort': {'_id': 1}, 'projection': {'_id': 1}}"),
                     "{'_id':2} {'_id':4}");
    cr_assert_str_eq(find_text(&t, "{'$text': {'$search': 'fox -dog'}}",
                               "{'sort': {'_id': 1}, 'projection': {'_id': 1}}"),
                     "{'_id':1} {'_id':2}");
    cr_assert_eq(count_of(&t, "{'$text': {'$search': 'fox'}}"), 3);
    cr_assert_str_eq(explained(&t, EXPLAIN_FIND, "{'$text': {'$search': 'fox'}}", NULL,
                               "queryPlanner.winningPlan.stage"),
                     "'TEXT_MATCH'");
    doc_close(&t);
}

Test(text, the_best_come_first_and_show_their_score) {
    struct doc_db t = open_texts();
    const char *opts = "{'sort': {'score': {'$meta': 'textScore'}}, 'projection': {'_id': 1}, 'limit': 2}";
    cr_assert_str_eq(find_text(&t, "{'$text': {'$search': 'fox'}}", opts), "{'_id':2} {'_id':1}");
    cr_assert_str_eq(find_text(&t, "{'$text': {'$search': 'fox'}, 'n': {'$ne': 2}}", opts), "{'_id':1} {'_id':4}");
    cr_assert_not_null(
        strstr(find_text(&t, "{'$text': {'$search': 'fox'}}",
                         "{'projection': {'_id': 1, 'score': {'$meta': 'textScore'}}, 'sort': {'n': 1}}"),
               "{'_id':1, 'score':0."));
    doc_close(&t);
}

Test(text, what_text_cannot_do_is_refused) {
    struct doc_db t;
    doc_open(&t);
    insert_docs(&t, true, "{'0': {'_id': 1, 's': 'x'}}");
    struct find_request req = request("{'$text': {'$search': 'x'}}", NULL);
    struct find *f;
    cr_assert(status_failed(find_open(&t.op, &req, &f, &t.err)));
    cr_assert_eq(t.err.code, CODE_IndexNotFound);
    cr_assert_str_eq(t.err.text, "text index required for $text query");
    req = request("{'a': 1}", "{'sort': {'score': {'$meta': 'textScore'}}}");
    cr_assert(status_failed(find_open(&t.op, &req, &f, &t.err)));
    cr_assert_eq(t.err.code, 40218);
    doc_close(&t);
}

Test(text, an_update_by_text_changes_each_match_once) {
    struct doc_db t = open_texts();
    struct write_result r = update_docs(&t, "{'$text': {'$search': 'fox'}}",
                                        "{'$set': {'s': 'fox river'}, '$inc': {'n': 10}}", true, false);
    cr_assert_eq(r.error_count, 0, "%s", r.error_count > 0 ? r.errors[0].text : "");
    cr_assert_eq(r.modified, 3);
    cr_assert_eq(count_of(&t, "{'$text': {'$search': 'river'}}"), 3);
    cr_assert_eq(count_of(&t, "{'n': {'$gt': 10}}"), 3);
    doc_close(&t);
}
