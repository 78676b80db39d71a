/* Lists of field names: see field_list.h. */
#include <ctype.h>
#include <string.h>

#include "field_list.h"
#include "stream.h"

#define FIELD_FILE_MAX ((size_t) 16 * 1024 * 1024)

void field_list_add(struct field_list *l, const char *name, size_t len) {
    l->names = bson_realloc(l->names, (l->count + 1) * sizeof(*l->names));
    l->names[l->count++] = bson_strndup(name, len);
}

static void add_split(struct field_list *l, const char *text, char separator) {
    for (const char *p = text;; p++) {
        const char *end = strchr(p, separator);
        size_t len = end != NULL ? (size_t) (end - p) : strlen(p);
        if (separator == '\n' && len > 0 && p[len - 1] == '\r') len--;
        if (len > 0 || separator == ',') field_list_add(l, p, len);
        if (end == NULL) return;
        p = end;
    }
}

bool field_list_read(struct field_list *l, const char *text, const char *file) {
    size_t len;
    *l = (struct field_list){0};
    if (text != NULL) add_split(l, text, ',');
    if (file == NULL) return true;
    char *lines = read_text(file, FIELD_FILE_MAX, &len);
    if (lines == NULL) return false;
    add_split(l, lines, '\n');
    bson_free(lines);
    if (l->count > 0) return true;
    (void) complain("%s has no field names", file);
    return false;
}

void field_list_release(struct field_list *l) {
    for (size_t i = 0; i < l->count; i++) bson_free(l->names[i]);
    bson_free(l->names);
    *l = (struct field_list){0};
}

bool field_list_check(const struct field_list *l, const char *what) {
    for (size_t i = 0; i < l->count; i++) {
        const char *name = l->names[i], *why = NULL;
        size_t len = strlen(name);
        if (len == 0) why = "is empty";
        else if (name[0] == '$') why = "begins with a '$'";
        else if (name[0] == '.' || name[len - 1] == '.' || strstr(name, "..") != NULL) why = "has an empty part";
        if (why != NULL) return complain("%s: field %zu ('%s') %s", what, i + 1, name, why), false;
    }
    return true;
}

/* Up to the first part that is a number: a projection does not reach into arrays by number. */
static size_t projected_len(const char *name) {
    for (const char *p = strchr(name, '.'); p != NULL; p = strchr(p + 1, '.'))
        if (isdigit((unsigned char) p[1])) return (size_t) (p - name);
    return strlen(name);
}

/* Is `name` (of len) covered by another field: the same one earlier, or one that it lies in? */
static bool is_covered(const struct field_list *l, size_t i, size_t len) {
    for (size_t j = 0; j < l->count; j++) {
        size_t other = projected_len(l->names[j]);
        if (j == i || other > len || memcmp(l->names[j], l->names[i], other) != 0) continue;
        if (other == len ? j < i : l->names[i][other] == '.') return true;
    }
    return false;
}

void field_list_projection(const struct field_list *l, bool exact, bson_t *out) {
    bool has_id = false;
    for (size_t i = 0; i < l->count; i++) {
        size_t len = projected_len(l->names[i]);
        has_id = has_id || strncmp(l->names[i], "_id", 3) == 0;
        if (!is_covered(l, i, len)) (void) bson_append_int32(out, l->names[i], (int) len, 1);
    }
    if (exact && !has_id) BSON_APPEND_INT32(out, "_id", 0);
}

bool find_path(const bson_t *doc, const char *path, bson_iter_t *out) {
    bson_iter_t it, inner;
    bool more = bson_iter_init(&it, doc);
    for (;;) {
        const char *dot = strchr(path, '.');
        int len = dot != NULL ? (int) (dot - path) : (int) strlen(path);
        if (!more || !bson_iter_find_w_len(&it, path, len)) return false;
        if (dot == NULL) break;
        path = dot + 1;
        more = bson_iter_recurse(&it, &inner);
        it = inner;
    }
    *out = it;
    return true;
}
