/* Runs the .case files of the eval layer. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bson/build.h"
#include "eval/expr.h"
#include "eval/match.h"
#include "eval/project.h"
#include "eval/sort_key.h"
#include "eval/update.h"
#include "support/case_runner.h"

#define NOW_MS 1700000000123
#define NOW_TIMESTAMP ((UINT64_C(1700000000) << 32) | 7)
static const struct update_env env = {.now_ms = NOW_MS, .timestamp = NOW_TIMESTAMP};

/* filter, then any number of `yes: document` and `no: document`, or `error:`. */
static void run_match(struct case_block *c) {
    struct arena arena;
    struct matcher m;
    struct err err = ERR_INIT;
    arena_init(&arena, mem_default());
    bson_t *filter = case_json(c, case_get(c, "filter"));
    status st = match_compile(mem_default(), &arena, case_doc(filter), &m, &err);
    for (int i = 0; i < c->line_count; i++) {
        const char *key = c->lines[i].key;
        if (key == NULL || strcmp(key, "name") == 0 || strcmp(key, "filter") == 0) continue;
        if (st != ST_OK) {
            case_answer_error(c, i, &err);
            continue;
        }
        if (strcmp(key, "error") == 0) {
            case_answer(c, i, "yes", "{}");
            continue;
        }
        bson_t *doc = case_json(c, c->lines[i].value);
        bool matches = false;
        if (match_doc(&m, case_doc(doc), &matches, &err) != ST_OK) case_answer_error(c, i, &err);
        else case_answer(c, i, matches ? "yes" : "no", c->lines[i].value);
        bson_destroy(doc);
    }
    if (st == ST_OK) matcher_release(&m);
    bson_destroy(filter);
    arena_release(&arena);
}

static bool is_result(const char *key) {
    return strcmp(key, "want") == 0 || strcmp(key, "same") == 0 || strcmp(key, "error") == 0;
}

struct update_run {
    struct arena arena, scratch;
    struct buf out;
    struct matcher query;
    bool has_query;
    bson_t *filters, *matched; /* NULL: none */
    struct update *update;
    struct err err;
};

static status run_one_update(struct update_run *r, const bson_t *update, const bson_t *query, const bson_t *doc,
                             struct bdoc *result, bool *changed) {
    struct bdoc filters = r->filters != NULL ? case_doc(r->filters) : (struct bdoc){0};
    struct update_env own = env;
    status st = update_compile_with(mem_default(), &r->arena, case_doc(update), filters, &r->update, &r->err);
    if (st == ST_OK && r->matched != NULL) {
        st = match_compile(mem_default(), &r->arena, case_doc(r->matched), &r->query, &r->err);
        r->has_query = st == ST_OK;
        own.query = &r->query;
    }
    if (st == ST_OK && query != NULL) {
        st = match_compile(mem_default(), &r->arena, case_doc(query), &r->query, &r->err);
        r->has_query = st == ST_OK;
        *changed = true;
        if (st == ST_OK) st = update_upsert(r->update, &r->query, &env, &r->scratch, &r->out, result, &r->err);
    } else if (st == ST_OK) {
        st = update_apply(r->update, case_doc(doc), &own, &r->scratch, &r->out, result, changed, &r->err);
    }
    return st;
}

/* update and doc (or upsert: the query), perhaps filters and the query that the document matched, then `want: document`, `same: document` when nothing changed, or `error:`. */
static void run_update(struct case_block *c) {
    struct update_run r = {0};
    struct bdoc result = {0};
    bool changed = false;
    arena_init(&r.arena, mem_default());
    arena_init(&r.scratch, mem_default());
    buf_init(&r.out, mem_default());
    bson_t *update = case_json(c, case_get(c, "update"));
    bson_t *query = case_get(c, "upsert") != NULL ? case_json(c, case_get(c, "upsert")) : NULL;
    bson_t *doc = case_get(c, "doc") != NULL ? case_json(c, case_get(c, "doc")) : bson_new();
    if (case_get(c, "filters") != NULL) r.filters = case_json(c, case_get(c, "filters"));
    if (case_get(c, "query") != NULL) r.matched = case_json(c, case_get(c, "query"));
    status st = run_one_update(&r, update, query, doc, &result, &changed);
    for (int i = 0; i < c->line_count; i++) {
        if (c->lines[i].key == NULL || !is_result(c->lines[i].key)) continue;
        if (st != ST_OK) case_answer_error(c, i, &r.err);
        else case_answer_doc(c, i, changed ? "want" : "same", result);
    }
    update_release(r.update);
    if (r.has_query) matcher_release(&r.query);
    buf_release(&r.out);
    arena_release(&r.arena);
    arena_release(&r.scratch);
    bson_destroy(update);
    bson_destroy(doc);
    if (query != NULL) bson_destroy(query);
    if (r.filters != NULL) bson_destroy(r.filters);
    if (r.matched != NULL) bson_destroy(r.matched);
}

