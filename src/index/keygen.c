/* Key generation, the walk of MongoDB's btree_key_generator.
 *
 * All indexed fields go down the document together. At each level every path is followed as far as documents go. The paths that stop
 * at an array must stop at the same one (else: parallel arrays); the level is then repeated for each of its elements, in which paths
 * that ended at the array take the element as it is (an array in the array is not entered), and the others go on in the element
 * when it is a document. A path whose next part is a position of the array ("a.0.b") is followed through that position instead,
 * the same for every element. An array without elements counts as one element that is no document.
 *
 * A level consumes at least one part of a path, so PATH_PARTS_MAX bounds the recursion. */
#include "index/keygen.h"

#include <stdlib.h>

#include "base/codes.h"
#include "index/key.h"

struct fixed_value {
    struct bval v;
    bool is_empty_array; /* the path ended at an array without elements */
};

/* Where the paths are: parts_done == part_count means that `fixed` has the value. */
struct state {
    uint32_t parts_done[INDEX_FIELDS_MAX];
    struct fixed_value fixed[INDEX_FIELDS_MAX];
    uint32_t missing_count;
};

/* A path that goes through a position of the array whose elements are visited. */
struct position {
    struct bval element; /* B_MISSING: the next part is no position of the array */
    struct bval target;  /* as far as the path goes from there without entering arrays */
    uint32_t parts_done; /* then */
};

/* Memory of one run: the first pieces lie on the stack, because most documents have one short key. */
struct scratch {
    struct mem hook;
    const struct mem *mem;
    size_t used;
    _Alignas(16) uint8_t bytes[1024];
};

static void *resize_scratch(void *ctx, void *p, size_t old_len, size_t new_len) {
    struct scratch *s = ctx;
    bool is_ours = (uintptr_t) p - (uintptr_t) s->bytes < sizeof(s->bytes);
    if (p != NULL && !is_ours) return s->mem->resize(s->mem->ctx, p, old_len, new_len);
    if (new_len == 0) return NULL;
    uint8_t *q;
    if (new_len <= sizeof(s->bytes) - s->used) {
        q = s->bytes + s->used;
        s->used += (new_len + 15) & ~(size_t) 15;
        if (s->used > sizeof(s->bytes)) s->used = sizeof(s->bytes);
    } else {
        q = mem_alloc(s->mem, new_len);
    }
    if (q != NULL && p != NULL) memcpy(q, p, old_len < new_len ? old_len : new_len);
    return q;
}

struct numbered_key {
    struct index_key key;
    uint32_t idx; /* order of making */
};

struct generator {
    const struct index_spec *spec;
    struct arena *arena;
    const struct mem *mem;
    struct buf key, side;
    struct numbered_key *keys;
    size_t key_count, key_cap;
    size_t total_len;
    uint64_t *multikey;
    struct err *err;
};

static status run_level(struct generator *g, struct state *s, struct bdoc doc, const struct position *positions);

static status fail_memory(struct generator *g) { return RAISE(g->err, ST_NOMEM, "out of memory for index keys"); }

/* Appends one key made of the fixed values. */
static status emit_key(struct generator *g, const struct state *s) {
    const struct index_spec *spec = g->spec;
    if (g->key_count == INDEX_KEYS_PER_DOCUMENT_MAX)
        return RAISE_CODE(g->err, CODE_CannotBuildIndexKeys, "the document has more than %d keys in index '%.*s'",
                          INDEX_KEYS_PER_DOCUMENT_MAX, (int) spec->name.len, (const char *) spec->name.p);
    buf_clear(&g->key);
    buf_clear(&g->side);
    for (uint32_t i = 0; i < spec->field_count; i++) {
        key_append(&g->key, s->fixed[i].is_empty_array ? BVAL_MISSING : s->fixed[i].v, spec->fields[i].descending);
        if (s->fixed[i].is_empty_array) key_append_side_empty_array(&g->side);
        else key_append_side(&g->side, s->fixed[i].v);
    }
    if (g->key.failed || g->side.failed) return fail_memory(g);
    if (g->key.len > INDEX_KEY_LEN_MAX)
        return RAISE_CODE(g->err, CODE_KeyTooLong, "a key of %zu bytes is too long for index '%.*s', the limit is %d",
                          g->key.len, (int) spec->name.len, (const char *) spec->name.p, INDEX_KEY_LEN_MAX);
    while (g->side.len > 0 && g->side.p[g->side.len - 1] == 0) g->side.len--;
    g->total_len += g->key.len + g->side.len;
    if (g->total_len > INDEX_KEY_BYTES_PER_DOCUMENT_MAX)
        return RAISE_CODE(g->err, CODE_CannotBuildIndexKeys,
                          "the keys of the document in index '%.*s' have more than %d bytes", (int) spec->name.len,
                          (const char *) spec->name.p, INDEX_KEY_BYTES_PER_DOCUMENT_MAX);
    uint8_t *bytes = arena_alloc(g->arena, g->key.len + g->side.len);
    void *keys = g->keys;
    if (bytes == NULL || !mem_grow(g->mem, &keys, &g->key_cap, g->key_count + 1, sizeof(*g->keys)))
        return fail_memory(g);
    g->keys = keys;
    memcpy(bytes, g->key.p, g->key.len);
    if (g->side.len != 0) memcpy(bytes + g->key.len, g->side.p, g->side.len);
    g->keys[g->key_count] =
        (struct numbered_key){{slice_of(bytes, g->key.len), slice_of(bytes + g->key.len, g->side.len)},
                              (uint32_t) g->key_count};
    g->key_count++;
    return ST_OK;
}

