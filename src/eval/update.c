/* Compiling updates, replacements, and building the document of an upsert; update.h is the contract, update_internal.h
 * tells how an update is held.
 *
 * An update: {$op: {path: argument, ...}, ...} becomes leaves, the leaves a tree (path_tree.h), the tree is merged with
 * a document (update_apply.c). */
#include "base/codes.h"
#include "bson/compare.h"
#include "eval/describe.h"
#include "eval/update_internal.h"

static status no_memory(struct err *err) { return RAISE(err, ST_NOMEM, "update"); }

static const struct update_op *find_op(struct slice name) {
    static const struct update_op *const families[] = {update_field_ops, update_array_ops};
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        for (const struct update_op *op = families[i]; op->name != NULL; op++) {
            if (slice_equal(name, slice_str(op->name))) return op;
        }
    }
    return NULL;
}

/* --- compiling ------------------------------------------------------------------------------------------------- */

/* Positional parts. A name that begins with $ is fine wherever the document has it already: see check_new_name. */
static status check_part(const struct path *path, uint32_t i, struct err *err) {
    struct slice name = path->parts[i].name;
    if (name.p[0] != '$') return ST_OK;
    enum positional kind = update_part_kind(name);
    if (kind == PART_NAME || i != 0) return ST_OK;
    return RAISE_CODE(err, CODE_BadValue, "Cannot have %s element in the first position in path '%.*s'",
                      kind != PART_MATCHED ? "array filter identifier (i.e. '$[<id>]')" : "positional (i.e. '$')",
                      SLICE_ARGS(path->text));
}

static status check_path(const struct path *path, struct err *err) {
    if (path->text.len == 0) return RAISE_CODE(err, CODE_EmptyFieldName, "An empty update path is not valid.");
    for (uint32_t i = 0; i < path->part_count; i++) {
        if (path->parts[i].name.len == 0)
            return RAISE_CODE(err, CODE_EmptyFieldName,
                              "The update path '%.*s' contains an empty field name, which is not allowed.",
                              SLICE_ARGS(path->text));
    }
    for (uint32_t i = 0; i < path->part_count; i++) TRY(check_part(path, i, err));
    return ST_OK;
}

static status check_rename_path(const struct path *path, const char *which, struct err *err) {
    if (update_path_fixed(path) == path->part_count) return ST_OK;
    return RAISE_CODE(err, CODE_BadValue, "The %s field for $rename may not be dynamic: %.*s", which,
                      SLICE_ARGS(path->text));
}

static status parse_leaf(struct update_parse *ps, const struct update_op *op, struct belem field) {
    struct update_leaf *leaf = &ps->leaves[ps->leaf_count++];
    leaf->op = op;
    TRY(path_parse(ps->arena, field.name, &leaf->path, ps->err));
    TRY(check_path(&leaf->path, ps->err));
    TRY(op->parse(ps, field, leaf));
    if (leaf->source.part_count == 0) return ST_OK;
    TRY(check_path(&leaf->path, ps->err));
    TRY(check_rename_path(&leaf->source, "source", ps->err));
    TRY(check_rename_path(&leaf->path, "destination", ps->err));
    ps->leaves[ps->leaf_count++] = (struct update_leaf){.op = &update_rename_source, .path = leaf->source};
    return ST_OK;
}

static status parse_operator(struct update_parse *ps, struct belem e) {
    struct description d;
    const struct update_op *op = find_op(e.name);
    if (op == NULL)
        return RAISE_CODE(
            ps->err, CODE_FailedToParse,
            "Unknown modifier: %.*s. Expected a valid update modifier or pipeline-style update specified as an array",
            SLICE_ARGS(e.name));
    if (op->parse == NULL) return RAISE(ps->err, ST_UNSUPPORTED, "the update operator %s is not supported", op->name);
    if (e.value.type != B_DOCUMENT)
        return RAISE_CODE(
            ps->err, CODE_FailedToParse,
            "Modifiers operate on fields but we found type %s instead. For example: {$mod: {<field>: ...}} not {%s}",
            btype_name(e.value.type), describe_field(&d, e.name, e.value));
    struct biter it = biter_of(bval_doc(e.value));
    struct belem field;
    while (biter_next(&it, &field)) TRY(parse_leaf(ps, op, field));
    return ST_OK;
}

