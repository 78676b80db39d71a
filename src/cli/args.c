/* Reading a subcommand's arguments by a table of options.
 *
 * A row's name may have a short form ("--query|-q"). Values follow as the next argument or behind '=' ("--limit 5", "--limit=5", "-q '{}'"). A row whose value's name
 * ends in "..." may be given several times and fills a list; one whose value's name starts with '=' takes its value behind '=' only and is "-" without one. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

int usage_error(const struct subcommand *sub, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "elmo %s: ", sub->name);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nusage: elmo %s\n", sub->usage);
    return EXIT_USAGE;
}

static bool is_list(const struct option_row *row) {
    size_t len = row->value_name != NULL ? strlen(row->value_name) : 0;
    return len > 3 && strcmp(row->value_name + len - 3, "...") == 0;
}

static void print_help(const struct subcommand *sub, const struct option_row *rows, int row_count) {
    printf("usage: elmo %s\n%s\n\n", sub->usage, sub->summary);
    for (int i = 0; i < row_count; i++) {
        char left[96];
        const char *name = rows[i].name, *bar = strchr(name, '|'), *value = rows[i].value_name;
        if (rows[i].help == NULL) continue; /* taken, means nothing here */
        int len = bar != NULL ? snprintf(left, sizeof(left), "%.*s, %s", (int) (bar - name), name, bar + 1)
                              : snprintf(left, sizeof(left), "%s", name);
        if (value != NULL && value[0] == '=') (void) snprintf(left + len, sizeof(left) - (size_t) len, "[%s]", value);
        else if (value != NULL) (void) snprintf(left + len, sizeof(left) - (size_t) len, " %s", value);
        printf(strlen(left) > 30 ? "  %s\n%33s%s\n" : "  %-30s %s%s\n", left, strlen(left) > 30 ? "" : rows[i].help,
               strlen(left) > 30 ? rows[i].help : "");
    }
}

/* Is `arg` (up to name_len, before any '=') the row's name or its short form? */
static bool is_named(const struct option_row *row, const char *arg, size_t name_len) {
    const char *bar = strchr(row->name, '|');
    size_t len = bar != NULL ? (size_t) (bar - row->name) : strlen(row->name);
    if (len == name_len && memcmp(row->name, arg, len) == 0) return true;
    return bar != NULL && strlen(bar + 1) == name_len && memcmp(bar + 1, arg, name_len) == 0;
}

static int take_value(const struct subcommand *sub, const struct option_row *row, const char *arg, const char *value) {
    int i = 0;
    if (is_list(row)) {
        while (row->value[i] != NULL) i++;
        if (i == OPTION_LIST_MAX) return usage_error(sub, "option '%s' is given more than %d times", arg, i);
    }
    row->value[i] = value;
    return 0;
}

static int take_option(const struct subcommand *sub, int argc, char **argv, int *i, const struct option_row *rows,
                       int row_count) {
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    size_t name_len = equals != NULL ? (size_t) (equals - arg) : strlen(arg);
    int r = 0;
    while (r < row_count && !is_named(&rows[r], arg, name_len)) r++;
    if (r == row_count) return usage_error(sub, "unknown option '%.*s'", (int) name_len, arg);
    const char *value_name = rows[r].value_name;
    if (value_name == NULL) {
        if (equals != NULL) return usage_error(sub, "option '%.*s' takes no value", (int) name_len, arg);
        return take_value(sub, &rows[r], arg, rows[r].name);
    }
    if (equals != NULL) return take_value(sub, &rows[r], arg, equals + 1);
    if (value_name[0] == '=') return take_value(sub, &rows[r], arg, "-");
    if (++*i == argc) return usage_error(sub, "option '%s' needs a value (%s)", arg, value_name);
    return take_value(sub, &rows[r], arg, argv[*i]);
}

int args_parse(const struct subcommand *sub, int argc, char **argv, const struct option_row *rows, int row_count,
               const char **rest, int max, int *rest_count) {
    bool only_rest = false;
    *rest_count = 0;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (only_rest || arg[0] != '-' || arg[1] == '\0') {
            if (*rest_count == max) return usage_error(sub, "one argument too many: '%s'", arg);
            rest[(*rest_count)++] = arg;
        } else if (strcmp(arg, "--") == 0) {
            only_rest = true;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            print_help(sub, rows, row_count);
            return -1;
        } else {
            int status = take_option(sub, argc, argv, &i, rows, row_count);
            if (status != 0) return status;
        }
    }
    return 0;
}

bool number_option(const char *name, const char *text, int64_t min, int64_t max, int64_t *out) {
    char *end;
    if (text == NULL) return true;
    long long v = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || v < min || v > max) {
        (void) complain("%s: '%s' is not a whole number from %lld to %lld", name, text, (long long) min,
                        (long long) max);
        return false;
    }
    *out = v;
    return true;
}
