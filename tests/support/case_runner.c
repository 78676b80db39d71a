/* The runner of .case files; see case_runner.h. */
#include "support/case_runner.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "bson/json.h"

const char *case_get(const struct case_block *c, const char *key) {
    for (int i = 0; i < c->line_count; i++) {
        if (c->lines[i].key != NULL && strcmp(c->lines[i].key, key) == 0) return c->lines[i].value;
    }
    return NULL;
}

/* NULL when it is no JSON. Not libbson's reader: that one takes {"$type": 2} for a broken binary. */
static bson_t *parse_json(const char *text, struct err *err) {
    struct buf buf;
    bool is_array;
    size_t used;
    bson_t *b = NULL;
    buf_init(&buf, mem_default());
    if (json_parse(slice_str(text), JSON_STRICT, &buf, &is_array, &used, err) == ST_OK)
        b = bson_new_from_data(buf.p, buf.len);
    buf_release(&buf);
    return b;
}

bson_t *case_json(const struct case_block *c, const char *text) {
    struct err err = ERR_INIT;
    bson_t *b = parse_json(text, &err);
    cr_assert(b != NULL, "%s: %s: not JSON: %s: %s", c->file, c->name, text, err.text);
    return b;
}

struct bdoc case_doc(const bson_t *b) {
    return bdoc_of(bson_get_data(b));
}

void case_answer(struct case_block *c, int i, const char *key, const char *text) {
    struct case_line *l = &c->lines[i];
    if (strcmp(l->key, key) == 0 && strcmp(l->value, text) == 0) return;
    c->failed = true;
    l->answer_key = strdup(key);
    l->answer = strdup(text);
}

/* libbson writes `{ "a" : 1 }`; the files say `{"a": 1}`. */
static char *tidy(char *json) {
    char *out = json;
    bool in_string = false;
    for (const char *p = json; *p != 0; p++) {
        if (*p == '"') in_string = !in_string;
        if (in_string && *p == '\\') *out++ = *p++;
        else if (!in_string && *p == ' ' && (p[1] == ':' || p[1] == '}' || p[1] == ']')) continue;
        else if (!in_string && *p == ' ' && p != json && (p[-1] == '{' || p[-1] == '[')) continue;
        *out++ = *p;
    }
    *out = 0;
    return json;
}

/* Relaxed when nothing is lost by it. */
static char *shortest_json(const bson_t *b) {
    char *relaxed = bson_as_relaxed_extended_json(b, NULL);
    bson_t *back = parse_json(relaxed, NULL);
    bool is_exact = back != NULL && bson_equal(back, b);
    if (back != NULL) bson_destroy(back);
    if (!is_exact) {
        bson_free(relaxed);
        relaxed = bson_as_canonical_extended_json(b, NULL);
    }
    return tidy(relaxed);
}

void case_answer_doc(struct case_block *c, int i, const char *key, struct bdoc d) {
    struct case_line *l = &c->lines[i];
    bson_t actual;
    cr_assert(bson_init_static(&actual, d.p, d.len), "%s: %s: the result is no BSON", c->file, c->name);
    bson_t *want = parse_json(l->value, NULL);
    bool is_equal = false;
    if (want != NULL && strcmp(l->key, key) == 0) {
        char *a = bson_as_canonical_extended_json(&actual, NULL), *w = bson_as_canonical_extended_json(want, NULL);
        is_equal = strcmp(a, w) == 0;
        bson_free(a);
        bson_free(w);
    }
    if (want != NULL) bson_destroy(want);
    if (is_equal) return;
    char *json = shortest_json(&actual);
    case_answer(c, i, key, json);
    bson_free(json);
}

void case_answer_error(struct case_block *c, int i, const struct err *err) {
    char text[ERR_TEXT_LEN + 32];
    (void) snprintf(text, sizeof(text), "%d %s", (int) err->code, err->text);
    case_answer(c, i, "error", text);
}

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL, "%s cannot be read", path);
    size_t len = 0, cap = 1 << 20;
    char *text = malloc(cap);
    len = fread(text, 1, cap - 1, f);
    text[len] = 0;
    (void) fclose(f);
    return text;
}

static void add_line(struct case_block *c, char *line, int number) {
    cr_assert_lt(c->line_count, CASE_LINES_MAX, "%s:%d: too many lines in a case", c->file, number);
    struct case_line *l = &c->lines[c->line_count++];
    *l = (struct case_line){.value = line, .number = number};
    if (line[0] == '#') return;
    char *colon = strstr(line, ": ");
    size_t n = strlen(line);
    if (colon == NULL && n != 0 && line[n - 1] == ':') colon = line + n - 1;
    cr_assert(colon != NULL, "%s:%d: not `key: value`: %s", c->file, number, line);
    l->key = line;
    l->value = colon[1] == 0 ? colon + 1 : colon + 2;
    *colon = 0;
    if (strcmp(l->key, "name") == 0) c->name = l->value;
}

static int finish_block(struct case_block *c, FILE *out, void (*run)(struct case_block *c)) {
    if (c->line_count == 0) return 0;
    if (c->name != NULL) run(c);
    int failures = 0;
    for (int i = 0; i < c->line_count; i++) {
        struct case_line *l = &c->lines[i];
        const char *key = l->answer_key != NULL ? l->answer_key : l->key,
                   *value = l->answer != NULL ? l->answer : l->value;
        if (out != NULL) (void) fprintf(out, key != NULL ? "%s: %s\n" : "%s%s\n", key != NULL ? key : "", value);
        if (l->answer != NULL) {
            failures++;
            if (out == NULL)
                (void) fprintf(stderr, "%s:%d: %s\n  says %s: %s\n  is   %s: %s\n", c->file, l->number, c->name, l->key,
                               l->value, key, value);
        }
        free(l->answer_key);
        free(l->answer);
    }
    return failures;
}

void case_run_file(const char *path, void (*run)(struct case_block *c)) {
    char *text = read_file(path), *at = text;
    FILE *out = getenv("UPDATE") != NULL ? fopen(path, "wb") : NULL;
    struct case_block *c = calloc(1, sizeof(*c));
    int failures = 0, number = 0;
    c->file = path;
    while (at != NULL && *at != 0) {
        char *line = strsep(&at, "\n");
        number++;
        if (line[0] != 0) {
            add_line(c, line, number);
            continue;
        }
        failures += finish_block(c, out, run);
        if (out != NULL) (void) fputc('\n', out);
        *c = (struct case_block){.file = path};
    }
    failures += finish_block(c, out, run);
    if (out != NULL) (void) fclose(out);
    free(c);
    free(text);
    cr_assert(failures == 0 || out != NULL, "%s: %d answers differ", path, failures);
}
