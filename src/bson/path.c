/* Dotted paths; see path.h. */
#include "bson/path.h"

#include "base/codes.h"

/* The position that a canonical number names, -1 for anything else. */
static int64_t parse_idx(struct slice name) {
    if (name.len == 0 || name.len > 9 || (name.p[0] == '0' && name.len > 1)) return -1;
    int64_t idx = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] < '0' || name.p[i] > '9') return -1;
        idx = idx * 10 + (name.p[i] - '0');
    }
    return idx;
}

status path_parse(struct arena *arena, struct slice text, struct path *out, struct err *err) {
    size_t part_count = 1;
    for (size_t i = 0; i < text.len; i++) part_count += text.p[i] == '.';
    if (part_count > PATH_PARTS_MAX)
        return RAISE_CODE(err, CODE_Overflow, "a field path has %zu parts, more than the limit of %d", part_count,
                          PATH_PARTS_MAX);
    char *copy = arena_strndup(arena, (const char *) text.p, text.len);
    struct path_part *parts = arena_array(arena, struct path_part, part_count);
    if (copy == NULL || parts == NULL) return RAISE(err, ST_NOMEM, "out of memory for a field path");
    const uint8_t *at = (const uint8_t *) copy, *end = at + text.len;
    for (size_t i = 0; i < part_count; i++) {
        const uint8_t *dot = at < end ? memchr(at, '.', (size_t) (end - at)) : NULL;
        size_t len = (size_t) ((dot != NULL ? dot : end) - at);
        parts[i].name = slice_of(at, len);
        parts[i].idx = parse_idx(parts[i].name);
        at += len + 1;
    }
    *out = (struct path){.text = slice_of(copy, text.len), .part_count = (uint32_t) part_count, .parts = parts};
    return ST_OK;
}

struct bval path_get(struct bdoc d, const struct path *path) {
    struct bval v = {d.p, d.len, B_DOCUMENT};
    for (uint32_t i = 0; i < path->part_count; i++) {
        const struct path_part *part = &path->parts[i];
        if (v.type == B_DOCUMENT) v = bdoc_get(bval_doc(v), part->name);
        else if (v.type == B_ARRAY && part->idx >= 0) v = barray_at(bval_doc(v), (uint32_t) part->idx);
        else return BVAL_MISSING;
    }
    return v;
}

struct visit {
    const struct path *path;
    path_visitor *call;
    void *ctx;
};

static bool visit_value(const struct visit *visit, struct bval v, uint32_t part_idx, unsigned found);

/* An array met with parts of the path left. A document in it gives its field before its position. */
static bool visit_array(const struct visit *visit, struct bdoc array, uint32_t part_idx) {
    int64_t wanted = visit->path->parts[part_idx].idx, idx = 0;
    bool is_last = part_idx + 1 == visit->path->part_count;
    struct biter it = biter_of(array);
    struct belem e;
    for (; biter_next(&it, &e); idx++) {
        bool can_enter = e.value.type == B_DOCUMENT || e.value.type == B_ARRAY;
        if (e.value.type == B_DOCUMENT && visit_value(visit, e.value, part_idx, PATH_IN_ARRAY)) return true;
        if (idx != wanted) continue;
        if (is_last && visit->call(visit->ctx, e.value, PATH_IN_ARRAY | PATH_AT_POSITION)) return true;
        if (!is_last && can_enter && visit_value(visit, e.value, part_idx + 1, PATH_IN_ARRAY)) return true;
    }
    return false;
}

static bool visit_value(const struct visit *visit, struct bval v, uint32_t part_idx, unsigned found) {
    while (v.type == B_DOCUMENT && part_idx < visit->path->part_count)
        v = bdoc_get(bval_doc(v), visit->path->parts[part_idx++].name);
    if (part_idx == visit->path->part_count) return visit->call(visit->ctx, v, found);
    if (v.type == B_ARRAY) return visit_array(visit, bval_doc(v), part_idx);
    return visit->call(visit->ctx, BVAL_MISSING, found);
}

bool path_visit(struct bdoc d, const struct path *path, path_visitor *visit, void *ctx) {
    struct visit v = {path, visit, ctx};
    return visit_value(&v, (struct bval){d.p, d.len, B_DOCUMENT}, 0, 0);
}