/* How many leaves there will be at most: $rename makes two of a field. */
static size_t count_leaves(struct bdoc doc) {
    struct biter it = biter_of(doc);
    struct belem e;
    size_t count = 0;
    while (biter_next(&it, &e)) {
        if (e.value.type == B_DOCUMENT) count += 2 * (size_t) bdoc_count(bval_doc(e.value));
    }
    return count;
}

static status conflict(const struct path_collision *c, bool from_query, struct err *err) {
    const struct path *shorter = c->first->part_count < c->second->part_count ? c->first : c->second;
    const struct path *longer = shorter == c->first ? c->second : c->first;
    if (!from_query)
        return RAISE_CODE(err, CODE_ConflictingUpdateOperators,
                          "Updating the path '%.*s' would create a conflict at '%.*s'", SLICE_ARGS(c->second->text),
                          SLICE_ARGS(shorter->text));
    if (shorter->part_count == longer->part_count)
        return RAISE_CODE(err, CODE_NotSingleValueField,
                          "cannot infer query fields to set, path '%.*s' is matched twice", SLICE_ARGS(shorter->text));
    return RAISE_CODE(err, CODE_NotSingleValueField,
                      "cannot infer query fields to set, both paths '%.*s' and '%.*s' are matched",
                      SLICE_ARGS(longer->text), SLICE_ARGS(shorter->text));
}

/* The tree of updates, or, when `from_query`, of the equalities of a query. */
static status build_tree(struct arena *arena, const struct update_leaf *leaves, uint32_t count, bool from_query,
                         struct path_node *root, struct err *err) {
    struct path_collision collision;
    struct path_place *places = arena_array(arena, struct path_place, (size_t) count + 1);
    if (places == NULL) return no_memory(err);
    for (uint32_t i = 0; i < count; i++) places[i] = (struct path_place){&leaves[i].path, &leaves[i]};
    TRY(path_tree_build(arena, places, count, root, &collision, err));
    return collision.found ? conflict(&collision, from_query, err) : ST_OK;
}

static status finish_operators(struct update_parse *ps, struct update *u) {
    u->leaves = ps->leaves;
    u->leaf_count = ps->leaf_count;
    u->paths = arena_array(ps->arena, struct path, ps->leaf_count + 1);
    u->renames = arena_array(ps->arena, const struct update_leaf *, ps->leaf_count + 1);
    if (u->paths == NULL || u->renames == NULL) return no_memory(ps->err);
    for (uint32_t i = 0; i < u->leaf_count; i++) {
        const struct update_leaf *leaf = &u->leaves[i];
        u->paths[i] = update_path_prefix(&leaf->path, update_path_fixed(&leaf->path));
        if (u->paths[i].part_count != leaf->path.part_count) u->is_positional = true;
        if (leaf->source.part_count != 0) u->renames[u->rename_count++] = leaf;
        if (slice_equal(leaf->path.parts[0].name, SLICE_LIT("_id"))) u->touches_id = true;
    }
    return build_tree(ps->arena, u->leaves, u->leaf_count, false, &u->root, ps->err);
}

static void release_leaves(struct update_leaf *leaves, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (leaves[i].condition != NULL) matcher_release(leaves[i].condition);
    }
}

static status compile_operators(const struct mem *mem, struct arena *arena, struct bdoc doc, struct update *u,
                                struct err *err) {
    struct update_parse ps = {.mem = mem, .arena = arena, .err = err};
    struct biter it = biter_of(doc);
    struct belem e;
    status st = ST_OK;
    size_t count = count_leaves(doc);
    ps.leaves = arena_array(arena, struct update_leaf, count + 1);
    if (ps.leaves == NULL) return no_memory(err);
    while (st == ST_OK && biter_next(&it, &e)) st = parse_operator(&ps, e);
    if (st == ST_OK) st = finish_operators(&ps, u);
    if (st == ST_OK) st = update_filters_check(u, doc, err);
    if (st != ST_OK) release_leaves(ps.leaves, ps.leaf_count);
    return st;
}

