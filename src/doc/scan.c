/* Reading by _id, by document and by index entry: see scan.h. Layout of what is read: write.c. */
#include "doc/scan.h"

#include <stdlib.h>

#include "base/varint.h"
#include "doc/entry.h"
#include "index/key.h"

/* Stored documents went through bson_check when they came in and are checksummed below; length and end are looked at all the same,
 * since a file may be hostile. */
static status doc_of(struct slice value, struct bdoc *out, struct err *err) {
    if (value.len < 5 || value.len > UINT32_MAX || get_le32(value.p) != value.len || value.p[value.len - 1] != 0)
        return RAISE(err, ST_CORRUPT, "a stored document is damaged");
    *out = (struct bdoc){value.p, (uint32_t) value.len};
    return ST_OK;
}

status record_get_at(struct kv_txn *txn, const struct collection *c, struct slice locator, struct buf *key_scratch,
                     struct kv_value *out, struct err *err) {
    struct bdoc d;
    buf_clear(key_scratch);
    buf_append_slice(key_scratch, c->prefix);
    buf_append_slice(key_scratch, locator);
    if (key_scratch->failed) return RAISE(err, ST_NOMEM, "reading a document");
    TRY(kv_get(txn, buf_slice(key_scratch), out, err));
    status st = doc_of(out->bytes, &d, err);
    if (st != ST_OK) kv_value_release(out);
    return st;
}

status record_get(struct kv_txn *txn, const struct collection *c, struct bval id, struct buf *key_scratch,
                  struct kv_value *out, struct err *err) {
    struct bdoc d;
    buf_clear(key_scratch);
    buf_append_slice(key_scratch, c->prefix);
    key_append(key_scratch, id, false);
    if (key_scratch->failed) return RAISE(err, ST_NOMEM, "reading a document");
    TRY(kv_get(txn, buf_slice(key_scratch), out, err));
    status st = doc_of(out->bytes, &d, err);
    if (st != ST_OK) kv_value_release(out);
    return st;
}

/* --- many at once --- */

struct wanted {
    struct slice key;
    size_t place;
};

static int compare_wanted(const void *a, const void *b) {
    return slice_compare(((const struct wanted *) a)->key, ((const struct wanted *) b)->key);
}

static bool is_sorted(const struct slice *locators, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (slice_compare(locators[i - 1], locators[i]) > 0) return false;
    return true;
}

static status get_documents(struct kv_txn *txn, size_t n, const struct slice *keys, struct kv_value *out,
                            struct err *err) {
    struct bdoc d;
    status st = ST_OK;
    TRY(kv_get_many(txn, n, keys, out, err));
    for (size_t i = 0; i < n && st == ST_OK; i++)
        if (out[i].bytes.p != NULL) st = doc_of(out[i].bytes, &d, err);
    for (size_t i = 0; i < n && st != ST_OK; i++) kv_value_release(&out[i]);
    return st;
}

/* The keys of documents, end to end in one piece of the arena. */
static status make_keys(struct arena *arena, const struct collection *c, const struct slice *locators, size_t n,
                        struct slice *keys, struct err *err) {
    size_t len = 0, prefix_len = c->prefix.len;
    for (size_t i = 0; i < n; i++) len += prefix_len + locators[i].len;
    uint8_t *p = arena_alloc(arena, len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "reading documents");
    for (size_t i = 0; i < n; i++) {
        memcpy(p, c->prefix.p, prefix_len);
        memcpy(p + prefix_len, locators[i].p, locators[i].len);
        keys[i] = slice_of(p, prefix_len + locators[i].len);
        p += keys[i].len;
    }
    return ST_OK;
}

/* Reads in the order of keys, gives in the order that was asked for. */
static status get_unsorted(struct arena *arena, struct kv_txn *txn, size_t n, struct slice *keys, struct kv_value *out,
                           struct err *err) {
    struct wanted *wanted = arena_array(arena, struct wanted, n);
    struct kv_value *values = arena_array(arena, struct kv_value, n);
    if (wanted == NULL || values == NULL) return RAISE(err, ST_NOMEM, "reading documents");
    for (size_t i = 0; i < n; i++) wanted[i] = (struct wanted){keys[i], i};
    qsort(wanted, n, sizeof(*wanted), compare_wanted);
    for (size_t i = 0; i < n; i++) keys[i] = wanted[i].key;
    TRY(get_documents(txn, n, keys, values, err));
    for (size_t i = 0; i < n; i++) out[wanted[i].place] = values[i];
    return ST_OK;
}

