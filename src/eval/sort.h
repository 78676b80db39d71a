/* A stable sort that allocates nothing: the caller lends the second half. */
#ifndef ELMO_EVAL_SORT_H
#define ELMO_EVAL_SORT_H

#include <stddef.h>
#include <string.h>

#include "bson/compare.h"

struct sort_item {
    struct bval value;
    struct slice key; /* p NULL: the value is the key */
};

static inline int sort_item_compare(const struct sort_item *a, const struct sort_item *b) {
    return a->key.p != NULL ? slice_compare(a->key, b->key) : bval_compare(a->value, b->value);
}

/* Ascending for sign 1, descending for -1. `spare` holds n items, too. */
void sort_items(struct sort_item *items, struct sort_item *spare, size_t n, int sign);

#endif
