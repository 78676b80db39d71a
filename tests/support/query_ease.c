/* See query_ease.h. */
#include "support/query_ease.h"

#include <bson/bson.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static char text[1 << 16];

static void append_json(char *relaxed, size_t *at) {
    for (char *p = relaxed; *p != 0; p++) {
        bool space =
            *p == ' ' && (p[1] == '}' || p[1] == ']' || p[1] == ':' || (p > relaxed && (p[-1] == '{' || p[-1] == '[')));
        if (*p == ' ' && p > relaxed && p[-1] == ':') space = true;
        if (!space && *at + 2 < sizeof(text)) text[(*at)++] = *p == '"' ? '\'' : *p;
    }
    text[*at] = 0;
    bson_free(relaxed);
}

static void append_doc(struct bdoc d, size_t *at) {
    bson_t b;
    cr_assert(bson_init_static(&b, d.p, d.len));
    append_json(bson_as_relaxed_extended_json(&b, NULL), at);
}

static struct bdoc doc_of(struct bdoc opts, const char *name) {
    struct bval v = bdoc_get_str(opts, name);
    return v.type == B_DOCUMENT ? bval_doc(v) : (struct bdoc){0};
}

struct find_request request(const char *filter, const char *opts) {
    struct bdoc o = json("%s", opts != NULL ? opts : "{}");
    struct bval skip = bdoc_get_str(o, "skip"), limit = bdoc_get_str(o, "limit");
    return (struct find_request){.ns = NS,
                                 .filter = json("%s", filter),
                                 .sort = doc_of(o, "sort"),
                                 .projection = doc_of(o, "projection"),
                                 .hint = bdoc_get_str(o, "hint"),
                                 .skip = skip.type == B_INT32 ? bval_int32(skip) : 0,
                                 .limit = limit.type == B_INT32 ? bval_int32(limit) : 0};
}

const char *find_text(struct doc_db *t, const char *filter, const char *opts) {
    struct find_request req = request(filter, opts);
    struct find *f;
    struct bdoc d;
    size_t at = 0;
    text[0] = 0;
    cr_assert_eq(find_open(&t->op, &req, &f, &t->err), ST_OK, "%s", t->err.text);
    status st;
    while ((st = find_next(&t->op, f, &d, &t->err)) == ST_OK) {
        if (at > 0) text[at++] = ' ';
        append_doc(d, &at);
    }
    cr_assert_eq(st, ST_END, "%s", t->err.text);
    find_close(f);
    return text;
}

int64_t count_of(struct doc_db *t, const char *filter) {
    struct find_request req = request(filter, NULL);
    int64_t n = -1;
    cr_assert_eq(count_run(&t->op, &req, &n, &t->err), ST_OK, "%s", t->err.text);
    return n;
}

const char *explained(struct doc_db *t, enum explain_kind kind, const char *filter, const char *opts,
                      const char *path) {
    struct find_request req = request(filter, opts);
    struct bval key = bdoc_get_str(json("%s", opts != NULL ? opts : "{}"), "key");
    struct buf buf, one;
    struct bbuild b;
    struct path parts;
    buf_init(&buf, mem_default());
    buf_init(&one, mem_default());
    bbuild_begin(&b, &buf);
    cr_assert_eq(find_explain(&t->op, &req, kind, key.type == B_STRING ? bval_string(key) : SLICE_NONE,
                              EXPLAIN_EXECUTION_STATS, &b, &t->err),
                 ST_OK, "%s", t->err.text);
    cr_assert_eq(path_parse(&t->op.arena, slice_str(path), &parts, NULL), ST_OK);
    struct bval v = path_get(bbuild_finish(&b), &parts);
    size_t at = 0;
    bbuild_begin(&b, &one);
    bbuild_value(&b, SLICE_LIT("v"), v);
    append_doc(bbuild_finish(&b), &at);
    buf_release(&buf);
    buf_release(&one);
    /* without {'v': and } */
    text[at - 1] = 0;
    return v.type == B_MISSING ? "missing" : text + 5;
}

struct write_result insert_docs(struct doc_db *t, bool ordered, const char *docs) {
    struct bdoc all = json("%s", docs), items[64];
    struct biter it = biter_of(all);
    struct belem e;
    uint32_t n = 0;
    while (biter_next(&it, &e)) items[n++] = bval_doc(e.value);
    struct insert_request req = {.ns = NS, .doc_count = n, .docs = items, .ordered = ordered};
    struct write_result r;
    cr_assert_eq(insert_run(&t->op, &req, &r, &t->err), ST_OK, "%s", t->err.text);
    return r;
}

struct write_result update_docs(struct doc_db *t, const char *filter, const char *update, bool multi, bool upsert) {
    struct bdoc u = json("%s", update);
    struct update_statement s = {.filter = json("%s", filter),
                                 .update = {u.p, u.len, B_DOCUMENT},
                                 .multi = multi,
                                 .upsert = upsert};
    struct update_request req = {.ns = NS, .statement_count = 1, .statements = &s, .ordered = true};
    struct write_result r;
    cr_assert_eq(update_run(&t->op, &req, &r, &t->err), ST_OK, "%s", t->err.text);
    return r;
}

struct write_result delete_docs(struct doc_db *t, const char *filter, bool multi) {
    struct delete_statement s = {.filter = json("%s", filter), .multi = multi};
    struct delete_request req = {.ns = NS, .statement_count = 1, .statements = &s, .ordered = true};
    struct write_result r;
    cr_assert_eq(delete_run(&t->op, &req, &r, &t->err), ST_OK, "%s", t->err.text);
    return r;
}