status record_get_many(struct op *op, struct kv_txn *txn, const struct collection *c, const struct slice *locators,
                       size_t n, struct kv_value *out, struct err *err) {
    if (n == 0) return ST_OK;
    struct arena_mark mark = arena_mark(&op->arena);
    struct slice *keys = arena_alloc(&op->arena, n * sizeof(*keys));
    status st = keys != NULL ? make_keys(&op->arena, c, locators, n, keys, err)
                             : RAISE(err, ST_NOMEM, "reading documents");
    if (st == ST_OK)
        st = is_sorted(locators, n) ? get_documents(txn, n, keys, out, err)
                                    : get_unsorted(&op->arena, txn, n, keys, out, err);
    arena_rewind(&op->arena, mark);
    return st;
}

/* --- a scan over a range, common to both kinds --- */

/* The cursor's bounds are the range: it is opened anew when the range changes. */
struct range_scan {
    const struct mem *mem;
    struct kv_txn *txn;
    struct kv_cursor *cursor; /* NULL: there is no range yet */
    struct buf lo, hi;        /* full keys */
    size_t prefix_len;
    bool backward, is_placed;
};

/* The keys prefix+lo and prefix+hi, an open end being that of the prefix. */
static status set_range(struct range_scan *s, struct slice prefix, struct slice lo, struct slice hi, struct err *err) {
    buf_clear(&s->lo);
    buf_clear(&s->hi);
    buf_append_slice(&s->lo, prefix);
    buf_append_slice(&s->lo, lo);
    buf_append_slice(&s->hi, prefix);
    buf_append_slice(&s->hi, hi);
    if (hi.len == 0) key_successor(&s->hi);
    s->is_placed = false;
    return s->lo.failed || s->hi.failed ? RAISE(err, ST_NOMEM, "scan") : ST_OK;
}

static void range_init(struct range_scan *s, struct op *op, struct kv_txn *txn, size_t prefix_len, bool backward) {
    *s = (struct range_scan){.mem = op->mem, .txn = txn, .prefix_len = prefix_len, .backward = backward};
    buf_init(&s->lo, op->mem);
    buf_init(&s->hi, op->mem);
}

static status range_open(struct range_scan *s, struct slice prefix, struct slice lo, struct slice hi, struct err *err) {
    kv_cursor_close(s->cursor);
    s->cursor = NULL;
    TRY(set_range(s, prefix, lo, hi, err));
    struct kv_bounds bounds = {buf_slice(&s->lo), buf_slice(&s->hi)};
    return kv_cursor_open(s->txn, &bounds, &s->cursor, err);
}

static void range_release(struct range_scan *s) {
    kv_cursor_close(s->cursor);
    buf_release(&s->lo);
    buf_release(&s->hi);
}

/* The last entry below key. */
static status seek_below(struct range_scan *s, struct slice key, struct err *err) {
    status st = kv_seek_le(s->cursor, key, err);
    return st == ST_OK && slice_equal(kv_cursor_key(s->cursor), key) ? kv_prev(s->cursor, err) : st;
}

static inline status range_next(struct range_scan *s, struct err *err) {
    if (s->is_placed) return s->backward ? kv_prev(s->cursor, err) : kv_next(s->cursor, err);
    s->is_placed = true;
    return s->backward ? kv_last(s->cursor, err) : kv_first(s->cursor, err);
}

/* --- documents --- */

struct record_scan {
    struct range_scan range;
    bool at_end;
};

status record_scan_open(struct op *op, struct kv_txn *txn, const struct collection *c, struct slice lo, struct slice hi,
                        bool backward, struct record_scan **out, struct err *err) {
    struct record_scan *s = mem_new(op->mem, struct record_scan);
    if (s == NULL) return RAISE(err, ST_NOMEM, "scan");
    range_init(&s->range, op, txn, c->prefix.len, backward);
    status st = range_open(&s->range, c->prefix, lo, hi, err);
    s->at_end = lo.len != 0 && hi.len != 0 && slice_compare(lo, hi) >= 0;
    if (st == ST_OK) *out = s;
    else record_scan_close(s);
    return st;
}

