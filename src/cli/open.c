/* Opening databases and collections, and documents typed by people. */
#include <stdlib.h>
#include <string.h>

#include "stream.h"

elmo_t *open_db(const char *path, bool read_only, bool create, const char *sync) {
    bson_error_t error;
    bson_t opts = BSON_INITIALIZER;
    elmo_t *db = NULL;
    BSON_APPEND_BOOL(&opts, "readOnly", read_only);
    BSON_APPEND_BOOL(&opts, "create", create);
    if (sync != NULL) BSON_APPEND_UTF8(&opts, "sync", sync);
    if (!elmo_open(path, &opts, &db, &error)) (void) complain_of(&error);
    bson_destroy(&opts);
    return db;
}

bool check_namespace(const char *ns) {
    const char *dot = strchr(ns, '.');
    if (dot != NULL && dot != ns && dot[1] != '\0') return true;
    (void) complain("'%s' is not a namespace: it must be DATABASE.COLLECTION, like app.users", ns);
    return false;
}

elmo_collection_t *open_collection(elmo_t *db, const char *ns) {
    const char *dot = strchr(ns, '.');
    if (!check_namespace(ns)) return NULL;
    char *db_name = bson_strndup(ns, (size_t) (dot - ns));
    elmo_collection_t *c = elmo_get_collection(db, db_name, dot + 1);
    bson_free(db_name);
    if (c == NULL) (void) complain("no memory");
    return c;
}

bool parse_document(const char *text, const char *what, bson_t *out) {
    bson_error_t error;
    if (text == NULL) {
        bson_init(out);
        return true;
    }
    if (elmo_json_parse(text, -1, out, NULL, NULL, &error)) return true;
    (void) complain("%s: %s", what, error.message);
    return false;
}

/* More than any filter has. */
#define DOCUMENT_TEXT_MAX ((size_t) 64 * 1024 * 1024)

char *read_text(const char *path, size_t max, size_t *len) {
    struct stream_in in;
    size_t cap = 4096, n = 0, part;
    if (!stream_in_open(&in, path, GZIP_DETECT)) return NULL;
    char *text = bson_malloc(cap);
    while ((part = stream_in_read(&in, text + n, cap - n - 1)) > 0) {
        n += part;
        if (n + 1 == cap && n < max) text = bson_realloc(text, cap *= 2);
        else if (n >= max) break;
    }
    text[n] = '\0';
    *len = n;
    bool failed = in.error[0] != '\0' || n >= max;
    if (failed) (void) complain("%s: %s", in.name, in.error[0] != '\0' ? in.error : "the file is too large");
    stream_in_close(&in);
    if (!failed) return text;
    bson_free(text);
    return NULL;
}

bool read_document(const char *path, const char *what, bson_t *out) {
    size_t len;
    char *text = read_text(path, DOCUMENT_TEXT_MAX, &len);
    if (text == NULL) return false;
    bool ok = parse_document(text, what, out);
    bson_free(text);
    return ok;
}
