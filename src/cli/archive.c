/* mongodump's archive format: see archive.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "target.h"

static const uint8_t magic[4] = {0x6d, 0xe2, 0x99, 0x81};
static const uint8_t end_mark[4] = {0xff, 0xff, 0xff, 0xff};

/* ---- CRC-64 ---- */

void crc64_init(struct crc64 *c) {
    for (int i = 0; i < 256; i++) {
        uint64_t v = (uint64_t) i;
        for (int bit = 0; bit < 8; bit++) v = (v & 1) != 0 ? v >> 1 ^ UINT64_C(0xC96C5795D7870F42) : v >> 1;
        c->table[0][i] = v;
    }
    for (int i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++) c->table[t][i] = c->table[0][c->table[t - 1][i] & 0xff] ^ c->table[t - 1][i] >> 8;
}

/* Eight bytes a step: table t holds what a byte does t bytes later. */
uint64_t crc64_add(const struct crc64 *c, uint64_t crc, const void *bytes, size_t len) {
    const uint8_t *p = bytes;
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word = 0;
        for (int i = 0; i < 8; i++) word |= (uint64_t) p[i] << (8 * i);
        crc ^= word;
        crc = c->table[7][crc & 0xff] ^ c->table[6][crc >> 8 & 0xff] ^ c->table[5][crc >> 16 & 0xff] ^
            c->table[4][crc >> 24 & 0xff] ^ c->table[3][crc >> 32 & 0xff] ^ c->table[2][crc >> 40 & 0xff] ^
            c->table[1][crc >> 48 & 0xff] ^ c->table[0][crc >> 56];
    }
    for (; len > 0; p++, len--) crc = c->table[0][(crc ^ *p) & 0xff] ^ crc >> 8;
    return ~crc;
}

/* ---- writing ---- */

static bool write_doc(struct stream_out *out, bson_t *doc) {
    bool ok = stream_out_write(out, bson_get_data(doc), doc->len);
    bson_destroy(doc);
    return ok;
}

bool archive_write_head(struct stream_out *out, const char *server_version, const char *tool_version) {
    bson_t head = BSON_INITIALIZER;
    BSON_APPEND_INT32(&head, "concurrent_collections", 1);
    BSON_APPEND_UTF8(&head, "version", "0.1");
    BSON_APPEND_UTF8(&head, "server_version", server_version);
    BSON_APPEND_UTF8(&head, "tool_version", tool_version);
    bool ok = stream_out_write(out, magic, 4);
    return write_doc(out, &head) && ok;
}

bool archive_write_metadata(struct stream_out *out, const char *db, const char *coll, const char *metadata,
                            const char *type) {
    bson_t doc = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&doc, "db", db);
    BSON_APPEND_UTF8(&doc, "collection", coll);
    BSON_APPEND_UTF8(&doc, "metadata", metadata);
    BSON_APPEND_INT32(&doc, "size", 0); /* as mongodump writes it */
    BSON_APPEND_UTF8(&doc, "type", type);
    return write_doc(out, &doc);
}

bool archive_write_end_mark(struct stream_out *out) { return stream_out_write(out, end_mark, 4); }

static bool write_namespace(struct stream_out *out, const char *db, const char *coll, bool is_last, uint64_t crc) {
    bson_t doc = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&doc, "db", db);
    BSON_APPEND_UTF8(&doc, "collection", coll);
    BSON_APPEND_BOOL(&doc, "EOF", is_last);
    BSON_APPEND_INT64(&doc, "CRC", (int64_t) crc);
    return write_doc(out, &doc);
}

bool archive_write_begin(struct stream_out *out, const char *db, const char *coll) {
    return write_namespace(out, db, coll, false, 0);
}

bool archive_write_close(struct stream_out *out, const char *db, const char *coll, uint64_t crc) {
    return archive_write_end_mark(out) && write_namespace(out, db, coll, true, crc) && archive_write_end_mark(out);
}

/* ---- reading ---- */

static bool fail(struct archive_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct archive_reader *r, const char *fmt, ...) {
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    (void) vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (r->in->error[0] != '\0')
        (void) snprintf(r->error, sizeof(r->error), "byte %llu: %s", (unsigned long long) r->in->at, r->in->error);
    else (void) snprintf(r->error, sizeof(r->error), "byte %llu: %s", (unsigned long long) r->doc_at, what);
    return false;
}

enum piece { PIECE_DOCUMENT, PIECE_MARK, PIECE_NOTHING, PIECE_BAD };