/* projection, then `doc:` and `want:` in turn, or `error:`. The text score is 1.5. */
static void run_project(struct case_block *c) {
    struct arena arena;
    struct buf out;
    struct projection *p = NULL;
    struct err err = ERR_INIT;
    bson_t *doc = NULL;
    arena_init(&arena, mem_default());
    buf_init(&out, mem_default());
    bson_t *spec = case_json(c, case_get(c, "projection"));
    status st = projection_compile(mem_default(), &arena, case_doc(spec), &p, &err);
    for (int i = 0; i < c->line_count; i++) {
        const char *key = c->lines[i].key;
        struct bdoc result;
        if (key != NULL && strcmp(key, "doc") == 0) {
            if (doc != NULL) bson_destroy(doc);
            doc = case_json(c, c->lines[i].value);
        }
        if (key == NULL || !is_result(key)) continue;
        if (doc == NULL) doc = bson_new();
        status applied = st != ST_OK ? st : projection_apply(p, case_doc(doc), 1.5, &out, &result, &err);
        if (applied != ST_OK) case_answer_error(c, i, &err);
        else case_answer_doc(c, i, "want", result);
    }
    if (doc != NULL) bson_destroy(doc);
    if (st == ST_OK) projection_release(p);
    bson_destroy(spec);
    buf_release(&out);
    arena_release(&arena);
}

/* The value alone of a document {"v": value}. */
static void answer_value(struct case_block *c, int i, struct bval v) {
    struct buf buf;
    struct bbuild b;
    char wrapped[8192];
    buf_init(&buf, mem_default());
    bbuild_begin(&b, &buf);
    bbuild_value(&b, SLICE_LIT("v"), v);
    struct bdoc d = bbuild_finish(&b);
    if (v.type == B_MISSING) {
        case_answer(c, i, "want", "missing");
    } else {
        char *was = c->lines[i].value;
        bool is_missing = strcmp(was, "missing") == 0;
        (void) snprintf(wrapped, sizeof(wrapped), "{\"v\": %s}", is_missing ? "null" : was);
        c->lines[i].value = wrapped;
        case_answer_doc(c, i, "want", d);
        c->lines[i].value = was;
        char *answer = c->lines[i].answer; /* {"v": ...} */
        if (answer != NULL) {
            size_t n = strlen(answer);
            memmove(answer, answer + 6, n - 7);
            answer[n - 7] = 0;
        }
        if (is_missing && answer == NULL) case_answer(c, i, "want", "null");
    }
    buf_release(&buf);
}

/* expr, then `doc:` and `want: value` in turn (`missing` for none), or `error:`. A block without expr gives the document of all that follow. */
static void run_expr(struct case_block *c) {
    static bson_t *common;
    if (case_get(c, "expr") == NULL) {
        if (common != NULL) bson_destroy(common);
        common = case_json(c, case_get(c, "doc"));
        return;
    }
    struct arena arena;
    struct expr_env e;
    const struct expr *expr = NULL;
    struct err err = ERR_INIT;
    bson_t *doc = NULL;
    char wrapped[8192];
    arena_init(&arena, mem_default());
    expr_env_init(&e, mem_default(), &arena, NOW_MS);
    (void) snprintf(wrapped, sizeof(wrapped), "{\"e\": %s}", case_get(c, "expr"));
    bson_t *spec = case_json(c, wrapped);
    status st = expr_parse(&e.scope, bdoc_get_str(case_doc(spec), "e"), &expr, &err);
    if (st == ST_OK) st = expr_env_prepare(&e, &err);
    for (int i = 0; i < c->line_count; i++) {
        const char *key = c->lines[i].key;
        struct bval v = BVAL_MISSING;
        if (key != NULL && strcmp(key, "doc") == 0) {
            if (doc != NULL) bson_destroy(doc);
            doc = case_json(c, c->lines[i].value);
        }
        if (key == NULL || !is_result(key)) continue;
        arena_reset(e.run.arena);
        e.run.root = doc != NULL ? case_doc(doc) : common != NULL ? case_doc(common) : bdoc_empty;
        e.run.err = &err;
        status done = st != ST_OK ? st : expr_eval(&e.run, expr, &v);
        if (done != ST_OK) case_answer_error(c, i, &err);
        else answer_value(c, i, v);
    }
    if (doc != NULL) bson_destroy(doc);
    bson_destroy(spec);
    expr_env_release(&e);
    arena_release(&arena);
}

