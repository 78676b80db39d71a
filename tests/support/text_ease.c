/* See text_ease.h. */
#include "support/text_ease.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/varint.h"
#include "bson/json.h"
#include "index/key.h"
#include "index/text/postings.h"

char text_ease_fault[512];

struct bdoc text_doc(const char *fmt, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    cr_assert_geq(vasprintf(&text, fmt, args), 0);
    va_end(args);
    struct buf out;
    struct err err = ERR_INIT;
    bool is_array;
    size_t used;
    buf_init(&out, mem_default());
    status st = json_parse(slice_str(text), JSON_SHELL, &out, &is_array, &used, &err);
    cr_assert_eq(st, ST_OK, "%s: %s", text, err.text);
    free(text);
    static struct buf *kept[65536]; /* reachable, so that no leak is seen */
    static size_t kept_count;
    struct buf *keep = malloc(sizeof(*keep));
    *keep = out;
    if (kept_count == sizeof(kept) / sizeof(kept[0])) {
        kept_count = 0;
    }
    if (kept[kept_count] != NULL) {
        buf_release(kept[kept_count]);
        free(kept[kept_count]);
    }
    kept[kept_count++] = keep;
    return (struct bdoc){keep->p, (uint32_t) keep->len};
}

void text_ease_open(struct text_ease *t, struct kv *kv, const char *spec) {
    struct err err = ERR_INIT;
    *t = (struct text_ease){.kv = kv};
    arena_init(&t->arena, mem_default());
    cr_assert_eq(index_spec_parse(&t->arena, text_doc("%s", spec), &t->spec, &err), ST_OK, "%s", err.text);
    t->ix = (struct text_index){.kv = kv, .collection_id = 7, .index_id = 3, .spec = &t->spec};
}

void text_ease_close(struct text_ease *t) {
    arena_release(&t->arena);
    kv_close(t->kv);
}

struct kv_txn *text_ease_begin(struct text_ease *t) {
    struct kv_txn *txn = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(kv_begin(t->kv, false, &txn, &err), ST_OK, "%s", err.text);
    return txn;
}

void text_ease_commit(struct kv_txn *txn) {
    struct err err = ERR_INIT;
    cr_assert_eq(kv_commit(txn, KV_SYNC, &err), ST_OK, "%s", err.text);
}

struct slice text_ease_locator(uint64_t id, uint8_t bytes[9]) {
    return slice_of(bytes, ordered_put(bytes, id));
}

uint64_t text_ease_id(struct slice locator) {
    uint64_t id = 0;
    cr_assert_eq(ordered_get(locator.p, locator.p + locator.len, &id), locator.len);
    return id;
}

static status write_record(struct text_ease *t, struct kv_txn *txn, struct slice locator, struct bdoc doc,
                           struct err *err) {
    struct buf key;
    buf_init(&key, mem_default());
    key_append_prefix(&key, t->ix.collection_id, 0);
    (void) buf_append_slice(&key, locator);
    status st = doc.p != NULL ? kv_put(txn, buf_slice(&key), slice_of(doc.p, doc.len), err)
                              : kv_delete(txn, buf_slice(&key), err);
    buf_release(&key);
    return st;
}

void text_ease_record(struct text_ease *t, struct kv_txn *txn, uint64_t id, struct bdoc doc) {
    uint8_t bytes[9];
    cr_assert_eq(write_record(t, txn, text_ease_locator(id, bytes), doc, NULL), ST_OK);
}

status text_ease_write(struct text_ease *t, struct kv_txn *txn, uint64_t id, struct bdoc old_doc, struct bdoc new_doc,
                       const struct mem *mem, struct err *err) {
    uint8_t bytes[9];
    struct slice locator = text_ease_locator(id, bytes);
    struct arena scratch;
    TRY(write_record(t, txn, locator, new_doc, err));
    arena_init(&scratch, mem);
    status st = text_write(&t->ix, txn, locator, old_doc, new_doc, &scratch, err);
    arena_release(&scratch);
    return st;
}

void text_ease_put(struct text_ease *t, uint64_t id, struct bdoc old_doc, struct bdoc new_doc) {
    struct kv_txn *txn = text_ease_begin(t);
    struct err err = ERR_INIT;
    cr_assert_eq(text_ease_write(t, txn, id, old_doc, new_doc, mem_default(), &err), ST_OK, "%s", err.text);
    text_ease_commit(txn);
}

struct text_query *text_ease_query(struct text_ease *t, const char *search, bool case_sensitive,
                                   bool diacritic_sensitive, struct arena *arena) {
    struct text_query *q = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(text_query_parse(&t->ix, slice_str(search), SLICE_NONE, case_sensitive, diacritic_sensitive, arena, &q,
                                  &err),
                 ST_OK, "%s", err.text);
    return q;
}

