/* Accumulators as rows; accum.h is the contract. */
#ifndef ELMO_EVAL_ACCUM_INTERNAL_H
#define ELMO_EVAL_ACCUM_INTERNAL_H

#include "eval/accum.h"
#include "eval/expr_sum.h"
#include "eval/sort_key.h"

struct accum_op {
    const char *name;
    size_t state_len;
    status (*add)(struct accum_run *r, const struct accum *a, void *state, struct bval v, struct err *err);
    status (*result)(struct accum_run *r, const struct accum *a, void *state, struct bval *out);
    void (*release)(struct accum_run *r, void *state); /* NULL: nothing to give back */
    /* Reads an argument of its own form; NULL: one expression. */
    status (*parse)(struct expr_scope *scope, struct bval arg, struct accum *out, struct err *err);
    /* Adds what `from` has seen; NULL: that takes all values again. */
    status (*merge)(struct accum_run *r, void *into, const void *from, struct err *err);
};

extern const struct accum_op accum_ops[], accum_n_ops[];

/* A value that outlives its row: short ones in place. */
struct kept_value {
    uint8_t type; /* B_MISSING: none */
    bool is_set;
    uint32_t len, cap;
    uint8_t *p; /* cap != 0 */
    uint8_t few[16];
};
status kept_set(struct accum_run *r, struct kept_value *k, struct bval v, struct err *err);
struct bval kept_get(const struct kept_value *k);
void kept_release(struct accum_run *r, struct kept_value *k);

/* A buffer whose memory the run counts. */
status accum_append(struct accum_run *r, struct buf *buf, const void *p, size_t len, struct err *err);
void accum_buf_release(struct accum_run *r, struct buf *buf);

#endif
