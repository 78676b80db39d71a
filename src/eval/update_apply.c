/* Applying an update: one merge of the old document with the tree of changes.
 *
 * Fields that no change meets are copied in runs: the bytes between two changes are one memcpy. At a field with a
 * change the pending run is written first, then the operator writes the field anew, or leaves it alone, in which case
 * the run goes on with it. What a document turns out not to need is taken back by cutting `out`. */
#include "base/codes.h"
#include "bson/compare.h"
#include "eval/describe.h"
#include "eval/update_internal.h"

enum {
    ARRAY_PADDING_MAX = 1500000, /* MongoDB's limit of nulls added before a new element */
    CODE_CannotBackfillArray = 34,
    CODE_RESULT_TOO_LARGE = 17419,
};

static const struct bval null_value = {(const uint8_t *) "", 0, B_NULL};

static status apply_node(struct apply *ap, const struct path_node *node, struct bval old, struct slice name,
                         enum outcome *outcome);

/* --- writing --------------------------------------------------------------------------------------------------- */

static void put_head(struct buf *out, uint8_t type, struct slice name) {
    uint8_t *p = buf_extend(out, name.len + 2);
    if (p == NULL) return;
    p[0] = type;
    if (name.len != 0) memcpy(p + 1, name.p, name.len);
    p[1 + name.len] = 0;
}

static uint32_t depth_of(struct bval v, uint32_t limit) {
    if (v.type != B_DOCUMENT && v.type != B_ARRAY) return 0;
    if (limit == 0) return 1;
    struct biter it = biter_of(bval_doc(v));
    struct belem e;
    uint32_t deepest = 0;
    while (biter_next(&it, &e)) {
        uint32_t depth = depth_of(e.value, limit - 1);
        if (depth > deepest) deepest = depth;
    }
    return deepest + 1;
}

static status too_deep(struct apply *ap) {
    return RAISE_CODE(ap->err, CODE_Overflow, "Document exceeds maximum nested object depth: %d", BSON_DEPTH_MAX);
}

status update_check_depth(struct apply *ap, struct bval v) {
    return ap->depth + depth_of(v, BSON_DEPTH_MAX) > BSON_DEPTH_MAX ? too_deep(ap) : ST_OK;
}

status update_put(struct apply *ap, struct slice name, struct bval v) {
    TRY(update_check_depth(ap, v));
    put_head(ap->out, v.type, name);
    (void) buf_append(ap->out, v.p, v.len);
    return ST_OK;
}

status update_put_new(struct apply *ap, struct slice name, struct bval old, struct bval v, enum outcome *outcome) {
    *outcome = bval_identical(old, v) ? SAME : WRITTEN;
    return *outcome == SAME ? ST_OK : update_put(ap, name, v);
}

size_t update_open(struct apply *ap, uint8_t type, struct slice name) {
    put_head(ap->out, type, name);
    size_t at = ap->out->len;
    (void) buf_append_u32(ap->out, 0);
    return at;
}

void update_close(struct apply *ap, size_t at) {
    if (buf_append_u8(ap->out, 0)) put_le32(ap->out->p + at, (uint32_t) (ap->out->len - at));
}

/* Decimal digits of an array's position. */
static struct slice position_name(uint64_t idx, uint8_t digits[20]) {
    size_t at = 20;
    do {
        digits[--at] = (uint8_t) ('0' + idx % 10);
        idx /= 10;
    } while (idx != 0);
    return slice_of(digits + at, 20 - at);
}

void update_push_element(struct apply *ap, uint32_t idx, struct bval v) {
    uint8_t digits[20];
    put_head(ap->out, v.type, position_name(idx, digits));
    (void) buf_append(ap->out, v.p, v.len);
}

status update_too_large(struct apply *ap) {
    return err_raise(ap->err, ST_TOO_LARGE, CODE_RESULT_TOO_LARGE, __FILE__, __LINE__,
                     "Resulting document after update is larger than %u", (unsigned) BSON_LEN_MAX);
}

status update_check_result(struct apply *ap, size_t start) {
    if (ap->out->failed) return RAISE(ap->err, ST_NOMEM, "updated document");
    return ap->out->len - start > BSON_LEN_MAX ? update_too_large(ap) : ST_OK;
}

struct bval update_lookup(struct bdoc doc, const struct path *path, struct slice *array) {
    struct bval v = {doc.p, doc.len, B_DOCUMENT};
    if (array != NULL) *array = SLICE_NONE;
    for (uint32_t i = 0; i < path->part_count; i++) {
        if (v.type == B_ARRAY && array != NULL && path->parts[i].idx >= 0) *array = path->parts[i - 1].name;
        if (v.type != B_DOCUMENT) return BVAL_MISSING;
        v = bdoc_get(bval_doc(v), path->parts[i].name);
    }
    return v;
}