static status check_replacement(struct bdoc doc, struct err *err) {
    struct biter it = biter_of(doc);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.name.len != 0 && e.name.p[0] == '$')
            return RAISE_CODE(
                err, CODE_DollarPrefixedFieldName,
                "The dollar ($) prefixed field '%.*s' in '%.*s' is not allowed in the context of an update's "
                "replacement document. Consider using an aggregation pipeline with $replaceWith.",
                SLICE_ARGS(e.name), SLICE_ARGS(e.name));
    }
    return ST_OK;
}

status update_compile(const struct mem *mem, struct arena *arena, struct bdoc doc, struct update **out,
                      struct err *err) {
    return update_compile_with(mem, arena, doc, (struct bdoc){NULL, 0}, out, err);
}

status update_compile_with(const struct mem *mem, struct arena *arena, struct bdoc doc, struct bdoc array_filters,
                           struct update **out, struct err *err) {
    struct biter it = biter_of(doc);
    struct belem e;
    struct update *u = arena_new(arena, struct update);
    if (u == NULL) return no_memory(err);
    u->mem = mem;
    u->kind = biter_next(&it, &e) && e.name.len != 0 && e.name.p[0] == '$' ? UPDATE_OPERATORS : UPDATE_REPLACEMENT;
    u->replacement = doc;
    status st = update_filters_parse(u, arena, array_filters, err);
    if (st == ST_OK && u->kind == UPDATE_OPERATORS) st = compile_operators(mem, arena, doc, u, err);
    else if (st == ST_OK) st = check_replacement(doc, err);
    if (st == ST_OK && u->kind == UPDATE_REPLACEMENT) st = update_filters_check(u, doc, err);
    if (st == ST_OK) *out = u;
    else update_filters_release(u);
    return st;
}

void update_release(struct update *u) {
    if (u == NULL) return;
    release_leaves(u->leaves, u->leaf_count);
    update_filters_release(u);
    update_pipeline_release(u->pipeline);
}

enum update_kind update_kind_of(const struct update *u) { return u->kind; }

const struct path *update_paths(const struct update *u, uint32_t *count, bool *all) {
    *all = u->kind != UPDATE_OPERATORS;
    *count = u->leaf_count;
    return u->paths;
}

/* --- replacements ---------------------------------------------------------------------------------------------- */

/* _id first, then the replacement's other fields. `fills`: a zero timestamp at the top means now. */
static status write_replacement(struct apply *ap, struct bdoc doc, struct bval id, bool fills) {
    uint8_t bytes[8];
    struct biter it = biter_of(doc);
    struct belem e;
    size_t start = ap->out->len;
    (void) buf_append_u32(ap->out, 0);
    ap->depth = 1;
    if (id.type != B_MISSING) TRY(update_put(ap, SLICE_LIT("_id"), id));
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("_id"))) continue;
        put_le64(bytes, ap->env->timestamp);
        if (fills && e.value.type == B_TIMESTAMP && bval_timestamp(e.value) == 0) e.value.p = bytes;
        TRY(update_put(ap, e.name, e.value));
    }
    update_close(ap, start);
    return update_check_result(ap, start);
}

/* By `doc`: the replacement, or what a pipeline made. */
static status replace(struct apply *ap, const struct update *u, struct bdoc doc, enum outcome *outcome) {
    struct description d;
    struct bval old_id = bdoc_get_str(ap->original, "_id"), id = bdoc_get_str(doc, "_id");
    if (id.type != B_MISSING && old_id.type != B_MISSING && !bval_equal(id, old_id))
        return RAISE_CODE(ap->err, CODE_ImmutableField,
                          "After applying the update, the (immutable) field '_id' was found to have been altered to %s",
                          describe_field(&d, SLICE_LIT("_id"), id));
    size_t start = ap->out->len;
    TRY(write_replacement(ap, doc, old_id.type != B_MISSING ? old_id : id, u->kind == UPDATE_REPLACEMENT));
    bool is_same =
        ap->out->len - start == ap->original.len && memcmp(ap->out->p + start, ap->original.p, ap->original.len) == 0;
    if (is_same) ap->out->len = start;
    *outcome = is_same ? SAME : WRITTEN;
    return ST_OK;
}

