/* Id sequences: numbers that are given once and never again, also after a crash.
 *
 * Numbers are reserved in the log in blocks before they are given; what is given out of a block costs nothing. A crash forgets the rest of the block, a clean close
 * keeps it. The manifest holds the table as of the last tree commit: { key length varint, key, next le64 }, sorted by key. A reservation needs no sync of its own:
 * whatever uses the number is logged after it. */
#include <assert.h>

#include "base/endian.h"
#include "base/varint.h"
#include "storage/batch.h"
#include "storage/engine.h"

#define BLOCK 1024 /* numbers reserved at a time beyond those asked for */

struct sequence {
    struct slice key;        /* owned */
    uint64_t next, reserved; /* [next, reserved) may be given */
};

static size_t find(const struct lsm *l, struct slice key) {
    size_t lo = 0, hi = l->sequence_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (slice_compare(l->sequences[mid].key, key) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* sequence_mutex held. The row for key, made when missing. */
static status row_for(struct lsm *l, struct slice key, struct sequence **out, struct err *err) {
    size_t i = find(l, key);
    if (i == l->sequence_count || !slice_equal(l->sequences[i].key, key)) {
        void *array = l->sequences;
        uint8_t *copy = mem_copy(l->mem, key.p, key.len);
        if (copy == NULL ||
            !mem_grow(l->mem, &array, &l->sequence_cap, l->sequence_count + 1, sizeof(struct sequence))) {
            mem_free(l->mem, copy, key.len);
            return RAISE(err, ST_NOMEM, "sequence");
        }
        l->sequences = array;
        memmove(&l->sequences[i + 1], &l->sequences[i], (l->sequence_count - i) * sizeof(struct sequence));
        l->sequences[i] = (struct sequence){slice_of(copy, key.len), 1, 1};
        l->sequence_count++;
    }
    *out = &l->sequences[i];
    return ST_OK;
}

/* sequence_mutex held: logs that numbers below `to` are taken. */
static status reserve(struct lsm *l, struct slice key, uint64_t to, struct err *err) {
    uint8_t head[9] = {RECORD_SEQUENCE};
    put_le64(head + 1, to);
    struct slice pieces[2] = {slice_of(head, sizeof(head)), key};
    struct err own = ERR_INIT;
    uint64_t lsn;
    status st = lsm_refuse(l, err);
    if (st != ST_OK) return st;
    st = wal_append(l->wal, pieces, 2, &lsn, &own);
    if (st == ST_OK) atomic_store_explicit(&l->unsynced_lsn, lsn, memory_order_relaxed);
    if (st != ST_OK && st != ST_NO_SPACE && st != ST_NOMEM) lsm_break(l, &own);
    if (st != ST_OK && err != NULL) *err = own;
    return st;
}

status sequence_next(struct kv *kv, struct slice key, uint64_t n, uint64_t *first, struct err *err) {
    struct lsm *l = lsm_of(kv);
    struct sequence *s;
    if (l->wal == NULL) return lsm_refuse(l, err);
    if (key.len == 0 || key.len > KV_KEY_LEN_MAX)
        return RAISE(err, ST_INVALID, "a sequence's key has 1 to %zu bytes", KV_KEY_LEN_MAX);
    mutex_lock(&l->sequence_mutex);
    status st = row_for(l, key, &s, err);
    if (st == ST_OK && n > UINT64_MAX - BLOCK - s->next)
        st = RAISE(err, ST_INVALID, "a sequence has no %llu numbers left", (unsigned long long) n);
    if (st == ST_OK && s->next + n > s->reserved) {
        /* The table first: a tree commit that makes the record needless must already have it (engine.h E2). */
        uint64_t before = s->reserved;
        s->reserved = s->next + n + BLOCK;
        st = reserve(l, s->key, s->reserved, err);
        if (st != ST_OK) s->reserved = before;
    }
    if (st == ST_OK) {
        *first = s->next;
        s->next += n;
    }
    mutex_unlock(&l->sequence_mutex);
    return st;
}

status sequence_encode(struct lsm *l, bool exact, struct buf *out, struct err *err) {
    mutex_lock(&l->sequence_mutex);
    for (size_t i = 0; i < l->sequence_count; i++) {
        buf_append_varint(out, l->sequences[i].key.len);
        buf_append_slice(out, l->sequences[i].key);
        buf_append_u64(out, exact ? l->sequences[i].next : l->sequences[i].reserved);
    }
    mutex_unlock(&l->sequence_mutex);
    return out->failed ? RAISE(err, ST_NOMEM, "sequences") : ST_OK;
}

/* At open: numbers below `next` are taken. */
static status raise_to(struct lsm *l, struct slice key, uint64_t next, struct err *err) {
    struct sequence *s;
    TRY(row_for(l, key, &s, err));
    if (next > s->next) s->next = s->reserved = next;
    return ST_OK;
}

status sequence_decode(struct lsm *l, struct slice bytes, struct err *err) {
    const uint8_t *p = bytes.p, *end = bytes.p + bytes.len;
    while (p < end) {
        uint64_t len;
        size_t n = varint_get(p, end, &len);
        if (n == 0 || len == 0 || len > (uint64_t) (end - p) - n || (uint64_t) (end - p) - n - len < 8)
            return RAISE(err, ST_CORRUPT, "the manifest's sequences are damaged");
        p += n;
        TRY(raise_to(l, slice_of(p, (size_t) len), get_le64(p + len), err));
        p += len + 8;
    }
    return ST_OK;
}

status sequence_replay(struct lsm *l, struct slice record, struct err *err) {
    if (record.len < 10 || record.p[0] != RECORD_SEQUENCE)
        return RAISE(err, ST_CORRUPT, "a log record is of an unknown kind");
    return raise_to(l, slice_of(record.p + 9, record.len - 9), get_le64(record.p + 1), err);
}

void sequence_release(struct lsm *l) {
    for (size_t i = 0; i < l->sequence_count; i++)
        mem_free(l->mem, (void *) (uintptr_t) l->sequences[i].key.p, l->sequences[i].key.len);
    mem_free(l->mem, l->sequences, l->sequence_cap * sizeof(struct sequence));
}