/* --- paths that lead nowhere ----------------------------------------------------------------------------------- */

static bool is_active(const struct apply *ap, const struct update_leaf *leaf) {
    if ((leaf->op->flags & UPDATE_INSERT_ONLY) != 0) return ap->is_insert;
    return leaf->source.part_count == 0 || update_lookup(ap->original, &leaf->source, NULL).type != B_MISSING;
}

/* The first leaf below that will not be content with a blocked path. */
static const struct update_leaf *find_demanding(const struct apply *ap, const struct path_node *node) {
    const struct update_leaf *leaf = node->leaf;
    if (leaf != NULL) return (leaf->op->flags & UPDATE_TOLERATES) == 0 && is_active(ap, leaf) ? leaf : NULL;
    for (uint32_t i = 0; i < node->child_count; i++) {
        leaf = find_demanding(ap, &node->children[i]);
        if (leaf != NULL) return leaf;
    }
    return NULL;
}

/* `child` cannot be entered from `old`, the value of `name`: a scalar, or an array when the part is no position. */
static status check_blocked(struct apply *ap, const struct path_node *child, struct bval old, struct slice name) {
    struct description d;
    const struct update_leaf *leaf = find_demanding(ap, child);
    if (leaf == NULL) return ST_OK;
    const char *element = describe_field(&d, name, old);
    if ((leaf->op->flags & UPDATE_CREATES) != 0)
        return RAISE_CODE(ap->err, CODE_PathNotViable, "Cannot create field '%.*s' in element {%s}",
                          SLICE_ARGS(child->name.name), element);
    return RAISE_CODE(ap->err, CODE_PathNotViable,
                      "Cannot use the part (%.*s) of (%.*s) to traverse the element ({%s})",
                      SLICE_ARGS(child->name.name), SLICE_ARGS(leaf->path.text), element);
}

/* --- merging --------------------------------------------------------------------------------------------------- */

/* The fields that are there: copied in runs or changed. */
static status merge_fields(struct apply *ap, const struct path_node *node, struct bdoc old, struct path_seen *seen,
                           bool *changed) {
    struct field_scan scan = field_scan_of(old);
    struct field f;
    const uint8_t *run = scan.at;
    while (seen->left != 0 && field_next(&scan, &f)) {
        const struct path_node *child = path_tree_find(node, &f);
        if (child == NULL || path_seen_has(seen, (uint32_t) (child - node->children))) continue;
        path_seen_add(seen, (uint32_t) (child - node->children));
        (void) buf_append(ap->out, run, (size_t) (f.at - run));
        run = f.at;
        enum outcome outcome = SAME;
        TRY(apply_node(ap, child, f.value, f.name, &outcome));
        if (outcome == SAME) continue;
        *changed = true;
        run = scan.at;
    }
    (void) buf_append(ap->out, run, (size_t) (scan.end - run));
    return ST_OK;
}

static const struct update_leaf *first_leaf(const struct path_node *node) {
    while (node->leaf == NULL) node = &node->children[0];
    return node->leaf;
}

/* A field that begins with $ may be changed, but not added to a document's top, except to a new document. */
static status check_new_name(const struct apply *ap, const struct path_node *child) {
    struct slice name = child->name.name;
    if (ap->depth != 1 || ap->is_insert || name.len == 0 || name.p[0] != '$') return ST_OK;
    return RAISE_CODE(ap->err, CODE_DollarPrefixedFieldName,
                      "The dollar ($) prefixed field '%.*s' in '%.*s' is not allowed in the context of an update's "
                      "replacement document. Consider using an aggregation pipeline with $replaceWith.",
                      SLICE_ARGS(name), SLICE_ARGS(first_leaf(child)->path.text));
}

static status merge_document(struct apply *ap, const struct path_node *node, struct bdoc old, bool *changed) {
    struct path_seen seen;
    if (!path_seen_init(&seen, ap->scratch, node)) return RAISE(ap->err, ST_NOMEM, "update");
    TRY(merge_fields(ap, node, old, &seen, changed));
    for (uint32_t i = 0; seen.left != 0 && i < node->child_count; i++) {
        if (path_seen_has(&seen, i)) continue;
        enum outcome outcome = SAME;
        TRY(apply_node(ap, &node->children[i], BVAL_MISSING, node->children[i].name.name, &outcome));
        if (outcome != WRITTEN) continue;
        TRY(check_new_name(ap, &node->children[i]));
        *changed = true;
    }
    return ST_OK;
}

