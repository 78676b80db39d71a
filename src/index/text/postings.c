/* The bytes of a text index; see postings.h. */
#include "index/text/postings.h"

#include <math.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/varint.h"
#include "index/key.h"

#define BLOCK_SEVERAL 1
#define BLOCK_ONE 2
#define BLOCK_COUNT_MAX (1u << 20) /* more in one block is damage */
#define DISTINCT_MAX 255

void text_key(const struct text_index *ix, struct buf *key, enum text_kind kind) {
    buf_clear(key);
    key_append_prefix(key, ix->collection_id, ix->index_id);
    (void) buf_append_u8(key, (uint8_t) kind);
}

static void append_ordered(struct buf *key, uint64_t v) {
    uint8_t bytes[ORDERED_LEN_MAX];
    (void) buf_append(key, bytes, ordered_put(bytes, v));
}

void text_key_number(const struct text_index *ix, struct buf *key, enum text_kind kind, uint64_t number) {
    text_key(ix, key, kind);
    append_ordered(key, number);
}

void text_key_locator(const struct text_index *ix, struct buf *key, struct slice locator) {
    text_key(ix, key, TEXT_NUMBER);
    (void) buf_append_slice(key, locator);
}

void text_key_term(const struct text_index *ix, struct buf *key, struct slice term) {
    text_key(ix, key, TEXT_POSTING);
    (void) buf_append_slice(key, term);
    (void) buf_append_u8(key, 0);
}

void text_key_posting(const struct text_index *ix, struct buf *key, struct slice term, uint64_t first) {
    text_key_term(ix, key, term);
    append_ordered(key, first);
}

/* Behind every kind of the index, so that it meets no other key. */
void text_key_sequence(const struct text_index *ix, struct buf *key) { text_key(ix, key, TEXT_KIND_END); }

status text_key_read_number(struct slice key, size_t prefix_len, uint64_t *number, struct err *err) {
    uint64_t v = 0;
    if (key.len <= prefix_len || ordered_get(key.p + prefix_len, key.p + key.len, &v) != key.len - prefix_len ||
        v == 0 || v == UINT64_MAX)
        return RAISE(err, ST_CORRUPT, "a text index has a key without a number");
    *number = v;
    return ST_OK;
}

status text_value_read_number(struct slice value, uint64_t *number, struct err *err) {
    return value.len != 0 ? text_key_read_number(value, 0, number, err)
                          : RAISE(err, ST_CORRUPT, "a text index has a locator without a number");
}

status text_key_read_posting(const struct text_index *ix, struct slice key, struct slice *term, uint64_t *first,
                             struct err *err) {
    uint8_t prefix[2 * ORDERED_LEN_MAX];
    size_t at = ordered_put(prefix, ix->collection_id);
    at += ordered_put(prefix + at, ix->index_id) + 1;
    const uint8_t *zero = key.len > at ? memchr(key.p + at, 0, key.len - at) : NULL;
    if (zero == NULL) return RAISE(err, ST_CORRUPT, "a text index has a posting without a term");
    *term = slice_of(key.p + at, (size_t) (zero - key.p) - at);
    return text_key_read_number(key, (size_t) (zero - key.p) + 1, first, err);
}

static int compare_doubles(const void *x, const void *y) {
    double a, b;
    memcpy(&a, x, sizeof(a));
    memcpy(&b, y, sizeof(b));
    return (a > b) - (a < b);
}

/* The distinct scores ascending; 0 when there are too many for a table to pay. */
static uint32_t distinct_scores(const struct posting *postings, uint32_t n, double *out) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = 0;
        while (j < count && out[j] != postings[i].score) j++;
        if (j < count) continue;
        if (count == DISTINCT_MAX || (count + 1) * 8 + n >= 8 * n) return 0;
        out[count++] = postings[i].score;
    }
    qsort(out, count, sizeof(*out), compare_doubles);
    return count;
}

static void append_double(struct buf *out, double d) { (void) buf_append(out, &d, sizeof(d)); }

static status encode_one(const struct posting *posting, struct buf *out, struct err *err) {
    (void) buf_append_u8(out, BLOCK_ONE);
    append_double(out, posting->score);
    return out->failed ? RAISE(err, ST_NOMEM, "no memory for a block of postings") : ST_OK;
}

