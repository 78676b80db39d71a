/* Cases as text: tests/cases/<layer>/<name>.case.
 *
 *   # a comment
 *   name: the least int32 has no positive int32
 *   filter: {"a": 1}
 *   yes: {"a": [1, 2]}
 *   no: {"a": 2}
 *
 * Cases are separated by empty lines; a line is `key: value`. The runner of a file answers each line: what it ought to
 * say. A case fails when an answer differs; with UPDATE=1 in the environment the file is rewritten with the answers
 * instead. Documents are compared in canonical extended JSON, so a case may be written in the relaxed form. */
#ifndef TESTS_SUPPORT_CASE_RUNNER_H
#define TESTS_SUPPORT_CASE_RUNNER_H

#include <stdbool.h>
#include <stddef.h>

#include <bson/bson.h>

#include "base/err.h"
#include "bson/value.h"

#define CASE_LINES_MAX 64

struct case_line {
    char *key, *value;         /* key NULL: a comment, whole in value */
    char *answer_key, *answer; /* NULL: as it stands */
    int number;
};

struct case_block {
    const char *file;
    const char *name;
    struct case_line lines[CASE_LINES_MAX];
    int line_count;
    bool failed;
};

/* The first line of that key: its value, or NULL. */
const char *case_get(const struct case_block *c, const char *key);
/* The value of a line as a document; an array comes as {"": ...}'s value. The test fails when it is no JSON. Freed with
 * bson_destroy. */
bson_t *case_json(const struct case_block *c, const char *text);
struct bdoc case_doc(const bson_t *b);

/* Answers line i. `key` and `text` are what should stand there. */
void case_answer(struct case_block *c, int i, const char *key, const char *text);
/* Answers with a document: equal when its canonical form equals that of the line's value. */
void case_answer_doc(struct case_block *c, int i, const char *key, struct bdoc d);
/* Answers with an error: `error: 28 Cannot create ...`. */
void case_answer_error(struct case_block *c, int i, const struct err *err);

/* Runs all cases of a file through `run`; the Criterion test fails if any did. */
void case_run_file(const char *path, void (*run)(struct case_block *c));

#endif
