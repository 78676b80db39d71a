/* Parsing a shell line: names and dots by hand, the arguments of each call as one JSON array by elmo_json_parse. */
#include "shell.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Moves over a quoted string or a regular expression that starts at p; NULL when it does not end. */
static const char *skip_quoted(const char *p) {
    char quote = *p++;
    for (; *p != '\0' && *p != quote; p++) {
        if (*p == '\\' && p[1] != '\0') p++;
    }
    return *p == quote ? p + 1 : NULL;
}

static const char *skip_comment(const char *p) {
    if (p[1] == '/') return p + strcspn(p, "\n");
    const char *end = strstr(p + 2, "*/");
    return end != NULL ? end + 2 : NULL;
}

/* From an opening bracket to behind the one that closes it; NULL when it is open. */
static const char *skip_brackets(const char *p) {
    int depth = 0;
    char before = '(';
    while (*p != '\0') {
        if (*p == '"' || *p == '\'' || (*p == '/' && p[1] != '/' && p[1] != '*' && strchr("(,:[", before) != NULL)) {
            before = *p;
            p = skip_quoted(p);
            if (p == NULL) return NULL;
            continue;
        }
        if (*p == '/' && (p[1] == '/' || p[1] == '*')) {
            p = skip_comment(p);
            if (p == NULL) return NULL;
            continue;
        }
        if (strchr("([{", *p) != NULL) depth++;
        if (strchr(")]}", *p) != NULL && --depth == 0) return p + 1;
        if (!isspace((unsigned char) *p)) before = *p;
        p++;
    }
    return NULL;
}

/* One step outside of brackets: over a bracketed part, a comment or a character. NULL when it is open. */
static const char *step(const char *p) {
    if (strchr("([{", *p) != NULL) return skip_brackets(p);
    return *p == '/' && (p[1] == '/' || p[1] == '*') ? skip_comment(p) : p + 1;
}

bool shell_is_open(const char *text) {
    for (const char *p = text; *p != '\0';) {
        p = step(p);
        if (p == NULL) return true;
    }
    return false;
}

const char *shell_skip_space(const char *p) {
    for (;;) {
        while (isspace((unsigned char) *p)) p++;
        const char *end = *p == '/' && (p[1] == '/' || p[1] == '*') ? skip_comment(p) : NULL;
        if (end == NULL) return p;
        p = end;
    }
}

const char *shell_statement_end(const char *text) {
    const char *p = text;
    while (*p != '\0' && *p != ';') {
        if (*p == '\n' && *shell_skip_space(p) != '.') return p;
        const char *next = step(p);
        if (next == NULL) return p + strlen(p);
        p = next;
    }
    return p;
}

static bool fail(char *message, size_t len, const char *text, const char *at, const char *what) {
    (void) snprintf(message, len, "at '%.20s%s': %s", *at != '\0' ? at : "end", strlen(at) > 20 ? "..." : "", what);
    (void) text;
    return false;
}

static bool read_name(const char **p, char *out) {
    size_t n = 0;
    while (isalnum((unsigned char) **p) || **p == '_' || **p == '$' || **p == '-') {
        if (n + 1 >= SHELL_NAME_MAX) return false;
        out[n++] = *(*p)++;
    }
    out[n] = '\0';
    return n > 0;
}

/* "(...)" at *p as an array of values. */
static bool read_args(const char *text, const char **p, struct shell_call *call, char *message, size_t len) {
    const char *start = *p, *end = skip_brackets(start);
    bson_error_t error;
    bool is_array = false;
    if (end == NULL) {
        bson_init(&call->args);
        return fail(message, len, text, start, "this '(' is never closed");
    }
    size_t n = (size_t) (end - start);
    char *array = bson_malloc(n + 1);
    memcpy(array, start, n);
    array[0] = '[';
    array[n - 1] = ']';
    array[n] = '\0';
    bool ok = elmo_json_parse(array, (ssize_t) n, &call->args, &is_array, NULL, &error);
    bson_free(array);
    if (!ok) (void) snprintf(message, len, "in the arguments of %s(): %s", call->name, error.message);
    *p = end;
    return ok;
}