/* Follows a path on from v, its last value, to its end, an array, or nothing. */
static struct bval follow(const struct path *path, struct bval v, uint32_t *parts_done) {
    while (v.type == B_DOCUMENT && *parts_done < path->part_count)
        v = bdoc_get(bval_doc(v), path->parts[(*parts_done)++].name);
    return v.type == B_ARRAY || *parts_done == path->part_count ? v : BVAL_MISSING;
}

/* The next stop of field i: in the document, or through a position of the array that the document is an element of. */
static status next_stop(struct generator *g, uint32_t i, struct state *s, struct bdoc doc,
                        const struct position *positions, struct bval *out, bool *is_nested_array) {
    const struct path *path = &g->spec->fields[i].path;
    const struct path_part *part = &path->parts[s->parts_done[i]];
    const struct position *position =
        positions != NULL && positions[i].element.type != B_MISSING ? &positions[i] : NULL;
    bool is_in_doc = bdoc_get(doc, part->name).type != B_MISSING;
    *is_nested_array = false;
    if (position != NULL && is_in_doc)
        return RAISE_CODE(
            g->err, 16746,
            "Ambiguous field name found in array (do not use numeric field names in embedded elements in an array), "
            "field: '%.*s'",
            (int) part->name.len, (const char *) part->name.p);
    if (position != NULL) {
        *is_nested_array = position->element.type == B_ARRAY;
        s->parts_done[i] = position->parts_done;
        *out = position->target;
    } else {
        *out = is_in_doc ? follow(path, (struct bval){doc.p, doc.len, B_DOCUMENT}, &s->parts_done[i]) : BVAL_MISSING;
    }
    return ST_OK;
}

/* What one level finds: the array at which paths stopped, if any. */
struct stop {
    struct bval array;
    struct slice name;      /* of the array's field */
    uint32_t at_array;      /* bit i: field i stopped there */
    bool takes_whole_array; /* a position picked an array inside the array: it is a value, not expanded */
};
_Static_assert(INDEX_FIELDS_MAX <= 32, "one bit a field");

static status stop_at_array(struct generator *g, struct state *s, uint32_t i, struct bval array, struct stop *stop) {
    const struct path *path = &g->spec->fields[i].path;
    uint32_t component = s->parts_done[i] - 1;
    struct slice name = path->parts[component].name;
    if (stop->array.type == B_MISSING) {
        stop->array = array;
        stop->name = name;
    } else if (stop->array.p != array.p) {
        return RAISE_CODE(g->err, CODE_CannotIndexParallelArrays, "cannot index parallel arrays [%.*s] [%.*s]",
                          (int) name.len, (const char *) name.p, (int) stop->name.len, (const char *) stop->name.p);
    }
    stop->at_array |= (uint32_t) 1 << i;
    g->multikey[i] |= (uint64_t) 1 << (component < 63 ? component : 63);
    return ST_OK;
}

/* Follows every unfinished path to its next stop. */
static status follow_all(struct generator *g, struct state *s, struct bdoc doc, const struct position *positions,
                         struct stop *stop) {
    for (uint32_t i = 0; i < g->spec->field_count; i++) {
        uint32_t part_count = g->spec->fields[i].path.part_count;
        struct bval v;
        bool is_nested_array;
        if (s->parts_done[i] == part_count) continue;
        TRY(next_stop(g, i, s, doc, positions, &v, &is_nested_array));
        if (v.type == B_MISSING) {
            s->parts_done[i] = part_count;
            s->missing_count++;
        }
        if (s->parts_done[i] == part_count) {
            s->fixed[i] = (struct fixed_value){.v = v};
            if (is_nested_array) stop->takes_whole_array = true;
        }
        if (v.type == B_ARRAY) TRY(stop_at_array(g, s, i, v, stop));
    }
    return ST_OK;
}

/* The next level for one element of the array; B_MISSING stands for the element that an empty array has not. */
static status run_element(struct generator *g, const struct state *s, const struct stop *stop, struct bval element,
                          const struct position *positions) {
    struct state next;
    size_t n = g->spec->field_count;
    memcpy(next.parts_done, s->parts_done, n * sizeof(next.parts_done[0]));
    memcpy(next.fixed, s->fixed, n * sizeof(next.fixed[0]));
    next.missing_count = s->missing_count;
    for (uint32_t i = 0; i < n; i++) {
        if (!(stop->at_array >> i & 1) || s->parts_done[i] < g->spec->fields[i].path.part_count) continue;
        bool is_empty = element.type == B_MISSING;
        bool is_whole = stop->takes_whole_array && !is_empty;
        next.fixed[i] = (struct fixed_value){.v = is_whole ? stop->array : element, .is_empty_array = is_empty};
    }
    return run_level(g, &next, element.type == B_DOCUMENT ? bval_doc(element) : bdoc_empty, positions);
}