/* A document into r->doc, an end mark, or nothing more. */
static enum piece read_piece(struct archive_reader *r) {
    size_t got;
    r->doc_at = r->in->at;
    if (!stream_in_exact(r->in, r->bytes, 4, &got)) {
        if (got == 0 && r->in->error[0] == '\0') return PIECE_NOTHING;
        (void) fail(r, "the archive is cut off");
        return PIECE_BAD;
    }
    if (memcmp(r->bytes, end_mark, 4) == 0) return PIECE_MARK;
    uint32_t len = (uint32_t) r->bytes[0] | (uint32_t) r->bytes[1] << 8 | (uint32_t) r->bytes[2] << 16 |
        (uint32_t) r->bytes[3] << 24;
    if (len < 5 || len > DOCUMENT_BYTES_MAX) {
        (void) fail(r, "%u is neither a document's length nor an end mark", len);
        return PIECE_BAD;
    }
    if (!stream_in_exact(r->in, r->bytes + 4, len - 4, NULL)) {
        (void) fail(r, "the archive is cut off in the middle of a document");
        return PIECE_BAD;
    }
    if (!bson_init_static(&r->doc, r->bytes, len)) {
        (void) fail(r, "a document does not end where its length says");
        return PIECE_BAD;
    }
    return PIECE_DOCUMENT;
}

/* A text field of the document at hand; NULL when it is none. Borrowed. */
static const char *text_field(const bson_t *doc, const char *name) {
    bson_iter_t it;
    uint32_t len;
    if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_UTF8(&it)) return NULL;
    const char *s = bson_iter_utf8(&it, &len);
    return strlen(s) == len ? s : NULL;
}

static bool is_sound(const bson_t *doc) { return bson_validate(doc, BSON_VALIDATE_NONE, NULL); }

static bool take_header(struct archive_reader *r) {
    const char *version = is_sound(&r->doc) ? text_field(&r->doc, "version") : NULL;
    if (version == NULL) return fail(r, "the archive's header is damaged");
    if (strcmp(version, "0.1") != 0) return fail(r, "the archive has version '%.20s'; only 0.1 is known", version);
    const char *server = text_field(&r->doc, "server_version"), *tool = text_field(&r->doc, "tool_version");
    r->server_version = bson_strdup(server != NULL ? server : "");
    r->tool_version = bson_strdup(tool != NULL ? tool : "");
    return true;
}

static bool take_metadata(struct archive_reader *r) {
    const char *db = NULL, *coll = NULL, *metadata = NULL, *type = NULL;
    if (is_sound(&r->doc)) {
        db = text_field(&r->doc, "db");
        coll = text_field(&r->doc, "collection");
        metadata = text_field(&r->doc, "metadata");
        type = text_field(&r->doc, "type");
    }
    if (db == NULL || coll == NULL || coll[0] == '\0') return fail(r, "the list of collections is damaged");
    if (r->ns_count == ARCHIVE_COLLECTIONS_MAX)
        return fail(r, "the archive lists more than %d collections", ARCHIVE_COLLECTIONS_MAX);
    if (r->ns_count == r->ns_cap) {
        r->ns_cap = r->ns_cap == 0 ? 64 : r->ns_cap * 2;
        r->ns = bson_realloc(r->ns, r->ns_cap * sizeof(*r->ns));
    }
    r->ns[r->ns_count++] = (struct archive_ns){.db = bson_strdup(db),
                                               .coll = bson_strdup(coll),
                                               .metadata = bson_strdup(metadata != NULL ? metadata : ""),
                                               .type = bson_strdup(type != NULL ? type : "")};
    return true;
}

static int compare_names(const struct archive_ns *a, const char *db, const char *coll) {
    int order = strcmp(a->db, db);
    return order != 0 ? order : strcmp(a->coll, coll);
}

static int compare_ns(const void *a, const void *b) {
    const struct archive_ns *const *left = a, *const *right = b;
    return compare_names(*left, (*right)->db, (*right)->coll);
}

static bool sort_names(struct archive_reader *r) {
    r->by_name = bson_malloc(sizeof(struct archive_ns *) * (r->ns_count + 1));
    for (size_t i = 0; i < r->ns_count; i++) r->by_name[i] = &r->ns[i];
    qsort(r->by_name, r->ns_count, sizeof(*r->by_name), compare_ns);
    for (size_t i = 1; i < r->ns_count; i++)
        if (compare_ns(&r->by_name[i - 1], &r->by_name[i]) == 0)
            return fail(r, "the archive lists %s.%s twice", r->by_name[i]->db, r->by_name[i]->coll);
    return true;
}