status record_scan_next(struct record_scan *s, struct bdoc *doc, struct err *err) {
    struct slice value;
    if (s->at_end) return ST_END;
    status st = range_next(&s->range, err);
    s->at_end = st == ST_END;
    if (st != ST_OK) return st;
    TRY(kv_cursor_value(s->range.cursor, &value, err));
    return doc_of(value, doc, err);
}

struct slice record_scan_locator(const struct record_scan *s) {
    struct slice key = kv_cursor_key(s->range.cursor);
    return slice_of(key.p + s->range.prefix_len, key.len - s->range.prefix_len);
}

void record_scan_rest(struct record_scan *s) { kv_cursor_rest(s->range.cursor); }

void record_scan_close(struct record_scan *s) {
    if (s == NULL) return;
    range_release(&s->range);
    mem_delete(s->range.mem, s);
}

/* --- index entries --- */

struct index_scan {
    struct range_scan range;
    const struct index *ix;
    bool at_end;
};

status index_scan_open(struct op *op, struct kv_txn *txn, const struct collection *c, const struct index *ix,
                       bool backward, struct index_scan **out, struct err *err) {
    (void) c;
    struct index_scan *s = mem_new(op->mem, struct index_scan);
    if (s == NULL) return RAISE(err, ST_NOMEM, "scan");
    s->ix = ix;
    range_init(&s->range, op, txn, ix->prefix.len, backward);
    *out = s;
    return ST_OK;
}

status index_scan_range(struct index_scan *s, struct slice lo, struct slice hi, struct err *err) {
    TRY(range_open(&s->range, s->ix->prefix, lo, hi, err));
    s->at_end = slice_compare(buf_slice(&s->range.lo), buf_slice(&s->range.hi)) >= 0;
    return ST_OK;
}

/* Without a range so far: the whole index. */
static inline status ensure_range(struct index_scan *s, struct err *err) {
    return s->range.cursor != NULL ? ST_OK : index_scan_range(s, SLICE_NONE, SLICE_NONE, err);
}

static status bad_entry(const struct index *ix, struct err *err) {
    return RAISE(err, ST_CORRUPT, "an entry of index %.*s is damaged", (int) ix->spec.name.len,
                 (const char *) ix->spec.name.p);
}

status index_entry_split(const struct index *ix, struct slice key, struct slice value, struct index_entry *out,
                         struct err *err) {
    if (ix->spec.is_unique) {
        uint64_t len;
        size_t n = varint_get(value.p, value.p + value.len, &len);
        if (n == 0 || len > value.len - n) return bad_entry(ix, err);
        *out = (struct index_entry){key, slice_of(value.p + n, len), slice_of(value.p + n + len, value.len - n - len)};
        return ST_OK;
    }
    struct slice rest = key;
    for (uint32_t f = 0; f < ix->spec.field_count; f++) {
        size_t n = key_field_len(rest, ix->spec.fields[f].descending);
        if (n == 0) return bad_entry(ix, err);
        rest = slice_of(rest.p + n, rest.len - n);
    }
    *out = (struct index_entry){slice_of(key.p, key.len - rest.len), rest, value};
    return ST_OK;
}

static status entry_at(struct index_scan *s, status st, struct index_entry *out, struct err *err) {
    struct slice value, key;
    s->at_end = st == ST_END;
    if (st != ST_OK) return st;
    TRY(kv_cursor_value(s->range.cursor, &value, err));
    key = kv_cursor_key(s->range.cursor);
    return index_entry_split(s->ix, slice_of(key.p + s->range.prefix_len, key.len - s->range.prefix_len), value, out,
                             err);
}

status index_scan_next(struct index_scan *s, struct index_entry *out, struct err *err) {
    TRY(ensure_range(s, err));
    if (s->at_end) return ST_END;
    return entry_at(s, range_next(&s->range, err), out, err);
}

