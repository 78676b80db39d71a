/* What lies in a dump: see dump_files.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

#include "dump_files.h"

/* The longest name that leaves room for ".metadata.json.gz" in 255 bytes, and how it is cut. */
#define NAME_MAX_LEN 238
#define NAME_CUT_LEN 208

static bool is_plain(unsigned char c) { return isalnum(c) || strchr("-_.~$&+=@", c) != NULL; }

/* The first 208 bytes, "%24", and the SHA-1 of the unescaped name in base64 for URLs, 27 digits. */
static void cut_name(struct text *name, const char *coll) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char hash[SHA_DIGEST_LENGTH + 1] = {0};
    (void) SHA1((const unsigned char *) coll, strlen(coll), hash);
    name->len = NAME_CUT_LEN;
    text_append(name, "%24", 3);
    for (int bit = 0; bit < 160; bit += 6) {
        unsigned pair = (unsigned) hash[bit / 8] << 8 | hash[bit / 8 + 1];
        text_append(name, &digits[pair >> (10 - bit % 8) & 63], 1);
    }
}

char *dump_file_name(const char *coll) {
    struct text name = {0};
    text_append(&name, "", 0);
    for (const char *p = coll; *p != '\0'; p++) {
        if (is_plain((unsigned char) *p)) text_append(&name, p, 1);
        else text_printf(&name, "%%%02X", (unsigned char) *p);
    }
    if (name.len > NAME_MAX_LEN) cut_name(&name, coll);
    return name.p;
}

char *dump_file_collection(const char *name) {
    char *out = bson_malloc(strlen(name) + 1), *to = out;
    for (const char *p = name; *p != '\0'; p++) {
        unsigned v;
        if (*p != '%') {
            *to++ = *p;
        } else if (isxdigit((unsigned char) p[1]) && isxdigit((unsigned char) p[2]) && sscanf(p + 1, "%2x", &v) == 1 &&
                   v != 0) {
            *to++ = (char) v;
            p += 2;
        } else {
            bson_free(out);
            return NULL;
        }
    }
    *to = '\0';
    return out;
}

bool is_safe_folder(const char *db) {
    return db[0] != '\0' && strchr(db, '/') == NULL && strcmp(db, ".") != 0 && strcmp(db, "..") != 0;
}

bool metadata_write(struct text *out, const bson_t *options, const bson_t *indexes, const char *uuid, const char *coll,
                    const char *type) {
    bson_t strings = BSON_INITIALIZER;
    struct text rest = {0};
    bool ok = true;
    text_append(out, "{", 1);
    if (!bson_empty(options)) {
        text_append_str(out, "\"options\":");
        ok = json_append(out, options, false, JSON_CANONICAL);
        text_append(out, ",", 1);
    }
    text_append_str(out, "\"indexes\":");
    ok = json_append(out, indexes, true, JSON_CANONICAL) && ok;
    if (uuid[0] != '\0') BSON_APPEND_UTF8(&strings, "uuid", uuid);
    BSON_APPEND_UTF8(&strings, "collectionName", coll);
    if (type[0] != '\0') BSON_APPEND_UTF8(&strings, "type", type);
    ok = json_append(&rest, &strings, false, JSON_CANONICAL) && ok;
    text_append(out, ",", 1);
    text_append(out, rest.p + 1, rest.len - 1); /* in the same brackets */
    text_release(&rest);
    bson_destroy(&strings);
    return ok;
}

static const char *string_of(const bson_t *doc, const char *name) {
    bson_iter_t it;
    return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : NULL;
}

static bool view_of(const bson_t *doc, const char *name, bson_type_t type, bson_t *out) {
    bson_iter_t it;
    uint32_t len;
    const uint8_t *p;
    if (!bson_iter_init_find(&it, doc, name) || bson_iter_type(&it) != type) return false;
    if (type == BSON_TYPE_ARRAY) bson_iter_array(&it, &len, &p);
    else bson_iter_document(&it, &len, &p);
    return bson_init_static(out, p, len);
}

bool metadata_read(struct metadata *m, const char *text, size_t len, const char *name) {
    bson_error_t error;
    *m = (struct metadata){0};
    if (len == 0) {
        bson_init(&m->doc);
        return true;
    }
    if (!elmo_json_parse(text, (ssize_t) len, &m->doc, NULL, NULL, &error)) {
        (void) complain("%s: %s", name, error.message);
        return false;
    }
    m->has_options = view_of(&m->doc, "options", BSON_TYPE_DOCUMENT, &m->options);
    m->has_indexes = view_of(&m->doc, "indexes", BSON_TYPE_ARRAY, &m->indexes);
    m->coll = string_of(&m->doc, "collectionName");
    m->type = string_of(&m->doc, "type");
    return true;
}

void metadata_release(struct metadata *m) { bson_destroy(&m->doc); }