/* --- applying -------------------------------------------------------------------------------------------------- */

static status check_rename(const struct apply *ap, const struct path *path, const char *which) {
    struct description id;
    struct slice array;
    (void) update_lookup(ap->original, path, &array);
    if (array.p == NULL) return ST_OK;
    return RAISE_CODE(ap->err, CODE_BadValue,
                      "The %s field cannot be an array element, '%.*s' in doc with %s has an array field called '%.*s'",
                      which, SLICE_ARGS(path->text), describe_id(&id, ap->original), SLICE_ARGS(array));
}

static status check_renames(const struct apply *ap, const struct update *u) {
    for (uint32_t i = 0; i < u->rename_count; i++) {
        TRY(check_rename(ap, &u->renames[i]->source, "source"));
        if (update_lookup(ap->original, &u->renames[i]->source, NULL).type == B_MISSING) continue;
        TRY(check_rename(ap, &u->renames[i]->path, "destination"));
    }
    return ST_OK;
}

static status check_id(const struct apply *ap, struct bdoc after) {
    struct bval old_id = bdoc_get_str(ap->original, "_id");
    if (old_id.type == B_MISSING || bval_equal(old_id, bdoc_get_str(after, "_id"))) return ST_OK;
    return RAISE_CODE(ap->err, CODE_ImmutableField,
                      "Performing an update on the path '_id' would modify the immutable field '_id'");
}

static struct bdoc tail_doc(const struct buf *out, size_t start) {
    return (struct bdoc){out->p + start, (uint32_t) (out->len - start)};
}

static status apply_to(struct apply *ap, const struct update *u, enum outcome *outcome) {
    size_t start = ap->out->len;
    if (u->kind == UPDATE_REPLACEMENT) return replace(ap, u, u->replacement, outcome);
    if (u->kind == UPDATE_PIPELINE) {
        struct bdoc made;
        TRY(update_pipeline_run(ap, u->pipeline, ap->original, &made));
        return replace(ap, u, made, outcome);
    }
    TRY(check_renames(ap, u));
    struct path_node expanded;
    if (u->is_positional) TRY(update_expand(ap, u, &expanded));
    TRY(update_merge(ap, u->is_positional ? &expanded : &u->root, ap->original, outcome));
    return *outcome == WRITTEN && u->touches_id ? check_id(ap, tail_doc(ap->out, start)) : ST_OK;
}

status update_apply(const struct update *u, struct bdoc doc, const struct update_env *env, struct arena *scratch,
                    struct buf *out, struct bdoc *result, bool *changed, struct err *err) {
    struct apply ap = {.original = doc, .env = env, .scratch = scratch, .out = out, .err = err};
    enum outcome outcome = SAME;
    size_t start = out->len;
    status st = apply_to(&ap, u, &outcome);
    if (st != ST_OK) {
        out->len = start;
        return st;
    }
    *changed = outcome == WRITTEN;
    *result = *changed ? tail_doc(out, start) : doc;
    return ST_OK;
}

/* --- upserts --------------------------------------------------------------------------------------------------- */

static const struct update_op *set_op(void) { return find_op(SLICE_LIT("$set")); }

static void add_equality(const struct match_node *n, bool only_id, struct update_leaf *leaves, uint32_t *count) {
    if (n->op != MATCH_EQ || n->path.part_count == 0) return;
    if (only_id && !slice_equal(n->path.parts[0].name, SLICE_LIT("_id"))) return;
    leaves[(*count)++] = (struct update_leaf){.op = set_op(), .path = n->path, .arg = n->value};
}