status index_scan_seek(struct index_scan *s, struct slice key, struct index_entry *out, struct err *err) {
    struct range_scan *r = &s->range;
    TRY(ensure_range(s, err));
    struct buf *bound = r->backward ? &r->hi : &r->lo;
    size_t len = r->prefix_len + key.len;
    uint8_t stack[256], *full = len <= sizeof(stack) ? stack : mem_alloc(r->mem, len);
    if (full == NULL) return RAISE(err, ST_NOMEM, "scan");
    memcpy(full, s->ix->prefix.p, r->prefix_len);
    if (key.len != 0) memcpy(full + r->prefix_len, key.p, key.len);
    /* Never before the range's own start. */
    struct slice to = slice_of(full, len), own = buf_slice(bound);
    if (r->backward ? slice_compare(to, own) > 0 : slice_compare(to, own) < 0) to = own;
    status st = r->backward ? seek_below(r, to, err) : kv_seek_ge(r->cursor, to, err);
    if (full != stack) mem_free(r->mem, full, len);
    r->is_placed = true;
    return entry_at(s, st, out, err);
}

status index_scan_count(struct index_scan *s, uint64_t max, uint64_t *n, struct err *err) {
    status st = ST_OK;
    *n = 0;
    TRY(ensure_range(s, err));
    if (s->at_end) return ST_END;
    if (!s->range.is_placed) st = kv_first(s->range.cursor, err);
    s->range.is_placed = true;
    if (st == ST_OK) st = kv_cursor_count(s->range.cursor, max, n, err);
    s->at_end = st != ST_OK;
    return st;
}

void index_scan_rest(struct index_scan *s) {
    if (s->range.cursor != NULL) kv_cursor_rest(s->range.cursor);
}

void index_scan_close(struct index_scan *s) {
    if (s == NULL) return;
    range_release(&s->range);
    mem_delete(s->range.mem, s);
}

status index_get(struct kv_txn *txn, const struct index *ix, struct slice key, struct buf *key_scratch,
                 struct kv_value *value, struct index_entry *out, struct err *err) {
    size_t prefix_len = ix->prefix.len;
    buf_clear(key_scratch);
    buf_append_slice(key_scratch, ix->prefix);
    buf_append_slice(key_scratch, key);
    if (key_scratch->failed) return RAISE(err, ST_NOMEM, "reading an index entry");
    TRY(kv_get(txn, buf_slice(key_scratch), value, err));
    key = slice_of(key_scratch->p + prefix_len, key_scratch->len - prefix_len);
    status st = index_entry_split(ix, key, value->bytes, out, err);
    if (st != ST_OK) kv_value_release(value);
    return st;
}

/* --- estimates --- */

static status estimate(struct kv_txn *txn, const struct mem *mem, struct slice prefix, struct slice lo, struct slice hi,
                       struct kv_estimate *out, struct err *err) {
    struct kv_estimate e = {0};
    struct range_scan s = {0};
    buf_init(&s.lo, mem);
    buf_init(&s.hi, mem);
    status st = set_range(&s, prefix, lo, hi, err);
    struct kv_bounds bounds = {buf_slice(&s.lo), buf_slice(&s.hi)};
    if (st == ST_OK && slice_compare(bounds.lo, bounds.hi) < 0) st = kv_estimate(txn, &bounds, &e, err);
    if (st == ST_OK) *out = e;
    buf_release(&s.lo);
    buf_release(&s.hi);
    return st;
}

status index_estimate(struct kv_txn *txn, const struct collection *c, const struct index *ix, struct slice lo,
                      struct slice hi, uint64_t *entries, struct err *err) {
    struct kv_estimate e = {0};
    TRY(estimate(txn, c->mem, ix->prefix, lo, hi, &e, err));
    *entries = e.entries;
    return ST_OK;
}

status record_estimate(struct kv_txn *txn, const struct collection *c, struct slice lo, struct slice hi,
                       uint64_t *entries, struct err *err) {
    struct kv_estimate e = {0};
    TRY(estimate(txn, c->mem, c->prefix, lo, hi, &e, err));
    *entries = e.entries;
    return ST_OK;
}

status index_size(struct kv_txn *txn, const struct collection *c, const struct index *ix, uint64_t *bytes,
                  struct err *err) {
    struct kv_estimate e = {0};
    TRY(estimate(txn, c->mem, ix->prefix, SLICE_NONE, SLICE_NONE, &e, err));
    *bytes = e.bytes;
    return ST_OK;
}

status record_size(struct kv_txn *txn, const struct collection *c, uint64_t *bytes, struct err *err) {
    struct kv_estimate e = {0};
    TRY(estimate(txn, c->mem, c->prefix, SLICE_NONE, SLICE_NONE, &e, err));
    *bytes = e.bytes;
    return ST_OK;
}
