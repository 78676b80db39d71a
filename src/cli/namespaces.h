/* Choosing and renaming namespaces: --nsInclude, --nsExclude, --nsFrom, --nsTo.
 *
 * In a pattern '*' stands for any characters, none included; '\' takes its meaning from the next character. In --nsFrom and --nsTo, $name$
 * stands for a part that is named; without names the asterisks stand for each other in order. */
#ifndef ELMO_CLI_NAMESPACES_H
#define ELMO_CLI_NAMESPACES_H

#include "cli.h"

struct ns_filter {
    const char *include[OPTION_LIST_MAX + 1], *exclude[OPTION_LIST_MAX + 1];
    const char *from[OPTION_LIST_MAX + 1], *to[OPTION_LIST_MAX + 1];
    const char *exclude_collections[OPTION_LIST_MAX + 1], *exclude_prefixes[OPTION_LIST_MAX + 1];
};

/* Complains of patterns that mean nothing. */
bool ns_filter_check(const struct ns_filter *f);
bool ns_filter_takes(const struct ns_filter *f, const char *db, const char *coll);
/* The namespace under its new name, to be freed with bson_free; the same when no pattern fits. The first pattern that fits counts, from the last given
 * to the first, as in mongorestore. */
char *ns_filter_rename(const struct ns_filter *f, const char *ns);

#endif
