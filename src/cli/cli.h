/* The elmo command: what its parts share. The command sees only the public header, as any program does.
 *
 * Exit status: 0, 1 (an error, told on standard error), 2 (wrong usage). */
#ifndef ELMO_CLI_CLI_H
#define ELMO_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include <elmo/elmo.h>

enum { EXIT_ERROR = 1, EXIT_USAGE = 2 };

/* How often an option that makes a list may be given. */
#define OPTION_LIST_MAX 64

/* One option of a subcommand. */
struct option_row {
    const char *name; /* "--db", or with a short form "--query|-q" */
    const char
        *value_name;  /* NULL: a flag; "PATTERN...": a list; "=FILE": the value is optional and stands behind '=' */
    const char *help; /* NULL: taken for the sake of old habits, without meaning, and not shown */
    const char **
        value; /* where it goes; a flag gets its own name; a list is an array of OPTION_LIST_MAX + 1, NULL at its end */
};

struct subcommand {
    const char *name, *usage, *summary;
    int (*run)(int argc, char **argv); /* without the program's and the subcommand's names */
};

extern const struct subcommand sub_import, sub_export, sub_dump, sub_restore, sub_find, sub_explain, sub_create_index,
    sub_stat, sub_check, sub_compact, sub_serve;

/* Under the name mongod the program is `elmo serve`. */
int serve_as_mongod(int argc, char **argv);

/* Reads options and up to `max` other arguments. Exit status, 0 to go on. `--help` prints and answers -1. */
int args_parse(const struct subcommand *sub, int argc, char **argv, const struct option_row *rows, int row_count,
               const char **rest, int max, int *rest_count);
/* Reads the number of an option; NULL text leaves *out. Complains when it is none or out of range. */
bool number_option(const char *name, const char *text, int64_t min, int64_t max, int64_t *out);
int usage_error(const struct subcommand *sub, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "elmo: ..." on standard error; answers EXIT_ERROR. */
int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int complain_of(const bson_error_t *error);

/* Opens with {readOnly, create, sync} and complains on failure. */
elmo_t *open_db(const char *path, bool read_only, bool create, const char *sync);
/* Is it "db.collection"? Complains when not. */
bool check_namespace(const char *ns);
/* Splits it at the first dot; NULL and a complaint when there is none. */
elmo_collection_t *open_collection(elmo_t *db, const char *ns);
/* A document typed by a person; complains with `what`. NULL text gives {}. */
bool parse_document(const char *text, const char *what, bson_t *out);
/* The same from a file. */
bool read_document(const char *path, const char *what, bson_t *out);

/* One line of relaxed extended JSON, to be freed with bson_free; NULL when it cannot be made. */
char *json_of(const bson_t *doc);
/* One document on standard output: indented on a terminal, else one line of relaxed extended JSON. */
void print_document(const bson_t *doc);
/* What explain answered, as a tree for people (on a terminal or when `tree`) or as JSON. */
void print_explain(const bson_t *reply, bool tree);
bool is_terminal(int fd);
double now_seconds(void);
/* 1234567 -> "1,234,567"; 8 rotating buffers. */
const char *with_commas(int64_t n);
/* 1536 -> "1.5 KiB". */
const char *with_unit(int64_t bytes);

/* A progress line on standard error, drawn when that is a terminal and at most ten times a second. */
struct progress {
    const char *what;
    double started, drawn;
    bool is_on;
};
void progress_start(struct progress *p, const char *what);
void progress_show(struct progress *p, double fraction, int64_t count);
void progress_end(struct progress *p);

/* The shell. `line` NULL: interactive, or lines from standard input. */
int shell_main(const char *path, const char *db_name, const char *line, bool read_only);

#endif
