/* The catalog's bytes: see catalog_entry.h. */
#include "doc/catalog_entry.h"

#include "base/varint.h"
#include "bson/build.h"
#include "bson/check.h"
#include "index/key.h"

enum { SPACE_FORMAT = 0, SPACE_ENTRIES = 1, SPACE_SEQUENCES = 2, SPACE_MULTIKEY = 3, SPACE_COUNTERS = 4, SPACE_HISTORIES = 5 };

static void begin_key(struct buf *key, uint64_t space) {
    buf_clear(key);
    key_append_prefix(key, 0, space);
}

static void append_id(struct buf *key, uint64_t id) {
    uint8_t room[ORDERED_LEN_MAX];
    buf_append(key, room, ordered_put(room, id));
}

void catalog_key_format(struct buf *key) {
    begin_key(key, SPACE_FORMAT);
    buf_append_slice(key, SLICE_LIT("format"));
}

void catalog_key_entry(struct buf *key, struct ns ns) {
    begin_key(key, SPACE_ENTRIES);
    buf_append_slice(key, ns.db);
    buf_append_u8(key, 0);
    buf_append_slice(key, ns.coll);
}

void catalog_key_database(struct buf *key, struct slice db, bool is_end) {
    if (db.len == 0) {
        begin_key(key, is_end ? SPACE_ENTRIES + 1 : SPACE_ENTRIES);
        return;
    }
    begin_key(key, SPACE_ENTRIES);
    buf_append_slice(key, db);
    buf_append_u8(key, is_end ? 1 : 0);
}

void catalog_key_collection_ids(struct buf *key) {
    begin_key(key, SPACE_SEQUENCES);
    buf_append_slice(key, SLICE_LIT("collection"));
}

void catalog_key_multikeys(struct buf *key, uint64_t collection_id) {
    begin_key(key, SPACE_MULTIKEY);
    append_id(key, collection_id);
}

void catalog_key_multikey(struct buf *key, uint64_t collection_id, uint64_t index_id) {
    catalog_key_multikeys(key, collection_id);
    append_id(key, index_id);
}

void catalog_key_counter(struct buf *key, uint64_t collection_id, uint8_t which) {
    begin_key(key, SPACE_COUNTERS);
    append_id(key, collection_id);
    buf_append_u8(key, which);
}

void catalog_key_history(struct buf *key, const uint8_t uuid[16], struct slice user, uint32_t chunk) {
    uint8_t number[4];
    begin_key(key, SPACE_HISTORIES);
    buf_append(key, uuid, 16);
    put_be16(number, (uint16_t) user.len);
    buf_append(key, number, 2);
    buf_append_slice(key, user);
    put_be32(number, chunk);
    buf_append(key, number, 4);
}

void catalog_key_histories(struct buf *key, bool is_end) {
    begin_key(key, is_end ? SPACE_HISTORIES + 1 : SPACE_HISTORIES);
}

bool catalog_key_parse(struct slice key, struct ns *out) {
    static const uint8_t prefix[] = {0, 1, SPACE_ENTRIES};
    if (!slice_starts_with(key, slice_of(prefix, sizeof(prefix)))) return false;
    struct slice names = slice_of(key.p + sizeof(prefix), key.len - sizeof(prefix));
    const uint8_t *zero = names.len != 0 ? memchr(names.p, 0, names.len) : NULL;
    if (zero == NULL) return false;
    out->db = slice_of(names.p, (size_t) (zero - names.p));
    out->coll = slice_of(zero + 1, names.len - out->db.len - 1);
    return out->db.len != 0 && out->coll.len != 0;
}

void entry_edit_init(struct entry_edit *e, const struct collection *c) {
    *e = (struct entry_edit){.id = c->id,
                             .version = c->version + 1,
                             .next_index_id = c->next_index_id,
                             .uuid = c->uuid,
                             .options = c->options,
                             .index_count = c->index_count};
    for (uint32_t i = 0; i < c->index_count; i++) {
        const struct index *ix = &c->indexes[i];
        e->indexes[i] = (struct entry_index){ix->id, ix->state, ix->sort_id, ix->log_id, ix->spec.document};
    }
}

