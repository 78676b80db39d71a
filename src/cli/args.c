/* Reading a subcommand's arguments by a table of options. */
#include <stdarg.h>
#include <stdio.h>
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

static void print_help(const struct subcommand *sub, const struct option_row *rows, int row_count) {
    printf("usage: elmo %s\n%s\n\n", sub->usage, sub->summary);
    for (int i = 0; i < row_count; i++) {
        char left[64];
        (void) snprintf(left, sizeof(left), "%s %s", rows[i].name,
                        rows[i].value_name != NULL ? rows[i].value_name : "");
        printf("  %-24s %s\n", left, rows[i].help);
    }
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
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            only_rest = true;
            continue;
        }
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            print_help(sub, rows, row_count);
            return -1;
        }
        int r = 0;
        while (r < row_count && strcmp(arg, rows[r].name) != 0) r++;
        if (r == row_count) return usage_error(sub, "unknown option '%s'", arg);
        if (rows[r].value_name == NULL) {
            *rows[r].value = rows[r].name;
        } else if (++i == argc) {
            return usage_error(sub, "option '%s' needs a value (%s)", arg, rows[r].value_name);
        } else {
            *rows[r].value = argv[i];
        }
    }
    return 0;
}