/* {} with the equalities of the query set, in scratch memory. A replacement takes its _id only. */
static status build_base(struct apply *ap, const struct matcher *query, bool only_id, struct bdoc *base) {
    const struct match_node *root = query->root;
    struct path_node tree;
    uint32_t count = 0;
    enum outcome outcome = SAME;
    struct update_leaf *leaves = arena_array(ap->scratch, struct update_leaf, root->child_count + 1);
    if (leaves == NULL) return no_memory(ap->err);
    if (root->op == MATCH_AND) {
        for (uint32_t i = 0; i < root->child_count; i++) add_equality(root->children[i], only_id, leaves, &count);
    } else {
        add_equality(root, only_id, leaves, &count);
    }
    TRY(build_tree(ap->scratch, leaves, count, true, &tree, ap->err));
    size_t start = ap->out->len;
    TRY(update_merge(ap, &tree, bdoc_empty, &outcome));
    *base = bdoc_empty;
    if (outcome == SAME) return ST_OK;
    struct bdoc doc = tail_doc(ap->out, start);
    base->p = arena_copy(ap->scratch, doc.p, doc.len);
    base->len = doc.len;
    ap->out->len = start;
    return base->p == NULL ? no_memory(ap->err) : ST_OK;
}

static status check_upsert_id(struct apply *ap, const struct update *u) {
    struct description from, to;
    struct bval id = bdoc_get_str(u->replacement, "_id"), query_id = bdoc_get_str(ap->original, "_id");
    if (u->kind != UPDATE_REPLACEMENT || id.type == B_MISSING || query_id.type == B_MISSING || bval_equal(id, query_id))
        return ST_OK;
    return RAISE_CODE(ap->err, CODE_ImmutableField, "The _id field cannot be changed from {%s} to {%s}.",
                      describe_field(&from, SLICE_LIT("_id"), query_id), describe_field(&to, SLICE_LIT("_id"), id));
}

/* Writes the document at out's end anew with _id in front. */
static status move_id_first(struct apply *ap, size_t start) {
    struct bdoc doc = tail_doc(ap->out, start);
    struct bval id = bdoc_get_str(doc, "_id");
    if (id.type == B_MISSING || id.p == doc.p + 9)
        return ST_OK; /* length, type, "_id" and its zero: it is first already */
    struct bdoc copy = {arena_copy(ap->scratch, doc.p, doc.len), doc.len};
    if (copy.p == NULL) return no_memory(ap->err);
    struct biter it = biter_of(copy);
    struct belem e;
    ap->out->len = start;
    ap->depth = 1;
    (void) buf_append_u32(ap->out, 0);
    TRY(update_put(ap, SLICE_LIT("_id"), bdoc_get_str(copy, "_id")));
    while (biter_next(&it, &e)) {
        if (!slice_equal(e.name, SLICE_LIT("_id"))) TRY(update_put(ap, e.name, e.value));
    }
    update_close(ap, start);
    return update_check_result(ap, start);
}

static status upsert(struct apply *ap, const struct update *u, const struct matcher *query) {
    size_t start = ap->out->len;
    enum outcome outcome = SAME;
    struct bdoc base;
    TRY(build_base(ap, query, u->kind == UPDATE_REPLACEMENT, &base));
    ap->original = base;
    TRY(check_upsert_id(ap, u));
    TRY(apply_to(ap, u, &outcome));
    if (outcome == SAME) {
        (void) buf_append(ap->out, base.p, base.len);
        TRY(update_check_result(ap, start));
    }
    return move_id_first(ap, start);
}

status update_upsert(const struct update *u, const struct matcher *query, const struct update_env *env,
                     struct arena *scratch, struct buf *out, struct bdoc *result, struct err *err) {
    struct apply ap = {
        .original = bdoc_empty, .env = env, .scratch = scratch, .out = out, .err = err, .is_insert = true};
    size_t start = out->len;
    status st = upsert(&ap, u, query);
    if (st != ST_OK) {
        out->len = start;
        return st;
    }
    *result = tail_doc(out, start);
    return ST_OK;
}
