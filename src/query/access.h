/* One way into a collection through one index: which intervals the predicates give its fields, what is then left to check, what order comes out.
 *
 * The documents themselves, keyed by _id, take part as an index of one field that is never multikey.
 *
 * A1  Bounds are combined only where a matching document has one key that satisfies them all: predicates on fields that share a multikey path
 *     prefix (or on one multikey field) combine only inside a common $elemMatch that covers it; negated ones hold for all keys and combine with all.
 * A2  A path with a numeric part means more to a match than to an index: such fields get no bounds, no order, no covering.
 * A3  A sparse index misses documents without any indexed field: used only when a bounded predicate demands one. */
#ifndef ELMO_QUERY_ACCESS_H
#define ELMO_QUERY_ACCESS_H

#include "doc/catalog.h"
#include "eval/sort_key.h"
#include "query/predicate.h"
#include "query/scan_bounds.h"

/* An index as the planner sees it. */
struct index_view {
    const struct index *index; /* NULL: the documents by _id */
    uint32_t field_count;
    const struct index_field *fields;
    uint64_t multikey[INDEX_FIELDS_MAX];
    bool is_multikey, is_sparse, is_unique;
    bool is_opaque[INDEX_FIELDS_MAX]; /* A2 */
};
void index_view_of(const struct index *index, struct index_view *out); /* NULL: by _id */
/* Parts that two indexed paths share. */
bool index_view_shares_array(const struct index_view *v, uint32_t a, uint32_t b);

struct access {
    struct index_view view;
    struct intervals *bounds; /* per field */
    uint32_t bounded_count;   /* fields with narrower bounds than all */
    struct scan_bounds *scan;
    bool *top_done;   /* per member of the conjunction: nothing left to check */
    bool is_present;  /* A3 holds */
    bool has_leading; /* the first field is bounded */
};

/* With predicate `anchor` taken first (UINT32_MAX: in their order). `bounds_of` holds one entry per predicate of the conjunction. */
status access_make(struct bounds_maker *m, const struct index_view *view, const struct conjunction *c,
                   const struct predicate_bounds *bounds_of, uint32_t anchor, struct access **out, struct err *err);

/* Does a scan of it come in this order? *backward: read from the end. *explode: only when its leading points are scanned one by one and merged (the number of leading fields; 0: not needed). */
bool access_gives_sort(const struct access *a, const struct sort_pattern *sort, bool *backward, uint32_t *explode);

/* May a document have several keys inside the bounds? Then it must be emitted at one of them only. */
static inline bool access_repeats(const struct access *a) {
    return a->view.is_multikey && !scan_bounds_is_single(a->scan, a->view.multikey);
}

/* A unique index held to one key, which is scan->lo. */
bool access_is_one_key(const struct access *a);

#endif
