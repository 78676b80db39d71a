/* How an update is held: leaves (one operator on one path) in a tree by path (path_tree.h), and what applying carries
 * along.
 *
 *   U1  Applying writes a field to the end of `out` (WRITTEN), or leaves `out` as it was: the field stays (SAME) or
 * goes (REMOVED). */
#ifndef ELMO_EVAL_UPDATE_INTERNAL_H
#define ELMO_EVAL_UPDATE_INTERNAL_H

#include "bson/number.h"
#include "eval/path_tree.h"
#include "eval/update.h"

enum outcome { SAME, WRITTEN, REMOVED };

enum update_flag {
    UPDATE_CREATES = 1u << 0,   /* makes a field that is missing, and the path to it */
    UPDATE_TOLERATES = 1u << 1, /* a path that a scalar blocks is no error */
    UPDATE_INSERT_ONLY = 1u << 2,
};

struct apply;
struct update_parse;
struct update_leaf;

struct update_op {
    const char *name;
    unsigned flags;
    /* Checks and keeps the argument: {name: {field: argument}}. */
    status (*parse)(struct update_parse *ps, struct belem field, struct update_leaf *leaf);
    /* `old` is B_MISSING when there is no such field. */
    status (*apply)(struct apply *ap, const struct update_leaf *leaf, struct bval old, struct slice name,
                    enum outcome *outcome);
};

struct update_push {
    struct bdoc each; /* of $each; p NULL: the argument itself is the one value */
    int64_t position, slice;
    bool has_position, has_slice;
    int sort;            /* 0: no, 1 or -1: whole elements */
    uint32_t sort_count; /* by fields */
    struct path *sort_paths;
    bool *sort_descending;
};

struct update_leaf {
    const struct update_op *op;
    struct path path;
    struct bval arg;
    struct path source; /* $rename */
    const struct update_push *push;
    struct bval *values; /* $pullAll, ascending */
    uint32_t value_count;
    struct matcher *condition; /* $pull; NULL: by equality */
    bool condition_on_fields;  /* it is a query on the element's fields */
    bool is_timestamp;         /* $currentDate */
    int bit_count;             /* $bit */
    struct update_bit {
        int op;
        struct bnum operand;
    } bits[3];
};

struct array_filter {
    struct slice id;
    struct matcher matcher; /* of {id: ...}, asked by match_value */
    bool is_used;
};

struct update_pipeline;

struct update {
    const struct mem *mem;
    enum update_kind kind;
    struct bdoc replacement;
    struct update_pipeline *pipeline; /* of UPDATE_PIPELINE alone */
    struct path_node root;
    bool touches_id;
    bool is_positional; /* a path has a positional part: `root` is for finding collisions only */
    uint32_t filter_count;
    struct array_filter *filters;
    uint32_t leaf_count, rename_count;
    struct update_leaf *leaves; /* in the order of the update */
    struct path *paths;
    const struct update_leaf **renames;
};

struct update_parse {
    const struct mem *mem;
    struct arena *arena;
    struct err *err;
    struct update_leaf *leaves;
    uint32_t leaf_count;
};

struct apply {
    struct bdoc original;
    const struct update_env *env;
    struct arena *scratch;
    struct buf *out;
    struct err *err;
    uint32_t depth; /* levels that are open around the field being written */
    bool is_insert;
};

/* update_apply.c */
status update_merge(struct apply *ap, const struct path_node *root, struct bdoc doc, enum outcome *outcome);
/* Writes one field; its depth is checked. */
status update_put(struct apply *ap, struct slice name, struct bval v);
/* The same, but SAME when v is what stands there already. */
status update_put_new(struct apply *ap, struct slice name, struct bval old, struct bval v, enum outcome *outcome);
/* Writes type and name and leaves room for a length: where that stands. */
size_t update_open(struct apply *ap, uint8_t type, struct slice name);
void update_close(struct apply *ap, size_t at);
void update_push_element(struct apply *ap, uint32_t idx, struct bval v);
status update_check_depth(struct apply *ap, struct bval v);
status update_check_result(struct apply *ap, size_t start);
status update_too_large(struct apply *ap); /* the failure */

/* update_pipeline.c */
/* The document that the stages make of `doc`, in the pipeline's own buffers until the next time, or `doc` itself. */
status update_pipeline_run(struct apply *ap, struct update_pipeline *p, struct bdoc doc, struct bdoc *result);
void update_pipeline_release(struct update_pipeline *p); /* p may be NULL */

/* update_positional.c */
enum positional { PART_NAME, PART_MATCHED, PART_ALL, PART_FILTERED };
enum positional update_part_kind(struct slice name);
/* How many parts stand before the first positional one. */
uint32_t update_path_fixed(const struct path *path);
/* Its first parts; the text and the parts are shared. */
struct path update_path_prefix(const struct path *path, uint32_t part_count);
/* What is compiled of filters is in `u`, also after a failure: released by update_filters_release. */
status update_filters_parse(struct update *u, struct arena *arena, struct bdoc filters, struct err *err);
void update_filters_release(struct update *u);
/* Every filter is used and every identifier has one; after the leaves were parsed. */
status update_filters_check(struct update *u, struct bdoc update, struct err *err);
/* The tree of the update for the document at hand, in scratch memory. */
status update_expand(struct apply *ap, const struct update *u, struct path_node *root);

/* The value at the path, arrays not entered; *array (may be NULL) becomes the name of the first array met on the way,
 * *array_len its length, p NULL: none. */
struct bval update_lookup(struct bdoc doc, const struct path *path, struct slice *array);

/* The families: ended by a row without a name. */
extern const struct update_op update_field_ops[], update_array_ops[];
extern const struct update_op update_rename_source; /* what $rename does to the field it takes */

#endif