bool archive_read_head(struct archive_reader *r, struct stream_in *in) {
    size_t total = 0;
    *r = (struct archive_reader){.in = in, .bytes = bson_malloc(DOCUMENT_BYTES_MAX)};
    crc64_init(&r->crc);
    if (!stream_in_exact(in, r->bytes, 4, NULL) || memcmp(r->bytes, magic, 4) != 0)
        return fail(r, "this is not an archive of mongodump");
    enum piece piece = read_piece(r);
    if (piece != PIECE_DOCUMENT) return piece != PIECE_BAD ? fail(r, "the archive's header is missing") : false;
    if (!take_header(r)) return false;
    while ((piece = read_piece(r)) == PIECE_DOCUMENT) {
        total += r->doc.len;
        if (total > ARCHIVE_METADATA_BYTES_MAX) return fail(r, "the list of collections is too large");
        if (!take_metadata(r)) return false;
    }
    if (piece == PIECE_NOTHING) return fail(r, "the archive is cut off in its list of collections");
    return piece == PIECE_MARK && sort_names(r);
}

static struct archive_ns *find_ns(const struct archive_reader *r, const char *db, const char *coll) {
    size_t low = 0, high = r->ns_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = compare_names(r->by_name[mid], db, coll);
        if (order == 0) return r->by_name[mid];
        if (order < 0) low = mid + 1;
        else high = mid;
    }
    return NULL;
}

/* The document that says whose block begins. *is_last: the collection is complete. */
static bool take_namespace(struct archive_reader *r, bool *is_last, uint64_t *crc) {
    bson_iter_t it;
    const char *db = is_sound(&r->doc) ? text_field(&r->doc, "db") : NULL;
    const char *coll = db != NULL ? text_field(&r->doc, "collection") : NULL;
    if (coll == NULL) return fail(r, "the head of a block is damaged");
    r->current = find_ns(r, db, coll);
    if (r->current == NULL) return fail(r, "a block of %.60s.%.200s, which the archive does not list", db, coll);
    if (r->current->is_closed) return fail(r, "%.60s.%.200s goes on after its end", db, coll);
    r->current->was_seen = true;
    *is_last = bson_iter_init_find(&it, &r->doc, "EOF") && bson_iter_as_bool(&it);
    *crc = bson_iter_init_find(&it, &r->doc, "CRC") ? (uint64_t) bson_iter_as_int64(&it) : 0;
    return true;
}

static enum archive_event close_ns(struct archive_reader *r, uint64_t crc) {
    if (read_piece(r) != PIECE_MARK) {
        if (r->error[0] == '\0')
            (void) fail(r, "the end of %.60s.%.200s has no end mark", r->current->db, r->current->coll);
        return ARCHIVE_FAILED;
    }
    if (crc != r->current->crc) {
        (void) fail(r, "%.60s.%.200s: the checksum is wrong, what was read of it is not what was dumped",
                    r->current->db, r->current->coll);
        return ARCHIVE_FAILED;
    }
    r->current->is_closed = true;
    return ARCHIVE_CLOSED;
}

/* Every collection that has data must have come to its end; views and time series keep their data elsewhere. */
static enum archive_event end_archive(struct archive_reader *r) {
    for (size_t i = 0; i < r->ns_count; i++) {
        const struct archive_ns *ns = &r->ns[i];
        bool is_virtual = strcmp(ns->type, "view") == 0 || strcmp(ns->type, "timeseries") == 0;
        if (ns->is_closed || (is_virtual && !ns->was_seen)) continue;
        (void) fail(r, "the archive is cut off: %.60s.%.200s is not complete", ns->db, ns->coll);
        return ARCHIVE_FAILED;
    }
    return ARCHIVE_END;
}

enum archive_event archive_next(struct archive_reader *r) {
    bool is_last;
    uint64_t crc;
    while (r->error[0] == '\0') {
        enum piece piece = read_piece(r);
        if (piece == PIECE_BAD) break;
        if (r->in_block && piece == PIECE_DOCUMENT) {
            r->current->crc = crc64_add(&r->crc, r->current->crc, r->bytes, r->doc.len);
            r->current->documents++;
            return ARCHIVE_DOCUMENT;
        }
        if (r->in_block && piece == PIECE_MARK) {
            r->in_block = false;
            return ARCHIVE_BLOCK_END;
        }
        if (r->in_block)
            (void) fail(r, "the archive is cut off in the middle of %.60s.%.200s", r->current->db, r->current->coll);
        else if (piece == PIECE_NOTHING) return end_archive(r);
        else if (piece == PIECE_MARK) (void) fail(r, "an end mark where a block should begin");
        else if (take_namespace(r, &is_last, &crc)) {
            if (is_last) return close_ns(r, crc);
            r->in_block = true;
        }
    }
    return ARCHIVE_FAILED;
}

void archive_release(struct archive_reader *r) {
    for (size_t i = 0; i < r->ns_count; i++) {
        bson_free(r->ns[i].db);
        bson_free(r->ns[i].coll);
        bson_free(r->ns[i].metadata);
        bson_free(r->ns[i].type);
    }
    bson_free(r->ns);
    bson_free(r->by_name);
    bson_free(r->bytes);
    bson_free(r->server_version);
    bson_free(r->tool_version);
}
