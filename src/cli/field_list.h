/* Lists of field names, "a,b.c", as import and export take them, and values found by such names. */
#ifndef ELMO_CLI_FIELD_LIST_H
#define ELMO_CLI_FIELD_LIST_H

#include "cli.h"

struct field_list {
    char **names;
    size_t count;
};

/* From "a,b.c", or a file with a name on each line; both may be NULL. Complains. Release it in either case. */
bool field_list_read(struct field_list *l, const char *text, const char *file);
void field_list_add(struct field_list *l, const char *name, size_t len);
void field_list_release(struct field_list *l);
/* Complains (with `what`) when a name could not be a field's: empty parts, a '$' in front. */
bool field_list_check(const struct field_list *l, const char *what);
/* {a: 1, "b.c": 1}: what a find must give so that all of them can be found by find_path. `_id` only when it is listed, if `exact`. */
void field_list_projection(const struct field_list *l, bool exact, bson_t *out);

/* The value at "a.b.0": through documents by name and through arrays by number. */
bool find_path(const bson_t *doc, const char *path, bson_iter_t *out);

#endif
