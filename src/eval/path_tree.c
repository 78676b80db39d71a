/* Places sorted by path, neighbours sharing what their paths share; see path_tree.h.
 *
 * Sorting first keeps an update of a million fields from costing the square. The sort key of a path, part by part: 01
 * and the position big-endian, or 02, the name and 00; so a path stands right before those that it is a prefix of, and
 * every collision is one between neighbours. */
#include "eval/path_tree.h"

#include "base/endian.h"
#include "eval/sort.h"

static struct slice path_key(struct arena *arena, const struct path *path) {
    size_t len = 0;
    for (uint32_t i = 0; i < path->part_count; i++) len += 9 + path->parts[i].name.len;
    uint8_t *key = arena_alloc(arena, len + 1), *p = key;
    if (key == NULL) return SLICE_NONE;
    for (uint32_t i = 0; i < path->part_count; i++) {
        const struct path_part *part = &path->parts[i];
        if (part->idx >= 0) {
            *p++ = 1;
            put_be64(p, (uint64_t) part->idx);
            p += 8;
        } else {
            *p++ = 2;
            if (part->name.len != 0) memcpy(p, part->name.p, part->name.len);
            p += part->name.len;
            *p++ = 0;
        }
    }
    return slice_of(key, (size_t) (p - key));
}

static int compare_parts(struct slice a, int64_t a_idx, struct slice b, int64_t b_idx) {
    if (a_idx >= 0 && b_idx >= 0) return (a_idx > b_idx) - (a_idx < b_idx);
    if (a_idx >= 0 || b_idx >= 0) return a_idx >= 0 ? -1 : 1;
    return slice_compare(a, b);
}

static uint32_t shared_parts(const struct path *a, const struct path *b) {
    uint32_t n = 0;
    while (n < a->part_count && n < b->part_count && slice_equal(a->parts[n].name, b->parts[n].name)) n++;
    return n;
}

static const struct path *path_of(const struct path_place *places, const struct sort_item *item) {
    return places[item->value.len].path;
}

/* Fills the node with the places of items [from, to), which share `depth` parts. */
static status build(struct arena *arena, const struct sort_item *items, uint32_t from, uint32_t to,
                    const struct path_place *places, uint32_t depth, struct path_node *node, struct err *err) {
    uint32_t count = 0;
    for (uint32_t i = from; i < to; i++) {
        if (i == from || shared_parts(path_of(places, &items[i]), path_of(places, &items[i - 1])) <= depth) count++;
    }
    node->children = arena_array(arena, struct path_node, count);
    if (node->children == NULL) return RAISE(err, ST_NOMEM, "paths");
    for (uint32_t i = from, end; i < to; i = end) {
        const struct path *path = path_of(places, &items[i]);
        struct path_node *child = &node->children[node->child_count++];
        child->name = field_name_of(path->parts[depth].name);
        child->idx = path->parts[depth].idx;
        for (end = i + 1; end < to && shared_parts(path, path_of(places, &items[end])) > depth; end++) {
        }
        if (path->part_count == depth + 1) child->leaf = places[items[i].value.len].leaf;
        else TRY(build(arena, items, i, end, places, depth + 1, child, err));
    }
    return ST_OK;
}

static bool find_collision(const struct sort_item *items, uint32_t count, const struct path_place *places,
                           struct path_collision *out) {
    *out = (struct path_collision){0};
    for (uint32_t i = 1; i < count; i++) {
        const struct sort_item *a = &items[i - 1], *b = &items[i];
        if (shared_parts(path_of(places, a), path_of(places, b)) < path_of(places, a)->part_count) continue;
        bool in_order = a->value.len < b->value.len;
        *out = (struct path_collision){true, path_of(places, in_order ? a : b), path_of(places, in_order ? b : a)};
        return true;
    }
    return false;
}

status path_tree_build(struct arena *arena, const struct path_place *places, uint32_t count, struct path_node *root,
                       struct path_collision *collision, struct err *err) {
    *root = (struct path_node){.idx = -1};
    *collision = (struct path_collision){0};
    if (count == 0) return ST_OK;
    struct sort_item *items = arena_array(arena, struct sort_item, 2 * (size_t) count);
    if (items == NULL) return RAISE(err, ST_NOMEM, "paths");
    for (uint32_t i = 0; i < count; i++) {
        items[i].value.len = i;
        items[i].key = path_key(arena, places[i].path);
        if (items[i].key.p == NULL) return RAISE(err, ST_NOMEM, "paths");
    }
    sort_items(items, items + count, count, 1);
    return find_collision(items, count, places, collision) ? ST_OK
                                                           : build(arena, items, 0, count, places, 0, root, err);
}

/* The canonical position that a name spells (as path_parse has it), -1 when none. */
static int64_t position_of(struct slice name) {
    if (name.len == 0 || name.len > 9 || (name.len > 1 && name.p[0] == '0')) return -1;
    int64_t idx = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] < '0' || name.p[i] > '9') return -1;
        idx = idx * 10 + (name.p[i] - '0');
    }
    return idx;
}

enum { SCAN_CHILDREN_MAX = 8 };

const struct path_node *path_tree_find(const struct path_node *node, const struct field *field) {
    if (node->child_count <= SCAN_CHILDREN_MAX) {
        for (uint32_t i = 0; i < node->child_count; i++) {
            if (field_is(field, &node->children[i].name)) return &node->children[i];
        }
        return NULL;
    }
    int64_t idx = position_of(field->name);
    uint32_t lo = 0, hi = node->child_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = compare_parts(field->name, idx, node->children[mid].name.name, node->children[mid].idx);
        if (c == 0) return &node->children[mid];
        if (c < 0) hi = mid;
        else lo = mid + 1;
    }
    return NULL;
}