static void write_index(struct bbuild *array, const struct entry_index *ix) {
    struct bbuild b = bbuild_push_doc(array);
    bbuild_int64(&b, "id", (int64_t) ix->id);
    bbuild_str(&b, "state", ix->state == INDEX_READY ? "ready" : "building");
    if (ix->state == INDEX_BUILDING) {
        bbuild_int64(&b, "sort", (int64_t) ix->sort_id);
        bbuild_int64(&b, "log", (int64_t) ix->log_id);
    }
    bbuild_doc(&b, "spec", ix->spec);
    bbuild_close(&b);
}

void entry_write(const struct entry_edit *e, struct buf *out) {
    struct bbuild b;
    buf_clear(out);
    bbuild_begin(&b, out);
    bbuild_int64(&b, "id", (int64_t) e->id);
    bbuild_binary(&b, "uuid", 4, slice_of(e->uuid, 16));
    bbuild_int64(&b, "version", (int64_t) e->version);
    bbuild_doc(&b, "options", e->options);
    bbuild_int64(&b, "nextIndex", (int64_t) e->next_index_id);
    struct bbuild indexes = bbuild_open_array(&b, SLICE_LIT("indexes"));
    for (uint32_t i = 0; i < e->index_count; i++) write_index(&indexes, &e->indexes[i]);
    bbuild_close(&indexes);
    (void) bbuild_finish(&b);
}

/* --- reading --- */

static status damaged(struct err *err, const char *what) {
    return RAISE(err, ST_CORRUPT, "the catalog is damaged: bad %s in a collection's entry", what);
}

static bool get_id(struct bdoc d, const char *name, uint64_t *out) {
    struct bval v = bdoc_get_str(d, name);
    if (v.type != B_INT64 || bval_int64(v) < 0) return false;
    *out = (uint64_t) bval_int64(v);
    return true;
}

status entry_peek(struct slice entry, uint64_t *id, uint64_t *version, struct err *err) {
    /* The first fields at fixed places, as entry_write lays them: "id" int64, "uuid" binary, "version" int64. */
    enum { ID_AT = 4 + 1 + 3, VERSION_AT = ID_AT + 8 + 1 + 5 + 4 + 1 + 16 + 1 + 8 };
    if (entry.len < VERSION_AT + 8 || get_le32(entry.p) != entry.len || memcmp(entry.p + 4, "\x12id", 4) != 0 ||
        memcmp(entry.p + VERSION_AT - 9, "\x12version", 9) != 0)
        return damaged(err, "head");
    *id = get_le64(entry.p + ID_AT);
    *version = get_le64(entry.p + VERSION_AT);
    return ST_OK;
}

/* prefix of collection and index, in the arena */
static status make_prefix(struct arena *arena, uint64_t collection_id, uint64_t index_id, struct slice *out,
                          struct err *err) {
    uint8_t room[2 * ORDERED_LEN_MAX];
    size_t n = ordered_put(room, collection_id);
    n += ordered_put(room + n, index_id);
    const uint8_t *p = arena_copy(arena, room, n);
    if (p == NULL) return RAISE(err, ST_NOMEM, "collection");
    *out = slice_of(p, n);
    return ST_OK;
}

static status read_index(struct collection *c, struct bdoc d, struct index *ix, struct err *err) {
    struct bval state = bdoc_get_str(d, "state"), spec = bdoc_get_str(d, "spec");
    if (!get_id(d, "id", &ix->id) || ix->id == INDEX_ID_DOCUMENTS || ix->id >= c->next_index_id)
        return damaged(err, "index id");
    if (ix != c->indexes && ix[-1].id >= ix->id) return damaged(err, "order of indexes");
    if (state.type != B_STRING || spec.type != B_DOCUMENT) return damaged(err, "index");
    ix->state = slice_equal(bval_string(state), SLICE_LIT("ready")) ? INDEX_READY : INDEX_BUILDING;
    if (ix->state == INDEX_BUILDING && (!get_id(d, "sort", &ix->sort_id) || !get_id(d, "log", &ix->log_id)))
        return damaged(err, "index build");
    status st = index_spec_parse(&c->arena, bval_doc(spec), &ix->spec, err);
    if (st != ST_OK) return st == ST_NOMEM ? st : damaged(err, "index specification");
    TRY(make_prefix(&c->arena, c->id, ix->id, &ix->prefix, err));
    if (ix->log_id != 0) TRY(make_prefix(&c->arena, c->id, ix->log_id, &ix->log_prefix, err));
    return ST_OK;
}

