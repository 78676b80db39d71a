/* What the files of the shell's methods share: a method takes a parsed line and answers an exit status.
 *
 *   shell_run.c    the table, which method a line means, `show` and `help`
 *   shell_read.c   find, aggregate, count, distinct: rows by a cursor
 *   shell_write.c  insert, update, replace, delete, findOneAnd..., bulkWrite
 *   shell_admin.c  collections, indexes, views, upkeep
 *
 * A method that makes a command gives it to shell_command, which also answers db.c.explain().method(). */
#ifndef ELMO_CLI_SHELL_METHODS_H
#define ELMO_CLI_SHELL_METHODS_H

#include "cli.h"
#include "shell.h"
#include "shell_run.h"

int shell_wrong_args(const struct shell_call *call, const char *expected);
/* Argument i, which may be missing or null but else must be a document: false and a complaint. *out is empty then. */
bool shell_optional_doc(const struct shell_call *call, int i, const char *what, bson_t *out);
/* Argument i as a string; NULL when it is none. */
const char *shell_text_arg(const struct shell_call *call, int i);

/* Runs a command of the current database and prints `field` of its reply (NULL: all of it). Under explain(): how it would be run. */
int shell_command(struct shell *sh, const bson_t *body, const char *field);
/* Prints how the command would be run. */
int shell_explain(struct shell *sh, const bson_t *body, const char *verbosity);
/* Complains of each of the reply's writeErrors. */
int shell_complain_of_writes(const bson_t *reply);
/* Commands whose body is only {name: collection} or {name: 1}. */
int shell_simple_command(struct shell *sh, const struct shell_line *line, const char *name, const char *field);

typedef int shell_method(struct shell *sh, const struct shell_line *line);
shell_method shell_find, shell_find_one, shell_aggregate, shell_count, shell_estimated_count, shell_distinct;
shell_method shell_insert, shell_insert_one, shell_insert_many, shell_update_one, shell_update_many, shell_replace_one,
    shell_delete_one, shell_delete_many, shell_find_one_and_update, shell_find_one_and_replace,
    shell_find_one_and_delete, shell_find_and_modify, shell_bulk_write;
shell_method shell_create_index, shell_create_indexes, shell_get_indexes, shell_drop_index, shell_drop_indexes,
    shell_hide_index, shell_unhide_index, shell_drop, shell_rename, shell_coll_stats, shell_validate;
shell_method shell_create_collection, shell_create_view, shell_drop_database, shell_collection_names,
    shell_collection_infos, shell_run_command, shell_admin_command, shell_db_stats, shell_db_aggregate,
    shell_server_status, shell_current_op, shell_compact, shell_version;

#endif
