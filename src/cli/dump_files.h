/* What lies in a dump: names of files, and a collection's metadata.json. */
#ifndef ELMO_CLI_DUMP_FILES_H
#define ELMO_CLI_DUMP_FILES_H

#include "json_out.h"

/* The name of a collection's files without their endings, as mongodump makes it: percent-escapes, and past 238 bytes a cut and a hash. To be freed
 * with bson_free. */
char *dump_file_name(const char *coll);
/* The collection of a file's name (the ending cut off by the caller); NULL when the escapes are wrong. A cut name stays as it is: the metadata knows better. */
char *dump_file_collection(const char *name);
/* May a database of this name be a folder? */
bool is_safe_folder(const char *db);

/* Appends metadata.json: {"options":{...},"indexes":[...],"uuid":"...","collectionName":"...","type":"..."}. `indexes` is an array; `uuid` may be "". */
bool metadata_write(struct text *out, const bson_t *options, const bson_t *indexes, const char *uuid, const char *coll,
                    const char *type);

struct metadata {
    bson_t doc; /* what was read; {} when there is none */
    bool has_options, has_indexes;
    bson_t options, indexes; /* views into doc */
    const char *coll, *type; /* into doc; NULL: not told */
};
/* Reads it. Complains with `name` of what is wrong. Release it in either case. */
bool metadata_read(struct metadata *m, const char *text, size_t len, const char *name);
void metadata_release(struct metadata *m);

#endif