static status read_indexes(struct collection *c, struct bdoc array, struct err *err) {
    uint32_t count = bdoc_count(array);
    if (count >= COLLECTION_INDEXES_MAX) return damaged(err, "number of indexes");
    c->indexes = arena_array(&c->arena, struct index, count + 1);
    if (c->indexes == NULL) return RAISE(err, ST_NOMEM, "collection");
    struct biter it = biter_of(array);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (e.value.type != B_DOCUMENT) return damaged(err, "index");
        TRY(read_index(c, bval_doc(e.value), &c->indexes[c->index_count], err));
        c->index_count++;
    }
    return ST_OK;
}

static status copy_key(struct arena *arena, const struct buf *key, struct slice *out, struct err *err) {
    const uint8_t *p = key->failed ? NULL : arena_copy(arena, key->p, key->len);
    if (p == NULL) return RAISE(err, ST_NOMEM, "collection");
    *out = slice_of(p, key->len);
    return ST_OK;
}

static status make_keys(struct collection *c, struct err *err) {
    status st = ST_OK;
    struct buf key;
    buf_init(&key, c->mem);
    catalog_key_entry(&key, c->ns);
    TRY_OUT(copy_key(&c->arena, &key, &c->catalog_key, err));
    catalog_key_counter(&key, c->id, 0);
    TRY_OUT(copy_key(&c->arena, &key, &c->count_key, err));
    catalog_key_counter(&key, c->id, 1);
    TRY_OUT(copy_key(&c->arena, &key, &c->bytes_key, err));
    TRY_OUT(make_prefix(&c->arena, c->id, INDEX_ID_DOCUMENTS, &c->prefix, err));
out:
    buf_release(&key);
    return st;
}

static status read_fields(struct collection *c, struct ns ns, struct slice entry, struct err *err) {
    struct bdoc d;
    const uint8_t *bytes = arena_copy(&c->arena, entry.p, entry.len);
    char *db = arena_strndup(&c->arena, (const char *) ns.db.p, ns.db.len),
         *coll = arena_strndup(&c->arena, (const char *) ns.coll.p, ns.coll.len);
    if (bytes == NULL || db == NULL || coll == NULL) return RAISE(err, ST_NOMEM, "collection");
    c->ns = (struct ns){slice_of(db, ns.db.len), slice_of(coll, ns.coll.len)};
    if (bson_check(bytes, entry.len, 0, &d, NULL) != ST_OK) return damaged(err, "BSON");
    struct bval uuid = bdoc_get_str(d, "uuid"), options = bdoc_get_str(d, "options"),
                indexes = bdoc_get_str(d, "indexes");
    if (!get_id(d, "id", &c->id) || c->id == 0 || !get_id(d, "version", &c->version) ||
        !get_id(d, "nextIndex", &c->next_index_id))
        return damaged(err, "number");
    if (uuid.type != B_BINARY || bval_binary(uuid).len != sizeof(c->uuid)) return damaged(err, "uuid");
    if (options.type != B_DOCUMENT || indexes.type != B_ARRAY) return damaged(err, "field");
    memcpy(c->uuid, bval_binary(uuid).p, sizeof(c->uuid));
    c->options = bval_doc(options);
    TRY(make_keys(c, err));
    return read_indexes(c, bval_doc(indexes), err);
}

status entry_read(const struct mem *mem, struct ns ns, struct slice entry, struct collection **out, struct err *err) {
    struct collection *c = mem_new(mem, struct collection);
    if (c == NULL) return RAISE(err, ST_NOMEM, "collection");
    c->mem = mem;
    atomic_init(&c->ref_count, 1);
    arena_init(&c->arena, mem);
    status st = read_fields(c, ns, entry, err);
    if (st == ST_OK) *out = c;
    else entry_free(c);
    return st;
}

void entry_free(struct collection *c) {
    arena_release(&c->arena);
    mem_delete(c->mem, c);
}
