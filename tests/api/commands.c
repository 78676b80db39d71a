/* Runs tests/cases/command/<name>.case through elmo_command_simple. Each case has a database of its own, in memory.
 *
 *   db: other                      the database of the commands that follow (default "test")
 *   run: {"find": "c"}             a command; "$CURSOR" in it stands for the id of the last open cursor
 *   want: {"cursor": ...}          its whole reply; ids of open cursors and uuids are 1 and zeros in it
 *   has: {"cursor.ns": "test.c"}   or only these dotted paths of it
 *   error: 73 InvalidNamespace Invalid ...   or its failure
 *
 * A `run` without an answer must succeed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <elmo/elmo.h>

#include "support/case_runner.h"

struct run {
    elmo_t *db;
    char db_name[300];
    int64_t cursor;
    bson_t reply; /* of the last command */
    bool has_reply, ok, is_answered;
    bson_error_t error;
};

static void forget_reply(struct run *r) {
    if (r->has_reply) bson_destroy(&r->reply);
    r->has_reply = false;
}

/* Zeros the bytes of every uuid and makes the id of an open cursor 1, in place. */
static void mask(struct run *r, const bson_t *doc) {
    bson_iter_t it, sub;
    bson_subtype_t subtype;
    uint32_t len;
    const uint8_t *data;
    if (!bson_iter_init(&it, doc)) return;
    while (bson_iter_next(&it)) {
        bson_t child;
        if (BSON_ITER_HOLDS_BINARY(&it)) {
            bson_iter_binary(&it, &subtype, &len, &data);
            if (subtype == BSON_SUBTYPE_UUID) memset((uint8_t *) (uintptr_t) data, 0, len);
        } else if (BSON_ITER_HOLDS_DOCUMENT(&it) && bson_iter_recurse(&it, &sub)) {
            bson_iter_document(&it, &len, &data);
            if (strcmp(bson_iter_key(&it), "cursor") == 0 && bson_iter_find(&sub, "id") &&
                bson_iter_as_int64(&sub) != 0) {
                r->cursor = bson_iter_int64(&sub);
                bson_iter_overwrite_int64(&sub, 1);
            }
            if (bson_init_static(&child, data, len)) mask(r, &child);
        } else if (BSON_ITER_HOLDS_ARRAY(&it)) {
            bson_iter_array(&it, &len, &data);
            if (bson_init_static(&child, data, len)) mask(r, &child);
        }
    }
}

/* The command's text with the cursor's id in it. */
static char *with_cursor(const struct run *r, const char *text) {
    char id[64], *out = malloc(strlen(text) + 1000), *at = out;
    (void) snprintf(id, sizeof(id), "{\"$numberLong\": \"%lld\"}", (long long) r->cursor);
    while (*text != '\0') {
        if (strncmp(text, "\"$CURSOR\"", 9) == 0) {
            at = stpcpy(at, id);
            text += 9;
        } else {
            *at++ = *text++;
        }
    }
    *at = '\0';
    return out;
}

static void run_command(struct run *r, struct case_block *c, const char *text) {
    cr_expect(!r->has_reply || r->is_answered || r->ok, "%s: %s: %s", c->file, c->name, r->error.message);
    forget_reply(r);
    char *filled = with_cursor(r, text);
    bson_t *command = case_json(c, filled);
    r->ok = elmo_command_simple(r->db, r->db_name, command, &r->reply, &r->error);
    r->has_reply = true;
    r->is_answered = false;
    cr_expect(bson_validate(&r->reply, BSON_VALIDATE_NONE, NULL));
    mask(r, &r->reply);
    bson_destroy(command);
    free(filled);
}

static void answer_failure(struct run *r, struct case_block *c, int i) {
    char text[800];
    bson_iter_t it;
    const char *name = bson_iter_init_find(&it, &r->reply, "codeName") ? bson_iter_utf8(&it, NULL) : "?";
    cr_expect(bson_iter_init_find(&it, &r->reply, "ok") && bson_iter_as_double(&it) == 0);
    cr_expect(bson_iter_init_find(&it, &r->reply, "code") && bson_iter_as_int64(&it) == r->error.code);
    cr_expect(bson_iter_init_find(&it, &r->reply, "errmsg") &&
              strcmp(bson_iter_utf8(&it, NULL), r->error.message) == 0);
    (void) snprintf(text, sizeof(text), "%u %s %s", r->error.code, name, r->error.message);
    case_answer(c, i, "error", text);
}

/* The same paths with what the reply has there; a missing one is left out. */
static void answer_paths(struct run *r, struct case_block *c, int i) {
    bson_t *asked = case_json(c, c->lines[i].value), out = BSON_INITIALIZER;
    bson_iter_t path, it, found;
    bson_iter_init(&path, asked);
    while (bson_iter_next(&path)) {
        if (bson_iter_init(&it, &r->reply) && bson_iter_find_descendant(&it, bson_iter_key(&path), &found))
            bson_append_iter(&out, bson_iter_key(&path), -1, &found);
    }
    case_answer_doc(c, i, "has", case_doc(&out));
    bson_destroy(&out);
    bson_destroy(asked);
}

static void run_case(struct case_block *c) {
    struct run r = {.db_name = "test"};
    bson_error_t error;
    cr_assert(elmo_open(NULL, NULL, &r.db, &error), "%s", error.message);
    for (int i = 0; i < c->line_count; i++) {
        const char *key = c->lines[i].key, *value = c->lines[i].value;
        if (key == NULL || strcmp(key, "name") == 0) continue;
        if (strcmp(key, "db") == 0) {
            (void) snprintf(r.db_name, sizeof(r.db_name), "%s", value);
        } else if (strcmp(key, "run") == 0) {
            run_command(&r, c, value);
        } else {
            r.is_answered = true;
            if (!r.ok) answer_failure(&r, c, i);
            else if (strcmp(key, "has") == 0) answer_paths(&r, c, i);
            else case_answer_doc(c, i, "want", case_doc(&r.reply));
        }
    }
    cr_expect(!r.has_reply || r.is_answered || r.ok, "%s: %s: %s", c->file, c->name, r.error.message);
    forget_reply(&r);
    elmo_close(r.db);
}

#define CASES(file)                                                                                                    \
    Test(commands, file##_answers_as_mongodb_does) {                                                                   \
        case_run_file(TESTS_DIR "/cases/command/" #file ".case", run_case);                                            \
    }

CASES(insert)
CASES(update)
CASES(delete)
CASES(find_and_modify)
CASES(find)
CASES(aggregate)
CASES(cursors)
CASES(count_distinct)
CASES(collections)
CASES(indexes)
CASES(ddl)
CASES(connect)
CASES(explain)
CASES(diagnose)
CASES(refused)
CASES(window)