size_t text_ease_search(struct text_ease *t, struct kv_txn *txn, const struct text_query *q, bool ranked,
                        uint64_t limit, struct ease_hit *out, size_t max) {
    struct text_search_opts opts = {.ranked = ranked, .with_score = true, .limit = limit};
    struct text_search *s = NULL;
    struct text_hit hit;
    struct err err = ERR_INIT;
    size_t n = 0;
    cr_assert_eq(text_search_open(&t->ix, txn, q, &opts, mem_default(), &s, &err), ST_OK, "%s", err.text);
    for (;;) {
        status st = text_search_next(s, &hit, &err);
        if (st == ST_END) break;
        cr_assert_eq(st, ST_OK, "%s", err.text);
        cr_assert_lt(n, max);
        out[n++] = (struct ease_hit){text_ease_id(hit.locator), hit.score};
        if (n % 3 == 0) text_search_rest(s);
    }
    cr_assert_eq(text_search_next(s, &hit, &err), ST_END);
    text_search_close(s);
    return n;
}

static int compare_ids(const void *x, const void *y) {
    const struct ease_hit *a = x, *b = y;
    return (a->id > b->id) - (a->id < b->id);
}

const char *text_ease_find(struct text_ease *t, const char *search, bool case_sensitive, bool diacritic_sensitive) {
    static char text[4096];
    struct ease_hit hits[256];
    struct arena arena;
    struct kv_txn *txn = text_ease_begin(t);
    arena_init(&arena, mem_default());
    size_t n = text_ease_search(t, txn, text_ease_query(t, search, case_sensitive, diacritic_sensitive, &arena), false,
                                0, hits, 256),
           at = 0;
    arena_release(&arena);
    kv_abort(txn);
    qsort(hits, n, sizeof(hits[0]), compare_ids);
    text[0] = 0;
    for (size_t i = 0; i < n; i++)
        at +=
            (size_t) snprintf(text + at, sizeof(text) - at, i > 0 ? " %llu" : "%llu", (unsigned long long) hits[i].id);
    return text;
}

static void take_fault(void *ctx, const char *text) {
    size_t *count = ctx;
    ++*count;
    (void) snprintf(text_ease_fault, sizeof(text_ease_fault), "%s", text);
}

size_t text_ease_check(struct text_ease *t, struct kv_txn *txn) {
    struct text_checker *c = NULL;
    struct kv_cursor *cursor = NULL;
    struct buf lo, hi;
    struct err err = ERR_INIT;
    struct slice value;
    size_t found = 0;
    text_ease_fault[0] = 0;
    buf_init(&lo, mem_default());
    buf_init(&hi, mem_default());
    key_append_prefix(&lo, t->ix.collection_id, 0);
    key_append_prefix(&hi, t->ix.collection_id, 1);
    struct kv_bounds bounds = {buf_slice(&lo), buf_slice(&hi)};
    (void) kv_next_statement(txn);
    cr_assert_eq(text_checker_new(&t->ix, txn, mem_default(), take_fault, &found, &c, &err), ST_OK, "%s", err.text);
    cr_assert_eq(kv_cursor_open(txn, &bounds, &cursor, &err), ST_OK);
    for (status st = kv_first(cursor, &err); st == ST_OK; st = kv_next(cursor, &err)) {
        struct slice key = kv_cursor_key(cursor);
        cr_assert_eq(kv_cursor_value(cursor, &value, &err), ST_OK);
        status added = text_checker_add(c, slice_of(key.p + lo.len, key.len - lo.len),
                                        (struct bdoc){value.p, (uint32_t) value.len}, &err);
        cr_assert_eq(added, ST_OK, "%s", err.text);
    }
    kv_cursor_close(cursor);
    status st = text_checker_finish(c, NULL, &err);
    cr_assert_eq(st, ST_OK, "%s", err.text);
    buf_release(&lo);
    buf_release(&hi);
    return found;
}

uint64_t text_ease_count(struct text_ease *t, int kind) {
    struct kv_txn *txn = text_ease_begin(t);
    struct kv_cursor *cursor = NULL;
    struct buf lo, hi;
    uint64_t n = 0;
    buf_init(&lo, mem_default());
    buf_init(&hi, mem_default());
    text_key(&t->ix, &lo, (enum text_kind) kind);
    text_key(&t->ix, &hi, (enum text_kind)(kind + 1));
    struct kv_bounds bounds = {buf_slice(&lo), buf_slice(&hi)};
    cr_assert_eq(kv_cursor_open(txn, &bounds, &cursor, NULL), ST_OK);
    for (status st = kv_first(cursor, NULL); st == ST_OK; st = kv_next(cursor, NULL)) n++;
    kv_cursor_close(cursor);
    kv_abort(txn);
    buf_release(&lo);
    buf_release(&hi);
    return n;
}