/* A new element past the end, nulls before it. */
static status extend_array(struct apply *ap, const struct path_node *child, uint32_t *count, bool *changed) {
    size_t start = ap->out->len;
    if (child->idx - *count > ARRAY_PADDING_MAX) {
        if (find_demanding(ap, child) == NULL) return ST_OK;
        return RAISE_CODE(ap->err, CODE_CannotBackfillArray, "can't backfill more than %d elements", ARRAY_PADDING_MAX);
    }
    for (uint32_t i = *count; i < (uint64_t) child->idx; i++) update_push_element(ap, i, null_value);
    enum outcome outcome = SAME;
    TRY(apply_node(ap, child, BVAL_MISSING, child->name.name, &outcome));
    if (outcome != WRITTEN) {
        ap->out->len = start;
        return ST_OK;
    }
    *count = (uint32_t) child->idx + 1;
    *changed = true;
    return ST_OK;
}

/* Elements go by position. Positions ascend in `children` and stand before names. */
static status merge_elements(struct apply *ap, const struct path_node *node, struct bdoc old, uint32_t *next,
                             uint32_t *count, bool *changed) {
    struct field_scan scan = field_scan_of(old);
    struct field f;
    const uint8_t *run = scan.at;
    for (; *next < node->child_count && field_next(&scan, &f); ++*count) {
        const struct path_node *child = &node->children[*next];
        if (child->idx != *count) continue;
        ++*next;
        (void) buf_append(ap->out, run, (size_t) (f.at - run));
        run = f.at;
        enum outcome outcome = SAME;
        TRY(apply_node(ap, child, f.value, f.name, &outcome));
        if (outcome == REMOVED) TRY(update_put_new(ap, f.name, f.value, null_value, &outcome)); /* positions stay */
        if (outcome == SAME) continue;
        *changed = true;
        run = scan.at;
    }
    (void) buf_append(ap->out, run, (size_t) (scan.end - run));
    return ST_OK;
}

static status merge_array(struct apply *ap, const struct path_node *node, struct bval old, struct slice name,
                          bool *changed) {
    uint32_t next = 0, count = 0;
    TRY(merge_elements(ap, node, bval_doc(old), &next, &count, changed));
    for (; next < node->child_count; next++) {
        const struct path_node *child = &node->children[next];
        if (child->idx < 0) TRY(check_blocked(ap, child, old, name));
        else TRY(extend_array(ap, child, &count, changed));
    }
    return ST_OK;
}

static status apply_children(struct apply *ap, const struct path_node *node, struct bval old, struct slice name,
                             bool *changed) {
    if (ap->depth >= BSON_DEPTH_MAX) return too_deep(ap);
    ap->depth++;
    if (old.type == B_ARRAY) TRY(merge_array(ap, node, old, name, changed));
    else TRY(merge_document(ap, node, old.type == B_DOCUMENT ? bval_doc(old) : bdoc_empty, changed));
    ap->depth--;
    return ST_OK;
}

static status apply_node(struct apply *ap, const struct path_node *node, struct bval old, struct slice name,
                         enum outcome *outcome) {
    size_t start = ap->out->len;
    bool changed = false;
    *outcome = SAME;
    const struct update_leaf *leaf = node->leaf;
    if (leaf != NULL) {
        if ((leaf->op->flags & UPDATE_INSERT_ONLY) != 0 && !ap->is_insert) return ST_OK;
        return leaf->op->apply(ap, leaf, old, name, outcome);
    }
    if (old.type != B_DOCUMENT && old.type != B_ARRAY && old.type != B_MISSING) {
        for (uint32_t i = 0; i < node->child_count; i++) TRY(check_blocked(ap, &node->children[i], old, name));
        return ST_OK;
    }
    size_t at = update_open(ap, old.type == B_ARRAY ? B_ARRAY : B_DOCUMENT, name);
    TRY(apply_children(ap, node, old, name, &changed));
    update_close(ap, at);
    if (!changed) ap->out->len = start;
    *outcome = changed ? WRITTEN : SAME;
    return ST_OK;
}

status update_merge(struct apply *ap, const struct path_node *root, struct bdoc doc, enum outcome *outcome) {
    size_t start = ap->out->len;
    bool changed = false;
    (void) buf_append_u32(ap->out, 0);
    TRY(apply_children(ap, root, (struct bval){doc.p, doc.len, B_DOCUMENT}, SLICE_NONE, &changed));
    update_close(ap, start);
    TRY(update_check_result(ap, start));
    if (!changed) ap->out->len = start;
    *outcome = changed ? WRITTEN : SAME;
    return ST_OK;
}
