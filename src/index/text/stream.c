/* Reading a term's postings; see stream.h. */
#include "index/text/stream.h"

#include <stdlib.h>

#include "index/key.h"

static status load_group(struct stream *s, struct err *err);

status stream_open(struct stream *s, const struct text_index *ix, struct kv_txn *txn, struct slice term, const struct mem *mem, struct err *err) {
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
    st = kv_first(s->cursor, err);
    if (status_failed(st)) return st;
    s->has_entry = st == ST_OK;
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

static status read_entry(struct stream *s, struct block_head *head, struct err *err) {
    struct slice value;
    uint64_t first;
    TRY(text_key_read_number(kv_cursor_key(s->cursor), s->prefix_len, &first, err));
    TRY(kv_cursor_value(s->cursor, &value, err));
    s->keys_examined++;
    return block_read_head(value, first, head, err);
}

/* Takes the block under the cursor into the group and moves the cursor. */
static status take_block(struct stream *s, struct block_head *head, struct err *err) {
    void *blocks = s->blocks;
    if (!mem_grow(s->mem, &blocks, &s->block_cap, s->block_count + 1, sizeof(*s->blocks))) return RAISE(err, ST_NOMEM, "no memory for a text search");
    s->blocks = blocks;
    struct stream_block *b = &s->blocks[s->block_count++];
    b->head = *head;
    b->rest_at = s->bytes.len;
    if (head->rest.len != 0 && !buf_append_slice(&s->bytes, head->rest)) return RAISE(err, ST_NOMEM, "no memory for a text search");
    s->count += head->count;
    if (head->last > s->last) s->last = head->last;
    if (head->score_max > s->score_max) s->score_max = head->score_max;
    status st = kv_next(s->cursor, err);
    s->has_entry = st == ST_OK;
    return status_failed(st) ? st : ST_OK;
}

static status load_group(struct stream *s, struct err *err) {
    struct block_head head;
    s->block_count = 0;
    s->count = s->at = 0;
    s->score_max = 0;
    s->is_decoded = false;
    s->is_done = !s->has_entry;
    buf_clear(&s->bytes);
    if (s->is_done) return ST_OK;
    TRY(read_entry(s, &head, err));
    s->first = head.first;
    s->last = head.last;
    s->score_max = head.score_max;
    TRY(take_block(s, &head, err));
    while (s->has_entry) {
        TRY(read_entry(s, &head, err));
        if (head.first > s->last) break;
        TRY(take_block(s, &head, err));
    }
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
    if (!mem_grow(s->mem, &postings, &s->posting_cap, s->count, sizeof(*s->postings))) return RAISE(err, ST_NOMEM, "no memory for a text search");
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
