/* The shell: lines from a terminal (with history and editing), from standard input, or one from the command line. */
#include "shell.h"

#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "shell_run.h"

#define HISTORY_LINES 1000

/* The only database in the file, else "test". */
static void choose_database(struct shell *sh, const char *wanted) {
    bson_t body = BSON_INITIALIZER, reply;
    bson_error_t error;
    bson_iter_t it, sub, name;
    int count = 0;
    (void) snprintf(sh->db_name, sizeof(sh->db_name), "%s", wanted != NULL ? wanted : "test");
    if (wanted != NULL) return;
    BSON_APPEND_INT32(&body, "listDatabases", 1);
    BSON_APPEND_BOOL(&body, "nameOnly", true);
    if (elmo_command_simple(sh->db, "admin", &body, &reply, &error) && bson_iter_init_find(&it, &reply, "databases") &&
        bson_iter_recurse(&it, &sub)) {
        while (bson_iter_next(&sub)) {
            if (!bson_iter_recurse(&sub, &name) || !bson_iter_find(&name, "name") || !BSON_ITER_HOLDS_UTF8(&name))
                continue;
            if (count++ == 0) (void) snprintf(sh->db_name, sizeof(sh->db_name), "%s", bson_iter_utf8(&name, NULL));
        }
        if (count > 1) (void) snprintf(sh->db_name, sizeof(sh->db_name), "test");
    }
    bson_destroy(&body);
    bson_destroy(&reply);
}

/* Exit status; -1: leave the shell. */
static int run_statement(struct shell *sh, const char *text) {
    char word[16], rest[128], message[400];
    int words = sscanf(text, " %15s %127s", word, rest);
    if (words < 1) return 0;
    if (strcmp(word, "exit") == 0 || strcmp(word, "quit") == 0) return -1;
    if (strcmp(word, "help") == 0) {
        shell_help();
        return 0;
    }
    if (strcmp(word, "it") == 0) return shell_show_more(sh);
    if (strcmp(word, "show") == 0) return shell_show(sh, words > 1 ? rest : "");
    if (strcmp(word, "use") == 0) {
        if (words < 2) return complain("use which database?");
        if (strlen(rest) >= sizeof(sh->db_name) || strpbrk(rest, "/\\. \"$") != NULL)
            return complain("'%s' cannot be a database's name", rest);
        (void) snprintf(sh->db_name, sizeof(sh->db_name), "%.63s", rest);
        return 0;
    }
    struct shell_line line;
    int status =
        shell_parse(text, &line, message, sizeof(message)) ? shell_run_line(sh, &line) : complain("%s", message);
    shell_line_release(&line);
    return status;
}

/* One whole input: its statements in turn, until one fails. */
static int run_text(struct shell *sh, const char *text) {
    int status = 0;
    for (const char *at = shell_skip_space(text); status == 0 && *at != '\0'; at = shell_skip_space(at)) {
        const char *end = shell_statement_end(at);
        char *statement = bson_strndup(at, (size_t) (end - at));
        status = run_statement(sh, statement);
        bson_free(statement);
        at = *end == ';' ? end + 1 : end;
    }
    return status;
}

static char *prompt(EditLine *el) {
    struct shell *sh = NULL;
    static char text[80];
    (void) el_get(el, EL_CLIENTDATA, &sh);
    if (sh != NULL && sh->is_inside) return strcpy(text, "... ");
    (void) snprintf(text, sizeof(text), "%s> ", sh != NULL ? sh->db_name : "elmo");
    return text;
}

static void append_line(char **text, const char *line) {
    size_t old = *text != NULL ? strlen(*text) : 0, n = strlen(line);
    *text = bson_realloc(*text, old + n + 1);
    memcpy(*text + old, line, n + 1);
}

static const char *history_path(char *path, size_t len) {
    const char *home = getenv("HOME");
    return home != NULL && snprintf(path, len, "%s/.elmo_history", home) < (int) len ? path : NULL;
}

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int signal) {
    (void) signal;
    is_interrupted = 1;
}

/* The next line; NULL at the end of input. Ctrl-C forgets what was typed so far. While a statement runs it ends the program, as usual:
 * that loses nothing that was acknowledged. */
static const char *read_line(struct shell *sh, EditLine *el, char **text) {
    struct sigaction action = {.sa_handler = on_interrupt}, old;
    const char *line;
    int n = 0;
    (void) sigemptyset(&action.sa_mask);
    (void) sigaction(SIGINT, &action, &old);
    for (;;) {
        is_interrupted = 0;
        line = el_gets(el, &n);
        if (is_interrupted == 0) break;
        el_reset(el);
        putchar('\n');
        bson_free(*text);
        *text = NULL;
        sh->is_inside = false;
    }
    (void) sigaction(SIGINT, &old, NULL);
    if (line == NULL || n <= 0) {
        putchar('\n');
        return NULL;
    }
    return line;
}

static int run_interactive(struct shell *sh) {
    HistEvent event;
    char path[512], *text = NULL;
    const char *file = history_path(path, sizeof(path)), *line;
    EditLine *el = el_init("elmo", stdin, stdout, stderr);
    History *h = history_init();
    if (el == NULL || h == NULL) return complain("the terminal cannot be used for editing");
    (void) history(h, &event, H_SETSIZE, HISTORY_LINES);
    (void) history(h, &event, H_SETUNIQUE, 1);
    (void) el_set(el, EL_CLIENTDATA, sh);
    (void) el_set(el, EL_PROMPT, prompt);
    (void) el_set(el, EL_SIGNAL, 0);
    (void) el_set(el, EL_EDITOR, "emacs");
    (void) el_set(el, EL_HIST, history, h);
    (void) el_source(el, NULL);
    if (file != NULL) (void) history(h, &event, H_LOAD, file);
    printf("elmo %s; `help` tells what can be typed, `exit` leaves\n", elmo_version());
    while ((line = read_line(sh, el, &text)) != NULL) {
        append_line(&text, line);
        sh->is_inside = shell_is_open(text);
        if (sh->is_inside) continue;
        if (strspn(text, " \t\r\n") != strlen(text)) (void) history(h, &event, H_ENTER, text);
        int status = run_text(sh, text);
        bson_free(text);
        text = NULL;
        if (status < 0) break;
    }
    bson_free(text);
    if (file != NULL) (void) history(h, &event, H_SAVE, file);
    history_end(h);
    el_end(el);
    return 0;
}

/* Scripts: the first failing line decides the exit status, the others still run. */
static int run_script(struct shell *sh, FILE *in) {
    char *line = NULL, *text = NULL;
    size_t cap = 0;
    int first = 0, status = 0;
    while (status >= 0 && getline(&line, &cap, in) >= 0) {
        append_line(&text, line);
        if (shell_is_open(text)) continue;
        status = run_text(sh, text);
        if (first == 0 && status > 0) first = status;
        bson_free(text);
        text = NULL;
    }
    if (text != NULL) first = complain("the last command is not complete: a bracket or quote is open");
    bson_free(text);
    free(line);
    return first;
}

int shell_main(const char *path, const char *db_name, const char *line, bool read_only) {
    struct shell sh = {0};
    sh.db = open_db(path, read_only, !read_only, NULL);
    if (sh.db == NULL) return EXIT_ERROR;
    choose_database(&sh, db_name);
    int status;
    if (line != NULL) {
        status = run_text(&sh, line);
    } else if (is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO)) {
        sh.is_interactive = true;
        status = run_interactive(&sh);
    } else {
        status = run_script(&sh, stdin);
    }
    shell_forget_cursor(&sh);
    elmo_close(sh.db);
    return status < 0 ? 0 : status;
}
