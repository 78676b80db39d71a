/* elmo: the command. Picks the subcommand, or the shell when the first argument is a file. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const struct subcommand *const subcommands[] = {&sub_import, &sub_export, &sub_dump,    &sub_restore,
                                                       &sub_find,   &sub_explain, &sub_create_index,
                                                       &sub_stat,   &sub_check,   &sub_compact,
                                                       &sub_serve};
#define SUBCOMMAND_COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

static void print_help(FILE *out) {
    fprintf(out,
            "elmo %s - a document database in one file\n\n"
            "usage:\n"
            "  elmo FILE                                            a shell on the database FILE (made when missing)\n"
            "  elmo FILE 'db.users.find({age: 30})'                 one shell command\n",
            elmo_version());
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        fprintf(out, "  elmo %-47s %s\n", subcommands[i]->usage, subcommands[i]->summary);
    fprintf(out,
            "\noptions of the shell:\n"
            "  --db NAME      the database that `db` means (default: the only one in the file, else \"test\")\n"
            "  --read-only    write nothing at all\n"
            "\n`elmo SUBCOMMAND --help` tells a subcommand's options. A file named like a subcommand: `elmo ./find`.\n"
            "Exit status: 0, 1 (error), 2 (wrong usage).\n");
}

/* A bare word that names no file is rather a subcommand mistyped than a database to be made. */
static bool is_misspelt(const char *path) {
    return path[0] != '\0' && strpbrk(path, "./:") == NULL && access(path, F_OK) != 0;
}

static int run_shell(int argc, char **argv) {
    const char *path = NULL, *line = NULL, *db_name = NULL;
    bool read_only = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--read-only") == 0) {
            read_only = true;
        } else if (strcmp(argv[i], "--db") == 0 && i + 1 < argc) {
            db_name = argv[++i];
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            fprintf(stderr, "elmo: unknown option '%s'; `elmo --help` tells the options\n", argv[i]);
            return EXIT_USAGE;
        } else if (path == NULL) {
            path = argv[i];
        } else if (line == NULL) {
            line = argv[i];
        } else {
            fprintf(stderr, "elmo: too many arguments at '%s': put the whole shell command in one pair of quotes\n",
                    argv[i]);
            return EXIT_USAGE;
        }
    }
    if (path == NULL) {
        fprintf(stderr, "elmo: the database file is missing; `elmo --help` tells the usage\n");
        return EXIT_USAGE;
    }
    if (is_misspelt(path)) {
        fprintf(stderr, "elmo: there is no file and no subcommand '%s'; `elmo ./%s` makes a database of that name\n",
                path, path);
        return EXIT_USAGE;
    }
    return shell_main(path, db_name, line, read_only);
}

int main(int argc, char **argv) {
    const char *name = argc > 0 && strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
    if (argc > 0 && strcmp(name, "mongod") == 0) return serve_as_mongod(argc, argv);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("elmo %s\n", elmo_version());
        return 0;
    }
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (strcmp(argv[1], subcommands[i]->name) != 0) continue;
        int status = subcommands[i]->run(argc - 2, argv + 2);
        return status < 0 ? 0 : status;
    }
    return run_shell(argc - 1, argv + 1);
}