struct keyed {
    struct buf key;
    char *text;
};

static int compare_keyed(const void *a, const void *b) {
    return slice_compare(buf_slice(&((const struct keyed *) a)->key), buf_slice(&((const struct keyed *) b)->key));
}

static status make_keys(struct case_block *c, const struct sort_pattern *p, struct arena *arena, struct keyed *docs,
                        int *count, struct err *err) {
    status st = ST_OK;
    for (int i = 0; st == ST_OK && i < c->line_count; i++) {
        if (c->lines[i].key == NULL || strcmp(c->lines[i].key, "doc") != 0) continue;
        struct keyed *k = &docs[(*count)++];
        bson_t *doc = case_json(c, c->lines[i].value);
        buf_init(&k->key, mem_default());
        k->text = c->lines[i].value;
        st = sort_key_append(p, case_doc(doc), 1.5, arena, &k->key, err);
        bson_destroy(doc);
    }
    return st;
}

/* sort, then documents, which ought to stand in ascending order of their keys; or `error:`. */
static void run_sort(struct case_block *c) {
    struct arena arena;
    struct sort_pattern pattern;
    struct err err = ERR_INIT;
    struct keyed docs[CASE_LINES_MAX];
    int count = 0, at = 0;
    arena_init(&arena, mem_default());
    bson_t *spec = case_json(c, case_get(c, "sort"));
    status st = sort_pattern_parse(&arena, case_doc(spec), &pattern, &err);
    if (st == ST_OK) st = make_keys(c, &pattern, &arena, docs, &count, &err);
    if (st == ST_OK) {
        for (int i = 1; i < count; i++) { /* stable, so that equal keys keep their places */
            for (int j = i; j > 0 && compare_keyed(&docs[j - 1], &docs[j]) > 0; j--) {
                struct keyed swap = docs[j];
                docs[j] = docs[j - 1];
                docs[j - 1] = swap;
            }
        }
    }
    for (int i = 0; i < c->line_count; i++) {
        const char *key = c->lines[i].key;
        if (key == NULL) continue;
        if (strcmp(key, "error") == 0) {
            if (st != ST_OK) case_answer_error(c, i, &err);
            else case_answer(c, i, "error", "none");
        }
        if (st == ST_OK && strcmp(key, "doc") == 0) case_answer(c, i, "doc", docs[at++].text);
    }
    if (st != ST_OK && case_get(c, "error") == NULL) cr_assert_fail("%s: %s: %s", c->file, c->name, err.text);
    for (int i = 0; i < count; i++) buf_release(&docs[i].key);
    bson_destroy(spec);
    arena_release(&arena);
}

#define CASES(file, run)                                                                                               \
    Test(cases, file) { case_run_file(TESTS_DIR "/cases/eval/" #file ".case", run); }

CASES(match_comparison, run_match)
CASES(match_arrays, run_match)
CASES(match_logic, run_match)
CASES(match_in, run_match)
CASES(match_exists, run_match)
CASES(match_type, run_match)
CASES(match_elem_match, run_match)
CASES(match_all, run_match)
CASES(match_size, run_match)
CASES(match_mod, run_match)
CASES(match_regex, run_match)
CASES(match_text, run_match)
CASES(match_refused, run_match)
CASES(update_set, run_update)
CASES(update_unset, run_update)
CASES(update_arith, run_update)
CASES(update_min_max, run_update)
CASES(update_rename, run_update)
CASES(update_push, run_update)
CASES(update_add_to_set, run_update)
CASES(update_pull, run_update)
CASES(update_pop, run_update)
CASES(update_current_date, run_update)
CASES(update_bit, run_update)
CASES(update_paths, run_update)
CASES(update_refused, run_update)
CASES(update_replace, run_update)
CASES(update_upsert, run_update)
CASES(update_positional, run_update)
CASES(expr_accum, run_expr)
CASES(expr_arith, run_expr)
CASES(expr_array, run_expr)
CASES(expr_compare, run_expr)
CASES(expr_convert, run_expr)
CASES(expr_date, run_expr)
CASES(expr_date_math, run_expr)
CASES(expr_misc, run_expr)
CASES(expr_n, run_expr)
CASES(expr_object, run_expr)
CASES(expr_paths, run_expr)
CASES(expr_refused, run_expr)
CASES(expr_set, run_expr)
CASES(expr_string, run_expr)
CASES(expr_text, run_expr)
CASES(expr_trig, run_expr)
CASES(expr_variable, run_expr)
CASES(project, run_project)
CASES(project_refused, run_project)
CASES(sort_key, run_sort)