static const char *skip_space(const char *p) { return shell_skip_space(p); }

/* db["name"] or db.getCollection("name"): the rest of the line follows the name. */
static bool read_quoted_collection(const char **p, char *out) {
    const char *q = *p;
    char close = *q == '[' ? ']' : ')';
    q = skip_space(q + 1);
    if (*q != '"' && *q != '\'') return false;
    const char *end = skip_quoted(q);
    if (end == NULL || (size_t) (end - q) - 2 >= SHELL_NAME_MAX) return false;
    memcpy(out, q + 1, (size_t) (end - q) - 2);
    out[(end - q) - 2] = '\0';
    end = skip_space(end);
    if (*end != close) return false;
    *p = end + 1;
    return true;
}

/* Appends ".name" to the collection's name: collections may have dots in their names. */
static bool extend_collection(struct shell_line *line, const char *name) {
    size_t at = strlen(line->collection);
    int n = snprintf(line->collection + at, SHELL_NAME_MAX - at, "%s%s", at > 0 ? "." : "", name);
    return n >= 0 && (size_t) n < SHELL_NAME_MAX - at;
}

static bool read_call(const char *text, const char **p, struct shell_line *out, const char *name, char *message,
                      size_t len) {
    if (out->call_count == SHELL_CALLS_MAX) return fail(message, len, text, *p, "too many calls in a chain");
    struct shell_call *call = &out->calls[out->call_count++];
    (void) snprintf(call->name, sizeof(call->name), "%s", name);
    return read_args(text, p, call, message, len);
}

bool shell_parse(const char *text, struct shell_line *out, char *message, size_t message_len) {
    char name[SHELL_NAME_MAX];
    const char *p = skip_space(text);
    out->collection[0] = '\0';
    out->call_count = 0;
    if (strncmp(p, "db", 2) != 0 || isalnum((unsigned char) p[2])) {
        return fail(message, message_len, text, p, "a command starts with db, like db.users.find(); `help` tells more");
    }
    p = skip_space(p + 2);
    if (*p == '[') {
        if (!read_quoted_collection(&p, out->collection))
            return fail(message, message_len, text, p, "expected db[\"collection\"]");
        p = skip_space(p);
    }
    while (*p == '.') {
        const char *at = p = skip_space(p + 1);
        if (!read_name(&p, name)) return fail(message, message_len, text, at, "expected a name after '.'");
        p = skip_space(p);
        if (*p == '(' && strcmp(name, "getCollection") == 0 && out->collection[0] == '\0') {
            if (!read_quoted_collection(&p, out->collection))
                return fail(message, message_len, text, p, "expected getCollection(\"name\")");
        } else if (*p == '(') {
            if (!read_call(text, &p, out, name, message, message_len)) return false;
        } else if (out->call_count > 0 || !extend_collection(out, name)) {
            return fail(message, message_len, text, p, "expected '(' after the method's name");
        }
        p = skip_space(p);
    }
    if (*p != '\0') return fail(message, message_len, text, p, "unexpected text");
    if (out->call_count == 0) return fail(message, message_len, text, p, "which method? db.users.find(), for example");
    return true;
}

void shell_line_release(struct shell_line *line) {
    for (int i = 0; i < line->call_count; i++) bson_destroy(&line->calls[i].args);
    line->call_count = 0;
}

bool shell_arg(const struct shell_call *call, int i, bson_iter_t *out) {
    if (!bson_iter_init(out, &call->args)) return false;
    while (bson_iter_next(out)) {
        if (i-- == 0) return true;
    }
    return false;
}

int shell_arg_count(const struct shell_call *call) { return (int) bson_count_keys(&call->args); }

bool shell_doc_arg(const struct shell_call *call, int i, bson_t *out) {
    bson_iter_t it;
    const uint8_t *data;
    uint32_t len;
    if (!shell_arg(call, i, &it) || !BSON_ITER_HOLDS_DOCUMENT(&it)) return false;
    bson_iter_document(&it, &len, &data);
    return bson_init_static(out, data, len);
}
