/* The state of a shell and what its lines do. */
#ifndef ELMO_CLI_SHELL_RUN_H
#define ELMO_CLI_SHELL_RUN_H

#include "shell.h"

struct shell {
    elmo_t *db;
    char db_name[64];
    bool is_interactive;
    bool is_inside;                /* of brackets that an earlier line opened */
    const char *verbosity;         /* of explain(): the method tells how it would be run; NULL: it runs */
    elmo_collection_t *collection; /* of `cursor` */
    elmo_cursor_t *cursor;         /* that `it` goes on with; NULL: none */
};

/* Each answers an exit status. */
int shell_run_line(struct shell *sh, const struct shell_line *line);
int shell_show(struct shell *sh, const char *what);
int shell_show_more(struct shell *sh);
void shell_forget_cursor(struct shell *sh);
void shell_help(void);

#endif