status block_encode(const struct posting *postings, uint32_t n, struct buf *out, struct err *err) {
    if (n == 1) return encode_one(postings, out, err);
    double table[DISTINCT_MAX], score_max = postings[0].score;
    for (uint32_t i = 1; i < n; i++) score_max = postings[i].score > score_max ? postings[i].score : score_max;
    (void) buf_append_u8(out, BLOCK_SEVERAL);
    (void) buf_append_varint(out, n);
    (void) buf_append_varint(out, postings[n - 1].number - postings[0].number);
    append_double(out, score_max);
    for (uint32_t i = 1; i < n; i++) (void) buf_append_varint(out, postings[i].number - postings[i - 1].number);
    uint32_t distinct = distinct_scores(postings, n, table);
    (void) buf_append_varint(out, distinct);
    for (uint32_t i = 0; i < distinct; i++) append_double(out, table[i]);
    for (uint32_t i = 0; i < n; i++) {
        if (distinct == 0) {
            append_double(out, postings[i].score);
            continue;
        }
        const double *at = bsearch(&postings[i].score, table, distinct, sizeof(*table), compare_doubles);
        (void) buf_append_u8(out, (uint8_t) (at - table));
    }
    return out->failed ? RAISE(err, ST_NOMEM, "no memory for a block of postings") : ST_OK;
}

static status damaged(struct err *err, const char *what) {
    return RAISE(err, ST_CORRUPT, "a block of postings is damaged: %s", what);
}

status block_read_head(struct slice value, uint64_t first, struct block_head *out, struct err *err) {
    const uint8_t *p = value.p, *end = p + value.len;
    uint64_t count, range;
    size_t used;
    struct block_head head = {.first = first, .last = first, .count = 1};
    if (value.len == 9 && *p == BLOCK_ONE) {
        memcpy(&head.score_max, p + 1, 8);
    } else {
        if (value.len == 0 || *p++ != BLOCK_SEVERAL) return damaged(err, "unknown format");
        if ((used = varint_get(p, end, &count)) == 0 || count < 2 || count > BLOCK_COUNT_MAX)
            return damaged(err, "count");
        p += used;
        if ((used = varint_get(p, end, &range)) == 0 || range >= UINT64_MAX - first || range < count - 1)
            return damaged(err, "range");
        p += used;
        /* count - 1 numbers, the table's length, a score or an index each: what is decoded is bounded by what is there */
        if (end - p < 8 || (uint64_t) (end - p) - 8 < 2 * count) return damaged(err, "too short");
        head.last = first + range;
        head.count = (uint32_t) count;
        head.rest = slice_of(p + 8, (size_t) (end - p) - 8);
        memcpy(&head.score_max, p, 8);
    }
    if (!(head.score_max >= 0 && head.score_max < HUGE_VAL)) return damaged(err, "score");
    *out = head;
    return ST_OK;
}

static status decode_scores(const struct block_head *head, const uint8_t *p, const uint8_t *end, struct posting *out,
                            struct err *err) {
    uint64_t distinct;
    size_t used = varint_get(p, end, &distinct);
    if (used == 0 || distinct > DISTINCT_MAX) return damaged(err, "table of scores");
    p += used;
    if ((uint64_t) (end - p) != (distinct == 0 ? (uint64_t) head->count * 8 : distinct * 8 + head->count))
        return damaged(err, "scores");
    for (uint32_t i = 0; i < head->count; i++) {
        const uint8_t *at = p + (size_t) i * 8;
        if (distinct != 0) {
            uint8_t idx = p[distinct * 8 + i];
            if (idx >= distinct) return damaged(err, "score index");
            at = p + (size_t) idx * 8;
        }
        memcpy(&out[i].score, at, 8);
        if (!(out[i].score >= 0 && out[i].score <= head->score_max))
            return damaged(err, "a score above the block's best");
    }
    return ST_OK;
}

status block_decode(const struct block_head *head, struct posting *out, struct err *err) {
    const uint8_t *p = head->rest.p, *end = p + head->rest.len;
    uint64_t number = head->first, delta;
    if (head->rest.len == 0) {
        out[0] = (struct posting){head->first, head->score_max};
        return ST_OK;
    }
    out[0].number = number;
    for (uint32_t i = 1; i < head->count; i++) {
        size_t used = varint_get(p, end, &delta);
        if (used == 0 || delta == 0 || delta > head->last - number) return damaged(err, "numbers");
        p += used;
        out[i].number = number += delta;
    }
    if (number != head->last) return damaged(err, "last number");
    return decode_scores(head, p, end, out, err);
}
