/* Reading a term's postings; see stream.h. */
#include "index/text/stream.h"

#include <stdlib.h>

#include "index/key.h"

static status read_entry(struct stream *s, status st, struct err *err);
static status load_group(struct stream *s, struct err *err);

status stream_open(struct stream *s, const struct text_index *ix, struct kv_txn *txn, struct slice term,
                   const struct mem *mem, struct err *err) {
    struct buf lo, hi;
    *s = (struct stream){.mem = mem};
    buf_init(&s->bytes, mem);
    buf_init(&lo, mem);
    buf_init(&hi, mem);
    text_key_term(ix, &lo, term);
    (void) buf_append(&hi, lo.p, lo.len);
    if (!lo.failed && !hi.failed) key_successor(&hi);
    status st = ST_OK;
    if (lo.failed || hi.failed) {
        st = RAISE(err, ST_NOMEM, "no memory for a text search");
    } else {
        struct kv_bounds bounds = {buf_slice(&lo), buf_slice(&hi)};
        s->prefix_len = lo.len;
        st = kv_cursor_open(txn, &bounds, &s->cursor, err);
    }
    buf_release(&lo);
    buf_release(&hi);
    TRY(st);
    TRY(read_entry(s, kv_first(s->cursor, err), err));
    return load_group(s, err);
}

void stream_close(struct stream *s) {
    kv_cursor_close(s->cursor);
    s->cursor = NULL;
    if (s->mem == NULL) return;
    buf_release(&s->bytes);
    mem_free(s->mem, s->blocks, s->block_cap * sizeof(*s->blocks));
    mem_free(s->mem, s->postings, s->posting_cap * sizeof(*s->postings));
    s->blocks = NULL;
    s->postings = NULL;
    s->block_cap = s->posting_cap = 0;
}

/* After a move of the cursor: reads the block it stands on. */
static status read_entry(struct stream *s, status st, struct err *err) {
    struct slice value;
    uint64_t first;
    s->has_entry = false;
    if (st == ST_END) return ST_OK;
    TRY(st);
    TRY(text_key_read_number(kv_cursor_key(s->cursor), s->prefix_len, &first, err));
    TRY(kv_cursor_value(s->cursor, &value, err));
    TRY(block_read_head(value, first, &s->entry, err));
    s->keys_examined++;
    s->has_entry = true;
    return ST_OK;
}

void stream_rest(struct stream *s) {
    kv_cursor_rest(s->cursor);
    s->is_rested = true;
}

static status borrow_again(struct stream *s, struct err *err) {
    struct slice value;
    s->is_rested = false;
    TRY(kv_cursor_value(s->cursor, &value, err));
    return block_read_head(value, s->entry.first, &s->entry, err);
}

/* Takes the block under the cursor into the group and moves the cursor. */
static status take_block(struct stream *s, struct err *err) {
    if (s->is_rested) TRY(borrow_again(s, err));
    const struct block_head *head = &s->entry;
    void *blocks = s->blocks;
    if (!mem_grow(s->mem, &blocks, &s->block_cap, s->block_count + 1, sizeof(*s->blocks)))
        return RAISE(err, ST_NOMEM, "no memory for a text search");
    s->blocks = blocks;
    struct stream_block *b = &s->blocks[s->block_count++];
    b->head = *head;
    b->rest_at = s->bytes.len;
    if (head->rest.len != 0 && !buf_append_slice(&s->bytes, head->rest))
        return RAISE(err, ST_NOMEM, "no memory for a text search");
    s->count += head->count;
    if (head->last > s->last) s->last = head->last;
    if (head->score_max > s->score_max) s->score_max = head->score_max;
    return read_entry(s, kv_next(s->cursor, err), err);
}

static status load_group(struct stream *s, struct err *err) {
    s->block_count = 0;
    s->count = s->at = 0;
    s->score_max = 0;
    s->is_decoded = false;
    s->is_done = !s->has_entry;
    buf_clear(&s->bytes);
    if (s->is_done) return ST_OK;
    s->first = s->last = s->entry.first;
    TRY(take_block(s, err));
    while (s->has_entry && s->entry.first <= s->last) TRY(take_block(s, err));
    return ST_OK;
}

status stream_seek(struct stream *s, uint64_t number, struct err *err) {
    while (!s->is_done && s->last < number) TRY(load_group(s, err));
    return ST_OK;
}

static int compare_postings(const void *x, const void *y) {
    const struct posting *a = x, *b = y;
    return (a->number > b->number) - (a->number < b->number);
}

static status decode_group(struct stream *s, struct err *err) {
    void *postings = s->postings;
    uint32_t at = 0;
    if (!mem_grow(s->mem, &postings, &s->posting_cap, s->count, sizeof(*s->postings)))
        return RAISE(err, ST_NOMEM, "no memory for a text search");
    s->postings = postings;
    for (size_t i = 0; i < s->block_count; i++) {
        struct block_head head = s->blocks[i].head;
        if (head.rest.len != 0) head.rest.p = s->bytes.p + s->blocks[i].rest_at;
        TRY(block_decode(&head, s->postings + at, err));
        at += head.count;
    }
    if (s->block_count > 1) qsort(s->postings, s->count, sizeof(*s->postings), compare_postings);
    s->is_decoded = true;
    s->at = 0;
    return ST_OK;
}

status stream_decode(struct stream *s, uint64_t number, struct err *err) {
    if (!s->is_decoded) TRY(decode_group(s, err));
    uint32_t lo = s->at, hi = s->count;
    if (lo < hi && s->postings[lo].number >= number) return ST_OK;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->postings[mid].number < number) lo = mid + 1;
        else hi = mid;
    }
    s->at = lo;
    return ST_OK;
}

status stream_has(struct stream *s, uint64_t number, bool *has, struct err *err) {
    *has = false;
    TRY(stream_seek(s, number, err));
    if (s->is_done || s->first > number) return ST_OK;
    TRY(stream_decode(s, number, err));
    *has = s->at < s->count && s->postings[s->at].number == number;
    return ST_OK;
}
