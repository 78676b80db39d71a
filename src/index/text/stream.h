/* A term's postings as an ascending stream of groups. Blocks of one term may overlap in their ranges (T2): a group is a block and all that
 * overlap it, so that groups are disjoint and ascend. A group is decoded only when somebody needs its postings. */
#ifndef ELMO_INDEX_TEXT_STREAM_H
#define ELMO_INDEX_TEXT_STREAM_H

#include "index/text/postings.h"

struct stream_block {
    struct block_head head; /* rest.p is NULL; its bytes are at rest_at in `bytes` */
    size_t rest_at;
};

struct stream {
    struct kv_cursor *cursor;
    const struct mem *mem;
    size_t prefix_len;
    bool has_entry;          /* the cursor stands on a block that is not in the group: */
    struct block_head entry; /* its head, its bytes lent by the cursor */
    bool is_rested;          /* not any more */
    bool is_done;            /* no group */
    uint64_t first, last;    /* of the group */
    double score_max;
    uint32_t count; /* postings in the group */
    struct stream_block *blocks;
    size_t block_count, block_cap;
    struct buf bytes;
    bool is_decoded;
    struct posting *postings;
    size_t posting_cap;
    uint32_t at; /* in postings: the next one */
    uint64_t keys_examined;
};

status stream_open(struct stream *s, const struct text_index *ix, struct kv_txn *txn, struct slice term,
                   const struct mem *mem, struct err *err);
void stream_close(struct stream *s);
/* kv_cursor_rest */
void stream_rest(struct stream *s);
/* Stands on the first group with last >= number; is_done when there is none. Never moves back. */
status stream_seek(struct stream *s, uint64_t number, struct err *err);
/* Decodes the group when needed and stands on its first posting >= number; `at` may be `count`. */
status stream_decode(struct stream *s, uint64_t number, struct err *err);
/* Does the stream have the number? For negated terms; numbers ascend from call to call. */
status stream_has(struct stream *s, uint64_t number, bool *has, struct err *err);

#endif