/* Paths whose next part is a position of the array. True when there is any. */
static bool find_positions(struct generator *g, const struct state *s, struct bdoc array, struct position *positions) {
    bool any = false;
    for (uint32_t i = 0; i < g->spec->field_count; i++) {
        const struct path *path = &g->spec->fields[i].path;
        positions[i].element = BVAL_MISSING;
        uint32_t done = s->parts_done[i];
        if (done == path->part_count || path->parts[done].idx < 0) continue;
        struct bval v = barray_at(array, (uint32_t) path->parts[done++].idx);
        if (v.type == B_MISSING) continue;
        any = true;
        positions[i].element = v;
        positions[i].target = follow(path, v, &done);
        positions[i].parts_done = done;
    }
    return any;
}

static status expand_array(struct generator *g, const struct state *s, const struct stop *stop) {
    struct position positions[INDEX_FIELDS_MAX];
    struct bdoc array = bval_doc(stop->array);
    if (bdoc_is_empty(array)) return run_element(g, s, stop, BVAL_MISSING, NULL);
    bool has_positions = find_positions(g, s, array, positions);
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) TRY(run_element(g, s, stop, e.value, has_positions ? positions : NULL));
    return ST_OK;
}

static status run_level(struct generator *g, struct state *s, struct bdoc doc, const struct position *positions) {
    struct stop stop = {.array = BVAL_MISSING};
    TRY(follow_all(g, s, doc, positions, &stop));
    if (stop.array.type != B_MISSING) return expand_array(g, s, &stop);
    if (g->spec->is_sparse && s->missing_count == g->spec->field_count) return ST_OK;
    return emit_key(g, s);
}

static int compare_keys(const void *a, const void *b) {
    const struct numbered_key *ka = a, *kb = b;
    int c = slice_compare(ka->key.key, kb->key.key);
    return c != 0 ? c : (ka->idx > kb->idx) - (ka->idx < kb->idx);
}

/* Sorts, drops duplicates and moves the set to the arena. */
static status finish_set(struct generator *g, struct key_set *out) {
    if (g->key_count > 1) qsort(g->keys, g->key_count, sizeof(g->keys[0]), compare_keys);
    struct index_key *keys = arena_alloc(g->arena, (g->key_count + 1) * sizeof(keys[0]));
    if (keys == NULL) return fail_memory(g);
    uint32_t n = 0;
    for (size_t i = 0; i < g->key_count; i++)
        if (n == 0 || !slice_equal(keys[n - 1].key, g->keys[i].key.key)) keys[n++] = g->keys[i].key;
    out->keys = keys;
    out->count = n;
    return ST_OK;
}

status keygen(const struct index_spec *spec, struct bdoc doc, struct arena *arena, struct key_set *out,
              struct err *err) {
    struct scratch scratch;
    scratch.hook = (struct mem){resize_scratch, &scratch};
    scratch.mem = arena->mem;
    scratch.used = 0;
    struct generator g = {.spec = spec, .arena = arena, .mem = &scratch.hook, .multikey = out->multikey, .err = err};
    struct state s;
    status st = ST_OK;
    buf_init(&g.key, g.mem);
    buf_init(&g.side, g.mem);
    memset(s.parts_done, 0, spec->field_count * sizeof(s.parts_done[0]));
    s.missing_count = 0;
    memset(out->multikey, 0, sizeof(out->multikey));
    TRY_OUT(run_level(&g, &s, doc, NULL));
    TRY_OUT(finish_set(&g, out));
out:
    if (g.keys != NULL) mem_free(g.mem, g.keys, g.key_cap * sizeof(g.keys[0]));
    buf_release(&g.key);
    buf_release(&g.side);
    return st;
}

status key_set_diff(const struct key_set *before, const struct key_set *after, struct arena *arena,
                    struct key_diff *out, struct err *err) {
    struct key_diff d = {0};
    d.remove = arena_alloc(arena, (before->count + 1u) * sizeof(d.remove[0]));
    d.add = arena_alloc(arena, (after->count + 1u) * sizeof(d.add[0]));
    if (d.remove == NULL || d.add == NULL) return RAISE(err, ST_NOMEM, "out of memory for index keys");
    uint32_t b = 0, a = 0;
    while (b < before->count || a < after->count) {
        int c = b == before->count ? 1
            : a == after->count    ? -1
                                   : slice_compare(before->keys[b].key, after->keys[a].key);
        bool is_same = c == 0 && slice_equal(before->keys[b].side, after->keys[a].side);
        if (c <= 0 && !is_same) d.remove[d.remove_count++] = before->keys[b];
        if (c >= 0 && !is_same) d.add[d.add_count++] = after->keys[a];
        b += c <= 0;
        a += c >= 0;
    }
    *out = d;
    return ST_OK;
}
