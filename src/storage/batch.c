/* Log records, written and read; see batch.h for the bytes. */
#include "storage/batch.h"

#include "base/endian.h"
#include "base/varint.h"
#include "storage/memtable.h"

void batch_begin(struct buf *out, uint64_t entry_count, uint64_t range_count) {
    buf_append_u8(out, RECORD_BATCH);
    buf_append_u64(out, 0);
    buf_append_varint(out, entry_count);
    buf_append_varint(out, range_count);
}

static void add_bytes(struct buf *out, struct slice s) {
    buf_append_varint(out, s.len);
    buf_append_slice(out, s);
}

void batch_add_range(struct buf *out, struct slice lo, struct slice hi) {
    add_bytes(out, lo);
    add_bytes(out, hi);
}

void batch_add(struct buf *out, uint8_t kind, struct slice key, struct slice value) {
    if (!buf_reserve(out, 1 + 2 * VARINT_LEN_MAX + key.len + value.len)) return;
    uint8_t *p = out->p + out->len;
    *p++ = kind;
    p += varint_put(p, key.len);
    p += varint_put(p, value.len);
    memcpy(p, key.p, key.len);
    p += key.len;
    if (value.len > 0) memcpy(p, value.p, value.len);
    out->len = (size_t) (p - out->p) + value.len;
}

static status damaged(struct err *err) { return RAISE(err, ST_CORRUPT, "a log record is not a batch"); }

static bool take_number(struct slice *in, uint64_t *v) {
    size_t n = varint_get(in->p, in->p + in->len, v);
    in->p += n;
    in->len -= n;
    return n != 0;
}

static bool take_bytes(struct slice *in, uint64_t len, struct slice *out) {
    if (len > in->len) return false;
    *out = slice_of(in->p, (size_t) len);
    in->p += len;
    in->len -= (size_t) len;
    return true;
}

static status take_head(struct slice *in, uint64_t *seq, struct batch_totals *out, struct err *err) {
    if (in->len < 9 || in->p[0] != RECORD_BATCH) return damaged(err);
    *seq = get_le64(in->p + BATCH_SEQ_AT);
    out->bytes = in->len;
    in->p += 9;
    in->len -= 9;
    if (!take_number(in, &out->entry_count) || !take_number(in, &out->range_count)) return damaged(err);
    if (out->entry_count > in->len || out->range_count > in->len) return damaged(err);
    return ST_OK;
}

status batch_head(struct slice record, uint64_t *seq, struct batch_totals *out, struct err *err) {
    return take_head(&record, seq, out, err);
}

status batch_visit(struct slice record, const struct batch_visitor *visitor, struct err *err) {
    struct batch_totals totals;
    uint64_t seq, len, value_len;
    TRY(take_head(&record, &seq, &totals, err));
    for (uint64_t i = 0; i < totals.range_count; i++) {
        struct slice lo, hi;
        if (!take_number(&record, &len) || !take_bytes(&record, len, &lo) || !take_number(&record, &len) ||
            !take_bytes(&record, len, &hi))
            return damaged(err);
        if (slice_compare(lo, hi) >= 0) return damaged(err);
        if (visitor->range != NULL) TRY(visitor->range(visitor->ctx, lo, hi, seq, err));
    }
    for (uint64_t i = 0; i < totals.entry_count; i++) {
        struct entry e = {.seq = seq};
        if (record.len < 1) return damaged(err);
        e.kind = record.p[0];
        record.p++;
        record.len--;
        if (!take_number(&record, &len) || !take_number(&record, &value_len)) return damaged(err);
        if (!take_bytes(&record, len, &e.key) || !take_bytes(&record, value_len, &e.value)) return damaged(err);
        if (e.kind < ENTRY_PUT || e.kind > ENTRY_LARGE || len == 0 || (e.kind == ENTRY_ADD && value_len != 8))
            return damaged(err);
        if (visitor->entry != NULL) TRY(visitor->entry(visitor->ctx, &e, err));
    }
    return record.len == 0 ? ST_OK : damaged(err);
}

struct staging {
    struct range_delete *ranges;
    size_t count;
    uint64_t seq;
};

static status note_range(void *ctx, struct slice lo, struct slice hi, uint64_t seq, struct err *err) {
    struct staging *s = ctx;
    (void) seq;
    (void) err;
    s->ranges[s->count++] = (struct range_delete){lo, hi, s->seq};
    return ST_OK;
}

status batch_prepare(struct slice record, uint64_t seq, struct memtable *m, const struct mem *mem, struct err *err) {
    uint64_t unused;
    struct batch_totals totals;
    TRY(batch_head(record, &unused, &totals, err));
    TRY(memtable_reserve(m, totals.entry_count, totals.bytes, err));
    if (totals.range_count == 0) return ST_OK;
    struct staging s = {mem_alloc(mem, totals.range_count * sizeof(*s.ranges)), 0, seq};
    if (s.ranges == NULL) return RAISE(err, ST_NOMEM, "range deletes");
    struct batch_visitor visitor = {&s, note_range, NULL};
    status st = batch_visit(record, &visitor, err);
    if (st == ST_OK) st = memtable_stage_ranges(m, s.ranges, s.count, err);
    mem_free(mem, s.ranges, totals.range_count * sizeof(*s.ranges));
    return st;
}

static status apply_entry(void *ctx, const struct entry *e, struct err *err) { return memtable_insert(ctx, e, err); }

status batch_apply(struct slice record, struct memtable *m, struct err *err) {
    uint64_t seq;
    struct batch_totals totals;
    struct batch_visitor visitor = {m, NULL, apply_entry};
    TRY(batch_head(record, &seq, &totals, err));
    TRY(batch_visit(record, &visitor, err));
    if (totals.range_count > 0) memtable_install_ranges(m);
    return ST_OK;
}
